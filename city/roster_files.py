"""shifts.csv and roster.csv of a district's own files: when units are manned, and by whom. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, time
from zoneinfo import ZoneInfo

from city.district_source import Faults, Row, csv_rows
from city.rosters import OnDuty, Roster, Shift, clash, days_readable


def parse_rosters(shifts: str, roster: str, zone: ZoneInfo, faults: Faults) -> Mapping[str, Roster]:
    """By unit's code. Times are the district's; one person's stretches may not overlap, wherever they are."""
    found: defaultdict[str, list[Shift]] = defaultdict(list)
    for row in (
        csv_rows("shifts.csv", shifts, ("unit", "name", "from", "to"), ("days",), faults) if shifts else ()
    ):
        shift = _shift(row)
        if any(other.name == shift.name for other in found[row.required("unit")]):
            row.fault("name", "this unit has a shift of this name already; give each its own")
        found[row.text("unit")].append(shift)
    named: defaultdict[str, list[OnDuty]] = defaultdict(list)
    columns = ("unit", "person", "from", "to")
    for row in csv_rows("roster.csv", roster, columns, ("phone",), faults) if roster else ():
        begins, ends = _instant(row, "from", zone), _instant(row, "to", zone)
        if begins is None or ends is None:
            continue
        if ends <= begins:
            row.fault("to", "write a time after the one in from")
            continue
        one = OnDuty(
            unit=row.required("unit"),
            person=row.required("person"),
            phone=row.text("phone"),
            begins=begins,
            ends=ends,
        )
        named[one.unit].append(one)
    if (two := clash([one for people in named.values() for one in people])) is not None:
        since = f"{two[1].begins.astimezone(zone):%Y-%m-%d %H:%M}"
        remedy = (
            f"is on duty at {two[0].unit} and {two[1].unit} at once from {since}; end one of them earlier"
        )
        faults.value("roster.csv", "person", two[1].person, remedy)
    return {
        code: Roster(shifts=found.get(code, []), people=named.get(code, []))
        for code in sorted(found.keys() | named.keys())
        if code
    }


def _shift(row: Row) -> Shift:
    days = row.text("days") or "all"
    if not days_readable(days):
        row.fault("days", "write all, working, off, or weekdays such as 12345 (1 is Monday)")
    return Shift(
        name=row.required("name"), days=days, begins=_local_time(row, "from"), ends=_local_time(row, "to")
    )


def _local_time(row: Row, column: str) -> time:
    try:
        found = time.fromisoformat(row.required(column))
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        if row.text(column):
            row.fault(column, "write a time of day such as 08:30")
        return time()
    return found


def _instant(row: Row, column: str, zone: ZoneInfo) -> datetime | None:
    """Local unless it carries an offset."""
    if not row.required(column):
        return None
    try:
        found = datetime.fromisoformat(row.text(column))
    except ValueError:
        row.fault(column, "write a time such as 2026-12-01 08:30")
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)
