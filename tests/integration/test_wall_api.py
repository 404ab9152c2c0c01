"""What the wall asks for beside its screen protocol: smoke, cameras, one incident, the flood; open, without persons."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from command_centre.api import wall
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer

FURNISHED = """
UPDATE areas SET name_en = 'Cell one' WHERE code = 'C1';
INSERT INTO areas (layer, code, name) VALUES ('street', 'S2', '西街');
INSERT INTO device_kinds (code, name, name_en) VALUES ('camera', '摄像机', 'Camera');
INSERT INTO metrics (code, unit) VALUES ('rain', 'mm');
INSERT INTO device_kinds (code, name, main_metric) VALUES ('rain', '雨量', 'rain');
INSERT INTO devices (code, kind, cell_id) SELECT 'R1', 'rain', id FROM areas WHERE code = 'C1';
INSERT INTO devices (code, kind, cell_id, name) SELECT 'CAM1', 'camera', id, '东门' FROM areas WHERE code = 'C1';
INSERT INTO devices (code, kind, cell_id) SELECT 'CAM2', 'camera', id FROM areas WHERE code = 'C4';
INSERT INTO devices (code, kind, cell_id, service_state) SELECT 'CAM3', 'camera', id, 'out_of_service'
    FROM areas WHERE code = 'C4';
INSERT INTO presence SELECT id, now() + interval '1 hour' FROM devices WHERE code IN ('D1', 'D2', 'D3', 'CAM1');
INSERT INTO observations (device_id, metric_id, quality, observed_at, received_at, value)
    SELECT d.id, m.id, q, now() - at, now(), value FROM (VALUES
        ('D1', 'smoke', 0, interval '1 minute', 12.0), ('D1', 'smoke', 0, interval '9 minutes', 55.0),
        ('D2', 'smoke', 0, interval '2 minutes', 40.0), ('D3', 'smoke', 32, interval '1 minute', 999.0),
        ('D4', 'smoke', 0, interval '1 minute', 90.0), ('R1', 'rain', 0, interval '10 minutes', 7.5),
        ('R1', 'rain', 0, interval '100 minutes', 4.0)
    ) AS read (code, metric, q, at, value) JOIN devices d USING (code) JOIN metrics m ON m.code = read.metric;
INSERT INTO detections (device_id, event_key, state, label, observed_at, received_at, zone)
    SELECT d.id, 'e1', state, 'person', now() - interval '3 minutes' + step, now(), 'yard'
    FROM devices d, (VALUES ('new', interval '0'), ('update', interval '5 s')) AS s (state, step)
    WHERE d.code = 'CAM1';
"""


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        made.execute(FURNISHED)
        yield made


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall, "KEPT_S", -1.0)


def get(centre: Centre, path: str, **query: str) -> dict[str, Any]:
    answer = centre.stranger.get(f"/api/wall/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_highest_smoke_is_of_detectors_that_are_on_line_and_believed(centre: Centre) -> None:
    shown = get(centre, "sensing")["smoke"]["highest"]
    assert [(row["code"], row["value"]) for row in shown] == [("D2", 40.0), ("D1", 12.0)]
    assert shown[0]["cell_name_en"] == "Cell one"
    assert shown[1]["cell_name_en"] == "网格2"  # without an English name the Chinese one


def test_cameras_show_what_was_seen_once_and_which_are_lost(centre: Centre) -> None:
    cameras = get(centre, "sensing")["cameras"]
    (seen,) = cameras["detections"]
    assert (seen["code"], seen["name"], seen["label"], seen["zone"]) == ("CAM1", "东门", "person", "yard")
    assert [row["code"] for row in cameras["offline"]] == ["CAM2"]
    assert cameras["total"] == 1
    assert "url" not in seen


def test_a_scope_leaves_out_what_lies_elsewhere(centre: Centre) -> None:
    cell = get(centre, "sensing", scope="C2")
    assert [row["code"] for row in cell["smoke"]["highest"]] == ["D1"]
    assert cell["cameras"] == {"detections": [], "offline": [], "total": 0}
    assert get(centre, "sensing", scope="S1")["cameras"]["total"] == 1
    assert get(centre, "sensing", scope="S2")["smoke"]["highest"] == []
    unknown = centre.stranger.get("/api/wall/sensing", params={"scope": "nowhere"})
    assert unknown.status_code == 404
    assert "nowhere" in unknown.text


def test_an_open_incident_is_shown_without_persons(centre: Centre) -> None:
    alarm = raise_alarm(centre, "D2")
    while not (
        rows := centre.execute("SELECT incident_id FROM alarms WHERE id = %s AND triage = 'done'", alarm)
    ):
        time.sleep(0.02)
    number = rows[0][0]
    acknowledged = centre.client.post(f"/api/incidents/{number}/comment", json={"comment": "门卫张三在场"})
    assert acknowledged.status_code == 200, acknowledged.text

    answer = centre.stranger.get(f"/api/wall/incidents/{number}")
    shown = answer.json()
    assert "张三" not in answer.text
    assert [event["kind"] for event in shown["timeline"]][-2:] == ["dispatched", "opened"]
    assert shown["timeline"][-2]["unit_name"] == "一队"
    assert all("actor" not in event for event in shown["timeline"])
    assert {clock["stage"] for clock in shown["clocks"]} == {"handle", "acknowledge"}
    (device,) = shown["devices"]
    assert (device["code"], device["standing"]) == ("D2", True)
    assert [value for _, value in device["readings"]] == [40.0]
    (standing,) = get(centre, "sensing")["smoke"]["alarms"]
    assert standing["code"] == "D2"

    voided = centre.client.post(f"/api/incidents/{number}/void", json={"reason": "test"})
    assert voided.status_code == 200, voided.text
    assert centre.stranger.get(f"/api/wall/incidents/{number}").status_code == 404


def test_the_flood_says_rain_and_level(centre: Centre) -> None:
    flood = get(centre, "flood")
    assert (flood["level"], flood["proposal"], flood["warnings"]) == (None, None, [])
    assert flood["evacuation"] == {"tasks": 0, "done": 0, "to_move": 0, "moved": 0, "remaining": 0}
    (gauge,) = flood["rain"]
    assert (gauge["mm_1h"], gauge["mm_3h"], gauge["mm_24h"]) == (7.5, 11.5, 11.5)


def test_answers_are_kept_for_a_moment(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall, "KEPT_S", 3600.0)
    before = get(centre, "flood")
    centre.execute("UPDATE observations SET value = 30 WHERE value = 7.5")
    assert get(centre, "flood") == before
    monkeypatch.setattr(wall, "KEPT_S", -1.0)
    assert get(centre, "flood")["rain"][0]["mm_1h"] == 30.0


def test_the_map_names_cells_in_both_languages(centre: Centre) -> None:
    cells = {cell["code"]: cell["name_en"] for cell in get(centre, "map")["cells"]}
    assert cells["C1"] == "Cell one"
