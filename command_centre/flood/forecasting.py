"""The forecast of every station, kept going: trained each night, issued each five minutes, judged when due.

Arithmetic runs beside the event loop: forecasts in a worker thread (milliseconds each), training in a process of
its own (seconds each). One centre of several does it, by an advisory lock.
"""

import asyncio
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from psycopg import AsyncConnection

from city.errors import CityError
from city.observations import Quality, instant
from city.settings import Settings
from city.stations import (
    LOWEST_BELIEVED_M,
    ZERO_TOLERANCE_M,
    ForecastPoint,
    ReadSpan,
    Station,
    StationForecast,
    StoredModel,
)
from city.storage import alone, forecasts, stations
from city.storage.alone import Right
from city.storage.changes import open_connection
from city.storage.database import connect, translated
from city.storage.series import SUSPECT
from command_centre.flood import forecast_plan as plan
from command_centre.flood.forecast import Forecast, Model, Refusal, predict
from command_centre.flood.marks import Mark, unsettled_jump
from command_centre.flood.readings import Held, Readings
from command_centre.flood.training import Order, Trained
from command_centre.waking import rest

ROUND_S = 10.0
ALONE_S = 5.0  # how often another centre asks whether it is its turn
LOOKBACK = timedelta(days=8)  # what a forecast looks back on: lags, tides, the mean of a week
RECENT_LEVELS = 100  # of them six hours are looked at for a step of the datum
TRAINING_CHECK = timedelta(minutes=1)
AFTER_FAULT = timedelta(minutes=30)
LONGEST_TRAINING_S = 3600.0
VERIFY_BITE = 2_000
UNBELIEVED = SUSPECT | int(Quality.STUCK)  # judges nothing

log = structlog.get_logger(__name__)


class TrainingError(CityError):
    """The process that trains ended badly; says what it said."""


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Forecast until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    connection = await open_connection(url, "city centre forecasts", autocommit=True)
    async with connection:
        while not await alone.try_alone(connection, Right.FORECAST):
            await rest(stop, ALONE_S)
            if stop.is_set():
                return
        forecaster = await asyncio.to_thread(Forecaster, url, settings)
        beside = [
            asyncio.create_task(_stay_alone(connection, forecaster, stop)),
            asyncio.create_task(_keep_training(url, forecaster, stop)),
        ]
        try:
            while not stop.is_set():
                for task in beside:
                    if task.done():
                        task.result()
                await asyncio.to_thread(forecaster.round, datetime.now(UTC))
                await rest(stop, ROUND_S)
        finally:
            forecaster.halt.set()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await asyncio.to_thread(forecaster.close)


async def _stay_alone(
    connection: AsyncConnection[Any], forecaster: "Forecaster", stop: asyncio.Event
) -> None:
    """Keep the right while a round takes its time; without it the round ends at the next station."""
    try:
        while not stop.is_set():
            await alone.touch(connection)
            await rest(stop, alone.TOUCH_S)
    finally:
        forecaster.halt.set()


class Forecaster:
    """What the worker thread does. One thread at a time uses it; ``halt`` ends a round between two stations."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._settings = settings
        self._connection = connect(url, application="city centre forecasting", autocommit=True)
        self._one_at_a_time = threading.Lock()
        self._models: dict[int, tuple[int, Model]] = {}
        self._held = Held()
        self._faulty: dict[str, str] = {}  # station: what went wrong the last time
        self._unreadable: set[int] = set()  # stations whose model another version wrote
        self.halt = threading.Event()

    def close(self) -> None:
        """Let the connection go."""
        with self._one_at_a_time:
            self._connection.close()

    def round(self, now: datetime) -> int:
        """Issue what is due at ``now`` and judge what can be judged; returns forecasts and refusals issued."""
        with self._one_at_a_time, translated():
            spans = stations.spans(self._connection, now)
            last = forecasts.issued_levels(self._connection)
            due = [
                station
                for station in stations.load(self._connection)
                if station.id in spans
                and plan.issue_due(station.measures, spans[station.id], last.get(station.id), now)
            ]
            issued = self._issue(due, spans, now) if due else 0
            forecasts.verify(
                self._connection,
                now,
                unbelieved=UNBELIEVED,
                lowest_m=LOWEST_BELIEVED_M,
                tolerance_m=ZERO_TOLERANCE_M,
                bite=VERIFY_BITE,
            )
            return issued

    def to_train(self, now: datetime) -> list[str]:
        """Codes of stations whose model is to be trained now."""
        with self._one_at_a_time, translated():
            spans = stations.spans(self._connection, now)
            models = forecasts.models(self._connection, whole=False)
            round_at = plan.last_round(now, self._settings.forecast_hour, self._settings.zone)
            return [
                station.code
                for station in stations.load(self._connection)
                if station.id in spans
                and plan.training_due(
                    None if station.id in self._unreadable else models.get(station.id),
                    station.measures,
                    spans[station.id],
                    round_at,
                    now,
                )
            ]

    def _issue(self, due: list[Station], spans: dict[int, ReadSpan], now: datetime) -> int:
        models = self._fresh_models([station.id for station in due])
        readings = Readings(self._connection, start=now - LOOKBACK, end=now, held=self._held)
        faulty = dict(self._faulty)
        issued = []
        for station in due:
            if self.halt.is_set() or station.id not in models:
                continue
            stored_id, model = models[station.id]
            made = self._forecast(station, model, readings, now)
            if made is not None:
                span = spans[station.id]
                issued.append(_noun(station, span, made, stored_id, now))
        with self._connection.transaction():
            forecasts.store(self._connection, issued)
        if self._faulty and self._faulty != faulty:
            first, error = next(iter(self._faulty.items()))
            log.error("forecasts cannot be made", stations=len(self._faulty), first=first, error=error)
        return len(issued)

    def _fresh_models(self, station_ids: list[int]) -> dict[int, tuple[int, Model]]:
        """The newest model of each, read only where another one is in use now."""
        known = forecasts.models(self._connection, station_ids, whole=False)
        other = [key for key, stored in known.items() if self._models.get(key, (0,))[0] != stored.id]
        for key, stored in forecasts.models(self._connection, other).items() if other else ():
            model = self._readable(stored)
            if model is not None:
                self._unreadable.discard(key)
                self._models[key] = (stored.id, model)
        return {key: self._models[key] for key in station_ids if key in self._models}

    def _readable(self, stored: StoredModel) -> Model | None:
        try:
            return Model.from_dict(stored.model)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a model is unreadable and will be trained again", model=stored.id, error=str(error))
            self._unreadable.add(stored.station_id)
            return None

    def _forecast(
        self, station: Station, model: Model, readings: Readings, now: datetime
    ) -> Forecast | Refusal | Mark | None:
        level, others = readings.of(station, model.step_s)
        read = [
            (instant(int(at)), float(value)) for at, value in zip(level.time_us, level.value, strict=True)
        ]
        if jump := unsettled_jump(read[-RECENT_LEVELS:], timedelta(seconds=model.step_s), now):
            return jump
        try:
            made = predict(model, level, others, round(now.timestamp() * 1_000_000))
        except Exception as error:  # arithmetic on strange data: said once, and the next station goes on
            self._faulty[station.code] = f"{type(error).__name__}: {error}"[:300]
            return None
        self._faulty.pop(station.code, None)
        return made


def _noun(
    station: Station, span: ReadSpan, made: Forecast | Refusal | Mark, model_id: int, now: datetime
) -> StationForecast:
    code, refused, refused_en = _refused(made)
    forecast = made if isinstance(made, Forecast) else None
    return StationForecast(
        station=station.code,
        station_id=station.id,
        issued_at=instant(round(now.timestamp() * 1_000_000)),
        observed_at=span.newest_at,
        level_m=span.level_m if forecast is None else forecast.level_m,
        points=() if forecast is None else _points(forecast),
        basis="" if forecast is None else _named(forecast.basis, station),
        basis_en="" if forecast is None else _named(forecast.basis_en, station),
        degraded=() if forecast is None else forecast.degraded,
        refused_code=code,
        refused=refused,
        refused_en=refused_en,
        model_id=model_id,
        model_kind=None,
        model_version=None,
    )


def _refused(made: Forecast | Refusal | Mark) -> tuple[str | None, str | None, str | None]:
    if isinstance(made, Refusal):
        return made.code, made.reason, made.reason_en
    if isinstance(made, Mark):
        return made.kind, made.text, made.text_en
    return None, None, None


def _named(basis: str, station: Station) -> str:
    """The words with the names that people know instead of device and metric."""
    for source in sorted(station.sources, key=lambda source: -len(source.series_name)):
        basis = basis.replace(source.series_name, source.label)
    return basis


def _points(forecast: Forecast) -> tuple[ForecastPoint, ...]:
    return tuple(
        ForecastPoint(horizon_s=point.horizon_s, q10=point.q10, q50=point.q50, q90=point.q90, alarm_m=alarm_m)
        for point, alarm_m in zip(forecast.points, forecast.alarm_m, strict=True)
    )


# ── training ─────────────────────────────────────────────────────────────────────────────────────────


async def _keep_training(url: str, forecaster: Forecaster, stop: asyncio.Event) -> None:
    """Once a minute; what failed is left alone for a while, since it would fail again."""
    failed: dict[str, datetime] = {}
    while not stop.is_set():
        now = datetime.now(UTC)
        failed = {code: at for code, at in failed.items() if now - at < AFTER_FAULT}
        codes = [code for code in await asyncio.to_thread(forecaster.to_train, now) if code not in failed]
        if codes:
            try:
                trained = await train_apart(url, codes, now)
                failed |= {one.station: now for one in trained if one.fault}
            except TrainingError as error:
                failed |= dict.fromkeys(codes, now)
                log.error("training failed", error=str(error))
        await rest(stop, TRAINING_CHECK.total_seconds())


async def train_apart(url: str, codes: list[str], now: datetime) -> list[Trained]:
    """Train these stations in a process of its own, ended with us. Raises TrainingError when it ends badly."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "command_centre.flood.training",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is ours to handle
    )
    assert process.stdin is not None  # noqa: S101  # here and below: asked for above
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    said = asyncio.create_task(process.stderr.read())
    trained = []
    try:
        async with asyncio.timeout(LONGEST_TRAINING_S):
            process.stdin.write(msgspec.json.encode(Order(url=url, stations=codes, now=now)) + b"\n")
            await process.stdin.drain()
            trained.extend([msgspec.json.decode(line, type=Trained) async for line in process.stdout])
            code = await process.wait()
    except (TimeoutError, ConnectionError, msgspec.MsgspecError) as error:
        raise TrainingError(f"{type(error).__name__} {error}") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        complaint = (await said).decode(errors="replace").strip()
    if code != 0:
        raise TrainingError(complaint.splitlines()[-1][:300] if complaint else f"exit code {code}")
    faults = [f"{one.station}: {one.fault}" for one in trained if one.fault]
    log.info("models trained", stations=len(trained), faults=faults[:5], seconds=_total_s(trained))
    return trained


def _total_s(trained: list[Trained]) -> float:
    return round(sum(one.took_s for one in trained), 1)
