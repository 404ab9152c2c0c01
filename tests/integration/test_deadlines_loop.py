"""Clocks and housekeeping on a real database: urging, overdue, our own outage, retention, rollups."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection

from city.incidents import Change, Incident
from city.settings import Settings
from city.storage import maintenance
from city.storage.changes import open_connection
from command_centre import deadlines, deadlines_loop, triage_loop, upkeep
from command_centre.known_directory import KnownDirectory
from tests.integration.small_town import NOW, build, raise_alarm, rows

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
T = TypeVar("T")


@pytest.fixture
def town(migrated_url: str) -> str:
    build(migrated_url)
    return migrated_url


def on(url: str, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


def triage(url: str, now: datetime) -> int:
    return on(
        url,
        lambda connection: triage_loop.triage_batch(
            connection, KnownDirectory(Settings().zone), now, mail=True
        ),
    )


def strike(url: str, now: datetime) -> int:
    return on(
        url,
        lambda connection: deadlines_loop.strike(
            connection, KnownDirectory(Settings().zone), Settings(smtp_url="smtp://127.0.0.1"), now
        ),
    )


def test_nobody_acknowledges_so_the_lead_then_the_unit_above_is_urged_then_it_is_overdue(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute(
            "UPDATE units SET email = code || '@x.example', lead_email = 'lead-' || code || '@x.example'"
        )
    raise_alarm(town, "c02-s1")
    triage(town, NOW)
    struck = [
        strike(town, NOW + minute * MINUTE) for minute in (4, 5, 6, 10, 23, 24, 29, 30, 31, 600, 601, 9)
    ]
    assert struck == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0]  # in the end the machine's clock goes back
    told = rows(
        town,
        "SELECT n.purpose, u.code, n.to_lead FROM notifications n JOIN units u ON u.id = n.unit_id ORDER BY n.id",
    )
    assert told == [
        ("order", "fire-east", False),
        ("urge", "fire-east", True),
        ("urge", "fire-hq", True),
        ("remind", "fire-east", False),
        ("overdue", "fire-east", True),
        ("urge", "fire-hq", True),  # the highest of the two that passed meanwhile
    ]
    kinds = [
        row[0] for row in rows(town, "SELECT kind FROM incident_events WHERE kind <> 'told' ORDER BY seq")
    ]
    assert kinds == ["opened", "dispatched", "urged", "urged", "reminded", "overdue", "urged", "urged"]
    assert rows(town, "SELECT urged_level, overdue_at FROM incidents") == [(2, NOW + 30 * MINUTE)]


def test_two_centres_urge_once(town: str) -> None:
    raise_alarm(town, "c02-s1")
    triage(town, NOW)

    async def both() -> list[int]:
        connections = [await open_connection(town, "test", autocommit=True) for _ in range(2)]
        try:
            return await asyncio.gather(
                *(
                    deadlines_loop.strike(each, KnownDirectory(Settings().zone), Settings(), NOW + 5 * MINUTE)
                    for each in connections
                )
            )
        finally:
            for each in connections:
                await each.close()

    assert sum(asyncio.run(both())) == 1
    assert rows(town, "SELECT count(*) FROM incident_events WHERE kind = 'urged'") == [(1,)]


def test_one_that_cannot_be_written_keeps_nobody_else_from_being_urged(
    town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cell in ("c02", "c09"):  # too far from each other to be one fire
        raise_alarm(town, f"{cell}-s1")
    triage(town, NOW)
    (first,), (second,) = rows(town, "SELECT id FROM incidents ORDER BY id")
    take = deadlines.take

    def refuses_one(incident: Incident, *more: Any) -> Change:
        if incident.id == first:
            raise ValueError("cannot be written")
        return take(incident, *more)

    monkeypatch.setattr(deadlines, "take", refuses_one)
    assert strike(town, NOW + 5 * MINUTE) == 2
    urged = "SELECT incident_id FROM incident_events WHERE kind = 'urged' ORDER BY incident_id"
    assert rows(town, urged) == [(second,)]
    assert strike(town, NOW + 6 * MINUTE) == 0
    monkeypatch.undo()
    assert strike(town, NOW + 15 * MINUTE) == 2
    assert rows(town, f"SELECT DISTINCT incident_id FROM ({urged}) found") == [(first,), (second,)]


def test_the_lane_becomes_overdue_without_anybody_to_tell(town: str) -> None:
    raise_alarm(town, "d00-s1")
    triage(town, NOW)
    assert strike(town, NOW + 30 * MINUTE) == 1
    assert rows(town, "SELECT kind FROM incident_events ORDER BY seq DESC LIMIT 1") == [("overdue",)]


# ── our own outage ───────────────────────────────────────────────────────────────────────────────────


def heartbeat(url: str, at: datetime, dropped: int = 0) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM ingest_sessions")
        connection.execute(
            "INSERT INTO ingest_sessions (client_id, listening_from, alive_at, figures)"
            " VALUES ('i', %s, %s, jsonb_build_object('broker_dropped', %s::int))",
            (at, at, dropped),
        )


def watch(url: str, now: datetime, started: datetime = NOW - timedelta(hours=1)) -> None:
    async def both(connection: AsyncConnection[Any]) -> None:
        await upkeep.watch_ingest(connection, now, started)
        await upkeep.watch_broker(connection, now)

    on(url, both)


def test_a_silent_ingest_is_one_incident_and_clears_by_itself_but_does_not_close(town: str) -> None:
    heartbeat(town, NOW)
    watch(town, NOW + 30 * SECOND)
    assert rows(town, "SELECT count(*) FROM alarms") == [(0,)]
    for second in (31, 32, 60):
        watch(town, NOW + second * SECOND)
    triage(town, NOW + MINUTE)
    assert rows(town, "SELECT count(*) FROM alarms") == [(1,)]
    assert rows(town, "SELECT source, category, state, area_id FROM incidents") == [
        ("system", "system.ingest", "filed", None)
    ]
    heartbeat(town, NOW + 2 * MINUTE)
    watch(town, NOW + 2 * MINUTE)
    assert rows(town, "SELECT cleared_at FROM alarms") == [(NOW + 2 * MINUTE,)]
    assert rows(town, "SELECT state FROM incidents") == [("filed",)]
    watch(town, NOW + 3 * MINUTE)
    triage(town, NOW + 3 * MINUTE)
    assert rows(town, "SELECT count(*), count(DISTINCT incident_id) FROM alarms") == [(2, 1)]


def test_an_ingest_that_starts_beside_us_gets_its_time(town: str) -> None:
    watch(town, NOW + 30 * SECOND, started=NOW)
    assert rows(town, "SELECT count(*) FROM alarms") == [(0,)]
    watch(town, NOW + 31 * SECOND, started=NOW)
    assert rows(town, "SELECT rule_id FROM alarms") == [("system.ingest_silent",)]


def test_a_dropping_broker_is_an_alarm_until_it_has_been_calm(town: str) -> None:
    def standing() -> int:
        return len(
            rows(town, "SELECT 1 FROM alarms WHERE rule_id = 'system.broker_dropped' AND cleared_at IS NULL")
        )

    heartbeat(town, NOW, dropped=0)
    watch(town, NOW)
    assert standing() == 0
    heartbeat(town, NOW, dropped=7)
    watch(town, NOW + SECOND)
    watch(town, NOW + 2 * SECOND)
    assert standing() == 1
    assert rows(town, "SELECT evidence->>'broker_dropped', repeats FROM alarms") == [("7", 0)]
    heartbeat(town, NOW + 4 * MINUTE, dropped=9)
    watch(town, NOW + 4 * MINUTE)
    heartbeat(town, NOW + 8 * MINUTE, dropped=9)
    watch(town, NOW + 8 * MINUTE)
    assert standing() == 1
    heartbeat(town, NOW + 10 * MINUTE, dropped=9)
    watch(town, NOW + 10 * MINUTE)
    assert standing() == 0
    heartbeat(town, NOW + 11 * MINUTE, dropped=2)  # the broker was restarted, and drops again
    watch(town, NOW + 11 * MINUTE)
    assert standing() == 1


# ── retention and rollups ────────────────────────────────────────────────────────────────────────────


def test_what_is_old_goes_and_what_is_young_stays(any_migrated_url: str) -> None:
    url = any_migrated_url
    build(url)
    old, young = NOW - timedelta(days=500), NOW - timedelta(hours=1)
    with psycopg.connect(url) as connection:
        for at in (old, young):
            connection.execute(
                "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
                " SELECT 1, 1, %s - make_interval(secs => n), now(), n FROM generate_series(1, 50) n",
                (at,),
            )
            connection.execute("INSERT INTO changes (kind, object, at) VALUES ('x', '1', %s)", (at,))
            connection.execute(
                "INSERT INTO quarantine (received_at, topic, payload, size, reason, detail)"
                " VALUES (%s, 't', 'p', 1, 'not_json', '')",
                (at,),
            )
            connection.execute(
                "INSERT INTO detections (device_id, event_key, state, label, observed_at, received_at)"
                " VALUES (1, 'k', 'new', 'fire', %s, now())",
                (at,),
            )
    on(url, lambda connection: upkeep.clean(connection, NOW, 400, asyncio.Event()))
    for table, kept in (("observations", 50), ("changes", 1), ("quarantine", 1), ("detections", 1)):
        assert rows(url, f"SELECT count(*) FROM {table}") == [(kept,)], table
    assert rows(
        url,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())",
    ) == [(0,)]


def test_quarantine_keeps_the_newest(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute(
            "INSERT INTO quarantine (received_at, topic, payload, size, reason, detail)"
            " SELECT %s, n::text, 'p', 1, 'not_json', '' FROM generate_series(1, 30) n",
            (NOW,),
        )
    assert on(town, lambda connection: maintenance.cut_quarantine(connection, keep=10, bite=15)) == 15
    assert on(town, lambda connection: maintenance.cut_quarantine(connection, keep=10, bite=15)) == 5
    assert on(town, lambda connection: maintenance.cut_quarantine(connection, keep=10, bite=15)) == 0
    assert rows(town, "SELECT min(topic::int), count(*) FROM quarantine") == [(21, 10)]


def test_the_loops_stop_when_told(town: str) -> None:
    async def work() -> None:
        stop = asyncio.Event()
        loops = [asyncio.create_task(run(town, Settings(), stop)) for run in (deadlines_loop.run, upkeep.run)]
        await asyncio.sleep(0.2)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*loops), 60)

    asyncio.run(work())


def test_the_end_of_a_shelf_is_on_the_record(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute(
            "UPDATE devices SET service_state = 'shelved', service_until = %s, service_reason = 'dust'"
            " WHERE code = 'c02-s1'",
            (NOW,),
        )
    assert on(town, lambda connection: maintenance.end_services(connection, NOW - SECOND)) == []
    assert on(town, lambda connection: maintenance.end_services(connection, NOW)) == ["c02-s1"]
    assert rows(
        town, "SELECT service_state, service_until, service_reason FROM devices WHERE code = 'c02-s1'"
    ) == [("in_service", None, "")]
    assert rows(town, "SELECT actor, object FROM audit WHERE action = 'device.service'") == [
        ("system", "c02-s1")
    ]


def test_days_are_rolled_up_once_and_again_when_readings_come_late(either_migrated_url: str) -> None:
    url = either_migrated_url
    build(url)
    day = (NOW - timedelta(days=5)).replace(hour=6)

    def read(at: datetime, value: float, quality: int, received_at: datetime) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO observations (device_id, metric_id, quality, observed_at, received_at, value)"
                " SELECT 1, m.id, %s, %s, %s, %s FROM metrics m ORDER BY m.id LIMIT 1",
                (quality, at, received_at, value),
            )

    def hours() -> list[tuple[object, ...]]:
        return rows(url, "SELECT bucket, readings, minimum, mean, maximum FROM rollups ORDER BY bucket")

    def roll(now: datetime) -> int:
        return on(url, lambda connection: upkeep.roll_up(connection, now, asyncio.Event()))

    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO metrics (code) VALUES ('smoke') ON CONFLICT DO NOTHING")
    read(day + MINUTE, 2.0, 0, day)
    read(day + 2 * MINUTE, 4.0, 0, day)
    read(day + 3 * MINUTE, 999.0, 4, day)  # a wrong clock
    read(NOW, 7.0, 0, NOW)
    assert roll(NOW) == 3
    assert hours() == [(day, 2, 2.0, 3.0, 4.0)]
    assert roll(NOW + MINUTE) == 0
    read(day + 10 * MINUTE, 9.0, 2, NOW + 2 * MINUTE)
    assert roll(NOW + 3 * MINUTE) == 1
    assert hours() == [(day, 3, 2.0, 5.0, 9.0)]
    assert roll(NOW + timedelta(days=3)) == 3
    assert len(hours()) == 2
