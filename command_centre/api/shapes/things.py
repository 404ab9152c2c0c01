"""What stands on the ground and who answers for it: devices and their readings, units, what was quarantined."""

from typing import Literal

from typing_extensions import TypedDict


class Device(TypedDict):
    code: str
    kind: str
    name: str
    cell: str | None
    cell_name: str | None
    model: str
    owner_unit: str
    maintainer_unit: str
    gateway: str | None
    address: str
    expected_interval_s: float | None
    registration: Literal["registered", "unclaimed", "retired"]
    service_state: Literal["in_service", "under_test", "shelved", "out_of_service"]
    service_until: str | None
    service_reason: str
    service_by: str
    clock_ahead_at: str | None
    version: int
    registered_at: str
    link: str | None
    last_heard_at: str | None
    open_alarms: int
    lon: float | None
    lat: float | None
    online: bool


class Devices(TypedDict):
    items: list[Device]
    next: str | None


class Reading(TypedDict):
    at: str
    min: float
    mean: float
    max: float
    readings: int


class Unit(TypedDict):
    code: str
    name: str
    name_en: str
    kind: str
    parent: str | None
    phone: str
    open_incidents: int
    tier: str
    capacity: int | None
    fallback: str | None
    hours: str
    lon: float | None
    lat: float | None


class Units(TypedDict):
    items: list[Unit]
    next: None


class Quarantined(TypedDict):
    id: int
    received_at: str
    topic: str
    payload: str
    size: int
    retained: bool
    reason: str
    detail: str
    replay_requested_at: str | None
    replayed_at: str | None
    outcome: str | None
    text: str


class QuarantineCount(TypedDict):
    reason: str
    counted: int
    kept: int
    last_hour: int


class QuarantinedPage(TypedDict):
    items: list[Quarantined]
    next: str | None
    counts: list[QuarantineCount]
