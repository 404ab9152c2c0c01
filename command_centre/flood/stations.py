"""How far a station is from its levels, how fast it rises, and in which order the desk looks at them. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from city.observations import Quality
from city.stations import KINDS, Levels, StationForecast, Step, station_state

Order = Literal["margin", "time_to_level"]
Row = Mapping[str, Any]

RISE_SPAN = timedelta(hours=1)
PEAK_WITHIN = timedelta(hours=6)
SHOWN_HORIZON_S = 3 * 3600


def curve(steps: Sequence[Step], start: datetime, step: timedelta) -> list[tuple[datetime, float]]:
    """Points of a chart, oldest first: of each ``step`` from ``start`` on the highest believed level, at its time.

    The highest, because a crest that passes between two points is the one thing a hydrograph must not lose.
    """
    highest: dict[int, tuple[datetime, float]] = {}
    for read in steps:
        if read.highest is None or read.highest_at is None:
            continue
        place = int((read.highest_at - start) / step)
        if place not in highest or read.highest >= highest[place][1]:
            highest[place] = (read.highest_at.astimezone(UTC), read.highest)
    return sorted(highest.values())


def margins(level_m: float | None, levels: Levels) -> dict[str, float | None]:
    """Metres left to each level, negative above it; None where the level is not set or nothing is read."""
    return {
        name: None if limit is None or level_m is None else round(limit - level_m, 3)
        for name, limit in levels.named().items()
    }


def rise_m_h(
    level_m: float | None, at: datetime | None, before_m: float | None, before_at: datetime | None
) -> float | None:
    """Metres an hour between a reading and the newest one at least an hour before it; None without both."""
    if level_m is None or at is None or before_m is None or before_at is None or before_at >= at:
        return None
    return round((level_m - before_m) / ((at - before_at) / timedelta(hours=1)), 2)


def time_to_levels(forecast: StationForecast | None, levels: Levels) -> dict[str, dict[str, object] | None]:
    """For each level when it is reached by the median, and at the earliest by the band's upper edge.

    None where the level is not set, there is no forecast, or even the band stays under it; seconds count from
    the issue and are None when only the band reaches it.
    """
    return {
        name: None if limit is None or forecast is None else _reach(forecast, limit)
        for name, limit in levels.named().items()
    }


def _reach(forecast: StationForecast, limit: float) -> dict[str, object] | None:
    found = forecast.reach(limit)
    if found is None:
        return None

    def instant(seconds: float | None) -> datetime | None:
        return None if seconds is None else forecast.issued_at + timedelta(seconds=round(seconds))

    return {
        "seconds": None if found.seconds is None else round(found.seconds),
        "at": instant(found.seconds),
        "earliest_at": instant(found.earliest_seconds),
    }


def suspect(quality: int, forecast: StationForecast | None) -> str | None:
    """Why a station's newest level is not believed, or None.

    "flat": it stands still like a dead gauge; "step": the gauge's zero seems to have moved.
    """
    if quality & Quality.STUCK or (forecast is not None and forecast.refused_code == "flat"):
        return "flat"
    return "step" if forecast is not None and forecast.refused_code == "step" else None


def live(row: Row, forecast: StationForecast | None) -> dict[str, Any]:
    """A station as screens show it; ``margin_m`` is what is left to the warning level, negative above it.

    A gauge that stands still is never called normal and has no margin; a flood does not end because its gauge
    stopped. ``row`` is one of ``city.storage.screen.stations``.
    """
    hidden = ("online", "quality", "before_m", "before_at", "metric", "unit")
    shown = {key: value for key, value in row.items() if key not in hidden}
    if (kind := KINDS.get(row["station_kind"])) is not None and kind.measures == "ground":
        return _spot(row, shown)
    doubt = suspect(row.get("quality") or 0, forecast)
    state = station_state(
        row["level_m"], row["warning_m"], row["guaranteed_m"], row["highest_m"], is_silent=not row["online"]
    )
    if doubt == "flat" and state == "normal":
        state = "silent"
    margin = None
    if state not in {"unset", "silent"} and doubt is None and row["warning_m"] is not None:
        margin = round(row["warning_m"] - row["level_m"], 3)
    return {
        **shown,
        "margin_m": margin,
        "state": state,
        "suspect": doubt,
        **_ahead(row, forecast, state, doubt),
    }


def _spot(row: Row, shown: dict[str, Any]) -> dict[str, Any]:
    """A landslide spot: it has a reading and no water level, so nothing about levels is known of it."""
    nothing = (
        "level_m",
        "margin_m",
        "suspect",
        "forecast_m_3h",
        "forecast_at",
        "time_to_warning_s",
        "rise_m_h",
    )
    reading = {"metric": row["metric"], "unit": row["unit"], "value": row["level_m"]}
    state = "unset" if row["online"] and row["level_m"] is not None else "silent"
    return {**shown, **dict.fromkeys(nothing), "state": state, "reading": reading}


def _ahead(row: Row, forecast: StationForecast | None, state: str, doubt: str | None) -> dict[str, object]:
    ahead: dict[str, object] = dict.fromkeys(
        ("forecast_m_3h", "forecast_at", "time_to_warning_s", "rise_m_h")
    )
    if state == "silent" or doubt is not None:
        return ahead
    ahead["rise_m_h"] = rise_m_h(
        row["level_m"], row["observed_at"], row.get("before_m"), row.get("before_at")
    )
    if forecast is None or not forecast.points:
        return ahead
    point = forecast.at(SHOWN_HORIZON_S)
    ahead["forecast_at"] = forecast.issued_at
    ahead["forecast_m_3h"] = None if point is None else round(point.q50, 2)
    if row["warning_m"] is not None:
        reached = forecast.reach(row["warning_m"])
        if reached is not None and reached.seconds is not None:
            ahead["time_to_warning_s"] = round(reached.seconds)
    return ahead


def in_order(items: Sequence[Mapping[str, Any]], order: Order) -> list[Mapping[str, Any]]:
    """Nearest to its warning level first, or soonest at it; what is silent or unset comes last, and is there.

    Stations that reach it only by the band's upper edge follow those that reach it by the median.
    """
    return sorted(items, key=_margin if order == "margin" else _soonest)


def _margin(item: Mapping[str, Any]) -> tuple[bool, float, str]:
    margin = item["margin_m"]
    return margin is None, 0.0 if margin is None else margin, item["code"]


def _soonest(item: Mapping[str, Any]) -> tuple[int, float, bool, float, str]:
    reached = item["time_to_level"]["warning"] if item["margin_m"] is not None else None
    if reached is None:
        return (2, 0.0, *_margin(item))
    if reached["seconds"] is not None:
        return (0, reached["seconds"], *_margin(item))
    return (1, reached["earliest_at"].timestamp(), *_margin(item))
