"""Which database a partition is committed to, and a file of districts that cannot be used."""

import json
from pathlib import Path

import pytest

from city.districts import CityDistrict, DistrictsError, checked, numbers, read
from city.partitions import UNROUTED, partition_for
from runtime.scale_topology import strays

GOOD = """
[[district]]
code = "east"
name = "东区"
name_en = "East"
url = "https://east.city.example/"
database_file = "east.dsn"
partitions = "0-2,7"
unrouted = true
outline = "east.geojson"

[[district]]
code = "west"
name = "西区"
database = "postgresql://reader:secret@west/city"
partitions = "3-6"
"""
SQUARE = [[121.0, 31.0], [121.1, 31.0], [121.1, 31.1], [121.0, 31.0]]


def write(folder: Path, text: str) -> Path:
    (folder / "east.dsn").write_text("postgresql://reader:word@east/city\n")
    shape = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [SQUARE]}}
    (folder / "east.geojson").write_text(json.dumps(shape))
    file = folder / "districts.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_each_partition_has_one_database(tmp_path: Path) -> None:
    districts = read(write(tmp_path, GOOD))
    assert [one.code for one in districts.each] == ["east", "west"]
    east, west = districts.each
    assert [districts.dsn_for(partition) for partition in (0, 2, 7, UNROUTED)] == [east.database] * 4
    assert [districts.dsn_for(partition) for partition in (3, 6)] == [west.database] * 2
    assert east.database == "postgresql://reader:word@east/city"
    assert east.outline == (tuple((lon, lat) for lon, lat in SQUARE),)
    assert (east.url, west.url, west.name_en) == ("https://east.city.example", "", "西区")
    with pytest.raises(DistrictsError, match="partition 8 is no district's"):
        districts.dsn_for(8)
    with pytest.raises(DistrictsError, match="there are east, west"):
        districts.called("north")


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    assert "secret" not in repr(read(write(tmp_path, GOOD)))


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('partitions = "3-6"', 'partitions = "2-6"', "west: partitions: 2 is east's already"),
        ('partitions = "3-6"', 'partitions = "6-3"', "west: partitions: must look like"),
        ('partitions = "3-6"', "unrouted = true", "32767 is east's already"),
        ('code = "west"', 'code = "east"', "east: code: two districts have it"),
        ('code = "west"', 'code = "we st"', "code: letters"),
        ('name = "西区"', 'name = ""', "west: name: is missing"),
        ('name = "西区"', 'name = "西区"\nlevel = 3', "west: level: no such field"),
        ("postgresql://reader:secret@west/city", "mysql://west", "west: database or database_file"),
        ("unrouted = true", "unrouted = false", "nobody reads what no binding took"),
        ("east.dsn", "nowhere.dsn", "east: database_file: nowhere.dsn cannot be read"),
        ("east.geojson", "east.dsn", "east: outline"),
        ("https://east.city.example/", "east.city.example", "east: url"),
        (GOOD, "", "holds no"),
        (GOOD, "[[district", "cannot be read"),
    ],
)
def test_a_wrong_file_names_district_field_and_remedy(
    tmp_path: Path, was: str, becomes: str, said: str
) -> None:
    with pytest.raises(DistrictsError, match=said) as refused:
        read(write(tmp_path, GOOD.replace(was, becomes)))
    assert "secret" not in str(refused.value)


def test_numbers_are_ranges_and_single_ones() -> None:
    assert numbers("") == frozenset()
    assert numbers(" 0-2, 9 ") == {0, 1, 2, 9}


def test_cells_go_to_partitions_of_their_own_district_alone() -> None:
    own = [3, 4, 5, 6]
    found = {partition_for(f"m{number}", own) for number in range(200)}
    assert found == set(own)


def test_a_cell_that_is_bound_to_another_district_is_named() -> None:
    bound = {"c1": [3], "c2": [0], "c3": [3, 9]}
    assert strays(bound, ["c1", "c4"], {3, 4}) == ""
    said = strays(bound, ["c1", "c2", "c3"], {3, 4})
    assert said.startswith("2 cells are bound to partitions of another district (c2, c3)")


def test_districts_without_a_shared_log_have_no_partitions() -> None:
    plain = [
        CityDistrict(code=code, name=code, name_en=code, url="", database=f"postgresql://{code}/city")
        for code in ("a", "b")
    ]
    assert checked(plain).called("b").partitions == frozenset()
