"""What is odd in a station's series, in words: marked beside the curve, never hidden, never decided on.

Pure: the steps of a hydrograph go in, marks come out. A mark says what was seen, not whose fault it was: a river at
low water really stands still for hours, and a step may be a sluice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from city.observations import Quality
from city.stations import Measures, Step

FLAT_AFTER = timedelta(hours=6)  # water that moves by less than the gauge's last digit for so long
GAP_INTERVALS = 3  # missed reports, as everywhere
GAP_AT_LEAST = timedelta(minutes=10)
USUAL_INTERVAL_S = 600  # of a station that names none
JUMP_M = 0.3  # between two neighbouring readings: more than a river rises in one report
JUMP_RATIO = 4  # and as many times what it moved within the readings around
JUMP_AROUND = 4  # readings on either side that must be calm
UNSETTLED = timedelta(hours=6)  # after so long a step is what the river now is
_SENTINEL_M = 900.0  # -990, -999.9, 9999: no gauge says so about water


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Something odd from ``start`` to ``end``; ``kind`` sentinel, out_of_range, spike, flat, gap or step."""

    start: datetime
    end: datetime
    kind: str
    text: str
    text_en: str


def marks(
    steps: Sequence[Step],
    *,
    measures: Measures,
    expected_interval_s: int | None,
    start: datetime,
    end: datetime,
) -> list[Mark]:
    """Everything odd between ``start`` and ``end``, by time. ``steps`` are in order of time."""
    interval = timedelta(seconds=expected_interval_s or USUAL_INTERVAL_S)
    found = [*_odd(steps), *_flat(steps, dry_is_calm=measures == "depth"), *_jumps(steps, interval)]
    found += _gaps(steps, max(GAP_INTERVALS * interval, GAP_AT_LEAST), start, end)
    return sorted(found, key=lambda mark: (mark.start, mark.end, mark.kind))


def _runs(steps: Sequence[Step], kind_of: Callable[[Step], str | None]) -> Iterable[tuple[str, list[Step]]]:
    """Neighbouring steps of one kind together; those of no kind are left out."""
    run: list[Step] = []
    kind: str | None = None
    for step in steps:
        now = kind_of(step)
        if run and now != kind:
            if kind is not None:
                yield kind, run
            run = []
        kind = now
        run.append(step)
    if run and kind is not None:
        yield kind, run


# ── what no gauge can read ───────────────────────────────────────────────────────────────────────────


def _odd(steps: Sequence[Step]) -> Iterable[Mark]:
    words = {
        "sentinel": ("无效值", "no measurement"),
        "out_of_range": ("超出可能范围", "outside the possible range"),
        "spike": ("跳变，未被后续读数证实", "a jump that no later reading confirmed"),
    }
    for kind, run in _runs(steps, _kind_of_odd):
        values = _between(run)
        count = sum(step.odd for step in run)
        zh, en = words[kind]
        plural = "s" if count > 1 else ""
        yield Mark(
            start=run[0].first_at,
            end=run[-1].last_at,
            kind=kind,
            text=f"{count} 个读数 {values} m：{zh}，不参与判断",
            text_en=f"{count} reading{plural} of {values} m: {en}; decided on by nothing",
        )


def _kind_of_odd(step: Step) -> str | None:
    if not step.odd or step.odd_low is None or step.odd_high is None:
        return None
    if step.odd_low <= -_SENTINEL_M or step.odd_high >= 9 * _SENTINEL_M or step.odd_low == step.odd_high == 0:
        return "sentinel"
    return (
        "spike"
        if step.quality & Quality.SPIKE and not step.quality & Quality.OUT_OF_RANGE
        else "out_of_range"
    )


def _between(run: Sequence[Step]) -> str:
    low = min(step.odd_low for step in run if step.odd_low is not None)
    high = max(step.odd_high for step in run if step.odd_high is not None)
    return f"{low:g}" if low == high else f"{low:g}…{high:g}"


# ── water that does not move ─────────────────────────────────────────────────────────────────────────


def _flat(steps: Sequence[Step], *, dry_is_calm: bool) -> Iterable[Mark]:
    run: list[Step] = []
    for step in [step for step in steps if step.highest is not None]:
        same = bool(run) and step.highest == step.lowest == run[0].highest == run[0].lowest
        if not same:
            yield from _flat_mark(run, dry_is_calm)
            run = []
        run.append(step)
    yield from _flat_mark(run, dry_is_calm)


def _flat_mark(run: Sequence[Step], dry_is_calm: bool) -> Iterable[Mark]:
    if not run or run[0].highest is None or (dry_is_calm and run[0].highest <= 0):
        return
    lasted = run[-1].last_at - run[0].first_at
    said = any(step.quality & Quality.STUCK for step in run)
    if lasted < FLAT_AFTER and not said:
        return
    hours = lasted.total_seconds() / 3600
    yield Mark(
        start=run[0].first_at,
        end=run[-1].last_at,
        kind="flat",
        text=f"{hours:.1f} 小时不变，一直为 {run[0].highest:.2f} m：请核对水位计",
        text_en=f"unchanged at {run[0].highest:.2f} m for {hours:.1f} h: check the gauge",
    )


# ── steps of the datum, and gaps ─────────────────────────────────────────────────────────────────────


def _jumps(steps: Sequence[Step], interval: timedelta) -> Iterable[Mark]:
    return jumps([(step.last_at, step.highest) for step in steps if step.highest is not None], interval)


def jumps(read: Sequence[tuple[datetime, float]], interval: timedelta) -> Iterable[Mark]:
    """Steps between two readings with calm water on both sides: a gauge was moved, or its zero was.

    ``read`` is in order of time, metres; ``interval`` is between two of them.
    """
    for at in range(JUMP_AROUND, len(read) - JUMP_AROUND + 1):
        (before_at, before), (after_at, after) = read[at - 1], read[at]
        size = abs(after - before)
        if size < JUMP_M or after_at - before_at > GAP_INTERVALS * max(interval, GAP_AT_LEAST):
            continue
        around = max(_moved(read[at - JUMP_AROUND : at]), _moved(read[at : at + JUMP_AROUND]))
        if size >= JUMP_RATIO * around:
            yield Mark(
                start=before_at,
                end=after_at,
                kind="step",
                text=f"两次读数间由 {before:.2f} 变为 {after:.2f} m，前后平稳：可能是水尺零点变动",
                text_en=f"from {before:.2f} to {after:.2f} m between two readings, calm before and after: "
                "the gauge's zero may have moved",
            )


def unsettled_jump(read: Sequence[tuple[datetime, float]], interval: timedelta, now: datetime) -> Mark | None:
    """The newest step of the last ``UNSETTLED`` that the water has not come back from; None = no doubt."""
    recent = [(at, level) for at, level in read if at > now - UNSETTLED]
    found = list(jumps(recent, interval))
    if not found:
        return None
    level_at = dict(recent)
    before, after = level_at[found[0].start], level_at[found[0].end]
    returned = abs(recent[-1][1] - before) < abs(after - before) / 2
    return None if returned else found[-1]


def _moved(read: Sequence[tuple[datetime, float]]) -> float:
    return max(value for _, value in read) - min(value for _, value in read)


def _gaps(steps: Sequence[Step], longest: timedelta, start: datetime, end: datetime) -> Iterable[Mark]:
    edges = [(start, start), *((step.first_at, step.last_at) for step in steps), (end, end)]
    for (_, last_at), (next_at, _) in pairwise(edges):
        if next_at - last_at > longest:
            hours = (next_at - last_at).total_seconds() / 3600
            yield Mark(
                start=last_at,
                end=next_at,
                kind="gap",
                text=f"{hours:.1f} 小时无读数",
                text_en=f"no reading for {hours:.1f} h",
            )
