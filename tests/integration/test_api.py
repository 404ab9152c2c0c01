"""The HTTP contract on a real database: what is open to whom, what answers look like, what bad input gets."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from city.key_files import key_file
from city.storage.shared_secrets import OF_UNIT
from command_centre.api.access import TABLE
from tests.integration.running_centre import Centre, lay_ground, on_fresh_ground, raise_alarm, running
from tests.servers.postgres import PostgresServer

# By password, by signature, by the screen's own cookie: a stranger is told 401.
BY_SECRET = {"/api/session", "/api/intake/{system}", "/api/screens/renew"}
PUBLIC_PAGES = {
    "/", "/wall", "/wall/{view}", "/desk", "/desk/{place:path}", "/flood", "/flood/{place:path}",
    "/field", "/field/{place:path}", "/field/sw.js", "/field/manifest.webmanifest", "/field/icons/{name}",
    "/settings", "/settings/{place:path}", "/login",
    "/report", "/track", "/track/{tracking}", "/assets/{path:path}", "/i/{sort}/{code:path}",
    "/runbooks", "/runbooks/style.css", "/runbooks/{name}",
}  # fmt: skip


@pytest.fixture
def centre(migrated_url: str) -> Iterator[Centre]:
    lay_ground(migrated_url)
    with running(migrated_url) as made:
        yield made


@pytest.fixture
def api(centre: Centre) -> httpx.Client:
    return centre.client


@pytest.fixture(scope="module")
def undisturbed(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One centre for the tests that change nothing, or nothing that another of them sees."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["detail_zh"]
    return body


def incident_of(centre: Centre, device: str, category: str = "fire.smoke") -> dict[str, Any]:
    """Raise an alarm and wait until triage has made an incident of it."""
    alarm = raise_alarm(centre, device, category)
    while True:
        row = centre.execute("SELECT incident_id FROM alarms WHERE id = %s AND triage = 'done'", alarm)
        if row:
            answer = centre.client.get(f"/api/incidents/{row[0][0]}")
            assert answer.status_code == 200
            found: dict[str, Any] = answer.json()
            return found


def test_without_log_in_only_the_public_list_opens(undisturbed: Centre) -> None:
    for (method, template), needs in TABLE.items():
        path = template.replace("{path:path}", "x").replace("{code}", "W1").replace("{name}", "x")
        path = path.replace("{incident_id}", "1").replace("{alarm_id}", "1").replace("{action}", "void")
        path = re.sub(r"\{\w+:int\}", "1", path)
        answer = undisturbed.stranger.request(method, path)
        if needs in {"public", "anyone"}:
            if template not in BY_SECRET:
                assert answer.status_code in {200, 400, 403, 404, 415, 422, 503} or template in PUBLIC_PAGES
        elif needs in {"loopback", "wall"}:  # walls are open unless they are to be paired
            assert answer.status_code in {200, 404}
        else:
            problem(answer, 401)


def test_every_answer_keeps_the_browser_at_home(undisturbed: Centre) -> None:
    for path in ("/wall", "/api/stations", "/nowhere", "/api/incidents"):
        headers = undisturbed.stranger.get(path).headers
        data = path.startswith("/api/")
        assert headers["content-security-policy"].startswith(
            "default-src 'none'" if data else "default-src 'self'; connect-src 'self';"
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_figures_are_for_this_machine_and_administrators(undisturbed: Centre) -> None:
    elsewhere = {"X-Forwarded-For": "10.0.0.7"}
    assert undisturbed.stranger.get("/metrics").status_code == 200
    problem(undisturbed.stranger.get("/metrics", headers=elsewhere), 401)
    text = undisturbed.client.get("/metrics", headers=elsewhere).text
    assert "city_screens_connected 0.0" in text
    assert "city_database_up 1.0" in text


def test_ready_says_what_is_missing(undisturbed: Centre) -> None:
    answer = undisturbed.stranger.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": "ok", "migrations": "ok", "ingest": "down", "broker": "down", "screens": "ok", "loops": "ok",
        "stopping": "ok",
    }  # fmt: skip
    assert undisturbed.stranger.get("/healthz").json() == {"status": "ok"}


def test_an_alarm_becomes_an_incident_with_unit_and_deadline(centre: Centre, api: httpx.Client) -> None:
    found = incident_of(centre, "D1")
    (listed,) = api.get("/api/incidents", params={"state": "open"}).json()["items"]
    for name in (
        "id",
        "number",
        "state",
        "class",
        "category",
        "cell",
        "unit",
        "reason",
        "opened_at",
        "alarms",
    ):
        assert listed[name] == found[name]
    assert (found["state"], found["class"], found["unit"]) == ("dispatched", "A", "U1")
    assert (found["cell"], found["devices"], found["unit_phone"]) == ("C2", ["D1"], "110-1")
    due = datetime.fromisoformat(found["due_at"])
    assert due - datetime.fromisoformat(found["opened_at"]) == timedelta(minutes=30)
    assert due.tzinfo is not None
    assert "acknowledge" in found["allowed"]


def test_nobodys_category_stands_in_the_lane_with_a_reason(centre: Centre) -> None:
    found = incident_of(centre, "D1", "public.person")
    assert (found["unit"], found["state"]) == (None, "filed")
    assert "public.person" in found["reason_en"]


def test_filters_and_pages_of_incidents(centre: Centre, api: httpx.Client) -> None:
    for n in range(5):
        category = "fire.smoke" if n % 2 else "public.person"
        api.post("/api/incidents", json={"category": category, "cell": "C1"})
    everything = api.get("/api/incidents").json()["items"]
    assert len(everything) == 5
    paged: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = api.get("/api/incidents", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        paged += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [row["id"] for row in paged] == [row["id"] for row in everything]

    def count(**wanted: str) -> int:
        return len(api.get("/api/incidents", params=wanted).json()["items"])

    assert count(**{"class": "A"}) == 2
    assert count(**{"class": "A,C"}) == 5
    assert count(unit="U1") == 2
    assert count(cell="C2") == 0
    assert count(state="dispatched,filed") == 5
    assert count(state="archived") == 0
    body = problem(api.get("/api/incidents", params={"state": "closed"}), 422)
    assert body["errors"][0]["field"] == "state"
    assert "archived" in body["errors"][0]["remedy"]


def test_from_dispatch_to_archive_with_its_timeline(centre: Centre, api: httpx.Client) -> None:
    incident = incident_of(centre, "D1")
    path = f"/api/incidents/{incident['id']}"
    assert api.post(f"{path}/acknowledge").json()["state"] == "acknowledged"
    sent_on = api.post(f"{path}/dispatch", json={"unit": "U2", "reason": "nearer"}).json()
    assert (sent_on["state"], sent_on["unit"]) == ("dispatched", "U2")
    assert api.post(f"{path}/comment", json={"comment": "two people inside"}).status_code == 200
    assert api.post(f"{path}/handle", json={"comment": "put out"}).json()["state"] == "handled"
    centre.execute("UPDATE alarms SET cleared_at = now()")
    closed = api.post(f"{path}/archive", json={"reason": "done"})
    assert closed.json()["state"] == "archived"
    assert closed.json()["allowed"] == ["reopen", "comment"]
    assert api.get("/api/incidents", params={"state": "open"}).json()["items"] == []
    events = api.get(f"{path}/timeline").json()["items"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["kind"] for event in events]
    for kind in ("acknowledged", "dispatched", "commented", "handled", "archived"):
        assert kind in kinds
    (said,) = [event for event in events if event["kind"] == "commented"]
    assert (said["actor"], said["reason"]) == ("api-token", "two people inside")


def test_conflicts_and_refusals_are_problems(centre: Centre, api: httpx.Client) -> None:
    incident = incident_of(centre, "D1")
    path = f"/api/incidents/{incident['id']}"
    tag = api.get(path).headers["etag"]
    assert api.post(f"{path}/acknowledge", headers={"If-Match": tag}).status_code == 200
    problem(api.post(f"{path}/handle", json={"comment": "x"}, headers={"If-Match": tag}), 412)
    problem(api.post(f"{path}/acknowledge"), 409)
    problem(api.post(f"{path}/handle", json={"comment": "x"}, headers={"If-Match": "soon"}), 422)
    body = problem(api.post(f"{path}/handle"), 422)
    assert body["errors"][0]["field"] == "comment"
    assert problem(api.post(f"{path}/dispatch", json={"unit": "U9"}), 422)["errors"][0]["field"] == "unit"
    problem(api.post(f"{path}/explode"), 422)
    problem(api.post("/api/incidents/999999/void", json={"reason": "x"}), 404)
    problem(api.get("/api/incidents/999999"), 404)
    problem(api.get("/api/incidents/999999/timeline"), 404)


def test_a_repeated_creation_answers_the_same(centre: Centre, api: httpx.Client) -> None:
    wanted = {"category": "fire.smoke", "cell": "C1", "text": "smoke from the roof"}
    key = {"Idempotency-Key": "once-1"}
    first = api.post("/api/incidents", json=wanted, headers=key)
    assert first.status_code == 201
    assert first.headers["location"] == f"/api/incidents/{first.json()['id']}"
    second = api.post("/api/incidents", json=wanted, headers=key)
    assert second.status_code == 201
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert centre.execute("SELECT count(*) FROM incidents") == [(1,)]
    problem(api.post("/api/incidents", json={"category": "fire.smoke"}, headers=key), 422)
    api.post("/api/incidents", json=wanted)
    assert centre.execute("SELECT count(*) FROM incidents") == [(2,)]


def test_alarms_are_listed_and_acknowledged(centre: Centre, api: httpx.Client) -> None:
    incident = incident_of(centre, "D1")
    (alarm,) = api.get("/api/alarms", params={"state": "open", "incident": incident["id"]}).json()["items"]
    assert (alarm["device"], alarm["level"], alarm["evidence"]) == ("D1", "red", {"value": 80})
    assert api.get("/api/alarms", params={"state": "cleared"}).json()["items"] == []
    done = api.post(f"/api/alarms/{alarm['id']}/acknowledge").json()
    assert done["acknowledged_by"] == "api-token"
    problem(api.post("/api/alarms/999/acknowledge"), 404)
    problem(api.get("/api/alarms", params={"state": "loud"}), 422)


def test_devices_page_and_change_their_service(centre: Centre, api: httpx.Client) -> None:
    first = api.get("/api/devices", params={"kind": "smoke", "limit": 15}).json()
    second = api.get("/api/devices", params={"kind": "smoke", "limit": 15, "cursor": first["next"]}).json()
    codes = [device["code"] for device in first["items"] + second["items"]]
    assert codes == sorted(f"D{n}" for n in range(1, 21))
    assert second["next"] is None
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    wanted = {"state": "under_test", "until": until, "reason": "installer on site"}
    tested = api.post("/api/devices/D1/service", json=wanted).json()
    assert (tested["service_state"], tested["service_by"]) == ("under_test", "api-token")
    problem(api.post("/api/devices/D1/service", json={"state": "shelved", "reason": "x"}), 422)
    naive = {**wanted, "until": "2030-01-01T00:00:00"}
    assert problem(api.post("/api/devices/D1/service", json=naive), 422)["errors"][0]["field"] == "until"
    problem(api.post("/api/devices/none/service", json=wanted), 404)
    problem(api.get("/api/devices/none"), 404)
    centre.execute("UPDATE devices SET registration = 'unclaimed' WHERE code = 'D2'")
    assert api.post("/api/devices/D2/claim").json()["registration"] == "registered"


def test_readings_come_thinned(undisturbed: Centre) -> None:
    undisturbed.execute(
        """
        INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
        SELECT d.id, m.id, '2026-11-20T00:00:00Z'::timestamptz + n * interval '10 s', now(), n
        FROM devices d, metrics m, generate_series(0, 59) AS n WHERE d.code = 'D1' AND m.code = 'smoke'
        """
    )
    asked = {"from": "2026-11-20T08:00:00+08:00", "to": "2026-11-20T08:10:00+08:00", "step": "5m"}
    items = undisturbed.client.get("/api/devices/D1/readings", params=asked).json()["items"]
    assert [(row["min"], row["mean"], row["max"], row["readings"]) for row in items] == [
        (0, 14.5, 29, 30), (30, 44.5, 59, 30),
    ]  # fmt: skip
    problem(undisturbed.client.get("/api/devices/D1/readings", params={**asked, "metric": "colour"}), 422)
    problem(undisturbed.client.get("/api/devices/D1/readings", params={**asked, "step": "soon"}), 422)
    problem(
        undisturbed.client.get("/api/devices/D1/readings", params={**asked, "from": "2026-11-20T08:00:00"}),
        422,
    )
    problem(undisturbed.client.get("/api/devices/D9999/readings"), 404)


def test_stations_and_their_hydrograph_are_open(centre: Centre) -> None:
    centre.execute(
        """
        INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
        SELECT d.id, m.id, now() - n * interval '1 min', now(), 4.2
        FROM devices d, metrics m, generate_series(0, 9) AS n WHERE d.code = 'W1' AND m.code = 'level'
        """
    )
    centre.execute("INSERT INTO presence SELECT id, now() FROM devices WHERE code = 'W1'")
    station: dict[str, Any] = {}
    while station.get("state") != "guaranteed":
        (station,) = centre.stranger.get("/api/stations").json()["items"]
    assert (station["level_m"], station["margin_m"], station["cell"]) == (4.2, -1.2, "C3")
    drawn = centre.stranger.get("/api/stations/W1/hydrograph").json()
    assert drawn["station"]["code"] == "W1"
    assert len(drawn["observed"]) >= 2  # ten readings, thinned to the step of a day's chart
    assert drawn["observed"][-1][1] == 4.2
    assert drawn["forecast"] == []
    assert set(drawn["time_to_level"].values()) == {None}
    problem(centre.stranger.get("/api/stations/D1/hydrograph"), 404)
    problem(centre.stranger.get("/api/stations/W1/hydrograph?hours=0"), 422)


def test_a_gauge_that_nobody_listed_shows_without_levels(centre: Centre) -> None:
    centre.execute(
        "INSERT INTO devices (code, kind, cell_id, registration) SELECT 'W9', 'water', id, 'unclaimed'"
        " FROM areas WHERE code = 'C4'"
    )
    centre.execute("INSERT INTO presence SELECT id, now() FROM devices WHERE code = 'W9'")
    centre.execute(
        """
        INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
        SELECT d.id, m.id, now(), now(), 1.25 FROM devices d, metrics m WHERE d.code = 'W9' AND m.code = 'level'
        """
    )
    station: dict[str, Any] = {}
    while station.get("level_m") is None:
        found = {one["code"]: one for one in centre.stranger.get("/api/stations").json()["items"]}
        station = found.get("W9", {})
    assert set(found) == {"W1", "W9"}  # and no smoke detector
    assert (station["state"], station["level_m"], station["cell"]) == ("unset", 1.25, "C4")
    assert [station[key] for key in ("warning_m", "guaranteed_m", "margin_m", "station_kind")] == [None] * 4
    assert centre.stranger.get("/api/stations/W9/hydrograph").json()["observed"][-1][1] == 1.25


def test_a_webhook_secret_is_shown_once_and_signs_from_then_on(centre: Centre, api: httpx.Client) -> None:
    asked = "/api/units/U1/webhook-secret"
    first, second = (api.post(asked).json() for _ in range(2))
    assert first["unit"] == "U1"
    assert len(first["secret"]) >= 40
    assert first["secret"] != second["secret"]
    (row, stored), (_, none) = centre.execute("SELECT id, webhook_secret FROM units ORDER BY code")
    ring = key_file((Path(centre.folder.name) / "keys" / "data.keys").absolute()).ring()
    assert OF_UNIT.opened(ring, int(str(row)), str(stored)) == second["secret"] != stored
    assert none == ""
    assert (
        centre.execute("SELECT actor, action, object FROM audit")
        == [("api-token", "unit.webhook_secret", "unit:U1")] * 2
    )
    assert second["secret"] not in str(centre.execute("SELECT audit::text FROM audit"))
    assert second["secret"] not in api.get("/api/units").text
    problem(api.post("/api/units/U9/webhook-secret"), 404)


def test_the_map_has_a_tag(undisturbed: Centre) -> None:
    drawn = undisturbed.stranger.get("/api/wall/map")
    assert drawn.json()["district"] == {"code": "440399", "name": "示范区", "name_en": "Demonstration"}
    assert drawn.json()["bbox"] == [1, 0, 5, 1]
    assert {"code", "name", "street", "community", "rings"} <= set(drawn.json()["cells"][0])
    again = undisturbed.stranger.get("/api/wall/map", headers={"If-None-Match": drawn.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_cells_units_and_rules(undisturbed: Centre) -> None:
    cells = undisturbed.client.get("/api/cells").json()["items"]
    assert [cell["code"] for cell in cells] == ["C1", "C2", "C3", "C4"]
    assert (cells[0]["parent"], cells[0]["level"], cells[0]["state"]) == ("M1", "cell", "blind")
    assert [
        row["code"]
        for row in undisturbed.client.get("/api/cells", params={"level": "street"}).json()["items"]
    ] == ["S1"]
    units = undisturbed.client.get("/api/units").json()["items"]
    assert [(unit["code"], unit["phone"], unit["open_incidents"]) for unit in units] == [
        ("U1", "110-1", 0), ("U2", "110-3", 0),
    ]  # fmt: skip
    assert undisturbed.client.get("/api/rules").json()["items"] == []
    assert len(undisturbed.client.get("/api/categories").json()["items"]) == 6


def test_quarantine_is_looked_at_and_sent_through_again(undisturbed: Centre) -> None:
    undisturbed.execute(
        """
        INSERT INTO quarantine (received_at, topic, payload, size, reason, detail)
        SELECT now(), 'city/C1/smoke/D1', '\\x7b00ff', 3, CASE WHEN n < 3 THEN 'not_json' ELSE 'bad_time' END, 'x'
        FROM generate_series(1, 4) AS n
        """
    )
    undisturbed.execute("INSERT INTO quarantine_counts VALUES (date_trunc('hour', now()), 'not_json', 7)")
    page = undisturbed.client.get("/api/quarantine", params={"limit": 3}).json()
    assert len(page["items"]) == 3
    assert page["next"]
    assert page["items"][0]["text"] == "{\\x00\\xff"
    assert page["counts"] == [{"reason": "not_json", "counted": 7, "kept": 2, "last_hour": 2}]
    ids = [page["items"][0]["id"]]
    assert undisturbed.client.post("/api/quarantine/replay", json={"ids": ids}).json() == {"requested": 1}
    assert undisturbed.client.post("/api/quarantine/replay", json={"ids": ids}).json() == {"requested": 0}
    assert undisturbed.client.post("/api/quarantine/replay", json={"reason": "not_json"}).json() == {
        "requested": 2
    }
    problem(undisturbed.client.post("/api/quarantine/replay", json={}), 422)
    problem(undisturbed.client.post("/api/quarantine/replay", json={"ids": [1], "reason": "x"}), 422)


def test_the_description_is_complete_and_loads_nothing(undisturbed: Centre) -> None:
    schema = undisturbed.client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    pages = {("GET", page) for page in (*PUBLIC_PAGES, "/openapi.json", "/docs")}
    # The description leaves out what a part of the path is converted to.
    assert described == {(method, re.sub(r":(int|path)}", "}", path)) for method, path in set(TABLE) - pages}
    page = undisturbed.client.get("/docs").text
    assert "/api/incidents/{incident_id}/{action}" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404), ("GET", "/assets/../main.py", 404), ("GET", "/assets/%2e%2e/x", 404),
        ("PUT", "/api/incidents", 405), ("GET", "/api/incidents/abc", 422), ("GET", "/api/incidents/1e9", 422),
        ("GET", "/api/incidents/99999999999999999999999", 404), ("GET", "/api/incidents?limit=0", 422),
        ("GET", "/api/incidents?cursor=abc", 422), ("GET", "/api/devices?q=%00", 422), ("GET", "/api/devices/%00", 422),
        ("GET", "/api/alarms?incident=0", 422),
    ],
)  # fmt: skip
def test_odd_requests_get_readable_problems(undisturbed: Centre, method: str, path: str, status: int) -> None:
    problem(undisturbed.client.request(method, path), status)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"category": 3}', b'{"category": "\\ud800"}', b'{"category": "a\\u0000b"}',
             b'{"category": "fire.smoke", "more": 1}', b'{"category": "nope"}',
             b'{"category": "fire.smoke", "cell": "nowhere"}'],
)  # fmt: skip
def test_odd_bodies_get_readable_problems(undisturbed: Centre, body: bytes) -> None:
    answer = undisturbed.client.post(
        "/api/incidents", content=body, headers={"Content-Type": "application/json"}
    )
    problem(answer, 422)


def test_a_body_nested_too_deeply_is_turned_away(undisturbed: Centre) -> None:
    headers = {"Content-Type": "application/json"}
    problem(undisturbed.client.post("/api/incidents", content=b"[" * 5000, headers=headers), 400)


def test_bodies_are_bounded(undisturbed: Centre) -> None:
    problem(undisturbed.stranger.post("/api/session", content=b"x" * (1024 * 1024 + 1)), 413)
    problem(undisturbed.stranger.post("/api/session", content=iter([b"{", b"}"])), 411)


def test_a_password_is_not_said_back(undisturbed: Centre) -> None:
    answer = undisturbed.stranger.post("/api/session", json={"name": "", "password": ["hunter2"]})
    problem(answer, 422)
    assert "hunter2" not in answer.text


def test_the_centre_outlives_a_lost_database_connection(centre: Centre, api: httpx.Client) -> None:
    centre.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'city centre')"
    )
    incident = incident_of(centre, "D1")
    assert incident["unit"] == "U1"
    assert api.get("/api/incidents").status_code == 200
