"""Where one device stands with one rule that has a limit, and what moves it (diagram in `docs/rules.md`).

What is compared with the limit is a number of each reading: the value itself, its slope, the time it stood still.

Deadband, on-delay and off-delay are counted in event time, so that batches, ticks and replays agree.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from city.alarms import Cleared, Evidence, Raised, Repeated, Transition
from rules.keys import SECOND_US, Direction, StationLevel
from rules.rule import Rule
from rules.schedule import FOREVER_US, Hours
from rules.states import gathered, rfc3339, whole

Limits = tuple[float, float]  # raise at, clear past
EVERY = (1, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConditionRule(Rule, ABC):
    """A number of one metric's readings beyond a limit. Kinds derive from it and say which number."""

    metric: str
    direction: Direction
    on_delay_us: int
    off_delay_us: int
    n_of_m: tuple[int, int] = EVERY  # the condition begins when n of the last m readings are beyond the limit

    def metrics(self) -> frozenset[str]:
        return frozenset({self.metric})

    @abstractmethod
    def terms(self, limits: Limits) -> dict[str, object]:
        """What evidence says of the limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdRule(ConditionRule):
    """The value itself. The condition begins at ``raise_at`` and ends past the clear limit."""

    raise_at: float | StationLevel  # the metric's unit, or one of the station's own levels (metres)
    clear_at: float | None  # the metric's unit; None = raise_at less (direction above) or plus the deadband
    deadband: float  # the metric's unit

    def terms(self, limits: Limits) -> dict[str, object]:
        counted: dict[str, object] = {} if self.n_of_m == EVERY else {"n_of_m": list(self.n_of_m)}
        return {
            "direction": self.direction,
            "limit": f"station.{self.raise_at}" if isinstance(self.raise_at, str) else "constant",
            "raise_at": limits[0],
            "clear_at": limits[1],
            **counted,
        }


class Phase(IntEnum):
    """Where the condition of one device stands."""

    CLEAR = 0
    PENDING = 1  # beyond the limit, the on-delay runs
    STANDING = 2  # raised
    ENDING = 3  # raised, back past the clear limit, the off-delay runs


class Mark(IntEnum):
    """What the columns know of a device: which of its readings can change anything."""

    CLEAR = 0  # only one beyond the limit
    STANDING_OVER = 1  # only one no longer beyond it
    OTHER = 2  # any


CLEAR, STANDING_OVER, OTHER = (
    int(mark) for mark in Mark
)  # for columns: an enum's members are slow to look up


@dataclass(slots=True)
class Condition:
    """State of one (rule, device). Instants are event time; ``lag_us`` leads from them to the clock."""

    phase: Phase = Phase.CLEAR
    began_us: int = 0  # PENDING: beyond since; ENDING: back since
    lag_us: int = 0  # how long the reading at began_us travelled: the clock ends what runs that much later
    raised_us: int = 0
    over: bool = False  # STANDING: the last reading was beyond the limit, not in the deadband
    late: bool = False  # of the reading at began_us
    value: float = 0.0  # of the reading at began_us
    seen: Evidence = field(default_factory=dict)  # of that reading: what was measured beside the value
    recent: int = (
        0  # rules that count n of m: one bit for each of the last readings beyond the limit, newest lowest
    )
    past_from_us: int = 0  # the last episode that is over: readings of it that come later are part of it
    past_to_us: int = 0

    def mark(self) -> Mark:
        if self.phase is Phase.CLEAR:
            return Mark.OTHER if self.recent else Mark.CLEAR
        return Mark.STANDING_OVER if self.phase is Phase.STANDING and self.over else Mark.OTHER

    def saved(self, metric_id: int) -> dict[str, object]:
        state: dict[str, object] = {}
        if self.phase is not Phase.CLEAR:
            state = {"phase": self.phase.name.lower()}
        if self.phase in (Phase.PENDING, Phase.ENDING):
            state |= {
                "began_us": self.began_us,
                "lag_us": self.lag_us,
                "value": self.value,
                "late": self.late,
            }
            state |= {"seen": dict(self.seen)} if self.seen else {}
        if self.phase is Phase.STANDING:
            state |= {"over": self.over} | ({"lag_us": self.lag_us} if self.lag_us else {})
        if self.phase in (Phase.STANDING, Phase.ENDING):
            state |= {"raised_us": self.raised_us, "metric_id": metric_id}
        if self.recent:
            state |= {"recent": self.recent}
        if self.past_to_us:
            state |= {"past_from_us": self.past_from_us, "past_to_us": self.past_to_us}
        return state

    @classmethod
    def loaded(cls, state: Mapping[str, object]) -> "Condition":
        phase = state.get("phase")
        value, seen = state.get("value"), state.get("seen")
        return cls(
            phase=Phase[phase.upper()] if isinstance(phase, str) else Phase.CLEAR,
            began_us=whole(state, "began_us"),
            lag_us=whole(state, "lag_us"),
            raised_us=whole(state, "raised_us"),
            over=bool(state.get("over")),
            late=bool(state.get("late")),
            value=float(value) if isinstance(value, int | float) else 0.0,
            seen=seen if isinstance(seen, Mapping) else {},
            recent=whole(state, "recent"),
            past_from_us=whole(state, "past_from_us"),
            past_to_us=whole(state, "past_to_us"),
        )


@dataclass(frozen=True, slots=True)
class Row:
    observed_us: int
    received_us: int
    value: float  # what the limits are compared with
    late: bool
    seen: Evidence = field(default_factory=dict)  # what evidence says beside or instead of the value


class Course:
    """One device's way through one rule, row by row; collects what happened."""

    def __init__(
        self,
        rule: ConditionRule,
        metric_id: int,
        device_id: int,
        limits: Limits,
        state: Condition,
        hours: Hours | None = None,
    ) -> None:
        """``hours``: the rule's schedule in the district's zone; outside it readings do not count."""
        self.state = state
        self._hours = hours
        self.transitions: list[Transition] = []
        self._rule = rule
        self._metric_id = metric_id
        self._device_id = device_id
        self._raise_at, self._clear_at = limits
        self._repeats = 0
        self._repeated_by: Row | None = None

    def read(self, row: Row) -> None:
        """A reading newer than all before it."""
        self.expire(row.observed_us)
        if self._span_end(row.observed_us) is None:
            return
        state = self.state
        recent = self._counted(state.recent, row.value)
        state.recent = recent if self._rule.n_of_m != EVERY else 0
        over = self._enough(recent)
        past_clear = not over and self._past_clear(row.value)
        if state.phase is Phase.CLEAR and over:
            self._begin(Phase.PENDING, row)
        elif state.phase is Phase.PENDING and past_clear:
            self._rest()
        elif state.phase is Phase.STANDING:
            if past_clear:
                state.over = False
                self._begin(Phase.ENDING, row)
            elif over and not state.over:
                self._repeat(row)
                state.over = True
            else:
                state.over = over
        elif state.phase is Phase.ENDING and over:
            self._stand(state.raised_us)
            self._repeat(row)
        self.expire(row.observed_us)

    def expire(self, instant_us: int) -> None:
        """Let the delay that runs, if it is over by ``instant_us`` (event time), have its effect."""
        state = self.state
        ends_us = self._schedule_ends()
        last_us = min(instant_us, ends_us - 1)  # what runs until the schedule's end has no effect any more
        if state.phase is Phase.PENDING and state.began_us + self._rule.on_delay_us <= last_us:
            raised_us = state.began_us + self._rule.on_delay_us
            self._raise(raised_us, self._begun(), None)
            self._stand(raised_us)
        elif state.phase is Phase.ENDING and state.began_us + self._rule.off_delay_us <= last_us:
            self._clear(state.began_us + self._rule.off_delay_us)
        if ends_us <= instant_us and self.state.phase is not Phase.CLEAR:
            self._end_of_schedule(ends_us)

    def expire_by_clock(self, clock_us: int) -> None:
        """The same when a device says no more: counted from the arrival of the reading that began it.

        So a device whose readings travel for three minutes is judged by the same series as one next door.
        """
        self.expire(clock_us - self.state.lag_us)

    def backfill(self, rows: Sequence[Row], newest_us: int) -> None:
        """Readings older than the newest known: history, which never changes where the condition stands."""
        first: Row | None = None
        recent = 0
        ends_us = FOREVER_US  # of the schedule that ``first`` lies in
        for row in rows:
            recent = self._counted(recent, row.value)
            over = self._enough(recent)
            past_clear = not over and self._past_clear(row.value)
            if first is not None and (ends_us <= row.observed_us or past_clear):
                self._record(first, min(row.observed_us, ends_us))
                first = None
            if first is None and over:
                span_end = self._span_end(row.observed_us)
                first, ends_us = (None, FOREVER_US) if span_end is None else (row, span_end)
        if first is not None:
            self._record(first, min(newest_us, ends_us))

    def finish(self) -> list[Transition]:
        """All that happened, in order."""
        self._say_repeats()
        return gathered(self.transitions)

    def stop_applying(self, now_us: int) -> None:
        """The device changed its kind or lost its level: a standing alarm would never clear."""
        if self.state.phase in (Phase.STANDING, Phase.ENDING):
            evidence = {"reason": "rule no longer applies to this device", "rule_version": self._rule.version}
            self.transitions.append(self._cleared(max(now_us, self.state.raised_us), evidence))
        self.state.recent = 0
        self._rest()

    def _span_end(self, observed_us: int) -> int | None:
        """When the schedule around an instant ends; None = the rule was not in force then."""
        return FOREVER_US if self._hours is None else self._hours.end_us(observed_us)

    def _schedule_ends(self) -> int:
        state = self.state
        if self._hours is None or state.phase is Phase.CLEAR:
            return FOREVER_US
        since_us = state.began_us if state.phase is Phase.PENDING else state.raised_us
        ends_us = self._hours.end_us(since_us)
        return (
            since_us if ends_us is None else ends_us
        )  # None: the schedule is not the one it was raised under

    def _end_of_schedule(self, ends_us: int) -> None:
        if self.state.phase in (Phase.STANDING, Phase.ENDING):
            self._say_repeats()
            evidence = {
                "reason": "schedule ended",
                "schedule_ended_at": rfc3339(ends_us),
                "rule_version": self._rule.version,
            }
            self._close(ends_us, evidence)
        self._rest()

    def _counted(self, recent: int, value: float) -> int:
        """The bits of the last m readings, with this one."""
        beyond = value >= self._raise_at if self._rule.direction == "above" else value <= self._raise_at
        return (recent << 1 | beyond) & ((1 << self._rule.n_of_m[1]) - 1)

    def _enough(self, recent: int) -> bool:
        return recent.bit_count() >= self._rule.n_of_m[0]

    def _past_clear(self, value: float) -> bool:
        return value < self._clear_at if self._rule.direction == "above" else value > self._clear_at

    def _begin(self, phase: Phase, row: Row) -> None:
        state = self.state
        state.phase, state.began_us, state.value, state.late = phase, row.observed_us, row.value, row.late
        state.seen = row.seen
        state.lag_us = max(0, row.received_us - row.observed_us)

    def _stand(self, raised_us: int) -> None:
        lag_us = 0 if self._hours is None else self.state.lag_us
        self._rest()
        self.state.phase, self.state.over, self.state.raised_us = Phase.STANDING, True, raised_us
        self.state.lag_us = lag_us

    def _rest(self) -> None:
        old = self.state
        self.state = Condition(past_from_us=old.past_from_us, past_to_us=old.past_to_us, recent=old.recent)

    def _repeat(self, row: Row) -> None:
        self._repeats += 1
        self._repeated_by = row

    def _record(self, first: Row, ended_us: int) -> None:
        """One episode found in the past. Part of the standing one: a repeat. Already recorded: nothing."""
        state = self.state
        if state.phase in (Phase.STANDING, Phase.ENDING):
            standing_from_us = state.raised_us - self._rule.on_delay_us
            if first.observed_us >= standing_from_us:
                self._repeat(first)
                return
            ended_us = min(ended_us, standing_from_us)
        if state.past_from_us <= first.observed_us <= state.past_to_us:
            return
        raised_us = first.observed_us + self._rule.on_delay_us
        if raised_us > ended_us:
            return
        self._raise(raised_us, first, ended_us)
        state.past_from_us, state.past_to_us = first.observed_us, ended_us

    def _begun(self) -> Row:
        """The reading at which what runs began."""
        state = self.state
        return Row(state.began_us, state.began_us + state.lag_us, state.value, state.late, state.seen)

    def _raise(self, raised_us: int, first: Row, cleared_us: int | None) -> None:
        evidence = self._evidence(first)
        if self._rule.on_delay_us:
            evidence |= {"on_delay_s": self._rule.on_delay_us / SECOND_US}
        if cleared_us is not None:
            evidence |= {"backfill": True, "over_at": rfc3339(cleared_us)}
        self.transitions.append(
            Raised(
                rule_id=self._rule.rule_id,
                rule_version=self._rule.version,
                device_id=self._device_id,
                metric_id=self._metric_id,
                raised_us=raised_us,
                level=self._rule.level,
                category=self._rule.category,
                incident_class=self._rule.incident_class,
                late=first.late,
                evidence=evidence,
                cleared_us=cleared_us,
            )
        )

    def _clear(self, cleared_us: int) -> None:
        self._say_repeats()
        evidence = self._evidence(self._begun())
        if self._rule.off_delay_us:
            evidence |= {"off_delay_s": self._rule.off_delay_us / SECOND_US}
        self._close(cleared_us, evidence)
        self._rest()

    def _close(self, cleared_us: int, evidence: Evidence) -> None:
        cleared_us = max(cleared_us, self.state.raised_us)
        self.transitions.append(self._cleared(cleared_us, evidence))
        # A broker that sends again out of order brings readings of this episode after its end: the same episode.
        self.state.past_from_us = self.state.raised_us - self._rule.on_delay_us
        self.state.past_to_us = cleared_us

    def _cleared(self, cleared_us: int, evidence: Evidence) -> Cleared:
        return Cleared(
            rule_id=self._rule.rule_id,
            device_id=self._device_id,
            metric_id=self._metric_id,
            cleared_us=cleared_us,
            evidence=evidence,
        )

    def _say_repeats(self) -> None:
        if self._repeated_by is None:
            return
        self.transitions.append(
            Repeated(
                rule_id=self._rule.rule_id,
                device_id=self._device_id,
                metric_id=self._metric_id,
                count=self._repeats,
                evidence=self._evidence(self._repeated_by),
            )
        )
        self._repeats, self._repeated_by = 0, None

    def _evidence(self, row: Row) -> dict[str, object]:
        return {
            "metric": self._rule.metric,
            "value": row.value,
            "observed_at": rfc3339(row.observed_us),
            **self._rule.terms((self._raise_at, self._clear_at)),
            **row.seen,
            "rule_version": self._rule.version,
        }


AT_REST = Condition()
