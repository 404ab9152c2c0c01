"""What every rule has, whatever its kind."""

from dataclasses import dataclass
from typing import TypedDict

from city.alarms import IncidentClass, Level
from rules.keys import Keys
from rules.schedule import Schedule, read_schedule
from rules.scope import Scope, read_scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A version of a rule. Kinds of rules derive from it and add what they measure by."""

    rule_id: str
    version: int
    name: str
    name_en: str
    category: str
    incident_class: IncidentClass | None  # None = the category's own
    level: Level
    scope: Scope
    family: str  # of rules of one family only the most specific is in force for a device; alone: its own id
    schedule: Schedule | None  # None = always
    unit: str = ""  # of its figures, as its author meant them; "" = not said

    def metrics(self) -> frozenset[str]:
        """Codes of the metrics it reads."""
        return frozenset()

    def window_us(self) -> int:
        """How far back from a reading it looks at readings, 0 = not at all."""
        return 0


class Common(TypedDict):
    """The keys of ``Rule`` as a file gives them."""

    rule_id: str
    version: int
    name: str
    name_en: str
    category: str
    incident_class: IncidentClass | None
    level: Level
    scope: Scope
    family: str
    schedule: Schedule | None
    unit: str


def read_common(keys: Keys, version: int, kinds: frozenset[str], level: Level | None = None) -> Common:
    """``kinds``: kinds of device, as the kind of rule reads them; ``level`` where it says that itself too."""
    return Common(
        rule_id=keys.rule_id,
        version=version,
        name=keys.text("name"),
        name_en=keys.text("name_en"),
        category=keys.code("category"),
        incident_class=keys.incident_class(),
        level=level or keys.level(),
        scope=read_scope(keys, kinds),
        family=keys.optional_text("family", keys.rule_id),
        schedule=read_schedule(keys),
        unit=keys.optional_text("unit", ""),
    )
