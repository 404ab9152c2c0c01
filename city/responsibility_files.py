"""responsibilities.csv (职责清单): its lines read into nouns, and entries written as its lines.

Pure: text goes in and comes out. What a line names in other files is followed where those are known.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import cast
from zoneinfo import ZoneInfo

from city.clocks import LimitError, Limits, read_limits, write_limits
from city.district_source import Faults, Row, csv_rows
from city.responsibilities import Period, contradiction, periods_overlap
from city.sheet_cells import guarded
from city.units import Automatic, Clock, IncidentClass, Responsibility

NAME = "responsibilities.csv"
_REQUIRED = ("category", "unit")
_OPTIONAL = (
    "area_layer",
    "area",
    "class",
    "limit_minutes",
    "clock",
    "co_units",
    "limits",
    "automatic",
    "valid_from",
    "valid_to",
)
HEADER = ("category", "area_layer", "area", "unit", *_OPTIONAL[2:])


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedResponsibility:
    """A line of responsibilities.csv, by codes; ``area`` None is the whole district."""

    where: str
    category: str
    area_layer: str | None
    area: str | None
    unit: str
    incident_class: IncidentClass | None
    limit_minutes: int | None
    clock: Clock | None
    co_units: tuple[str, ...] = ()
    limits: Limits = field(default_factory=dict)
    automatic: Automatic | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None


def parse_responsibilities(text: str, faults: Faults, zone: ZoneInfo) -> list[ListedResponsibility]:
    """Who leads for which category in which place; dates without a time are midnights of ``zone``."""
    listed = []
    seen: defaultdict[tuple[str, str, str], list[tuple[str, Period]]] = defaultdict(list)
    for row in csv_rows(NAME, text, _REQUIRED, _OPTIONAL, faults) if text else ():
        line = _line(row, zone)
        layer, area = row.text("area_layer"), row.text("area")
        if bool(layer) != bool(area):
            row.fault("area" if layer else "area_layer", "give both area_layer and area, or neither")
        others = seen[line.category, layer, area]
        held = (line.valid_from, line.valid_to)
        if earlier := next((where for where, period in others if periods_overlap(period, held)), None):
            row.fault("category", f"one category and place has one lead unit; {earlier} names it already")
        others.append((row.where, held))
        _check_sense(row, line)
        listed.append(line)
    return listed


def _line(row: Row, zone: ZoneInfo) -> ListedResponsibility:
    return ListedResponsibility(
        where=row.where,
        category=row.required("category"),
        area_layer=row.text("area_layer") or None,
        area=row.text("area") or None,
        unit=row.required("unit"),
        incident_class=cast("IncidentClass | None", row.one_of("class", ("A", "B", "C"))),
        limit_minutes=row.whole("limit_minutes", 1),
        clock=cast("Clock | None", row.one_of("clock", ("natural", "working"))),
        co_units=tuple(filter(None, (code.strip() for code in row.text("co_units").split(";")))),
        limits=_limits(row),
        automatic=cast("Automatic | None", row.one_of("automatic", ("all", "alarms", "none"))),
        valid_from=_instant(row, "valid_from", zone),
        valid_to=_instant(row, "valid_to", zone),
    )


def _limits(row: Row) -> Limits:
    try:
        return read_limits(row.text("limits"))
    except LimitError as error:
        row.fault("limits", str(error).partition(": ")[2])
        return {}


def _instant(row: Row, column: str, zone: ZoneInfo) -> datetime | None:
    text = row.text(column)
    if not text:
        return None
    try:
        if len(text) == len("2026-12-01"):
            return datetime.combine(date.fromisoformat(text), time(), zone)
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        instant = None
    if instant is None or instant.tzinfo is None:
        row.fault(column, "write a day such as 2026-12-01, or a time with offset: 2026-12-01T08:00:00+08:00")
        return None
    return instant


def _check_sense(row: Row, line: ListedResponsibility) -> None:
    """The same contradictions as of a stored entry; units stand in by their place among the codes."""
    numbers = {code: number for number, code in enumerate((line.unit, *line.co_units))}
    found = contradiction(resolved(line, area_id=None, units=numbers))
    if found is not None:
        row.fault(found.field, found.reason_en)


def resolved(line: ListedResponsibility, *, area_id: int | None, units: Mapping[str, int]) -> Responsibility:
    """The line as an entry, by ids."""
    return Responsibility(
        category=line.category,
        area_id=area_id,
        unit_id=units[line.unit],
        incident_class=line.incident_class,
        limit_minutes=line.limit_minutes,
        clock=line.clock,
        co_unit_ids=tuple(units[code] for code in line.co_units),
        limits=line.limits,
        automatic=line.automatic,
        valid_from=line.valid_from,
        valid_to=line.valid_to,
    )


def written(
    entries: Iterable[Responsibility],
    areas: Mapping[int, tuple[str, str]],
    units: Mapping[int, str],
    *,
    now: datetime,
) -> str:
    """The entries as the file; ``areas`` and ``units`` lead from ids to (layer, code) and code.

    A start that has passed is left out: the line then says "as it is", and taking it in again changes nothing.
    Entries whose unit or area has no code any more are left out too.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for entry in entries:
        layer, area = areas.get(entry.area_id, ("", "")) if entry.area_id is not None else ("", "")
        if entry.unit_id not in units or (entry.area_id is not None and not area):
            continue
        begins = entry.valid_from if entry.valid_from is not None and entry.valid_from > now else None
        writer.writerow(
            guarded(cell)
            for cell in (
                entry.category,
                layer,
                area,
                units[entry.unit_id],
                entry.incident_class,
                entry.limit_minutes,
                entry.clock,
                ";".join(units[one] for one in entry.co_unit_ids if one in units),
                write_limits(entry.limits),
                entry.automatic,
                begins.isoformat() if begins else None,
                entry.valid_to.isoformat() if entry.valid_to else None,
            )
        )
    return text.getvalue()
