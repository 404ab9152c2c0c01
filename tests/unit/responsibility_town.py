"""A district of two streets, three communities and eight cells, and a list to be read in it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from city.clocks import read_limits
from city.directory import Directory, Place
from city.responsibilities import ResponsibilityList
from city.units import Category, Responsibility, Unit

NOW = datetime(2026, 11, 21, 4, tzinfo=UTC)
DISTRICT, EAST, WEST = 1, 2, 3
COMMUNITIES = {4: EAST, 5: EAST, 6: WEST}
CELLS = {10: 4, 11: 4, 12: 4, 13: 5, 14: 5, 15: 6, 16: 6, 17: 6}
CODES = ("fire", "fire.smoke", "fire.gas", "flood", "flood.level", "road", "road.lamp", "road.hole")


def place(area_id: int) -> Place:
    layer = (
        "cell"
        if area_id in CELLS
        else "community"
        if area_id in COMMUNITIES
        else "district"
        if area_id == DISTRICT
        else "street"
    )
    return Place(
        area_id=area_id, layer=layer, code=f"a{area_id}", name=f"地{area_id}", name_en=f"Place {area_id}"
    )


def way(cell: int) -> tuple[Place, ...]:
    community = CELLS[cell]
    return tuple(place(area) for area in (cell, community, COMMUNITIES[community], DISTRICT))


def unit(unit_id: int, fallback: str | None = None) -> Unit:
    return Unit(
        id=unit_id,
        code=f"u{unit_id}",
        name=f"单位{unit_id}",
        name_en=f"Unit {unit_id}",
        kind="",
        parent=None,
        lead="",
        phone="",
        lead_phone="",
        email="",
        lead_email="",
        webhook_url="",
        fallback=fallback,
    )


def category(code: str) -> Category:
    return Category(
        code=code,
        parent=code.rpartition(".")[0] or None,
        name=code,
        name_en=code,
        incident_class="B",
        limit_minutes=60,
        clock="natural",
    )


def entry(
    number: int,
    code: str,
    area_id: int | None,
    unit_id: int = 1,
    *,
    co: Sequence[int] = (),
    limits: str = "",
    minutes: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Responsibility:
    return Responsibility(
        id=number,
        category=code,
        area_id=area_id,
        unit_id=unit_id,
        incident_class=None,
        limit_minutes=minutes,
        clock=None,
        co_unit_ids=tuple(co),
        limits=read_limits(limits),
        valid_from=since,
        valid_to=until,
    )


def directory(
    *entries: Responsibility,
    codes: Iterable[str] = CODES,
    active: Iterable[int] = (1, 2, 3, 4),
    units: Iterable[Unit] | None = None,
) -> Directory:
    known = list(units) if units is not None else [unit(number) for number in range(1, 6)]
    return Directory(
        version=1,
        district_code="440399",
        zone=ZoneInfo("Asia/Shanghai"),
        places={**{cell: way(cell) for cell in CELLS}, 99: (place(99),)},
        categories={code: category(code) for code in codes},
        join_minutes={},
        units={one.id: one for one in known},
        active=frozenset(active),
        responsibilities=ResponsibilityList(entries),
        calendar={},
    )
