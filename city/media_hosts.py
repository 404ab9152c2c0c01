"""The hosts whose pictures and clips are fetched for people, as an administrator writes them. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit

Hosts = frozenset[tuple[str, int | None]]  # None = the scheme's own port
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?")


def read_hosts(setting: str) -> Hosts:
    """``nvr.lan, 10.1.2.3:8971, [fd00::5]:443`` as pairs; raises ValueError naming the part that is no host."""
    return frozenset(_host(part.strip()) for part in setting.split(",") if part.strip())


def _host(part: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{part}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise ValueError(f"{part!r} is no host; write nvr.lan or 10.1.2.3:8971") from error
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    if not plain or not is_host(host):
        raise ValueError(f"{part!r} is no host; write nvr.lan or 10.1.2.3:8971, without http:// and path")
    return host, port


def is_host(host: str) -> bool:
    """A name or an IP address, in small letters."""
    return _NAME.fullmatch(host) is not None or is_ip(host)


def is_ip(host: str) -> bool:
    """An address and no name, IPv6 without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
