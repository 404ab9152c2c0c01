"""Devices that owe us a word: nothing heard for several expected intervals of the time in which we listened.

Looked at on the clock only, over all devices at once. A gap of ours adds nothing to anybody's silence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, Raised, Transition
from rules.books import Batch, Moment, Surroundings
from rules.fleet import UNKNOWN_KIND, grown
from rules.keys import SECOND_US, Keys
from rules.rule import Rule, read_common
from rules.states import StateRow, rfc3339, whole

MAX_PER_TICK = (
    2000  # a district that falls silent at once is written down over some ticks, not in one huge commit
)
_NOT_RAISED = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class SilenceRule(Rule):
    """A device that has said nothing for several of its expected intervals while we listened."""

    factor: float
    min_us: int


def read(keys: Keys, version: int) -> SilenceRule:
    """A rule of type "silence"."""
    return SilenceRule(
        **read_common(keys, version, keys.texts("kinds")),
        factor=keys.number("factor", 3.0, least=1.0, most=1000.0),
        min_us=keys.delay_us("min_s", 120),
    )


@dataclass(frozen=True, slots=True)
class SilenceChanges:
    """What one decision does to a book once it is committed.

    By device: (raised_us, heard_us before that), None = heard again.
    """

    states: dict[int, tuple[int, int] | None]


class SilenceBook:
    """All states of one silence rule, 16 bytes a device."""

    def __init__(self, rule: SilenceRule, around: Surroundings) -> None:
        self.rule = rule
        self._fleet = around.fleet
        self._raised_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._heard_before: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def grow(self, size: int) -> None:
        if size > len(self._raised_us):
            self._raised_us = grown(self._raised_us, size)
            self._heard_before = grown(self._heard_before, size, _NOT_RAISED)

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule."""
        return not state or "heard_us" in state

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        if state:
            self._raised_us[device_id] = whole(state, "raised_us")
            self._heard_before[device_id] = whole(state, "heard_us")

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        """Every tick looks at the whole register anyway."""

    def decide(self, batch: Batch) -> None:
        """Readings change nothing here but who was heard, which the engine writes down."""

    def tick(self, moment: Moment) -> tuple[list[Transition], SilenceChanges]:
        """At most MAX_PER_TICK devices fall silent in one tick; the others follow in the next."""
        now_us, listened = moment.now_us, moment.listened
        transitions: list[Transition] = []
        states: dict[int, tuple[int, int] | None] = {}
        horizon_us = listened.horizon_us(now_us)
        limit = np.maximum(self._fleet.interval_us * self.rule.factor, self.rule.min_us).astype(np.int64)
        expected = self._expected()
        standing = self._heard_before != _NOT_RAISED
        ended = standing & ((self._fleet.heard_us > self._heard_before) | ~expected)
        for device_id in np.flatnonzero(ended)[:MAX_PER_TICK].tolist():
            transitions.append(self._cleared(device_id, now_us))
            states[device_id] = None
        since = np.maximum(self._fleet.heard_us, self._fleet.known_from_us)
        overdue = np.flatnonzero(expected & ~standing & (horizon_us - since >= limit))
        silent = listened.listened(since[overdue], horizon_us)
        due = silent >= limit[overdue]
        for device_id, silent_us in zip(
            overdue[due][:MAX_PER_TICK].tolist(), silent[due].tolist(), strict=False
        ):
            raised_us = horizon_us - (silent_us - int(limit[device_id]))
            transitions.append(self._raised(device_id, raised_us, int(limit[device_id])))
            states[device_id] = (raised_us, int(self._fleet.heard_us[device_id]))
        return transitions, SilenceChanges(states)

    def accept(self, changes: SilenceChanges) -> None:
        for device_id, state in changes.states.items():
            self._raised_us[device_id], self._heard_before[device_id] = state or (0, _NOT_RAISED)

    def rows(self, changes: SilenceChanges) -> Iterator[StateRow]:
        for device_id, state in changes.states.items():
            kept: dict[str, object] = {} if state is None else {"raised_us": state[0], "heard_us": state[1]}
            yield StateRow(rule_id=self.rule.rule_id, device_id=device_id, state=kept)

    def _expected(self) -> NDArray[np.bool_]:
        """Devices whose word is owed: in service, with an expected interval, of the rule's scope."""
        fleet = self._fleet
        applies = fleet.applies(self.rule.rule_id)
        expected: NDArray[np.bool_] = (
            fleet.in_service & (fleet.interval_us > 0) & (fleet.kind != UNKNOWN_KIND) & applies
        )
        return expected

    def _raised(self, device_id: int, raised_us: int, limit_us: int) -> Raised:
        heard_us = int(self._fleet.heard_us[device_id])
        return Raised(
            rule_id=self.rule.rule_id,
            rule_version=self.rule.version,
            device_id=device_id,
            metric_id=None,
            raised_us=raised_us,
            level=self.rule.level,
            category=self.rule.category,
            incident_class=self.rule.incident_class,
            late=False,
            evidence={
                "last_heard_at": rfc3339(heard_us) if heard_us else None,
                "never_heard": heard_us == 0,
                "known_from": rfc3339(int(self._fleet.known_from_us[device_id])),
                "expected_interval_s": int(self._fleet.interval_us[device_id]) // SECOND_US,
                "silent_for_s": limit_us / SECOND_US,
                "rule_version": self.rule.version,
            },
        )

    def _cleared(self, device_id: int, now_us: int) -> Cleared:
        heard_us = int(self._fleet.heard_us[device_id])
        heard_again = heard_us > int(self._heard_before[device_id])
        evidence: dict[str, object] = {"rule_version": self.rule.version}
        if heard_again:
            evidence |= {"reason": "heard again", "heard_at": rfc3339(heard_us)}
        else:
            evidence |= {"reason": "no longer expected to report"}
        ended_us = heard_us if heard_again else now_us
        return Cleared(
            rule_id=self.rule.rule_id,
            device_id=device_id,
            metric_id=None,
            cleared_us=max(ended_us, int(self._raised_us[device_id])),
            evidence=evidence,
        )
