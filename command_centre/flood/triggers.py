"""What proposes a response level, as data: read from TOML or the table, checked before it may decide anything."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from city.errors import CityError
from city.flood import COLOURS, LEVELS, Trigger, TriggerKind

RAIN_HOURS = (1, 3, 24)
_REACHED = ("warning", "guaranteed", "record")
_CLASSES = ("A", "B", "C")
_COMMON = {"id", "level", "kind", "name", "name_en", "source", "enabled", "count"}
_OWN: Mapping[str, frozenset[str]] = {
    "stations": frozenset({"state"}),
    "forecast": frozenset({"state", "within_h", "quantile"}),
    "rain": frozenset({"hours", "mm"}),
    "incidents": frozenset({"category", "class"}),
    "warnings": frozenset({"colour"}),
}
LONGEST_FORECAST_H = 6.0


class TriggerError(CityError):
    """A trigger that cannot be used; ``field`` names the key."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field} = {repr(value)[:100]}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy


def trigger_of(given: Mapping[str, Any]) -> Trigger:
    """A trigger from its keys; raises TriggerError naming the first that is wrong."""
    kind = _one_of(given, "kind", get_args(TriggerKind))
    for key in given:
        if key not in _COMMON | _OWN[kind]:
            known = ", ".join(sorted(_COMMON | _OWN[kind]))
            raise TriggerError(key, given[key], f"is no key of kind {kind}; known: {known}")
    texts: dict[str, Any] = {name: _text(given, name) for name in ("id", "name", "name_en", "source")}
    return Trigger(
        **texts,
        level=_one_of(given, "level", LEVELS),
        kind=kind,
        enabled=_flag(given, "enabled"),
        count=_whole(given, "count", 1, 10_000) if "count" in given else 1,
        **_own(given, kind),
    )


def _own(given: Mapping[str, Any], kind: str) -> dict[str, Any]:
    if kind == "stations":
        return {"state": _one_of(given, "state", _REACHED)}
    if kind == "forecast":
        return {
            "state": _one_of(given, "state", _REACHED),
            "within_h": _number(given, "within_h", 0.25, LONGEST_FORECAST_H),
            "quantile": _one_of(given, "quantile", ("q10", "q50", "q90")) if "quantile" in given else "q50",
        }
    if kind == "rain":
        hours = _whole(given, "hours", 1, 24)
        if hours not in RAIN_HOURS:
            raise TriggerError("hours", hours, "use 1, 3 or 24")
        return {"hours": hours, "mm": _number(given, "mm", 0.1, 2_000.0)}
    if kind == "incidents":
        chosen = _one_of(given, "class", _CLASSES) if "class" in given else "C"
        return {"category": _text(given, "category"), "incident_class": chosen}
    return {"colour": _one_of(given, "colour", COLOURS)}


def definition_of(trigger: Trigger) -> dict[str, Any]:
    """The keys that give this trigger again, without those of the table's own columns (id, level, enabled)."""
    keys: dict[str, Any] = {
        "kind": trigger.kind,
        "name": trigger.name,
        "name_en": trigger.name_en,
        "source": trigger.source,
        "count": trigger.count,
    }
    own = {"class": trigger.incident_class}
    for key in _OWN[trigger.kind]:
        keys[key] = own[key] if key in own else getattr(trigger, key)
    return keys


def check_set(triggers: Sequence[Trigger]) -> None:
    """Raises TriggerError for a set that contradicts itself: an id twice, or less water for a higher level."""
    seen: set[str] = set()
    for one in triggers:
        if one.id in seen:
            raise TriggerError("id", one.id, "stands twice; give each its own")
        seen.add(one.id)
    for lower, higher in _contradictions(triggers):
        raise TriggerError(
            "level",
            higher.level,
            f"{higher.id} fires whenever {lower.id} does, so {lower.id} ({lower.level}) never decides; "
            "raise its limit or disable one",
        )


def _contradictions(triggers: Sequence[Trigger]) -> Iterator[tuple[Trigger, Trigger]]:
    """Pairs of one measure in which the more severe level asks for no more than the milder one."""
    for one in triggers:
        for other in triggers:
            if one is other or not (one.enabled and other.enabled):
                continue
            if LEVELS.index(other.level) > LEVELS.index(one.level) and _implies(one, other):
                yield one, other


def _implies(one: Trigger, other: Trigger) -> bool:
    """Whether ``other`` fires whenever ``one`` does: the same measure with limits that are no higher."""
    if one.kind != other.kind or other.count > one.count:
        return False
    if one.kind in ("stations", "forecast"):
        easier = _REACHED.index(str(other.state)) <= _REACHED.index(str(one.state))
        same = one.kind == "stations" or (
            one.quantile == other.quantile and (other.within_h or 0) >= (one.within_h or 0)
        )
        return easier and same
    if one.kind == "rain":
        return one.hours == other.hours and (other.mm or 0) <= (one.mm or 0)
    if one.kind == "incidents":
        wider = one.category == other.category or one.category.startswith(other.category + ".")
        return wider and other.incident_class >= one.incident_class
    return COLOURS.index(other.colour or "red") <= COLOURS.index(one.colour or "red")


def _one_of(given: Mapping[str, Any], key: str, known: Sequence[str]) -> Any:
    value = given.get(key)
    if value not in known:
        raise TriggerError(key, value, f"use one of {', '.join(known)}")
    return value


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > 300:
        raise TriggerError(key, value, "must be a text of 1 to 300 characters")
    return value


def _flag(given: Mapping[str, Any], key: str) -> bool:
    value = given.get(key, True)
    if not isinstance(value, bool):
        raise TriggerError(key, value, "must be true or false")
    return value


def _whole(given: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = given.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise TriggerError(key, value, f"must be a whole number from {least} to {most}")
    return value


def _number(given: Mapping[str, Any], key: str, least: float, most: float) -> float:
    value = given.get(key)
    fine = isinstance(value, int | float) and not isinstance(value, bool)
    if not fine or not math.isfinite(float(value or 0)) or not least <= float(value or 0) <= most:
        raise TriggerError(key, value, f"must be a number from {least:g} to {most:g}")
    return float(value or 0)
