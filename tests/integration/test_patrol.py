"""Patrol on a running centre: routes, checks that come late and twice, problems that become incidents, the figures."""

import hashlib
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from PIL import Image

from city.patrol_files import ListedPoint
from city.storage import patrol_files, sessions, users
from command_centre.api.gate import COOKIE
from tests.conftest import PostgresServer, _database
from tests.integration.running_centre import Centre, lay_ground, running

ITEMS = ("lane", "door", "stairs", "lights", "hydrant")  # of the checklist fire_exits


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with _database(postgres_server, postgres_template) as url:
        lay_ground(url)
        with running(url) as started:
            for name, role in (("wang", "grid_worker"), ("zhao", "grid_worker"), ("dan", "dispatcher")):
                started.execute(
                    "INSERT INTO users (name, display_name, password_hash, role, must_change)"
                    " VALUES (%s, %s, 'x', %s, false)",
                    name,
                    name.title(),
                    role,
                )
            yield started


def log_in(centre: Centre, name: str) -> httpx.Client:
    """A session without a password: hashing one takes longer than the test."""
    token = secrets.token_urlsafe(16)
    with psycopg.connect(centre.url) as connection:
        user = users.get(connection, name)
        assert user is not None
        sessions.open_session(connection, hashlib.sha256(token.encode()).digest(), user.id, datetime.now(UTC))
    return httpx.Client(base_url=centre.base, cookies={COOKIE: token}, timeout=60)


@pytest.fixture(scope="module")
def wang(centre: Centre) -> Iterator[httpx.Client]:
    with log_in(centre, "wang") as client:
        yield client


@pytest.fixture(scope="module")
def zhao(centre: Centre) -> Iterator[httpx.Client]:
    with log_in(centre, "zhao") as client:
        yield client


@pytest.fixture(scope="module")
def route(centre: Centre, wang: httpx.Client) -> str:
    """Two points in cell C1, walked by Wang since 40 days."""
    put = centre.client.put("/api/patrol/routes/r1", json=drawn())
    assert put.status_code == 201, put.text
    centre.execute("UPDATE patrol_points SET since = now() - interval '40 days'")
    return "r1"


def drawn(**changed: Any) -> dict[str, Any]:
    points = [
        {
            "code": "p1",
            "name": "一号楼",
            "cell": "C1",
            "longitude": 1.7,
            "latitude": 0.2,
            "checklist": "fire_exits",
        },
        {"code": "p2", "name": "二号楼", "cell": "C1", "checklist": "gas_use", "cadence": "weekly"},
    ]
    return {"name": "东片", "name_en": "East", "assigned_to": "wang", "points": points, **changed}


def check(**changed: Any) -> dict[str, Any]:
    answers = [{"item": item, "answer": "ok"} for item in ITEMS]
    return {
        "client_id": str(uuid4()),
        "route": "r1",
        "point": "p1",
        "observed_at": datetime.now(UTC).isoformat(),
        "longitude": 1.7,
        "latitude": 0.2,
        "answers": answers,
        **changed,
    }


def with_problem(**problem: Any) -> list[dict[str, Any]]:
    rest: list[dict[str, Any]] = [{"item": item, "answer": "ok"} for item in ITEMS[1:]]
    return [{"item": "lane", "answer": "problem", "note": "堆放杂物 rubbish", **problem}, *rest]


# ── routes ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_route_is_written_whole_and_two_hands_do_not_overwrite_each_other(centre: Centre) -> None:
    body = drawn(assigned_to=None)
    new = centre.client.put("/api/patrol/routes/r9", json=body)
    assert (new.status_code, new.headers["ETag"]) == (201, '"1"')
    assert [point["cadence"] for point in new.json()["points"]] == ["daily", "weekly"]
    changed = centre.client.put(
        "/api/patrol/routes/r9", json={**body, "points": body["points"][:1]}, headers={"If-Match": '"1"'}
    )
    assert (changed.status_code, len(changed.json()["points"])) == (200, 1)
    second = centre.client.put("/api/patrol/routes/r9", json=body, headers={"If-Match": '"1"'})
    assert second.status_code == 412
    assert centre.client.put("/api/patrol/routes/r9", json={**body, "active": False}).status_code == 200


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"assigned_to": "nobody"}, "assigned_to"),
        ({"points": [{"code": "a", "name": "x", "checklist": "nothing"}]}, "points.checklist"),
        ({"points": [{"code": "a", "name": "x", "checklist": "gas_use", "cell": "ZZ"}]}, "points.cell"),
        ({"points": [{"code": "a", "name": "x", "checklist": "gas_use"}] * 2}, "points"),
    ],
)
def test_a_route_that_cannot_be_names_its_fault(centre: Centre, changed: dict[str, Any], field: str) -> None:
    refused = centre.client.put("/api/patrol/routes/r8", json=drawn(**changed))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field), refused.text
    assert centre.client.get("/api/patrol/routes/r8").status_code == 404


def test_a_grid_worker_sees_and_walks_their_own_alone(
    centre: Centre, route: str, wang: httpx.Client, zhao: httpx.Client
) -> None:
    assert [row["code"] for row in wang.get("/api/patrol/routes").json()["items"]] == [route, "r9"]
    assert route not in [row["code"] for row in zhao.get("/api/patrol/routes").json()["items"]]
    assert zhao.post("/api/patrol/checks", json=check()).status_code == 403
    assert zhao.put(f"/api/patrol/routes/{route}", json=drawn()).status_code == 403
    assert zhao.get("/api/patrol/today", params={"worker": "wang"}).status_code == 403
    with log_in(centre, "dan") as dispatcher:
        assert dispatcher.get("/api/patrol/today", params={"worker": "wang"}).json()["items"]


def test_routes_of_the_districts_files_are_written_once_and_peoples_stay(centre: Centre) -> None:
    def listed(name: str, code: str = "f1") -> ListedPoint:
        return ListedPoint(
            where="", route=code, route_name=name, route_name_en="", code="p1", name="门口", cell="C2", building="",
            longitude=None, latitude=None, checklist="gas_use", cadence="monthly",
        )  # fmt: skip

    with psycopg.connect(centre.url) as connection:
        assert patrol_files.write_missing(connection, [listed("西片")]) == []
        assert patrol_files.write_missing(connection, [listed("另名"), listed("南片", "f2")]) == ["f1"]
        exported = {one.route: one.route_name for one in patrol_files.listed_points(connection)}
    assert (exported["f1"], exported["f2"]) == ("西片", "南片")
    shown = centre.client.get("/api/patrol/routes/f1").json()
    assert [(point["cell"], point["cadence"]) for point in shown["points"]] == [("C2", "monthly")]
    for code in ("f1", "f2"):
        assert (
            centre.client.put(f"/api/patrol/routes/{code}", json=drawn(active=False, points=[])).status_code
            == 200
        )


# ── checks ────────────────────────────────────────────────────────────────────────────────────────────


def test_today_says_what_is_owed_until_it_is_done(route: str, wang: httpx.Client) -> None:
    def standing() -> str:
        (found,) = [one for one in wang.get("/api/patrol/today").json()["items"] if one["code"] == route]
        return str(found["points"][0]["standing"])

    assert standing() in ("overdue", "rest")  # rest on a Sunday
    done = wang.post("/api/patrol/checks", json=check())
    assert done.status_code == 201, done.text
    assert (done.json()["distance_m"], len(done.json()["answers"])) == (0, 5)
    assert standing() == "done"


def test_a_problem_is_an_incident_and_one_put_right_is_counted_alone(
    centre: Centre, route: str, wang: httpx.Client
) -> None:
    before = centre.execute("SELECT count(*) FROM incidents")
    fixed = wang.post("/api/patrol/checks", json=check(answers=with_problem(fixed=True)))
    assert fixed.status_code == 201, fixed.text
    assert centre.execute("SELECT count(*) FROM incidents") == before
    reported = wang.post("/api/patrol/checks", json=check(answers=with_problem()))
    assert reported.status_code == 201, reported.text
    (lane,) = [one for one in reported.json()["answers"] if one["item"] == "lane"]
    ((source, category, area, collected),) = centre.execute(
        "SELECT i.source, i.category, a.code, i.collected_by FROM incidents i JOIN areas a ON a.id = i.area_id"
        " WHERE i.id = %s",
        lane["incident"],
    )
    ((user,),) = centre.execute("SELECT 'user:' || id FROM users WHERE name = 'wang'")
    assert (source, str(category).split(".")[0], area, collected) == ("report", "fire", "C1", user)


def test_a_check_sent_again_is_the_same_check_however_late_and_from_however_many_phones(
    centre: Centre, route: str, wang: httpx.Client
) -> None:
    observed = datetime.now(UTC) - timedelta(days=2)
    body = check(answers=with_problem(), observed_at=observed.isoformat())
    counted = "SELECT (SELECT count(*) FROM patrol_checks), (SELECT count(*) FROM reports)"
    ((checks, reports),) = centre.execute(counted)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: wang.post("/api/patrol/checks", json=body), range(4)))
    assert sorted(one.status_code for one in answers) == [200, 200, 200, 201]
    assert len({one.json()["id"] for one in answers}) == 1
    assert centre.execute(counted) == [(int(str(checks)) + 1, int(str(reports)) + 1)]
    assert datetime.fromisoformat(answers[0].json()["observed_at"]) == observed
    other = wang.post("/api/patrol/checks", json={**body, "note": "another one"})
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "client_id")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"answers": []}, "answers"),
        ({"answers": [{"item": "lane", "answer": "ok"}] * 5}, "answers"),
        ({"answers": [*with_problem()[1:], {"item": "lane", "answer": "problem"}]}, "answers.lane.note"),
        (
            {"answers": [*with_problem()[1:], {"item": "lane", "answer": "ok", "fixed": True}]},
            "answers.lane.fixed",
        ),
        ({"answers": with_problem(photos=["ab" * 32])}, "answers.lane.photos"),
        ({"answers": with_problem(photos=["no digest"])}, "answers.lane.photos"),
        ({"point": "p7"}, "point"),
        ({"route": "r7"}, "point"),
        ({"observed_at": "2099-01-01T00:00:00Z"}, "observed_at"),
        ({"observed_at": "2020-01-01T00:00:00Z"}, "observed_at"),
    ],
)
def test_a_check_that_cannot_be_names_its_fault_and_leaves_nothing(
    centre: Centre, route: str, wang: httpx.Client, changed: dict[str, Any], field: str
) -> None:
    counted = "SELECT (SELECT count(*) FROM patrol_checks), (SELECT count(*) FROM reports)"
    before = centre.execute(counted)
    refused = wang.post("/api/patrol/checks", json=check(**changed))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field), refused.text
    assert centre.execute(counted) == before


def test_photos_of_a_problem_go_with_it(centre: Centre, route: str, wang: httpx.Client) -> None:
    out = BytesIO()
    Image.new("RGB", (8, 8), "blue").save(out, "JPEG")
    sent = wang.post("/api/photos", files={"photo": ("a.jpg", out.getvalue(), "image/jpeg")})
    assert sent.status_code in (200, 201), sent.text
    digest = sent.json()["photos"][0]
    done = wang.post("/api/patrol/checks", json=check(answers=with_problem(photos=[digest])))
    assert done.status_code == 201, done.text
    uses = centre.execute(
        "SELECT used_for FROM photo_uses WHERE digest = %s ORDER BY 1", bytes.fromhex(digest)
    )
    assert {str(use) for (use,) in uses} == {"incident", "patrol", "report"}


def test_a_check_from_before_the_route_changed_is_not_lost(
    centre: Centre, wang: httpx.Client, zhao: httpx.Client
) -> None:
    before = datetime.now(UTC).isoformat()
    centre.client.put("/api/patrol/routes/r5", json=drawn())
    centre.client.put("/api/patrol/routes/r5", json=drawn(assigned_to="zhao", points=drawn()["points"][1:]))
    late = wang.post("/api/patrol/checks", json=check(route="r5", observed_at=before))
    assert late.status_code == 201, late.text
    now = datetime.now(UTC).isoformat()
    assert wang.post("/api/patrol/checks", json=check(route="r5", observed_at=now)).status_code == 422
    centre.client.put("/api/patrol/routes/r5", json=drawn(active=False))


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_figures_say_how_much_and_how_well(centre: Centre, route: str, wang: httpx.Client) -> None:
    centre.execute(  # every other day, so that some are working days whenever this runs
        "INSERT INTO patrol_checks (client_id, digest, point_id, actor, observed_at, received_at)"
        " SELECT gen_random_uuid(), '', p.id, 'user:' || r.assigned_to, now() - n * interval '2 days', now()"
        " FROM patrol_points p JOIN patrol_routes r ON r.id = p.route_id, generate_series(2, 14) n"
        " WHERE r.code = %s AND p.code = 'p1'",
        route,
    )
    mine = wang.get("/api/patrol/appraisal").json()["items"]
    (figures,) = mine
    assert figures["worker"] == "Wang"
    assert figures["checks"] >= figures["done"] >= 1
    assert figures["owed"] > figures["done"]
    assert figures["problems"] == figures["fixed_on_spot"] + figures["reported"]
    assert figures["fixed_on_spot"] >= 1
    ((void,),) = centre.execute(
        "SELECT r.incident_id FROM patrol_answers w JOIN reports r ON r.id = w.report_id ORDER BY r.id LIMIT 1"
    )
    done = centre.client.post(f"/api/incidents/{void}/void", json={"reason": "nothing there"})
    assert done.status_code == 200, done.text
    (by_cell,) = [
        one
        for one in centre.client.get("/api/patrol/appraisal", params={"by": "cell"}).json()["items"]
        if one["cell"] == "C1"
    ]
    assert by_cell["void"] >= 1
    assert by_cell["confirmed_percent"] == 0
    assert wang.get("/api/patrol/appraisal", params={"by": "cell"}).status_code == 403


def test_checks_are_listed_page_by_page(route: str, wang: httpx.Client, zhao: httpx.Client) -> None:
    seen, cursor = [], None
    while True:
        page = wang.get(
            "/api/patrol/checks", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) >= 4
    assert zhao.get("/api/patrol/checks").json()["items"] == []


# ── orders from below, by HTTP ────────────────────────────────────────────────────────────────────────


def test_an_order_by_http_hides_its_code_from_those_who_must_read_it_at_the_place(
    centre: Centre, wang: httpx.Client
) -> None:
    body = {
        "what": "clear the lane",
        "units": ["U1", "U2"],
        "by": (datetime.now(UTC) + timedelta(hours=2)).isoformat(),
        "cell": "C1",
        "category": "fire",
    }
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    given = centre.client.post("/api/orders", json=body, headers=headers)
    assert given.status_code == 201, given.text
    assert centre.client.post("/api/orders", json=body, headers=headers).json()["id"] == given.json()["id"]
    order, code = given.json()["id"], given.json()["code"]
    assert "code" not in wang.get(f"/api/orders/{order}").json()
    assert wang.post("/api/orders", json=body).status_code == 403
    arrive = f"/api/orders/{order}/arrive"
    wrong = centre.client.post(arrive, json={"unit": "U1", "code": "abc"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "code")
    right = centre.client.post(
        arrive, json={"unit": "U1", "code": code}, headers={"If-Match": given.headers["ETag"]}
    )
    assert right.status_code == 200, right.text
    assert right.json()["arrival"] == {"expected": 2, "arrived": 1, "in_time": 1, "percent": 50}
    stale = centre.client.post(
        arrive, json={"unit": "U2", "code": code}, headers={"If-Match": given.headers["ETag"]}
    )
    assert stale.status_code == 412
    assert centre.client.post(f"/api/orders/{order}/explode").status_code == 422
    there = centre.client.post(arrive, json={"unit": "U2", "longitude": 1.7, "latitude": 0.2})
    assert there.json()["arrival"]["percent"] == 100
    assert there.json()["ended_at"] is not None
    assert order not in [one["id"] for one in centre.client.get("/api/orders").json()["items"]]
    assert centre.client.get("/api/orders", params={"state": "all"}).json()["items"][0]["id"] == order
    assert centre.client.get("/api/orders/999999").status_code == 404


def test_arrival_rates_by_http(centre: Centre) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    assert centre.client.get("/api/orders/rates", params={"to": soon}).json()["total"]["percent"] == 100
    reversed_span = {"from": soon, "to": "2026-01-01T00:00:00Z"}
    assert centre.client.get("/api/orders/rates", params=reversed_span).status_code == 422
