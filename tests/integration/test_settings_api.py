"""What the settings ask: a rule's keys, a rule file tried, a calendar tried, quarantine in groups, health."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from rules.kinds import KINDS
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer

Json = dict[str, Any]
SMOKE = """[[rule]]
id = "smoke-high"
type = "threshold"
name = "烟雾"
name_en = "Smoke"
kind = "smoke"
metric = "smoke"
raise_at = 70
category = "fire.smoke"
level = "red"
"""


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        made.execute("UPDATE metrics SET unit = CASE code WHEN 'smoke' THEN '%%' ELSE 'm' END")
        yield made


@pytest.fixture
def api(centre: Centre) -> httpx.Client:
    return centre.client


def test_the_keys_of_every_kind_of_rule_come_with_the_words_of_the_district(api: httpx.Client) -> None:
    body = api.get("/api/rule-kinds").json()
    assert [one["type"] for one in body["items"]] == list(KINDS)
    assert {"code": "smoke", "unit": "%", "name": "", "name_en": ""} in body["metrics"]
    assert [one["main_metric"] for one in body["device_kinds"]] == ["smoke", "level"]


def test_a_rule_file_is_tried_and_comes_back_as_keys(api: httpx.Client) -> None:
    tried = api.post("/api/rules/smoke-high/validate", json={"toml": SMOKE}).json()
    assert tried["ok"]
    assert tried["definition"]["raise_at"] == 70
    assert tried["devices"] == 20
    again = api.post("/api/rules/smoke-high/validate", json={"definition": tried["definition"]}).json()
    assert again["toml"] == tried["toml"]


def test_a_rule_that_cannot_be_read_is_refused_at_its_key_in_both_languages(api: httpx.Client) -> None:
    wrong = {"toml": SMOKE.replace('level = "red"', 'level = "pink"')}
    refused = api.post("/api/rules/smoke-high/validate", json=wrong)
    assert refused.status_code == 422
    (fault,) = refused.json()["errors"]
    assert fault["field"] == "level"
    assert "red" in fault["remedy"]
    assert "请从中选择" in fault["remedy_zh"]
    other = api.post("/api/rules/smoke-low/validate", json={"toml": SMOKE})
    assert other.status_code == 422
    assert "smoke-high" in other.json()["detail"]


def test_how_often_each_rule_fired_leaves_exercises_out(centre: Centre) -> None:
    raise_alarm(centre, "D1")
    raise_alarm(centre, "D2")
    centre.execute(
        "UPDATE alarms SET exercise = true WHERE device_id = (SELECT id FROM devices WHERE code = 'D2')"
    )
    (fired,) = centre.client.get("/api/rule-alarms").json()["items"]
    assert (fired["rule"], fired["last_30_days"]) == ("test", 1)
    assert datetime.fromisoformat(fired["last_raised_at"]) > datetime.now(UTC) - timedelta(minutes=5)


def test_a_calendar_is_tried_without_being_changed(centre: Centre) -> None:
    made = centre.client.post(
        "/api/incidents",
        json={"category": "public.person", "text": "路灯", "cell": "C1", "class": "C"},
        headers={"Idempotency-Key": "calendar-tried"},
    )
    assert made.status_code == 201, made.text
    start = datetime.now(UTC)
    due = start + timedelta(days=9)
    centre.execute(
        """
        INSERT INTO incident_clocks (incident_id, stage, "limit", started_at, due_at, next_at, calendar)
        VALUES (%s, 'verify', '5wd', %s, %s, %s, 0)
        """,
        made.json()["id"], start, due, due,
    )  # fmt: skip
    year = str(start.year)
    before = centre.client.get("/api/calendar", params={"year": year})
    off = [(start + timedelta(days=number)).date() for number in range(1, 8)]
    days = [
        {"day": day.isoformat(), "working": False, "note": "停工"} for day in off if str(day.year) == year
    ]
    tried = centre.client.post(
        "/api/calendar/preview", params={"year": year}, json={"days": days, "complete": False}
    )
    assert tried.status_code == 200, tried.text
    (moved,) = [one for one in tried.json()["items"] if one["stage"] == "verify"]
    assert moved["number"] == made.json()["number"]
    assert moved["new"] > moved["old"]
    after = centre.client.get("/api/calendar", params={"year": year})
    assert after.headers["ETag"] == before.headers["ETag"]
    assert after.json()["days"] == []


def test_quarantine_is_grouped_and_replayed_by_reason_and_topic(centre: Centre) -> None:
    centre.execute(
        """
        INSERT INTO quarantine (received_at, topic, payload, size, reason, detail)
        SELECT now(), 'city/' || (n %% 2), '{', 1, 'not_json', 'not JSON' FROM generate_series(1, 5) AS n
        """
    )
    groups = centre.client.get("/api/quarantine/groups").json()["items"]
    assert [(one["topic"], one["kept"], one["waiting"]) for one in groups] == [
        ("city/1", 3, 0),
        ("city/0", 2, 0),
    ]
    asked = {"reason": "not_json", "topic": "city/0"}
    assert centre.client.post("/api/quarantine/replay", json=asked).json() == {"requested": 2}
    groups = centre.client.get("/api/quarantine/groups").json()["items"]
    assert [one["waiting"] for one in groups] == [0, 2]
    page = centre.client.get("/api/quarantine", params={"topic": "city/0"}).json()
    assert len(page["items"]) == 2
    assert (
        centre.client.post("/api/quarantine/replay", json={"topic": "city/0", "ids": [1]}).status_code == 422
    )


def test_the_truth_about_the_system_says_what_is_wrong_first_and_what_to_do(centre: Centre) -> None:
    told = centre.client.get("/api/health/details").json()
    states = [one["state"] for one in told["items"]]
    assert states == sorted(states, key=["fail", "warn", "ok"].index)
    by_check = {one["check"]: one for one in told["items"]}
    assert by_check["ingest"]["state"] == "fail"  # none was ever started here
    assert by_check["ingest"]["remedy"]
    assert by_check["ingest"]["remedy_zh"]
    assert by_check["database"]["state"] == "ok"
    assert centre.stranger.get("/api/health/details").status_code == 401


def test_the_table_of_access_is_the_gates_own(api: httpx.Client) -> None:
    told = api.get("/api/access").json()
    rows = {(one["method"], one["path"]): one for one in told["items"]}
    assert rows["PUT", "/api/rules/{rule_id}"]["roles"] == ["administrator"]
    assert rows["GET", "/api/rules"]["roles"] == [one for one in told["roles"] if one != "integrator"]
    assert rows["GET", "/api/incidents"]["reach"] == "both"
    assert rows["PATCH", "/api/responsibilities/{entry_id:int}"]["tag"] == "responsibilities"
