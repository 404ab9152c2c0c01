"""Stations in full from a folder into the tables and back, and as the forecast reads them."""

import json
from pathlib import Path

import psycopg
import pytest

from city import district
from city.district_taking import ImportReport
from city.stations import Levels
from city.storage import migrate, stations
from city.storage.database import connect
from rules.definitions import to_rows
from rules.writing import to_toml

STATIONS = (
    "code,station_kind,river,zero_m,warning_m,guaranteed_m,highest_m,bank_m,design_m,upstream,travel_min\n"
    "W1,river,青溪,0.2,3,4,5,5.5,3.5,,\n"
    "W2,river,青溪,,3,,,,,,\n"
    "W3,river,青溪,,3,4,,,,W2;W1,30;\n"
    "W4,underpass,,,0.15,,,,,,\n"
)
SERIES = "station,role,device,metric,travel_min\nW3,rain,R1,rain,\nW3,level_upstream,W4,level,15\nW3,other,W3,level,\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "district"
    place.mkdir()
    (place / "district.toml").write_text('code = "1"\nname = "区"\ntimezone = "Asia/Shanghai"\n', "utf-8")
    cell = {"layer": "cell", "code": "C1", "name": "格"}
    area = {"type": "Feature", "properties": cell, "geometry": None}
    (place / "areas.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [area]}))
    devices = "".join(f"W{n},water,C1,水{n}\n" for n in range(1, 5)) + "R1,rain,C1,雨\n"
    (place / "devices.csv").write_text("code,kind,cell,name\n" + devices, "utf-8")
    (place / "stations.csv").write_text(STATIONS, "utf-8")
    (place / "station_series.csv").write_text(SERIES, "utf-8")
    return place


def import_(url: str, folder: Path) -> ImportReport:
    return district.import_folder(url, folder, parse_rules=to_rows)


def test_stations_come_in_and_go_out_in_full(migrated_url: str, folder: Path, tmp_path: Path) -> None:
    report = import_(migrated_url, folder)
    assert (report.stations_changed, report.station_sources_changed) == (4, 5)
    district.export_folder(migrated_url, tmp_path / "out", write_rules=to_toml)
    again = import_(migrated_url, tmp_path / "out")
    assert (again.stations_changed, again.station_sources_changed, again.stations_removed) == (0, 0, 0)
    with connect(migrated_url, application="test") as connection:
        listed = {station.code: station for station in stations.listed_stations(connection)}
    assert listed["W1"].levels == Levels(
        zero_m=0.2, warning_m=3, guaranteed_m=4, highest_m=5, bank_m=5.5, design_m=3.5
    )
    assert listed["W3"].upstreams == (("W2", 30), ("W1", None)), "the first written stays first"
    assert listed["W4"].levels.zero_m == 0


def test_the_forecast_knows_where_the_water_comes_from(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    with connect(migrated_url, application="test") as connection:
        (station,) = stations.load(connection, "W3")
        assert [one.code for one in stations.load(connection)] == ["W1", "W2", "W3", "W4"]
    found = [(s.role, s.name, s.metric, s.travel_minutes, s.label) for s in station.sources]
    assert found == [
        ("level_upstream", "W1", "level", None, "水1"),
        ("level_upstream", "W2", "level", 30, "水2"),
        ("level_upstream", "W4", "level", 15, "水4"),
        ("rain", "R1", "rain", None, "雨"),
    ], "and it is no source of itself"
    assert (station.metric, station.measures, station.levels.warning_m) == ("level", "level", 3)


def test_what_vanished_from_the_files_is_taken_off(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    text = STATIONS.replace("W2;W1,30;", "W2,45").replace("W4,underpass,,,0.15,,,,,,\n", "")
    (folder / "stations.csv").write_text(text, "utf-8")
    (folder / "station_series.csv").unlink()
    report = import_(migrated_url, folder)
    assert (report.stations_changed, report.stations_removed) == (1, 1)
    assert report.station_sources_changed == 5, "a travel time, a tributary and three series"
    with connect(migrated_url, application="test") as connection:
        (station,) = stations.load(connection, "W3")
    assert [(s.name, s.travel_minutes) for s in station.sources] == [("W2", 45)]


def test_relations_of_before_are_taken_over(database_url: str) -> None:
    """A database of the version before: its one upstream station becomes the first of several."""
    whole = migrate.migrations_folder()
    before = [path for path in sorted(whole.glob("[0-9]*.sql")) if path.name < "0010"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for path in before:
            connection.execute(path.read_bytes())
        connection.execute(
            """
            INSERT INTO device_kinds (code, name) VALUES ('water', '水');
            INSERT INTO devices (code, kind) VALUES ('A', 'water'), ('B', 'water'), ('C', 'water');
            INSERT INTO stations (device_id, station_kind, upstream, travel_minutes)
                SELECT id, 'river', CASE code WHEN 'B' THEN 'A' WHEN 'C' THEN 'gone' END, 20 FROM devices;
            """
        )
        connection.execute((whole / "0010_stations_forecast.sql").read_bytes())
        found = connection.execute(
            """
            SELECT s.code, u.code, travel_minutes FROM station_upstreams
            JOIN devices s ON s.id = station_id JOIN devices u ON u.id = upstream_id
            """
        ).fetchall()
    assert found == [("B", "A", 20)]
