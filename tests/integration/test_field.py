"""The field's day and what a telephone sends late, on a running centre: once, with both times, by whom it concerns."""

import hashlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import httpx
import psycopg
import pytest
from PIL import Image

from city.storage import sessions, users
from command_centre.api.field import FieldCall, FieldDay, FieldOrder, FieldTask
from command_centre.api.gate import COOKIE
from tests.conftest import PostgresServer, _database
from tests.integration.running_centre import Centre, lay_ground, running

PEOPLE = (
    ("zhao", "handler", "U1"),
    ("qian", "handler", "U1"),
    ("sun", "handler", "U2"),
    ("wang", "grid_worker", "U2"),
)
ENROL = """
INSERT INTO users (name, password_hash, role, must_change, unit_id)
SELECT %s, 'x', %s, false, id FROM units WHERE code = %s
"""


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with _database(postgres_server, postgres_template) as url:
        lay_ground(url)
        with running(url) as started:
            for person in PEOPLE:
                started.execute(ENROL, *person)
            started.execute(
                "INSERT INTO responsibilities (category, unit_id) SELECT 'flood', id FROM units WHERE code = 'U1'"
            )
            yield started


def phone(centre: Centre, name: str) -> httpx.Client:
    """A session without a password: hashing one takes longer than the test."""
    token = secrets.token_urlsafe(16)
    with psycopg.connect(centre.url) as connection:
        user = users.get(connection, name)
        assert user is not None
        sessions.open_session(connection, hashlib.sha256(token.encode()).digest(), user.id, datetime.now(UTC))
    return httpx.Client(base_url=centre.base, cookies={COOKIE: token}, timeout=60)


@pytest.fixture(scope="module")
def zhao(centre: Centre) -> Iterator[httpx.Client]:
    with phone(centre, "zhao") as client:
        yield client


@pytest.fixture(scope="module")
def sun(centre: Centre) -> Iterator[httpx.Client]:
    with phone(centre, "sun") as client:
        yield client


def opened(centre: Centre, **more: Any) -> int:
    body = {"category": "fire.smoke", "cell": "C1", "text": "楼道冒烟", **more}
    answer = centre.client.post("/api/incidents", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def send(client: httpx.Client, path: str, body: dict[str, Any], status: int = 200, **headers: str) -> Any:
    answer = client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def events(centre: Centre, incident: int, kind: str) -> list[dict[str, Any]]:
    found = centre.execute(
        "SELECT detail FROM incident_events WHERE incident_id = %s AND kind = %s ORDER BY seq", incident, kind
    )
    return [detail for (detail,) in found]  # type: ignore[misc]  # jsonb


def order(client: httpx.Client, incident: int) -> dict[str, Any] | None:
    day = client.get("/api/field").json()
    return next((one for one in day["orders"] if one["id"] == incident), None)


def picture(shade: int) -> tuple[str, bytes, str]:
    held = BytesIO()
    Image.new("RGB", (80, 60), (shade, 90, 60)).save(held, "JPEG")
    return ("a.jpg", held.getvalue(), "image/jpeg")


def test_the_day_holds_what_the_unit_has_and_handles_beside(
    centre: Centre, zhao: httpx.Client, sun: httpx.Client
) -> None:
    incident = opened(centre)
    send(
        centre.client,
        f"/api/incidents/{incident}/dispatch",
        {"unit": "U1", "co_units": ["U2"], "reason": "近"},
    )
    day = zhao.get("/api/field").json()
    assert set(day) == set(FieldDay.__annotations__)
    assert (day["timezone"], day["unit_name"]) == ("Asia/Shanghai", "一队")
    mine = order(zhao, incident)
    assert mine is not None
    assert set(mine) == set(FieldOrder.__annotations__)
    assert (mine["lead"], mine["text"], mine["cell_name"]) == (True, "楼道冒烟", "网格1")
    assert (mine["stage"], mine["lead_phone"]) == ("acknowledge", "110-2")
    assert {"acknowledge", "arrive", "handle", "return", "transfer", "comment"} <= set(mine["allowed"])
    beside = order(sun, incident)
    assert beside is not None
    assert beside["lead"] is False
    assert not {"acknowledge", "arrive", "handle", "return", "transfer"} & set(beside["allowed"])
    send(zhao, f"/api/incidents/{incident}/handle", {"comment": "已扑灭"})
    assert order(zhao, incident) is None


def test_an_action_sent_late_keeps_both_times_where_it_was_done_and_its_photos(
    centre: Centre, zhao: httpx.Client
) -> None:
    incident = opened(centre)
    path = f"/api/incidents/{incident}/handle"
    digests = [zhao.post("/api/photos", files={"photo": picture(n)}).json()["photos"][0] for n in (10, 20)]
    done = datetime.now(UTC) - timedelta(hours=2)
    body = {
        "comment": "已扑灭",
        "done_at": done.isoformat(),
        "longitude": 1.5,
        "latitude": 0.2,
        "photos": digests,
    }
    first = zhao.post(path, json=body, headers={"Idempotency-Key": "k1"})
    again = zhao.post(path, json=body, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    (detail,) = events(centre, incident, "handled")
    assert datetime.fromisoformat(detail["done_at"]) == done
    assert (detail["stood_at"], detail["photos"]) == ("1.500000,0.200000", digests)
    used = "SELECT count(*) FROM photo_uses WHERE used_for = 'incident' AND object = %s"
    assert centre.execute(used, incident) == [(2,)]
    assert events(centre, incident, "acknowledged") == []

    other = f"/api/incidents/{opened(centre, cell='C4')}/handle"
    gone = send(zhao, other, {"comment": "x", "photos": ["ab" * 32]}, 422)
    assert gone["errors"][0]["field"] == "photos"
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert send(zhao, other, {"comment": "x", "done_at": ahead}, 422)["errors"][0]["field"] == "done_at"


def test_a_unit_that_had_it_says_late_what_it_did(
    centre: Centre, zhao: httpx.Client, sun: httpx.Client
) -> None:
    incident = opened(centre, cell="C3")
    path = f"/api/incidents/{incident}"
    assert send(sun, f"{path}/comment", {"comment": "路过"}, 404)["detail_zh"]  # beyond reach is not there
    send(centre.client, f"{path}/dispatch", {"unit": "U2", "reason": "改派"})
    assert send(zhao, f"{path}/handle", {"comment": "已扑灭"}, 403)["detail_zh"].startswith("事件")
    send(zhao, f"{path}/comment", {"comment": "改派前已到场扑灭"})
    assert len(events(centre, incident, "commented") or events(centre, incident, "comment")) == 1


def test_the_callers_phone_is_for_the_unit_at_work_and_on_the_record(
    centre: Centre, zhao: httpx.Client, sun: httpx.Client
) -> None:
    report = {
        "text": "阳台起火",
        "category": "fire",
        "cell": "C2",
        "channel": "hotline",
        "contact": {"name": "李女士", "phone": "13800000001"},
    }
    incident = send(centre.client, "/api/reports", report, 201)["incident"]
    send(centre.client, f"/api/incidents/{incident}/dispatch", {"unit": "U1"})
    mine = order(zhao, incident)
    assert mine is not None
    assert mine["caller"] is True
    assert "13800000001" not in str(mine)
    path = f"/api/field/incidents/{incident}/caller"
    assert send(zhao, path, {}) == {"name": "李女士", "phone": "13800000001"}
    send(sun, path, {}, 404)
    looked = "SELECT count(*) FROM audit WHERE action = 'report.contact_read'"
    assert centre.execute(looked) == [(1,)]


def test_a_call_from_below_is_answered_once_however_often_it_is_sent(
    centre: Centre, zhao: httpx.Client, sun: httpx.Client
) -> None:
    by = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    given = {
        "what": "清理通道",
        "units": ["U1", "U2"],
        "by": by,
        "place": "一号楼",
        "longitude": 1.6,
        "latitude": 0.1,
        "category": "public.person",
    }
    call = send(centre.client, "/api/orders", given, 201)
    (listed,) = zhao.get("/api/field").json()["calls"]
    assert set(listed) == set(FieldCall.__annotations__)
    assert (listed["id"], listed["arrived_at"]) == (call["id"], None)
    path = f"/api/orders/{call['id']}/arrive"
    done = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    body = {"longitude": 1.6001, "latitude": 0.1, "done_at": done}
    for _ in range(2):
        shown = send(zhao, path, body, **{"Idempotency-Key": "arrive-1"})
    assert shown["arrival"]["arrived"] == 1
    (detail,) = events(centre, call["incident"], "site_order_arrived")
    assert detail["done_at"]
    send(zhao, path, body, 409, **{"Idempotency-Key": "arrive-2"})
    # A right code whose answer was lost is no second try of the code, nor a conflict.
    for _ in range(2):
        send(sun, path, {"code": call["code"]}, **{"Idempotency-Key": "code-1"})
    assert centre.execute("SELECT count(*) FROM incident_events WHERE kind = 'site_order_arrived'") == [(2,)]


def test_people_of_the_unit_report_who_was_moved(
    centre: Centre, zhao: httpx.Client, sun: httpx.Client
) -> None:
    centre.execute(
        "INSERT INTO categories (code, name, name_en, class, limit_minutes) VALUES"
        " ('flood.evacuation', '转移', 'Evacuation', 'A', 60) ON CONFLICT DO NOTHING"
    )
    ordered = {"kind": "evacuate", "cells": [{"cell": "C4", "to_move": 12}], "reason": "水位上涨"}
    (task,) = send(centre.client, "/api/flood/tasks", ordered, 201)["items"]
    mine = order(zhao, task["incident"])
    assert mine is not None
    assert set(mine["task"]) == set(FieldTask.__annotations__)
    assert (mine["task"]["to_move"], mine["task"]["remaining"]) == (12, 12)
    path = f"/api/flood/tasks/{task['id']}/progress"
    send(sun, path, {"moved": 3}, 404)
    for _ in range(2):
        shown = send(zhao, path, {"moved": 5, "note": "独居老人两户"}, **{"Idempotency-Key": "moved-1"})
    assert (shown["moved"], shown["remaining"], len(shown["reports"])) == (5, 7, 1)


def test_a_grid_worker_sees_what_waits_to_be_looked_at_elsewhere(centre: Centre, zhao: httpx.Client) -> None:
    incident = opened(centre, cell="C1")
    send(centre.client, f"/api/incidents/{incident}/dispatch", {"unit": "U1", "reason": "x"})
    send(zhao, f"/api/incidents/{incident}/handle", {"comment": "已清理"})
    with phone(centre, "wang") as wang:
        found = order(wang, incident)
        assert found is not None
        assert (found["state"], found["lead"]) == ("handled", False)
        assert {"verify", "rework"} <= set(found["allowed"])
        send(wang, f"/api/incidents/{incident}/verify", {"comment": "现场属实"})
        assert order(wang, incident) is None
    with phone(centre, "qian") as qian:
        assert order(qian, incident) is None
