"""Clocks of an incident: one for each stage that somebody has a limited time for. Only nouns; no arithmetic on days.

A limit is written ``30m`` (minutes that run through the night), ``4wh`` or ``240wm`` (working hours, working
minutes: 工作时) or ``3wd`` (working days: 工作日). An incident has at most one open clock of a stage.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from city.errors import CityError

Stage = Literal[
    "accept",  # registered: to be filed or refused
    "dispatch",  # filed or returned: to be given to a unit
    "acknowledge",  # dispatched: the unit says that it has it
    "arrive",  # somebody is on site
    "handle",  # its due_at: the one everybody asks for
    "verify",  # handled: somebody else looks
    "feedback",  # the reporter is told
    "archive",
    "answer",  # a unit asked for something: the approver answers
    "suspension",  # suspended: until then
]
TimeUnit = Literal["natural", "working", "working_day"]
Outcome = Literal["met", "late", "cancelled"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_WRITTEN = re.compile(r"(\d{1,7})(m|h|d|wm|wh|wd)")
_UNITS: Mapping[str, tuple[TimeUnit, int]] = {
    "m": ("natural", 1),
    "h": ("natural", 60),
    "d": ("natural", 1440),
    "wm": ("working", 1),
    "wh": ("working", 60),
    "wd": ("working_day", 1),
}
# Some three years. Beyond it lies a slip of the pen, and days that no calendar knows.
LONGEST: Mapping[TimeUnit, int] = {"natural": 1_600_000, "working": 300_000, "working_day": 750}
_SUFFIXES: Mapping[TimeUnit, str] = {"natural": "m", "working": "wm", "working_day": "wd"}


class LimitError(CityError):
    """A limit that cannot be read; names what was written and how it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """``amount`` is in minutes (natural, working) or in days (working_day)."""

    amount: int
    unit: TimeUnit

    def __str__(self) -> str:
        return f"{self.amount}{_SUFFIXES[self.unit]}"


Limits = Mapping[Stage, Limit]  # stages that are missing have no limit of their own


def read_limit(written: str) -> Limit:
    """``30m``, ``4wh``, ``3wd``; raises LimitError."""
    found = _WRITTEN.fullmatch(written.strip())
    if found is None or int(found[1]) == 0:
        raise LimitError(
            f"limit = {written!r}: write a number and m, h, d, wm, wh or wd, such as 30m, 4wh, 3wd"
        )
    unit, minutes = _UNITS[found[2]]
    limit = Limit(amount=int(found[1]) * minutes, unit=unit)
    if limit.amount > LONGEST[unit]:
        longest = Limit(amount=LONGEST[unit], unit=unit)
        raise LimitError(f"limit = {written!r}: longer than {longest}, about three years")
    return limit


def read_limits(written: str) -> Limits:
    """``acknowledge=15m;handle=3wd``; empty text is no limits. Raises LimitError."""
    limits: dict[Stage, Limit] = {}
    for part in filter(None, (one.strip() for one in written.split(";"))):
        stage, _, limit = part.partition("=")
        if stage.strip() not in STAGES:
            raise LimitError(f"limits = {part!r}: {stage.strip()!r} is no stage; use {', '.join(STAGES)}")
        limits[stage.strip()] = read_limit(limit)  # type: ignore[index]  # checked against the literal above
    return limits


def write_limits(limits: Limits) -> str:
    """As ``read_limits`` reads it, stages in their order."""
    return ";".join(f"{stage}={limits[stage]}" for stage in STAGES if stage in limits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """One stage's time for one incident; id 0 is not stored yet.

    While paused, ``due_at`` stands where it stood and ``left_minutes`` (in the limit's own time) say what is
    left. ``said`` counts the steps of its ladder that were told; ``next_at`` is when the next one is (None: never).
    """

    id: int = 0
    incident_id: int
    stage: Stage
    unit_id: int | None
    limit: Limit
    started_at: datetime
    due_at: datetime
    paused_at: datetime | None = None
    left_minutes: int | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    provisional: bool = False
    said: int = 0
    next_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Begin a stage's clock anew (an open one of that stage is cancelled).

    ``limit`` None = as the responsibility list and the catalogue say; no limit there either = no clock.
    ``due_at`` overrides what the limit gives.
    """

    stage: Stage
    limit: Limit | None = None
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Stages that are over; none named = all. ``met`` becomes ``late`` by itself where due_at has passed."""

    stages: tuple[Stage, ...] = ()
    outcome: Literal["met", "cancelled"] = "met"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Every open clock but ``answer`` and ``suspension`` stands still."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resume:
    """What was paused goes on with the time it had left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extend:
    """An open clock gets this much more, counted from its due_at."""

    stage: Stage
    by: Limit


Effect = Start | End | Pause | Resume | Extend
