"""One message to one address, by whichever channel it has; nothing here touches the database."""

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime

import httpx

from city.outgoing import Allowed, read_allowed
from city.settings import Settings
from city.storage.notifications import Claimed
from command_centre.notify import message, smtp, templates, webhook
from command_centre.notify.delivery import DeliveryError, Receipt
from command_centre.notify.gateways import Gateways

_PHONE = re.compile(r"\+?[0-9]{5,15}")
_KINDS = {"notice": "report.notice", "anchor": "audit.anchor", "test": "test"}


class Channels:
    """What sending needs, kept for as long as a worker runs."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._gateways = Gateways()
        self._only = read_allowed(settings.outgoing_hosts)

    def close(self) -> None:
        """Take no more."""
        self._gateways.close()

    async def send(self, claimed: Claimed, now: datetime) -> Receipt:
        """One attempt; raises DeliveryError, whose text holds no secret."""
        if not claimed.reachable:
            raise DeliveryError("the contact was removed or switched off", retry=False)
        if not claimed.address:
            raise DeliveryError("there is no address any more", retry=False)
        # A citizen's and a person's own address must not lead into the district's network.
        stranger = claimed.personal or claimed.purpose == "notice"
        private = not stranger and self._settings.webhook_private == "allow"
        allowed = Allowed(private=private, only=self._only)
        if claimed.channel == "webhook":
            return await self._webhook(claimed, now, allowed)
        subject, text = self._words(claimed)
        if claimed.channel == "smtp":
            return await self._mail(claimed, subject, text, now)
        if claimed.channel == "sms":
            return await self._gateways.send(
                self._sms(claimed.address), "", text, allowed=Allowed(private=True)
            )
        return await self._gateways.send(claimed.address, subject, text, allowed=allowed)

    async def _webhook(self, claimed: Claimed, now: datetime, allowed: Allowed) -> Receipt:
        secret = claimed.secret
        if claimed.contact_id is None and claimed.unit_id is None:
            secret = self._settings.webhook_secret.get_secret_value() if self._settings.webhook_secret else ""
            if not secret:
                raise DeliveryError("CITY_WEBHOOK_SECRET is not set: nothing to sign with", retry=False)
        if not secret:
            raise DeliveryError("the receiver is not there any more", retry=False)
        key = str(claimed.key)
        event = webhook.event(
            key=key,
            kind=_KINDS.get(claimed.purpose, f"incident.{claimed.purpose}"),
            source=self._settings.base_url,
            subject=str(claimed.body.get("number") or ""),
            at=claimed.created_at,
            data={**claimed.body, "id": key, "link": self._link(claimed)},
        )
        return await webhook.send(
            self._client, claimed.address, event, secret=secret, key=key, now=now, allowed=allowed
        )

    async def _mail(self, claimed: Claimed, subject: str, text: str, now: datetime) -> Receipt:
        if not self._settings.smtp_url:
            raise DeliveryError("CITY_SMTP_URL is not set; set it or empty the mail address", retry=False)
        letter = smtp.mail(
            subject,
            text,
            sender=self._settings.smtp_from,
            recipient=claimed.address,
            key=str(claimed.key),
            now=now,
        )
        return await asyncio.to_thread(smtp.send, self._settings.smtp_url, letter)

    def _sms(self, phone: str) -> str:
        if not self._settings.sms_url:
            raise DeliveryError(
                "CITY_SMS_URL is not set: there is no gateway for short messages", retry=False
            )
        if not _PHONE.fullmatch(phone):
            raise DeliveryError("the number is no telephone number", retry=False)
        return self._settings.sms_url.get_secret_value().replace("{phone}", phone)

    def _words(self, claimed: Claimed) -> tuple[str, str]:
        if claimed.purpose != "notice":
            return (
                message.subject(claimed.body, claimed.language),
                message.text(claimed.body, self._link(claimed), claimed.language),
            )
        given = claimed.body.get("params")
        params: dict[str, object] = dict(given) if isinstance(given, Mapping) else {}
        params.setdefault("link", f"{self._settings.base_url}/track/{params.get('tracking', '')}")
        try:
            return templates.notice(str(claimed.body.get("template")), params, claimed.language)
        except templates.TemplateError as error:
            raise DeliveryError(str(error), retry=False) from error

    def _link(self, claimed: Claimed) -> str:
        asked = f"?incident={claimed.incident_id}" if claimed.incident_id is not None else ""
        return f"{self._settings.base_url}/desk{asked}"
