"""One look at who owes us a word: who fell silent, alone or behind a gateway, and who spoke again.

Over all devices at once, in columns; nothing is changed. What falls silent together behind one gateway is one
alarm, the gateway's, and the devices behind it are not raised.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, Evidence, IncidentClass, Level, Raised, Transition
from rules.books import Moment
from rules.fleet import Fleet
from rules.gateways import Children, Family, judge
from rules.keys import SECOND_US
from rules.states import rfc3339

MAX_PER_TICK = (
    2000  # a district that falls silent at once is written down over some ticks, not in one huge commit
)
NOT_RAISED = -1
_MAX_GATEWAYS = 500  # families judged in one tick; the others take their turn in the next
_SHOWN = 20  # children in a gateway's evidence


class SilenceTerms(Protocol):
    """A silence rule, as far as one look needs it."""

    @property
    def rule_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def level(self) -> Level: ...
    @property
    def category(self) -> str: ...
    @property
    def incident_class(self) -> IncidentClass | None: ...
    @property
    def metric(self) -> str | None: ...
    @property
    def cadence(self) -> str: ...
    @property
    def gateway_share(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Silence:
    """One that stands; or, with ``heard_us`` NOT_RAISED, one that is over and left its mark on a gateway."""

    raised_us: int = 0
    heard_us: int = NOT_RAISED  # last word before it; of a gateway told by its children: theirs
    by_children: bool = False
    back_us: int = 0  # a gateway that spoke again then: what is behind it gets a full interval from there


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is owed by whom, as columns of the whole register; the same until the register changes."""

    children: Children
    gateways: NDArray[np.int32]  # with a device behind them that is expected
    owing: NDArray[np.bool_]  # in service and with an expected interval
    expected: NDArray[np.bool_]  # and of the rule's scope
    interval_us: NDArray[np.int64]
    limit_us: NDArray[np.int64]  # of silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Columns of the whole register, by device id. Instants and times are microseconds."""

    fleet: Fleet
    terms: Terms
    heard_us: NDArray[np.int64]  # last word that counts, 0 = never
    raised_us: NDArray[np.int64]
    heard_before: NDArray[np.int64]  # last word before the silence that stands, NOT_RAISED = none stands
    back_us: NDArray[np.int64]
    by_children: set[int]  # gateways whose silence was told by their children

    def state(self, device_id: int) -> Silence:
        return Silence(
            int(self.raised_us[device_id]),
            int(self.heard_before[device_id]),
            device_id in self.by_children,
            int(self.back_us[device_id]) if len(self.back_us) else 0,
        )


class Look:
    """Collects what one tick finds."""

    def __init__(self, rule: SilenceTerms, owed: Owed, moment: Moment) -> None:
        self.transitions: list[Transition] = []
        self.states: dict[int, Silence] = {}
        self._rule = rule
        self._owed = owed
        self._moment = moment
        self._horizon_us = moment.clock_us
        terms = owed.terms
        self._limit_us = terms.limit_us
        self._standing = owed.heard_before != NOT_RAISED
        self._gateways = gateways = terms.gateways
        # One that never says anything itself is judged by the devices behind it alone.
        self._expected = terms.expected.copy() if len(gateways) else terms.expected
        self._expected[gateways] = terms.owing[gateways] & (owed.heard_us[gateways] > 0)

    # ── who spoke again ───────────────────────────────────────────────────────────────────────────────────

    def end(self) -> None:
        """At most MAX_PER_TICK whose silence is over."""
        owed = self._owed
        ended = self._standing & ((owed.heard_us > owed.heard_before) | ~self._expected)
        by_children = sorted(owed.by_children)
        ended[by_children] = False
        for device_id in np.flatnonzero(ended)[:MAX_PER_TICK].tolist():
            self._end(device_id, int(owed.heard_us[device_id]), "no longer expected to report")
        for device_id in by_children:
            latest_us = int(owed.heard_us[owed.terms.children.of(device_id)].max(initial=0))
            watched = device_id in self._gateways and owed.fleet.in_service[device_id]
            if latest_us > owed.heard_before[device_id] or not watched:
                self._end(device_id, latest_us, "no devices behind it are expected to report")

    def _end(self, device_id: int, heard_us: int, otherwise: str) -> None:
        state = self._owed.state(device_id)
        heard_again = heard_us > state.heard_us
        evidence: dict[str, object] = {"rule_version": self._rule.version}
        if heard_again:
            said = "a device behind it was heard again" if state.by_children else "heard again"
            evidence |= {"reason": said, "heard_at": rfc3339(heard_us)}
        else:
            evidence |= {"reason": otherwise}
        self.transitions.append(
            Cleared(
                rule_id=self._rule.rule_id,
                device_id=device_id,
                metric_id=None,
                cleared_us=max(heard_us if heard_again else self._moment.now_us, state.raised_us),
                evidence=evidence,
            )
        )
        back_us = heard_us if heard_again and device_id in self._gateways else state.back_us
        self.states[device_id] = Silence(back_us=back_us)

    # ── who fell silent ───────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Gateways before what is behind them; at most MAX_PER_TICK."""
        due = self._due()
        if not len(due):
            return
        gateway = self._owed.fleet.gateway[due]
        if not self._rule.gateway_share:
            gateway = np.zeros_like(gateway)
        is_gateway = np.isin(due, self._gateways)
        behind = (gateway > 0) & self._owed.fleet.in_service[gateway] & ~is_gateway
        inhibited = behind & (self._dead()[gateway] | np.isin(gateway, due[is_gateway]))
        alone = [due[~behind & ~is_gateway]]
        for device_id, raised_us in self._with_raised(due[is_gateway][:MAX_PER_TICK]):
            self._raise_gateway(device_id, raised_us, {})
        families = self._turns(np.unique(gateway[behind & ~inhibited]))
        alone += [self._judged(gateway_id) for gateway_id in families]
        room = max(0, MAX_PER_TICK - len(self.states))
        for device_id, raised_us in self._with_raised(np.concatenate(alone)[:room]):
            self._raise(device_id, raised_us, {}, int(self._owed.heard_us[device_id]))

    def _due(self) -> NDArray[np.intp]:
        """Those whose time is over and of whom that was not said yet."""
        owed = self._owed
        since_us = np.maximum(owed.heard_us, owed.fleet.known_from_us)
        over = self._horizon_us - since_us >= self._limit_us
        overdue = np.flatnonzero(self._expected & ~self._standing & over)
        due: NDArray[np.intp] = overdue[self._silent_us(overdue) >= self._limit_us[overdue]]
        if self._rule.metric is not None:  # although the device speaks
            due = due[owed.fleet.heard_us[due] - since_us[due] >= self._limit_us[due]]
        return due

    def _since_us(self, device: NDArray[np.intp]) -> NDArray[np.int64]:
        """Last word; of a device behind a gateway that was silent not before that one spoke again."""
        owed = self._owed
        since_us = np.maximum(owed.heard_us[device], owed.fleet.known_from_us[device])
        if not self._rule.gateway_share:
            return since_us
        gateway = owed.fleet.gateway[device]
        back_us = np.where(gateway > 0, owed.back_us[gateway], 0)
        result: NDArray[np.int64] = np.maximum(since_us, back_us)
        return result

    def _silent_us(self, device: NDArray[np.intp]) -> NDArray[np.int64]:
        return self._moment.listened.listened(self._since_us(device), self._horizon_us)

    def _with_raised(self, device: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
        """Each with the instant at which its time was over."""
        raised_us = self._horizon_us - (self._silent_us(device) - self._limit_us[device])
        return zip(device.tolist(), raised_us.tolist(), strict=True)

    def _dead(self) -> NDArray[np.bool_]:
        """Gateways that are known to be silent; one that was never heard is known for nothing."""
        dead: NDArray[np.bool_] = self._standing & (self._owed.heard_before > 0)
        dead[sorted(self._owed.by_children)] = True
        dead[0] = False
        return dead

    def _turns(self, gateways: NDArray[np.int32]) -> Iterator[int]:
        """Some of the gateways each second, all of them in turn."""
        if len(gateways) <= _MAX_GATEWAYS:
            yield from gateways.tolist()
            return
        first = self._moment.now_us // SECOND_US * _MAX_GATEWAYS % len(gateways)
        yield from np.roll(gateways, -first)[:_MAX_GATEWAYS].tolist()

    def _judged(self, gateway_id: int) -> NDArray[np.intp]:
        """Raise the gateway when it is the gateway; else the devices behind it that are silent by themselves."""
        owed = self._owed
        device = owed.terms.children.of(gateway_id)
        device = device[self._expected[device]]
        family = Family(
            device=device,
            since_us=self._since_us(device),
            silent_us=self._silent_us(device),
            limit_us=self._limit_us[device],
            interval_us=owed.terms.interval_us[device],
        )
        verdict = judge(family, self._rule.gateway_share, self._horizon_us)
        alone: NDArray[np.intp] = verdict.alone[~self._standing[verdict.alone]]
        if verdict.dead_since_us is not None and not self._standing[gateway_id]:
            told = {
                "told_by_children": True,
                "silent_children": verdict.silent,
                "gateway_share": self._rule.gateway_share,
            }
            self._raise_gateway(gateway_id, verdict.dead_since_us, told, int(owed.heard_us[device].max()))
        return alone

    def _raise_gateway(
        self, gateway_id: int, raised_us: int, told: Evidence, children_heard_us: int | None = None
    ) -> None:
        owed = self._owed
        children = owed.terms.children.of(gateway_id)
        children = children[owed.terms.expected[children]]
        shown = [owed.fleet.codes.get(child) or str(child) for child in children[:_SHOWN].tolist()]
        evidence = {
            "children": len(children),
            "first_children": shown,
            "children_raised_before": int(np.count_nonzero(self._standing[children])),
            **told,
        }
        if len(self.states) < MAX_PER_TICK:
            heard_us = int(owed.heard_us[gateway_id]) if children_heard_us is None else children_heard_us
            self._raise(gateway_id, raised_us, evidence, heard_us, by_children=children_heard_us is not None)

    def _raise(
        self,
        device_id: int,
        raised_us: int,
        more: Evidence,
        heard_before_us: int,
        *,
        by_children: bool = False,
    ) -> None:
        self.transitions.append(
            Raised(
                rule_id=self._rule.rule_id,
                rule_version=self._rule.version,
                device_id=device_id,
                metric_id=None,
                raised_us=raised_us,
                level=self._rule.level,
                category=self._rule.category,
                incident_class=self._rule.incident_class,
                late=False,
                evidence={**self._evidence(device_id), **more},
            )
        )
        back_us = self._owed.state(device_id).back_us
        self.states[device_id] = Silence(raised_us, heard_before_us, by_children, back_us)

    def _evidence(self, device_id: int) -> dict[str, object]:
        owed, rule = self._owed, self._rule
        heard_us = int(owed.heard_us[device_id])
        evidence: dict[str, object] = {
            "last_heard_at": rfc3339(heard_us) if heard_us else None,
            "never_heard": heard_us == 0,
            "known_from": rfc3339(int(owed.fleet.known_from_us[device_id])),
            "expected_interval_s": int(owed.terms.interval_us[device_id]) // SECOND_US,
            "silent_for_s": int(self._limit_us[device_id]) / SECOND_US,
            "cadence": rule.cadence,
            "rule_version": rule.version,
        }
        if rule.metric is not None:
            evidence["metric"] = rule.metric
        if self._rule.gateway_share and (gateway_id := int(owed.fleet.gateway[device_id])):
            since_us = int(owed.back_us[gateway_id])
            evidence |= {"gateway_back_at": rfc3339(since_us)} if since_us > heard_us else {}
        return evidence
