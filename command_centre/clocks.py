"""What decisions do to the clocks of an incident: start, end, pause, resume, extend; and when each must speak next.

A clock runs in the time of its limit: natural minutes, or the working time of the unit whose time it is. It is never
negative: what is left is at least nothing, and a deadline is never before its start, whatever the machine's clock did.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from city.clocks import (
    LONGEST,
    Clock,
    Effect,
    End,
    Extend,
    Limit,
    Limits,
    Pause,
    Resume,
    Stage,
    Start,
)
from city.directory import Directory
from city.incidents import Incident
from city.urging import Moment, UrgingStep, read_moment
from city.worktime import (
    WORK_HOURS,
    HoursError,
    Windows,
    deadline,
    is_provisional,
    minutes_between,
    moved,
    read_hours,
)

DISTRICT_CENTRE = "district_centre"  # the kind of the unit that runs the centre itself
_THE_UNITS: frozenset[Stage] = frozenset({"acknowledge", "arrive", "handle"})  # all else is the centre's time
_RUN_ON: frozenset[Stage] = frozenset({"answer", "suspension"})  # while the incident is suspended
_MINUTE = timedelta(minutes=1)


# ── effects ──────────────────────────────────────────────────────────────────────────────────────────


def apply(
    open_clocks: Sequence[Clock],
    effects: Sequence[Effect],
    incident: Incident,
    limits: Limits,
    directory: Directory,
    now: datetime,
) -> Sequence[Clock]:
    """The clocks that the effects change or add, ended ones first; new ones have id 0."""
    rack = _Rack(incident=incident, limits=limits, directory=directory, now=now, clocks=list(open_clocks))
    for effect in effects:
        if isinstance(effect, Start):
            rack.start(effect)
        elif isinstance(effect, End):
            rack.end(effect)
        elif isinstance(effect, Pause):
            rack.pause()
        elif isinstance(effect, Resume):
            rack.resume()
        else:
            rack.extend(effect)
    rack.follow()
    before = {clock.id: clock for clock in open_clocks}
    changed = [clock for clock in rack.clocks if clock != before.get(clock.id)]
    return sorted(changed, key=lambda clock: clock.ended_at is None)


@dataclass(kw_only=True, slots=True)
class _Rack:
    """The clocks of one incident while effects are worked in."""

    incident: Incident
    limits: Limits
    directory: Directory
    now: datetime
    clocks: list[Clock]

    def start(self, effect: Start) -> None:
        self.end(End(stages=(effect.stage,), outcome="cancelled"))
        limit = effect.limit or self.limits.get(effect.stage)
        due = effect.due_at
        if limit is None and due is None and effect.stage == "handle":
            due = self.incident.due_at
        if limit is None and due is None:
            return
        unit_id = self.incident.unit_id if effect.stage in _THE_UNITS else None
        windows = windows_of(unit_id, self.directory)
        if due is None:
            due = deadline(self.now, limit, windows) if limit is not None else self.now
        due = max(due.astimezone(UTC), self.now)
        if limit is None:
            minutes = math.ceil((due - self.now) / _MINUTE)
            limit = Limit(amount=min(max(1, minutes), LONGEST["natural"]), unit="natural")
        clock = Clock(
            incident_id=self.incident.id,
            stage=effect.stage,
            unit_id=unit_id,
            limit=limit,
            started_at=self.now,
            due_at=due,
            provisional=provisional_at(limit, self.now, due, windows),
        )
        self.clocks.append(clock)

    def end(self, effect: End) -> None:
        for index, clock in self._open(effect.stages):
            if clock.id == 0:  # begun and over in one decision: it never was
                self.clocks[index] = replace(clock, ended_at=clock.started_at, outcome="cancelled")
                continue
            late = clock.left_minutes == 0 if clock.paused_at else self.now > clock.due_at
            outcome = "late" if effect.outcome == "met" and late else effect.outcome
            self.clocks[index] = replace(
                clock, ended_at=max(self.now, clock.started_at), outcome=outcome, next_at=None
            )
        self.clocks = [clock for clock in self.clocks if clock.id or clock.ended_at is None]

    def pause(self) -> None:
        for index, clock in self._open():
            if clock.stage in _RUN_ON or clock.paused_at is not None:
                continue
            self.clocks[index] = replace(
                clock,
                paused_at=self.now,
                left_minutes=left_minutes(clock, self.directory, self.now),
                next_at=None,
            )

    def resume(self) -> None:
        for index, clock in self._open():
            if clock.paused_at is None:
                continue
            windows = windows_of(clock.unit_id, self.directory)
            left = timedelta(minutes=clock.left_minutes or 0)
            due = max(moved(self.now, left, clock.limit.unit, windows), clock.started_at)
            self.clocks[index] = replace(
                clock,
                paused_at=None,
                left_minutes=None,
                due_at=due,
                provisional=provisional_at(clock.limit, self.now, due, windows),
            )

    def extend(self, effect: Extend) -> None:
        for index, clock in self._open((effect.stage,)):
            windows = windows_of(clock.unit_id, self.directory)
            if clock.paused_at is not None:
                more = round(_length(effect.by, windows) / _MINUTE)
                self.clocks[index] = replace(clock, left_minutes=(clock.left_minutes or 0) + more)
                continue
            due = deadline(clock.due_at, effect.by, windows)
            self.clocks[index] = replace(
                clock, due_at=due, said=0, provisional=provisional_at(clock.limit, self.now, due, windows)
            )

    def follow(self) -> None:
        """The unit that has the incident has its running time, and the ladder is that of its class by now."""
        for index, clock in self._open():
            unit_id = self.incident.unit_id if clock.stage in _THE_UNITS else clock.unit_id
            self.clocks[index] = scheduled(replace(clock, unit_id=unit_id), self.incident, self.directory)

    def _open(self, stages: Sequence[Stage] = ()) -> list[tuple[int, Clock]]:
        return [
            (index, clock)
            for index, clock in enumerate(self.clocks)
            if clock.ended_at is None and (not stages or clock.stage in stages)
        ]


# ── a clock's own time ───────────────────────────────────────────────────────────────────────────────


def windows_of(unit_id: int | None, directory: Directory) -> Windows:
    """When this unit works, the centre where it is nobody's time: its own hours, else the usual ones."""
    owner = unit_id if unit_id is not None else centre_of(directory)
    unit = directory.units.get(owner) if owner is not None else None
    written = unit.hours if unit is not None else ""
    try:
        hours = read_hours(written)
    except HoursError:  # refused where it is written; should it stand there all the same, clocks go on
        hours = WORK_HOURS
    return Windows(calendar=directory.calendar, zone=directory.zone, hours=hours)


def centre_of(directory: Directory) -> int | None:
    """The unit that is the district's centre, where there is one."""
    ids = [
        unit.id
        for unit in directory.units.values()
        if unit.kind == DISTRICT_CENTRE and unit.id in directory.active
    ]
    return min(ids, default=None)


def left_minutes(clock: Clock, directory: Directory, now: datetime) -> int:
    """What an open clock has left in its own time, begun minutes counted whole; 0 when it is over."""
    if clock.paused_at is not None:
        return clock.left_minutes or 0
    windows = windows_of(clock.unit_id, directory)
    since = max(now, clock.started_at)  # a machine's clock set back gives no time
    return math.ceil(round(minutes_between(since, clock.due_at, clock.limit.unit, windows), 6))


def _length(limit: Limit, windows: Windows) -> timedelta:
    """A limit as natural or working time; a working day is as long as the unit works in one."""
    return limit.amount * (windows.day if limit.unit == "working_day" else _MINUTE)


def provisional_at(limit: Limit, start: datetime, due: datetime, windows: Windows) -> bool:
    """Whether a deadline rests on days of a year that is not published."""
    return limit.unit != "natural" and is_provisional(start, due, windows.calendar, windows.zone)


# ── the ladder ───────────────────────────────────────────────────────────────────────────────────────


def ladder_of(clock: Clock, incident: Incident, directory: Directory) -> Sequence[UrgingStep]:
    """The steps that this clock climbs, in order."""
    return directory.urging.of(incident.event_level, incident.incident_class, clock.stage)


def instants(clock: Clock, steps: Sequence[UrgingStep], directory: Directory) -> list[datetime | None]:
    """When each step is due, never before the one below it.

    None is a step that never comes: it lies before the clock's start, or beyond what a calendar can count.
    """
    windows = windows_of(clock.unit_id, directory)
    found: list[datetime | None] = []
    earliest = clock.started_at
    for step in steps:
        instant = _instant(clock, read_moment(step.at), windows)
        if instant is None or (instant <= clock.started_at and instant < clock.due_at):
            found.append(None)
            continue
        earliest = max(earliest, instant)
        found.append(earliest)
    return found


def _instant(clock: Clock, moment: Moment, windows: Windows) -> datetime | None:
    if moment.sign == 0:
        return clock.due_at
    unit, by = clock.limit.unit, _length(clock.limit, windows) * moment.percent / 100
    if moment.offset is not None:
        unit, by = moment.offset.unit, _length(moment.offset, windows)
    try:
        return moved(clock.due_at, moment.sign * by, unit, windows)
    except ValueError:
        return None


def scheduled(clock: Clock, incident: Incident, directory: Directory) -> Clock:
    """The clock with ``next_at`` of the first step that was not told yet."""
    if clock.ended_at is not None or clock.paused_at is not None:
        return replace(clock, next_at=None)
    steps = ladder_of(clock, incident, directory)
    return replace(clock, next_at=first_after(clock.said, instants(clock, steps, directory)))


def first_after(said: int, instants_of: Sequence[datetime | None]) -> datetime | None:
    """The instant of the first step that was not told and is to come."""
    return next((instant for instant in instants_of[said:] if instant is not None), None)
