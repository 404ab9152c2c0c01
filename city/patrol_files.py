"""patrol_routes.csv of a district's own files: what is patrolled, how often, by which checklist. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from city.district_source import Faults, csv_rows

NAME = "patrol_routes.csv"
COLUMNS = ("route", "route_name", "route_name_en", "point", "name", "cell", "building", "lon", "lat", "checklist",
           "cadence")  # fmt: skip
_CODE = re.compile(r"[A-Za-z0-9._-]{1,60}")
CADENCES = ("daily", "weekly", "monthly")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedPoint:
    """A line: one point of a route, in the order of walking. ``cell`` None = not known."""

    where: str
    route: str
    route_name: str
    route_name_en: str
    code: str
    name: str
    cell: str | None
    building: str
    longitude: float | None
    latitude: float | None
    checklist: str
    cadence: str


def parse_patrol_routes(text: str, faults: Faults) -> list[ListedPoint]:
    """Points of routes; who walks them is no part of a district's files, since accounts are not."""
    seen: set[tuple[str, str]] = set()
    points = []
    required = ("route", "route_name", "point", "name", "checklist", "cadence")
    optional = [column for column in COLUMNS if column not in required]
    for row in csv_rows(NAME, text, required, optional, faults) if text else ():
        route, code = row.required("route"), row.required("point")
        for column, value in (("route", route), ("point", code)):
            if value and not _CODE.fullmatch(value):
                row.fault(column, "use at most 60 letters, digits, dots, hyphens and underscores")
        if (route, code) in seen:
            row.fault("point", "this route has a point of this code already; give each its own")
        seen.add((route, code))
        longitude, latitude = row.number("lon", -180, 180), row.number("lat", -90, 90)
        if (longitude is None) != (latitude is None):
            row.fault("lon" if longitude is None else "lat", "give both lon and lat, or neither")
        points.append(
            ListedPoint(
                where=row.where,
                route=route,
                route_name=row.required("route_name"),
                route_name_en=row.text("route_name_en"),
                code=code,
                name=row.required("name"),
                cell=row.text("cell") or None,
                building=row.text("building"),
                longitude=longitude,
                latitude=latitude,
                checklist=row.required("checklist"),
                cadence=row.one_of("cadence", CADENCES) or "weekly",
            )
        )
    return points


def lines(points: Sequence[ListedPoint]) -> list[tuple[object, ...]]:
    """The same as rows of the file, in the order of COLUMNS."""
    return [
        (
            one.route, one.route_name, one.route_name_en, one.code, one.name, one.cell or "", one.building,
            "" if one.longitude is None else one.longitude, "" if one.latitude is None else one.latitude,
            one.checklist, one.cadence,
        )
        for one in points
    ]  # fmt: skip
