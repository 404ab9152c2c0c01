"""What the alarms of a span say about the alarm system, judged by the figures of ANSI/ISA-18.2-2016, clause 16.

The figures are for one operator: counts are divided by how many shared the desk. Pure; rows come in counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

BUCKET = timedelta(minutes=10)
FLOOD_BEGINS = 10  # alarms per operator in 10 minutes: more than this is a flood
FLOOD_ENDS = 5  # until fewer than this come in 10 minutes
CHATTER_RAISES = 3  # times, from one source
CHATTER_WITHIN = timedelta(minutes=1)
FLEETING_WITHIN = timedelta(minutes=1)
STALE_AFTER = timedelta(hours=24)
MOST_FREQUENT = 10

TOO_FEW = 150  # alarms: below a quiet day's worth the ten most frequent sources are most of them anyway

Verdict = Literal["good", "watch", "bad", "too_few"]
Unit = Literal["per_10_min", "per_day", "percent", "alarms", "sources"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measure: ``value`` in ``unit``; up to ``good`` it is well, above ``most`` it is not to be borne.

    ``most`` None: each one calls for a plan, however many there are.
    """

    key: str
    value: float
    unit: Unit
    good: float
    most: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Flood:
    """From the first span above the limit to the first that is quiet again; ``peak`` in 10 minutes and operator."""

    begin: datetime
    end: datetime
    alarms: int
    peak: float


def verdict(value: float, good: float, most: float | None) -> Verdict:
    """At the limit is still within it."""
    return "good" if value <= good else "watch" if most is None or value <= most else "bad"


def floods(
    counted: Sequence[tuple[datetime, int]], end: datetime, operators: int, width: timedelta = BUCKET
) -> list[Flood]:
    """Floods among ``counted`` (begin of each span of ``width`` with alarms, their number), in order."""
    found: list[Flood] = []
    by_begin = dict(counted)
    at: datetime | None = None
    for begin, number in counted:
        if at is not None and begin < at:
            continue  # told already, within the last flood
        if number / operators <= FLOOD_BEGINS:
            continue
        at, total, peak = begin, 0, 0.0
        while at < end and by_begin.get(at, 0) / operators >= FLOOD_ENDS:
            total += by_begin[at]
            peak = max(peak, by_begin[at] / operators)
            at += width
        found.append(Flood(begin=begin, end=min(at, end), alarms=total, peak=peak))
    return found


def figures(
    *,
    start: datetime,
    end: datetime,
    operators: int,
    counted: Sequence[tuple[datetime, int]],
    top: int,
    chattering: int,
    fleeting: int,
    stale: int,
) -> list[Figure]:
    """The measures of the standard for [start, end), the most telling first.

    ``top`` = alarms of the ten most frequent sources, ``chattering`` = sources, the others alarms.
    """
    span = end - start
    total = sum(number for _, number in counted)
    each = total / operators
    flooded = sum((flood.end - flood.begin for flood in floods(counted, end, operators)), timedelta())
    over = sum(number / operators > FLOOD_BEGINS for _, number in counted)
    spans = max(1.0, span / BUCKET)
    measures: tuple[tuple[str, float, Unit, float, float | None], ...] = (
        ("rate", each / spans, "per_10_min", 1, 2),
        ("day", each / (span / timedelta(days=1)), "per_day", 150, 300),
        ("peak", max((number / operators for _, number in counted), default=0), "per_10_min", 10, 10),
        ("over", 100 * over / spans, "percent", 1, 1),
        ("flood", 100 * flooded / span, "percent", 1, 1),
        ("top", 100 * top / total if total else 0, "percent", 1, 5),
        ("chattering", chattering, "sources", 0, None),
        ("fleeting", fleeting, "alarms", 0, None),
        ("stale", stale, "alarms", 4, 4),
    )
    return [
        Figure(
            key=key,
            value=value,
            unit=unit,
            good=good,
            most=most,
            verdict="too_few" if key == "top" and total < TOO_FEW else verdict(value, good, most),
        )
        for key, value, unit, good, most in measures
    ]


def shares(by_class: Mapping[str, int]) -> dict[str, float]:
    """Percent by class; the standard looks for about 5 high, 15 medium, 80 low."""
    total = sum(by_class.values())
    return {name: 100 * by_class.get(name, 0) / total if total else 0.0 for name in ("A", "B", "C")}
