"""Stations and their hydrograph; levels in metres above the station's datum."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

# [time, metres], and of a forecast [time, low, median, high]
Point = list[str | float | None]


class StationNow(TypedDict):
    code: str
    name: str
    name_en: str
    station_kind: str | None
    cell: str | None
    warning_m: float | None
    guaranteed_m: float | None
    highest_m: float | None
    bank_m: float | None
    design_m: float | None
    level_m: float | None
    observed_at: str | None
    margin_m: float | None
    state: Literal["normal", "warning", "guaranteed", "record", "unset", "silent"]
    suspect: Literal["flat", "step"] | None
    forecast_m_3h: float | None
    forecast_at: str | None
    time_to_warning_s: int | None
    rise_m_h: float | None


class Reaching(TypedDict):
    seconds: int | None
    at: str | None
    earliest_at: str | None


class Skill(TypedDict):
    judged: int
    rmse_m: float
    rmse_persistence_m: float
    skill: float | None
    coverage: float | None


class Station(StationNow):
    station_kind_name: str | None
    station_kind_name_en: str | None
    margins: dict[str, float | None]
    time_to_level: dict[str, Reaching | None]
    forecast_peak_m: float | None
    forecast_peak_at: str | None
    refused: str | None
    refused_en: str | None
    model: str | None
    skill: dict[str, Skill]


class Stations(TypedDict):
    items: list[Station]
    next: str | None


class Upstream(TypedDict):
    code: str
    name: str
    travel_min: int
    observed: list[Point]


class Doubt(TypedDict):
    kind: str
    text: str
    text_en: str


class Compared(TypedDict):
    at: str
    shift_s: int
    observed: list[Point]


Span = TypedDict("Span", {"from": str, "to": str})


class Mark(Span, Doubt):
    """Readings that are not believed, and why."""


class Hydrograph(Span):
    station: StationNow
    observed: list[Point]
    levels: dict[str, float | None]
    rain: list[Point]
    upstream: list[Upstream]
    forecast: list[Point]
    forecast_info: dict[str, Any]
    time_to_level: dict[str, Reaching | None]
    marks: list[Mark]
    compare: NotRequired[Compared]
