"""Clocks in the database: decisions move them, the calendar moves them once, and people see and steer them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection

from city import worktime
from city.calendar_year import Day
from city.clocks import Effect, End, Extend, Pause, Resume, Start, read_limit
from city.incidents import Change, Happening, Incident
from city.settings import Settings
from city.storage import calendar, incidents, urging
from city.storage import clocks as stored
from city.storage.changes import open_connection
from city.storage.directory import load
from city.urging import DEFAULT
from command_centre import deadlines_loop
from command_centre.recording import store
from tests.conftest import _database
from tests.integration.running_centre import Centre, running
from tests.integration.small_town import build
from tests.integration.test_api import problem
from tests.servers.postgres import PostgresServer

T = TypeVar("T")
MONDAY = datetime(2026, 11, 16, 2, tzinfo=UTC)  # ten in the district
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SETTINGS = Settings(_env_file=None)


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    with _database(postgres_server, postgres_template) as url:
        build(url)
        yield url


def on(url: str, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


def opened(url: str, *effects: Effect, now: datetime = MONDAY) -> int:
    """An incident of the first unit with these clocks."""
    new = Incident(
        state="dispatched", incident_class="B", base_class="B", category="fire.smoke", unit_id=1, reason="x",
        reason_en="x", source="person", due_at=now + DAY, opened_at=now,
    )  # fmt: skip
    change = Change(incident=new, happenings=(Happening(kind="opened"),), effects=effects)
    return on(url, lambda connection: stored_change(connection, change, now)).id


async def stored_change(connection: AsyncConnection[Any], change: Change, now: datetime) -> Incident:
    async with connection.transaction():
        directory = await load(connection, SETTINGS.zone)
        (found,) = await store(connection, directory, [change], now, mail=False)
        return found


def decided(url: str, incident_id: int, now: datetime, *effects: Effect, **changes: object) -> Incident:
    """A decision about an incident that is there already."""

    async def work(connection: AsyncConnection[Any]) -> Incident:
        async with connection.transaction():
            known = await incidents.lock(connection, incident_id)
            assert known is not None
            moved = replace(known, version=known.version + 1, **changes)  # type: ignore[arg-type]  # real fields
            change = Change(incident=moved, happenings=(Happening(kind="commented"),), effects=effects)
            directory = await load(connection, SETTINGS.zone)
            (found,) = await store(connection, directory, [change], now, mail=False)
            return found

    return on(url, work)


def clocks_of(url: str, incident_id: int) -> dict[str, Any]:
    found = on(url, lambda connection: stored.of(connection, incident_id))
    return {clock.stage: clock for clock in found}


def kinds(url: str, incident_id: int) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT kind FROM incident_events WHERE incident_id = %s ORDER BY seq", (incident_id,)
        ).fetchall()
    return [row[0] for row in rows]


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────


def test_the_incidents_deadline_is_that_of_its_clock_to_handle(town: str) -> None:
    incident_id = opened(town, Start(stage="handle", limit=read_limit("3wd")), Start(stage="acknowledge"))
    found = clocks_of(town, incident_id)
    thursday = datetime(2026, 11, 19, 10, tzinfo=UTC)
    assert found["handle"].due_at == thursday
    assert found["acknowledge"].due_at == MONDAY + 5 * MINUTE
    longer = decided(town, incident_id, MONDAY + MINUTE, Extend(stage="handle", by=read_limit("1wd")))
    assert longer.due_at == thursday + DAY
    paused = decided(
        town, incident_id, MONDAY + 2 * MINUTE, Pause(), Start(stage="suspension", limit=read_limit("9d")),
        state="suspended", held_state="acknowledged",
    )  # fmt: skip
    assert paused.due_at == thursday + DAY
    assert clocks_of(town, incident_id)["acknowledge"].left_minutes == 3
    going = decided(
        town, incident_id, MONDAY + 7 * DAY, End(stages=("suspension",)), Resume(),
        state="acknowledged", held_state=None,
    )  # fmt: skip
    assert going.due_at == datetime(2026, 11, 27, 9, 58, tzinfo=UTC)  # two minutes of it were over
    assert clocks_of(town, incident_id)["acknowledge"].due_at == MONDAY + 7 * DAY + 3 * MINUTE


def test_what_is_over_has_no_clock_whoever_decided_it(town: str) -> None:
    incident_id = opened(town, Start(stage="handle", limit=read_limit("2h")), Start(stage="acknowledge"))
    decided(town, incident_id, MONDAY + 10 * MINUTE, state="voided", closed_at=MONDAY + 10 * MINUTE)
    found = clocks_of(town, incident_id)
    assert {clock.outcome for clock in found.values()} == {"cancelled"}
    assert {clock.next_at for clock in found.values()} == {None}


def test_what_was_open_before_there_were_clocks_is_urged_all_the_same(town: str) -> None:
    """The migration's own statements, on incidents that have no clock."""
    incident_id = opened(town)
    script = (deadlines_loop.stored.__file__ or "").replace(
        "clocks.py", "migrations/0016_calendar_urging.sql"
    )
    with open(script, encoding="utf-8") as file:
        statements = file.read().split("-- ── clocks of incidents")[1].split("\n", 1)[1]
    with psycopg.connect(town) as connection:
        connection.execute(
            "UPDATE incidents SET awaiting_since = opened_at, urged_level = 1 WHERE id = %s", (incident_id,)
        )
        connection.execute(
            statements.replace(
                "WHERE closed_at IS NULL", f"WHERE id = {incident_id} AND closed_at IS NULL"
            ).encode()
        )
    found = clocks_of(town, incident_id)
    assert (found["handle"].due_at, found["handle"].said) == (MONDAY + DAY, 0)
    assert (found["acknowledge"].said, found["acknowledge"].next_at) == (1, MONDAY + 10 * MINUTE)


# ── another calendar ─────────────────────────────────────────────────────────────────────────────────


async def publish_2027(connection: AsyncConnection[Any], now: datetime) -> int:
    """The days off by law, with the second of January worked for the fourth and fifth."""
    off = [Day(day=day, working=False) for day in sorted(worktime.statutory_days(2027))]
    swapped = [Day(day=date(2027, 1, day), working=day == 2) for day in (2, 4, 5)]
    async with connection.transaction():
        return await calendar.write(
            connection, 2027, [*off, *swapped], complete=True, actor="user:1", reason="notice", now=now
        )


async def three_rebase(url: str, now: datetime) -> int:
    """Three connections at once, until none finds anything; how many incidents they looked at."""
    connections = [await open_connection(url, "test", autocommit=True) for _ in range(3)]
    directories = [await load(each, SETTINGS.zone) for each in connections]
    done, looked = 0, [1]
    while any(looked):
        looked = await asyncio.gather(
            *(
                deadlines_loop.rebase(each, directory, SETTINGS, now)
                for each, directory in zip(connections, directories, strict=True)
            )
        )
        done += sum(looked)
    for each in connections:
        await each.close()
    return done


def test_a_year_that_is_published_moves_its_deadlines_once_however_many_look(town: str) -> None:
    start = datetime(2026, 12, 30, 2, tzinfo=UTC)
    limit = read_limit("4wd")
    moving = [opened(town, Start(stage="handle", limit=limit), now=start) for _ in range(6)]
    staying = opened(town, Start(stage="handle", limit=read_limit("1wd")), now=start)
    before = clocks_of(town, moving[0])["handle"]
    assert before.provisional
    assert before.due_at == datetime(2027, 1, 6, 10, tzinfo=UTC)  # 31 December, then 4, 5, 6 January
    assert not clocks_of(town, staying)["handle"].provisional

    version = on(town, lambda connection: publish_2027(connection, start))
    assert 2027 in on(town, calendar.published)

    assert asyncio.run(three_rebase(town, start + MINUTE)) >= 7
    after = clocks_of(town, moving[0])["handle"]
    assert after.due_at == datetime(
        2027, 1, 7, 10, tzinfo=UTC
    )  # 31 December, then 2 (swapped), 6 and 7 January
    assert not after.provisional
    for incident_id in moving:
        assert kinds(town, incident_id).count("deadlines_recomputed") == 1
    assert kinds(town, staying).count("deadlines_recomputed") == 0
    with psycopg.connect(town) as connection:
        rows = connection.execute(
            "SELECT DISTINCT due_at FROM incidents WHERE id = ANY(%s)", (moving,)
        ).fetchall()
        assert rows == [(after.due_at,)]
        (detail,) = connection.execute(
            "SELECT detail FROM incident_events WHERE kind = 'deadlines_recomputed' AND incident_id = %s",
            (moving[0],),
        ).fetchone() or (None,)
    assert detail["old"] == before.due_at.isoformat()
    assert detail["new"] == after.due_at.isoformat()
    assert detail["calendar"] == version
    assert on(town, calendar.waiting) == 0


def test_a_decision_about_a_deadline_that_rests_on_an_older_calendar_moves_it_first(town: str) -> None:
    start = datetime(2028, 3, 1, 2, tzinfo=UTC)
    incident_id = opened(town, Start(stage="handle", limit=read_limit("2wd")), now=start)

    async def decide_friday_off(connection: AsyncConnection[Any]) -> None:
        async with connection.transaction():
            day = Day(day=date(2028, 3, 3), working=False, note="typhoon")
            await calendar.write(
                connection, 2028, [day], complete=False, actor="user:1", reason="typhoon", now=start
            )

    on(town, decide_friday_off)
    longer = decided(town, incident_id, start + MINUTE, Extend(stage="handle", by=read_limit("1wd")))
    assert longer.due_at == datetime(2028, 3, 7, 10, tzinfo=UTC)  # Monday instead of Friday, and a day more
    assert kinds(town, incident_id) == ["opened", "commented", "deadlines_recomputed"]
    assert clocks_of(town, incident_id)["handle"].provisional


def test_a_library_that_knows_a_year_more_makes_one_version(
    town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = worktime.published_years()

    async def both() -> list[int | None]:
        connections = [await open_connection(town, "test", autocommit=True) for _ in range(2)]
        found = await asyncio.gather(*(calendar.note_library(each, MONDAY) for each in connections))
        for each in connections:
            await each.close()
        return list(found)

    asyncio.run(both())
    assert asyncio.run(both()) == [None, None]
    monkeypatch.setattr(worktime, "published_years", lambda: (first, last + 3))
    made = asyncio.run(both())
    assert sum(one is not None for one in made) == 1


# ── the ladder ───────────────────────────────────────────────────────────────────────────────────────


def test_a_new_district_begins_with_the_built_in_ladder(town: str) -> None:
    assert set(on(town, urging.ladder).steps) == set(DEFAULT.steps)


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def centre(town: str) -> Iterator[Centre]:
    with running(town) as made:
        yield made


def test_people_see_every_clock_and_what_comes_next(centre: Centre) -> None:
    incident_id = opened(
        centre.url,
        Start(stage="handle", limit=read_limit("20d")),
        Start(stage="acknowledge"),
        now=datetime.now(UTC),
    )
    items = centre.client.get(f"/api/incidents/{incident_id}/clocks").json()["items"]
    by_stage = {item["stage"]: item for item in items}
    assert by_stage["handle"]["limit"] == "28800m"
    assert by_stage["handle"]["left_minutes"] in (28799, 28800)
    assert by_stage["handle"]["next"]["purpose"] == "remind"
    assert "提醒处置单位" in by_stage["handle"]["next"]["words"]
    assert "remind the unit" in by_stage["handle"]["next"]["words_en"]
    problem(centre.client.get("/api/incidents/99999/clocks"), 404)
    board = centre.client.get("/api/clocks?unit=fire-hq&overdue=false&limit=1").json()
    assert len(board["items"]) == 1
    further = centre.client.get(
        "/api/clocks", params={"unit": "fire-hq", "overdue": "false", "cursor": board["next"]}
    )
    assert further.status_code == 200, further.text
    seen = [item["id"] for item in [*board["items"], *further.json()["items"]]]
    assert len(seen) == len(set(seen))
    assert by_stage["handle"]["id"] in seen
    assert centre.client.get("/api/clocks?unit=nobody").json()["items"] == []


def test_a_calendar_with_a_gap_is_refused_with_what_is_missing(centre: Centre) -> None:
    url = "/api/calendar?year=2031"
    shown = centre.client.get(url)
    assert shown.json()["provisional"] is True
    tag = {"If-Match": shown.headers["ETag"]}
    statutory = [day for day in shown.json()["statutory"] if date.fromisoformat(day).weekday() < 5]
    days = [{"day": day, "working": False} for day in statutory]
    gap = {"days": days[1:], "complete": True, "reason": "notice"}
    said = problem(centre.client.put(url, json=gap, headers=tag), 422)
    assert said["missing"] == statutory[:1]
    assert statutory[0] in said["detail"]
    assert statutory[0] in said["detail_zh"]
    worked = {**gap, "days": [*days[1:], {"day": statutory[0], "working": True}]}
    assert "by law" in problem(centre.client.put(url, json=worked, headers=tag), 422)["detail"]
    twice = {**gap, "days": [days[0], days[0]]}
    assert problem(centre.client.put(url, json=twice), 422)["errors"][0]["field"] == "days.1.day"
    other = {**gap, "days": [{"day": "2030-01-01", "working": False}]}
    assert problem(centre.client.put(url, json=other), 422)["errors"][0]["field"] == "days.0.day"
    assert centre.client.get(url).json() == shown.json()
    whole = centre.client.put(url, json={**gap, "days": days}, headers=tag)
    assert whole.status_code == 200, whole.text
    assert (whole.json()["provisional"], whole.json()["complete"]) == (False, True)
    problem(centre.client.put(url, json={**gap, "days": days}, headers=tag), 412)
    back = centre.client.put(url, json={"days": [], "complete": False, "reason": "a mistake"})
    assert back.json()["provisional"] is True
    assert [
        row[0] for row in centre.execute("SELECT reason FROM audit WHERE object = '2031' ORDER BY id")
    ] == [
        "notice",
        "a mistake",
    ]
    problem(centre.client.get("/api/calendar?year=1066"), 422)


def test_the_ladder_is_changed_as_a_whole_or_not_at_all(centre: Centre) -> None:
    shown = centre.client.get("/api/urging")
    items, tag = shown.json()["items"], {"If-Match": shown.headers["ETag"]}
    assert {item["stage"] for item in items} >= {"acknowledge", "handle", "verify"}
    faulty = [{**items[0], "at": "-100%"}, *items[1:]]
    said = problem(centre.client.put("/api/urging", json={"items": faulty, "reason": "x"}, headers=tag), 422)
    assert said["errors"][0]["field"] == "items.0.at"
    assert "before the clock starts" in said["detail"]
    assert centre.client.get("/api/urging").json()["items"] == items

    incident_id = opened(
        centre.url, Start(stage="handle", limit=read_limit("100m")), now=datetime.now(UTC) - 50 * MINUTE
    )
    earlier = [
        {**item, "at": "-60%"} if item["stage"] == "handle" and item["step"] == 1 else item for item in items
    ]
    changed = centre.client.put("/api/urging", json={"items": earlier, "reason": "sooner"}, headers=tag)
    assert changed.status_code == 200, changed.text
    problem(centre.client.put("/api/urging", json={"items": items, "reason": "x"}, headers=tag), 412)
    while "reminded" not in kinds(centre.url, incident_id):  # the loop looks at running clocks again
        pass
    assert kinds(centre.url, incident_id).count("reminded") == 1
    centre.client.put("/api/urging", json={"items": items, "reason": "as before"}).raise_for_status()


def test_who_may_not_steer_may_look(centre: Centre) -> None:
    problem(centre.stranger.get("/api/urging"), 401)
    problem(centre.stranger.put("/api/calendar?year=2030", json={}), 401)
