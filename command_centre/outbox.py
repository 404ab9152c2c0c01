"""Orders out of the door: claimed, sent, and what became of them written on the incident's timeline.

At least once: an order whose sender was killed is sent again under the same key. One slow receiver holds up
nobody else; each order has its own task and a bounded wait.
"""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
from psycopg import AsyncConnection

from city.incidents import Happening
from city.settings import Settings
from city.storage import changes, incidents, notifications
from city.storage.changes import open_connection
from city.storage.notifications import Claimed
from command_centre.notify import message, smtp, webhook
from command_centre.notify.delivery import DeliveryError, Receipt, next_attempt
from command_centre.waking import Waking

AT_ONCE = 16
LEASE = timedelta(seconds=90)  # longer than the longest attempt (a mail's steps of ten seconds each)

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Send until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    sending: set[asyncio.Task[None]] = set()
    async with Waking(url, "city centre outbox wake", stop) as waking, webhook.new_client() as client:
        connection = await open_connection(url, "city centre outbox", autocommit=True)
        async with connection:
            outbox = Outbox(connection, client, settings)
            try:
                while not stop.is_set():
                    claimed = await outbox.claim(AT_ONCE - len(sending))
                    for order in claimed:
                        task = asyncio.create_task(outbox.deliver(order))
                        sending.add(task)
                    done = {task for task in sending if task.done()}
                    sending -= done
                    for task in done:
                        task.result()
                    if not claimed:
                        await waking.sleep(0.2 if sending else 1.0)
            finally:
                for task in sending:
                    task.cancel()  # its lease ends, somebody sends it again under the same key
                await asyncio.gather(*sending, return_exceptions=True)


class Outbox:
    """One worker's connection, client and settings."""

    def __init__(self, connection: Connection, client: httpx.AsyncClient, settings: Settings) -> None:
        self._connection = connection
        self._client = client
        self._settings = settings
        self._writing = asyncio.Lock()  # one connection, one transaction at a time

    async def claim(self, limit: int) -> list[Claimed]:
        """Orders that are due, leased to this worker."""
        if limit <= 0:
            return []
        async with self._writing:
            return await notifications.claim(self._connection, datetime.now(UTC), limit, LEASE)

    async def deliver(self, order: Claimed) -> None:
        """One attempt, and its outcome into the database."""
        try:
            receipt = await self._send(order)
        except DeliveryError as error:
            await self._failed(order, error)
        else:
            await self._sent(order, receipt)

    async def _send(self, order: Claimed) -> Receipt:
        now = datetime.now(UTC)
        link = f"{self._base()}/desk?incident={order.incident_id}"
        if order.channel == "webhook":
            if not order.webhook_secret:
                raise DeliveryError("the unit's secret is just being made", retry=True)
            body = {**order.body, "id": str(order.key), "link": link}
            return await webhook.send(
                self._client,
                order.webhook_url,
                body,
                secret=order.webhook_secret,
                key=str(order.key),
                now=now,
            )
        if not self._settings.smtp_url:
            raise DeliveryError("CITY_SMTP_URL is not set; set it or empty the unit's address", retry=False)
        recipient = message.address(order.to_lead, order.email, order.lead_email)
        letter = smtp.mail(
            order.body,
            sender=self._settings.smtp_from,
            recipient=recipient,
            key=str(order.key),
            link=link,
            now=now,
        )
        return await asyncio.to_thread(smtp.send, self._settings.smtp_url, letter)

    def _base(self) -> str:
        settings = self._settings
        return (settings.public_url or f"http://{settings.http_host}:{settings.http_port}").rstrip("/")

    async def _sent(self, order: Claimed, receipt: Receipt) -> None:
        now = datetime.now(UTC)
        words = f"{receipt.status} {receipt.words}".strip()
        async with self._writing, self._connection.transaction():
            if await notifications.settle(
                self._connection, order, state="sent", next_attempt_at=now, receipt=words
            ):
                await self._note(order, "receipt", {"status": receipt.status}, now)

    async def _failed(self, order: Claimed, error: DeliveryError) -> None:
        now = datetime.now(UTC)
        again = next_attempt(order.attempts, order.created_at, now, random.random()) if error.retry else None  # noqa: S311  # jitter
        log.warning(
            "order not delivered",
            unit=order.unit,
            channel=order.channel,
            attempts=order.attempts,
            again_at=again.isoformat() if again else None,
            error=str(error),
        )
        async with self._writing, self._connection.transaction():
            ours = await notifications.settle(
                self._connection,
                order,
                state="waiting" if again else "failed",
                next_attempt_at=again or now,
                last_error=str(error),
            )
            if not ours:
                return
            if again is None:
                await self._note(order, "delivery_failed", {"attempts": order.attempts}, now)
            elif order.attempts == 1:  # once on the timeline; a receiver that is down for an hour is one fact
                await self._note(order, "delivery_delayed", {}, now)

    async def _note(self, order: Claimed, kind: str, detail: dict[str, object], now: datetime) -> None:
        """Append to the timeline; the incident's version stays, since nothing a person edits has changed."""
        incident = await incidents.lock(self._connection, order.incident_id)
        if incident is None:
            return
        said = {"unit": order.unit, "channel": order.channel, "purpose": order.purpose, **detail}
        chained = incidents.chain(incident, [Happening(kind=kind, detail=said)], now)
        await incidents.append(self._connection, [chained])
        await incidents.save(
            self._connection, [replace(incident, last_seq=chained.last_seq, head=chained.head)]
        )
        await changes.append(self._connection, [("incident.changed", str(order.incident_id))])
