"""The rules of the house in the schema itself, and two people who act at once."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from city.settings import Settings
from city.storage.changes import open_connection
from command_centre import deadlines_loop
from command_centre.actions import ActionError, act, open_by_person
from command_centre.api.refusals import refusal
from command_centre.known_directory import KnownDirectory
from command_centre.workflow import MOVES
from tests.integration.small_town import NOW, build, raise_alarm, rows
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    build(postgres_server.url(name))
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


def opened(url: str, actor: str = "user:1") -> int:
    async def run() -> int:
        async with await open_connection(url, "test", autocommit=True) as connection:
            incident = await open_by_person(
                connection,
                Settings(),
                category="fire.smoke",
                cell="c00",
                actor=actor,
                role="dispatcher",
                now=NOW,
            )
            return incident.id

    return asyncio.run(run())


def did(url: str, incident_id: int, *actions: tuple[str, str]) -> None:
    async def run() -> None:
        async with await open_connection(url, "test", autocommit=True) as connection:
            for action, actor in actions:
                await act(
                    connection,
                    Settings(),
                    incident_id,
                    action,
                    actor=actor,
                    role="supervisor",
                    reason="r",
                    fields={"comment": "c", "limit": "30m"},
                    now=NOW + timedelta(minutes=1),
                )

    asyncio.run(run())


def refused_by_schema(url: str, constraint: str, statement: str, *values: object) -> None:
    with psycopg.connect(url) as connection, pytest.raises(psycopg.IntegrityError) as caught:
        connection.execute(statement.encode(), values)
    assert caught.value.diag.constraint_name == constraint


def test_the_moves_of_the_database_are_those_of_the_code(url: str) -> None:
    known = {(one, other) for one, ways in MOVES.items() for other in ways}
    assert set(rows(url, "SELECT from_state, to_state FROM incident_moves")) == known


def test_no_script_gets_round_the_rules_of_the_house(url: str) -> None:
    one = opened(url)
    of = "UPDATE incidents SET {} WHERE id = %s"
    refused_by_schema(url, "incidents_known_move", of.format("state = 'verified', verified_at = now()"), one)
    refused_by_schema(url, "incidents_owned_or_in_lane", of.format("unit_id = NULL"), one)
    refused_by_schema(url, "incidents_collector_not_handler", of.format("handled_by = 'user:1'"), one)
    did(url, one, ("handle", "user:2"))
    refused_by_schema(url, "incidents_handler_not_verifier", of.format("verified_by = 'user:2'"), one)
    six = of.format("steps = 6, state = 'archived', closed_at = now()")
    refused_by_schema(url, "incidents_verified_of_six", six, one)
    told = of.format("steps = 5, reported = true, state = 'archived', closed_at = now()")
    refused_by_schema(url, "incidents_reporter_told", told, one)


def test_the_schema_knows_a_burning_sensor_from_a_blind_one(url: str) -> None:
    one = opened(url)
    did(url, one, ("handle", "user:2"))
    alarm = raise_alarm(url, "c00-s1", rule=f"rule-{one}")
    rows(url, f"UPDATE alarms SET incident_id = {one}, triage = 'done' WHERE id = {alarm} RETURNING id")
    archive = (
        "UPDATE incidents SET state = 'archived', closed_at = now(), waived_by = 'user:3', steps = 5"
        " WHERE id = %s"
    )
    # Heard a moment ago: nobody's word is enough. Blind: an approver's is.
    rows(url, "INSERT INTO presence SELECT id, now() FROM devices WHERE code = 'c00-s1' RETURNING 1")
    refused_by_schema(url, "incidents_nothing_stands", archive, one)
    rows(url, "UPDATE presence SET last_heard_at = now() - interval '1 day' RETURNING 1")
    refused_by_schema(url, "incidents_nothing_stands", archive.replace("'user:3'", "NULL"), one)
    with psycopg.connect(url) as connection:
        assert connection.execute(archive.encode(), (one,)).rowcount == 1


def test_who_asks_does_not_grant_and_a_unit_transfers_once(url: str) -> None:
    one = opened(url)
    with psycopg.connect(url) as connection:
        east, hq = (
            connection.execute("SELECT id FROM units WHERE code = %s", (code,)).fetchone() or (0,)
            for code in ("fire-east", "fire-hq")
        )
        ask = (
            "INSERT INTO incident_requests (incident_id, ask, unit_id, asked_by, asked_at, to_unit_id, state,"
            " decided_by, decided_at) VALUES (%s, 'transfer', %s, 'user:5', now(), %s, %s, %s, now())"
        )
        connection.execute(ask.encode(), (one, east[0], hq[0], "refused", "user:7"))
    refused_by_schema(url, "incident_requests_one_transfer", ask, one, east[0], hq[0], "refused", "user:7")
    refused_by_schema(
        url, "incident_requests_not_own_approver", ask, one, hq[0], east[0], "granted", "user:5"
    )
    refused_by_schema(url, "incident_requests_not_to_itself", ask, one, hq[0], hq[0], "refused", "user:7")


def test_of_two_who_act_at_once_the_second_reads_how_it_stands(url: str) -> None:
    one = opened(url)

    async def acknowledge(actor: str) -> ActionError | None:
        async with await open_connection(url, "test", autocommit=True) as connection:
            try:
                await act(
                    connection,
                    Settings(),
                    one,
                    "acknowledge",
                    actor=actor,
                    role="dispatcher",
                    now=NOW + timedelta(minutes=1),
                )
            except ActionError as error:
                return error
        return None

    async def both() -> list[ActionError | None]:
        return await asyncio.gather(acknowledge("user:1"), acknowledge("user:2"))

    errors_found = [error for error in asyncio.run(both()) if error is not None]
    (late,) = errors_found
    assert (late.code, late.state, late.version) == ("conflict", "acknowledged", 2)
    problem = refusal(late)
    assert problem.status == 409
    assert problem.more["state"] == "acknowledged"
    assert "handle" in problem.more["allowed"]  # type: ignore[operator]  # a list of the problem's own members


def test_an_appended_event_stays(url: str) -> None:
    one = opened(url)
    for statement in ("UPDATE incident_events SET kind = 'x'", "DELETE FROM incident_events"):
        with psycopg.connect(url) as connection, pytest.raises(errors.RestrictViolation):
            connection.execute(f"{statement} WHERE incident_id = {one}".encode())


def test_a_suspension_ends_by_itself_when_its_day_has_come(url: str) -> None:
    one = opened(url)
    did(url, one, ("arrive", "user:2"), ("suspend", "user:3"))
    (before,) = rows(url, f"SELECT due_at, state FROM incidents WHERE id = {one}")
    assert before[1] == "suspended"

    async def strike(now: datetime) -> None:
        async with await open_connection(url, "test", autocommit=True) as connection:
            while await deadlines_loop.strike(connection, KnownDirectory(Settings().zone), Settings(), now):
                pass

    asyncio.run(strike(NOW + timedelta(minutes=30)))
    assert rows(url, f"SELECT state FROM incidents WHERE id = {one}") == [("suspended",)]
    asyncio.run(strike(NOW + timedelta(minutes=32)))
    ((state, due),) = rows(url, f"SELECT state, due_at FROM incidents WHERE id = {one}")
    assert (state, due - before[0]) == ("arrived", timedelta(minutes=31))
    paused = rows(
        url, f"SELECT count(*) FROM incident_clocks WHERE incident_id = {one} AND paused_at IS NOT NULL"
    )
    assert paused == [(0,)]
