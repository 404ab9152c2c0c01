"""What the rules know of each device: columns indexed by the dense database id, looked up a batch at once.

A million devices cost about 60 bytes each here, one more for each rule, and nothing per batch. Where only a part of
the district is known, ``rules.numbers`` stand for the ids.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rules.keys import SECOND_US, StationLevel
from rules.numbers import Numbers
from rules.scope import Scope, Scoped, in_force

UNKNOWN_KIND = 0  # kind code of an id nobody made known
_FIRST_CAPACITY = 1024

_NOWHERE: Mapping[str, str] = MappingProxyType({})

ScalarT = TypeVar("ScalarT", bound=np.generic)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """One device of the register. Levels are metres above the station's datum, None = unset."""

    device_id: int
    kind: str
    expected_interval_s: int | None  # None = nobody knows when to miss it
    in_service: bool  # False = out of service or retired: its silence means nothing
    warning_m: float | None
    guaranteed_m: float | None
    highest_m: float | None
    known_from_us: int  # registered_at
    last_heard_us: int | None
    code: str = ""
    model: str = ""
    tags: frozenset[str] = frozenset()
    places: Mapping[str, str] = field(
        default_factory=lambda: _NOWHERE
    )  # area codes by layer: cell, community, street
    gateway_id: int = 0  # the device it reports through; 0 = none that is known


class Fleet:
    """The columns. ``heard_us`` is the last arrival, 0 = never heard."""

    def __init__(self, numbers: Numbers | None = None) -> None:
        """``numbers`` stand for the ids of facts in the columns, where only a part of the district is known."""
        self._numbers = numbers
        self.size = 0  # ids 0 .. size-1 can be looked up
        self.kind: NDArray[np.int16] = np.zeros(0, dtype=np.int16)
        self.interval_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # 0 = not expected to report
        self.in_service: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.known_from_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.heard_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.station_levels: dict[StationLevel, NDArray[np.float64]] = {
            "warning": np.zeros(0),
            "guaranteed": np.zeros(0),
            "highest": np.zeros(0),
        }
        self.gateway: NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # 0 = none
        self.codes: dict[int, str] = {}  # of the devices behind a gateway, which its evidence names
        self._rules: Sequence[Scoped] = ()
        self._applies: dict[str, NDArray[np.bool_]] = {}
        self._kind_codes: dict[str, int] = {}
        self._picked: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # all False between calls

    def follow(self, rules: Sequence[Scoped]) -> None:
        """The rules whose devices are to be known; before the first ``know``."""
        self._rules = rules
        self._applies = {rule.rule_id: np.zeros(self.size, dtype=np.bool_) for rule in rules}

    def following(self, rules: Sequence[Scoped]) -> "Fleet | None":
        """The same devices for other rules, without asking the register again; None = it has to be asked.

        The columns are shared: of the two, one is used on. Which rule is in force where, kinds and families of
        their own tell; the others are carried over as long as none of them was added, ended or moved.
        """
        alone, before = _alone(rules), _alone(self._rules)
        rest = {_ground(rule) for rule in rules if rule not in alone}
        if rest != {_ground(rule) for rule in self._rules if rule not in before}:
            return None
        heir = copy.copy(self)
        heir._rules = rules
        heir._applies = {rule_id: self._applies[rule_id] for rule_id, _, _ in rest}
        known = self.kind != UNKNOWN_KIND
        for rule in alone:
            codes = [self.kind_code(kind) for kind in rule.scope.kinds]
            heir._applies[rule.rule_id] = np.isin(self.kind, codes) if codes else known.copy()
        return heir

    def applies(self, rule_id: str) -> NDArray[np.bool_]:
        """By device id: whether this rule is the one of its family in force there. To be read, not kept."""
        return self._applies[rule_id]

    def kind_code(self, kind: str) -> int:
        """The number that stands for a kind in the columns; the same for the life of the process."""
        return self._kind_codes.setdefault(kind, UNKNOWN_KIND + 1 + len(self._kind_codes))

    def grow(self, size: int) -> None:
        """Room for ids below ``size``; doubles, so that a million registrations copy little."""
        if size <= self.size:
            return
        size = max(size, 2 * self.size, _FIRST_CAPACITY)
        self.kind = grown(self.kind, size)
        self.interval_us = grown(self.interval_us, size)
        self.in_service = grown(self.in_service, size)
        self.known_from_us = grown(self.known_from_us, size)
        self.heard_us = grown(self.heard_us, size)
        self.station_levels = {
            name: grown(column, size, np.nan) for name, column in self.station_levels.items()
        }
        self.gateway = grown(self.gateway, size)
        self._applies = {rule_id: grown(column, size) for rule_id, column in self._applies.items()}
        self._picked = grown(self._picked, size)
        self.size = size

    def know(self, facts: Sequence[DeviceFacts]) -> NDArray[np.int64]:
        """Take in new and changed devices; their places in the columns. An older sign of life replaces no newer one."""
        ids = np.array([fact.device_id for fact in facts], dtype=np.int64)
        if not len(ids):
            return ids
        if int(ids.min()) < 0:
            raise ValueError(f"device id {int(ids.min())} is negative; ids are the database's own")
        gateways = np.array([fact.gateway_id for fact in facts], dtype=np.int64)
        if self._numbers is not None:
            self._numbers.give(np.concatenate([ids, gateways]))
            ids, gateways = (
                self._numbers.of(ids).astype(np.int64),
                self._numbers.of(gateways).astype(np.int64),
            )
        self.grow(max(int(ids.max()), int(gateways.max())) + 1)
        codes = {kind: self.kind_code(kind) for kind in {fact.kind for fact in facts}}
        self.kind[ids] = [codes[fact.kind] for fact in facts]
        self.interval_us[ids] = [(fact.expected_interval_s or 0) * SECOND_US for fact in facts]
        self.in_service[ids] = [fact.in_service for fact in facts]
        self.known_from_us[ids] = [fact.known_from_us for fact in facts]
        np.maximum.at(
            self.heard_us, ids, np.array([fact.last_heard_us or 0 for fact in facts], dtype=np.int64)
        )
        self.gateway[ids] = gateways
        behind = zip(ids.tolist(), facts, strict=True)
        self.codes.update((place, fact.code) for place, fact in behind if fact.gateway_id)
        self._apply(ids, facts)
        self.station_levels["warning"][ids] = [_or_nan(fact.warning_m) for fact in facts]
        self.station_levels["guaranteed"][ids] = [_or_nan(fact.guaranteed_m) for fact in facts]
        self.station_levels["highest"][ids] = [_or_nan(fact.highest_m) for fact in facts]
        return ids

    def _apply(self, ids: NDArray[np.int64], facts: Sequence[DeviceFacts]) -> None:
        """Which rules are in force for these devices: by kind in columns, the rest one by one."""
        alone = _alone(self._rules)
        kinds = self.kind[ids]
        for rule in alone:
            column = self._applies[rule.rule_id]
            if not rule.scope.kinds:
                column[ids] = True
            else:
                column[ids] = np.isin(kinds, [self.kind_code(kind) for kind in rule.scope.kinds])
        rest = [rule for rule in self._rules if rule not in alone]
        if not rest:
            return
        for rule in rest:
            self._applies[rule.rule_id][ids] = False
        for device_id, fact in zip(ids.tolist(), facts, strict=True):
            for rule_id in in_force(rest, fact):
                self._applies[rule_id][device_id] = True

    def with_all_rows(self, device: NDArray[np.int32], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``chosen`` widened to every row of the devices that have one in it, without sorting or sets."""
        devices = device[chosen]
        self._picked[devices] = True
        widened: NDArray[np.bool_] = self._picked[device]
        self._picked[devices] = False
        return widened

    def heard(self, device_ids: NDArray[np.int32], received_us: NDArray[np.int64]) -> None:
        np.maximum.at(self.heard_us, device_ids, received_us)


def grown(column: NDArray[ScalarT], size: int, fill: float = 0) -> NDArray[ScalarT]:
    """A copy of the column with room for ``size``, the new part set to ``fill``."""
    longer = np.full(size, fill, dtype=column.dtype)
    longer[: len(column)] = column
    return longer


def _alone(rules: Sequence[Scoped]) -> list[Scoped]:
    """Rules that look at nothing but the kind and compete with no other."""
    families = [rule.family for rule in rules]
    return [rule for rule in rules if rule.scope.only_kinds() and families.count(rule.family) == 1]


def _ground(rule: Scoped) -> tuple[str, str, Scope]:
    return rule.rule_id, rule.family, rule.scope


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
