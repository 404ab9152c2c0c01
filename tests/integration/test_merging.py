"""Two incidents become one and come apart again: nothing lost, on the record, refused without a trace."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection

from city.incidents import Incident
from city.settings import Settings
from city.storage import directory, incidents
from city.storage.changes import open_connection
from command_centre import dispatch, merging
from command_centre.actions import ActionError, act
from command_centre.recording import store
from tests.conftest import PostgresServer
from tests.integration.small_town import NOW, build, clear_alarm, raise_alarm, rows

MINUTE = timedelta(minutes=1)
LATER = NOW + MINUTE
Connection = AsyncConnection[Any]
T = TypeVar("T")
SETTINGS = Settings(_env_file=None)


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """One database for all tests here; each opens incidents of its own."""
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    build(url)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO units (code, name, name_en, kind) VALUES ('fire-west', '西街消防站', 'West fire station', 'fire')"
        )
    yield url
    postgres_server.drop_database(name)


def on(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


_cells = iter(range(10_000))


def opened(
    url: str,
    *devices: str,
    category: str = "fire.smoke",
    cell: str = "c02",
    at: datetime = NOW,
    exercise: bool = False,
    text: str = "",
) -> Incident:
    """An incident dispatched by the list, with one standing alarm for each device."""
    alarm_ids = [
        raise_alarm(url, device, rule=f"r{next(_cells)}", category=category, at=at, exercise=exercise)
        for device in devices
    ]

    async def work(connection: Connection) -> Incident:
        async with connection.transaction():
            known = await directory.load(connection, SETTINGS.zone)
            cell_id = next(one for one, places in known.places.items() if places[0].code == cell)
            matter = dispatch.Matter(category=category, cell_id=cell_id)
            change = dispatch.opening(
                matter,
                dispatch.decide(matter, known, at),
                at,
                actor="system" if devices else "user:9",
                source="alarm" if devices else "person",
                title="",
                detail={"category": category},
                last_alarm_at=at if devices else None,
                exercise=exercise,
                text=text,
            )
            (stored,) = await store(connection, known, [change], at, mail=False)
            await connection.execute(
                "UPDATE alarms SET triage = 'done', incident_id = %s WHERE id = ANY(%s)",
                (stored.id, alarm_ids),
            )
            return stored

    return on(url, work)


def do(
    url: str,
    what: str,
    incident_id: int,
    *,
    reason: str = "一件事 one matter",
    role: str = "dispatcher",
    now: datetime = LATER,
    version: int | None = None,
    **fields: object,
) -> Incident:
    function: Callable[..., Awaitable[Incident]] = getattr(merging, what)
    return on(
        url,
        lambda connection: function(
            connection,
            SETTINGS,
            incident_id,
            actor="user:1",
            role=role,
            unit_id=None,
            reason=reason,
            fields=fields,
            now=now,
            expected_version=version,
        ),
    )


def acted(url: str, action: str, incident_id: int, *, now: datetime = LATER, **fields: object) -> Incident:
    return on(
        url,
        lambda connection: act(
            connection,
            SETTINGS,
            incident_id,
            action,
            actor="user:2",
            role="administrator",
            reason="r",
            fields=fields,
            now=now,
        ),
    )


def refusal(url: str, what: str, incident_id: int, **given: Any) -> ActionError:
    before = rows(url, "SELECT id, version, last_seq, head FROM incidents ORDER BY id")
    with pytest.raises(ActionError) as refused:
        do(url, what, incident_id, **given)
    assert rows(url, "SELECT id, version, last_seq, head FROM incidents ORDER BY id") == before
    assert refused.value.reason != str(refused.value)  # both languages
    return refused.value


def kinds(url: str, incident_id: int) -> list[object]:
    return [
        kind
        for (kind,) in rows(
            url, "SELECT kind FROM incident_events WHERE incident_id = %s ORDER BY seq", incident_id
        )
    ]


def alarms_of(url: str, incident_id: int) -> list[object]:
    return [
        one for (one,) in rows(url, "SELECT id FROM alarms WHERE incident_id = %s ORDER BY id", incident_id)
    ]


def open_clocks(url: str, incident_id: int) -> list[tuple[object, ...]]:
    return rows(
        url,
        "SELECT stage, due_at FROM incident_clocks WHERE incident_id = %s AND ended_at IS NULL ORDER BY stage",
        incident_id,
    )


LOSSLESS = """
    SELECT state, class, base_class, category, title, area_id, unit_id, reason, reason_en, source, nature, event_level,
           steps, longitude, latitude, reported, collected_by, dispatched_at, arrived_at, handled_at, handled_by,
           verified_at, verified_by, fed_back_at, held_state, extensions, reworks, supervised_at, waived_by, merged_into,
           parent_id, due_at, opened_at, last_alarm_at, acknowledged_at, acknowledged_by, awaiting_since, urged_at,
           urged_level, overdue_at, closed_at, exercise
    FROM incidents WHERE id = %s
"""


def test_merge_moves_alarms_ends_clocks_and_keeps_the_owner(town: str) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1", at=NOW - 5 * MINUTE)
    merged = do(town, "merge", gone.id, into=kept.id)
    assert (merged.state, merged.merged_into, merged.closed_at) == ("merged", kept.id, LATER)
    assert len(alarms_of(town, kept.id)) == 2
    assert alarms_of(town, gone.id) == []
    assert open_clocks(town, gone.id) == []
    ((state, unit, due_at),) = rows(
        town, "SELECT state, unit_id, due_at FROM incidents WHERE id = %s", kept.id
    )
    assert (state, unit) == ("dispatched", kept.unit_id)
    assert due_at == gone.due_at  # due as early as the earliest of both
    assert ("handle", gone.due_at) in open_clocks(town, kept.id)
    assert "merged" in kinds(town, gone.id)
    assert "merged_in" in kinds(town, kept.id)
    assert on(town, lambda connection: merging.root(connection, gone.id)) == kept.id


def test_split_gives_everything_back(town: str) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1", "c03-s2", at=NOW - 5 * MINUTE)
    acted(town, "acknowledge", gone.id)
    before = [rows(town, LOSSLESS, one.id) for one in (kept, gone)]
    clocks_before = [open_clocks(town, one.id) for one in (kept, gone)]
    alarms_before = [alarms_of(town, one.id) for one in (kept, gone)]
    do(town, "merge", gone.id, into=kept.id)
    assert len(alarms_of(town, kept.id)) == 3
    back = do(town, "split", gone.id, now=LATER + MINUTE)
    assert back.state == "acknowledged"
    assert [rows(town, LOSSLESS, one.id) for one in (kept, gone)] == before
    assert [open_clocks(town, one.id) for one in (kept, gone)] == clocks_before
    assert [alarms_of(town, one.id) for one in (kept, gone)] == alarms_before
    assert rows(town, "SELECT count(*) FROM alarm_homes WHERE incident_id = %s", gone.id) == [(0,)]
    assert on(town, incidents.verify_all) == {}
