"""How devices are: what the routes of device health answer."""

from typing import Literal

from typing_extensions import TypedDict

DeviceHealthState = Literal["silent", "blind", "late", "online", "never", "out"]
BatteryState = Literal["falling", "steady", "far", "empty", "stale", "not_enough", "voltage"]
SignalState = Literal["falling", "steady", "rising", "stale", "not_enough"]


class MetricHealth(TypedDict):
    metric: str
    name: str
    name_en: str
    unit: str
    state: Literal["online", "late", "silent", "blind", "learning"]
    value: float
    last_at: str
    every_s: float | None
    limit_s: float | None
    blind_since: str | None


class BatteryHealth(TypedDict):
    state: BatteryState
    percent: float | None
    per_day: float | None
    since: str | None
    end: str | None
    early: str | None
    late: str | None


class SignalHealth(TypedDict):
    state: SignalState
    metric: str
    unit: str
    value: float | None
    per_week: float | None


class DeviceHealth(TypedDict):
    code: str
    name: str
    kind: str
    kind_name: str
    kind_name_en: str
    model: str
    vendor: str
    maintainer: str
    cell: str | None
    cell_name: str | None
    gateway: str | None
    registration: Literal["registered", "unclaimed", "retired"]
    service_state: Literal["in_service", "under_test", "shelved", "out_of_service"]
    expected_interval_s: int | None
    link: str | None
    last_heard_at: str | None
    state: DeviceHealthState
    since: str | None
    reason: str
    reason_en: str
    explained_by: str | None
    metrics: list[MetricHealth]
    battery: BatteryHealth | None
    signal: SignalHealth | None


class DeviceHealthPage(TypedDict):
    items: list[DeviceHealth]
    next: str | None
    counts: dict[str, int]
    total: int
    online: int


class GatewayHealth(TypedDict):
    code: str
    name: str
    model: str
    vendor: str
    maintainer: str
    cell: str | None
    registered: bool
    state: DeviceHealthState | None
    last_heard_at: str | None
    children: int
    silent: int
    never: int
    late: int
    blind: int
    first_silent_at: str | None
    last_silent_at: str | None
    children_heard_at: str | None
    fate: Literal["well", "some", "together", "gateway"]
    uptime: float | None


class Gateways(TypedDict):
    items: list[GatewayHealth]
    next: str | None
    days: int


class EndingBattery(TypedDict):
    code: str
    name: str
    kind: str
    model: str
    vendor: str
    maintainer: str
    cell: str | None
    gateway: str | None
    battery: BatteryHealth


class EndingBatteries(TypedDict):
    items: list[EndingBattery]
    next: str | None
    counts: dict[str, int]


class Availability(TypedDict):
    key: str
    devices: int
    unjudged: int
    expected: int
    heard: int
    share: float | None


Availabilities = TypedDict(
    "Availabilities",
    {"from": str, "to": str, "by": str, "items": list[Availability], "next": None},
)
