"""Orders reach their units: signed, once under one key, retried, receipted, and on the timeline when they do not."""

import asyncio
import email
import email.header
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from city.incidents import Change, Happening, Incident, Tell
from city.settings import Settings
from city.storage import digests, incidents, notifications
from city.storage.changes import open_connection
from city.storage.shared_secrets import OF_UNIT
from command_centre import outbox, recording, triage_loop
from command_centre.known_directory import KnownDirectory
from command_centre.notify import delivery, webhook
from command_centre.notify.delivery import GIVE_UP_AFTER, next_attempt
from tests.integration.small_town import NOW, build, raise_alarm
from tests.servers.postgres import PostgresServer
from tests.servers.processes import free_port

SECOND = timedelta(seconds=1)
HAPPENED = (
    "notifications", "contacts", "incident_clocks", "incident_texts", "incident_events", "incidents", "alarms",
    "changes", "incident_numbers",
)  # fmt: skip
LOOKING: dict[
    str, psycopg.Connection[Any]
] = {}  # one connection for all looks: a new one costs more than the look


def rows(url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a query answers."""
    return LOOKING[url].execute(query.encode(), parameters or None).fetchall()


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


@pytest.fixture(scope="module")
def ground(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    build(url)
    with psycopg.connect(url, autocommit=True) as looking:
        LOOKING[url] = looking
        yield url
        del LOOKING[url]
    postgres_server.drop_database(name)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first pause between attempts is a matter of milliseconds here; secrets are sealed with a key of the test."""
    monkeypatch.setattr(delivery, "_FIRST_S", 0.01)
    monkeypatch.setenv("CITY_DATA_KEY_FILE", str(tmp_path / "data.keys"))


@pytest.fixture
def town(ground: str) -> str:
    """The one town of this file, with nothing in it that happened and nobody who can be reached."""
    with psycopg.connect(ground) as connection:
        connection.execute("SET session_replication_role = replica")  # deleting is quicker than truncating
        for table in HAPPENED:
            connection.execute(f"DELETE FROM {table}".encode())
        connection.execute("SET session_replication_role = origin")
        connection.execute("SELECT setval(pg_get_serial_sequence('incidents', 'id'), 1, false)")
        connection.execute("DELETE FROM units WHERE code NOT LIKE 'fire-%'")
        connection.execute(
            "UPDATE units SET webhook_url = '', webhook_secret = '', email = '', lead_email = '', kind = 'fire'"
        )
        connection.execute("DELETE FROM users")
    return ground


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
        await asyncio.wait_for(task, 60)


def settled(url: str) -> bool:
    return rows(url, "SELECT count(*) FROM notifications WHERE state = 'waiting'") == [(0,)]


def timeline(url: str) -> list[object]:
    return [row[0] for row in rows(url, "SELECT kind FROM incident_events ORDER BY incident_id, seq")]


async def all_proved(url: str) -> dict[int, int]:
    async with await open_connection(url, "test", autocommit=True) as connection:
        return await incidents.verify_all(connection)


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
    ((row, stored),) = rows(town, "SELECT id, webhook_secret FROM units WHERE code = 'fire-east'")
    secret = OF_UNIT.opened(Settings().keys.ring(), row, str(stored))
    assert len(secret) == 64
    assert secret not in stored
    expected = hmac.new(
        secret.encode(), headers["x-city-timestamp"].encode() + b"." + body, hashlib.sha256
    ).hexdigest()
    assert headers["x-city-signature"] == f"sha256={expected}"
    event = json.loads(body)
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert {name: event[name] for name in ("specversion", "source", "type", "datacontenttype")} == {
        "specversion": "1.0", "source": "https://city.example", "type": "city.incident.order",
        "datacontenttype": "application/json",
    }  # fmt: skip
    assert all(name.isalnum() and name == name.lower() for name in event)
    assert event["subject"] == event["data"]["number"]
    assert datetime.fromisoformat(event["time"]).utcoffset() == timedelta(0)
    sent = event["data"]
    assert event["id"] == sent["id"]
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


def test_who_stood_still_longer_than_its_lease_sends_nothing(
    town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RENEWED", timedelta(0))

    async def work() -> tuple[Receiver, int]:
        receiver = Receiver()
        async with receiver.serving() as address:
            reachable(town, webhook_url=address)
            await order(town)
            async with (
                await open_connection(town, "still", autocommit=True) as still,
                await open_connection(town, "other", autocommit=True) as other,
                webhook.new_client() as client,
            ):
                stood = outbox.Outbox(still, client, Settings())
                (held,) = await stood.claim(10)
                await stood.renew(datetime.now(UTC))
                early = await notifications.claim(
                    other, datetime.now(UTC) + outbox.LEASE / 2, 10, outbox.LEASE
                )
                taken = await notifications.claim(
                    other, datetime.now(UTC) + 2 * outbox.LEASE, 10, outbox.LEASE
                )
                await stood.renew(datetime.now(UTC))  # it goes on, and finds that it is not its own any more
                await stood.deliver(held)
                stood.close()
            assert (len(early), len(taken)) == (0, 1)
        return receiver, held.attempts

    receiver, attempts = run(work())
    assert receiver.received == []
    assert rows(town, "SELECT state, attempts FROM notifications") == [("waiting", attempts + 1)]


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

    assert run(all_proved(town)) == {}


# ── wishes, quiet hours, digests, another way ────────────────────────────────────────────────────────


def contact(url: str, address: str, **more: object) -> int:
    """A contact of the station, or of ``user_id``."""
    row = {"channel": "webhook", "address": address, "language": "zh", "digest": True} | more
    owner = "(SELECT id FROM units WHERE code = 'fire-east')" if "user_id" not in row else "NULL"
    names = ", ".join(row)
    with psycopg.connect(url) as connection:
        values = ", ".join(["%s"] * len(row))
        query = f"INSERT INTO contacts (unit_id, {names}) VALUES ({owner}, {values}) RETURNING id"
        made = connection.execute(query.encode(), list(row.values())).fetchone()
    assert made is not None
    return int(made[0])


def store(url: str, *tells: Tell, count: int = 1, **more: object) -> None:
    """Incidents of the station with these tells, stored as every decision is."""

    async def work() -> None:
        async with await open_connection(url, "test", autocommit=True) as connection:
            now = datetime.now(UTC)
            directory = await KnownDirectory(Settings().zone).fresh(connection, now)
            unit = directory.unit_by_code("fire-east")
            assert unit is not None
            base = {
                "incident_class": "C", "base_class": "C", "category": "fire.smoke", "unit_id": unit.id, "reason": "无",
                "state": "dispatched", "due_at": now + timedelta(hours=2), "dispatched_at": now, "opened_at": now,
            }  # fmt: skip
            made = [
                Change(
                    incident=Incident(id=-number, **base | more),
                    happenings=(Happening(kind="opened"),),
                    tells=tells or (Tell(purpose="order"),),
                    position=(114.0, 22.0),
                )
                for number in range(count)
            ]
            async with connection.transaction():
                await recording.store(connection, directory, made, now, mail=False)

    run(work())


def sent_to(url: str, settings: Settings) -> None:
    """Send everything that is due until nothing of it waits."""

    async def work() -> None:
        async with sending(url, settings):
            await until(
                lambda: (
                    rows(
                        url,
                        "SELECT count(*) FROM notifications WHERE state IN ('waiting', 'folded') AND NOT held",
                    )
                    == [(0,)]
                )
            )

    run(work())


def deliver(
    url: str, *, prepare: Callable[[str], None], statuses: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Serve a receiver, let ``prepare`` use its address, send; what arrived."""
    receiver = Receiver(statuses=list(statuses))

    async def work() -> None:
        async with receiver.serving() as address:
            await asyncio.to_thread(prepare, address)
            async with sending(url, Settings()):
                await until(lambda: settled(url))

    run(work())
    return [json.loads(body) for _, body in receiver.received]


def details(url: str, kind: str) -> list[Any]:
    return [
        row[0]
        for row in rows(
            url, "SELECT detail FROM incident_events WHERE kind = %s ORDER BY incident_id, seq", kind
        )
    ]


def test_more_than_ten_become_one_digest_and_each_has_its_receipt(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address)
        store(town, count=12)
        store(town, incident_class="A")

    arrived = deliver(town, prepare=prepare)
    assert sorted(event["type"] for event in arrived) == ["city.incident.digest", "city.incident.order"]
    digest = next(event["data"] for event in arrived if event["type"] == "city.incident.digest")
    single = next(event["data"] for event in arrived if event["type"] == "city.incident.order")
    assert single["class"] == "A"
    assert digest["count"] == 12
    assert {item["class"] for item in digest["items"]} == {"C"}
    assert all(item["number"] and item["due_at"] for item in digest["items"])
    ((digest_id,),) = rows(town, "SELECT id FROM notifications WHERE purpose = 'digest'")
    receipts = details(town, "receipt")
    assert [detail.get("digest") for detail in receipts] == [digest_id] * 12 + [None]
    assert rows(town, "SELECT DISTINCT state FROM notifications") == [("sent",)]
    assert run(all_proved(town)) == {}


def test_ten_go_singly_and_so_do_those_of_a_receiver_that_wants_each(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address, digest=False)
        store(town, count=12)

    assert len(deliver(town, prepare=prepare)) == 12

    def again(address: str) -> None:
        with psycopg.connect(town) as connection:
            connection.execute("UPDATE contacts SET digest = true, address = %s", (address,))
        store(town, count=10)

    assert {event["type"] for event in deliver(town, prepare=again)} == {"city.incident.order"}


def test_beyond_ten_a_minute_the_rest_waits_for_one_digest(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address)
        store(town, count=10)

    assert len(deliver(town, prepare=prepare)) == 10
    store(town, count=3)

    async def folding(minutes: float) -> list[Any]:
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        async with await open_connection(town, "test", autocommit=True) as connection:
            await digests.hold_storms(connection, at)
            claimed = await notifications.claim(connection, at, 16, outbox.LEASE)
            return [claimed, await digests.storms(connection, at)]

    assert run(folding(0)) == [[], []]
    assert rows(town, "SELECT count(*) FROM notifications WHERE held AND state = 'waiting'") == [(3,)]
    claimed, storms = run(folding(1))
    assert claimed == []
    assert len(storms) == 1


def test_quiet_hours_hold_back_all_but_class_a_and_the_gravest_levels(town: str) -> None:
    now = datetime.now(Settings().zone)
    quiet = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"

    def prepare(address: str) -> None:
        contact(town, address, quiet=quiet)
        store(town, count=2)
        store(town, incident_class="A")
        store(town, event_level=2)

    receiver = Receiver()

    async def work() -> None:
        async with receiver.serving() as address:
            await asyncio.to_thread(prepare, address)
            async with sending(town, Settings()):
                await until(
                    lambda: rows(town, "SELECT count(*) FROM notifications WHERE state = 'sent'") == [(2,)]
                )
            with psycopg.connect(town) as connection:  # the morning comes
                connection.execute("UPDATE notifications SET next_attempt_at = now() WHERE held")
            async with sending(town, Settings()):
                await until(lambda: settled(town))

    run(work())
    events = [json.loads(body) for _, body in receiver.received]
    assert [event["type"] for event in events] == ["city.incident.order"] * 2 + ["city.incident.digest"]
    assert {(event["data"]["class"], event["data"]["event_level"]) for event in events[:2]} == {
        ("A", 4),
        ("C", 2),
    }
    assert events[2]["data"]["count"] == 2
    held = [detail for detail in details(town, "told") if "held_until" in detail]
    assert len(held) == 2
    assert datetime.fromisoformat(held[0]["held_until"]) > now


def test_purposes_are_wishes_by_channel(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address, purposes=["remind"])
        store(town, Tell(purpose="remind"), Tell(purpose="supervise"), Tell(purpose="order"))

    assert sorted(event["type"] for event in deliver(town, prepare=prepare)) == [
        "city.incident.order", "city.incident.remind",
    ]  # fmt: skip
    assert "preferences" in str(rows(town, "SELECT reason FROM incident_events WHERE kind = 'nobody_told'"))


def test_a_lead_reached_at_the_units_contact_is_not_told_the_same_twice(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address)
        store(town, Tell(purpose="again"), Tell(purpose="again", to_lead=True))

    assert [event["type"] for event in deliver(town, prepare=prepare)] == ["city.incident.again"]
    assert timeline(town) == ["opened", "told", "receipt"]


def test_what_fails_for_good_is_told_by_another_way(town: str) -> None:
    def prepare(address: str) -> None:
        reachable(town, webhook_url=f"{address}/gone")
        contact(town, address, purposes=["decided"], language="en")
        store(town, Tell(purpose="remind"))

    arrived = deliver(town, prepare=prepare, statuses=[404])
    assert [event["type"] for event in arrived] == ["city.incident.remind"] * 2
    assert [detail["instead"] for detail in details(town, "delivery_failed")] == ["webhook"]
    assert timeline(town) == ["opened", "told", "delivery_failed", "receipt"]


def test_a_digest_that_fails_is_told_by_another_way_and_when_there_is_none_telephone(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address)
        contact(town, address, lead=True)
        store(town, count=11)

    arrived = deliver(town, prepare=prepare, statuses=[404, 404])
    assert [event["type"] for event in arrived] == ["city.incident.digest"] * 2
    failed = [detail["instead"] for detail in details(town, "delivery_failed")]
    assert sorted(failed) == ["telephone"] * 11 + ["webhook"] * 11
    assert run(all_proved(town)) == {}


def test_a_removed_contact_is_not_called_any_more(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address)
        store(town)
        with psycopg.connect(town) as connection:
            connection.execute("UPDATE contacts SET removed_at = now()")

    assert deliver(town, prepare=prepare) == []
    assert rows(town, "SELECT state, last_error FROM notifications") == [
        ("failed", "the contact was removed or switched off")
    ]


def test_what_is_asked_reaches_supervisors_in_person_and_the_centre(town: str) -> None:
    def prepare(address: str) -> None:
        with psycopg.connect(town) as connection:
            connection.execute(
                "UPDATE units SET kind = 'district_centre', webhook_url = %s WHERE code = 'fire-hq'",
                (address,),
            )
            (person,) = connection.execute(
                "INSERT INTO users (name, password_hash, role) VALUES ('s', 'x', 'supervisor') RETURNING id"
            ).fetchone() or (0,)
        contact(town, address, user_id=person)
        store(town, Tell(purpose="asked"))

    receiver = deliver(town, prepare=prepare)
    assert [event["type"] for event in receiver] == [
        "city.incident.asked"
    ]  # a person's own may not lead inside
    assert [detail["to"] for detail in details(town, "told")] == ["approvers"]
    ((error,),) = rows(town, "SELECT last_error FROM notifications WHERE state = 'failed'")
    assert "private network" in str(error)


def test_nobody_to_ask_is_said(town: str) -> None:
    store(town, Tell(purpose="asked"))
    assert timeline(town) == ["opened", "nobody_told"]


def test_a_hanging_receiver_takes_a_few_places_and_no_more(town: str) -> None:
    async def work() -> None:
        dead, alive = Receiver(hang=True), Receiver()
        async with dead.serving() as dead_address, alive.serving() as alive_address:
            contact(town, dead_address, digest=False)
            await asyncio.to_thread(store, town, count=30)
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
                await until(lambda: len(alive.received) == 1)
                assert len(dead.received) <= notifications.AT_ONCE_EACH

    run(work())


# ── notices and anchors ──────────────────────────────────────────────────────────────────────────────


def notice(url: str, **given: Any) -> None:
    async def work() -> None:
        async with await open_connection(url, "test", autocommit=True) as connection:
            await notifications.enqueue_notice(
                connection, report_id=7, language="zh", template="handled", params={"tracking": "R-1"},
                now=datetime.now(UTC), **given,
            )  # fmt: skip

    run(work())


def test_a_citizens_mail_goes_out_its_receipt_is_kept_and_its_address_forgotten(town: str) -> None:
    store(town, Tell(purpose="supervise"))
    mailbox = Mailbox([])
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        notice(town, incident_id=1, channel="email", address="citizen@example.org")
        settings = Settings(smtp_url=f"smtp://127.0.0.1:{controller.port}", public_url="https://city.example")
        sent_to(town, settings)
    finally:
        controller.stop()
    (mail,) = mailbox.mails
    raw = mail.get_payload(decode=True)
    assert isinstance(raw, bytes)
    assert "R-1" in raw.decode()
    assert "https://city.example/track/R-1" in raw.decode()
    assert rows(town, "SELECT state, address FROM notifications WHERE purpose = 'notice'") == [("sent", "")]
    (receipt,) = details(town, "receipt")
    assert receipt["to"] == "reporter"
    assert "citizen@example.org" not in str(rows(town, "SELECT detail, reason FROM incident_events"))


def test_what_a_citizen_gives_never_leads_inside_and_what_is_missing_is_said(town: str) -> None:
    notice(town, incident_id=None, channel="webhook", address="http://127.0.0.1:9/")
    notice(town, incident_id=None, channel="sms", address="13800138000")
    notice(town, incident_id=None, channel="email", address="c@example.org")
    secret = Settings(webhook_secret="x" * 32)
    sent_to(town, secret)
    errors = [str(row[0]) for row in rows(town, "SELECT last_error FROM notifications ORDER BY id")]
    assert "private network" in errors[0]
    assert "CITY_SMS_URL" in errors[1]
    assert "CITY_SMTP_URL" in errors[2]


def test_what_a_mail_server_says_of_a_citizens_address_is_kept_without_it(town: str) -> None:
    controller = Controller(
        Mailbox(["550 citizen@example.org unknown"]), hostname="127.0.0.1", port=free_port()
    )
    controller.start()
    try:
        notice(town, incident_id=None, channel="email", address="citizen@example.org")
        sent_to(town, Settings(smtp_url=f"smtp://127.0.0.1:{controller.port}"))
    finally:
        controller.stop()
    ((state, error),) = rows(town, "SELECT state, last_error FROM notifications")
    assert state == "failed"
    assert "citizen@example.org" not in error


def test_our_own_mistake_in_one_message_stops_no_other(town: str) -> None:
    def prepare(address: str) -> None:
        contact(town, address)
        store(town)
        with psycopg.connect(town) as connection:  # a body that nobody of ours writes
            connection.execute(
                "INSERT INTO notifications (contact_id, purpose, channel, body, began_at)"
                " SELECT id, 'test', 'webhook', '[]', now() - interval '1 hour' FROM contacts"
            )

    assert [event["type"] for event in deliver(town, prepare=prepare)] == ["city.incident.order"]
    ((error,),) = rows(town, "SELECT last_error FROM notifications WHERE state = 'failed'")
    assert "our mistake" in error


def test_the_database_refuses_to_silence_class_a(town: str) -> None:
    for silencing in ("held", "fold"):
        with psycopg.connect(town) as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                f"INSERT INTO notifications (purpose, channel, body, urgent, {silencing})"
                " VALUES ('test', 'smtp', '{}', true, true)".encode()
            )


def test_a_forgotten_reporter_is_not_written_to(town: str) -> None:
    notice(town, incident_id=None, channel="email", address="c@example.org")

    async def forget() -> None:
        async with await open_connection(town, "test", autocommit=True) as connection:
            await notifications.forget_report(connection, 7)

    run(forget())
    assert rows(town, "SELECT state, address FROM notifications") == [("failed", "")]


def test_an_anchor_is_signed_with_the_districts_own_secret(town: str) -> None:
    receiver = Receiver()

    async def work() -> None:
        async with (
            receiver.serving() as address,
            await open_connection(town, "test", autocommit=True) as connection,
        ):
            new = notifications.NewNotification(
                incident_id=None, unit_id=None, purpose="anchor", channel="webhook", to_lead=False,
                body={"anchor": 1}, address=address,
            )  # fmt: skip
            await notifications.enqueue(connection, [new], datetime.now(UTC))
            async with sending(town, Settings(webhook_secret="districts own")):
                await until(lambda: settled(town))

    run(work())
    ((headers, body),) = receiver.received
    assert json.loads(body)["type"] == "city.audit.anchor"
    assert headers["x-city-signature"] == webhook.signature(
        "districts own", headers["x-city-timestamp"], body
    )


def test_private_networks_can_be_refused(town: str) -> None:
    reachable(town, webhook_url="http://127.0.0.1:9/")
    store(town)
    sent_to(town, Settings(webhook_private="refuse"))
    ((error,),) = rows(town, "SELECT last_error FROM notifications")
    assert "private network" in str(error)


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


def test_pauses_grow_and_end_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
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
