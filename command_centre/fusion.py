"""What several sources together say of one incident: which rule fired, to which class it raises, and why in words.

There is one story: several devices or kinds of device that agree raise the class by a step, always; a rule of type
fusion names different sources and raises it to a class of its own. Both write ``fused`` on the timeline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from city.alarms import IncidentClass, Level
from city.incidents import Happening
from rules.fusion import FusionRule, Group, Signal, fuse
from rules.scope import Place

CORROBORATING_DEVICES = 3
CORROBORATING_KINDS = 2

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What fusion looks at around one incident: who spoke where, and what lies beside what."""

    signals: tuple[Signal, ...] = ()
    neighbours: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def joined_by(self, signal: Signal | None, beside: frozenset[int]) -> "Ground":
        """With one more that spoke, and what lies beside its cell."""
        if signal is None:
            return self
        neighbours = {**self.neighbours, signal.cell_id: beside}
        return replace(self, signals=(*self.signals, signal), neighbours=neighbours)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusions:
    """The fusion rules in force, with what their scope and schedule need."""

    rules: tuple[FusionRule, ...] = ()
    zone: ZoneInfo = _UTC
    places: Mapping[int, Mapping[str, str]] = field(default_factory=dict)  # by cell: area codes by layer


@dataclass(frozen=True, kw_only=True, slots=True)
class Fused:
    """Sources agreed. ``incident_class`` None = one step more than it is."""

    rule_id: str = ""  # empty = several devices or kinds of device, which needs no rule
    rule_version: int = 0
    incident_class: IncidentClass | None = None
    level: Level | None = None
    sources: tuple[str, ...] = ()
    reason: str
    reason_en: str

    def happening(self) -> Happening:
        detail: dict[str, object] = {"sources": list(self.sources), "reason_en": self.reason_en}
        if self.rule_id:
            detail |= {"rule": self.rule_id, "rule_version": self.rule_version, "level": self.level}
        return Happening(kind="fused", reason=self.reason, detail=detail)


def agreement(devices: int, kinds: Sequence[str]) -> Fused | None:
    """Devices that confirm one another, whatever the rules: three of them, or two kinds."""
    if len(kinds) >= CORROBORATING_KINDS:
        counted = sorted(kinds)
        return Fused(
            sources=tuple(counted),
            reason=f"{len(counted)} 类设备相互印证（{'、'.join(counted)}），等级提升一级",
            reason_en=f"{len(counted)} kinds of device agree ({', '.join(counted)}): one class up",
        )
    if devices >= CORROBORATING_DEVICES:
        return Fused(
            reason=f"{devices} 台设备相互印证，等级提升一级",
            reason_en=f"{devices} devices agree: one class up",
        )
    return None


def alarm_signal(category: str, rule_id: str, device_id: int | None, cell_id: int, at: datetime) -> Signal:
    return Signal(
        category=category, rule_id=rule_id, origin=f"device:{device_id}", cell_id=cell_id, at_us=_us(at)
    )


def report_signal(origin: str, category: str, cell_id: int, at: datetime) -> Signal:
    """What a person said; ``origin`` tells it from other reports."""
    return Signal(category=category, report=True, origin=origin, cell_id=cell_id, at_us=_us(at))


def newly_fused(before: Ground, after: Ground, rules: Sequence[FusionRule], fusions: Fusions) -> list[Fused]:
    """Of ``rules`` those that fire with the newest signal of ``after`` and did not, or not with so many sources,
    without it."""
    found: list[Fused] = []
    for rule in rules:
        if not _in_force(rule, after.signals[-1], fusions):
            continue
        earlier = _most(fuse(before.signals, before.neighbours, rule))
        now = _most(fuse(after.signals, after.neighbours, rule))
        if now is not None and (earlier is None or len(now.sources) > len(earlier.sources)):
            found.append(_in_words(rule, now))
    return found


def _in_force(rule: FusionRule, signal: Signal, fusions: Fusions) -> bool:
    if rule.schedule is not None and not rule.schedule.covers(signal.at_us, fusions.zone):
        return False
    return rule.scope.matches(Place(code="", kind="", places=fusions.places.get(signal.cell_id, {})))


def _most(groups: Sequence[Group]) -> Group | None:
    return max(groups, key=lambda group: len(group.sources), default=None)


def _us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _in_words(rule: FusionRule, group: Group) -> Fused:
    sources = [rule.sources[place] for place in group.sources]
    minutes = max(1, rule.span_us // 60_000_000)
    near = "同一网格内" if rule.where == "cell" else "同一网格及相邻网格内"
    near_en = "in one cell" if rule.where == "cell" else "in a cell and those beside it"
    names, names_en = (
        "、".join(source.name for source in sources),
        ", ".join(source.name_en for source in sources),
    )
    count = len(sources)
    return Fused(
        rule_id=rule.rule_id,
        rule_version=rule.version,
        incident_class=rule.incident_class,
        level=rule.level,
        sources=tuple(f"{source.by}:{source.code}" for source in sources),
        reason=f"{names}：{count} 个不同来源在{near}、{minutes} 分钟内相互印证（{rule.name}）",
        reason_en=f"{names_en}: {count} different sources agree {near_en} within {minutes} min ({rule.name_en})",
    )
