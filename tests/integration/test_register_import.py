"""A district's files sent by a person: every row's fate first, then all of it or nothing, and a person's word stays."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from city import district
from rules.definitions import to_rows
from tests.integration.running_centre import Centre, running
from tests.integration.test_import import feature, square
from tests.servers.postgres import PostgresServer

DEVICES = "code,kind,cell,name,expected_interval_s\n"


def write(folder: Path) -> None:
    drawn = [feature("street", "S1", None, None)]
    drawn += [feature("cell", f"C{n}", "S1", square(n, 0)) for n in range(3)]
    collection = {"type": "FeatureCollection", "features": drawn}
    (folder / "areas.geojson").write_text(json.dumps(collection, ensure_ascii=False), encoding="utf-8")
    (folder / "district.toml").write_text(
        'code = "440399"\nname = "小区"\nname_en = "Small"\ntimezone = "Asia/Shanghai"\n', encoding="utf-8"
    )
    (folder / "devices.csv").write_text(
        DEVICES + "D1,smoke,C0,甲,\nD2,smoke,C1,乙,\nD3,smoke,C2,丙,\n", encoding="utf-8"
    )
    (folder / "units.csv").write_text("code,name,phone\nU1,一队,1\nU2,二队,2\n", encoding="utf-8")
    (folder / "responsibilities.csv").write_text("category,unit\nfire,U1\n", encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("district")
    write(place)
    return place


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str, folder: Path) -> Iterator[Centre]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    district.import_defaults(url, parse_rules=to_rows)
    district.import_folder(url, folder, parse_rules=to_rows)
    try:
        with running(url) as made:
            yield made
    finally:
        postgres_server.drop_database(name)


def send(
    centre: Centre, files: dict[str, str | bytes], *, dry_run: bool = False, token: str | None = None
) -> httpx.Response:
    parts = [
        ("files", (name, text.encode() if isinstance(text, str) else text)) for name, text in files.items()
    ]
    headers = {"If-Match": f'"{token}"'} if token else {}
    query = {"reason": "年度核对", "dry_run": str(dry_run).lower()}
    return centre.client.post("/api/register/import", params=query, files=parts, headers=headers)


def fates(done: dict[str, Any], file: str) -> dict[str, str]:
    return {row["key"]: row["fate"] for row in done["rows"] if row["file"] == file}


def devices(centre: Centre) -> dict[str, tuple[object, ...]]:
    rows = centre.execute("SELECT code, name, registration, edited_by FROM devices ORDER BY code")
    return {str(row[0]): row[1:] for row in rows}


def test_the_districts_own_files_change_nothing(centre: Centre) -> None:
    packed = centre.client.get("/api/register/export")
    assert packed.headers["content-type"] == "application/zip"
    done = send(centre, {"district.zip": packed.content}, dry_run=True).json()
    assert (done["refused"], done["warnings"]) == (False, [])
    assert {fate for counts in done["counts"].values() for fate in counts} == {"same"}
    assert {"devices.csv", "areas.geojson", "units.csv"} <= set(done["counts"])


def test_every_row_is_shown_with_its_fate_and_nothing_is_written(centre: Centre) -> None:
    before = devices(centre)
    text = DEVICES + "D1,smoke,C0,甲,\nD2,smoke,C2,乙楼,600\nD4,water,C1,新,\n"
    done = send(centre, {"devices.csv": text}, dry_run=True).json()
    assert fates(done, "devices.csv") == {"D1": "same", "D2": "changed", "D4": "new", "D3": "gone"}
    changed = next(row for row in done["rows"] if row["key"] == "D2")
    assert changed["row"] == 3
    assert changed["changes"] == [
        {"field": "name", "before": "乙", "after": "乙楼"},
        {"field": "cell", "before": "C1", "after": "C2"},
        {"field": "expected_interval_s", "before": "", "after": "600"},
    ]
    assert done["report"] | {"devices_changed": 2, "devices_retired": 1} == done["report"]
    assert not done["taken"]
    assert devices(centre) == before


def test_a_refused_row_names_column_and_remedy_and_the_others_are_still_shown(centre: Centre) -> None:
    text = DEVICES + "D1,smoke,C0,甲,\nD2,teapot,C1,乙,soon\nD5,smoke,C77,,\nD6,smoke,C1,,\n"
    done = send(centre, {"devices.csv": text}, dry_run=True).json()
    assert done["refused"]
    assert done["report"] is None
    assert fates(done, "devices.csv") | {
        "D1": "same",
        "D2": "refused",
        "D5": "refused",
        "D6": "new",
    } == fates(done, "devices.csv")
    second = next(row for row in done["rows"] if row["key"] == "D2")
    assert [fault["column"] for fault in second["faults"]] == ["expected_interval_s", "kind"]
    assert all(fault["remedy"] for fault in second["faults"])
    refused = send(centre, {"devices.csv": text})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "expected_interval_s"
    assert "D6" not in devices(centre)


def test_it_is_taken_in_as_it_was_shown_and_each_entry_says_so(centre: Centre) -> None:
    files: dict[str, str | bytes] = {
        "devices.csv": DEVICES + "D1,smoke,C0,甲一,\nD2,smoke,C1,乙,\nD3,smoke,C2,丙,\nD7,smoke,C1,庚,\n",
        "units.csv": "code,name,phone\nU1,一队,1\nU2,二队,22\n",
    }
    preview = send(centre, files, dry_run=True).json()
    done = send(centre, files, token=preview["token"])
    assert done.status_code == 200, done.text
    assert done.json() | {"taken": True, "token": preview["token"]} == done.json()
    assert devices(centre) | {
        "D1": ("甲一", "registered", "api-token"),
        "D7": ("庚", "registered", "api-token"),
        "D2": ("乙", "registered", None),
    } == devices(centre)
    (change,) = centre.client.get("/api/devices/D1/changes").json()["items"]
    assert (change["reason"], change["detail"]["before"]["name"], change["detail"]["after"]["name"]) == (
        "年度核对", "甲", "甲一",
    )  # fmt: skip
    assert centre.client.get("/api/units/U2/changes").json()["items"][0]["detail"]["after"] == {"phone": "22"}


def test_a_preview_that_no_longer_holds_is_not_taken_in(centre: Centre) -> None:
    text = DEVICES + "D1,smoke,C0,甲二,\nD2,smoke,C1,乙,\nD3,smoke,C2,丙,\nD7,smoke,C1,庚,\n"
    preview = send(centre, {"devices.csv": text}, dry_run=True).json()
    centre.client.patch("/api/devices/D2", json={"name": "改过", "reason": "x"}).raise_for_status()
    late = send(centre, {"devices.csv": text}, token=preview["token"])
    assert (late.status_code, late.json()["detail_zh"]) == (412, "情况已变化，与预览不一致，请重新预览")
    assert devices(centre)["D1"][0] == "甲一"


def test_what_a_person_changed_stays_when_the_folder_comes_again(centre: Centre, folder: Path) -> None:
    centre.client.patch("/api/units/U2", json={"capacity": 9, "reason": "x"}).raise_for_status()
    (folder / "devices.csv").write_text(
        DEVICES + "D1,smoke,C0,甲,\nD2,smoke,C1,改过,\nD3,smoke,C2,丙三,\n", encoding="utf-8"
    )
    report = district.import_folder(centre.url, folder, parse_rules=to_rows)
    assert report.warnings == [
        "device D1: a person changed it here: theirs stays, the file's line is not taken",
        "unit U2: a person changed it here: theirs stays, the file's line is not taken",
    ]
    assert devices(centre) == {
        "D1": ("甲一", "registered", "api-token"),
        "D2": ("改过", "registered", None),  # both say the same: the file has it back
        "D3": ("丙三", "registered", None),
        "D7": ("庚", "registered", "api-token"),  # a person's, in no file
    }
    assert centre.execute("SELECT capacity FROM units WHERE code = 'U2'") == [(9,)]


def test_an_area_that_a_person_drew_stays_when_the_folder_comes_again(centre: Centre, folder: Path) -> None:
    areas = {area["code"]: area for area in centre.client.get("/api/areas").json()["items"]}
    known = areas["C2"]
    body = {name: known[name] for name in ("layer", "code", "name", "name_en", "parent", "version")}
    wanted = {"areas": [body | {"geometry": square(2, 1)}], "reason": "重划"}
    centre.client.post("/api/areas/changes", json=wanted).raise_for_status()
    (folder / "units.csv").write_text("code,name,phone\nU1,一队,11\nU2,二队,2\n", encoding="utf-8")
    report = district.import_folder(centre.url, folder, parse_rules=to_rows)
    assert (
        "area cell C2: a person changed it here: theirs stays, the file's line is not taken"
        in report.warnings
    )
    shapes = {area["code"]: area["geometry"] for area in centre.client.get("/api/areas").json()["items"]}
    assert shapes["C2"] == square(2, 1)
    beside = centre.execute(
        "SELECT DISTINCT a.code FROM area_neighbours n JOIN areas a ON a.id = n.area_id ORDER BY 1"
    )
    assert beside == [("C0",), ("C1",)]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"cats.csv": "code\n"}, "cats.csv"),
        ({"x.zip": b"no zip"}, "x.zip"),
        ({"devices.csv": b"code,kind\n\xff\xfe,smoke\n"}, "UTF-8"),
        ({"areas.geojson": "{"}, "JSON"),
        ({"rules/own.toml": "x ="}, "TOML"),
    ],
)
def test_what_cannot_be_read_is_named(centre: Centre, files: dict[str, str | bytes], words: str) -> None:
    answer = send(centre, files)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_folder_within_a_zip_is_found(centre: Centre) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("district/units.csv", "code,name,phone\nU1,一队,11\nU2,二队,2\nU9,九队,9\n")
        archive.writestr("__MACOSX/._units.csv", "x")
    done = send(centre, {"d.zip": packed.getvalue()}, dry_run=True).json()
    assert fates(done, "units.csv") | {"U9": "new"} == fates(done, "units.csv")


def test_only_an_administrator_imports_and_exports(centre: Centre) -> None:
    assert centre.stranger.post("/api/register/import", params={"reason": "x"}).status_code == 401
    assert centre.stranger.get("/api/register/export").status_code == 401
