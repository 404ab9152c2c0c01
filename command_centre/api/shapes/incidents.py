"""Incidents, their timeline, clocks, requests and what dispatch would do."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

Letter = Literal["A", "B", "C"]
# A word of the language cannot be a field in a class's body.
Classed = TypedDict("Classed", {"class": Letter})


class Incident(Classed):
    id: int
    number: str
    state: str
    category: str
    category_name: str
    category_name_en: str
    title: str
    reason: str
    reason_en: str
    source: str
    nature: str
    event_level: int
    steps: int
    opened_at: str
    due_at: str | None
    last_alarm_at: str | None
    dispatched_at: str | None
    acknowledged_at: str | None
    acknowledged_by: str | None
    arrived_at: str | None
    handled_at: str | None
    verified_at: str | None
    fed_back_at: str | None
    urged_at: str | None
    overdue_at: str | None
    closed_at: str | None
    supervised_at: str | None
    reported: bool
    exercise: bool
    extensions: int
    reworks: int
    merged_into: int | None
    parent: int | None
    version: int
    cell: str | None
    cell_name: str | None
    street_name: str | None
    lon: float | None
    lat: float | None
    unit: str | None
    unit_name: str | None
    unit_name_en: str | None
    unit_phone: str | None
    unit_lead_phone: str | None
    co_units: list[str]
    asked: list[str]
    alarms: list[int]
    standing_alarms: int
    devices: list[str]
    allowed: list[str]


class ShortClock(TypedDict):
    stage: str
    limit: str
    started_at: str
    due_at: str
    paused_at: str | None
    left_minutes: int | None
    ended_at: str | None
    outcome: Literal["met", "late", "cancelled"] | None
    provisional: bool


class IncidentDetail(Incident):
    clocks: NotRequired[list[ShortClock]]


class Incidents(TypedDict):
    items: list[Incident]
    next: str | None


class TimelineItem(TypedDict):
    seq: int
    at: str
    kind: str
    actor: str
    reason: str
    detail: dict[str, Any]
    erased: bool


class Timeline(TypedDict):
    items: list[TimelineItem]
    next: str | None


class NextStep(TypedDict):
    at: str
    purpose: str
    tell: list[str]
    words: str
    words_en: str


class Clock(TypedDict):
    id: int
    stage: str
    unit: str | None
    limit: str
    started_at: str
    due_at: str
    left_minutes: int | None
    overdue: bool
    paused: bool
    ended_at: str | None
    outcome: Literal["met", "late", "cancelled"] | None
    provisional: bool
    said: int
    next: NextStep | None


class Clocks(TypedDict):
    items: list[Clock]
    next: str | None


class SuggestedUnit(TypedDict):
    code: str
    name: str
    name_en: str
    phone: str
    full: bool
    capacity: int | None


class Alternative(TypedDict):
    unit: SuggestedUnit | None
    reason: str
    reason_en: str


class NearbyWork(Classed):
    id: int
    number: str
    state: str
    title: str
    category: str
    unit_name: str | None
    unit_name_en: str | None
    same_unit: bool
    metres: int | None


class Suggestion(Classed):
    incident: int
    unit: SuggestedUnit | None
    co_units: list[SuggestedUnit | None]
    automatic: bool
    event_level: int
    nature: str
    steps: int
    due_at: str | None
    limits: dict[str, str]
    reason: str
    reason_en: str
    alternatives: list[Alternative]
    nearby: list[NearbyWork]


class Wish(Classed):
    id: int
    incident: int
    number: str
    incident_state: str
    category: str
    ask: str
    unit: str | None
    unit_name: str | None
    unit_name_en: str | None
    to_unit: str | None
    to_unit_name: str | None
    to_unit_name_en: str | None
    limit: str
    state: str
    asked_by: str
    asked_at: str
    decided_at: str | None
    decided_by: str | None
    answer_due_at: str | None


class Wishes(TypedDict):
    items: list[Wish]
    next: str | None
