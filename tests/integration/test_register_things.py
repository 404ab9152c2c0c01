"""Each device and manhole cover known: its life, names, papers, label and place, by file and by hand."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openpyxl import Workbook

from city import district
from city.coordinates import from_wgs84
from rules.definitions import to_rows
from tests.integration.running_centre import Centre, running
from tests.integration.test_register_import import send, write
from tests.servers.postgres import PostgresServer

PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF"
DEVICES = "code,kind,cell,lon,lat,crs,names,vendor,life,installed_on,calibrated_on,calibration_due,building,facility\n"


@pytest.fixture(scope="module")
def centre(
    postgres_server: PostgresServer, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Centre]:
    folder = tmp_path_factory.mktemp("district")
    write(folder)
    (folder / "buildings.csv").write_text("code,name,floors,lon,lat\nB1,一号楼,12,,\n", encoding="utf-8")
    (folder / "components.csv").write_text("code,kind,building\nM1,井盖,\nM2,井盖,B1\n", encoding="utf-8")
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    district.import_defaults(url, parse_rules=to_rows)
    district.import_folder(url, folder, parse_rules=to_rows)
    try:
        with running(url) as made:
            yield made
    finally:
        postgres_server.drop_database(name)


def inside(centre: Centre, cell: str) -> tuple[float, float]:
    """A position in the middle of a cell."""
    (row,) = centre.execute("SELECT geometry FROM areas WHERE code = %s AND valid_to IS NULL", cell)
    ring = row[0]["coordinates"][0][:-1]  # type: ignore[index]  # a column of JSON
    return sum(p[0] for p in ring) / len(ring), sum(p[1] for p in ring) / len(ring)


def entry(centre: Centre, code: str) -> dict[str, Any]:
    answer = centre.client.get(f"/api/devices/{code}/entry")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def change(centre: Centre, code: str, **values: Any) -> httpx.Response:
    return centre.client.patch(f"/api/devices/{code}", json={"reason": "核对", **values})


def stranger(centre: Centre, name: str) -> None:
    """As ingest takes in what speaks its own language."""
    centre.execute(
        "INSERT INTO devices (code, kind, registration, origin) VALUES (%s, 'smoke', 'unclaimed', 'topic')",
        f"chirpstack:{name}",
    )
    centre.execute(
        "INSERT INTO device_names SELECT 'chirpstack', %s, id FROM devices WHERE code = %s",
        name,
        f"chirpstack:{name}",
    )


def test_a_declared_map_and_no_cell_lead_to_the_right_place(centre: Centre) -> None:
    x, y = inside(centre, "C2")
    there = from_wgs84("gcj02", [x], [y])
    baidu = from_wgs84("bd09", [x], [y])
    lines = (
        f"D1,smoke,,{there[0][0]},{there[1][0]},GCJ-02,zigbee2mqtt:Hall;chirpstack:24e1,Milesight,planned,"
    )
    lines += "2026-01-02,,,B1,M2\n"
    lines += f"D2,smoke,,{baidu[0][0]},{baidu[1][0]},bd09,,,,,,,,\nD3,smoke,,{x},{y},,,,,,,,,\n"
    done = send(centre, {"devices.csv": DEVICES + lines}).json()
    assert done["taken"]
    for code in ("D1", "D2", "D3"):
        found = entry(centre, code)
        assert found["cell"] == "C2"
        assert (found["lon"], found["lat"]) == pytest.approx((x, y), abs=2e-6)
    found = entry(centre, "D1")
    wanted = {
        "names": ["chirpstack:24e1", "zigbee2mqtt:Hall"],
        "vendor": "Milesight",
        "life_state": "planned",
        "installed_on": "2026-01-02",
        "building": "B1",
        "facility": "M2",
    }
    assert found | wanted == found
    # What the list does not say of these stays as it is; the others are cleared, and the preview says so.
    again = send(centre, {"devices.csv": "code,kind\nD1,smoke\nD2,smoke\nD3,smoke\n"}, dry_run=True).json()
    row = next(row for row in again["rows"] if row["key"] == "D1")
    assert {"names", "vendor", "life"}.isdisjoint(one["field"] for one in row["changes"])
    assert {"installed_on", "building"} <= {one["field"] for one in row["changes"]}


def test_a_sheet_and_a_drawing_are_taken_and_faults_name_their_rows(centre: Centre) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for line in (["code", "name", "floors"], ["B1", "一号楼", 12], [], ["B2", "二号楼", "many"]):
        sheet.append(line)
    packed = io.BytesIO()
    book.save(packed)
    done = send(centre, {"buildings.xlsx": packed.getvalue()}, dry_run=True).json()
    refused = next(row for row in done["rows"] if row["fate"] == "refused")
    assert (refused["file"], refused["row"], refused["faults"][0]["column"]) == (
        "buildings.xlsx",
        4,
        "floors",
    )
    x, y = inside(centre, "C1")
    square = [[x, y], [x + 1e-4, y], [x + 1e-4, y + 1e-4], [x, y + 1e-4], [x, y]]
    drawings = [("B1", "一号楼", {"type": "Point", "coordinates": [x, y]})]
    drawings += [("B2", "校", {"type": "Polygon", "coordinates": [square]})]
    features = [
        {"type": "Feature", "properties": {"code": code, "name": name}, "geometry": geometry}
        for code, name, geometry in drawings
    ]
    drawn = json.dumps({"type": "FeatureCollection", "features": features})
    done = send(centre, {"buildings.geojson": drawn}).json()
    assert done["taken"]
    assert done["counts"] == {"buildings.geojson": {"changed": 1, "new": 1}}
    assert centre.client.get("/api/buildings/B1").json()["cell"] == "C1"
    assert centre.client.get("/api/buildings/B2").json()["outline"]["type"] == "Polygon"
    for form in ("csv", "xlsx", "geojson"):
        out = centre.client.get(f"/api/register/export/buildings.{form}")
        same = send(centre, {f"buildings.{form}": out.content}, dry_run=True).json()
        assert same["counts"] == {f"buildings.{form}": {"same": 2}}, form


def test_a_zip_that_unpacks_to_too_much_is_refused(centre: Centre) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(5):
            archive.writestr(f"{n}/devices.csv", b"0" * (45 * 1024 * 1024))
    answer = send(centre, {"bomb.zip": packed.getvalue()}, dry_run=True)
    assert answer.status_code == 422
    assert "unpacks" in answer.json()["detail"]


def test_a_life_is_kept_with_who_and_why(centre: Centre) -> None:
    assert change(centre, "D2", life_state="faulty", reason="受潮").json()["life_state"] == "faulty"
    assert change(centre, "D2", life_state="retired").json()["registration"] == "retired"
    assert change(centre, "D2", registration="registered").json()["life_state"] == "in_service"
    steps = centre.client.get("/api/devices/D2/life").json()["items"]
    assert [(one["was"], one["state"]) for one in steps] == [
        ("retired", "in_service"),
        ("faulty", "retired"),
        ("in_service", "faulty"),
    ]
    assert (steps[-1]["reason"], bool(steps[-1]["by"])) == ("受潮", True)
    with pytest.raises(Exception, match="only ever appended"):
        centre.execute("DELETE FROM device_life")
    wrong = change(centre, "D2", calibrated_on="2026-05-01", calibration_due="2026-04-01")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "calibration_due")


def test_a_heard_device_is_claimed_as_a_planned_one_and_readings_stay(centre: Centre) -> None:
    stranger(centre, "aa01")
    taken = change(centre, "D3", names=["chirpstack:aa01"])
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (409, "names")
    change(centre, "D3", life_state="planned")
    body = {"device": "D3", "reason": "已安装"}
    done = centre.client.post("/api/devices/chirpstack:aa01/claim-as", json=body).json()
    assert (done["code"], done["names"], done["life_state"]) == ("D3", ["chirpstack:aa01"], "installed")
    assert entry(centre, "chirpstack:aa01")["registration"] == "retired"
    again = centre.client.post("/api/devices/chirpstack:aa01/claim-as", json=body)
    assert again.status_code == 409
    removed = change(centre, "D3", names=[]).json()
    assert removed["names"] == []
    assert removed["version"] > done["version"]


def test_an_import_that_moves_a_name_says_so(centre: Centre) -> None:
    stranger(centre, "bb02")
    rows = "code,kind,names\nD1,smoke,\nD2,smoke,chirpstack:bb02\nD3,smoke,\n"
    done = send(centre, {"devices.csv": rows}).json()
    assert any("chirpstack:bb02" in line and "stays there" in line for line in done["warnings"])
    assert entry(centre, "D2")["names"] == ["chirpstack:bb02"]
    assert entry(centre, "chirpstack:bb02")["registration"] == "retired"


def test_facilities_and_buildings_are_edited_with_versions(centre: Centre) -> None:
    x, y = inside(centre, "C0")
    body = {"code": "M9", "kind": "井盖", "lon": x, "lat": y, "building": "B1", "reason": "新增"}
    made = centre.client.post("/api/components", json=body).json()
    assert (made["cell"], made["version"]) == ("C0", 1)
    wrong = centre.client.patch("/api/components/M9", json={"building": "B77", "reason": "x"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "building")
    headers = {"If-Match": '"1"'}
    fresh = centre.client.patch(
        "/api/components/M9", json={"state": "under_repair", "reason": "破损"}, headers=headers
    )
    assert (fresh.json()["state"], fresh.headers["etag"]) == ("under_repair", '"2"')
    late = centre.client.patch("/api/components/M9", json={"name": "y", "reason": "x"}, headers=headers)
    assert late.status_code == 412
    assert "M9" in centre.client.get("/api/buildings/B1").json()["components"]
    (last, *_) = centre.client.get("/api/components/M9/changes").json()["items"]
    assert (last["reason"], last["detail"]["after"]) == ("破损", {"state": "under_repair"})


def test_labels_lead_anybody_to_the_thing_and_tell_nobody_where_detectors_hang(centre: Centre) -> None:
    label = centre.client.get("/api/labels/component/M9.svg")
    assert label.headers["content-type"] == "image/svg+xml"
    assert "M9" in label.text
    sheet = centre.client.get("/api/labels/component/sheet.svg", params={"cell": "C0"})
    assert sheet.headers["label-pages"] == "1"
    with httpx.Client(base_url=str(centre.client.base_url)) as nobody:
        cover = nobody.get("/api/scanned/component/M9").json()
        assert (cover["kind"], cover["cell"], cover["lon"] is not None) == ("井盖", "C0", True)
        detector = nobody.get("/api/scanned/device/D1").json()
        assert (detector["kind"], detector["name"], detector["lon"]) == ("smoke", "", None)
        assert nobody.get("/api/labels/component/M9.svg").status_code == 401
        assert nobody.get("/api/scanned/component/M-none").status_code == 404


def test_documents_come_back_as_files_and_never_as_pages(centre: Centre) -> None:
    path = "/api/register/device/D1/papers"
    query = {"reason": "合格证"}
    added = centre.client.post(path, params=query, files=[("files", ("合格证.pdf", PDF))])
    assert added.status_code == 201, added.text
    (document,) = added.json()["documents"]
    assert (document["name"], document["kind"]) == ("合格证.pdf", "pdf")
    file = centre.client.get(f"/api/register/device/D1/documents/{document['id']}")
    assert file.content == PDF
    assert file.headers["content-disposition"].startswith("attachment")
    assert centre.client.get(f"/api/register/device/D2/documents/{document['id']}").status_code == 404
    page = [("files", ("a.html", b"\x7fELF\x00"))]
    assert centre.client.post(path, params=query, files=page).status_code == 422
    body = {"document": document["id"], "reason": "过期"}
    assert centre.client.post(f"{path}/remove", json=body).json()["documents"] == []
    with httpx.Client(base_url=str(centre.client.base_url)) as nobody:
        assert nobody.get(path).status_code == 401
