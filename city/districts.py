"""A city's districts: which database each has, which partitions of the log are its own. A lookup; nothing is connected.

One district, one database: its own response level, numbers, timelines and audit. So a partition never spans two, and
offset and effects stay in one transaction. The file is TOML, ``docs/districts.md`` has an example.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from city.errors import CityError
from city.partitions import UNROUTED

_FIELDS = {
    "code", "name", "name_en", "url", "database", "database_file", "partitions", "unrouted", "outline",
}  # fmt: skip
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HIGHEST = 199  # as many partitions as city scale init makes

Ring = Sequence[tuple[float, float]]


class DistrictsError(CityError):
    """The file of districts cannot be used: one line naming file, district, field and remedy."""


@dataclass(frozen=True, kw_only=True)
class CityDistrict:
    """One district; ``outline`` are outer rings of (longitude, latitude) in degrees, WGS 84, empty = not drawn."""

    code: str
    name: str
    name_en: str
    url: str  # of its own centre, without a slash at its end; empty = none that people reach
    database: str = field(repr=False)  # holds a password
    partitions: frozenset[int] = frozenset()
    outline: tuple[Ring, ...] = ()


@dataclass(frozen=True)
class Districts:
    """All of them, in the order of the file."""

    each: tuple[CityDistrict, ...]

    def called(self, code: str) -> CityDistrict:
        """Raises DistrictsError when there is none."""
        for one in self.each:
            if one.code == code:
                return one
        known = ", ".join(one.code for one in self.each)
        raise DistrictsError(f"{code}: there is no such district in CITY_DISTRICTS; there are {known}")

    def of_partition(self, partition: int) -> CityDistrict:
        """Whose messages it carries; raises DistrictsError when it is nobody's."""
        for one in self.each:
            if partition in one.partitions:
                return one
        raise DistrictsError(f"partition {partition} is no district's in CITY_DISTRICTS")

    def dsn_for(self, partition: int) -> str:
        """The database that its offset and effects are committed to; raises DistrictsError when there is none."""
        return self.of_partition(partition).database


def read(path: Path) -> Districts:
    """The file, with the secrets and outlines that it names beside it; raises DistrictsError."""
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DistrictsError(f"CITY_DISTRICTS: {path} cannot be read ({error})") from error
    rows = written.get("district")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DistrictsError(f"CITY_DISTRICTS: {path} holds no [[district]]")
    return checked([_district(row, path.parent) for row in rows])


def checked(each: Sequence[CityDistrict]) -> Districts:
    """Raises DistrictsError where two have one code, or one partition: it would be read into two databases.

    And where the log is shared and nobody reads what no binding took.
    """
    owners: dict[int, str] = {}
    codes: set[str] = set()
    for one in each:
        if one.code in codes:
            raise DistrictsError(f"{one.code}: code: two districts have it")
        codes.add(one.code)
        for partition in one.partitions:
            if partition in owners:
                raise DistrictsError(
                    f"{one.code}: partitions: {partition} is {owners[partition]}'s already;"
                    " a partition's offset stands in one database"
                )
            owners[partition] = one.code
    if owners and UNROUTED not in owners:
        raise DistrictsError(
            "CITY_DISTRICTS: nobody reads what no binding took: say unrouted = true for one district"
        )
    return Districts(tuple(each))


def numbers(written: str) -> frozenset[int]:
    """``0-15,20`` as partitions; raises ValueError."""
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in written.split(","))):
        first, dash, last = part.partition("-")
        begin, end = int(first), int(last) if dash else int(first)
        if not 0 <= begin <= end <= _HIGHEST:
            raise ValueError(part)
        found.update(range(begin, end + 1))
    return frozenset(found)


def _district(row: Mapping[str, Any], folder: Path) -> CityDistrict:
    code = str(row.get("code", ""))
    if not _CODE.fullmatch(code):
        raise DistrictsError(f"{code or '[[district]]'}: code: letters, digits, - and _, at most 64")
    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        raise DistrictsError(f"{code}: {unknown[0]}: no such field; there are {', '.join(sorted(_FIELDS))}")
    name = str(row.get("name", "")).strip()
    if not name:
        raise DistrictsError(f"{code}: name: is missing; screens show it")
    url = str(row.get("url", "")).rstrip("/")
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise DistrictsError(f"{code}: url: must look like https://host, as people reach its own centre")
    try:
        own = numbers(str(row.get("partitions", "")))
    except ValueError as error:
        raise DistrictsError(f"{code}: partitions: must look like 0-15,20, from 0 to {_HIGHEST}") from error
    return CityDistrict(
        code=code,
        name=name,
        name_en=str(row.get("name_en", "")).strip() or name,
        url=url,
        database=_database(row, code, folder),
        partitions=own | ({UNROUTED} if row.get("unrouted") is True else frozenset()),
        outline=_outline(row, code, folder),
    )


def _database(row: Mapping[str, Any], code: str, folder: Path) -> str:
    given = str(row.get("database", ""))
    if named := row.get("database_file"):
        try:
            given = (folder / str(named)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DistrictsError(f"{code}: database_file: {named} cannot be read") from error
    if urlsplit(given).scheme not in ("postgresql", "postgres"):
        raise DistrictsError(f"{code}: database or database_file: must start with postgresql://")
    return given


def _outline(row: Mapping[str, Any], code: str, folder: Path) -> tuple[Ring, ...]:
    named = row.get("outline")
    if not named:
        return ()
    try:
        shape = json.loads((folder / str(named)).read_text(encoding="utf-8"))
        shape = shape.get("geometry", shape)
        polygons = {"Polygon": [shape["coordinates"]], "MultiPolygon": shape["coordinates"]}[shape["type"]]
        rings = [polygon[0] for polygon in polygons]
        return tuple(tuple((float(at[0]), float(at[1])) for at in ring) for ring in rings)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DistrictsError(
            f"{code}: outline: {named} must be a GeoJSON Feature, Polygon or MultiPolygon"
        ) from error
