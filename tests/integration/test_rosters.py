"""Rosters over HTTP, who is on duty, the suggestion for an incident; and a shift's begin empties the lane."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import errors

from city.directory import Directory
from city.settings import Settings
from city.storage import directory, incidents
from city.storage.changes import open_connection
from command_centre import deadlines_loop, triage_loop
from command_centre.known_directory import KnownDirectory
from command_centre.lane import Lane
from tests.integration.running_centre import Centre, lay_ground, running
from tests.integration.small_town import NOW, build, raise_alarm, rows
from tests.servers.postgres import PostgresServer

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One for all tests here: each writes the rosters it needs."""
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    with running(url) as made:
        yield made
    postgres_server.drop_database(name)


@pytest.fixture
def tomorrow(now: datetime) -> datetime:
    return now.replace(minute=0) + DAY


def on_duty(person: str, begins: datetime, ends: datetime, phone: str = "1") -> dict[str, str]:
    return {"person": person, "phone": phone, "from": begins.isoformat(), "to": ends.isoformat()}


def written(
    centre: Centre, unit: str, *people: dict[str, str], shifts: tuple[dict[str, str], ...] = ()
) -> httpx.Response:
    """The roster over whatever stands there, with the ETag of a moment ago."""
    stands = centre.client.get(f"/api/units/{unit}/roster")
    return centre.client.put(
        f"/api/units/{unit}/roster",
        json={"people": list(people), "shifts": list(shifts)},
        headers={"If-Match": stands.headers["ETag"]},
    )


def item(centre: Centre, unit: str, at: datetime) -> dict[str, Any]:
    answer = centre.client.get("/api/duty", params={"at": at.isoformat()}).json()
    (found,) = (one for one in answer["items"] if one["unit"] == unit)
    return {**found, "gaps": [gap for gap in answer["gaps"] if gap["unit"] == unit]}


def test_a_roster_is_written_whole_and_read_back_with_its_gaps(centre: Centre, tomorrow: datetime) -> None:
    fresh = centre.client.get("/api/units/U2/roster")
    answer = written(
        centre,
        "U2",
        on_duty("李", tomorrow, tomorrow + DAY),
        on_duty("王", tomorrow + 2 * DAY, tomorrow + 9 * DAY),
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == fresh.json()["version"] + 1
    assert [one["person"] for one in answer.json()["people"]] == ["李", "王"]
    assert answer.json() == centre.client.get("/api/units/U2/roster").json() | {"gaps": answer.json()["gaps"]}
    assert datetime.fromisoformat(answer.json()["gaps"][-1]["from"]) == tomorrow + DAY
    there, away = item(centre, "U2", tomorrow + MINUTE), item(centre, "U2", tomorrow + DAY + MINUTE)
    assert (there["on_duty"], [one["person"] for one in there["people"]]) == (True, ["李"])
    assert (away["on_duty"], away["people"], away["again_at"]) == (
        False,
        [],
        (tomorrow + 2 * DAY).isoformat().replace("+00:00", "Z"),
    )
    assert item(centre, "U1", tomorrow)["keeps_roster"] is False


def test_two_hands_and_a_missing_tag_are_refused(centre: Centre) -> None:
    body: dict[str, Any] = {"people": [], "shifts": []}
    assert centre.client.put("/api/units/U2/roster", json=body).status_code == 428
    tag = centre.client.get("/api/units/U2/roster").headers["ETag"]
    assert centre.client.put("/api/units/U2/roster", json=body, headers={"If-Match": tag}).status_code == 200
    late = centre.client.put("/api/units/U2/roster", json=body, headers={"If-Match": tag})
    assert (late.status_code, "read it again" in late.json()["detail"]) == (412, True)
    assert centre.client.get("/api/units/U9/roster").status_code == 404


def test_one_person_twice_at_once_is_refused_with_the_other_stretch_named(
    centre: Centre, tomorrow: datetime
) -> None:
    assert written(centre, "U1", on_duty("赵", tomorrow, tomorrow + DAY)).status_code == 200
    before = centre.client.get("/api/units/U2/roster").json()
    answer = written(centre, "U2", on_duty("赵", tomorrow + DAY / 2, tomorrow + 2 * DAY))
    assert answer.status_code == 409
    assert "赵 is on duty twice at once: U1 " in answer.json()["detail"]
    assert "赵 的值班时间重叠" in answer.json()["detail_zh"]
    assert centre.client.get("/api/units/U2/roster").json() == before
    with pytest.raises(errors.ExclusionViolation), psycopg.connect(centre.url) as connection:
        connection.execute(
            "INSERT INTO roster (unit_id, person, phone, begins, ends)"
            " SELECT u.id, r.person, r.phone, r.begins, r.ends FROM roster r, units u"
            " WHERE u.code = 'U2' AND r.person = '赵'"
        )
    assert written(centre, "U1").status_code == 200


def test_a_unit_writes_its_own_roster_and_no_other(centre: Centre, tomorrow: datetime) -> None:
    made = centre.client.post("/api/users", json={"name": "han", "role": "handler", "unit": "U2"})
    first = made.json()["one_time_secret"]
    with httpx.Client(base_url=centre.base, timeout=60) as handler:
        assert handler.post("/api/session", json={"name": "han", "password": first}).status_code == 200
        new = {"current": first, "new": "a new password of han"}
        assert handler.post("/api/session/password", json=new).status_code == 204
        body = {"people": [on_duty("韩", tomorrow, tomorrow + DAY) | {"user": "han"}]}
        answers = {
            unit: handler.put(f"/api/units/{unit}/roster", json=body, headers={"If-Match": "*"})
            for unit in ("U1", "U2")
        }
    assert answers["U1"].status_code == 403
    assert "only the centre and U1 itself" in answers["U1"].json()["detail"]
    assert answers["U2"].status_code == 200, answers["U2"].text
    assert answers["U2"].json()["people"][0]["user"] == "han"
    twice = written(centre, "U1", on_duty("another name", tomorrow, tomorrow + DAY) | {"user": "han"})
    assert twice.status_code == 409
    assert written(centre, "U2").status_code == 200


@pytest.mark.parametrize(
    ("people", "shifts", "field"),
    [
        (lambda day: [on_duty("李", day, day)], [], "people.0.to"),
        (lambda day: [on_duty("李", day - 9 * DAY, day - 2 * DAY)], [], "people.0.to"),
        (lambda day: [on_duty("李", day, day + 4000 * DAY)], [], "people.0.to"),
        (lambda day: [on_duty("李", day, day + DAY) | {"user": "nobody"}], [], "people.0.user"),
        (lambda _: [], [{"name": "x", "days": "weekend", "from": "08:00", "to": "18:00"}], "shifts.0.days"),
        (lambda _: [], [{"name": "x", "from": "08:00", "to": "18:00"}] * 2, "shifts.1.name"),
        (lambda _: [{"person": "李", "from": "2027-01-01T08:00:00", "to": "2027-01-02T08:00:00"}], [], "people.0.from"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_and_nothing_is_written(
    centre: Centre,
    people: Callable[[datetime], list[dict[str, str]]],
    shifts: list[dict[str, str]],
    field: str,
    tomorrow: datetime,
) -> None:
    before = centre.client.get("/api/units/U2/roster")
    answer = centre.client.put(
        "/api/units/U2/roster",
        json={"people": people(tomorrow), "shifts": shifts},
        headers={"If-Match": before.headers["ETag"]},
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert centre.client.get("/api/units/U2/roster").json()["version"] == before.json()["version"]


def test_the_suggestion_names_the_unit_why_and_who_else(centre: Centre, tomorrow: datetime) -> None:
    centre.execute("UPDATE units SET fallback = 'U2' WHERE code = 'U1'")
    assert written(centre, "U1", on_duty("钱", tomorrow, tomorrow + DAY)).status_code == 200
    opened = centre.client.post("/api/incidents", json={"category": "public.person", "cell": "C1"}).json()
    nobody = centre.client.get(f"/api/incidents/{opened['id']}/suggestion").json()
    assert (nobody["unit"], nobody["alternatives"]) == (None, [])
    assert "no unit is responsible" in nobody["reason_en"]
    centre.execute(
        "INSERT INTO responsibilities (category, unit_id) SELECT 'public', id FROM units WHERE code = 'U1'"
    )
    found = centre.client.get(f"/api/incidents/{opened['id']}/suggestion").json()
    assert (found["unit"]["code"], found["class"], found["steps"]) == ("U2", "C", 6)
    assert [(other["unit"]["code"], other["reason_en"][:11]) for other in found["alternatives"]] == [
        ("U1", "is off duty")
    ]
    assert "Crew 2 stands in" in found["reason_en"]
    assert found["limits"]["handle"] == "120m"
    assert centre.client.get("/api/incidents/999999/suggestion").status_code == 404
    centre.client.post(f"/api/incidents/{opened['id']}/void", json={"reason": "test"})
    assert centre.client.get(f"/api/incidents/{opened['id']}/suggestion").status_code == 409
    assert written(centre, "U1").status_code == 200


# ── the loops ────────────────────────────────────────────────────────────────────────────────────────


def test_a_shift_that_begins_empties_the_lane_without_any_change(migrated_url: str) -> None:
    build(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        connection.execute(
            "INSERT INTO roster (unit_id, person, begins, ends) SELECT id, '李', %s, '2099-01-01'"
            " FROM units WHERE code = 'fire-east'",
            (NOW + 30 * MINUTE,),
        )
    raise_alarm(migrated_url, "c03-s1")

    async def run() -> list[int]:
        known = KnownDirectory(Settings().zone)
        lane = Lane(known)
        async with await open_connection(migrated_url, "test", autocommit=True) as connection:
            await triage_loop.triage_batch(connection, known, NOW, mail=False)
            waiting = await incidents.lane(connection)
            assert "不在班" in waiting[0].reason
            return [
                await lane.look(connection, NOW + minutes * MINUTE, mail=False)
                for minutes in (1, 2, 29, 31, 33)
            ]

    assert asyncio.run(run()) == [0, 0, 0, 1, 0]
    assert rows(migrated_url, "SELECT state, dispatched_at FROM incidents") == [
        ("dispatched", NOW + 31 * MINUTE)
    ]


def test_an_order_that_nobody_acknowledges_goes_to_the_stand_in_once(migrated_url: str) -> None:
    build(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        connection.execute("UPDATE units SET fallback = 'fire-hq' WHERE code = 'fire-east'")
    raise_alarm(migrated_url, "c03-s1")

    async def run() -> None:
        known = KnownDirectory(Settings().zone)
        async with await open_connection(migrated_url, "test", autocommit=True) as connection:
            await triage_loop.triage_batch(connection, known, NOW, mail=False)
            for minute in range(1, 40):
                await deadlines_loop.strike(connection, known, Settings(), NOW + minute * MINUTE)
            assert await incidents.verify_all(connection) == {}

    asyncio.run(run())
    assert rows(
        migrated_url,
        "SELECT detail->>'from_unit', detail->>'unit', actor FROM incident_events WHERE kind = 'redispatched'",
    ) == [("fire-east", "fire-hq", "system")]
    assert rows(
        migrated_url,
        "SELECT u.code, i.due_at = i.opened_at + '30 min'::interval FROM incidents i JOIN units u ON u.id = i.unit_id",
    ) == [("fire-hq", True)]
    assert rows(
        migrated_url,
        "SELECT u.code, c.outcome FROM incident_clocks c JOIN units u ON u.id = c.unit_id"
        " WHERE c.stage = 'acknowledge' ORDER BY c.id",
    ) == [("fire-east", "cancelled"), ("fire-hq", None)]


def test_open_work_is_counted_without_drills_and_what_is_handled(migrated_url: str) -> None:
    build(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        connection.execute(
            "INSERT INTO incidents"
            " (number, state, class, base_class, category, unit_id, reason, opened_at, due_at, exercise)"
            " SELECT s.state || n, s.state, 'C', 'C', 'fire', u.id, '-', now(), now(), n = 1"
            " FROM units u, generate_series(1, 3) n,"
            " unnest(ARRAY['dispatched', 'rework', 'handled', 'fed_back']) s (state) WHERE u.code = 'fire-east'"
        )

    async def counted(capacity: int) -> list[int]:
        async with await open_connection(migrated_url, "test", autocommit=True) as connection:
            await connection.execute("UPDATE units SET capacity = %s WHERE code = 'fire-east'", (capacity,))
            return list((await directory.open_work(connection)).values())

    assert asyncio.run(counted(9)) == [4]
    assert asyncio.run(counted(3)) == [3]


def test_what_is_read_is_kept_until_the_register_moves_and_never_from_work_undone(migrated_url: str) -> None:
    build(migrated_url)

    async def run() -> list[bool]:
        zone = Settings().zone
        async with await open_connection(migrated_url, "test", autocommit=True) as connection:
            first = await directory.load(connection, zone)
            again = await directory.load(connection, zone)
            async with connection.transaction(force_rollback=True):
                await connection.execute("UPDATE units SET capacity = 1 WHERE code = 'fire-east'")
                undone = await directory.load(connection, zone)
            await connection.execute("UPDATE units SET capacity = 2 WHERE code = 'fire-east'")
            moved = await directory.load(connection, zone)
            await connection.execute("INSERT INTO areas (layer, code, name) VALUES ('cell', 'new', 'new')")
            return [
                again.places is first.places,
                _capacity(undone) == 1,
                _capacity(moved) == 2,
                len((await directory.load(connection, zone)).places) == len(first.places) + 1,
            ]

    assert asyncio.run(run()) == [True, True, True, True]


def test_rosters_move_the_directory_and_not_the_register_of_ingest(migrated_url: str) -> None:
    build(migrated_url)

    def versions() -> tuple[object, ...]:
        return rows(
            migrated_url,
            "SELECT sum(version), sum(version) FILTER (WHERE slot >= 0) FROM register_versions",
        )[0]

    def write(query: str) -> None:
        with psycopg.connect(migrated_url) as connection:
            connection.execute(query.encode())

    named = "INSERT INTO roster (unit_id, person, begins, ends) SELECT id, '李', {} FROM units WHERE code = 'fire-hq'"
    moved = []
    for query in (
        named.format("'2020-01-01', '2020-01-02'"),
        "DELETE FROM roster",  # long over
        named.format("'2090-01-01', '2090-01-02'"),
        "DELETE FROM roster",
    ):
        before = versions()
        write(query)
        after = versions()
        assert before[1] == after[1]
        moved.append(before[0] != after[0])
    assert moved == [True, False, True, True]


def _capacity(known: Directory) -> int | None:
    unit = known.unit_by_code("fire-east")
    return unit.capacity if unit else None
