"""Rule files (TOML) to typed rules. Strict: an unknown key or an impossible value stops the start.

`docs/rules.md` describes every key with its unit. Delays are kept in microseconds, as instants are.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from city.alarms import IncidentClass, Level
from city.errors import CityError

Direction = Literal["above", "below"]
StationLevel = Literal["warning", "guaranteed", "highest"]

SECOND_US = 1_000_000
LONGEST_DELAY_S = 7 * 24 * 3600  # a longer one is a unit mistake (milliseconds), not a wish

_RULE_ID = re.compile(r"[a-z][a-z0-9]*([.-][a-z0-9]+)*")
_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_STATION_PREFIX = "station."


class RuleError(CityError):
    """A rule that cannot be used; the line names file, rule, key, value and remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdRule:
    """A number beyond a limit. The condition begins at ``raise_at`` and ends past the clear limit."""

    rule_id: str
    version: int
    name: str
    name_en: str
    kind: str
    metric: str
    direction: Direction
    raise_at: float | StationLevel  # the metric's unit, or one of the station's own levels (metres)
    clear_at: (
        float | None
    )  # the metric's unit; None = raise_at less (direction above) or plus (below) the deadband
    deadband: float  # the metric's unit
    on_delay_us: int
    off_delay_us: int
    category: str
    incident_class: IncidentClass | None
    level: Level


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionRule:
    """A camera's event of certain labels; ends by itself when it stops recurring."""

    rule_id: str
    version: int
    name: str
    name_en: str
    kind: str
    labels: frozenset[str]
    min_score: float  # 0-1; an event without a score was decided by the camera and counts
    zones: frozenset[str]  # empty = anywhere
    clear_after_us: int
    category: str
    incident_class: IncidentClass | None
    level: Level


@dataclass(frozen=True, kw_only=True, slots=True)
class SilenceRule:
    """A device that has said nothing for several of its expected intervals while we listened."""

    rule_id: str
    version: int
    name: str
    name_en: str
    kinds: frozenset[str]  # empty = every kind that has an expected interval
    factor: float
    min_us: int
    category: str
    incident_class: IncidentClass | None
    level: Level


Rule = ThresholdRule | DetectionRule | SilenceRule


def parse(text: str, source: str) -> list[Rule]:
    """Typed rules of a file, all at version 1. ``source`` is named in errors. Raises RuleError."""
    return [_rule(rule_id, 1, definition, source) for rule_id, definition in _tables(text, source)]


def to_rows(text: str, source: str) -> list[tuple[str, dict[str, object]]]:
    """(id, definition) of a file for the database, checked; a definition is JSON-able. Raises RuleError."""
    rows = _tables(text, source)
    for rule_id, definition in rows:
        _rule(rule_id, 1, definition, source)
    return rows


def from_row(rule_id: str, version: int, definition: Mapping[str, object]) -> Rule:
    """The rule of a database row as ``to_rows`` made it. Raises RuleError."""
    return _rule(rule_id, version, definition, "database")


def _tables(text: str, source: str) -> list[tuple[str, dict[str, object]]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"{source}: not TOML: {error}; correct the line it names") from error
    for key in document:
        if key != "rule":
            raise RuleError(f"{source}: {key!r} is not known here; a rule file has only [[rule]] tables")
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RuleError(f"{source}: 'rule' is not a list of tables; begin each rule with [[rule]]")
    rows: dict[str, dict[str, object]] = {}
    for number, table in enumerate(tables, start=1):
        rule_id = table.pop("id", None)
        if not isinstance(rule_id, str) or not _RULE_ID.fullmatch(rule_id):
            raise RuleError(
                f"{source}: rule number {number}: id = {rule_id!r}: "
                'write small letters, digits, "-" and ".", such as "smoke-high"'
            )
        if rule_id in rows:
            raise RuleError(f"{source}: rule {rule_id}: id is used twice; every rule needs its own")
        rows[rule_id] = table
    return list(rows.items())


def _rule(rule_id: str, version: int, definition: Mapping[str, object], source: str) -> Rule:
    keys = _Keys(source, rule_id, definition)
    kind_of_rule = keys.choice("type", ("threshold", "detection", "silence"))
    rule: Rule
    if kind_of_rule == "threshold":
        rule = _threshold(keys, version)
    elif kind_of_rule == "detection":
        rule = _detection(keys, version)
    else:
        rule = _silence(keys, version)
    keys.refuse_the_rest()
    return rule


def _threshold(keys: "_Keys", version: int) -> ThresholdRule:
    direction = keys.choice("direction", get_args(Direction), "above")
    raise_at = keys.limit("raise_at")
    return ThresholdRule(
        rule_id=keys.rule_id,
        version=version,
        name=keys.text("name"),
        name_en=keys.text("name_en"),
        kind=keys.code("kind"),
        metric=keys.code("metric"),
        direction=cast(Direction, direction),
        raise_at=raise_at,
        clear_at=_clear_at(keys, raise_at, direction),
        deadband=keys.number("deadband", 0.0, least=0.0),
        on_delay_us=keys.delay_us("on_delay_s", 0),
        off_delay_us=keys.delay_us("off_delay_s", 0),
        category=keys.code("category"),
        incident_class=keys.incident_class(),
        level=keys.level(),
    )


def _clear_at(keys: "_Keys", raise_at: float | StationLevel, direction: str) -> float | None:
    """The clear limit where it is written as such, which only a constant limit can have."""
    if not keys.has("clear_at"):
        return None
    if keys.has("deadband"):
        raise keys.error("clear_at", "given beside deadband; keep one of the two")
    if isinstance(raise_at, str):
        raise keys.error("clear_at", "cannot stand beside a station's own level; give deadband in metres")
    clear_at = keys.number("clear_at")
    if clear_at > raise_at if direction == "above" else clear_at < raise_at:
        side = "at or under" if direction == "above" else "at or over"
        raise keys.error("clear_at", f"must be {side} raise_at = {raise_at:g}")
    return clear_at


def _detection(keys: "_Keys", version: int) -> DetectionRule:
    return DetectionRule(
        rule_id=keys.rule_id,
        version=version,
        name=keys.text("name"),
        name_en=keys.text("name_en"),
        kind=keys.code("kind"),
        labels=keys.texts("labels", needed=True),
        min_score=keys.number("min_score", 0.0, least=0.0, most=1.0),
        zones=keys.texts("zones"),
        clear_after_us=keys.delay_us("clear_after_s", 120, least=1),
        category=keys.code("category"),
        incident_class=keys.incident_class(),
        level=keys.level(),
    )


def _silence(keys: "_Keys", version: int) -> SilenceRule:
    return SilenceRule(
        rule_id=keys.rule_id,
        version=version,
        name=keys.text("name"),
        name_en=keys.text("name_en"),
        kinds=keys.texts("kinds"),
        factor=keys.number("factor", 3.0, least=1.0, most=1000.0),
        min_us=keys.delay_us("min_s", 120),
        category=keys.code("category"),
        incident_class=keys.incident_class(),
        level=keys.level(),
    )


class _Keys:
    """The keys of one rule, taken one by one; what nobody took at the end is unknown."""

    def __init__(self, source: str, rule_id: str, definition: Mapping[str, object]) -> None:
        self.rule_id = rule_id
        self._source = source
        self._definition = definition
        self._taken: set[str] = set()

    def error(self, key: str, remedy: str) -> RuleError:
        value = self._definition.get(key)
        shown = "missing" if key not in self._definition else f"= {value!r}"
        return RuleError(f"{self._source}: rule {self.rule_id}: {key} {shown}: {remedy}")

    def has(self, key: str) -> bool:
        return key in self._definition

    def refuse_the_rest(self) -> None:
        for key in self._definition:
            if key not in self._taken:
                known = ", ".join(sorted(self._taken))
                raise self.error(key, f"is not a key of this rule; known are {known}")

    def _take(self, key: str) -> object:
        self._taken.add(key)
        return self._definition.get(key)

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "write a text in quotes")
        return value

    def code(self, key: str) -> str:
        value = self.text(key)
        if not _CODE.fullmatch(value):
            raise self.error(key, 'write a code of small letters, digits, "_" and ".", such as "fire.smoke"')
        return value

    def texts(self, key: str, *, needed: bool = False) -> frozenset[str]:
        value = self._take(key)
        if value is None and not needed:
            return frozenset()
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.error(key, 'write a list of texts, such as ["fire", "smoke"]')
        if needed and not value:
            raise self.error(key, "name at least one")
        return frozenset(value)

    def choice(self, key: str, known: tuple[str, ...], default: str | None = None) -> str:
        value = self._take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value not in known:
            raise self.error(key, f"choose one of {', '.join(known)}")
        return value

    def number(
        self, key: str, default: float | None = None, *, least: float = -math.inf, most: float = math.inf
    ) -> float:
        value = self._take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, "write a finite number")
        if not least <= value <= most:
            bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise self.error(key, f"write a number {bounds}")
        return float(value)

    def delay_us(self, key: str, default_s: float, *, least: float = 0.0) -> int:
        return round(self.number(key, default_s, least=least, most=LONGEST_DELAY_S) * SECOND_US)

    def limit(self, key: str) -> float | StationLevel:
        value = self._definition.get(key)
        if not isinstance(value, str):
            return self.number(key)
        self._taken.add(key)
        station_level = value.removeprefix(_STATION_PREFIX)
        if not value.startswith(_STATION_PREFIX) or station_level not in get_args(StationLevel):
            names = ", ".join(f'"{_STATION_PREFIX}{name}"' for name in get_args(StationLevel))
            raise self.error(key, f"write a number or one of {names}")
        return cast(StationLevel, station_level)

    def incident_class(self) -> IncidentClass | None:
        if not self.has("class"):
            self._taken.add("class")
            return None
        return cast(IncidentClass, self.choice("class", get_args(IncidentClass)))

    def level(self) -> Level:
        return cast(Level, self.choice("level", get_args(Level)))
