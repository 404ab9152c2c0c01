"""Messages out of the door: claimed, sent, and what became of them written on the incident's timeline.

At least once: a message whose sender was killed is sent again under the same key. A sender that stood still for longer
than its lease begins nothing that another has taken meanwhile. One slow receiver holds up nobody else: each message has
its own task and a bounded wait, and one receiver no more than a few of the places. What would be a storm for one
receiver becomes one digest; what cannot be delivered is told by another way of the same unit.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
from psycopg import AsyncConnection

from city.sealing import SealingError
from city.settings import Settings
from city.storage import digests, notifications, sealed, shared_secrets
from city.storage.changes import open_connection
from city.storage.notifications import Claimed
from command_centre.notify import digest, outcome, webhook
from command_centre.notify.delivery import DeliveryError, next_attempt
from command_centre.notify.sending import Channels
from command_centre.waking import Waking

AT_ONCE = 16
LEASE = timedelta(seconds=15)  # after the death of who had it a message is somebody else's
RENEWED = timedelta(seconds=5)  # while an attempt takes its time (a mail's steps of ten seconds each)

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
                    await outbox.renew(datetime.now(UTC))
                    claimed = await outbox.claim(AT_ONCE - len(sending))
                    for message in claimed:
                        sending.add(asyncio.create_task(outbox.deliver(message)))
                    done = {task for task in sending if task.done()}
                    sending -= done
                    for task in done:
                        task.result()
                    if sending and not claimed:  # a place that comes free is used at once
                        await asyncio.wait(sending, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                    elif not claimed:
                        await waking.sleep(1.0)
            finally:
                for task in sending:
                    task.cancel()  # its lease ends, somebody sends it again under the same key
                await asyncio.gather(*sending, return_exceptions=True)
                outbox.close()


class Outbox:
    """One worker's connection, client and settings."""

    def __init__(self, connection: Connection, client: httpx.AsyncClient, settings: Settings) -> None:
        self._connection = connection
        self._channels = Channels(settings, client)
        self._settings = settings
        self._writing = asyncio.Lock()  # one connection, one transaction at a time
        self._under_way: Counter[str] = Counter()  # attempts by receiver
        self._leased: dict[tuple[int, int], datetime] = {}  # message and attempt, until when they are ours
        self._renewed = datetime.min.replace(tzinfo=UTC)

    def close(self) -> None:
        """Take no more."""
        self._channels.close()

    async def claim(self, limit: int) -> list[Claimed]:
        """Messages that are due, leased to this worker; what is a storm for one receiver is made a digest first."""
        if limit <= 0:
            return []
        now = datetime.now(UTC)
        crowded = [
            receiver for receiver, count in self._under_way.items() if count >= notifications.AT_ONCE_EACH
        ]
        async with self._writing:
            await self._fold(now)
            claimed = await notifications.claim(self._connection, now, limit, LEASE, crowded)
        self._under_way.update(message.receiver for message in claimed)
        self._leased.update({(message.id, message.attempts): now + LEASE for message in claimed})
        return claimed

    async def renew(self, now: datetime) -> None:
        """Keep what is under way ours. What somebody else has taken meanwhile is no longer begun here."""
        if not self._leased or now - self._renewed < RENEWED:
            return
        async with self._writing:
            held = await notifications.renew(self._connection, list(self._leased), now + LEASE)
        self._renewed = now
        self._leased |= {claim: now + LEASE if claim in held else now for claim in self._leased}

    async def _fold(self, now: datetime) -> None:
        await digests.hold_storms(self._connection, now)
        for receiver in await digests.storms(self._connection, now):
            async with self._connection.transaction():
                waiting = await digests.lock_storm(self._connection, receiver, now, digest.MOST_IN_ONE)
                if len(waiting) > 1:  # another worker may have been faster
                    body = digest.compose([one["body"] for one in waiting])
                    await digests.fold(self._connection, waiting, body, now)

    async def deliver(self, message: Claimed) -> None:
        """One attempt, and its outcome into the database."""
        try:
            message = await self._opened(message)
            if self._leased[message.id, message.attempts] <= datetime.now(UTC):
                log.warning("message left to another: we stood still", notification=message.id)
                return
            receipt = await self._channels.send(message, datetime.now(UTC))
        except DeliveryError as error:
            await self._failed(message, error)
        except Exception as error:  # a mistake of ours in one message must not stop all others
            log.exception("message could not be made", purpose=message.purpose, channel=message.channel)
            await self._failed(message, DeliveryError(f"our mistake: {type(error).__name__}", retry=True))
        else:
            words = _without(f"{receipt.status} {receipt.words}".strip(), message.address)
            async with self._writing, self._connection.transaction():
                await outcome.sent(self._connection, message, receipt.status, words, datetime.now(UTC))
            log.info(
                "message delivered",
                notification=message.id,
                number=_number(message),
                unit=message.unit or None,
                channel=message.channel,
                purpose=message.purpose,
                attempts=message.attempts,
            )
        finally:
            del self._leased[message.id, message.attempts]
            self._under_way[message.receiver] -= 1
            if self._under_way[message.receiver] <= 0:
                del self._under_way[message.receiver]

    async def _opened(self, message: Claimed) -> Claimed:
        """With a reporter's address and a receiver's secret as they are; both stand sealed in the database."""
        try:
            if message.channel == "webhook":
                return replace(message, secret=await self._secret(message))
            if message.report_id is None or message.channel not in ("smtp", "sms"):
                return message
            by_mail = message.channel == "smtp"
            found = sealed.address(
                self._settings.keys.ring(), message.report_id, by_mail=by_mail, stored=message.address
            )
            return replace(message, address=found)
        except SealingError as error:
            raise DeliveryError(str(error), retry=True) from error  # the file may be brought back

    async def _secret(self, message: Claimed) -> str:
        """What the receiver checks with, made when it is first needed; empty for one that is no unit's."""
        of, row = shared_secrets.OF_UNIT, message.unit_id
        if message.contact_id is not None:
            of, row = shared_secrets.OF_CONTACT, message.contact_id
        if row is None:
            return ""
        keys = self._settings.keys.ring()
        if message.secret:
            return of.opened(keys, row, message.secret)
        async with self._writing:
            return await shared_secrets.made(self._connection, keys, of, row)

    async def _failed(self, message: Claimed, error: DeliveryError) -> None:
        now = datetime.now(UTC)
        draw = random.random()  # noqa: S311  # jitter
        said = _without(str(error), message.address)
        again = next_attempt(message.attempts, message.began_at, now, draw) if error.retry else None
        log.warning(
            "message not delivered",
            notification=message.id,
            number=_number(message),
            unit=message.unit or None,
            channel=message.channel,
            purpose=message.purpose,
            attempts=message.attempts,
            again_at=again.isoformat() if again else None,
            error=said,
        )
        async with self._writing, self._connection.transaction():
            await outcome.failed(
                self._connection,
                message,
                said,
                again,
                now,
                zone=self._settings.zone,
                mail=bool(self._settings.smtp_url),
            )


def _number(message: Claimed) -> object:
    """Of the incident it tells of, so that the log leads from one to the other."""
    return message.body.get("number") if isinstance(message.body, Mapping) else None


def _without(words: str, address: str) -> str:
    """What a server said, without the address it may repeat: it is a citizen's, or it holds a token."""
    return words.replace(address, "…") if address else words
