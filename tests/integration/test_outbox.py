"""Orders reach their units: signed, once under one key, retried, receipted, and on the timeline when they do not."""

import asyncio
import email
import email.header
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from city.settings import Settings
from city.storage import incidents, notifications
from city.storage.changes import open_connection
from command_centre import outbox, triage_loop
from command_centre.known_directory import KnownDirectory
from command_centre.notify import webhook
from command_centre.notify.delivery import GIVE_UP_AFTER, next_attempt
from tests.integration.small_town import NOW, build, raise_alarm, rows
from tests.servers.processes import free_port

SECOND = timedelta(seconds=1)


@dataclass
class Receiver:
    """A real HTTP server of the test: answers the statuses given, then 200; remembers what it was sent."""

    statuses: list[int] = field(default_factory=list)
    hang: bool = False
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            line.partition(":")[0].lower(): line.partition(":")[2].strip()
            for line in head.split("\r\n")[1:]
            if line
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.received.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        if not self.hang:
            location = "Location: http://127.0.0.1:9/elsewhere\r\n" if status == 302 else ""
            said = "收到 noted"
            writer.write(
                f"HTTP/1.1 {status} X\r\n{location}Content-Length: {len(said.encode())}\r\n\r\n{said}".encode()
            )
            await writer.drain()
            writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{self.port}/orders"
        finally:
            server.close()


@pytest.fixture
def town(migrated_url: str) -> str:
    build(migrated_url)
    return migrated_url


def reachable(url: str, **addresses: str) -> None:
    for column, value in addresses.items():
        with psycopg.connect(url) as connection:
            connection.execute(f"UPDATE units SET {column} = %s WHERE code = 'fire-east'".encode(), (value,))


async def order(url: str, *, mail: bool = False) -> None:
    """One alarm, triaged: an incident with its order in the outbox."""
    await asyncio.to_thread(raise_alarm, url, "c02-s1", at=datetime.now(UTC))
    async with await open_connection(url, "test", autocommit=True) as connection:
        await triage_loop.triage_batch(
            connection, KnownDirectory(Settings().zone), datetime.now(UTC), mail=mail
        )


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Wait for something that must come; the test's own time-out is the bound."""
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.02)


@asynccontextmanager
async def sending(url: str, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(outbox.run(url, settings, stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


def settled(url: str) -> bool:
    return rows(url, "SELECT count(*) FROM notifications WHERE state = 'waiting'") == [(0,)]


def timeline(url: str) -> list[object]:
    return [row[0] for row in rows(url, "SELECT kind FROM incident_events ORDER BY incident_id, seq")]


def run(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


def test_an_order_arrives_signed_and_its_receipt_is_on_the_timeline(town: str) -> None:
    async def work() -> Receiver:
        receiver = Receiver()
        async with receiver.serving() as address:
            reachable(town, webhook_url=address)
            await order(town)
            async with sending(town, Settings(public_url="https://city.example/")):
                await until(lambda: settled(town))
        return receiver

    receiver = run(work())
    ((headers, body),) = receiver.received
    secret = str(rows(town, "SELECT webhook_secret FROM units WHERE code = 'fire-east'")[0][0])
    assert len(secret) == 64
    expected = hmac.new(
        secret.encode(), headers["x-city-timestamp"].encode() + b"." + body, hashlib.sha256
    ).hexdigest()
    assert headers["x-city-signature"] == f"sha256={expected}"
    event = json.loads(body)
    sent = event["data"]
    assert headers["idempotency-key"] == sent["id"]
    assert sent["purpose"] == "order"
    assert sent["class"] == "B"
    assert (sent["street"], sent["cell"], sent["longitude"]) == ("东街", "c02", 114.25)
    assert datetime.fromisoformat(sent["due_at"]).utcoffset() == timedelta(hours=8)
    assert sent["link"] == "https://city.example/desk?incident=1"
    assert timeline(town) == ["opened", "dispatched", "told", "receipt"]
    assert rows(town, "SELECT state, receipt FROM notifications") == [("sent", "200 收到 noted")]


def test_a_receiver_that_is_down_gets_the_same_order_again(town: str) -> None:
    async def work() -> Receiver:
        receiver = Receiver(statuses=[503, 429])
        async with receiver.serving() as address:
            reachable(town, webhook_url=address)
            await order(town)
            async with sending(town, Settings()):
                await until(lambda: settled(town))
        return receiver

    receiver = run(work())
    assert len(receiver.received) == 3
    assert len({headers["idempotency-key"] for headers, _ in receiver.received}) == 1
    assert timeline(town) == ["opened", "dispatched", "told", "delivery_delayed", "receipt"]
    assert rows(town, "SELECT state, attempts FROM notifications") == [("sent", 3)]


@pytest.mark.parametrize("status", [302, 404])
def test_a_refusal_is_final_and_redirects_are_not_followed(town: str, status: int) -> None:
    async def work() -> Receiver:
        receiver = Receiver(statuses=[status])
        async with receiver.serving() as address:
            reachable(town, webhook_url=address)
            await order(town)
            async with sending(town, Settings()):
                await until(lambda: settled(town))
        return receiver

    assert len(run(work()).received) == 1
    assert timeline(town)[-1] == "delivery_failed"
    state, error = rows(town, "SELECT state, last_error FROM notifications")[0]
    assert state == "failed"
    assert str(status) in str(error)


def test_a_unit_nobody_can_reach_electronically_is_said(town: str) -> None:
    run(order(town, mail=True))
    assert timeline(town) == ["opened", "dispatched", "nobody_told"]
    assert rows(town, "SELECT count(*) FROM notifications") == [(0,)]


def test_a_wrong_address_fails_with_a_remedy(town: str) -> None:
    async def work() -> None:
        reachable(town, webhook_url="ftp://files.example/")
        await order(town)
        async with sending(town, Settings()):
            await until(lambda: settled(town))

    run(work())
    assert "correct units.csv" in str(rows(town, "SELECT last_error FROM notifications")[0][0])


def test_one_dead_receiver_holds_up_nobody(town: str) -> None:
    """The silent one is still being waited for when the other has its order."""

    async def work() -> tuple[Receiver, Receiver]:
        dead, alive = Receiver(hang=True), Receiver()
        async with dead.serving() as dead_address, alive.serving() as alive_address:
            reachable(town, webhook_url=dead_address)
            await order(town)
            with psycopg.connect(town) as connection:
                connection.execute(
                    "INSERT INTO units (code, name, webhook_url) VALUES ('other', '另一单位', %s)",
                    (alive_address,),
                )
                connection.execute(
                    "INSERT INTO notifications (incident_id, unit_id, purpose, channel, body)"
                    " SELECT 1, id, 'order', 'webhook', '{}' FROM units WHERE code = 'other'"
                )
            async with sending(town, Settings()):
                await until(lambda: len(dead.received) == 1 and len(alive.received) == 1)
        return dead, alive

    dead, alive = run(work())
    assert len(dead.received) == len(alive.received) == 1


def test_what_a_killed_worker_had_claimed_is_sent_after_its_lease(town: str) -> None:
    async def claims() -> list[list[notifications.Claimed]]:
        reachable(town, webhook_url="http://127.0.0.1:9/")
        await order(town)
        now = datetime.now(UTC) + SECOND
        async with await open_connection(town, "killed", autocommit=True) as killed:
            first = await notifications.claim(killed, now, 10, outbox.LEASE)
        async with await open_connection(town, "other", autocommit=True) as other:
            too_early = await notifications.claim(other, now + outbox.LEASE - SECOND, 10, outbox.LEASE)
            again = await notifications.claim(other, now + outbox.LEASE, 10, outbox.LEASE)
            stale = await notifications.settle(other, first[0], state="sent", next_attempt_at=now)
            ours = await notifications.settle(other, again[0], state="sent", next_attempt_at=now)
        assert (stale, ours) == (False, True)
        return [first, too_early, again]

    first, too_early, again = run(claims())
    assert too_early == []
    assert [each.key for each in first] == [each.key for each in again]
    assert [each.attempts for each in (*first, *again)] == [1, 2]


def test_several_workers_send_each_order_once(town: str) -> None:
    async def work() -> Receiver:
        receiver = Receiver()
        async with receiver.serving() as address:
            reachable(town, webhook_url=address)
            await order(town)
            with psycopg.connect(town) as connection:
                connection.execute(
                    "INSERT INTO notifications (incident_id, unit_id, purpose, channel, body)"
                    " SELECT incident_id, unit_id, purpose, channel, body || jsonb_build_object('n', n)"
                    " FROM notifications, generate_series(1, 30) n"
                )
            async with sending(town, Settings()), sending(town, Settings()):
                await until(lambda: settled(town))
        return receiver

    receiver = run(work())
    assert len(receiver.received) == 31
    assert len({headers["idempotency-key"] for headers, _ in receiver.received}) == 31

    async def broken() -> dict[int, int]:
        async with await open_connection(town, "test", autocommit=True) as connection:
            return await incidents.verify_all(connection)

    assert run(broken()) == {}


# ── mail ─────────────────────────────────────────────────────────────────────────────────────────────


class Mailbox:
    """A real SMTP server's handler: refuses as many recipients as told, then takes every mail."""

    def __init__(self, refusals: list[str]) -> None:
        self.refusals = refusals
        self.mails: list[Message] = []
        self.recipients: list[str] = []

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        self.mails.append(email.message_from_bytes(envelope.content or b""))  # type: ignore[arg-type]  # bytes by default
        self.recipients += envelope.rcpt_tos
        return "250 taken"


def mailed(url: str, mailbox: Mailbox) -> None:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:

        async def work() -> None:
            settings = Settings(
                smtp_url=f"smtp://127.0.0.1:{controller.port}", smtp_from="centre@city.example"
            )
            await order(url, mail=True)
            async with sending(url, settings):
                await until(lambda: settled(url))

        run(work())
    finally:
        controller.stop()


def test_a_mail_says_where_by_when_and_why(town: str) -> None:
    reachable(town, email="east@fire.example")
    mailbox = Mailbox([])
    mailed(town, mailbox)
    (mail,) = mailbox.mails
    assert mailbox.recipients == ["east@fire.example"]
    assert str(email.header.make_header(email.header.decode_header(mail["Subject"]))).startswith("[B] 派遣 2")
    raw = mail.get_payload(decode=True)
    assert isinstance(raw, bytes)
    text = raw.decode()
    for part in ("东街", "c02", "114.25, 22.75", "烟雾报警", "Smoke alarm", "职责清单", "/desk?incident=1"):
        assert part in text
    assert mail["Message-ID"]
    assert timeline(town) == ["opened", "dispatched", "told", "receipt"]


def test_a_busy_mail_server_is_tried_again_and_an_unknown_recipient_is_final(town: str) -> None:
    reachable(town, email="east@fire.example")
    mailbox = Mailbox(["451 busy"])
    mailed(town, mailbox)
    assert len(mailbox.mails) == 1
    assert rows(town, "SELECT state, attempts FROM notifications") == [("sent", 2)]


def test_an_unknown_recipient_is_final(town: str) -> None:
    reachable(town, email="nobody@fire.example")
    mailed(town, Mailbox(["550 no such person"]))
    assert rows(town, "SELECT state FROM notifications") == [("failed",)]
    assert timeline(town)[-1] == "delivery_failed"


# ── when to try again ────────────────────────────────────────────────────────────────────────────────


def test_pauses_grow_and_end_after_an_hour() -> None:
    pauses = []
    for attempts in range(1, 12):
        again = next_attempt(attempts, NOW, NOW, 0.5)
        assert again is not None
        pauses.append((again - NOW).total_seconds())
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert next_attempt(5, NOW, NOW + GIVE_UP_AFTER, 0.5) is None
    low, high = next_attempt(3, NOW, NOW, 0.0), next_attempt(3, NOW, NOW, 1.0)
    assert low is not None
    assert high is not None
    assert (low - NOW, high - NOW) == (4 * SECOND, 12 * SECOND)


def test_the_signature_is_what_docs_say() -> None:
    expected = hmac.new(b"secret", b"1763700000.{}", hashlib.sha256).hexdigest()
    assert webhook.signature("secret", "1763700000", b"{}") == f"sha256={expected}"
