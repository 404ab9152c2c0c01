"""Alarms, and why one came."""

from typing import Any, Literal

from typing_extensions import TypedDict

from city.alarms import AlarmState
from command_centre.api.shapes.incidents import Letter

Leveled = TypedDict("Leveled", {"class": Letter | None})


class Shelf(TypedDict):
    shelved_at: str
    until: str
    reason: str
    by: str


class Alarm(Leveled):
    id: int
    rule: str
    rule_version: int
    device: str | None
    cell: str | None
    metric: str | None
    category: str
    level: Literal["blue", "yellow", "orange", "red"]
    level_since: str | None
    raised_at: str
    cleared_at: str | None
    late: bool
    repeats: int
    evidence: dict[str, Any]
    acknowledged_at: str | None
    acknowledged_by: str | None
    triage: str
    state: AlarmState
    suppressed: str | None
    incident: int | None
    exercise: bool
    drill: int | None
    unclaimed: bool
    shelf: Shelf | None
    first_out: bool


class Alarms(TypedDict):
    items: list[Alarm]
    next: str | None


class AlarmNote(TypedDict):
    code: str
    text: str
    text_en: str


class WhyAlarm(TypedDict):
    alarm: Alarm
    sentence: str
    sentence_en: str
    rule: dict[str, Any]
    limits: list[dict[str, Any]]
    scope: dict[str, Any]
    evidence: dict[str, Any]
    window: dict[str, Any]
    observations: list[Any]
    revisions: list[Any]
    detections: list[Any]
    listening: list[Any]
    events: list[dict[str, Any]]
    notes: list[AlarmNote]
