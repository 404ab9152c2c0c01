"""The clocks of incidents that a transaction has locked: loaded, moved by decisions, written back.

A clock whose deadline rests on an older calendar is first brought to the newest one, so that nothing is counted from
a deadline that no longer holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.clocks import Clock, Effect, End
from city.directory import Directory
from city.incidents import FINAL, Change, Happening, Incident
from city.storage import calendar
from city.storage import clocks as stored
from city.storage.clocks import Kept
from city.worktime import Calendar
from command_centre import clocks, dispatch, rebasing

Connection = AsyncConnection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """An incident's open clocks on the newest calendar; ``happenings`` say which deadlines that moved."""

    kept: tuple[Kept, ...] = ()
    moved: tuple[Kept, ...] = ()
    happenings: tuple[Happening, ...] = ()


async def standing(
    connection: Connection, incidents: Sequence[Incident], directory: Directory, now: datetime
) -> dict[int, Standing]:
    """By incident, for those that have open clocks. Nothing is written: see ``save``."""
    found = await stored.open_of(connection, [incident.id for incident in incidents])
    older: dict[int, Calendar] = {}
    for kept in (one for clocks_of in found.values() for one in clocks_of):
        if _is_older(kept, directory) and kept.calendar not in older:
            older[kept.calendar or 0] = await calendar.version_days(connection, kept.calendar or 0)
    by_id = {incident.id: incident for incident in incidents}
    return {
        incident_id: _brought_up(by_id[incident_id], clocks_of, older, directory, now)
        for incident_id, clocks_of in found.items()
    }


def _is_older(kept: Kept, directory: Directory) -> bool:
    return kept.clock.limit.unit != "natural" and (kept.calendar or 0) < directory.calendar_version


def _brought_up(
    incident: Incident,
    found: Sequence[Kept],
    older: Mapping[int, Calendar],
    directory: Directory,
    now: datetime,
) -> Standing:
    kept, moved, happenings = [], [], []
    for one in found:
        if not _is_older(one, directory):
            kept.append(one)
            continue
        clock = rebasing.rebased(one.clock, older[one.calendar or 0], incident, directory, now)
        if clock.due_at != one.clock.due_at:
            detail = {
                "stage": clock.stage,
                "old": one.clock.due_at.isoformat(),
                "new": clock.due_at.isoformat(),
                "calendar": directory.calendar_version,
            }
            happenings.append(Happening(kind="deadlines_recomputed", detail=detail))
        moved.append(Kept(clock=clock, calendar=directory.calendar_version))
        kept.append(moved[-1])
    return Standing(kept=tuple(kept), moved=tuple(moved), happenings=tuple(happenings))


async def settle(
    connection: Connection,
    directory: Directory,
    incidents: Sequence[Incident],
    decided: Sequence[Change],
    now: datetime,
) -> list[tuple[Incident, tuple[Happening, ...]]]:
    """Work the effects of changes into the clocks of their incidents, which have their ids by now.

    Returns each incident with ``due_at`` as its clock ``handle`` says, and what that adds to its timeline.
    """
    touched = [
        incident for incident, change in zip(incidents, decided, strict=True) if _effects(incident, change)
    ]
    found = await standing(connection, touched, directory, now) if touched else {}
    settled: list[tuple[Incident, tuple[Happening, ...]]] = []
    writes: list[Kept] = []
    for incident, change in zip(incidents, decided, strict=True):
        effects = _effects(incident, change)
        if not effects:
            settled.append((incident, ()))
            continue
        before = found.get(incident.id, Standing())
        limits = dispatch.limits_for(incident, directory)
        changed = clocks.apply([one.clock for one in before.kept], effects, incident, limits, directory, now)
        writes += _writes(before, changed, directory)
        after = {one.clock.id: one.clock for one in before.kept} | {
            clock.id or -number: clock for number, clock in enumerate(changed)
        }
        settled.append((with_deadline(incident, list(after.values()), now), before.happenings))
    await stored.save(connection, writes)
    return settled


def _effects(incident: Incident, change: Change) -> Sequence[Effect]:
    """What is over has no clocks, whoever decided it."""
    if incident.state in FINAL:
        return (*change.effects, End(outcome="met" if incident.state == "archived" else "cancelled"))
    return change.effects


def _writes(before: Standing, changed: Sequence[Clock], directory: Directory) -> list[Kept]:
    known = {one.clock.id: one for one in before.kept}
    writes = {one.clock.id: one for one in before.moved}
    new = []
    for clock in changed:
        kept = stored.moved_to(
            known.get(clock.id) or Kept(clock=clock, calendar=None), clock, directory.calendar_version
        )
        if clock.id:
            writes[clock.id] = kept
        else:
            new.append(kept)
    return [*writes.values(), *new]


def with_deadline(incident: Incident, after: Sequence[Clock], now: datetime) -> Incident:
    """The incident with the deadline of its clock ``handle``; a deadline that lies ahead is not overdue."""
    due = next((one.due_at for one in after if one.stage == "handle" and one.ended_at is None), None)
    if due is None or due == incident.due_at:
        return incident
    return replace(incident, due_at=due, overdue_at=incident.overdue_at if due <= now else None)
