"""Certificates between us and the broker that are about to end: an incident while there is time to renew them."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from psycopg import AsyncConnection

from city.settings import Settings, SettingsError
from city.storage import centres, maintenance

RULE, CATEGORY = "system.certificate_ends", "system.certificate"
SOON = timedelta(days=30)
LOOK_EVERY = timedelta(hours=1)
_PATIENCE_S = 5.0
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


class CertificateWatch:
    """Looks once an hour; what stands is read back, so a restart forgets nothing.

    ``seen`` is told what this centre sees; what other centres see, with files of their own, counts as well.
    """

    def __init__(
        self, settings: Settings, seen: Callable[[Mapping[str, datetime]], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._seen = seen
        self._looked: datetime | None = None

    async def look(self, connection: Connection, now: datetime) -> None:
        """Raise when something ends within 30 days, clear when nothing does."""
        if self._looked is not None and now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        found = await asyncio.to_thread(ends, self._settings, now)
        self._seen(found)
        for name, until in (await centres.certificates(connection)).items():
            found[name] = min(until, found.get(name, until))
        soon = {name: until.isoformat() for name, until in found.items() if until - now < SOON}
        standing = RULE in await maintenance.last_raised_at(connection, [RULE])
        if soon and not standing:
            await maintenance.raise_system_alarm(
                connection, RULE, CATEGORY, now, {"ends": soon}, level="yellow"
            )
            log.warning("a certificate ends soon", **soon)
        elif standing and found and not soon:
            await maintenance.clear_system_alarm(connection, RULE, now)
            log.info("certificates are good again")


def ends(settings: Settings, now: datetime) -> dict[str, datetime]:
    """Until when (UTC) each certificate is good that we can see: the broker's own, ours, our authority's.

    Empty where the broker is not spoken to by TLS; one that cannot be read, or a broker that is away, is left out.
    """
    if not settings.mqtt_url.startswith("mqtts:"):
        return {}
    found: dict[str, datetime] = {}
    for name, path in (
        ("CITY_MQTT_CERT_FILE", settings.mqtt_cert_file),
        ("CITY_MQTT_CA_FILE", settings.mqtt_ca_file),
    ):
        until = None if path is None else _of_file(path)
        if until is not None:
            found[name] = until
    until = _of_broker(settings, now)
    if until is not None:
        found["broker"] = until
    return found


def _of_file(path: Path) -> datetime | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def _of_broker(settings: Settings, now: datetime) -> datetime | None:
    address = urlsplit(settings.mqtt_url)
    host, port = address.hostname or "127.0.0.1", address.port or 8883
    try:
        context = settings.tls_of_broker()
        assert context is not None  # noqa: S101  # the caller has looked at the scheme
        with (
            socket.create_connection((host, port), timeout=_PATIENCE_S) as line,
            context.wrap_socket(line, server_hostname=host) as secured,
        ):
            told = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return now if error.verify_code == _EXPIRED else None
    except (OSError, SettingsError):
        return None
    after = told.get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(after)), UTC) if after else None
