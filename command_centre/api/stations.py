"""Water stations: newest levels in the order of danger, the hydrograph of one with what is ahead, past events."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from psycopg import Connection
from pydantic import AwareDatetime
from starlette.responses import Response

from city.observations import instant
from city.stations import (
    HIGHEST_BELIEVED_M,
    KINDS,
    Levels,
    Source,
    Station,
    StationForecast,
    Step,
    StoredModel,
    lowest_believed,
)
from city.storage import forecasts, series
from city.storage import stations as stored
from city.storage.forecasts import Verification
from command_centre.api.answers import answer, gives
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import services, transaction
from command_centre.api.shapes.stations import Hydrograph, Stations
from command_centre.flood import events as past
from command_centre.flood import stations as desk
from command_centre.flood.marks import Mark, marks

router = APIRouter(prefix="/api/stations", tags=["stations"])

LONGEST_HOURS = 31 * 24
LONGEST_EVENTS = timedelta(days=800)
EVENT_STEP = timedelta(minutes=10)
MARKED_STEPS = 4_000  # of the span: every reading of a day at one in 22 s
AFTERWARDS = timedelta(hours=24)  # of a past window: what came next is why one compares
_LEVEL_KEYS = ("zero_m", "warning_m", "guaranteed_m", "highest_m", "bank_m", "design_m")

Pair = tuple[datetime, float]


@router.get(
    "", summary="Stations with their newest levels", operation_id="list_stations", responses=gives(Stations)
)
def list_stations(
    request: Request,
    sort: Annotated[
        Literal["margin", "time_to_level"] | None,
        Query(description="nearest to, or soonest at, the warning level"),
    ] = None,
) -> Response:
    """Levels are metres above each station's datum; `margin_m` is what is left to the warning level.

    Without `sort` by code. With it, silent stations and those without levels come last.
    """
    hub = services(request).hub
    items = [
        _item(msgspec.json.decode(raw), hub.forecasts.get(code), hub.skill.get(code, ()))
        for code, raw in _live(request).items()
    ]
    for item in items:
        item["observed_at"] = item["observed_at"] and datetime.fromisoformat(item["observed_at"])
    return answer({"items": desk.in_order(items, sort) if sort else items, "next": None})


def _item(
    live: dict[str, Any], forecast: StationForecast | None, skill: Sequence[Verification]
) -> dict[str, Any]:
    levels = _levels(live)
    doubtful = live["state"] == "silent" or live["suspect"] is not None
    ahead = None if doubtful else forecast
    peak = ahead.peak(desk.PEAK_WITHIN) if ahead else None
    kind = KINDS.get(live["station_kind"])
    return {
        **live,
        "station_kind_name": kind.name if kind else live["station_kind"],
        "station_kind_name_en": kind.name_en if kind else live["station_kind"],
        "margins": desk.margins(None if doubtful else live["level_m"], levels),
        "time_to_level": desk.time_to_levels(ahead, levels),
        "forecast_peak_m": None if peak is None else round(peak[1], 2),
        "forecast_peak_at": None if peak is None else peak[0],
        "refused": forecast.refused if forecast else None,
        "refused_en": forecast.refused_en if forecast else None,
        "model": forecast.model_kind if forecast else None,
        "skill": _skill(skill),
    }


def _levels(live: dict[str, Any]) -> Levels:
    return Levels(**{key: live.get(key) for key in _LEVEL_KEYS})


def _skill(scores: Sequence[Verification]) -> dict[str, dict[str, object]]:
    """By horizon in hours, "1h", "3h", …: what forecasts were worth over the last 30 days."""
    return {
        f"{score.horizon_s / 3600:g}h": {
            "judged": score.judged,
            "rmse_m": round(score.rmse_m, 3),
            "rmse_persistence_m": round(score.rmse_persistence_m, 3),
            "skill": None if score.skill is None else round(score.skill, 3),
            "coverage": round(score.coverage, 3),
        }
        for score in scores
    }


# ── hydrograph ───────────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/{code}/hydrograph",
    summary="Levels of a station over time",
    operation_id="hydrograph",
    responses=gives(Hydrograph),
)
def hydrograph(  # each is one parameter of the query
    request: Request,
    code: str,
    hours: Annotated[int, Query(ge=1, le=LONGEST_HOURS)] = 24,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="with offset")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="with offset; now")] = None,
    compare: Annotated[
        AwareDatetime | None, Query(description="a past instant to lay over the end of this window")
    ] = None,
) -> Response:
    """What was observed, what is expected, the levels, rain and the water upstream; `marks` says what is odd.

    `observed` ends now, or at the station's newest reading when that is older than the span. `forecast` holds
    [time, q10, median, q90]; `forecast_info` says what it rests on, or why there is none.
    """
    live = _live(request).get(code)
    if live is None:
        raise not_found("station", "水位站", code)
    shown = msgspec.json.decode(live)
    now = datetime.now(UTC)
    with transaction(request) as connection:
        station = _station(connection, code, shown)
        window = _window(connection, station, hours, start, end, now)
        steps = _steps(connection, station, *window)
        body = {
            "station": live,
            "from": window[0],
            "to": window[1],
            "observed": _curve(steps, window),
            "levels": {key: getattr(station.levels, key) for key in _LEVEL_KEYS},
            "rain": _rain(connection, station, window),
            "upstream": [_upstream(connection, source, window) for source in _above(station)],
            **_ahead(connection, station, shown, current=end is None),
            "marks": [_mark(mark) for mark in _marks(steps, station, window, now)],
        }
        if compare is not None:
            body["compare"] = _compared(connection, station, window, compare)
    return answer(body)


Window = tuple[datetime, datetime]


def _station(connection: Connection[Any], code: str, live: dict[str, Any]) -> Station:
    """The station; a gauge that nobody has listed as one is drawn all the same, without levels."""
    found = stored.load(connection, code)
    if found:
        return found[0]
    device_id, metric_id = series.device_metric(connection, code)
    return Station(
        id=device_id,
        code=code,
        name=live["name"],
        kind=live["station_kind"] or "",
        metric=None,
        metric_id=metric_id,
        expected_interval_s=None,
        levels=Levels(),
        sources=(),
    )


def _window(
    connection: Connection[Any],
    station: Station,
    hours: int,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
) -> Window:
    if start is not None and (end or now) <= start:
        raise field_problem(
            "from", start.isoformat(), "must lie before `to`, or before now", "须早于 to 或当前时间"
        )
    if start is not None and (end or now) - start > timedelta(hours=LONGEST_HOURS):
        raise field_problem(
            "from",
            start.isoformat(),
            f"at most {LONGEST_HOURS} hours in one answer",
            f"一次最多 {LONGEST_HOURS} 小时",
        )
    span = (end or now) - start if start is not None else timedelta(hours=hours)
    if end is None and start is None and station.metric_id is not None:
        newest = series.newest_at(connection, station.id, station.metric_id, now)
        end = newest if newest is not None and newest <= now - span else now
    end = (end or now).astimezone(UTC)
    return end - span, end


def _steps(connection: Connection[Any], station: Station, start: datetime, end: datetime) -> list[Step]:
    if station.metric_id is None:
        return []
    return series.steps(
        connection,
        station.id,
        station.metric_id,
        start=start,
        end=end,
        low=lowest_believed(station.levels),
        high=HIGHEST_BELIEVED_M,
        most=MARKED_STEPS,
    )


def _curve(steps: Sequence[Step], window: Window) -> list[Pair]:
    return desk.curve(steps, window[0], series.fitting_step(window[1] - window[0]))


def _marks(steps: Sequence[Step], station: Station, window: Window, now: datetime) -> list[Mark]:
    return marks(
        steps,
        measures=station.measures,
        expected_interval_s=station.expected_interval_s,
        start=window[0],
        end=min(window[1], now),
    )


def _mark(mark: Mark) -> dict[str, object]:
    return {
        "from": mark.start.astimezone(UTC),
        "to": mark.end.astimezone(UTC),
        "kind": mark.kind,
        "text": mark.text,
        "text_en": mark.text_en,
    }


def _rain(connection: Connection[Any], station: Station, window: Window) -> list[Pair]:
    """Sums of the first rain series, millimetres in each step of the chart."""
    gauge = next((source for source in station.sources if source.role == "rain"), None)
    if gauge is None:
        return []
    step = max(series.fitting_step(window[1] - window[0]), timedelta(minutes=10))
    return series.totals(
        connection, gauge.device_id, gauge.metric_id, start=window[0], end=window[1], step=step
    )


def _above(station: Station) -> list[Source]:
    return [source for source in station.sources if source.role == "level_upstream"]


def _upstream(connection: Connection[Any], source: Source, window: Window) -> dict[str, object]:
    steps = series.steps(
        connection,
        source.device_id,
        source.metric_id,
        start=window[0],
        end=window[1],
        low=lowest_believed(Levels()),
        high=HIGHEST_BELIEVED_M,
        most=series.WANTED_POINTS,
    )
    return {
        "code": source.name,
        "name": source.label,
        "travel_min": source.travel_minutes,
        "observed": _curve(steps, window),
    }


def _compared(
    connection: Connection[Any], station: Station, window: Window, compare: datetime
) -> dict[str, object]:
    """The same span around a past instant, moved so that the instant lies on the end of this window."""
    past_window = (compare - (window[1] - window[0]), compare + AFTERWARDS)
    shift = window[1] - compare
    moved = [
        (at + shift, level) for at, level in _curve(_steps(connection, station, *past_window), past_window)
    ]
    return {"at": compare, "shift_s": round(shift.total_seconds()), "observed": moved}


# ── what is ahead ────────────────────────────────────────────────────────────────────────────────────


def _ahead(
    connection: Connection[Any], station: Station, live: dict[str, Any], *, current: bool
) -> dict[str, object]:
    """The newest forecast, unless the window lies in the past or the level is not believed."""
    found = forecasts.newest_of(connection, station.code) if current else None
    doubtful = live["state"] == "silent" or live["suspect"] is not None
    believed = None if found is None or doubtful or found.refused else found
    points = believed.points if believed else ()
    return {
        "forecast": [
            (believed.issued_at + timedelta(seconds=p.horizon_s), *_millimetres(p.q10, p.q50, p.q90))
            for p in points
        ]
        if believed
        else [],
        "forecast_info": _info(connection, found, believed, current=current),
        "time_to_level": desk.time_to_levels(believed, station.levels) if current else {},
    }


def _info(
    connection: Connection[Any],
    found: StationForecast | None,
    believed: StationForecast | None,
    *,
    current: bool,
) -> dict[str, object]:
    if believed is None:
        zh, en = ("过去的时段没有预报", "there is no forecast in a past window")
        if current:
            zh, en = ("暂无预报", "there is no forecast yet") if found is None else _refusal(found)
        return {"refused": zh, "refused_en": en, "refused_code": found.refused_code if found else None}
    scores = forecasts.verification_of(connection, believed.station, datetime.now(UTC).date())
    model = forecasts.models(connection, [believed.station_id], whole=False).get(believed.station_id)
    return {
        "refused": None,
        "issued_at": believed.issued_at.astimezone(UTC),
        "level_m": believed.level_m,
        "basis": believed.basis,
        "basis_en": believed.basis_en,
        "degraded": list(believed.degraded),
        "alarm_m": _millimetres(*(point.alarm_m for point in believed.points)),
        "model": None if model is None else {"kind": model.kind, "version": model.version},
        "scores": None if model is None else model.scores,
        "skill_30d": _skill(scores),
    }


def _millimetres(*metres: float | None) -> list[float | None]:
    return [None if level is None else round(level, 3) for level in metres]


def _refusal(found: StationForecast) -> tuple[str, str]:
    if found.refused is not None and found.refused_en is not None:
        return found.refused, found.refused_en
    return "测站当前读数不可信或无数据", "the station is silent, or its reading is not believed"


@router.get("/{code}/model", summary="What a station's forecast rests on", operation_id="station_model")
def station_model(request: Request, code: str) -> Response:
    """The model in use with its cross-validated scores, and what its forecasts were worth over 30 days."""
    with transaction(request) as connection:
        found = stored.load(connection, code)
        if not found:
            raise not_found("station", "水位站", code)
        model = forecasts.models(connection, [found[0].id], whole=False).get(found[0].id)
        scores = forecasts.verification_of(connection, code, datetime.now(UTC).date())
    return answer({"station": code, **_model(model), "verification": _skill(scores)})


def _model(model: StoredModel | None) -> dict[str, object]:
    if model is None:
        return {
            "kind": None,
            "reason": "尚未训练：历史数据不足",
            "reason_en": "not trained yet: too little history",
        }
    return {
        "kind": model.kind,
        "version": model.version,
        "trained_at": model.trained_at.astimezone(UTC),
        "first_at": model.first_at.astimezone(UTC),
        "trained_until": model.trained_until.astimezone(UTC),
        "rows": model.rows,
        "took_s": round(model.took_s, 2),
        "scores": model.scores,
    }


# ── past events ──────────────────────────────────────────────────────────────────────────────────────


@router.get("/{code}/events", summary="When a level was exceeded", operation_id="station_events")
def station_events(
    request: Request,
    code: str,
    level: Annotated[
        float | None, Query(ge=-500, le=9000, description="metres; the station's warning level")
    ] = None,
    start: Annotated[
        AwareDatetime | None, Query(alias="from", description="with offset; 400 days ago")
    ] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="with offset; now")] = None,
) -> Response:
    """Newest first. Exceedances less than 24 h apart are one event; `rise_m` is of the 3 h before the onset.

    Found in ten-minute steps, each by its highest reading.
    """
    until = end or datetime.now(UTC)
    since = start or until - timedelta(days=400)
    if not timedelta(0) < until - since <= LONGEST_EVENTS:
        raise field_problem(
            "from", since.isoformat(), "must lie before `to`, 800 days at most", "须早于 to，最多 800 天"
        )
    with transaction(request) as connection:
        found = stored.load(connection, code)
        if not found:
            raise not_found("station", "水位站", code)
        station = found[0]
        limit = station.levels.warning_m if level is None else level
        if limit is None or station.metric_id is None:
            raise Problem(
                422,
                f"level: station {code} has no warning level; give one as ?level=",
                f"测站 {code} 未设警戒水位，请用 ?level= 指定",
            )
        times, values = series.history(
            connection,
            station.id,
            station.metric_id,
            start=since,
            end=until,
            step=EVENT_STEP,
            take="highest",
            low=lowest_believed(station.levels),
            high=HIGHEST_BELIEVED_M,
        )
    items = [_event(event) for event in reversed(past.exceedances(times, values, limit))]
    return answer({"station": code, "level_m": limit, "items": items, "next": None})


def _event(event: past.Event) -> dict[str, object]:
    return {
        "onset": instant(event.onset_us),
        "peak": instant(event.peak_us),
        "end": instant(event.end_us),
        "peak_m": event.peak_m,
        "rise_m": None if event.rise_3h_m is None else round(event.rise_3h_m, 3),
    }


def _live(request: Request) -> dict[str, msgspec.Raw]:
    """What screens show of each station, a second or two old."""
    return services(request).hub.log.topic("station")
