"""A camera's events as episodes: raised by the first that matches, ended when none has recurred for a while.

A camera rarely says that a thing is gone, so hearing no more of it is the end; only time in which we
listened counts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, Raised, Repeated, Transition
from city.observations import Detection, Quality
from rules.books import Batch, Moment, Surroundings
from rules.keys import SECOND_US, Keys
from rules.rule import Rule, read_common
from rules.schedule import FOREVER_US, Hours
from rules.states import StateRow, gathered, rfc3339, whole


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionRule(Rule):
    """A camera's event of certain labels; ends by itself when it stops recurring."""

    labels: frozenset[str]
    min_score: float  # 0-1; an event without a score was decided by the camera and counts
    zones: frozenset[str]  # empty = anywhere
    clear_after_us: int
    dwell_us: int = 0  # how long it must have been seen without a pause of ``clear_after``
    count: int = 1  # how many events of their own must have begun in that time

    @property
    def at_once(self) -> bool:
        return self.dwell_us == 0 and self.count == 1


def read(keys: Keys, version: int) -> DetectionRule:
    """A rule of type "detection"."""
    kinds = frozenset({keys.code("kind")})
    return DetectionRule(
        **read_common(keys, version, kinds),
        labels=keys.texts("labels", needed=True),
        min_score=keys.number("min_score", 0.0, least=0.0, most=1.0),
        zones=keys.texts("zones"),
        clear_after_us=keys.delay_us("clear_after_s", 120, least=1),
        dwell_us=keys.delay_us("dwell_s", 0),
        count=keys.whole_number("count", 1, least=1, most=1000),
    )


@dataclass(slots=True)
class Sighting:
    """State of one (rule, camera). ``raised_us`` 0 = nothing stands."""

    raised_us: int = 0
    last_us: int = 0  # event time of the newest matching event, also after the end: older ones are history
    arrived_us: int = 0  # arrival of that event
    late: bool = False
    first_us: int = 0  # nothing stands yet: seen since, without a pause; 0 = not, or the rule raises at once
    begun: int = 0  # events that began since then

    def saved(self) -> dict[str, object]:
        state: dict[str, object] = {"last_us": self.last_us, "arrived_us": self.arrived_us}
        state |= {"first_us": self.first_us, "begun": self.begun} if self.first_us else {}
        return state | ({"raised_us": self.raised_us, "late": self.late} if self.raised_us else {})

    @classmethod
    def loaded(cls, state: Mapping[str, object]) -> "Sighting":
        return cls(
            raised_us=whole(state, "raised_us"),
            last_us=whole(state, "last_us"),
            arrived_us=whole(state, "arrived_us"),
            late=bool(state.get("late")),
            first_us=whole(state, "first_us"),
            begun=whole(state, "begun"),
        )


@dataclass(frozen=True, slots=True)
class DetectionChanges:
    """What one decision does to a book once it is committed."""

    states: dict[int, Sighting]


class DetectionBook:
    """All states of one detection rule; cameras that never saw anything take no room."""

    def __init__(self, rule: DetectionRule, around: Surroundings) -> None:
        self.rule = rule
        self._fleet = around.fleet
        self._hours = None if rule.schedule is None else Hours(rule.schedule, around.zone)
        self._states: dict[int, Sighting] = {}
        self._standing: set[int] = set()

    def grow(self, size: int) -> None:
        """Nothing is kept by device number."""

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        """What a camera saw stays seen; it ends by itself."""

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule."""
        return not state or "last_us" in state

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        if state:
            self._set(device_id, Sighting.loaded(state))

    def decide(self, batch: Batch) -> tuple[list[Transition], DetectionChanges] | None:
        """What the events change. They may come in any order."""
        if not batch.detections:
            return None
        matching = sorted(
            (detection for detection in batch.detections if self._matches(detection)),
            key=lambda detection: (detection.device_id, detection.observed_us),
        )
        transitions: list[Transition] = []
        changed: dict[int, Sighting] = {}
        for detection in matching:
            device_id = detection.device_id
            state = changed.get(device_id) or replace(self._states.get(device_id, _NEVER))
            transitions += self._see(state, detection)
            changed[device_id] = state
        changed = {
            device: state for device, state in changed.items() if state != self._states.get(device, _NEVER)
        }
        return gathered(transitions), DetectionChanges(changed)

    def tick(self, moment: Moment) -> tuple[list[Transition], DetectionChanges]:
        """End what has not recurred for ``clear_after`` of listening, and what the schedule ends."""
        transitions: list[Transition] = []
        changed: dict[int, Sighting] = {}
        standing = sorted(self._standing)
        if not standing:
            return transitions, DetectionChanges(changed)
        arrived = np.array([self._states[device_id].arrived_us for device_id in standing], dtype=np.int64)
        heard: NDArray[np.int64] = moment.listened.listened(arrived, moment.clock_us)
        stopped = heard >= self.rule.clear_after_us
        for place, device_id in enumerate(standing):
            state = self._states[device_id]
            over_us = FOREVER_US
            if stopped[place]:
                deaf_us = max(0, moment.clock_us - state.arrived_us - int(heard[place]))
                over_us = state.last_us + self.rule.clear_after_us + deaf_us
            ends_us = self._schedule_ends(state)
            if ends_us > moment.clock_us - (state.arrived_us - state.last_us):
                ends_us = FOREVER_US  # events from before the end may still be on their way
            if min(over_us, ends_us) < FOREVER_US:
                changed[device_id] = replace(state)
                transitions.append(self._end(changed[device_id], device_id, over_us, ends_us))
        return transitions, DetectionChanges(changed)

    def accept(self, changes: DetectionChanges) -> None:
        for device_id, state in changes.states.items():
            self._set(device_id, state)

    def rows(self, changes: DetectionChanges) -> Iterator[StateRow]:
        for device_id, state in changes.states.items():
            yield StateRow(rule_id=self.rule.rule_id, device_id=device_id, state=state.saved())

    def _set(self, device_id: int, state: Sighting) -> None:
        self._states[device_id] = state
        if state.raised_us:
            self._standing.add(device_id)
        else:
            self._standing.discard(device_id)

    def _matches(self, detection: Detection) -> bool:
        rule = self.rule
        return (
            detection.label in rule.labels
            and bool(self._fleet.applies(self.rule.rule_id)[detection.device_id])
            and (detection.score is None or detection.score >= rule.min_score)
            and (not rule.zones or detection.zone in rule.zones)
            and not detection.quality & (Quality.CLOCK_AHEAD | Quality.RETAINED)
            and (self._hours is None or self._hours.end_us(detection.observed_us) is not None)
        )

    def _schedule_ends(self, state: Sighting) -> int:
        if self._hours is None:
            return FOREVER_US
        ends_us = self._hours.end_us(state.raised_us)
        return state.raised_us if ends_us is None else ends_us  # None: it was raised under another schedule

    def _see(self, state: Sighting, detection: Detection) -> Iterator[Transition]:
        """One matching event, changing ``state``. An ``end`` prolongs what stands but begins nothing."""
        rule = self.rule
        observed_us = detection.observed_us
        if state.raised_us:
            over_us, ends_us = state.last_us + rule.clear_after_us, self._schedule_ends(state)
            if observed_us >= min(over_us, ends_us):
                yield self._end(state, detection.device_id, over_us, ends_us)
        if state.raised_us and observed_us >= state.raised_us:
            if detection.state == "new":
                yield self._repeated(detection)
        elif not rule.at_once and not self._long_enough(state, detection):
            if observed_us < state.last_us or not state.first_us:
                return
        elif detection.state != "end" or not rule.at_once:
            history = observed_us <= state.last_us and rule.at_once
            over_us = observed_us + rule.clear_after_us
            if state.raised_us:
                over_us = min(over_us, state.raised_us)
            if self._hours is not None:
                over_us = min(over_us, self._hours.end_us(observed_us) or over_us)
            yield self._raised(detection, over_us if history else None)
            if not history:
                state.first_us = state.begun = 0
                state.raised_us = observed_us
                state.late = bool(detection.quality & Quality.LATE)
        else:
            return
        if observed_us >= state.last_us:
            state.last_us, state.arrived_us = observed_us, max(observed_us, detection.received_us)

    def _long_enough(self, state: Sighting, detection: Detection) -> bool:
        """Count the event in; whether it was seen for so long, and so often, by now. History counts for nothing."""
        rule, observed_us = self.rule, detection.observed_us
        if observed_us < state.last_us:
            return False
        ends_us = FOREVER_US if self._hours is None else self._hours.end_us(state.first_us or observed_us)
        if observed_us >= state.last_us + rule.clear_after_us or observed_us >= (ends_us or 0):
            state.first_us = state.begun = 0
        if detection.state == "end" and not state.first_us:
            return False
        state.first_us = state.first_us or observed_us
        state.begun += detection.state == "new"
        return observed_us - state.first_us >= rule.dwell_us and max(state.begun, 1) >= rule.count

    def _raised(self, detection: Detection, cleared_us: int | None) -> Raised:
        return Raised(
            rule_id=self.rule.rule_id,
            rule_version=self.rule.version,
            device_id=detection.device_id,
            metric_id=None,
            raised_us=detection.observed_us,
            level=self.rule.level,
            category=self.rule.category,
            incident_class=self.rule.incident_class,
            late=bool(detection.quality & Quality.LATE),
            evidence=self._evidence(detection),
            cleared_us=cleared_us,
        )

    def _repeated(self, detection: Detection) -> Repeated:
        return Repeated(
            rule_id=self.rule.rule_id,
            device_id=detection.device_id,
            metric_id=None,
            count=1,
            evidence=self._evidence(detection),
        )

    def _end(self, state: Sighting, device_id: int, over_us: int, schedule_ends_us: int) -> Cleared:
        """Over because it has not recurred, or because the schedule ended before that."""
        cleared_us = max(min(over_us, schedule_ends_us), state.raised_us)
        by_schedule = schedule_ends_us < over_us
        state.raised_us, state.late = 0, False
        return Cleared(
            rule_id=self.rule.rule_id,
            device_id=device_id,
            metric_id=None,
            cleared_us=cleared_us,
            evidence={
                "reason": "schedule ended" if by_schedule else "no further detection",
                "last_seen_at": rfc3339(state.last_us),
                "clear_after_s": self.rule.clear_after_us / SECOND_US,
                "rule_version": self.rule.version,
            },
        )

    def _evidence(self, detection: Detection) -> dict[str, object]:
        return {
            "label": detection.label,
            "score": detection.score,
            "min_score": self.rule.min_score,
            "zone": detection.zone,
            "event": detection.event_key,
            "url": detection.url,
            "observed_at": rfc3339(detection.observed_us),
            **(
                {}
                if self.rule.at_once
                else {"dwell_s": self.rule.dwell_us / SECOND_US, "count": self.rule.count}
            ),
            "rule_version": self.rule.version,
        }


_NEVER = Sighting()
