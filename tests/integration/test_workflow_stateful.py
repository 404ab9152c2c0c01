"""Random people do random things to a few incidents on a real database, for as long as one likes.

Whatever they try: no forbidden state, no lost event, the chain verifies, no clock below zero, one owner or the lane,
and what is refused leaves no trace. ``CITY_STATEFUL_RUNS`` says how often the long form (``make slow``) tries.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.incidents import FINAL, UNOWNED
from city.settings import Settings
from city.storage import incidents
from city.storage.changes import open_connection
from command_centre import deadlines_loop, merging
from command_centre.actions import ActionError, act, open_by_person
from command_centre.known_directory import KnownDirectory
from command_centre.workflow import MOVES, TABLE, Waiting, allowed
from tests.integration.small_town import NOW, build, clear_alarm, raise_alarm, rows
from tests.servers.postgres import PostgresServer

Connection = AsyncConnection[Any]
T = TypeVar("T")
RUNS = int(os.environ.get("CITY_STATEFUL_RUNS", "40"))
STEPS = 25

# actor, role, unit (by code; resolved once)
PEOPLE = (
    ("user:1", "dispatcher", None),
    ("user:2", "dispatcher", None),
    ("user:3", "supervisor", None),
    ("user:4", "administrator", None),
    ("user:5", "handler", "fire-east"),
    ("user:6", "handler", "fire-east"),
    ("user:7", "handler", "fire-hq"),
    ("user:8", "grid_worker", None),
    ("user:9", "hotline", None),
    ("user:10", "viewer", None),
    ("citizen", "citizen", None),
)
OF_TWO = {"merge": merging.merge, "split": merging.split, "link": merging.link, "unlink": merging.unlink}


class Town:
    """One database and one connection for every example; each example opens incidents of its own."""

    url = ""

    def __init__(self, url: str) -> None:
        Town.url = url
        self.loop = asyncio.new_event_loop()
        self.connection = self.loop.run_until_complete(open_connection(url, "test", autocommit=True))
        self.units = dict(rows(url, "SELECT code, id FROM units"))
        self.known = KnownDirectory(Settings().zone)

    def do(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)  # type: ignore[arg-type]  # every one is a coroutine

    def close(self) -> None:
        self.do(self.connection.close())
        self.loop.close()


TOWN: list[Town] = []


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Town]:
    name = postgres_server.create_database(template=postgres_template)
    build(postgres_server.url(name))
    made = Town(postgres_server.url(name))
    TOWN.append(made)
    yield made
    TOWN.clear()
    made.close()
    postgres_server.drop_database(name)


class Loop(RuleBasedStateMachine):
    """Two incidents: one that a person opened, one that a sensor opened."""

    def __init__(self) -> None:
        super().__init__()
        self.town = TOWN[0]
        self.now = NOW
        self.seen: dict[int, dict[str, Any]] = {}

    @initialize()
    def open_two(self) -> None:
        self.ids = [self._open("fire.smoke", "c00"), self._open("public.person", "d00")]
        self.alarm = raise_alarm(self.town.url, "c09-s2", rule=f"r{self.ids[0]}")
        rows(
            self.town.url,
            f"UPDATE alarms SET incident_id = {self.ids[0]}, triage = 'done' WHERE id = {self.alarm} RETURNING id",
        )

    def _open(self, category: str, cell: str) -> int:
        opened = self.town.do(
            open_by_person(
                self.town.connection,
                Settings(),
                category=category,
                cell=cell,
                actor="user:1",
                role="dispatcher",
                now=self.now,
                text="seen 看见",
            )
        )
        return opened.id

    @rule(minutes=st.sampled_from([0, 1, 7, 45, 600, 3000]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def clocks_strike(self) -> None:
        self.town.do(deadlines_loop.strike(self.town.connection, self.town.known, Settings(), self.now))

    @rule()
    def the_alarm_clears(self) -> None:
        if rows(self.town.url, f"SELECT cleared_at FROM alarms WHERE id = {self.alarm}") == [(None,)]:
            clear_alarm(self.town.url, self.alarm, self.now)

    @rule(
        picks=st.lists(st.sampled_from(range(9973)), min_size=1, max_size=6),
        unit=st.sampled_from([None, "fire-hq", "fire-east"]),
        limit=st.sampled_from(["30m", "4wh", "2wd"]),
    )
    def people_do_what_the_buttons_offer(self, picks: list[int], unit: str | None, limit: str) -> None:
        for pick in picks:
            row = self._rows()[pick % 2]
            offers = [
                (person, action)
                for person in PEOPLE
                for action in self._offered(row, person)
                if action not in ("void", "merge", "comment", "escalate", "supervise")  # left to chance
            ]
            if offers:
                person, action = offers[pick % len(offers)]
                self.somebody_tries(pick % 2, person, action, unit, limit, mute=False)

    def _offered(self, row: dict[str, Any], person: tuple[str, str, str | None]) -> tuple[str, ...]:
        return allowed(
            row["state"],
            person[1],
            actor=person[0],
            unit_id=self.town.units[person[2]] if person[2] is not None else None,
            incident_class=row["class"],
            acknowledged=row["acknowledged_at"] is not None,
            mine=person[2] is not None and self.town.units[person[2]] == row["unit_id"],
            waiting=[
                Waiting(**{name: one[name] for name in ("ask", "asked_by", "unit_id", "to_unit_id")})
                for one in row["requests"] or []
                if one["state"] == "open"
            ],
            steps=row["steps"],
        )

    @rule(
        which=st.integers(0, 1),
        person=st.sampled_from(PEOPLE),
        action=st.sampled_from(sorted(TABLE)),
        unit=st.sampled_from([None, "fire-hq", "fire-east"]),
        limit=st.sampled_from(["30m", "4wh", "2wd"]),
        mute=st.booleans(),
    )
    def somebody_tries(
        self,
        which: int,
        person: tuple[str, str, str | None],
        action: str,
        unit: str | None,
        limit: str,
        mute: bool,
    ) -> None:
        actor, role, own = person
        fields: dict[str, object] = {"unit": unit, "limit": limit, "into": self.ids[1 - which]}
        fields["parent"] = self.ids[1 - which]
        if not mute:
            fields["comment"] = "done 办结"
        before = self._rows()
        kwargs: dict[str, Any] = {
            "actor": actor,
            "role": role,
            "unit_id": self.town.units[own] if own else None,
            "reason": "" if mute else "because 因为",
            "fields": fields,
            "now": self.now,
        }
        refusal = self._tried(action, self.ids[which], kwargs)
        if refusal is not None:
            assert refusal.reason
            assert str(refusal)
            assert self._rows() == before, "a refused action left a trace"

    def _tried(self, action: str, incident_id: int, kwargs: dict[str, Any]) -> ActionError | None:
        work = OF_TWO.get(action)
        try:
            if work is not None:
                self.town.do(work(self.town.connection, Settings(), incident_id, **kwargs))
            else:
                self.town.do(act(self.town.connection, Settings(), incident_id, action, **kwargs))
        except ActionError as refusal:
            return refusal
        return None

    def _rows(self) -> list[dict[str, Any]]:
        async def read(connection: Connection) -> list[dict[str, Any]]:
            async with connection.cursor(row_factory=dict_row) as cursor:
                await cursor.execute(
                    """
                    SELECT i.*, (SELECT count(*) FROM incident_events e WHERE e.incident_id = i.id) AS events,
                           (SELECT jsonb_agg(r ORDER BY r.id) FROM incident_requests r
                            WHERE r.incident_id = i.id) AS requests,
                           (SELECT jsonb_agg(c ORDER BY c.id) FROM incident_clocks c
                            WHERE c.incident_id = i.id) AS clocks
                    FROM incidents i WHERE i.id = ANY(%s) ORDER BY i.id
                    """,
                    (self.ids,),
                )
                return await cursor.fetchall()

        return self.town.do(read(self.town.connection))

    @invariant()
    def everything_holds(self) -> None:
        if not hasattr(self, "ids"):
            return
        for row in self._rows():
            self._moved_as_allowed(row)
            assert (row["unit_id"] is None) <= (row["state"] in UNOWNED | FINAL)
            assert row["events"] == row["last_seq"], "an event was lost"
            assert row["handled_by"] is None or row["handled_by"] != row["collected_by"]
            self._clocks_hold(row)
            broken = self.town.do(verify_one(self.town.connection, row["id"]))
            assert broken is None, f"the chain of {row['number']} is broken at {broken}"

    def _moved_as_allowed(self, row: dict[str, Any]) -> None:
        before = self.seen.get(row["id"])
        if before is not None:
            assert row["last_seq"] >= before["last_seq"]
            steps = row["last_seq"] - before["last_seq"]
            if row["state"] != before["state"] and steps == 1:
                assert row["state"] in MOVES[before["state"]]
        self.seen[row["id"]] = row

    def _clocks_hold(self, row: dict[str, Any]) -> None:
        running = [clock for clock in row["clocks"] or [] if clock["ended_at"] is None]
        stages = [clock["stage"] for clock in running]
        assert len(stages) == len(set(stages))
        for clock in running:
            assert clock["left_minutes"] is None or clock["left_minutes"] >= 0
            assert datetime.fromisoformat(clock["due_at"]) >= datetime.fromisoformat(clock["started_at"])
            paused = clock["paused_at"] is not None
            assert paused == (row["state"] == "suspended" and clock["stage"] not in ("answer", "suspension"))
        if row["state"] in FINAL:
            assert running == [], f"{row['state']} with clocks {stages}"
        if row["state"] in ("dispatched", "acknowledged", "arrived", "rework"):
            assert "handle" in stages, f"nobody's deadline: {row['state']} with {stages}"


async def verify_one(connection: Connection, incident_id: int) -> int | None:
    """The first event that does not follow from the one before."""
    from city.incidents import verify

    cursor = await connection.execute("SELECT head FROM incidents WHERE id = %s", (incident_id,))
    row = await cursor.fetchone()
    assert row is not None
    return verify(await incidents.events(connection, incident_id), row[0])


Check = Callable[[], None]


@pytest.mark.parametrize("runs", [4, pytest.param(RUNS, id="long", marks=pytest.mark.slow)])
def test_random_people_and_actions(town: Town, runs: int) -> None:
    run_state_machine_as_test(
        Loop,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    if runs < 10:
        return  # a short walk may well stand still
    kinds = {row[0] for row in rows(town.url, "SELECT DISTINCT kind FROM incident_events")}
    assert {"dispatched", "acknowledged", "handled"} <= kinds, "the random walk hardly moved"
