"""Looks after what the rules cannot see: metrics that stopped, hours heard, and once a day where batteries are going.

Every round is bounded, and one centre of several is at it. What it finds becomes an alarm of class C like any other:
triage joins those of one gateway or cell to one incident (docs/device-health.md).
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import structlog
from psycopg import AsyncConnection

from city.settings import Settings
from city.storage import alone, device_alarms, device_looks
from city.storage.alone import Right
from city.storage.changes import open_connection
from city.storage.device_looks import Learned
from command_centre import device_health, device_trends
from command_centre.waking import rest
from rules.listening import Listening

EVERY = timedelta(seconds=20)
MARKED_EVERY = timedelta(minutes=2)
LEARNED_AT_ONCE = 400  # devices in one round: a register of 100,000 is learned in an hour and a half
LOOKED_AT_ONCE = 20_000  # metrics
SLICE = 5_000  # devices whose day or trend is one transaction
RELEARNED = timedelta(days=1)
HEARD_DAYS = 400
SOON = timedelta(days=30)  # a battery that ends within them is to be replaced

BLIND_RULE, BATTERY_RULE = "system.device_blind", "system.device_battery"
BLIND_CATEGORY, BATTERY_CATEGORY = "device.fault.sensor", "device.battery"

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]
_SECOND = timedelta(seconds=1)


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Look until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    connection = await open_connection(url, "city centre device health", autocommit=True)
    marked = looked = datetime.now(UTC) - timedelta(hours=1)
    async with connection:
        while not stop.is_set():
            now = datetime.now(UTC)
            if now - looked >= EVERY and await alone.try_alone(connection, Right.LOOK_AT_DEVICES):
                try:
                    if now - marked >= MARKED_EVERY:
                        await mark(connection, now, since=marked)
                        marked = now
                    await look(connection, now)
                    await day_by_day(connection, now, stop)
                finally:
                    await alone.give_up(connection, Right.LOOK_AT_DEVICES)
                looked = now
            await rest(stop)


async def look(connection: Connection, now: datetime) -> None:
    """Learn the metrics that are due, then see which of the known ones are missed; raise and clear what follows."""
    await device_looks.enrol(connection, now, LEARNED_AT_ONCE)
    devices = await device_looks.due_devices(connection, now, LEARNED_AT_ONCE)
    if devices:
        async with connection.transaction():
            await _learn(connection, devices, now)
    rows = await device_looks.due_metrics(connection, now, LOOKED_AT_ONCE)
    if not rows:
        return
    listening = await _listening(connection, now - timedelta(days=device_looks.LEARNED_DAYS))
    async with connection.transaction():
        await device_looks.write_metrics(connection, [_missed(row, listening, now) for row in rows])
        found = await device_alarms.blind(connection, BLIND_RULE, BLIND_CATEGORY, now)
    if any(found):
        log.info("metrics missed and back", raised=found[0], cleared=found[1])


async def _learn(connection: Connection, devices: Sequence[Mapping[str, Any]], now: datetime) -> None:
    ids = [row["id"] for row in devices]
    every = {row["id"]: row["expected_interval_s"] for row in devices}
    pauses = {
        (row["device_id"], row["metric_id"]): row["gaps_s"]
        for row in await device_looks.longest_pauses(connection, ids, now)
    }
    learned = []
    for row in await device_looks.newest_readings(connection, ids, now):
        key = row["device_id"], row["metric_id"]
        times = np.array([at.timestamp() for at in row["observed"]])
        cadence = device_health.learn(
            np.append(-np.diff(times), [float(gap) for gap in pauses.get(key, ())]), every[row["device_id"]]
        )
        learned.append(
            Learned(
                device_id=key[0],
                metric_id=key[1],
                last_at=row["last_at"],
                value=row["value"],
                every_s=cadence.every_s if cadence else None,
                limit_s=cadence.limit_s if cadence else None,
                due_at=row["last_at"] + cadence.limit_s * _SECOND if cadence else None,
            )
        )
    looks = {row["id"]: now + _again(row["first_heard_at"], now) for row in devices}
    await device_looks.write_learned(connection, learned, looks)


def _again(first_heard_at: datetime | None, now: datetime) -> timedelta:
    """A new device shows something new soon, an old one seldom."""
    age = now - first_heard_at if first_heard_at is not None else timedelta()
    return min(RELEARNED, max(timedelta(minutes=1), age / 2))


def _missed(
    row: Mapping[str, Any], listening: Listening | None, now: datetime
) -> tuple[int, int, datetime, float, datetime, datetime | None]:
    """A metric of a device that speaks is blind when it owes a reading by the time that we listened."""
    last, limit = row["last_at"], float(row["limit_s"])
    listened = (now - last).total_seconds() if listening is None else _listened_s(listening, last, now)
    speaks = row["heard_at"] is not None and row["heard_at"] > last
    blind = last if speaks and listened > limit else None
    if blind is None and row["heard_at"] is None:
        blind = (
            row["blind_since"] if row["blind_since"] == last else None
        )  # it is silent: nothing new is known
    wait = max(limit - listened, min(limit / 2, 600.0), 20.0) if listened > limit else limit - listened
    return row["device_id"], row["metric_id"], last, row["value"], now + wait * _SECOND, blind


def _listened_s(listening: Listening, since: datetime, now: datetime) -> float:
    since_us = np.array([int(since.timestamp() * 1_000_000)], dtype=np.int64)
    return float(listening.listened(since_us, int(now.timestamp() * 1_000_000))[0]) / 1e6


async def _listening(connection: Connection, since: datetime) -> Listening | None:
    """When ingest listened; None where none ever did, so that the clock counts."""
    stretches = await device_looks.sessions(connection, since)
    if not stretches:
        return None
    return Listening(
        (int(begin.timestamp() * 1_000_000), int(end.timestamp() * 1_000_000)) for begin, end in stretches
    )


# ── hours ────────────────────────────────────────────────────────────────────────────────────────────


async def mark(connection: Connection, now: datetime, *, since: datetime) -> None:
    """Which devices were heard in which hour, and in which hours we listened from end to end."""
    await device_looks.mark_heard(connection, since - MARKED_EVERY)
    stretches = await device_looks.sessions(connection, now - timedelta(days=2))
    await device_looks.write_listened(connection, whole_hours(stretches, now))


_MISSED_OF_AN_HOUR = timedelta(seconds=60)  # a restart of ours is no outage


def whole_hours(stretches: Sequence[tuple[datetime, datetime]], now: datetime) -> dict[date, int]:
    """Bits of the UTC hours that are over and of which we missed less than a minute, by day."""
    hours: dict[date, int] = {}
    if not stretches:
        return hours
    merged: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(stretches):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    hour = merged[0][0].astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour + timedelta(hours=1) <= now:
        after = hour + timedelta(hours=1)
        heard = sum(
            (max(timedelta(), min(end, after) - max(begin, hour)) for begin, end in merged), timedelta()
        )
        if heard >= timedelta(hours=1) - _MISSED_OF_AN_HOUR:
            hours[hour.date()] = hours.get(hour.date(), 0) | 1 << hour.hour
        hour = after
    return hours


# ── once a day ───────────────────────────────────────────────────────────────────────────────────────


async def day_by_day(connection: Connection, now: datetime, stop: asyncio.Event) -> None:
    """Take over the days that were rolled up since; with the last of them the trends are drawn anew."""
    done_to, rolled_to = await device_looks.progress(connection)
    if rolled_to is None:
        return
    if done_to is None:
        done_to = rolled_to - timedelta(days=HEARD_DAYS // 4)
    if done_to >= rolled_to:
        return
    highest = await device_looks.highest_device(connection)
    slices = [(first, first + SLICE - 1) for first in range(0, highest + 1, SLICE)]
    for first, last in slices:
        if stop.is_set():
            return
        async with connection.transaction():
            await device_looks.take_day(connection, done_to, first, last)
    done_to += timedelta(days=1)
    if done_to >= rolled_to:
        for first, last in slices:
            async with connection.transaction():
                await draw_trends(connection, now, first, last)
        await foresee(connection, now)
        await device_looks.forget(
            connection,
            now.date() - timedelta(days=HEARD_DAYS),
            now.date() - timedelta(days=device_trends.LONGEST),
        )
    await device_looks.set_progress(connection, done_to)


async def draw_trends(connection: Connection, now: datetime, first: int, last: int) -> None:
    """Battery and signal of devices of these ids."""
    since = now.date() - timedelta(days=device_trends.LONGEST)
    today = now.date().toordinal()
    known: dict[int, dict[str, tuple[int, Any, Any]]] = {}
    for device, code, metric, days, values in await device_looks.medians(connection, first, last, since):
        series = np.array([day.toordinal() for day in days]), np.array(values, dtype=np.float64)
        known.setdefault(device, {})[code] = (metric, *series)
    if known:
        await device_looks.write_trends(
            connection, [_trend(device, series, today) for device, series in known.items()]
        )


def _trend(device: int, series: Mapping[str, tuple[int, Any, Any]], today: int) -> dict[str, Any]:
    found: device_trends.Battery | None = None
    if device_looks.BATTERY in series:
        found = device_trends.battery(*series[device_looks.BATTERY][1:], today)
    elif device_looks.VOLTAGE in series:
        found = device_trends.Battery(state="voltage")
    radio = next((series[code] for code in device_looks.SIGNALS if code in series), None)
    signal = device_trends.signal(*radio[1:], today) if radio is not None else None
    return {
        "device_id": device,
        "trend_day": date.fromordinal(today),
        "battery": found.state if found else None,
        "battery_percent": found.percent if found else None,
        "battery_per_day": found.per_day if found else None,
        "battery_since": _day(found.since if found else None),
        "end_at": _day(found.end if found else None),
        "end_early": _day(found.early if found else None),
        "end_late": _day(found.late if found else None),
        "signal": signal.state if signal else None,
        "signal_metric_id": radio[0] if radio is not None else None,
        "signal_value": signal.value if signal else None,
        "signal_per_week": signal.per_week if signal else None,
    }


def _day(ordinal: int | None) -> date | None:
    return date.fromordinal(ordinal) if ordinal is not None else None


async def foresee(connection: Connection, now: datetime) -> None:
    """Batteries that end soon become maintenance work; one that was replaced is work done."""
    async with connection.transaction():
        raised, cleared = await device_alarms.batteries(
            connection, BATTERY_RULE, BATTERY_CATEGORY, now, until=(now + SOON).date()
        )
    if raised or cleared:
        log.info("batteries near their end", raised=raised, cleared=cleared)
