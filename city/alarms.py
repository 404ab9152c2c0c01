"""An alarm is an episode: raised once, repeated while open, cleared once (ISA-18.2, OPC UA A&C).

Rules produce these transitions; ingest writes them in the transaction of the observations they rest on.
Instants are microseconds since 1970 UTC, as in ``city.observations``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["blue", "yellow", "orange", "red"]
IncidentClass = Literal["A", "B", "C"]
# ISA-18.2 (IEC 62682) by its own names; command_centre.alarm_life says what leads from one to another.
AlarmState = Literal["UNACK", "ACKED", "RTNUN", "NORM", "SHLVD", "DSUPR", "OOSRV"]
Evidence = Mapping[str, object]  # values, window, limits: what a person needs to see why, JSON-able


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """A condition began. With ``cleared_us`` the episode is already over: recorded, nobody is paged."""

    rule_id: str
    rule_version: int
    device_id: int
    metric_id: int | None
    raised_us: int
    level: Level
    category: str
    incident_class: IncidentClass | None  # None = the category's own
    late: bool  # rests on data more than 5 minutes old on arrival
    evidence: Evidence
    cleared_us: int | None = None
    suppressed: str | None = None  # why nobody is sent, by design: "self-test running", "gateway gw-1 silent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """The condition came again inside its open episode (within the deadband or the off-delay)."""

    rule_id: str
    device_id: int
    metric_id: int | None
    count: int
    evidence: Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelChanged:
    """The level of the open episode moved. Risen: people are told again (re-alarm); fallen: recorded."""

    rule_id: str
    rule_version: int
    device_id: int
    metric_id: int | None
    changed_us: int
    level: Level
    incident_class: IncidentClass | None  # None = the category's own
    risen: bool
    evidence: Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleared:
    """The condition ended. Clearing never closes an incident; a person does."""

    rule_id: str
    device_id: int
    metric_id: int | None
    cleared_us: int
    evidence: Evidence


Transition = Raised | Repeated | LevelChanged | Cleared
