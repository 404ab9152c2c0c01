"""Rows of the change table as events that screens are told: what of, where, whose, and whether it is urgent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from psycopg import AsyncConnection

from city.storage import screen as tables
from command_centre.api.screen.log import Event
from command_centre.api.screen.sight import GENERAL, mark_of

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The incidents and alarms that changes are about. ``incidents`` also holds those of the alarms."""

    incident_ids: list[int] = field(default_factory=list)
    alarm_ids: list[int] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)
    alarms: dict[int, dict[str, Any]] = field(default_factory=dict)


async def told_of(connection: AsyncConnection[Any], changes: Sequence[Row]) -> Told:
    """Read what these changes are about."""
    incident_ids = [int(row["object"]) for row in changes if _is(row, "incident")]
    alarm_ids = [int(row["object"]) for row in changes if _is(row, "alarm")]
    if not incident_ids and not alarm_ids:
        return Told()
    return Told(
        incident_ids=incident_ids,
        alarm_ids=alarm_ids,
        incidents=await tables.incidents(connection, incident_ids, alarm_ids),
        alarms=await tables.alarm_marks(connection, alarm_ids) if alarm_ids else {},
    )


def events_of(changes: Sequence[Row], told: Told) -> Iterator[Event]:
    """One event for each change, in their order."""
    incidents = {row["id"]: row for row in told.incidents}
    for row in changes:
        thing = _identity(row)
        known: Mapping[int, Row] = incidents if _is(row, "incident") else told.alarms
        about = known.get(thing) if isinstance(thing, int) else None
        event = {"kind": row["kind"], "id": thing, "at": row["at"], "class": None, "exercise": False}
        if about is not None:
            event |= {"class": about["class"], "exercise": about["exercise"]}
        yield Event(
            raw=msgspec.Raw(msgspec.json.encode(event | {"change": row["id"]})),
            kind=row["kind"],
            change=row["id"],
            mark=mark_of(about) if isinstance(thing, int) else GENERAL,
            urgent=event["class"] == "A",
        )


def _is(row: Row, noun: str) -> bool:
    return str(row["kind"]).startswith(noun + ".") and str(row["object"]).isdigit()


def _identity(row: Row) -> int | str:
    """The number of an incident or alarm, the code of anything else."""
    thing: str = row["object"]
    return int(thing) if _is(row, "incident") or _is(row, "alarm") else thing
