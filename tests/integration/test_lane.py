"""The unassigned lane empties when somebody completes the list, or with one click where the list already knows."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection

from city.settings import Settings
from city.storage import incidents
from city.storage.changes import open_connection
from command_centre import triage_loop
from command_centre.actions import ActionError, act
from command_centre.known_directory import KnownDirectory
from command_centre.lane import Lane
from tests.integration.small_town import NOW, build, raise_alarm, rows

MINUTE = timedelta(minutes=1)
LATER = NOW + 10 * MINUTE
Connection = AsyncConnection[Any]
T = TypeVar("T")


@pytest.fixture
def town(migrated_url: str) -> str:
    """With one incident in the lane, number 1: smoke in West Street, which nobody has."""
    build(migrated_url)
    raise_alarm(migrated_url, "d00-s1")

    async def once(connection: Connection) -> None:
        await triage_loop.triage_batch(connection, KnownDirectory(Settings().zone), NOW, mail=False)

    on(migrated_url, once)
    assert rows(migrated_url, "SELECT state, unit_id FROM incidents") == [("filed", None)]
    return migrated_url


def on(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


def look(url: str, lane: Lane, now: datetime = LATER) -> int:
    return on(url, lambda connection: lane.look(connection, now, mail=False))


def complete_the_list(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO responsibilities (category, area_id, unit_id, class, limit_minutes)"
            " SELECT 'fire', a.id, u.id, 'A', 20 FROM areas a, units u WHERE a.code = 's2' AND u.code = 'fire-hq'"
        )


def dispatch(url: str, **given: str) -> Any:
    return on(
        url,
        lambda connection: act(
            connection,
            Settings(),
            1,
            "dispatch",
            actor="user:1",
            role="dispatcher",
            reason=given.get("reason", ""),
            fields={"unit": given["unit"]} if "unit" in given else {},
            now=LATER,
        ),
    )


def test_a_completed_list_takes_what_is_in_the_lane(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute("UPDATE units SET webhook_url = 'http://127.0.0.1:1/' WHERE code = 'fire-hq'")
    lane = Lane(KnownDirectory(Settings().zone))
    assert look(town, lane) == 0
    complete_the_list(town)
    assert look(town, lane) == 1
    assert rows(
        town,
        "SELECT i.state, u.code, i.class, i.due_at, i.told_at, i.version FROM incidents i"
        " JOIN units u ON u.id = i.unit_id",
    ) == [("dispatched", "fire-hq", "A", LATER + 20 * MINUTE, LATER, 2)]
    events = rows(town, "SELECT kind, actor, reason FROM incident_events ORDER BY seq")
    assert [event[0] for event in events] == ["opened", "unassigned", "dispatched", "told"]
    assert events[2][1] == "system"
    assert "西街" in str(events[2][2])
    assert "消防大队" in str(events[2][2])
    assert rows(town, "SELECT purpose, channel FROM notifications") == [("order", "webhook")]
    assert ("incident.changed", "1") in rows(town, "SELECT kind, object FROM changes")
    assert on(town, incidents.verify_all) == {}


def test_the_lane_is_looked_at_once_for_each_version(town: str) -> None:
    lane = Lane(KnownDirectory(Settings().zone))
    complete_the_list(town)
    assert [look(town, lane), look(town, lane)] == [1, 0]
    with psycopg.connect(town) as connection:
        connection.execute(
            "INSERT INTO incidents"
            " (number, state, class, base_class, category, area_id, reason, source, opened_at, due_at)"
            " SELECT 'second', 'filed', class, base_class, category, area_id, reason, source, opened_at, due_at"
            " FROM incidents"
        )
    assert look(town, lane) == 0  # the directory did not move
    with psycopg.connect(town) as connection:
        connection.execute("UPDATE units SET phone = '120' WHERE code = 'fire-hq'")
    assert look(town, lane) == 1


def test_a_fresh_process_looks_and_two_dispatch_once(town: str) -> None:
    complete_the_list(town)

    async def both() -> list[int]:
        connections = [await open_connection(town, "test", autocommit=True) for _ in range(2)]
        try:
            return await asyncio.gather(
                *(Lane(KnownDirectory(Settings().zone)).look(each, LATER, mail=False) for each in connections)
            )
        finally:
            for each in connections:
                await each.close()

    assert sum(asyncio.run(both())) == 1
    assert rows(town, "SELECT count(*) FROM incident_events WHERE kind = 'dispatched'") == [(1,)]


def test_a_closed_one_and_one_a_person_sent_stay_as_they_are(town: str) -> None:
    dispatch(town, unit="fire-east")
    complete_the_list(town)
    assert look(town, Lane(KnownDirectory(Settings().zone))) == 0
    assert rows(town, "SELECT u.code FROM incidents i JOIN units u ON u.id = i.unit_id") == [("fire-east",)]


def test_one_click_sends_it_where_the_list_says(town: str) -> None:
    complete_the_list(town)
    incident = dispatch(town)
    assert (incident.state, incident.due_at) == ("dispatched", LATER + 20 * MINUTE)
    assert "人工派遣至消防大队；职责清单：fire" in incident.reason
    assert "dispatched by hand to Fire headquarters; responsibility list" in incident.reason_en
    said = rows(town, "SELECT actor, detail->>'grounds_en' FROM incident_events WHERE kind = 'dispatched'")
    assert said[0][0] == "user:1"
    assert "responsibility list: fire" in str(said[0][1])


def test_without_a_unit_nothing_is_sent_where_the_list_says_nothing_or_somebody_has_it(town: str) -> None:
    for reason in ("", "once more"):
        with pytest.raises(ActionError) as caught:
            dispatch(town, reason=reason)
        assert (caught.value.code, caught.value.field) == ("invalid", "unit")
        if not reason:
            dispatch(town, unit="fire-east")
            complete_the_list(town)
