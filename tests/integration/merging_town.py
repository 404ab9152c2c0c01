"""A town in which tests merge incidents: shared connections, and the steps they are made of."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection

from city.incidents import Incident
from city.settings import Settings
from city.storage import directory
from city.storage.changes import open_connection
from command_centre import dispatch, merging
from command_centre.actions import ActionError, act
from command_centre.recording import store
from tests.integration.small_town import NOW, build, raise_alarm
from tests.servers.postgres import PostgresServer

MINUTE = timedelta(minutes=1)
LATER = NOW + MINUTE
Connection = AsyncConnection[Any]
T = TypeVar("T")
SETTINGS = Settings(_env_file=None)


@dataclass(frozen=True, slots=True)
class Town:
    """A database with connections that all tests here share: opening one for each step takes longer than the steps."""

    url: str
    runner: asyncio.Runner
    connection: Connection
    plain: psycopg.Connection[Any]


@contextmanager
def founded(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Town]:
    """One database for all tests of a file; each opens incidents of its own."""
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    build(url)
    with asyncio.Runner() as runner, psycopg.connect(url, autocommit=True) as plain:
        plain.execute(
            "INSERT INTO units (code, name, name_en, kind)"
            " VALUES ('fire-west', '西街消防站', 'West fire station', 'fire')"
        )
        connection = runner.run(open_connection(url, "test", autocommit=True))
        yield Town(url, runner, connection, plain)
        runner.run(connection.close())
    postgres_server.drop_database(name)


def on(town: Town, work: Callable[[Connection], Awaitable[T]]) -> T:
    return town.runner.run(_await(work(town.connection)))


async def _await(work: Awaitable[T]) -> T:
    return await work


def rows(town: Town, query: str, *parameters: object) -> list[tuple[object, ...]]:
    return town.plain.execute(query.encode(), parameters or None).fetchall()


_cells = iter(range(10_000))


def opened(
    town: Town,
    *devices: str,
    category: str = "fire.smoke",
    cell: str = "c02",
    at: datetime = NOW,
    exercise: bool = False,
    text: str = "",
) -> Incident:
    """An incident dispatched by the list, with one standing alarm for each device."""
    alarm_ids = [
        raise_alarm(town.url, device, rule=f"r{next(_cells)}", category=category, at=at, exercise=exercise)
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

    return on(town, work)


def do(
    town: Town,
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
        town,
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


def acted(
    town: Town,
    action: str,
    incident_id: int,
    *,
    unit_id: int | None = None,
    now: datetime = LATER,
    **fields: object,
) -> Incident:
    return on(
        town,
        lambda connection: act(
            connection,
            SETTINGS,
            incident_id,
            action,
            actor="user:2",
            role="administrator" if unit_id is None else "handler",
            unit_id=unit_id,
            reason="r",
            fields=fields,
            now=now,
        ),
    )


def refusal(town: Town, what: str, incident_id: int, **given: Any) -> ActionError:
    before = rows(town, "SELECT id, version, last_seq, head FROM incidents ORDER BY id")
    with pytest.raises(ActionError) as refused:
        do(town, what, incident_id, **given)
    assert rows(town, "SELECT id, version, last_seq, head FROM incidents ORDER BY id") == before
    assert refused.value.reason != str(refused.value)  # both languages
    return refused.value


def kinds(town: Town, incident_id: int) -> list[object]:
    return [
        kind
        for (kind,) in rows(
            town, "SELECT kind FROM incident_events WHERE incident_id = %s ORDER BY seq", incident_id
        )
    ]


def alarms_of(town: Town, incident_id: int) -> list[object]:
    return [
        one for (one,) in rows(town, "SELECT id FROM alarms WHERE incident_id = %s ORDER BY id", incident_id)
    ]


def open_clocks(town: Town, incident_id: int) -> list[tuple[object, ...]]:
    return rows(
        town,
        "SELECT stage, due_at FROM incident_clocks WHERE incident_id = %s AND ended_at IS NULL ORDER BY stage",
        incident_id,
    )


LOSSLESS = """
    SELECT state, class, base_class, category, title, area_id, unit_id, reason, reason_en, source, nature, event_level,
           steps, longitude, latitude, reported, collected_by, dispatched_at, arrived_at, handled_at, handled_by,
           verified_at, verified_by, fed_back_at, held_state, extensions, reworks, supervised_at, waived_by,
           merged_into, parent_id, due_at, opened_at, last_alarm_at, acknowledged_at, acknowledged_by,
           awaiting_since, urged_at, urged_level, overdue_at, closed_at, exercise
    FROM incidents WHERE id = %s
"""
