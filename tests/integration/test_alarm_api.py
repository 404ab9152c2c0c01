"""Alarms and drills over HTTP: states and filters, the shelf and who may, why, drills, refusals in two languages."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.running_centre import NO_TLS, Centre, lay_ground, raise_alarm, running
from tests.integration.test_api import problem

PASSWORD = "a long enough password"


@pytest.fixture
def centre(migrated_url: str) -> Iterator[Centre]:
    lay_ground(migrated_url)
    with running(migrated_url) as made:
        yield made


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def triaged(centre: Centre, alarm: int) -> int:
    """Wait until triage has decided; the incident."""
    while True:
        rows = centre.execute("SELECT incident_id FROM alarms WHERE id = %s AND triage = 'done'", alarm)
        if rows:
            return int(str(rows[0][0]))
        time.sleep(0.02)  # each look is a connection: asked without a pause they keep triage from its work


def alarm_of(centre: Centre, device: str = "D1", category: str = "fire.smoke") -> int:
    alarm = raise_alarm(centre, device, category)
    triaged(centre, alarm)
    return alarm


def get(centre: Centre, path: str) -> dict[str, Any]:
    answer = centre.client.get(path)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def person(centre: Centre, role: str) -> httpx.Client:
    """Somebody who has logged in and set a password of their own."""
    made = centre.client.post("/api/users", json={"name": role, "role": role})
    assert made.status_code == 201, made.text
    client = httpx.Client(base_url=centre.base, timeout=60, verify=NO_TLS)
    secret = made.json()["one_time_secret"]
    assert client.post("/api/session", json={"name": role, "password": secret}).status_code == 200
    assert client.post("/api/session/password", json={"current": secret, "new": PASSWORD}).status_code == 204
    return client


def test_states_are_named_and_filtered_by(centre: Centre) -> None:
    alarm = alarm_of(centre)
    assert get(centre, f"/api/alarms/{alarm}")["state"] == "UNACK"
    assert centre.client.post(f"/api/alarms/{alarm}/acknowledge").json()["state"] == "ACKED"
    assert [row["id"] for row in get(centre, "/api/alarms?state=ACKED,RTNUN")["items"]] == [alarm]
    assert get(centre, "/api/alarms?state=unack")["items"] == []
    for known in ("open", "all"):
        assert [row["id"] for row in get(centre, f"/api/alarms?state={known}")["items"]] == [alarm]
    row = get(centre, "/api/alarms")["items"][0]
    assert (row["first_out"], row["exercise"], row["shelf"], row["suppressed"]) == (True, False, None, None)
    said = problem(centre.client.get("/api/alarms?state=SLEEPING"), 422)
    assert "UNACK" in said["detail"]
    problem(centre.client.get("/api/alarms/999"), 404)
    problem(centre.client.post("/api/alarms/999/acknowledge"), 404)


def test_an_alarm_is_shelved_listed_and_brought_back(centre: Centre) -> None:
    alarm = alarm_of(centre, "W1", "flood.level")
    body = {"until": in_hours(2), "reason": "gauge is being cleaned"}
    row = centre.client.post(f"/api/alarms/{alarm}/shelve", json=body).json()
    assert (row["state"], row["shelf"]["reason"], row["shelf"]["by"]) == (
        "SHLVD",
        body["reason"],
        "api-token",
    )
    problem(centre.client.post(f"/api/alarms/{alarm}/shelve", json=body), 409)
    centre.client.post(
        "/api/devices/D3/service", json={"state": "under_test", "until": in_hours(1), "reason": "installer"}
    )
    listed = get(centre, "/api/alarms/shelved")["items"]
    assert [(one["scope"], one["device"], one["state"]) for one in listed] == [
        ("device", "D3", "OOSRV"),
        ("alarm", "W1", "SHLVD"),
    ]
    first = get(centre, "/api/alarms/shelved?limit=1")
    second = get(centre, f"/api/alarms/shelved?limit=1&cursor={first['next']}")
    assert [first["items"][0]["device"], second["items"][0]["device"], second["next"]] == ["D3", "W1", None]
    row = centre.client.post(f"/api/alarms/{alarm}/unshelve", json={"reason": "done"}).json()
    assert (row["state"], row["shelf"]) == ("UNACK", None)
    problem(centre.client.post(f"/api/alarms/{alarm}/unshelve"), 409)
    actions = centre.execute("SELECT action FROM audit WHERE action LIKE 'alarm.%%' ORDER BY id")
    assert [row[0] for row in actions] == ["alarm.shelved", "alarm.unshelved"]


NO_SHELVES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"until": "2020-01-01T00:00:00Z", "reason": "x"}, "until"),
    ({"until": "2099-01-01T00:00:00Z", "reason": "x"}, "until"),
    ({"until": "2020-01-01T00:00:00", "reason": "x"}, "until"),
    ({"until": "2099-01-01T00:00:00Z", "reason": ""}, "reason"),
    ({"reason": "x"}, "until"),
    ({"until": "2099-01-01T00:00:00Z", "reason": "x", "forever": True}, "forever"),
)


def test_a_shelf_that_is_not_one_is_refused_by_field(centre: Centre) -> None:
    alarm = alarm_of(centre, "W1", "flood.level")
    for body, field in NO_SHELVES:
        said = problem(centre.client.post(f"/api/alarms/{alarm}/shelve", json=body), 422)
        assert said["errors"][0]["field"] == field
        assert get(centre, "/api/alarms/shelved")["items"] == []


def test_who_may(centre: Centre) -> None:
    fire, water = alarm_of(centre, "D1"), alarm_of(centre, "W1", "flood.level")
    body = {"until": in_hours(1), "reason": "test"}
    drill = {"name": "x", "devices": ["D2"], "until": in_hours(1), "reason": "practice"}
    under_test = {"state": "under_test", "until": in_hours(1), "reason": "x"}
    with closing(person(centre, "viewer")) as viewer:
        problem(viewer.post(f"/api/alarms/{water}/shelve", json=body), 403)
        assert viewer.get(f"/api/alarms/{water}/why").status_code == 200
        assert viewer.get("/api/drills").status_code == 200
    with closing(person(centre, "dispatcher")) as dispatcher:
        said = problem(dispatcher.post(f"/api/alarms/{fire}/shelve", json=body), 403)
        assert "甲类火警" in said["detail_zh"]
        problem(dispatcher.post("/api/devices/D1/service", json=under_test), 403)
        assert dispatcher.post("/api/devices/D2/service", json=under_test).status_code == 200
        assert dispatcher.post(f"/api/alarms/{water}/shelve", json=body).status_code == 200
        problem(dispatcher.post("/api/drills", json=drill), 403)
    assert centre.client.post(f"/api/alarms/{fire}/shelve", json=body).status_code == 200


def test_why_is_answered_for_any_alarm(centre: Centre) -> None:
    alarm = alarm_of(centre)
    told = get(centre, f"/api/alarms/{alarm}/why")
    assert set(told) == {
        "alarm", "sentence", "sentence_en", "rule", "limits", "scope", "evidence", "window", "observations",
        "revisions", "detections", "listening", "events", "notes",
    }  # fmt: skip
    assert (told["evidence"], told["rule"]["stored"]) == ({"value": 80}, False)
    problem(centre.client.get("/api/alarms/999/why"), 404)


def test_a_drill_from_beginning_to_end(centre: Centre) -> None:
    real = alarm_of(centre, "D3")
    asked = {"name": "autumn", "cells": ["S1"], "until": in_hours(2), "reason": "practise the handover"}
    answer = centre.client.post("/api/drills", json=asked, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 201, answer.text
    drill = answer.json()
    assert (drill["devices"], drill["running"], drill["standing_real"][0]["id"]) == (21, True, real)
    again = centre.client.post("/api/drills", json=asked, headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.json()["id"], again.headers["Idempotent-Replayed"]) == (
        201,
        drill["id"],
        "true",
    )
    other = {**asked, "name": "winter"}
    problem(centre.client.post("/api/drills", json=other, headers={"Idempotency-Key": "k1"}), 422)
    assert [row["id"] for row in get(centre, "/api/drills?running=true")["items"]] == [drill["id"]]
    problem(centre.client.post("/api/drills", json={**asked, "cells": ["nowhere"]}), 422)
    problem(centre.client.post("/api/drills", json={**asked, "until": in_hours(9)}), 422)
    problem(centre.client.get("/api/drills/99"), 404)
    ended = centre.client.post(f"/api/drills/{drill['id']}/end", json={"reason": "enough"})
    assert (ended.status_code, ended.json()["running"], ended.json()["end_reason"]) == (200, False, "enough")
    problem(centre.client.post(f"/api/drills/{drill['id']}/end"), 409)
    assert get(centre, "/api/drills?running=true")["items"] == []
