"""Stations among the devices: what kinds there are, their levels, where their water comes from, what is forecast.

Levels are metres above the station's own datum; at a road or an underpass they are the depth of the water, 0 = dry.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

StationState = Literal["normal", "warning", "guaranteed", "record", "unset", "silent"]
Measures = Literal["level", "depth", "ground"]
SeriesRole = Literal["rain", "release", "tide", "level_upstream", "other"]

SERIES_ROLES: tuple[SeriesRole, ...] = ("rain", "release", "tide", "level_upstream", "other")
LEVEL_NAMES = ("warning", "guaranteed", "highest", "bank", "design")

# No gauge stands deeper or higher than this, metres: what lies beyond is a sentinel (-990, -999.9, 9999).
LOWEST_BELIEVED_M, HIGHEST_BELIEVED_M = -500.0, 9000.0
ZERO_TOLERANCE_M = 0.05  # a dry or just emptied gauge reads this much under its zero without being broken


@dataclass(frozen=True, kw_only=True, slots=True)
class StationKind:
    """A kind of station. ``measures`` ground: a landslide spot, whose displacement or rain is no water level."""

    code: str
    name: str
    name_en: str
    measures: Measures


KINDS: Mapping[str, StationKind] = {
    kind.code: kind
    for kind in (
        StationKind(code="river", name="河道", name_en="River", measures="level"),
        StationKind(code="culvert", name="涵洞", name_en="Culvert", measures="level"),
        StationKind(code="underpass", name="下穿通道", name_en="Underpass", measures="depth"),
        StationKind(code="road", name="道路积水点", name_en="Road", measures="depth"),
        StationKind(code="reservoir", name="水库", name_en="Reservoir", measures="level"),
        StationKind(code="tide", name="潮位", name_en="Tide", measures="level"),
        StationKind(code="landslide", name="滑坡隐患点", name_en="Landslide spot", measures="ground"),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """A station's levels, metres; None = not set. ``zero_m`` is the lowest its gauge can read."""

    zero_m: float | None = None
    warning_m: float | None = None
    guaranteed_m: float | None = None
    highest_m: float | None = None
    bank_m: float | None = None
    design_m: float | None = None

    def named(self) -> dict[str, float | None]:
        """The levels a station may reach, by the names of ``LEVEL_NAMES``."""
        return dict(
            zip(
                LEVEL_NAMES,
                (self.warning_m, self.guaranteed_m, self.highest_m, self.bank_m, self.design_m),
                strict=True,
            )
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A series that tells of a station's water; ``travel_minutes`` None = not known.

    ``device_id`` and ``metric_id`` are database ids; ``name`` is the device's code, ``label`` what people call it,
    ``metric`` the quantity's code.
    """

    name: str
    label: str
    metric: str
    device_id: int
    metric_id: int
    role: SeriesRole
    travel_minutes: int | None

    @property
    def series_name(self) -> str:
        """How a model knows this series: stays while device and metric do, whatever people call it."""
        return f"{self.name}/{self.metric}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Station:
    """A station as the forecast works with it. ``metric_id`` None: its kind of device has no main metric."""

    id: int
    code: str
    name: str
    kind: str
    metric: str | None
    metric_id: int | None
    expected_interval_s: int | None
    levels: Levels
    sources: tuple[Source, ...]

    @property
    def measures(self) -> Measures:
        """What its number means; an unknown kind is taken for a water level."""
        known = KINDS.get(self.kind)
        return known.measures if known is not None else "level"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadSpan:
    """How far a station's readings go: its oldest, and its newest that is believed (metres)."""

    first_at: datetime
    newest_at: datetime
    level_m: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredModel:
    """A station's model as it is kept; ``model`` and ``scores`` are the forecast's own, as JSON.

    ``first_at`` and ``trained_until`` are the times of the oldest and newest level it has seen.
    """

    id: int
    station_id: int
    version: int
    kind: str
    trained_at: datetime
    first_at: datetime
    trained_until: datetime
    rows: int
    took_s: float
    scores: Any
    model: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a station read in one step of its hydrograph: the highest and the lowest that is believed, metres.

    None where nothing is. ``odd`` readings were not believed, from ``odd_low`` to ``odd_high``; ``quality`` holds
    every bit of ``city.observations.Quality`` that any reading of the step carries.
    """

    first_at: datetime
    last_at: datetime
    highest_at: datetime | None
    highest: float | None
    lowest: float | None
    odd: int
    odd_low: float | None
    odd_high: float | None
    quality: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastPoint:
    """What is expected ``horizon_s`` after the issue: the median and the 10-90 % band, metres.

    ``alarm_m`` is the highest level to warn of within that time, by the model's own warning rule.
    """

    horizon_s: int
    q10: float
    q50: float
    q90: float
    alarm_m: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """When a level is reached: ``seconds`` by the median, ``earliest_seconds`` by the upper edge of the band.

    Both count from the issue; None = not within the forecast.
    """

    seconds: float | None
    earliest_seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StationForecast:
    """The newest forecast of a station, or the reason why there is none (``refused``, then no points).

    ``level_m`` is the level it started from, read at ``observed_at``; ``degraded`` names series that were missing.
    """

    station: str
    station_id: int
    issued_at: datetime
    observed_at: datetime | None
    level_m: float | None
    points: tuple[ForecastPoint, ...]
    basis: str
    basis_en: str
    degraded: tuple[str, ...]
    refused_code: str | None = None  # silent, flat, out_of_range, no_data
    refused: str | None
    refused_en: str | None
    model_id: int | None
    model_kind: str | None
    model_version: int | None

    def at(self, horizon_s: int) -> ForecastPoint | None:
        """The point of one horizon."""
        return next((point for point in self.points if point.horizon_s == horizon_s), None)

    def peak(self, within: timedelta) -> tuple[datetime, float] | None:
        """When and how high the median stands highest within a time from the issue; None without a forecast."""
        inside = [point for point in self.points if point.horizon_s <= within.total_seconds()]
        if not inside:
            return None
        highest = max(inside, key=lambda point: point.q50)
        return self.issued_at + timedelta(seconds=highest.horizon_s), highest.q50

    def reach(self, level_m: float) -> Reach | None:
        """When ``level_m`` is reached, 0 where it already is; None when it is not, even by the band's edge."""
        if self.level_m is None or not self.points:
            return None
        found = Reach(
            seconds=first_reached(self.level_m, ((p.horizon_s, p.q50) for p in self.points), level_m),
            earliest_seconds=first_reached(
                self.level_m, ((p.horizon_s, p.q90) for p in self.points), level_m
            ),
        )
        return found if found.seconds is not None or found.earliest_seconds is not None else None


def first_reached(now_m: float, ahead: Iterable[tuple[float, float]], level_m: float) -> float | None:
    """Seconds until a line through (0, ``now_m``) and the points (seconds, metres) first stands at ``level_m``."""
    if now_m >= level_m:
        return 0.0
    before_s, before_m = 0.0, now_m
    for after_s, after_m in ahead:
        if after_m >= level_m:
            return before_s + (after_s - before_s) * (level_m - before_m) / (after_m - before_m)
        before_s, before_m = after_s, after_m
    return None


def lowest_believed(levels: Levels) -> float:
    """Metres under which a reading is no water level: the gauge's zero where it is known, else any sentinel."""
    return LOWEST_BELIEVED_M if levels.zero_m is None else levels.zero_m - ZERO_TOLERANCE_M


def station_state(
    level_m: float | None,
    warning_m: float | None,
    guaranteed_m: float | None,
    highest_m: float | None,
    *,
    is_silent: bool,
) -> StationState:
    """The worst level reached; no data and no levels are states of their own, never "normal"."""
    if is_silent or level_m is None:
        return "silent"
    if warning_m is None and guaranteed_m is None:
        return "unset"
    if highest_m is not None and level_m >= highest_m:
        return "record"
    if guaranteed_m is not None and level_m >= guaranteed_m:
        return "guaranteed"
    if warning_m is not None and level_m >= warning_m:
        return "warning"
    return "normal"
