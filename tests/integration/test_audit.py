"""Timelines proved against a hand at the tables: every way to change one is found, and named where it begins."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection
from typer.testing import CliRunner

from city.chains import Stored, first_fault
from city.incidents import GENESIS, Event, Happening, Incident, link
from city.settings import Settings
from city.storage import anchors, incidents
from city.storage.changes import open_connection
from command_centre import anchoring
from runtime import audit, doctor
from runtime.cli import app
from tests.integration.small_town import rows
from tests.servers.postgres import PostgresServer

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
T = TypeVar("T")


def on(url: str, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def server_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


async def _grow(
    connection: AsyncConnection[Any], incident: Incident, kinds: list[str], at: datetime
) -> Incident:
    happenings = [
        Happening(kind=kind, detail={"n": n}, text="张三" if kind == "commented" else "")
        for n, kind in enumerate(kinds)
    ]
    chained = incidents.chain(incident, happenings, at)
    await incidents.append(connection, [chained])
    grown = Incident(
        **{name: getattr(incident, name) for name in Incident.__dataclass_fields__}
        | {"last_seq": chained.last_seq, "head": chained.head}
    )
    await incidents.save(connection, [grown])
    return grown


@pytest.fixture
def town(server_url: str, tmp_path: Path) -> tuple[str, Path]:
    """Three incidents of four events, anchored, one of them with a fifth event since; as fresh for every test."""
    file = tmp_path / anchoring.FILE

    async def build(connection: AsyncConnection[Any]) -> None:
        await connection.execute("SET session_replication_role = replica")
        for table in (
            "anchored_heads", "anchors", "incident_texts", "incident_events", "notifications", "incidents",
            "incident_numbers",
        ):  # fmt: skip
            await connection.execute(f"DELETE FROM {table}")
        await connection.execute("SELECT setval(pg_get_serial_sequence('incidents', 'id'), 1, false)")
        await connection.execute("SET session_replication_role = origin")
        for _ in range(3):
            (number,) = await incidents.take_numbers(connection, NOW.date(), 1)
            new = Incident(
                number=number, incident_class="B", base_class="B", category="fire", reason="无", opened_at=NOW
            )
            (incident_id,) = await incidents.insert(connection, [new])
            fields = {name: getattr(new, name) for name in Incident.__dataclass_fields__} | {
                "id": incident_id
            }
            await _grow(connection, Incident(**fields), ["opened", "unassigned", "commented", "noted"], NOW)
        settings = Settings(data_dir=tmp_path, _env_file=None)
        await anchoring.anchor(connection, settings, NOW)
        await anchoring.file(connection, file, 0)
        first = await incidents.lock(connection, 1)
        assert first is not None
        await _grow(connection, first, ["noted"], NOW + timedelta(minutes=5))

    on(server_url, build)
    return server_url, file


def tamper(url: str, *statements: str, parameters: tuple[object, ...] = ()) -> None:
    """As somebody who owns the database does it: no trigger and no foreign key in the way."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.encode(), parameters or None)


def found(town: tuple[str, Path]) -> list[tuple[str, int, str]]:
    url, file = town
    report = asyncio.run(audit.examined(url, file))
    return [(one.number, one.seq, one.what) for one in report.broken]


def test_what_was_written_is_proved(town: tuple[str, Path]) -> None:
    report = asyncio.run(audit.examined(*town))
    assert report.broken == []
    assert (report.incidents, report.events, report.texts, report.anchors) == (3, 13, 3, 1)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE incident_events SET actor = 'user:9' WHERE incident_id = 2 AND seq = 2", (2, "changed")),
        (
            "UPDATE incident_events SET detail = '{\"n\": 7}' WHERE incident_id = 2 AND seq = 3",
            (3, "changed"),
        ),
        (
            "UPDATE incident_events SET detail = '{\"n\": 1.5}' WHERE incident_id = 2 AND seq = 2",
            (2, "changed"),
        ),
        (
            "UPDATE incident_events SET at = at + interval '1 us' WHERE incident_id = 2 AND seq = 1",
            (1, "changed"),
        ),
        ("UPDATE incident_events SET hash = '\\x00' WHERE incident_id = 2 AND seq = 4", (4, "changed")),
        ("DELETE FROM incident_events WHERE incident_id = 2 AND seq = 2", (2, "removed")),
        ("DELETE FROM incident_events WHERE incident_id = 2 AND seq = 4", (4, "cut")),
        ("DELETE FROM incident_events WHERE incident_id = 2", (1, "cut")),
        ("UPDATE incidents SET head = '\\x00' WHERE id = 2", (5, "head")),
        ("UPDATE incidents SET last_seq = 3 WHERE id = 2", (4, "added")),
        ("UPDATE incident_texts SET text = '李四' WHERE incident_id = 2", (3, "text")),
    ],
)
def test_each_way_to_change_one_is_named(
    town: tuple[str, Path], statement: str, fault: tuple[int, str]
) -> None:
    tamper(town[0], statement)
    assert found(town) == [("20261121-0002", *fault)]


def test_an_erased_text_is_no_fault(town: tuple[str, Path]) -> None:
    tamper(town[0], "DELETE FROM incident_texts")
    assert found(town) == []


def rewrite(url: str, incident_id: int, from_seq: int, *, head: bool) -> None:
    """Somebody who knows how: another actor from one event on, hashed again, and the head too if wished."""

    async def work(connection: AsyncConnection[Any]) -> None:
        await connection.execute("SET session_replication_role = replica")
        previous = GENESIS
        for event in await incidents.events(connection, incident_id):
            fields = {name: getattr(event, name) for name in Event.__dataclass_fields__}
            actor = "user:9" if event.seq >= from_seq else event.actor
            changed = Event(**fields | {"actor": actor, "previous": previous})
            previous = link(previous, changed)
            await connection.execute(
                "UPDATE incident_events SET actor = %s, previous = %s, hash = %s WHERE incident_id = %s AND seq = %s",
                (actor, changed.previous, previous, incident_id, event.seq),
            )
        if head:
            await connection.execute("UPDATE incidents SET head = %s WHERE id = %s", (previous, incident_id))

    on(url, work)


def test_a_chain_rewritten_to_its_end_does_not_fit_the_head(town: tuple[str, Path]) -> None:
    rewrite(town[0], 3, 2, head=False)
    assert found(town) == [("20261121-0003", 5, "head")]


def test_one_event_rewritten_with_its_own_hash_breaks_at_the_next(town: tuple[str, Path]) -> None:
    tamper_one = "UPDATE incident_events SET previous = hash WHERE incident_id = 3 AND seq = 2"
    tamper(town[0], tamper_one)
    assert found(town) == [("20261121-0003", 2, "changed")]
    events = on(town[0], lambda connection: incidents.events(connection, 2))
    second = events[1]
    fields = {name: getattr(second, name) for name in Event.__dataclass_fields__}
    forged = Event(**fields | {"actor": "user:9"})
    forged = Event(**fields | {"actor": "user:9", "hash": link(forged.previous, forged)})
    chain = [Stored(event=one, salt=None, text=None) for one in (events[0], forged, *events[2:])]
    assert first_fault(chain, 4, events[-1].hash) == (3, "broken")


def test_a_chain_rewritten_whole_with_its_head_is_found_by_the_anchor(town: tuple[str, Path]) -> None:
    rewrite(town[0], 1, 2, head=True)
    report = asyncio.run(audit.examined(*town))
    (fault,) = report.broken
    assert (fault.number, fault.seq, fault.what, fault.anchor) == ("20261121-0001", 4, "anchored", 1)
    assert on(town[0], incidents.verify_all) == {}


def test_what_came_after_the_last_anchor_is_left_to_the_next(town: tuple[str, Path]) -> None:
    rewrite(town[0], 1, 5, head=True)
    assert found(town) == []


def test_a_whole_incident_that_was_removed_is_missed(town: tuple[str, Path]) -> None:
    tamper(
        town[0],
        "DELETE FROM incident_texts WHERE incident_id = 2",
        "DELETE FROM incident_events WHERE incident_id = 2",
        "DELETE FROM incidents WHERE id = 2",
    )
    assert found(town) == [("id 2", 4, "gone"), ("20261121-0002", 0, "gone")]


def test_events_without_their_incident_are_named(town: tuple[str, Path]) -> None:
    tamper(town[0], "DELETE FROM incidents WHERE id = 2")
    assert ("id 2", 0, "gone") in found(town)


# ── anchors ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_anchor_made_to_fit_is_found_by_its_digest_and_by_the_file(town: tuple[str, Path]) -> None:
    url, file = town
    rewrite(url, 2, 2, head=True)
    tamper(
        url,
        "UPDATE anchored_heads a SET head = e.hash FROM incident_events e"
        " WHERE e.incident_id = a.incident_id AND e.seq = a.seq",
    )
    assert found(town) == [("", 0, "anchor")]

    async def fit(connection: AsyncConnection[Any]) -> None:
        (anchor,) = await anchors.after(connection, 0)
        cursor = await connection.execute("SELECT incident_id, seq, head FROM anchored_heads")
        heads = [anchors.Head(incident_id=row[0], seq=row[1], head=row[2]) for row in await cursor.fetchall()]
        digest = anchors.anchor_digest(anchor.id, anchor.at, anchor.previous, heads)
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE anchors SET digest = %s", (digest,))

    on(url, fit)
    report = asyncio.run(audit.examined(url, file))
    assert [(one.what, one.anchor, one.detail) for one in report.broken] == [
        ("anchor", 1, "differs from anchors.log")
    ]
    assert asyncio.run(audit.examined(url, file.with_name("none"))).broken == []


def test_removed_anchors_are_missed(town: tuple[str, Path]) -> None:
    url, file = town
    settings = Settings(data_dir=file.parent, _env_file=None)
    on(url, lambda connection: anchoring.anchor(connection, settings, NOW + HOUR))
    on(url, lambda connection: anchoring.file(connection, file, 1))
    assert [line["id"] for line in anchoring.read(file)] == [1, 2]
    assert found(town) == []
    tamper(url, "DELETE FROM anchored_heads WHERE anchor_id = 2", "DELETE FROM anchors WHERE id = 2")
    assert found(town) == [("", 0, "anchor")]
    tamper(url, "DELETE FROM anchored_heads", "DELETE FROM anchors")
    assert found(town) == [("", 0, "anchor")]


def test_an_anchor_is_hourly_only_when_something_moved_and_goes_elsewhere_too(town: tuple[str, Path]) -> None:
    url, file = town
    settings = Settings(data_dir=file.parent, anchor_url="https://witness.example/anchors", _env_file=None)

    def anchor(at: datetime) -> object:
        return on(url, lambda connection: anchoring.anchor(connection, settings, at))

    assert anchor(NOW + timedelta(minutes=59)) is None
    second = anchor(NOW + HOUR)
    assert second is not None
    assert anchor(NOW + 3 * HOUR) is None
    assert rows(url, "SELECT anchor_id, incident_id, seq FROM anchored_heads WHERE anchor_id = 2") == [
        (2, 1, 5)
    ]
    ((purpose, address, body),) = rows(url, "SELECT purpose, address, body FROM notifications")
    assert (purpose, address) == ("anchor", "https://witness.example/anchors")
    assert isinstance(body, dict)
    assert body["heads"] == 1


def test_two_centres_anchor_once(town: tuple[str, Path]) -> None:
    async def work() -> tuple[object, object]:
        async with (
            await open_connection(town[0], "one", autocommit=True) as one,
            await open_connection(town[0], "two", autocommit=True) as two,
            one.transaction(),
            two.transaction(),
        ):
            at = NOW + HOUR
            return (
                await anchors.write(one, at, not_before=at - HOUR),
                await anchors.write(two, at, not_before=at - HOUR),
            )

    first, second = asyncio.run(work())
    assert first is not None
    assert second is None


def test_a_line_cut_off_by_a_crash_is_written_again(town: tuple[str, Path]) -> None:
    url, file = town
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    on(url, lambda connection: anchoring.file(connection, file, 0))
    assert anchoring.read(file) == [json.loads(whole)]
    assert found(town) == []


# ── the command ──────────────────────────────────────────────────────────────────────────────────────


def command(monkeypatch: pytest.MonkeyPatch, town: tuple[str, Path], *arguments: str) -> tuple[int, str]:
    monkeypatch.setenv("CITY_DATABASE_URL", town[0])
    monkeypatch.setenv("CITY_DATA_DIR", str(town[1].parent))
    done = CliRunner().invoke(app, ["audit", "verify", *arguments])
    return done.exit_code, done.output


def test_the_command_says_all_is_well_and_where_it_is_not(
    town: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = command(monkeypatch, town)
    assert code == 0
    assert "3 incidents, 13 events, 3 texts, 1 anchors" in said
    tamper(town[0], "UPDATE incident_events SET actor = 'user:9' WHERE incident_id = 2 AND seq = 2")
    code, said = command(monkeypatch, town)
    assert code == 1
    assert "20261121-0002 #2: 内容被改动 / its content was changed" in said
    code, said = command(monkeypatch, town, "--json")
    assert code == 1
    assert json.loads(said)["broken"][0]["number"] == "20261121-0002"
    assert command(monkeypatch, town, "--incident", "20261121-0001")[0] == 0
    assert command(monkeypatch, town, "--incident", "20261121-0002")[0] == 1
    since = (NOW + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S")
    code, said = command(monkeypatch, town, "--since", since, "--json")
    assert (code, json.loads(said)["incidents"]) == (0, 1)


def test_the_doctor_looks_at_some_and_at_the_anchors(town: tuple[str, Path]) -> None:
    settings = Settings(database_url=town[0], data_dir=town[1].parent, _env_file=None)
    assert doctor._timelines(settings).state == "ok"
    rewrite(town[0], 2, 1, head=True)
    finding = doctor._timelines(settings)
    assert finding.state == "fail"
    assert "incident 20261121-0002 is not as it was written from event 4 on" in finding.text
    assert "anchor 1" in finding.text
