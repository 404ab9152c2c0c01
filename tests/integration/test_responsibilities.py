"""The responsibility list in the database and over HTTP: one lead at a time, who changed it, who would get this."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from psycopg import AsyncConnection, errors

from city.storage import responsibilities as stored
from city.storage import responsibility_files as files
from city.storage.changes import open_connection
from city.storage.responsibilities import ResponsibilityError
from city.units import Responsibility
from tests.integration.running_centre import Centre, running
from tests.integration.small_town import build, rows

Json = dict[str, Any]
T = TypeVar("T")
DAY = timedelta(days=1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
MORE = """
INSERT INTO categories (code, parent, name, name_en, class, limit_minutes, clock) VALUES
    ('road', NULL, '道路', 'Road', 'C', 240, 'working'), ('road.lamp', 'road', '路灯', 'Lamp', 'C', 240, 'working'),
    ('road.hole', 'road', '坑洞', 'Hole', 'C', 240, 'working'), ('water', NULL, '供水', 'Water', 'B', 60, 'natural'),
    ('water.pipe', 'water', '水管', 'Pipe', 'B', 60, 'natural'), ('tree', NULL, '树木', 'Tree', 'C', 60, 'natural'),
    ('noise', NULL, '噪声', 'Noise', 'C', 60, 'natural'), ('bridge', NULL, '桥梁', 'Bridge', 'C', 60, 'natural'),
    ('park', NULL, '公园', 'Park', 'C', 60, 'natural'), ('shop', NULL, '商铺', 'Shop', 'C', 60, 'natural')
    ON CONFLICT (code) DO UPDATE SET limit_minutes = excluded.limit_minutes, clock = excluded.clock,
        class = excluded.class, limits = '', class_limits = '';
INSERT INTO units (code, name, name_en) VALUES
    ('ua', '甲', 'Unit A'), ('ub', '乙', 'Unit B'), ('uc', '丙', 'Unit C'), ('ud', '丁', 'Unit D');
INSERT INTO units (code, name, active) VALUES ('gone', '撤销的单位', false);
UPDATE areas SET geometry = '{"type": "Polygon", "coordinates": [[[114, 22], [114.1, 22], [114.1, 22.1], [114, 22]]]}'
    WHERE code = 'c00';
"""


@pytest.fixture(scope="module")
def url(postgres_server: Any, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    made = postgres_server.url(name)
    build(made)
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute(MORE)
    yield made
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def centre(url: str) -> Iterator[Centre]:
    with running(url) as made:
        yield made


@pytest.fixture
def api(centre: Centre) -> httpx.Client:
    return centre.client


def on(url: str, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test") as connection:
            done = await work(connection)
            await connection.commit()
            return done

    return asyncio.run(run())


def entry(category: str, unit_id: int, **more: Any) -> Responsibility:
    given: Json = {"area_id": None, "incident_class": None, "limit_minutes": None, "clock": None}
    return Responsibility(category=category, unit_id=unit_id, **given | more)


def unit_id(url: str, code: str) -> int:
    ((number,),) = rows(url, "SELECT id FROM units WHERE code = %s", code)
    assert isinstance(number, int)
    return number


def area_id(url: str, code: str) -> int:
    ((number,),) = rows(url, "SELECT id FROM areas WHERE code = %s", code)
    assert isinstance(number, int)
    return number


def problem(answer: httpx.Response, status: int, field: str = "") -> Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: Json = answer.json()
    assert body["detail"]
    assert body["detail_zh"] != body["detail"]
    if field:
        assert [fault["field"] for fault in body["errors"]] == [field]
    return body


def begun(api: httpx.Client, category: str, unit: str, **more: Any) -> Json:
    body = {"category": category, "unit": unit, "reason": "试", **more}
    answer = api.post("/api/responsibilities", json=body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


# ── the table ────────────────────────────────────────────────────────────────────────────────────────


def test_two_leads_at_one_time_are_refused_by_the_database(url: str) -> None:
    ua, ub = unit_id(url, "ua"), unit_id(url, "ub")
    tomorrow = datetime.now(UTC) + DAY

    async def twice(connection: AsyncConnection[Any]) -> None:
        await stored.begin(connection, entry("shop", ua, valid_to=tomorrow))
        await stored.begin(connection, entry("shop", ub, valid_from=tomorrow))
        await stored.begin(connection, entry("shop", ub, area_id=area_id(url, "s1")))
        await stored.begin(connection, entry("shop", ub, valid_from=tomorrow - DAY / 2))

    with pytest.raises(errors.ExclusionViolation, match="responsibilities_one_lead"):
        on(url, twice)
    assert rows(url, "SELECT FROM responsibilities WHERE category = 'shop'") == []


def test_what_is_in_force_is_never_rewritten(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO responsibilities (category, unit_id) SELECT 'shop', min(id) FROM units"
        )
        with pytest.raises(errors.RestrictViolation, match="never rewritten"):
            connection.execute("UPDATE responsibilities SET class = 'A' WHERE category = 'shop'")
        connection.rollback()


def test_the_history_is_written_whoever_writes_and_for_good(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO responsibilities (category, unit_id) SELECT 'shop', min(id) FROM units"
        )
        connection.execute(
            "SELECT set_config('city.actor', 'user:7', true), set_config('city.reason', '撤', true)"
        )
        connection.execute("UPDATE responsibilities SET valid_to = now() WHERE category = 'shop'")
        found = connection.execute(
            "SELECT action, actor, reason, before IS NULL, after ->> 'ended_by' FROM responsibility_changes"
            " WHERE category = 'shop' ORDER BY id"
        ).fetchall()
        assert found == [("begun", "system", "", True, None), ("ended", "user:7", "撤", False, "user:7")]
        for change in ("UPDATE responsibility_changes SET reason = ''", "DELETE FROM responsibility_changes"):
            with pytest.raises(errors.RestrictViolation), connection.transaction():
                connection.execute(change)  # type: ignore[arg-type]  # one of two constants
        with pytest.raises(errors.ForeignKeyViolation, match="co-handler"), connection.transaction():
            connection.execute(
                "INSERT INTO responsibilities (category, unit_id, co_units)"
                " SELECT 'shop', min(id), ARRAY[-1] FROM units"
            )
        connection.rollback()


# ── a ruling ─────────────────────────────────────────────────────────────────────────────────────────


def rule(url: str, category: str, unit: str, at: datetime, incident_id: int | None = None) -> int:
    return on(
        url,
        lambda connection: stored.amend(
            connection,
            category=category,
            area_id=area_id(url, "s1"),
            unit_id=unit_id(url, unit),
            actor="user:3",
            reason="裁决",
            incident_id=incident_id,
            at=at,
        ),
    )


def listed(url: str, category: str) -> list[tuple[object, ...]]:
    return rows(
        url,
        "SELECT u.code, r.limits, r.automatic, r.valid_from, r.valid_to FROM responsibilities r"
        " JOIN units u ON u.id = r.unit_id WHERE r.category = %s ORDER BY r.id",
        category,
    )


def test_a_ruling_ends_what_it_overrules_and_takes_over_the_rest(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO responsibilities (category, area_id, unit_id, co_units, limits, automatic)"
            " SELECT 'park', a.id, u.id, ARRAY[b.id, c.id], 'handle=2wd', 'none'"
            " FROM areas a, units u, units b, units c"
            " WHERE a.code = 's1' AND u.code = 'ua' AND b.code = 'ub' AND c.code = 'uc'"
        )
        connection.execute(
            "INSERT INTO incidents (number, class, category, reason, due_at, opened_at, state, base_class)"
            " VALUES ('X-1', 'B', 'park', '试', now(), now(), 'filed', 'B')"
        )
    ((incident_id,),) = rows(url, "SELECT id FROM incidents WHERE number = 'X-1'")
    at = datetime.now(UTC)
    made = rule(url, "park", "ub", at, int(str(incident_id)))
    assert listed(url, "park") == [
        ("ua", "handle=2wd", "none", None, at),
        ("ub", "handle=2wd", "none", at, None),
    ]
    ((helpers,),) = rows(url, "SELECT co_units FROM responsibilities WHERE id = %s", made)
    assert helpers == [unit_id(url, "uc")]
    assert rows(
        url,
        "SELECT action, actor, reason, incident_id FROM responsibility_changes"
        " WHERE category = 'park' AND actor <> 'system' ORDER BY id",
    ) == [("ended", "user:3", "裁决", incident_id), ("begun", "user:3", "裁决", incident_id)]
    assert rule(url, "park", "ub", at + DAY) == made  # the list says so already
    with pytest.raises(ResponsibilityError, match="no longer works") as caught:
        rule(url, "park", "gone", at + DAY)
    assert "停用" in caught.value.reason
    assert len(listed(url, "park")) == 2


def test_a_ruling_lasts_until_what_is_planned(url: str) -> None:
    later = datetime.now(UTC) + 30 * DAY
    at = datetime.now(UTC)
    place, ua = area_id(url, "s1"), unit_id(url, "ua")
    on(url, lambda c: stored.begin(c, entry("tree", ua, area_id=place, valid_from=later)))
    rule(url, "tree", "ub", at)
    assert [line[0::3] for line in listed(url, "tree")] == [("ua", later), ("ub", at)]
    assert listed(url, "tree")[1][4] == later


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────


def test_an_entry_is_begun_shown_changed_and_ended(api: httpx.Client) -> None:
    made = begun(
        api,
        "road.lamp",
        "ua",
        area="s1",
        co_units=["ub"],
        limits={"acknowledge": "1wh", "handle": "3wd"},
        **{"class": "B"},
    )
    assert made["area_layer"] == "street"
    assert made["state"] == "in_force"
    assert made["limits"] == {"acknowledge": "60wm", "handle": "3wd"}
    assert (made["category_name"], made["unit_name_en"], made["co_units"]) == ("路灯", "Unit A", ["ub"])
    address = f"/api/responsibilities/{made['id']}"
    shown = api.get(address)
    assert shown.json() == made
    assert shown.headers["etag"] == f'"{made["version"]}"'

    answer = api.patch(
        address, json={"unit": "uc", "reason": "换人"}, headers={"If-Match": shown.headers["etag"]}
    )
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert after["id"] != made["id"]
    assert answer.headers["content-location"] == f"/api/responsibilities/{after['id']}"
    assert (after["unit"], after["co_units"], after["limits"]) == ("uc", ["ub"], made["limits"])
    before = api.get(address).json()
    assert (before["state"], before["valid_to"]) == ("ended", after["valid_from"])
    problem(api.patch(address, json={"unit": "ua", "reason": "又换"}), 409)

    ended = api.delete(f"/api/responsibilities/{after['id']}", params={"reason": "撤"}).json()
    assert ended["state"] == "ended"
    history = api.get(f"{address}/history").json()["items"]
    assert [(one["action"], one["reason"], one["by"]) for one in history] == [
        ("ended", "撤", "api-token"),
        ("begun", "换人", "api-token"),
        ("ended", "换人", "api-token"),
        ("begun", "试", "api-token"),
    ]
    assert (history[1]["before"], history[1]["after"]["unit"], history[2]["before"]["unit"]) == (
        None,
        "uc",
        "ua",
    )
    newest = api.get("/api/responsibilities/history", params={"limit": 1}).json()
    assert len(newest["items"]) == 1
    older = api.get("/api/responsibilities/history", params={"cursor": newest["next"]}).json()["items"]
    assert older[0]["id"] < newest["items"][0]["id"]


def test_an_entry_that_has_not_begun_is_written_over_and_withdrawn(api: httpx.Client) -> None:
    tomorrow = datetime.now(UTC) + DAY
    made = begun(api, "road.hole", "ua", valid_from=tomorrow.isoformat())
    assert made["state"] == "planned"
    address = f"/api/responsibilities/{made['id']}"
    end = (tomorrow + DAY).isoformat()
    after = api.patch(address, json={"unit": "ub", "valid_to": end, "reason": "改"}).json()
    assert (after["id"], after["unit"], after["version"]) == (made["id"], "ub", made["version"] + 1)
    withdrawn = api.delete(address, params={"reason": "撤"}).json()
    assert (withdrawn["state"], withdrawn["valid_to"]) == ("withdrawn", after["valid_from"])
    problem(api.patch(address, json={"unit": "ua", "reason": "再"}), 409)
    assert api.get("/api/responsibilities", params={"category": "road.hole"}).json()["items"] == []
    assert api.get(f"{address}/history").json()["items"][0]["action"] == "withdrawn"


def test_a_unit_that_was_closed_since_cannot_be_carried_on(api: httpx.Client, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO units (code, name) VALUES ('ue', '戊')")
    made = [begun(api, "noise", unit, area=area, co_units=co) for unit, area, co in
            (("ue", "c06", []), ("ua", "c07", ["ue"]))]  # fmt: skip
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE units SET active = false WHERE code = 'ue'")
    for one, field in zip(made, ("unit", "co_units"), strict=True):
        address = f"/api/responsibilities/{one['id']}"
        problem(api.patch(address, json={"limits": {"handle": "1d"}, "reason": "改"}), 422, field)
        answer = api.patch(address, json={"unit": "ub", "co_units": [], "reason": "换"})
        assert (answer.json()["unit"], answer.json()["co_units"]) == ("ub", [])


def test_only_the_end_of_an_entry_in_force_is_moved_in_place(api: httpx.Client) -> None:
    made = begun(api, "bridge", "ua")
    address = f"/api/responsibilities/{made['id']}"
    end = (datetime.now(UTC) + DAY).isoformat()
    ending = api.patch(address, json={"valid_to": end, "reason": "到期"}).json()
    assert (ending["id"], ending["state"]) == (made["id"], "in_force")
    going_on = api.patch(address, json={"valid_to": None, "reason": "不到期"}).json()
    assert (going_on["id"], going_on["valid_to"]) == (made["id"], None)
    later = api.patch(address, json={"unit": "ub", "valid_from": end, "reason": "交接"}).json()
    assert later["state"] == "planned"
    assert api.get(address).json()["valid_to"] == later["valid_from"]
    unchanged = api.patch(address, json={"unit": "ua", "reason": "同样"}).json()
    assert (unchanged["id"], unchanged["version"]) == (made["id"], going_on["version"] + 1)


BAD: list[tuple[Json, int, str]] = [
    ({"category": "noice"}, 422, "category"),
    ({"unit": "gone"}, 422, "unit"),
    ({"unit": "nobody"}, 422, "unit"),
    ({"co_units": ["ua"]}, 422, "co_units"),
    ({"co_units": ["gone"]}, 422, "co_units"),
    ({"co_units": ["ub"] * 21}, 422, "co_units"),
    ({"area": "nowhere"}, 422, "area"),
    ({"area_layer": "street"}, 422, "area"),
    ({"limits": {"acknowledge": "2h", "handle": "1h"}}, 422, "limits"),
    ({"limits": {"handle": "soon"}}, 422, "limits"),
    ({"limits": {"handle": "1h"}, "limit_minutes": 60}, 422, "limits"),
    ({"valid_from": "2026-01-01T00:00:00Z"}, 422, "valid_from"),
    ({"valid_to": "2026-01-01T00:00:00Z"}, 422, "valid_to"),
    ({"valid_from": "2100-01-02T00:00:00Z", "valid_to": "2100-01-01T00:00:00Z"}, 422, "valid_to"),
    ({"valid_from": "2100-01-02T00:00:00"}, 422, "valid_from"),
    ({"reason": " "}, 422, "reason"),
    ({"surprise": 1}, 422, "surprise"),
    ({"category": "fire", "area": "s1"}, 409, ""),
]


@pytest.mark.parametrize(("more", "status", "field"), BAD)
def test_what_cannot_be_meant_is_refused_with_its_field(
    api: httpx.Client, url: str, more: Json, status: int, field: str
) -> None:
    count = "SELECT count(*) FROM responsibility_changes"
    before = rows(url, count)
    body = {"category": "noise", "unit": "ua", "reason": "试", **more}
    problem(api.post("/api/responsibilities", json=body), status, field)
    assert rows(url, count) == before


def test_co_handlers_must_not_go_round(api: httpx.Client) -> None:
    begun(api, "water.pipe", "ua", co_units=["ub"])
    second = begun(api, "water.pipe", "ub", area="s1")
    body = {"co_units": ["ua"], "reason": "互助"}
    found = problem(api.patch(f"/api/responsibilities/{second['id']}", json=body), 422, "co_units")
    assert "ub -> ua -> ub" in found["detail"]
    assert "乙 → 甲 → 乙" in found["detail_zh"]
    assert api.get(f"/api/responsibilities/{second['id']}").json() == second


def test_who_read_an_older_version_is_told(api: httpx.Client) -> None:
    made = begun(api, "noise", "ua", area="d00")
    address = f"/api/responsibilities/{made['id']}"
    first = {"If-Match": f'"{made["version"]}"'}
    end = (datetime.now(UTC) + DAY).isoformat()
    assert api.patch(address, json={"valid_to": end, "reason": "到期"}, headers=first).status_code == 200
    problem(api.patch(address, json={"unit": "ub", "reason": "换"}, headers=first), 412)
    problem(api.delete(address, params={"reason": "撤"}, headers=first), 412)
    problem(api.get("/api/responsibilities/999999"), 404)
    problem(api.delete("/api/responsibilities/999999", params={"reason": "撤"}), 404)


def test_of_two_people_at_once_one_is_told_who_leads(api: httpx.Client) -> None:
    bodies = [
        {"category": "noise", "unit": unit, "area": "c09", "reason": "同时"} for unit in ("ua", "ub")
    ] * 2
    with ThreadPoolExecutor(4) as people:
        answers = list(people.map(lambda body: api.post("/api/responsibilities", json=body), bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    made = next(answer.json() for answer in answers if answer.status_code == 201)
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert f"{made['unit']} leads" in problem(refused, 409)["detail"]
    assert str(made["id"]) in refused.json()["detail_zh"]


def test_the_same_post_twice_is_done_once(api: httpx.Client) -> None:
    body = {"category": "noise", "unit": "ua", "area": "m3", "reason": "试"}
    answers = [
        api.post("/api/responsibilities", json=body, headers={"Idempotency-Key": "k1"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


def test_the_list_is_searched_and_paged(api: httpx.Client) -> None:
    made = [begun(api, "road", "ud", area=f"c0{n}", co_units=["uc"]) for n in range(3)]
    later = begun(api, "road", "ud", area="c05", valid_from=(datetime.now(UTC) + DAY).isoformat())

    def found(**query: str) -> list[int]:
        answer = api.get("/api/responsibilities", params=query)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    numbers = [one["id"] for one in made]
    assert found(unit="ud") == [*numbers, later["id"]]
    assert found(unit="uc", area="c01") == numbers[1:2]
    assert found(unit="ud", at=datetime.now(UTC).isoformat()) == numbers
    assert found(unit="ud", at=(datetime.now(UTC) + 2 * DAY).isoformat()) == [*numbers, later["id"]]
    assert found(unit="ud", at=LONG_AGO.isoformat()) == []
    assert set(numbers) <= set(found(category="road"))
    assert set(numbers) & set(found(category="roa")) == set()
    pages, cursor = [], None
    while True:
        query = {"unit": "ud", "limit": 1} | ({"cursor": cursor} if cursor else {})
        page = api.get("/api/responsibilities", params=query).json()
        pages += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == [*numbers, later["id"]]


def test_who_would_get_this(api: httpx.Client) -> None:
    whole = begun(api, "water", "ua", co_units=["uc"], limits={"acknowledge": "10m", "handle": "2h"})
    near = begun(api, "water", "ub", area="c00", automatic="none")
    answer = api.get(
        "/api/responsibilities/simulate",
        params={"category": "water", "cell": "c05", "at": "2100-03-01T04:00:00Z"},
    ).json()
    assert (answer["unit"]["code"], answer["entry"]) == ("ua", whole["id"])
    assert [unit["code"] for unit in answer["co_units"]] == ["uc"]
    limits = {one["stage"]: (one["limit"], one["due_at"]) for one in answer["limits"]}
    assert limits["acknowledge"] == ("10m", "2100-03-01T04:10:00Z")
    assert limits["handle"] == ("120m", "2100-03-01T06:00:00Z")
    assert [place["layer"] for place in answer["place"]] == ["cell", "community", "street", "district"]
    assert [one["verdict"] for one in answer["considered"]] == ["wins"]
    assert answer["elsewhere"] == 1
    assert answer["reason"]
    assert answer["reason_en"]

    there = api.get(
        "/api/responsibilities/simulate", params={"category": "water", "lon": 114.05, "lat": 22.01}
    ).json()
    assert (there["entry"], there["unit"]["code"], there["automatic"]) == (near["id"], "ub", False)
    assert [(one["id"], one["verdict"]) for one in there["considered"]] == [
        (near["id"], "wins"),
        (whole["id"], "larger_place"),
    ]
    past = api.get(
        "/api/responsibilities/simulate", params={"category": "water", "at": LONG_AGO.isoformat()}
    ).json()
    assert (past["unit"], past["entry"]) == (None, None)
    assert [(one["id"], one["verdict"]) for one in past["considered"]] == [(whole["id"], "not_in_force")]
    for query, field in [
        ({"category": "nothing"}, "category"),
        ({"category": "water", "cell": "zz"}, "cell"),
        ({"category": "water", "lon": 1}, "lon"),
        ({"category": "water", "lon": 1, "lat": 1}, "lon"),
    ]:
        problem(api.get("/api/responsibilities/simulate", params=query), 422, field)


def test_the_past_is_simulated_by_the_list_of_then(api: httpx.Client, url: str) -> None:
    ua, ub = unit_id(url, "ua"), unit_id(url, "ub")
    change = datetime(2026, 6, 1, tzinfo=UTC)

    async def hand_over(connection: AsyncConnection[Any]) -> None:
        await stored.begin(connection, entry("public", ua, valid_from=LONG_AGO, valid_to=change))
        await stored.begin(connection, entry("public", ub, valid_from=change))

    on(url, hand_over)
    for at, code in ((change - DAY, "ua"), (change, "ub")):
        query = {"category": "public.person", "cell": "c01", "at": at.isoformat()}
        assert api.get("/api/responsibilities/simulate", params=query).json()["unit"]["code"] == code


def test_gaps_and_overlaps_are_reported(api: httpx.Client, url: str) -> None:
    found = api.get("/api/responsibilities/gaps").json()
    assert found["cells"] == 11
    assert found["pairs"] == found["leaves"] * 11
    assert [one["place"]["code"] for one in found["items"] if one["category"] == "fire"] == ["s2"]

    overlaps = api.get("/api/responsibilities/overlaps").json()["items"]
    assert [one for one in overlaps if one["kind"] == "unit_inactive"] == []
    gone = unit_id(url, "gone")
    on(url, lambda c: stored.begin(c, entry("device", gone, area_id=area_id(url, "s2"))))
    overlaps = api.get("/api/responsibilities/overlaps").json()["items"]
    (inactive,) = [one for one in overlaps if one["kind"] == "unit_inactive"]
    assert (inactive["units"], inactive["entries"][0]["area"], inactive["entries"][0]["category"]) == (
        ["gone"],
        "s2",
        "device",
    )


# ── as a file ────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_tried_and_then_taken_in_whole(api: httpx.Client) -> None:
    exported = api.get("/api/responsibilities.csv")
    assert "fire,street,s1,fire-east,,,,,,,," in exported.text.splitlines()

    def take(content: bytes, *, dry_run: bool = False, tag: str = "*") -> httpx.Response:
        query = {"reason": "年度", "dry_run": dry_run}
        return api.post(
            "/api/responsibilities/import", params=query, content=content, headers={"If-Match": tag}
        )

    same = take(exported.content, dry_run=True, tag=exported.headers["etag"]).json()
    assert (same["begun"], same["dry_run"]) == (0, True)

    lines = ["fire,,,ua,,,,ub;uc,,,,", "fire.smoke,street,s1,fire-east,,,,,,,,"]
    text = b"category,area_layer,area,unit,co_units\nfire,,,ua,ub;uc\nfire.smoke,street,s1,fire-east,\n"
    tried = take(text, dry_run=True).json()
    assert (tried["lines"], tried["begun"], tried["dry_run"]) == (2, 2, True)
    assert [one["unit"] for one in tried["begin"]] == ["ua", "fire-east"]
    assert ("fire", "s1") in [(one["category"], one["area"]) for one in tried["end"]]
    assert api.get("/api/responsibilities.csv").content == exported.content

    done = take(text, tag=exported.headers["etag"]).json()
    assert (done["begun"], done["ended"], done["dry_run"]) == (2, tried["ended"], False)
    assert api.get("/api/responsibilities.csv").text.splitlines()[1:] == lines
    problem(take(text, tag=exported.headers["etag"]), 412)
    for bad, words in WRONG_FILES:
        refused = problem(take(bad.encode()), 422)
        assert len(refused["problems"]) == len(words)
        assert all(word in line for word, line in zip(words, refused["problems"], strict=True))
    assert api.get("/api/responsibilities.csv").text.splitlines()[1:] == lines
    assert take(exported.content).status_code == 200
    assert api.get("/api/responsibilities.csv").content == exported.content


WRONG_FILES = [
    ("category,unit\nfir,ua\nfire,nobody\n", ["category = 'fir'", "unit = 'nobody'"]),
    ("category,unit\n", ["holds no entry"]),
    ("category,unit,co_units\nfire,ua,gone\n", ["co_units = 'gone'"]),
    (
        "category,area_layer,area,unit,co_units\nfire,,,ua,ub\nfire,street,s1,ub,ua\n",
        ["co_units of ua -> ub -> ua"],
    ),
]


def test_an_import_leaves_what_people_decided(url: str) -> None:
    begin = "INSERT INTO responsibilities (category, unit_id, valid_from) SELECT %s, id, %s FROM units WHERE code = %s"
    with psycopg.connect(url) as connection:
        for category in ("kept.a", "kept.b"):
            connection.execute(begin, (category, LONG_AGO, "ua"))
        connection.execute("SELECT set_config('city.actor', 'user:1', true)")
        connection.execute("UPDATE responsibilities SET valid_to = now() WHERE category LIKE 'kept.%'")
        ((now,),) = connection.execute("SELECT now()").fetchall()
        connection.execute(begin, ("kept.b", now, "ub"))
        line = files.ListedResponsibility(
            where="",
            category="kept.a",
            area_layer=None,
            area=None,
            unit="ua",
            incident_class=None,
            limit_minutes=None,
            clock=None,
        )
        found = files.planned(connection, [line], over_people=False)
        assert (found.begin, found.kept) == ((), (("kept.a", None),))
        assert "kept.b" not in {one.category for one in found.end}
        over = files.planned(connection, [line], over_people=True)
        assert [one.category for one in over.begin] == ["kept.a"]
        assert "kept.b" in {one.category for one in over.end}
        connection.rollback()
