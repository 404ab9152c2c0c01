"""What a district's own files may look like, and that every fault is named so that a person can mend it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.areas import rings_of
from city.district_checks import check
from city.district_files import DistrictFiles, parse, parse_categories, parse_kinds
from city.district_source import DistrictFilesError, Faults

KINDS, METRICS, CATEGORIES = {"smoke", "water", "gateway"}, {"smoke", "level"}, {"fire", "fire.smoke"}

SHARDS = [
    b"",
    b"\x00",
    b"\xff",
    b",",
    b'"',
    b"\n",
    b"\r",
    b"[",
    b"{",
    b"]",
    b"}",
    b"-1",
    b"null",
    b"1e400",
    b"NaN",
    b"=",
]
TOML = 'code = "440399"\nname = "示范区"\nname_en = "Demo"\ntimezone = "Asia/Shanghai"\n'


def feature(layer: str, code: str, parent: str | None = None, **changes: object) -> dict[str, object]:
    geometry = {"type": "Polygon", "coordinates": [[[115, 22], [115.1, 22], [115.1, 22.1], [115, 22]]]}
    properties = {"layer": layer, "code": code, "name": f"名{code}", "name_en": code, "parent": parent}
    return {"type": "Feature", "properties": properties | changes, "geometry": geometry}


def collection(*features: object) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)


AREAS = collection(feature("district", "D"), feature("street", "S1", "D"), feature("cell", "C1", "S1"))


def folder(**changes: str | bytes | None) -> dict[str, bytes]:
    files: dict[str, str | bytes | None] = {
        "district_toml": TOML,
        "areas_geojson": AREAS,
        "devices_csv": "code,kind,cell,gateway\nG1,gateway,C1,\nS1,smoke,C1,G1\nW1,water,C1,\nW2,water,,\n",
        "stations_csv": "code,station_kind,warning_m,guaranteed_m,highest_m,upstream,travel_min\n"
        "W1,river,3,4,5,,\nW2,culvert,1.5,,,W1,20\n",
        "units_csv": "code,name,parent\nU1,一队,\nU2,二队,U1\n",
        "responsibilities_csv": "category,area_layer,area,unit\nfire,,,U1\nfire.smoke,street,S1,U2\n",
    }
    files |= changes
    found = {}
    for key, content in files.items():
        if content is not None:
            name = ".".join(key.rsplit("_", 1))
            found[name] = content if isinstance(content, bytes) else content.encode()
    return found


def read(contents: dict[str, bytes]) -> tuple[DistrictFiles, list[str]]:
    faults = Faults()
    files = parse(contents, faults)
    warnings = check(files, faults, known_kinds=KINDS, known_metrics=METRICS, known_categories=CATEGORIES)
    faults.raise_if_any()
    return files, warnings


def fault_lines(**changes: str | bytes | None) -> list[str]:
    with pytest.raises(DistrictFilesError) as caught:
        read(folder(**changes))
    return str(caught.value).splitlines()


def test_a_sound_folder_is_read_without_a_word() -> None:
    files, warnings = read(folder())
    assert warnings == []
    assert files.info.name == "示范区"
    assert [device.code for device in files.devices] == ["G1", "S1", "W1", "W2"]
    assert files.devices[1].gateway == "G1"
    assert files.devices[3].cell is None
    assert files.stations[1].upstreams == (("W1", 20),)
    assert files.stations[1].levels.guaranteed_m is None
    assert files.units[1].parent == "U1"
    assert files.responsibilities[0].area is None
    assert files.areas[2].parent == "S1"


def test_a_station_in_full() -> None:
    header = "code,station_kind,zero_m,warning_m,guaranteed_m,highest_m,bank_m,design_m,upstream,travel_min\n"
    lines = "W1,river,0.2,3,4,5,4.5,3.5,,\nW2,road,,0.2,,,,,,\nG1,river,,,,,,,W1 ; W2,20;\nS1,river,,,,,,,W1;W2,\n"
    series = "station,role,device,metric,travel_min\nW1,rain,G1,level,\nW1,tide,S1,level,30\n"
    files, warnings = read(folder(stations_csv=header + lines, station_series_csv=series))
    assert warnings == []
    river, road, joined, unknown = files.stations
    assert river.levels.named() == {
        "warning": 3.0,
        "guaranteed": 4.0,
        "highest": 5.0,
        "bank": 4.5,
        "design": 3.5,
    }
    assert (river.levels.zero_m, road.levels.zero_m, joined.levels.zero_m) == (0.2, 0.0, None)
    assert joined.upstreams == (("W1", 20), ("W2", None))
    assert unknown.upstreams == (("W1", None), ("W2", None))
    assert [(line.role, line.travel_minutes) for line in files.station_series] == [
        ("rain", None),
        ("tide", 30),
    ]


def test_a_kind_of_station_nobody_knows_is_taken_and_said() -> None:
    _, warnings = read(folder(stations_csv="code,station_kind\nW1,undepass\n"))
    assert len([line for line in warnings if "'undepass'" in line and "underpass" in line]) == 1


def test_only_three_files_are_needed_and_the_lack_of_people_is_said() -> None:
    _, warnings = read(folder(stations_csv=None, units_csv=None, responsibilities_csv=None))
    assert len([line for line in warnings if "unassigned lane" in line]) == 2
    missing = fault_lines(district_toml=None, areas_geojson=None, devices_csv=None)
    assert {line.split(":")[0] for line in missing} >= {"district.toml", "areas.geojson", "devices.csv"}


def test_files_as_spreadsheets_write_them() -> None:
    files, _ = read(
        folder(
            devices_csv='\ufeffcode, kind ,name\r\nS1,smoke,"一号, 大厅"\r\n\r\n , ,\r\n S2 ,smoke,\r\n',
            stations_csv=None,
        )
    )
    assert [(device.code, device.name) for device in files.devices] == [("S1", "一号, 大厅"), ("S2", "")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"district_toml": "code = "}, ["district.toml", "is not TOML"]),
        ({"district_toml": 'code = "1"\nname = "x"\n'}, ["district.toml", "timezone is missing"]),
        (
            {"district_toml": TOML.replace("Asia/Shanghai", "Shanghai")},
            ["timezone = 'Shanghai'", "Asia/Shanghai"],
        ),
        ({"district_toml": TOML + "zone = 1\n"}, ["unknown key 'zone'"]),
        (
            {"district_toml": 'code = 440399\nname = "x"\ntimezone = "UTC"\n'},
            ["code = 440399", "quotation marks"],
        ),
        (
            {"devices_csv": "code,kind\n设备,smoke\n".encode("gbk")},
            ["devices.csv line 2", "is not UTF-8", "save"],
        ),
        ({"devices_csv": "code,kind\nS\x00,smoke\n"}, ["devices.csv line 2", "NUL"]),
        ({"devices_csv": "code\nS1\n"}, ["devices.csv line 1", "column 'kind' is missing"]),
        (
            {"devices_csv": "code,kind,colour\nS1,smoke,red\n"},
            ["line 1", "unknown column 'colour'", "known are"],
        ),
        ({"devices_csv": "code,kind,kind\nS1,smoke,smoke\n"}, ["line 1", "'kind' stands there twice"]),
        ({"devices_csv": "code,kind\nS1,smoke,extra\n"}, ["devices.csv line 2", "3 cells for 2 columns"]),
        ({"devices_csv": "code,kind\nS1,smok\n"}, ["devices.csv line 2", "kind = 'smok'", "'smoke'"]),
        ({"devices_csv": "code,kind\nS 1,smoke\n"}, ["line 2", "code = 'S 1'", "topic"]),
        ({"devices_csv": "code,kind\nS1,smoke\nS1,smoke\n"}, ["line 3", "code = 'S1'", "earlier line"]),
        ({"devices_csv": "code,kind\n,smoke\n"}, ["line 2", "code = ''", "fill it in"]),
        ({"devices_csv": "code,kind,cell\nS1,smoke,C9\n"}, ["line 2", "cell = 'C9'"]),
        ({"devices_csv": "code,kind,gateway\nS1,smoke,G9\n"}, ["line 2", "gateway = 'G9'"]),
        ({"devices_csv": "code,kind,gateway\nS1,smoke,S1\n"}, ["line 2", "gateway = 'S1'"]),
        ({"devices_csv": "code,kind,lon,lat\nS1,smoke,115,\n"}, ["line 2", "lat = ''", "both"]),
        ({"devices_csv": "code,kind,lon,lat\nS1,smoke,22,115\n"}, ["line 2", "lat = '115'", "-90 to 90"]),
        ({"devices_csv": "code,kind,lon,lat\nS1,smoke,x,1\n"}, ["line 2", "lon = 'x'", "number"]),
        ({"devices_csv": "code,kind,lon,lat\nS1,smoke,nan,1\n"}, ["line 2", "lon = 'nan'"]),
        ({"devices_csv": "code,kind,lon,lat\nS1,smoke,1e999,1\n"}, ["line 2", "lon = '1e999'"]),
        ({"devices_csv": "code,kind,lon,lat\nS1,smoke,1_0,1\n"}, ["line 2", "lon = '1_0'", "number"]),
        ({"devices_csv": "code,kind,expected_interval_s\nS1,smoke,--5\n"}, ["expected_interval_s = '--5'"]),
        (
            {"devices_csv": "code,kind,expected_interval_s\nS1,smoke,0\n"},
            ["expected_interval_s = '0'", "from 1"],
        ),
        ({"devices_csv": "code,kind,expected_interval_s\nS1,smoke,1.5\n"}, ["expected_interval_s = '1.5'"]),
        (
            {"stations_csv": "code,station_kind\nX,river\n"},
            ["stations.csv line 2", "code = 'X'", "devices.csv"],
        ),
        (
            {"stations_csv": "code,station_kind,warning_m,guaranteed_m\nW1,river,4,4\n"},
            ["stations.csv line 2", "warning_m = '4'", "below the guaranteed one, 4.0"],
        ),
        (
            {"stations_csv": "code,station_kind,guaranteed_m,highest_m\nW1,river,4,3\n"},
            ["guaranteed_m = '4'", "at most the highest one"],
        ),
        ({"stations_csv": "code,station_kind,upstream\nW1,river,W9\n"}, ["line 2", "upstream = 'W9'"]),
        (
            {"stations_csv": "code,station_kind,upstream\nW1,river,W2\nW2,river,W1\n"},
            ["stations.csv line 2", "circle"],
        ),
        (
            {"stations_csv": "code,station_kind,upstream,travel_min\nW1,river,,\nW2,river,W1;W3,5;6\n"},
            ["stations.csv line 3", "upstream = 'W3'", "station of this file"],
        ),
        (
            {"stations_csv": "code,station_kind,upstream,travel_min\nW1,river,W2,5\nW2,river,W1,5\n"},
            ["stations.csv line 2", "circle"],
        ),
        (
            {"stations_csv": "code,station_kind,upstream\nW1,river,\nW2,river,W1;W1\n"},
            ["stations.csv line 3", "upstream = 'W1;W1'", "once"],
        ),
        (
            {"stations_csv": "code,station_kind,upstream,travel_min\nW1,river,,\nW2,river,W1,-5\n"},
            ["stations.csv line 3", "travel_min = '-5'", "from 0"],
        ),
        (
            {"stations_csv": "code,station_kind,upstream,travel_min\nW1,river,,\nW2,river,W1,5;6\n"},
            ["travel_min = '5;6'", "1 numbers"],
        ),
        (
            {"stations_csv": "code,station_kind,travel_min\nW1,river,5\n"},
            ["travel_min = '5'", "name the station"],
        ),
        (
            {"stations_csv": "code,station_kind,zero_m,warning_m\nW1,river,3,3\n"},
            ["zero_m = '3'", "below the warning level, 3.0"],
        ),
        (
            {"stations_csv": "code,station_kind,warning_m,bank_m\nW1,river,3,2.5\n"},
            ["warning_m = '3'", "below the bank, 2.5"],
        ),
        (
            {"stations_csv": "code,station_kind,guaranteed_m,bank_m\nW1,river,3,2.5\n"},
            ["guaranteed_m = '3'", "at most the bank, 2.5"],
        ),
        (
            {"stations_csv": "code,station_kind,warning_m,highest_m\nW1,river,3,2.5\n"},
            ["warning_m = '3'", "at most the highest one, 2.5"],
        ),
        (
            {"stations_csv": "code,station_kind,warning_m,design_m\nW1,river,3,2.5\n"},
            ["warning_m = '3'", "design level, 2.5"],
        ),
        (
            {"stations_csv": "code,station_kind,zero_m\nW1,underpass,0.2\n"},
            ["zero_m = '0.2'", "0 is dry ground"],
        ),
        (
            {"stations_csv": "code,station_kind,warning_m\nW1,road,-0.1\n"},
            ["zero_m", "below the warning level, -0.1"],
        ),
        (
            {"stations_csv": "code,station_kind,warning_m\nW1,landslide,3\n"},
            ["warning_m = '3'", "no water level"],
        ),
        (
            {"station_series_csv": "station,role,device,metric\nW3,rain,G1,level\n"},
            ["station_series.csv line 2", "station = 'W3'", "stations.csv"],
        ),
        (
            {"station_series_csv": "station,role,device,metric\nW1,rain,G7,level\n"},
            ["device = 'G7'", "devices.csv"],
        ),
        (
            {"station_series_csv": "station,role,device,metric\nW1,rain,G1,rainn\n"},
            ["station_series.csv line 2", "metric = 'rainn'"],
        ),
        (
            {"station_series_csv": "station,role,device,metric\nW1,snow,G1,level\n"},
            ["role = 'snow'", "rain, release, tide"],
        ),
        (
            {"station_series_csv": "station,role,device,metric,travel_min\nW1,rain,G1,level,-1\n"},
            ["travel_min = '-1'", "from 0"],
        ),
        (
            {"station_series_csv": "station,role,device,metric\nW1,rain,G1,level\nW1,tide,G1,level\n"},
            ["station_series.csv line 3", "line 2"],
        ),
        ({"units_csv": "code,name,email\nU1,x,duty\nU2,y,\n"}, ["units.csv line 2", "email = 'duty'"]),
        (
            {"units_csv": "code,name,webhook_url\nU1,x,ftp://a\nU2,y,\n"},
            ["webhook_url = 'ftp://a'", "https://"],
        ),
        ({"units_csv": "code,name,parent\nU1,x,U3\nU2,y,\n"}, ["units.csv U1", "parent = 'U3'"]),
        (
            {"responsibilities_csv": "category,unit\nfire.smok,U1\n"},
            ["responsibilities.csv line 2", "category = 'fire.smok'", "'fire.smoke'"],
        ),
        ({"responsibilities_csv": "category,unit\nfire,U9\n"}, ["unit = 'U9'"]),
        (
            {"responsibilities_csv": "category,area_layer,area,unit\nfire,street,S9,U1\n"},
            ["area = 'S9'", "no such street"],
        ),
        ({"responsibilities_csv": "category,area_layer,area,unit\nfire,street,,U1\n"}, ["area = ''", "both"]),
        (
            {"responsibilities_csv": "category,unit\nfire,U1\nfire,U2\n"},
            ["responsibilities.csv line 3", "one lead unit", "line 2"],
        ),
        ({"responsibilities_csv": "category,unit,class\nfire,U1,D\n"}, ["class = 'D'", "A, B, C"]),
        ({"responsibilities_csv": "category,unit,co_units\nfire,U1,U2;U9\n"}, ["co_units = 'U9'"]),
        (
            {
                "responsibilities_csv": "category,area_layer,area,unit,co_units\n"
                "fire,street,S1,U1,U2\nfire,cell,C1,U2,U1\n"
            },
            ["responsibilities.csv line 2", "co_units = 'U2'", "U1 -> U2 -> U1"],
        ),
        ({"responsibilities_csv": "category,unit,limit_minutes\nfire,U1,0\n"}, ["limit_minutes = '0'"]),
        ({"areas_geojson": "{"}, ["areas.geojson", "is not JSON"]),
        ({"areas_geojson": "[]"}, ["areas.geojson", "FeatureCollection"]),
        ({"areas_geojson": collection(7)}, ["feature 1", "no properties"]),
        ({"areas_geojson": collection(feature("cell", "C1", name=""))}, ["feature 1", "name is missing"]),
        ({"areas_geojson": collection(feature("cell", "C/1"))}, ["feature 1", "code = 'C/1'"]),
        ({"areas_geojson": collection(feature("cell", "C1", "S7"))}, ["feature 1 (C1)", "parent = 'S7'"]),
        (
            {"areas_geojson": collection(feature("cell", "C1"), feature("cell", "C1"))},
            ["feature 2 (C1)", "code = 'C1'", "another cell"],
        ),
        (
            {"areas_geojson": collection(feature("street", "A", "B"), feature("street", "B", "A"))},
            ["feature 1 (A)", "within itself"],
        ),
    ],
)
def test_each_fault_names_file_place_value_and_remedy(
    changes: dict[str, str | bytes | None], words: list[str]
) -> None:
    lines = fault_lines(**changes)
    assert any(all(word in line for word in words) for line in lines), lines
    assert all("; " in line for line in lines), "every line ends with what to do"


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        ({"type": "Point", "coordinates": [1, 2]}, "geometry = 'Point'"),
        ({"type": "Polygon"}, "no rings"),
        ({"type": "Polygon", "coordinates": []}, "no rings"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}, "fewer than four"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, "not closed"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], 5, [0, 0]]]}, "5 is no position"),
        ({"type": "Polygon", "coordinates": [[[506000, 2492000]] * 4]}, "WGS84"),
        ({"type": "Polygon", "coordinates": [[["0", 0], [1, 0], [1, 1], ["0", 0]]]}, "not in degrees"),
        ({"type": "MultiPolygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}, "fewer than four"),
        ("x", "draw a Polygon"),
    ],
)
def test_outlines_that_cannot_be_drawn(geometry: object, words: str) -> None:
    broken = feature("cell", "C1") | {"geometry": geometry}
    lines = fault_lines(areas_geojson=collection(broken))
    assert any(words in line and "areas.geojson feature 1 (C1)" in line for line in lines), lines


def test_an_area_may_be_without_an_outline() -> None:
    files, _ = read(
        folder(areas_geojson=collection(feature("cell", "C1") | {"geometry": None}, feature("street", "S1")))
    )
    assert files.areas[0].geometry is None


def test_codes_that_a_drawing_program_made_into_numbers() -> None:
    drawn = AREAS.replace('"C1"', "440399001")
    files, _ = read(
        folder(areas_geojson=drawn, devices_csv="code,kind,cell\nS1,smoke,440399001\n", stations_csv=None)
    )
    assert files.areas[2].code == "440399001"


def test_all_faults_come_at_once_but_no_more_than_a_person_reads() -> None:
    lines = fault_lines(
        devices_csv="code,kind\n" + "".join(f"S{n},smok\n" for n in range(80)), stations_csv=None
    )
    assert len(lines) == 51
    assert lines[-1] == "… and 30 more faults"


def test_an_outline_that_crosses_itself_and_a_device_outside_its_cell_are_warnings() -> None:
    bow = [[115, 22], [115.1, 22.1], [115.1, 22], [115, 22.1], [115, 22]]
    drawn = collection(
        feature("street", "S1"),
        feature("cell", "C1"),
        feature("cell", "C2") | {"geometry": {"type": "Polygon", "coordinates": [bow]}},
    )
    listed = "code,kind,cell,lon,lat\nS1,smoke,C1,115.09,22.01\nS2,smoke,C1,116,23\n"
    _, warnings = read(folder(areas_geojson=drawn, devices_csv=listed, stations_csv=None))
    assert len(warnings) == 2
    assert "crosses itself" in warnings[0]
    assert "devices.csv line 3" in warnings[1]


def test_a_district_that_is_not_drawn_may_be_a_parent() -> None:
    files, _ = read(
        folder(areas_geojson=collection(feature("street", "S1", "440399"), feature("cell", "C1", "S1")))
    )
    assert files.areas[0].parent == "440399"


def test_kinds_and_metrics() -> None:
    faults = Faults()
    text = (
        '[metric.tilt]\nunit = "°"\nname = "倾角"\n'
        '[kind.pole]\nname = "杆"\nmain_metric = "tilt"\nexpected_interval_s = 60\n'
    )
    metrics, kinds = parse_kinds("kinds.toml", text, faults)
    assert len(faults) == 0
    assert (metrics[0].code, metrics[0].unit) == ("tilt", "°")
    assert (kinds[0].main_metric, kinds[0].expected_interval_s) == ("tilt", 60)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[kind.pole]\n", "name is missing"),
        ('[kind.pole]\nname = "x"\nmain_metric = "tilt"\n', "main_metric = 'tilt'"),
        ('[kind.pole]\nname = "x"\nexpected_interval_s = -1\n', "expected_interval_s = -1"),
        ('[kind.pole]\nname = "x"\nexpected_interval_s = true\n', "expected_interval_s = True"),
        ('[kind."a/b"]\nname = "x"\n', "kind 'a/b'"),
        ('[kinds.pole]\nname = "x"\n', "unknown table 'kinds'"),
        ("kind = 1\n", "kind = 1"),
        ("[kind]\npole = 1\n", "is no table"),
    ],
)
def test_faults_of_kinds(text: str, words: str) -> None:
    lines = fault_lines(kinds_toml=text)
    assert any(words in line and line.startswith("kinds.toml") for line in lines), lines


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Fire,,火,Fire,A,30,natural", "code = 'Fire'"),
        ("gas,,气,Gas,S,30,natural", "class = 'S'"),
        ("gas,,气,Gas,A,,natural", "limit_minutes = ''"),
        ("gas,,气,Gas,A,30,office", "clock = 'office'"),
        ("gas.leak,gsa,气,Gas,A,30,natural", "parent = 'gsa'"),
        ("gas,,,Gas,A,30,natural", "name = ''"),
    ],
)
def test_faults_of_categories(line: str, words: str) -> None:
    lines = fault_lines(categories_csv=f"code,parent,name,name_en,class,limit_minutes,clock\n{line}\n")
    assert any(words in found and found.startswith("categories.csv") for found in lines), lines


NAMES = ("district.toml", "kinds.toml", "categories.csv", "areas.geojson", "devices.csv", "stations.csv")
SOUND = folder(
    categories_csv="code,parent,name,name_en,class,limit_minutes,clock\ngas,,气,Gas,A,30,natural\n"
)


@given(name=st.sampled_from([*NAMES, "units.csv", "responsibilities.csv"]), content=st.binary(max_size=200))
def test_rubbish_in_a_file_is_a_fault_and_never_a_crash(name: str, content: bytes) -> None:
    faults = Faults()
    files = parse(SOUND | {name: content}, faults)
    check(files, faults, known_kinds=KINDS, known_metrics=METRICS, known_categories=CATEGORIES)


@given(data=st.data())
def test_a_damaged_file_is_a_fault_and_never_a_crash(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SOUND)))
    content = bytearray(SOUND[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(SHARDS))
    faults = Faults()
    files = parse(SOUND | {name: bytes(content)}, faults)
    check(files, faults, known_kinds=KINDS, known_metrics=METRICS, known_categories=CATEGORIES)


@given(
    geometry=st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), st.integers(-200, 200), st.text(max_size=3)),
        lambda inner: st.lists(inner, max_size=5),
        max_leaves=30,
    ),
    kind=st.sampled_from(["Polygon", "MultiPolygon"]),
)
def test_any_coordinates_are_read_or_refused(geometry: object, kind: str) -> None:
    faults = Faults()
    drawn = collection(feature("cell", "C1") | {"geometry": {"type": kind, "coordinates": geometry}})
    files = parse(folder(areas_geojson=drawn), faults)
    assert all(rings_of(area.geometry) or area.geometry is None for area in files.areas)


def test_the_built_in_files_are_sound() -> None:
    from importlib import resources

    faults = Faults()
    defaults = resources.files("city") / "defaults"
    _, kinds = parse_kinds("kinds.toml", (defaults / "kinds.toml").read_text(encoding="utf-8"), faults)
    categories = parse_categories(
        "categories.csv", (defaults / "categories.csv").read_text(encoding="utf-8"), faults
    )
    faults.raise_if_any()
    assert {"smoke", "camera", "water"} <= {kind.code for kind in kinds}
    assert {"fire.smoke", "flood.level", "device.silent", "system.ingest"} <= {
        entry.code for entry in categories
    }
