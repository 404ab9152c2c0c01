"""The catalogue in the database: sheets over HTTP, what is in use stays, a person's word outlasts a folder's."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import psycopg
import pytest

from city import district
from city.catalogue_columns import written
from city.storage import categories
from city.storage.database import connect
from rules.definitions import to_rows
from tests.integration.running_centre import Centre, lay_ground, raise_alarm, running
from tests.servers.postgres import PostgresServer

Json = dict[str, Any]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    name = postgres_server.create_database(template=postgres_template)
    lay_ground(postgres_server.url(name))
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        connection.execute(CATEGORIES)
        connection.execute("""INSERT INTO rules (id, version, definition, active) VALUES ('smoke-high', 1,
            '{"type": "fusion", "sources": [{"category": "device.silent"}], "category": "flood.level"}', true)""")
        connection.execute(COMPONENTS)
    with running(postgres_server.url(name)) as made:
        yield made
    postgres_server.drop_database(name)


CATEGORIES = """
INSERT INTO categories (code, name, class, limit_minutes)
    VALUES ('flood', '汛', 'B', 60), ('public', '序', 'C', 60), ('device', '备', 'C', 60);
UPDATE categories SET parent = split_part(code, '.', 1) WHERE code LIKE '%.%';
"""
COMPONENTS = """
UPDATE district SET code_forms = '{"component": [{"name": "16", "segments": [{"name": "county", "length": 6},
    {"name": "major", "length": 2}, {"name": "minor", "length": 2}, {"name": "number", "length": 6}]}]}';
INSERT INTO components (code, kind, name, cell_id)
    SELECT '440399010300' || lpad(n::text, 4, '0'), 'manhole', '井盖 100%' || n, a.id
    FROM generate_series(0, 9) n, areas a WHERE a.code = 'C' || (1 + n % 2);
UPDATE components SET state = 'removed' WHERE code = '4403990103000009';
"""


@pytest.fixture(scope="module")
def api(centre: Centre) -> httpx.Client:
    return centre.client


def problem(answer: httpx.Response, status: int) -> Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: Json = answer.json()
    assert body["detail"]
    assert body["detail_zh"]
    return body


def send(api: httpx.Client, text: str, *, tag: str = "", **parameters: object) -> httpx.Response:
    headers = {"Content-Type": "text/csv", **({"If-Match": tag} if tag else {})}
    asked = {"reason": "test", **parameters}
    return api.post("/api/categories/import", params=asked, content=text.encode(), headers=headers)


def listed(api: httpx.Client, **parameters: object) -> dict[str, Json]:
    answer = api.get("/api/categories", params=parameters)
    assert answer.status_code == 200
    return {item["code"]: item for item in answer.json()["items"]}


def audited(centre: Centre) -> list[tuple[object, ...]]:
    changed = "SELECT action, object, reason FROM audit WHERE action <> 'categories.exported' ORDER BY id"
    return centre.execute(changed)


def test_the_tree_is_listed_with_its_shape_and_a_tag(api: httpx.Client) -> None:
    found = listed(api)
    assert (found["fire"]["level"], found["fire"]["children"], found["fire"]["parent"]) == (1, 1, None)
    assert found["fire.smoke"]["limit"] == "30m"
    assert listed(api, below="fire").keys() == {"fire", "fire.smoke"}
    answer = api.get("/api/categories")
    again = api.get("/api/categories", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    shown = api.get("/api/categories/fire.smoke").json()
    assert [step["code"] for step in shown["path"]] == ["fire", "fire.smoke"]
    assert shown["used"]["responsibilities"] == 0
    problem(api.get("/api/categories/fire.none"), 404)


def test_a_dry_run_says_every_fate_and_writes_nothing(centre: Centre, api: httpx.Client) -> None:
    text = "编码,名称,等级,性质,重要程度,紧急程度\n"
    text += "fire.smoke,烟感,A,报警,,\nheat,热力,,投诉,高,低\nheat.a.b,漏,C,投诉,,\n"
    before = listed(api)
    body = send(api, text, dry_run=True).json()
    assert (body["dry_run"], body["refused"], body["written"]) == (True, True, 0)
    assert [(row["row"], row["code"], row["fate"]) for row in body["rows"]] == [
        (2, "fire.smoke", "changed"), (3, "heat", "new"), (4, "heat.a.b", "refused"),
    ]  # fmt: skip
    assert body["rows"][0]["changes"]["name"] == {"from": "烟雾", "to": "烟感"}
    refused = problem(send(api, text), 422)
    assert refused["errors"] == [
        {
            "field": "parent", "row": 4, "value": "heat.a", "remedy": refused["errors"][0]["remedy"],
            "remedy_zh": refused["errors"][0]["remedy_zh"],
        }
    ]  # fmt: skip
    assert listed(api) == before
    assert audited(centre) == []


def test_a_sheet_is_taken_in_once_and_only_while_it_is_current(centre: Centre, api: httpx.Client) -> None:
    sheet = api.get("/api/categories.csv")
    assert sheet.content.startswith(b"\xef\xbb\xbf")
    text = (
        sheet.content.decode("utf-8-sig") + "heat,,热力,Heating,B,,,求决,2,2,3,handle=4wh,A=30m,heat,否,是\n"
    )
    first = send(api, text, tag=sheet.headers["etag"])
    assert first.json()["counts"] == {"new": 1, "changed": 0, "same": 9, "retired": 0, "refused": 0}
    assert first.json()["written"] == 1
    heat = listed(api)["heat"]
    assert (heat["limit"], heat["limits"], heat["class_limits"]) == (
        "240wm",
        {"handle": "240wm"},
        {"A": "30m"},
    )
    assert (heat["nature"], heat["automatic"], heat["event_level"]) == ("request", "none", 3)
    assert heat["origin"] == "catalogue"
    assert problem(send(api, text, tag=sheet.headers["etag"]), 412)
    again = send(api, text, tag=first.headers["etag"]).json()
    assert (again["written"], again["counts"]["same"]) == (0, 10)
    assert audited(centre) == [("catalogue.imported", "catalogue", "test")]


def test_of_two_at_once_the_second_is_told(api: httpx.Client) -> None:
    sheet = api.get("/api/categories.csv")
    text = sheet.content.decode("utf-8-sig")

    def change(word: str) -> int:
        return send(api, f"{text}river,,{word},,C,,,投诉,,,,,,,,\n", tag=sheet.headers["etag"]).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(change, ["甲", "乙"])) == [200, 412]


def test_a_workbook_in_a_form_is_taken_in(api: httpx.Client) -> None:
    book = openpyxl.Workbook()
    for row in (["编码", "名称", "等级", "性质"], ["lake", "湖", "C", "咨询"]):
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    file = {"file": ("目录.xlsx", content.getvalue(), XLSX)}
    answer = api.post("/api/categories/import", params={"reason": "lake"}, files=file)
    assert answer.status_code == 200, answer.text
    assert (listed(api)["lake"]["limit"], listed(api)["lake"]["class"]) == ("1260wm", "C")


@pytest.mark.parametrize(
    ("content", "parameters"),
    [
        (b"", {}),
        (b"PK\x03\x04rubbish", {}),
        (b"code,name\n\x00", {}),
        (b"code,colour\nx,y\n", {}),
        (b"code,name\nx,y\n", {"reason": " "}),
    ],
)
def test_what_is_no_catalogue_is_refused(api: httpx.Client, content: bytes, parameters: Json) -> None:
    asked = {"reason": "test", **parameters}
    body = problem(api.post("/api/categories/import", params=asked, content=content), 422)
    assert body["errors"]


def test_a_file_too_large_is_turned_away_before_it_is_read(api: httpx.Client) -> None:
    problem(api.post("/api/categories/import", params={"reason": "x"}, content=b"x" * (6 * 1024 * 1024)), 413)


def test_what_is_in_use_is_not_removed_and_says_how_much(centre: Centre, api: httpx.Client) -> None:
    raise_alarm(centre, "D1")
    reason = {"reason": "test"}
    body = problem(api.delete("/api/categories/fire.smoke", params=reason), 409)
    assert body["used"]["standing_alarms"] == 1
    assert "1 standing alarm" in body["detail"]
    assert "retire" in body["detail"]
    assert problem(api.delete("/api/categories/fire", params=reason), 409)["used"]["active_below"] == 1
    for code in ("flood.level", "device.silent"):
        assert problem(api.delete(f"/api/categories/{code}", params=reason), 409)["used"]["rules"] == 1
        problem(api.post(f"/api/categories/{code}/retire", params=reason), 409)
    problem(api.delete("/api/categories/nothing", params=reason), 404)
    problem(api.delete("/api/categories/lake"), 422)  # without a reason
    assert listed(api)["fire.smoke"]["active"] is True


def test_a_retired_one_stays_for_what_names_it_and_comes_back_by_import(
    centre: Centre, api: httpx.Client
) -> None:
    send(api, "code,name,class,nature\npond,池,C,complaint\n")
    centre.execute(
        "INSERT INTO incidents (number, state, class, category, reason, opened_at)"
        " VALUES ('T-1', 'filed', 'C', 'pond', '无单位', now())"
    )
    done = api.post("/api/categories/pond/retire", params={"reason": "drained"}).json()
    assert (done["active"], done["used"]["open_incidents"]) == (False, 1)
    assert api.post("/api/categories/pond/retire", params={"reason": "again"}).status_code == 200
    assert "pond" in listed(api, active=False)
    assert "pond" not in listed(api, active=True)
    retired = ("category.retired", "category:pond", "drained")
    assert audited(centre).count(retired) == 1
    assert (
        problem(api.delete("/api/categories/pond", params={"reason": "x"}), 409)["used"]["open_incidents"]
        == 1
    )
    send(api, "code,name,class,nature,active\npond,池,C,complaint,1\n")
    assert listed(api)["pond"]["active"] is True


def test_one_that_nothing_ever_named_is_deleted(centre: Centre, api: httpx.Client) -> None:
    send(api, "code,name,class,nature\ntypo,错,C,complaint\n")
    done = api.delete("/api/categories/typo", params={"reason": "typo"})
    assert done.json() == {"code": "typo", "became": "deleted"}
    assert "typo" not in listed(api)
    assert ("category.deleted", "category:typo", "typo") in audited(centre)


def test_components_are_found_by_cell_code_and_words(api: httpx.Client) -> None:
    def codes(**parameters: object) -> list[str]:
        answer = api.get("/api/components", params=parameters)
        assert answer.status_code == 200, answer.text
        return [item["code"][-1] for item in answer.json()["items"]]

    assert codes() == list("012345678")
    assert codes(cell="C1") == list("02468")
    assert codes(q="440399010300000") == list("012345678")
    assert codes(q="4403990103000004") == ["4"]
    assert codes(q="100%7") == ["7"]
    assert codes(q="_") == []
    assert codes(kind="lamp") == codes(cell="C9") == []
    page = api.get("/api/components", params={"limit": 4}).json()
    assert [item["code"][-1] for item in page["items"]] == list("0123")
    assert codes(cursor=page["next"], limit=100) == list("45678")
    assert page["items"][0]["parts"] == {"county": "440399", "major": "01", "minor": "03", "number": "000000"}
    assert api.get("/api/components/4403990103000009").json()["state"] == "removed"
    problem(api.get("/api/components/1"), 404)


# ── folders and releases ─────────────────────────────────────────────────────────────────────────────

DISTRICT = """code = "440399"
name = "小区"
timezone = "Asia/Shanghai"

[[code_forms.component]]
name = "16"
segments = [{ name = "county", length = 6 }, { name = "number", length = 10 }]
"""
CELLS = '[code_forms.cell]\nsegments = [{ name = "grid", length = 15 }]\n'
OWN = "code,parent,name,name_en,class,limit_minutes,clock,nature,limits\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "own"
    place.mkdir()
    (place / "district.toml").write_text(DISTRICT, encoding="utf-8")
    (place / "areas.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null,'
        ' "properties": {"layer": "cell", "code": "C1", "name": "一"}}]}'
    )
    (place / "devices.csv").write_text("code,kind\nD1,smoke\n")
    (place / "categories.csv").write_text(
        f"{OWN}heat,,热力,Heating,B,60,natural,request,\nheat.leak,heat,漏,Leak,A,30,natural,request,handle=20m\n"
    )
    (place / "components.csv").write_text(
        "code,kind,category,cell,lon,lat,state\n0106010103000017,manhole,facility.manhole,C1,114.1,22.5,\n"
        "0106010103000018,manhole,,,,,under_repair\n"
    )
    return place


def take(url: str, folder: Path) -> district.ImportReport:
    return district.import_folder(url, folder, parse_rules=to_rows)


def known(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    with connect(url, application="test") as connection:
        return dict(categories.load_categories(connection)), dict(categories.origins(connection))


def test_a_folder_brings_its_own_and_gives_back_what_it_drops(migrated_url: str, folder: Path) -> None:
    district.import_defaults(migrated_url, parse_rules=to_rows)
    report = take(migrated_url, folder)
    assert (report.components_changed, report.components_removed) == (2, 0)
    found, origins = known(migrated_url)
    assert (str(found["heat.leak"].limits["handle"]), origins["heat.leak"]) == ("20m", "district")
    assert origins["fire.smoke"] == "built-in"
    (folder / "categories.csv").write_text(f"{OWN}fire.smoke,fire,烟,Smoke,B,7,natural,alarm,\n")
    (folder / "components.csv").write_text("code,kind\n0106010103000017,lamp\n")
    report = take(migrated_url, folder)
    said = [line.split(":")[0] for line in report.warnings if line.startswith("category")]
    assert said == ["category heat", "category heat.leak"]
    assert (report.components_changed, report.components_removed) == (1, 1)
    found, origins = known(migrated_url)
    assert (found["heat"].active, found["fire.smoke"].limit_minutes) == (False, 7)
    (folder / "categories.csv").unlink()
    take(migrated_url, folder)
    found, origins = known(migrated_url)
    assert (found["fire.smoke"].limit_minutes, origins["fire.smoke"]) == (30, "built-in")


def test_a_persons_change_outlasts_folder_and_release(migrated_url: str, folder: Path) -> None:
    take(migrated_url, folder)
    with psycopg.connect(migrated_url) as connection:
        for code in ("heat", "fire.smoke"):
            categories.retire(connection, code)
    district.import_defaults(migrated_url, parse_rules=to_rows)
    (folder / "devices.csv").write_text("code,kind\nD1,smoke\nD2,smoke\n")
    report = take(migrated_url, folder)
    assert any(line.startswith("category heat: a person has changed it") for line in report.warnings)
    found, _ = known(migrated_url)
    assert not found["heat"].active
    assert not found["fire.smoke"].active


def test_a_release_renews_what_came_with_the_product(migrated_url: str) -> None:
    district.import_defaults(migrated_url, parse_rules=to_rows)
    before, _ = known(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        connection.execute("UPDATE categories SET name = 'old' WHERE code = 'fire.smoke'")
    district.import_defaults(migrated_url, parse_rules=to_rows)
    assert known(migrated_url)[0] == before


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("components.csv", "code,kind\n123,manhole\n", "components.csv line 2: code = '123'"),
        ("components.csv", "code,kind,cell\n0106010103000017,x,C9\n", "cell = 'C9'"),
        ("components.csv", "code,kind,category\n0106010103000017,x,fier\n", "category = 'fier'"),
        ("components.csv", "code,kind,lon\n0106010103000017,x,114\n", "lat"),
        ("components.csv", "code,kind,state\n0106010103000017,x,gone\n", "state = 'gone'"),
        ("district.toml", f"{DISTRICT}{CELLS}", "code = 'C1'"),
        ("categories.csv", f"{OWN}heat.leak,,漏,Leak,A,30,natural,request,\n", "parent = 'heat'"),
    ],
)
def test_a_wrong_line_of_a_folder_is_named(folder: Path, name: str, text: str, words: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    if name == "categories.csv":
        (folder / "components.csv").unlink()
    with pytest.raises(district.DistrictFilesError) as caught:
        district.check_folder(folder, parse_rules=to_rows)
    assert words in str(caught.value)


def test_an_export_holds_catalogue_components_and_forms(
    migrated_url: str, folder: Path, tmp_path: Path
) -> None:
    take(migrated_url, folder)
    before, _ = known(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        components = connection.execute("SELECT * FROM components ORDER BY code").fetchall()
    from rules.writing import to_toml

    district.export_folder(migrated_url, tmp_path / "out", write_rules=to_toml)
    assert '"code_forms" = ' in (tmp_path / "out" / "district.toml").read_text()
    lines = (tmp_path / "out" / "categories.csv").read_text(encoding="utf-8")
    assert lines == written([before["heat"], before["heat.leak"]])
    report = take(migrated_url, tmp_path / "out")
    assert (report.components_changed, report.components_removed) == (0, 0)
    with psycopg.connect(migrated_url) as connection:
        assert connection.execute("SELECT * FROM components ORDER BY code").fetchall() == components
    assert known(migrated_url)[0] == before
