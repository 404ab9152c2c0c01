"""People change the register over HTTP: devices, units, the ground; with who and why, and history kept."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer

SIDE = 0.001  # degrees, some 100 m


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        lay_squares(made)
        yield made


def box(west: float, east: float) -> dict[str, Any]:
    corners = [[west, 0], [east, 0], [east, 1], [west, 1], [west, 0]]
    ring = [[round(114 + x * SIDE, 7), round(22 + y * SIDE, 7)] for x, y in corners]
    return {"type": "Polygon", "coordinates": [ring]}


def lay_squares(centre: Centre) -> None:
    """C1 to C4 become squares of 100 m in a row; two detectors stand in C1, one in its eastern half."""
    for number in range(1, 5):
        centre.execute(
            "UPDATE areas SET geometry = %s::jsonb WHERE code = %s",
            json.dumps(box(number - 1, number)),
            f"C{number}",
        )
    centre.execute("UPDATE devices SET longitude = NULL, latitude = NULL")
    centre.execute(
        "UPDATE devices d SET longitude = v.lon, latitude = 22.0005, cell_id = a.id"
        " FROM (VALUES ('D1', 114.0002), ('D2', 114.0008)) v (code, lon), areas a"
        " WHERE v.code = d.code AND a.code = 'C1'"
    )


def entry(centre: Centre, code: str) -> dict[str, Any]:
    found: dict[str, Any] = centre.client.get(f"/api/devices/{code}/entry").json()
    return found


def area(centre: Centre, code: str) -> dict[str, Any]:
    items = centre.client.get("/api/areas").json()["items"]
    return next(dict(one) for one in items if one["code"] == code)


def wanted(known: dict[str, Any], **more: Any) -> dict[str, Any]:
    kept = {
        name: known[name] for name in ("layer", "code", "name", "name_en", "parent", "geometry", "version")
    }
    return kept | more


# ── devices ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_device_is_changed_with_a_reason_and_its_history_says_by_whom(centre: Centre) -> None:
    first = centre.client.get("/api/devices/D5/entry")
    body = {"name": "三楼走廊", "expected_interval_s": 600, "tags": ["school", "old"], "reason": "现场核对"}
    done = centre.client.patch("/api/devices/D5", json=body, headers={"If-Match": first.headers["etag"]})
    assert done.status_code == 200, done.text
    assert (
        done.json() | {"name": "三楼走廊", "tags": ["old", "school"], "edited_by": "api-token"} == done.json()
    )
    (change,) = centre.client.get("/api/devices/D5/changes").json()["items"]
    assert (change["action"], change["reason"], change["by"]) == ("device.changed", "现场核对", "api-token")
    assert change["detail"]["before"]["name"] == ""
    assert change["detail"]["after"]["expected_interval_s"] == 600
    late = centre.client.patch("/api/devices/D5", json=body | {"name": "x"}, headers={"If-Match": '"1"'})
    assert (late.status_code, late.json()["detail_zh"]) == (412, "已被他人修改，请重新载入")


def test_what_is_the_same_is_not_written_down_again(centre: Centre) -> None:
    before = entry(centre, "D6")
    centre.client.patch("/api/devices/D6", json={"name": before["name"], "reason": "x"}).raise_for_status()
    assert entry(centre, "D6") == before
    assert centre.client.get("/api/devices/D6/changes").json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "teapot"}, "kind"),
        ({"cell": "C99"}, "cell"),
        ({"gateway": "D7"}, "gateway"),
        ({"lon": 114.0}, "lon"),
        ({"lat": 91}, "lat"),
        ({"expected_interval_s": 0}, "expected_interval_s"),
        ({"tags": ["two words"]}, "tags.0"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(centre: Centre, body: dict[str, Any], field: str) -> None:
    refused = centre.client.patch("/api/devices/D7", json=body | {"reason": "x"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


def test_a_device_that_is_moved_comes_into_the_cell_beneath_it(centre: Centre) -> None:
    body = {"lon": 114.0025, "lat": 22.0005, "reason": "移位"}
    assert centre.client.patch("/api/devices/D8", json=body).json()["cell"] == "C3"
    (change,) = centre.client.get("/api/devices/D8/changes").json()["items"]
    assert change["action"] == "device.moved"
    assert change["detail"]["after"]["cell"] == "C3"


def test_a_device_is_added_once_and_seen_by_everybody(centre: Centre) -> None:
    body = {"code": "N1", "kind": "smoke", "name": "新装", "cell": "C2", "reason": "新装"}
    made = [
        centre.client.post("/api/devices", json=body, headers={"Idempotency-Key": "n1"}) for _ in range(2)
    ]
    assert [one.status_code for one in made] == [201, 201]
    assert made[1].headers["Idempotent-Replayed"] == "true"
    assert centre.client.get("/api/devices", params={"q": "N1"}).json()["items"][0]["cell"] == "C2"
    again = centre.client.post("/api/devices", json=body)
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "code")


def test_an_unclaimed_device_is_claimed_as_its_neighbours_are(centre: Centre) -> None:
    centre.execute(
        "UPDATE devices SET owner_unit = '社区', model = 'S-1' WHERE code IN ('D10', 'D12', 'D14')"
    )
    centre.execute(
        "INSERT INTO devices (code, kind, cell_id, registration, origin)"
        " SELECT 'H1', 'smoke', cell_id, 'unclaimed', 'topic' FROM devices WHERE code = 'D10'"
    )
    centre.execute(
        "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
        " SELECT d.id, m.id, now() - n * interval '61 seconds', now(), 1 FROM devices d, metrics m,"
        " generate_series(1, 9) n WHERE d.code = 'H1' AND m.code = 'smoke'"
    )
    proposed = {one["field"]: one for one in centre.client.get("/api/devices/H1/proposal").json()["items"]}
    assert proposed["expected_interval_s"] == {
        "field": "expected_interval_s", "value": 60, "votes": 8, "of": 8, "because": "heard",
    }  # fmt: skip
    body = {"registration": "registered", "owner_unit": "社区", "reason": "认领"}
    assert centre.client.patch("/api/devices/H1", json=body).json()["registration"] == "registered"
    assert [one["action"] for one in centre.client.get("/api/devices/H1/changes").json()["items"]] == [
        "device.claimed"
    ]


def test_devices_are_found_by_unit_and_by_whether_they_are_heard(centre: Centre) -> None:
    centre.execute("UPDATE devices SET maintainer_unit = '维保' WHERE code = 'D20'")
    centre.execute(
        "INSERT INTO presence (device_id, last_heard_at) SELECT id, now() FROM devices WHERE code = 'D20'"
    )

    def codes(**query: str) -> set[str]:
        found = centre.client.get("/api/devices", params={"limit": 100, **query}).json()["items"]
        return {one["code"] for one in found}

    assert codes(unit="维保") == {"D20"}
    assert codes(online="true") == {"D20"}
    assert "D20" not in codes(online="false")
    choices = centre.client.get("/api/devices/choices").json()
    assert "维保" in choices["units"]
    assert choices["total"] == sum(choices["registrations"].values())


def test_only_an_administrator_changes_the_register(centre: Centre) -> None:
    for method, path in (
        ("PATCH", "/api/devices/D1"),
        ("PATCH", "/api/units/U1"),
        ("POST", "/api/areas/changes"),
    ):
        assert centre.stranger.request(method, path, json={}).status_code == 401


# ── units ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_unit_is_changed_and_dispatch_reads_it_anew(centre: Centre) -> None:
    first = centre.client.get("/api/units/U2").json()
    moved = centre.execute("SELECT sum(version) FROM register_versions")
    body = {"capacity": 5, "tier": "street", "fallback": "U1", "hours": "08:00-20:00", "reason": "夏季值守"}
    done = centre.client.patch("/api/units/U2", json=body, headers={"If-Match": f'"{first["version"]}"'})
    assert done.status_code == 200, done.text
    assert done.json() | {"capacity": 5, "fallback": "U1", "edited_by": "api-token"} == done.json()
    assert centre.execute("SELECT sum(version) FROM register_versions") != moved
    (change,) = centre.client.get("/api/units/U2/changes").json()["items"]
    assert change["detail"]["before"]["capacity"] is None
    assert change["detail"]["after"]["hours"] == "08:00-20:00"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"hours": "noon"}, "hours"),
        ({"email": "nobody"}, "email"),
        ({"webhook_url": "ftp://x"}, "webhook_url"),
        ({"fallback": "U1"}, "fallback"),
        ({"parent": "U9"}, "parent"),
        ({"lon": 114.0}, "lon"),
        ({"capacity": 0}, "capacity"),
        ({"name": " "}, "name"),
    ],
)
def test_a_wrong_field_of_a_unit_is_named(centre: Centre, body: dict[str, Any], field: str) -> None:
    refused = centre.client.patch("/api/units/U1", json=body | {"reason": "x"})
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["field"] == field


def test_a_unit_that_leads_something_cannot_end_and_a_new_one_can(centre: Centre) -> None:
    refused = centre.client.patch("/api/units/U1", json={"active": False, "reason": "撤并"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "active")
    body = {"code": "U7", "name": "七队", "webhook_url": "https://one.invalid/secret/path", "reason": "新建"}
    made = centre.client.post("/api/units", json=body)
    assert made.json()["webhook_url"] == "https://one.invalid/…"
    kept = {"webhook_url": "https://one.invalid/…", "phone": "1", "reason": "x"}
    centre.client.patch("/api/units/U7", json=kept).raise_for_status()
    assert centre.execute("SELECT webhook_url FROM units WHERE code = 'U7'") == [(body["webhook_url"],)]
    assert (
        centre.client.patch("/api/units/U7", json={"active": False, "reason": "撤并"}).json()["active"]
        is False
    )
    assert "U7" not in {one["code"] for one in centre.client.get("/api/units").json()["items"]}


# ── ground ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_redrawn_cell_takes_devices_and_open_incidents_and_keeps_its_history(centre: Centre) -> None:
    raise_alarm(centre, "D2")
    wait_for_incident(centre)
    c1, c2 = area(centre, "C1"), area(centre, "C2")
    body = {
        "areas": [wanted(c1, geometry=box(0, 0.5)), wanted(c2, geometry=box(0.5, 2))],
        "reason": "按新门牌划分",
    }
    preview = centre.client.post("/api/areas/changes", params={"dry_run": True}, json=body).json()
    assert (preview["saved"], preview["refused"]) == (False, False)
    assert [(one["code"], one["fate"], one["findings"]) for one in preview["areas"]] == [
        ("C1", "changed", []), ("C2", "changed", []),
    ]  # fmt: skip
    assert [(one["code"], one["from_cell"], one["to_cell"]) for one in preview["devices"]] == [
        ("D2", "C1", "C2")
    ]
    assert [(one["from_cell"], one["to_cell"]) for one in preview["incidents"]] == [("C1", "C2")]
    assert area(centre, "C1") == c1
    saved = centre.client.post("/api/areas/changes", json=body, headers={"If-Match": f'"{preview["token"]}"'})
    assert saved.status_code == 200, saved.text
    assert (entry(centre, "D1")["cell"], entry(centre, "D2")["cell"]) == ("C1", "C2")
    history = centre.client.get("/api/areas/cell/C1/history").json()
    assert [one["valid_to"] is None for one in history["items"][:2]] == [True, False]
    assert history["items"][1]["square_metres"] == pytest.approx(
        2 * history["items"][0]["square_metres"], rel=0.01
    )
    assert (
        history["changes"][0] | {"action": "area.redrawn", "reason": "按新门牌划分"} == history["changes"][0]
    )
    incident = preview["incidents"][0]["id"]
    assert centre.client.get(f"/api/incidents/{incident}").json()["cell"] == "C2"
    timeline = centre.client.get(f"/api/incidents/{incident}/timeline").json()["items"]
    assert timeline[-1]["kind"] == "cell_changed"
    assert timeline[-1]["detail"] == {"from": "C1", "to": "C2"}


def wait_for_incident(centre: Centre) -> None:
    """Triage opens one for the alarm."""
    deadline = time.monotonic() + 60
    while not centre.execute("SELECT id FROM incidents") and time.monotonic() < deadline:
        time.sleep(0.05)


def test_an_overlap_is_refused_with_the_neighbours_name_and_nothing_is_written(centre: Centre) -> None:
    c3 = area(centre, "C3")
    body = {"areas": [wanted(c3, geometry=box(1.5, 3))], "reason": "x"}
    preview = centre.client.post("/api/areas/changes", params={"dry_run": True}, json=body).json()
    (found,) = preview["areas"][0]["findings"]
    assert (found["what"], found["fault"], found["other"]) == ("overlaps", True, "C2")
    refused = centre.client.post("/api/areas/changes", json=body)
    assert refused.status_code == 422
    assert "重叠" in refused.json()["detail_zh"]
    assert area(centre, "C3") == c3


def test_a_preview_that_no_longer_holds_is_not_saved(centre: Centre) -> None:
    c4 = area(centre, "C4")
    body: dict[str, Any] = {"areas": [wanted(c4, geometry=box(3, 4.5))], "reason": "x"}
    preview = centre.client.post("/api/areas/changes", params={"dry_run": True}, json=body).json()
    body["areas"][0]["geometry"] = box(3, 4.6)
    late = centre.client.post("/api/areas/changes", json=body, headers={"If-Match": preview["token"]})
    assert late.status_code == 412
    stale = {"areas": [wanted(c4, version=c4["version"] + 1)], "reason": "x"}
    assert centre.client.post("/api/areas/changes", json=stale).status_code == 412


def test_cells_begin_and_end_and_what_stands_on_one_holds_it(centre: Centre) -> None:
    new = {"layer": "cell", "code": "C9", "name": "新网格", "parent": "M1", "geometry": box(8, 9)}
    body: dict[str, Any] = {"areas": [new], "reason": "新建小区"}
    assert centre.client.post("/api/areas/changes", json=body).json()["areas"][0]["fate"] == "new"
    known = area(centre, "C9")
    assert (known["parent"], known["parent_layer"], known["edited_by"]) == ("M1", "community", "api-token")
    ended = {"areas": [{"layer": "cell", "code": "C9", "version": 1, "ended": True}], "reason": "撤销"}
    assert centre.client.post("/api/areas/changes", json=ended).json()["areas"][0]["fate"] == "ended"
    c2 = area(centre, "C2")
    held = centre.client.post("/api/areas/changes", json={"areas": [wanted(c2, ended=True)], "reason": "x"})
    assert held.status_code == 422
    assert "设备" in held.json()["detail_zh"]


def test_a_dragged_device_is_part_of_the_same_save(centre: Centre) -> None:
    known = entry(centre, "D1")
    body = {
        "devices": [{"code": "D1", "version": known["version"], "lon": 114.0015, "lat": 22.0005}],
        "reason": "移位",
    }
    done = centre.client.post("/api/areas/changes", json=body).json()
    assert [(one["code"], one["to_cell"]) for one in done["devices"]] == [("D1", "C2")]
    assert entry(centre, "D1") | {"cell": "C2", "lon": 114.0015} == entry(centre, "D1")
    assert centre.client.post("/api/areas/changes", json=body).status_code == 412


def test_an_outline_that_cannot_be_read_is_named(centre: Centre) -> None:
    bent = wanted(area(centre, "C4"), geometry={"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [1, 2]]]})
    refused = centre.client.post("/api/areas/changes", json={"areas": [bent], "reason": "x"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "areas.0.geometry"
