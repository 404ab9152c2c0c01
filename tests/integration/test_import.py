"""A district's folder into the database and back: all or nothing, repeatable, with history kept."""

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from city import district
from city.devices import UnclaimedDevice
from city.district_source import DistrictFilesError
from city.district_taking import ImportReport
from city.errors import CityError
from city.storage import (
    areas,
    categories,
    device_lists,
    devices,
    responsibility_files,
    rules,
    stations,
    units,
)
from city.storage import district as stored
from city.storage.database import CHANNEL, connect
from rules.definitions import to_rows
from rules.writing import to_toml
from simulators.district import generate
from tests.conftest import _database
from tests.servers.postgres import PostgresServer

Rows = list[tuple[object, ...]]


def import_(url: str, folder: Path) -> ImportReport:
    return district.import_folder(url, folder, parse_rules=to_rows)


def query(url: str, sql: str) -> Rows:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()


def neighbours(url: str) -> Rows:
    return query(
        url,
        "SELECT a.code, b.code FROM area_neighbours n JOIN areas a ON a.id = n.area_id"
        " JOIN areas b ON b.id = n.neighbour_id ORDER BY 1, 2",
    )


def square(column: int, row: int) -> dict[str, object]:
    west, south = 115 + column / 1000, 22 + row / 1000
    east, north = 115 + (column + 1) / 1000, 22 + (row + 1) / 1000
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def feature(layer: str, code: str, parent: str | None, geometry: object) -> dict[str, object]:
    properties = {"layer": layer, "code": code, "name": f"名{code}", "name_en": "", "parent": parent}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


RULE = """
[[rule]]
id = "smoke-high"
type = "threshold"
name = "烟雾"
name_en = "Smoke"
kind = "smoke"
metric = "smoke"
raise_at = {limit}
clear_at = 50
category = "fire.smoke"
level = "red"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A district of three cells in a row, small enough to see through."""
    place = tmp_path / "district"
    (place / "rules").mkdir(parents=True)
    drawn = [feature("street", "S1", None, None)]
    drawn += [feature("cell", f"C{n}", "S1", square(n, 0)) for n in range(3)]
    write_areas(place, drawn)
    (place / "district.toml").write_text(
        'code = "440399"\nname = "小区"\nname_en = "Small"\ntimezone = "Asia/Shanghai"\n', encoding="utf-8"
    )
    (place / "devices.csv").write_text(
        "code,kind,cell,name\nD1,smoke,C0,甲\nD2,smoke,C1,乙\nW1,water,C2,丙\n"
    )
    (place / "stations.csv").write_text("code,station_kind,warning_m,guaranteed_m\nW1,river,3,4\n")
    (place / "units.csv").write_text("code,name,webhook_url\nU1,一队,https://one.invalid/hook\nU2,二队,\n")
    (place / "responsibilities.csv").write_text(
        "category,area_layer,area,unit\nfire,,,U1\nflood,cell,C2,U2\n"
    )
    (place / "rules" / "own.toml").write_text(RULE.format(limit=70), encoding="utf-8")
    return place


def write_areas(folder: Path, features: list[dict[str, object]]) -> None:
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    (folder / "areas.geojson").write_text(text, encoding="utf-8")


def replace(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_demonstration_district_comes_in_whole(either_migrated_url: str, tmp_path: Path) -> None:
    generate(tmp_path / "demo")
    district.import_defaults(either_migrated_url, parse_rules=to_rows)
    report = import_(either_migrated_url, tmp_path / "demo")
    assert not report.unchanged
    assert report.warnings == []
    assert report.devices == report.devices_changed > 5000
    assert report.neighbours > 1000
    with connect(either_migrated_url, application="test") as connection:
        assert len(devices.load_register(connection)) == report.devices
        drawn = areas.load_map(connection)
        assert len(drawn.cells) == 600
        assert all(cell.rings and cell.street and cell.community for cell in drawn.cells)
        assert len(drawn.streets) == 6
        assert len(units.list_units(connection)) == 40
    lonely = (
        "SELECT code FROM areas a WHERE layer = 'cell'"
        " AND NOT EXISTS (SELECT FROM area_neighbours WHERE area_id = a.id)"
    )
    assert query(either_migrated_url, lonely) == []
    again = import_(either_migrated_url, tmp_path / "demo")
    assert again == ImportReport(unchanged=True)


def test_a_small_district_reads_back_as_written(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    with connect(migrated_url, application="test") as connection:
        ground = {area.code: area for area in areas.load_imported(connection)}
        assert {code: area.parent_id for code, area in ground.items()} == {
            "S1": None,
            "C0": ground["S1"].id,
            "C1": ground["S1"].id,
            "C2": ground["S1"].id,
        }
        ids = {code: area.id for code, area in ground.items()}
        assert ground["C0"].geometry == square(0, 0)
        station = devices.load_devices(connection, ["W1"])[0]
        assert (station.warning_m, station.guaranteed_m, station.highest_m) == (3, 4, None)
        entries = responsibility_files.living(connection, datetime.now(UTC))
        assert [(entry.category, entry.area_id) for entry in entries] == [
            ("fire", None),
            ("flood", ids["C2"]),
        ]
        assert "flood.level" in categories.load_categories(connection)
        assert neighbours(migrated_url) == [("C0", "C1"), ("C1", "C0"), ("C1", "C2"), ("C2", "C1")]
        assert [(rule.rule_id, rule.version, rule.source) for rule in rules.active(connection)] == [
            ("smoke-high", 1, "rules/own.toml")
        ]


def test_tags_are_read_written_and_changed(migrated_url: str, folder: Path, tmp_path: Path) -> None:
    replace(
        folder,
        "devices.csv",
        "code,kind,cell,name\nD1,smoke,C0,甲",
        "code,kind,cell,name,tags\nD1,smoke,C0,甲,旧楼; school;旧楼",
    )
    replace(folder, "devices.csv", "D2,smoke,C1,乙\nW1,water,C2,丙", "D2,smoke,C1,乙,\nW1,water,C2,丙,")
    import_(migrated_url, folder)
    tagged = "SELECT code, tags FROM devices ORDER BY code"
    assert query(migrated_url, tagged) == [("D1", ["school", "旧楼"]), ("D2", []), ("W1", [])]
    replace(folder, "devices.csv", "旧楼; school;旧楼", "school")
    assert import_(migrated_url, folder).devices_changed == 1
    assert query(migrated_url, tagged)[0] == ("D1", ["school"])
    replace(folder, "devices.csv", ",school", ",two words")
    with pytest.raises(DistrictFilesError, match="tags"):
        import_(migrated_url, folder)


def test_nothing_is_written_when_anything_is_wrong(migrated_url: str, folder: Path) -> None:
    replace(folder, "devices.csv", "D2,smoke", "D2,smok")
    replace(folder, "responsibilities.csv", "U2", "U9")
    replace(folder, "rules/own.toml", "raise_at = 70", 'raise_at = "hot"')
    with pytest.raises(DistrictFilesError) as caught:
        import_(migrated_url, folder)
    text = str(caught.value)
    assert len(text.splitlines()) == 3
    assert "devices.csv line 3: kind = 'smok'" in text
    assert "responsibilities.csv line 3: unit = 'U9'" in text
    assert "rules/own.toml" in text
    for table in ("areas", "devices", "units", "district", "categories", "device_kinds", "rules"):
        assert query(migrated_url, f"SELECT count(*) FROM {table}") == [(0,)], table


@pytest.mark.parametrize("key", ["kind", "metric", "category"])
def test_a_rule_about_what_does_not_exist_is_a_fault(migrated_url: str, folder: Path, key: str) -> None:
    old = {"kind": 'kind = "smoke"', "metric": 'metric = "smoke"', "category": 'category = "fire.smoke"'}[key]
    replace(folder, "rules/own.toml", old, f'{key} = "nowhere"')
    with pytest.raises(DistrictFilesError, match=f"rules/own.toml rule smoke-high: {key} = 'nowhere'"):
        import_(migrated_url, folder)


def test_one_rule_in_two_files_is_a_fault(migrated_url: str, folder: Path) -> None:
    (folder / "rules" / "two.toml").write_text(RULE.format(limit=80), encoding="utf-8")
    with pytest.raises(DistrictFilesError, match=r"rules/two\.toml: id = 'smoke-high'"):
        import_(migrated_url, folder)


def test_a_folder_that_is_not_there_is_named(migrated_url: str, tmp_path: Path) -> None:
    with pytest.raises(DistrictFilesError, match="nowhere"):
        import_(migrated_url, tmp_path / "nowhere")


def test_what_vanished_is_kept_as_history(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    write_areas(folder, [feature("street", "S1", None, None), feature("cell", "C0", "S1", square(0, 0))])
    (folder / "devices.csv").write_text("code,kind,cell\nD1,smoke,C0\n")
    (folder / "stations.csv").unlink()
    (folder / "units.csv").write_text("code,name\nU1,一队\n")
    (folder / "responsibilities.csv").write_text("category,unit,class\nfire,U1,A\n")
    report = import_(migrated_url, folder)
    assert (report.areas_ended, report.devices_retired, report.stations_removed) == (2, 2, 1)
    assert (report.units_deactivated, report.responsibilities_begun, report.responsibilities_ended) == (
        1,
        1,
        2,
    )
    ended = "SELECT code FROM areas WHERE valid_to > valid_from ORDER BY code"
    assert query(migrated_url, ended) == [("C1",), ("C2",)]
    assert query(migrated_url, "SELECT count(*) FROM area_neighbours") == [(0,)]
    registrations = "SELECT code, registration FROM devices ORDER BY code"
    assert query(migrated_url, registrations) == [("D1", "registered"), ("D2", "retired"), ("W1", "retired")]
    with connect(migrated_url, application="test") as connection:
        assert [load.unit.code for load in units.list_units(connection)] == ["U1"]
        assert [
            entry.incident_class for entry in responsibility_files.living(connection, datetime.now(UTC))
        ] == ["A"]


def test_a_person_who_changed_the_list_is_not_overruled_by_a_file(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    entries = (
        "SELECT r.category, a.code, u.code, r.begun_by FROM responsibilities r JOIN units u ON u.id = r.unit_id"
        " LEFT JOIN areas a ON a.id = r.area_id WHERE r.valid_to IS NULL ORDER BY r.id"
    )
    assert query(migrated_url, entries) == [("fire", None, "U1", "import"), ("flood", "C2", "U2", "import")]
    with psycopg.connect(migrated_url) as connection:
        connection.execute("SELECT set_config('city.actor', 'user:4', true)")
        connection.execute("UPDATE responsibilities SET valid_to = now()")
        connection.execute(
            "INSERT INTO responsibilities (category, unit_id, valid_from)"
            " SELECT 'fire', id, now() FROM units WHERE code = 'U2'"
        )
    (folder / "responsibilities.csv").write_text(
        "category,area_layer,area,unit,co_units,limits\nfire,,,U1,,\nflood,cell,C2,U2,,\nflood,,,U1,U2,handle=2h\n"
    )
    report = import_(migrated_url, folder)
    assert report.responsibilities_kept == ["fire", "flood x cell C2"]
    assert (report.responsibilities_begun, report.responsibilities_ended) == (1, 0)
    assert query(migrated_url, entries) == [("fire", None, "U2", "user:4"), ("flood", None, "U1", "import")]
    assert query(
        migrated_url, "SELECT actor, action, reason FROM responsibility_changes ORDER BY id DESC LIMIT 1"
    ) == [("import", "begun", "responsibilities.csv")]
    replace(
        folder, "responsibilities.csv", "flood,cell,C2,U2,,", "flood,cell,C2,U1,,"
    )  # another word: it is heard
    assert import_(migrated_url, folder).responsibilities_kept == ["fire"]
    assert query(migrated_url, entries)[2] == ("flood", "C2", "U1", "import")


def test_what_comes_back_is_the_same_device_and_a_new_area(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    before = query(migrated_url, "SELECT id, cell_id FROM devices WHERE code = 'D2'")
    original = {name: (folder / name).read_text() for name in ("devices.csv", "areas.geojson")}
    (folder / "devices.csv").write_text("code,kind\nD1,smoke\nW1,water\n")
    write_areas(
        folder, [feature("cell", "C0", None, square(0, 0)), feature("cell", "C2", None, square(2, 0))]
    )
    import_(migrated_url, folder)
    for name, text in original.items():
        (folder / name).write_text(text)
    import_(migrated_url, folder)
    after = query(migrated_url, "SELECT id, cell_id, registration FROM devices WHERE code = 'D2'")
    assert after[0][0] == before[0][0]
    assert after[0][1] != before[0][1]
    assert after[0][2] == "registered"
    assert query(migrated_url, "SELECT count(*), count(valid_to) FROM areas WHERE code = 'C1'") == [(2, 1)]


def test_only_what_differs_is_changed(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    replace(folder, "devices.csv", "D2,smoke,C1,乙", "D2,smoke,C1,丁")
    report = import_(migrated_url, folder)
    assert report == ImportReport(unchanged=False, neighbours=2, devices=3, devices_changed=1)


def test_what_was_heard_before_is_taken_in_with_its_id(migrated_url: str, folder: Path) -> None:
    with connect(migrated_url, application="test") as connection:
        district.import_defaults(migrated_url, parse_rules=to_rows)
        heard = devices.register_unclaimed(
            connection,
            [
                UnclaimedDevice(code=code, kind="smoke", cell_code=cell)
                for code, cell in (("D1", "C0"), ("X", "C9"))
            ],
        )
        devices.claim(connection, "X", actor="li")
    import_(migrated_url, folder)
    with connect(migrated_url, application="test") as connection:
        rows = {row.code: row for row in devices.load_devices(connection, ["D1", "X"])}
        assert rows["D1"].id == heard[0].id
        assert rows["D1"].cell_id == heard[0].cell_id
        assert rows["D1"].registration == "registered"
        assert rows["X"].registration == "registered", "claimed by a person, though it stands in no file"
        assert "C9" in {area.code for area in areas.load_areas(connection)}
    assert query(migrated_url, "SELECT origin, geometry IS NOT NULL FROM areas WHERE code = 'C0'") == [
        ("import", True)
    ]


def test_what_people_did_to_a_device_stays(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    with psycopg.connect(migrated_url) as connection:
        connection.execute("UPDATE devices SET service_state = 'out_of_service' WHERE code = 'D1'")
        connection.execute("UPDATE district SET response_level = 'II'")
    replace(folder, "devices.csv", "甲", "戊")
    import_(migrated_url, folder)
    assert query(migrated_url, "SELECT name, service_state FROM devices WHERE code = 'D1'") == [
        ("戊", "out_of_service")
    ]
    assert query(migrated_url, "SELECT response_level FROM district") == [("II",)]


def test_a_changed_rule_is_a_new_version_and_the_built_in_ones_come_back(
    migrated_url: str, folder: Path
) -> None:
    def active() -> Rows:
        return query(migrated_url, "SELECT id, version FROM rules WHERE active ORDER BY id")

    import_(migrated_url, folder)
    replace(folder, "rules/own.toml", "70", "75")
    assert import_(migrated_url, folder).rules_changed == 1
    assert active() == [("smoke-high", 2)]
    replace(folder, "rules/own.toml", "smoke-high", "smoke-own")
    report = import_(migrated_url, folder)
    assert (report.rules_changed, report.rules_ended) == (1, 1)
    assert active() == [("smoke-own", 1)]
    replace(folder, "rules/own.toml", "smoke-own", "smoke-high")
    import_(migrated_url, folder)
    assert active() == [("smoke-high", 2)], "an unchanged definition keeps its version"
    (folder / "rules" / "own.toml").unlink()
    import_(migrated_url, folder)
    assert ("smoke-own", 1) not in active()
    assert len(active()) > 3


def test_defaults_leave_alone_what_a_district_says(migrated_url: str, folder: Path) -> None:
    (folder / "categories.csv").write_text(
        "code,parent,name,name_en,class,limit_minutes,clock\nfire.smoke,fire,烟,Smoke,B,7,natural\n"
    )
    import_(migrated_url, folder)
    district.import_defaults(migrated_url, parse_rules=to_rows)
    with connect(migrated_url, application="test") as connection:
        assert categories.load_categories(connection)["fire.smoke"].limit_minutes == 7
        assert [rule.rule_id for rule in rules.active(connection)] == ["smoke-high"]


def test_defaults_alone_are_enough_to_decide(migrated_url: str) -> None:
    district.import_defaults(migrated_url, parse_rules=to_rows)
    district.import_defaults(migrated_url, parse_rules=to_rows)
    with connect(migrated_url, application="test") as connection:
        assert {"smoke", "camera", "water"} <= set(devices.load_kinds(connection))
        assert "fire.smoke" in categories.load_categories(connection)
        in_force = rules.active(connection)
        assert "smoke-high" in {rule.rule_id for rule in in_force}
        assert {rule.version for rule in in_force} == {1}


def test_an_import_leaves_the_secret_of_a_unit_alone(migrated_url: str, folder: Path) -> None:
    secrets = "SELECT code, webhook_secret FROM units ORDER BY code"
    import_(migrated_url, folder)
    assert [row[1] for row in query(migrated_url, secrets)] == ["", ""]  # made when one is first signed with
    with psycopg.connect(migrated_url) as connection:
        connection.execute("UPDATE units SET webhook_secret = '~1.sealed' WHERE webhook_url <> ''")
    first = query(migrated_url, secrets)
    assert [row[1] for row in first] == ["~1.sealed", ""]
    replace(folder, "units.csv", "一队", "三队")
    import_(migrated_url, folder)
    assert query(migrated_url, secrets) == first


def contents(url: str) -> dict[str, object]:
    with connect(url, application="test") as connection:
        listed = device_lists.listed_devices(connection)
        return {
            "info": stored.load_info(connection),
            "devices": listed,
            "stations": stations.listed_stations(connection),
            "series": stations.listed_series(connection),
            "areas": sorted(
                (area.layer, area.code, area.name, area.name_en, json.dumps(area.geometry))
                for area in areas.load_imported(connection)
            ),
            "parents": query(
                url,
                "SELECT a.layer, a.code, p.layer, p.code FROM areas a LEFT JOIN areas p ON p.id = a.parent_id"
                " WHERE a.valid_to IS NULL ORDER BY 1, 2",
            ),
            "neighbours": neighbours(url),
            "units": [dataclasses.replace(unit, id=0) for unit in units.load_units(connection).values()],
            "kinds": devices.load_kinds(connection),
            "categories": categories.load_categories(connection),
            "rules": [(one.rule_id, one.definition, one.source) for one in rules.active(connection)],
            "responsibilities": query(
                url,
                "SELECT r.category, a.code, u.code, r.class, r.limit_minutes, r.clock FROM responsibilities r"
                " JOIN units u ON u.id = r.unit_id LEFT JOIN areas a ON a.id = r.area_id ORDER BY 1, 2",
            ),
        }


def demo(folder: Path) -> Path:
    generate(folder / "demo", cells=60, communities=4, streets=2, smoke=200, cameras=10, stations=10)
    return folder / "demo"


@pytest.fixture
def another_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A second migrated database."""
    with _database(postgres_server, postgres_template) as url:
        yield url


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(lambda folder: folder, id="small"),
        pytest.param(demo, id="demonstration", marks=pytest.mark.slow),
    ],
)
def test_an_export_imports_as_the_same_district(
    migrated_url: str,
    another_url: str,
    folder: Path,
    tmp_path: Path,
    chosen: Callable[[Path], Path],
) -> None:
    (folder / "kinds.toml").write_text(
        '[metric.tilt]\nunit = "°"\nname = "倾 \\"角\\""\n\n[kind.pole]\nname = "杆"\nmain_metric = "tilt"\n',
        encoding="utf-8",
    )
    import_(migrated_url, chosen(folder))
    names = district.export_folder(migrated_url, tmp_path / "out", write_rules=to_toml)
    assert "district.toml" in names
    import_(another_url, tmp_path / "out")
    assert contents(another_url) == contents(migrated_url)
    again = import_(migrated_url, tmp_path / "out")
    changed = dataclasses.replace(again, devices=0, neighbours=0)
    assert changed == ImportReport(unchanged=False), "the export says nothing new"


def test_an_export_overwrites_nothing_and_needs_a_district(
    migrated_url: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CityError, match="city import"):
        district.export_folder(migrated_url, tmp_path / "out", write_rules=to_toml)
    import_(migrated_url, folder)
    with pytest.raises(CityError, match="holds files already"):
        district.export_folder(migrated_url, folder, write_rules=to_toml)


def test_two_imports_at_once_follow_each_other(migrated_url: str, folder: Path) -> None:
    reports: list[ImportReport] = []
    workers = [
        threading.Thread(target=lambda: reports.append(import_(migrated_url, folder))) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(report.unchanged for report in reports) == [False, True, True]


def test_whoever_listens_is_woken_and_sees_another_version(migrated_url: str, folder: Path) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        before = devices.register_version(listener)
        import_(migrated_url, folder)
        assert [note.channel for note in listener.notifies(timeout=10, stop_after=1)] == [CHANNEL]
        after = devices.register_version(listener)
        assert after > before
        replace(folder, "responsibilities.csv", "U1", "U2")
        import_(migrated_url, folder)
        assert devices.register_version(listener) > after, "dispatch must learn of a new list"


def test_a_folder_is_checked_without_a_database(folder: Path) -> None:
    (folder / "units.csv").unlink()
    (folder / "responsibilities.csv").unlink()
    assert len(district.check_folder(folder, parse_rules=to_rows)) == 2
    replace(folder, "devices.csv", "C0", "C7")
    with pytest.raises(DistrictFilesError, match="cell = 'C7'"):
        district.check_folder(folder, parse_rules=to_rows)
