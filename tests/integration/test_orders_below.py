"""Orders from below on a real database: given, answered, checked in, called up once by however many centres, ended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection

from city.settings import Settings
from city.storage import directory, incidents, orders_below
from city.storage.changes import open_connection
from command_centre import order_actions, order_calls, order_giving
from command_centre.actions import ActionError, act
from command_centre.order_actions import Said
from command_centre.order_giving import NewOrder, Person
from tests.conftest import PostgresServer, _database
from tests.integration.small_town import NOW, build, rows

MINUTE = timedelta(minutes=1)
BY = NOW + timedelta(hours=1)
PLACE = (114.25, 22.75)
Connection = AsyncConnection[Any]
T = TypeVar("T")

PEOPLE = """
INSERT INTO units (code, name, name_en, kind, parent, tier) VALUES
    ('street-1', '东街街道', 'East Street office', 'street', NULL, 'street'),
    ('m1-office', '一社区', 'Community 1', 'community', 'street-1', 'community'),
    ('works', '市政', 'Works', 'works', 'fire-hq', 'district'),
    ('gone', '撤销的', 'Gone', 'x', NULL, 'district');
UPDATE units SET active = false WHERE code = 'gone';
UPDATE areas SET geometry = jsonb_build_object('type', 'Polygon', 'coordinates', jsonb_build_array(jsonb_build_array(
    jsonb_build_array(114.2, 22.7), jsonb_build_array(114.3, 22.7), jsonb_build_array(114.3, 22.8),
    jsonb_build_array(114.2, 22.8), jsonb_build_array(114.2, 22.7)))) WHERE code = 'c00';
INSERT INTO categories (code, name, name_en, class, limit_minutes, clock)
    VALUES ('public', '公共秩序', 'Public order', 'C', 120, 'working') ON CONFLICT DO NOTHING;
"""


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """Shared by the tests, each of which gives its own orders."""
    with _database(postgres_server, postgres_template) as url:
        build(url)
        with psycopg.connect(url) as connection:
            connection.execute(PEOPLE.encode())
        yield url


def on(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


def unit_id(url: str, code: str) -> int:
    return int(str(rows(url, "SELECT id FROM units WHERE code = %s", code)[0][0]))


def community(url: str) -> Person:
    return Person(actor="user:11", role="handler", unit_id=unit_id(url, "m1-office"))


def crew(url: str, code: str = "fire-east") -> Person:
    return Person(actor=f"user:{20 + unit_id(url, code)}", role="handler", unit_id=unit_id(url, code))


def give(url: str, person: Person | None = None, **changed: Any) -> int:
    given: dict[str, Any] = {
        "what": "清理消防通道",
        "units": ["fire-east", "works"],
        "by": BY,
        "cell": None,
        "place": "一号楼",
        "longitude": PLACE[0],
        "latitude": PLACE[1],
        "incident_id": None,
        "category": "public",
    }
    order = NewOrder(**(given | changed))

    async def work(connection: Connection) -> int:
        async with connection.transaction():
            return await order_giving.give(connection, Settings(), order, person or community(url), now=NOW)

    return on(url, work)


def do(
    url: str, order: int, action: str, person: Person, *, now: datetime = NOW + MINUTE, **said: Any
) -> None:
    async def work(connection: Connection) -> None:
        async with connection.transaction():
            await order_actions.act(connection, Settings(), order, action, Said(**said), person, now=now)

    on(url, work)


def call_up(url: str, now: datetime) -> int:
    async def work(connection: Connection) -> int:
        known = await directory.load(connection, Settings().zone)
        return await order_calls.call_up(connection, Settings(), known, now, 100)

    return on(url, work)


def kinds(url: str, order: int, like: str = "site_order%") -> list[str]:
    found = rows(
        url,
        "SELECT e.kind FROM incident_events e JOIN site_orders o ON o.incident_id = e.incident_id"
        " WHERE o.id = %s AND e.kind LIKE %s ORDER BY e.seq",
        order,
        like,
    )
    return [str(kind) for (kind,) in found]


# ── given ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_opens_an_incident_whose_lead_is_the_first_unit_and_whose_time_is_the_orders(
    town: str,
) -> None:
    order = give(town)
    ((state, unit, due, reason, collected, source),) = rows(
        town,
        "SELECT i.state, u.code, i.due_at, i.reason, i.collected_by, i.source FROM site_orders o"
        " JOIN incidents i ON i.id = o.incident_id JOIN units u ON u.id = i.unit_id WHERE o.id = %s",
        order,
    )
    assert (state, unit, due, collected, source) == ("dispatched", "fire-east", BY, "user:11", "person")
    assert "13:00前到一号楼" in str(reason)
    beside = "SELECT u.code FROM incident_co_units c JOIN units u ON u.id = c.unit_id JOIN site_orders o"
    assert rows(town, beside + " USING (incident_id) WHERE o.id = %s", order) == [("works",)]
    assert kinds(town, order) == ["site_order_given"]


def test_an_order_may_belong_to_an_incident_that_stands(town: str) -> None:
    first = give(town)
    incident = int(str(rows(town, "SELECT incident_id FROM site_orders WHERE id = %s", first)[0][0]))
    version = rows(town, "SELECT version FROM incidents WHERE id = %s", incident)[0][0]
    second = give(town, incident_id=incident, units=["street-1"])
    assert rows(town, "SELECT incident_id FROM site_orders WHERE id = %s", second) == [(incident,)]
    assert rows(town, "SELECT version FROM incidents WHERE id = %s", incident) == [(int(str(version)) + 1,)]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"units": ["fire-east", "fire-east"]}, "units"),
        ({"units": ["gone"]}, "units"),
        ({"units": ["nobody"]}, "units"),
        ({"by": NOW - MINUTE}, "by"),
        ({"longitude": 10.0}, "longitude"),
        ({"cell": "c01"}, "cell"),
        ({"cell": "zz", "longitude": None, "latitude": None}, "cell"),
        ({"longitude": None, "latitude": None}, "place"),
        ({"what": " "}, "what"),
        ({"incident_id": 10**9}, "incident"),
        ({"category": "nothing.such"}, "category"),
    ],
)
def test_an_order_that_cannot_be_names_its_fault_and_leaves_nothing(
    town: str, changed: dict[str, Any], field: str
) -> None:
    count = "SELECT (SELECT count(*) FROM site_orders), (SELECT count(*) FROM incidents)"
    before = rows(town, count)
    with pytest.raises(ActionError) as refused:
        give(town, **changed)
    assert (refused.value.code, refused.value.field) == ("invalid", field)
    assert rows(town, count) == before


def test_a_department_orders_nobody_and_a_closed_incident_gets_no_order(town: str) -> None:
    with pytest.raises(ActionError, match="street or community") as refused:
        give(town, crew(town))
    assert refused.value.code == "forbidden"
    first = give(town)
    incident = int(str(rows(town, "SELECT incident_id FROM site_orders WHERE id = %s", first)[0][0]))

    async def void(connection: Connection) -> None:
        await act(
            connection,
            Settings(),
            incident,
            "void",
            actor="user:1",
            role="dispatcher",
            reason="over",
            now=NOW,
        )

    on(town, void)
    with pytest.raises(ActionError, match="any more"):
        give(town, incident_id=incident)


# ── there ─────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_there_ends_the_order_with_a_hundred_percent(town: str) -> None:
    order = give(town)
    do(town, order, "acknowledge", crew(town))
    do(town, order, "arrive", crew(town), longitude=PLACE[0] + 0.001, latitude=PLACE[1])
    do(town, order, "arrive", crew(town, "works"), code_right=True, now=BY + MINUTE)
    ((ended, outcome),) = rows(town, "SELECT ended_by, outcome FROM site_orders WHERE id = %s", order)
    assert (ended, outcome) == ("system", "应到2，已到2，按时1 / 2 of 2 arrived, 1 in time")
    how = "SELECT arrived_how, distance_m > 0 FROM site_order_units WHERE order_id = %s ORDER BY arrived_at"
    assert rows(town, how, order) == [("position", True), ("code", None)]
    assert kinds(town, order)[-1] == "site_order_ended"
    assert call_up(town, BY + timedelta(days=1)) >= 0
    assert "site_order_escalated" not in kinds(town, order)


@pytest.mark.parametrize(
    ("person", "said", "code"),
    [
        ("crew", {"longitude": 114.26, "latitude": 22.75}, "conflict"),  # a kilometre away
        ("crew", {}, "invalid"),
        ("other", {"unit": "fire-east", "longitude": PLACE[0], "latitude": PLACE[1]}, "forbidden"),
        ("other", {}, "invalid"),  # not of this order
    ],
)
def test_who_is_not_there_cannot_check_in(town: str, person: str, said: dict[str, Any], code: str) -> None:
    order = give(town, units=["fire-east"])
    who = crew(town) if person == "crew" else crew(town, "street-1")
    with pytest.raises(ActionError) as refused:
        do(town, order, "arrive", who, **said)
    assert refused.value.code == code
    assert rows(town, "SELECT arrived_at FROM site_order_units WHERE order_id = %s", order) == [(None,)]


def test_inside_the_cell_is_there_when_only_a_cell_was_named(town: str) -> None:
    order = give(town, units=["fire-east"], cell="c00", longitude=None, latitude=None)
    with pytest.raises(ActionError):
        do(town, order, "arrive", crew(town), longitude=114.31, latitude=22.75)
    do(town, order, "arrive", crew(town), longitude=114.301, latitude=22.75)
    ((distance,),) = rows(town, "SELECT distance_m FROM site_order_units WHERE order_id = %s", order)
    assert 95 < int(str(distance)) < 110


def test_whoever_ordered_may_say_that_they_came(town: str) -> None:
    order = give(town, units=["fire-east"])
    do(town, order, "arrive", community(town), unit="fire-east")
    assert rows(town, "SELECT arrived_how, arrived_by FROM site_order_units WHERE order_id = %s", order) == [
        ("word", "user:11")
    ]


def test_nobody_arrives_twice_or_after_the_end(town: str) -> None:
    order = give(town)
    do(town, order, "arrive", crew(town), code_right=True)
    with pytest.raises(ActionError, match="already"):
        do(town, order, "arrive", crew(town), code_right=True)
    do(town, order, "end", community(town), words="雨停了 rain stopped")
    with pytest.raises(ActionError, match="has ended"):
        do(town, order, "arrive", crew(town, "works"), code_right=True)
    ((outcome,),) = rows(town, "SELECT outcome FROM site_orders WHERE id = %s", order)
    assert "雨停了" in str(outcome)
    assert "1 of 2" in str(outcome)


def test_codes_are_tried_a_few_times_and_then_wait(town: str) -> None:
    order = give(town, units=["fire-east"])
    ((right,),) = rows(town, "SELECT code FROM site_orders WHERE id = %s", order)
    wrong = f"{(int(str(right)) + 1) % 10**6:06d}"

    def try_code(code: str, now: datetime = NOW) -> str:
        return on(
            town, lambda connection: order_actions.try_code(connection, order, "", code, crew(town), now)
        )

    assert [try_code(wrong) for _ in range(7)] == ["wrong"] * 5 + ["paused"] * 2
    assert try_code(str(right)) == "paused"
    assert try_code(str(right), NOW + 31 * timedelta(seconds=1)) == "right"
    assert try_code(wrong, NOW + MINUTE) == "wrong"
    with pytest.raises(ActionError, match="unit of this order"):
        on(
            town,
            lambda connection: order_actions.try_code(connection, order, "", wrong, crew(town, "works"), NOW),
        )


# ── declined, released ────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_needs_a_reason_and_releases_nobody(town: str) -> None:
    order = give(town, units=["fire-east"])
    with pytest.raises(ActionError, match="reason"):
        do(town, order, "decline", crew(town))
    do(town, order, "decline", crew(town), words="别处起火 another fire")
    assert rows(town, "SELECT ended_at FROM site_orders WHERE id = %s", order) == [(None,)]
    with pytest.raises(ActionError) as refused:
        do(town, order, "release", crew(town), words="I release myself")
    assert refused.value.code == "forbidden"
    do(town, order, "release", community(town), unit="fire-east", words="换人 somebody else")
    ((ended, outcome),) = rows(
        town, "SELECT ended_at IS NOT NULL, outcome FROM site_orders WHERE id = %s", order
    )
    assert (ended, str(outcome)[:4]) == (True, "应到0，")
    assert kinds(town, order) == [
        "site_order_given",
        "site_order_declined",
        "site_order_released",
        "site_order_ended",
    ]


# ── missing ───────────────────────────────────────────────────────────────────────────────────────────


def test_three_centres_call_up_each_step_once(town: str) -> None:
    order = give(town, units=["works"])

    async def tick(now: datetime) -> None:
        connections = [await open_connection(town, "test", autocommit=True) for _ in range(3)]
        known = await directory.load(connections[0], Settings().zone)
        await asyncio.gather(*(order_calls.call_up(one, Settings(), known, now, 100) for one in connections))
        for one in connections:
            await one.close()

    for minutes in (44, 45, 46, 60, 61, 70, 80, 200):
        asyncio.run(tick(NOW + minutes * MINUTE))
    told = rows(
        town,
        "SELECT e.kind, e.detail ->> 'step', e.detail ->> 'told' FROM incident_events e JOIN site_orders o"
        " USING (incident_id) WHERE o.id = %s AND e.kind LIKE 'site_order_%%ed' AND e.detail ? 'step' ORDER BY e.seq",
        order,
    )
    assert told == [
        ("site_order_reminded", "1", "works"),
        ("site_order_escalated", "2", "works"),
        ("site_order_escalated", "3", "fire-hq"),
        ("site_order_escalated", "4", "fire-hq"),
    ]
    assert on(town, incidents.verify_all) == {}


def test_an_order_of_a_closed_incident_ends_by_itself(town: str) -> None:
    order = give(town, units=["fire-east"])
    incident = int(str(rows(town, "SELECT incident_id FROM site_orders WHERE id = %s", order)[0][0]))

    async def void(connection: Connection) -> None:
        await act(
            connection,
            Settings(),
            incident,
            "void",
            actor="user:1",
            role="dispatcher",
            reason="over",
            now=NOW,
        )

    on(town, void)
    call_up(town, BY)
    ((ended, outcome),) = rows(town, "SELECT ended_by, outcome FROM site_orders WHERE id = %s", order)
    assert ended == "system"
    assert "the incident is closed" in str(outcome)


def test_rates_are_counted_by_unit(town: str) -> None:
    by = BY + timedelta(days=20)
    order = give(town, by=by)
    do(town, order, "arrive", crew(town), code_right=True)
    span = (by - MINUTE, by + MINUTE)
    found = on(town, lambda connection: orders_below.rates(connection, *span))
    assert [(row["unit"], row["expected"], row["arrived"], row["in_time"]) for row in found] == [
        ("fire-east", 1, 1, 1),
        ("works", 1, 0, 0),
    ]
