"""The centre's housekeeping: what ended goes back, what is old goes, and our own outage is an incident like another.

One alarm covers an ingest that is silent, not one for each of five thousand devices it no longer hears.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.backups import overdue
from city.settings import Settings
from city.storage import alarms, alone, maintenance, reports
from city.storage import backups as stored_backups
from city.storage.alone import Right
from city.storage.changes import open_connection
from city.storage.series import SUSPECT
from command_centre import data_keys, persons, photos
from command_centre.certificate_alarm import CertificateWatch
from command_centre.disk_alarm import watch_disk
from command_centre.presence import Presence
from command_centre.waking import rest

SILENT_AFTER = timedelta(seconds=30)  # an ingest says every second or two that it listens
CALM_AFTER = timedelta(minutes=5)  # without further drops the broker's alarm clears
CLEAN_EVERY = timedelta(hours=1)
KEPT_QUARANTINE = 100_000  # messages of at most 64 KiB each: a flood of rubbish must not fill the disk
ROLLED_UP_AFTER = timedelta(days=2)  # by then a backlog is in; what comes later has its day rolled up again
UNBELIEVED = SUSPECT  # what charts leave out, rollups leave out too
MOST_DAYS = 40  # rolled up in one round
ERASED_AT_ONCE = 200  # reports in one transaction
BITE = 20_000  # rows in one DELETE: seconds, not minutes, and nobody waits behind it

INGEST_RULE = "system.ingest_silent"
BROKER_RULE = "system.broker_dropped"
CATEGORY = "system.ingest"
BACKUP_RULE, BACKUP_CATEGORY = "system.backup_overdue", "system.backup"

KEPT: Mapping[str, timedelta] = {
    "changes": timedelta(days=1),
    "recent_sequences": timedelta(days=1),
    "quarantine": timedelta(days=90),
    "idempotency_keys": timedelta(days=8),  # a telephone that lost the answer may ask again after a week
    "ingest_sessions": timedelta(days=30),
    "sessions": timedelta(0),  # by their own end
    "forecast_runs": timedelta(days=14),  # what they were worth stays in forecast_scores
    "forecast_scores": timedelta(days=400),
    "report_rates": timedelta(0),  # by their own end
    "report_refusals": timedelta(days=400),
    "roster": timedelta(days=400),  # names and telephones of who was on duty
    "centres": timedelta(hours=1),
}
AS_OBSERVATIONS = ("detections", "observation_revisions")

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


async def run(url: str, settings: Settings, stop: asyncio.Event, presence: Presence | None = None) -> None:
    """Look after things until ``stop``; raises DatabaseError when the database is lost.

    ``presence`` tells the other centres what is seen here.
    """
    started = datetime.now(UTC)
    cleaned = started - CLEAN_EVERY + timedelta(minutes=1)  # not in the first minute: a start has other work

    def see(found: Mapping[str, datetime]) -> None:
        if presence is not None:
            presence.certificates = found

    certificates = CertificateWatch(settings, see)
    connection = await open_connection(url, "city centre upkeep", autocommit=True)
    async with connection:
        while not stop.is_set():
            now = datetime.now(UTC)
            await back_in_service(connection, now)
            await watch_ingest(connection, now, started)
            await watch_broker(connection, now)
            await watch_backups(connection, now, timedelta(hours=settings.backup_max_age_hours))
            await watch_disk(connection, now, settings)
            await certificates.look(connection, now)
            if now - cleaned >= CLEAN_EVERY:
                cleaned = now
                await clean(connection, now, settings.retention_days, stop, rollup_days=settings.rollup_days)
                await roll_up(connection, now, stop)
                await photos.clean(connection, settings.photo_folder, now)
                await forget(connection, settings, now, stop)
            await rest(stop)


async def forget(connection: Connection, settings: Settings, now: datetime, stop: asyncio.Event) -> None:
    """Contacts and words of reporters whose matter has long been over go; what stays is sealed as it should be."""
    await reports.forget_contacts(connection, now - timedelta(days=settings.contact_days), BITE)
    long_ago = now - timedelta(days=settings.report_days)
    erased = await persons.erase_old(connection, long_ago, ERASED_AT_ONCE, now)
    sealed = await data_keys.seal_all(connection, settings.keys, stop=stop)
    if erased or sealed:
        log.info("personal data looked after", erased=erased, sealed=sealed)


async def back_in_service(connection: Connection, now: datetime) -> None:
    """End tests and shelves whose time is over; their alarms that still stand go to triage."""
    async with connection.transaction():
        ended = await maintenance.end_services(connection, now)
        await alarms.release_held(connection, now)
    if ended:
        log.info("devices back in service", devices=len(ended))


async def watch_ingest(connection: Connection, now: datetime, started: datetime) -> None:
    """Raise when no ingest has said for 30 s that it listens, clear when one does.

    ``started`` is when we did: an ingest that starts beside us gets the same 30 s.
    """
    alive_at = await maintenance.ingest_alive_at(connection)
    standing = INGEST_RULE in await maintenance.last_raised_at(connection, [INGEST_RULE])
    heard = max(alive_at, started) if alive_at is not None else started
    if now - heard > SILENT_AFTER:
        if not standing:
            evidence: dict[str, object] = {
                "alive_at": alive_at.isoformat() if alive_at else None,
                "silent_after_s": int(SILENT_AFTER.total_seconds()),
            }
            await maintenance.raise_system_alarm(connection, INGEST_RULE, CATEGORY, now, evidence)
            log.error("no ingest is listening", alive_at=evidence["alive_at"])
    elif standing and alive_at is not None and now - alive_at <= SILENT_AFTER:
        await maintenance.clear_system_alarm(connection, INGEST_RULE, now)
        log.info("ingest is listening again")


async def watch_broker(connection: Connection, now: datetime) -> None:
    """Raise when the broker's count of dropped messages grows; clear when it has not for five minutes.

    What was last seen stands in the newest alarm's evidence, so a restart of ours forgets nothing. A count
    that fell belongs to a broker that was restarted.
    """
    dropped = await maintenance.broker_dropped(connection, now - SILENT_AFTER)
    last = await maintenance.last_evidence(connection, BROKER_RULE)
    before = int(last[0].get("broker_dropped", 0)) if last else 0
    if dropped is not None and (dropped > before or 0 < dropped < before):
        evidence: dict[str, object] = {"broker_dropped": dropped, "before": before, "at": now.isoformat()}
        if await maintenance.raise_system_alarm(connection, BROKER_RULE, CATEGORY, now, evidence):
            log.error("the broker drops messages", dropped=dropped, before=before)
    elif last is not None and last[1]:
        grown_at = datetime.fromisoformat(str(last[0].get("at", now.isoformat())))
        if now - grown_at > CALM_AFTER:
            await maintenance.clear_system_alarm(connection, BROKER_RULE, now)


async def watch_backups(connection: Connection, now: datetime, most: timedelta) -> None:
    """Raise when the newest good backup is older than ``most``, clear when there is a newer one (docs/backup.md)."""
    newest, born = await stored_backups.protected_since(connection)
    age = overdue(newest, born, now, most)
    standing = BACKUP_RULE in await maintenance.last_raised_at(connection, [BACKUP_RULE])
    if age is not None and not standing:
        evidence: dict[str, object] = {
            "newest_at": newest.isoformat() if newest else None,
            "after_h": int(most.total_seconds() // 3600),
        }
        await maintenance.raise_system_alarm(
            connection, BACKUP_RULE, BACKUP_CATEGORY, now, evidence, level="yellow"
        )
        log.error("backup overdue", newest_at=evidence["newest_at"])
    elif age is None and standing:
        await maintenance.clear_system_alarm(connection, BACKUP_RULE, now)
        log.info("there is a backup again")


async def clean(
    connection: Connection, now: datetime, retention_days: int, stop: asyncio.Event, *, rollup_days: int = 0
) -> None:
    """Remove what is older than its time, bite by bite, unless another centre is at it.

    Hourly values stay ``rollup_days``, or, with 0, as long as readings.
    """
    if not await alone.try_alone(connection, Right.CLEAN):
        return
    try:
        oldest = now - timedelta(days=retention_days)
        removed = {"observations": 0}
        while not stop.is_set() and (gone := await maintenance.drop_observations(connection, oldest, BITE)):
            removed["observations"] += gone
        ages = {table: now - kept for table, kept in KEPT.items()} | dict.fromkeys(AS_OBSERVATIONS, oldest)
        ages["rollups"] = now - timedelta(days=rollup_days or retention_days)
        for table, before in ages.items():
            removed[table] = 0
            while not stop.is_set() and (
                gone := await maintenance.delete_older(connection, table, before, BITE)
            ):
                removed[table] += gone
        while not stop.is_set() and await maintenance.cut_quarantine(connection, KEPT_QUARANTINE, BITE):
            pass
        log.info("cleaned", **{table: gone for table, gone in removed.items() if gone})
    finally:
        await alone.give_up(connection, Right.CLEAN)


async def roll_up(connection: Connection, now: datetime, stop: asyncio.Event) -> int:
    """Roll up whole days into hours, the missing ones and those that late readings changed; returns days done.

    Each day is a transaction with its progress, so a stop in between costs nothing. Another centre at it is left to it.
    """
    if not await alone.try_alone(connection, Right.CLEAN):
        return 0
    days = 0
    try:
        target = (now - ROLLED_UP_AFTER).astimezone(UTC).date()
        progress = await maintenance.rollup_progress(connection)
        done_to, looked_at = progress or (await maintenance.first_day(connection) or target, now)
        if progress is not None:
            for day in await maintenance.late_days(connection, looked_at, now, done_to):
                await maintenance.roll_up_day(connection, day, UNBELIEVED)
                days += 1
        await maintenance.set_rollup_progress(connection, done_to, now)
        while done_to < target and days < MOST_DAYS and not stop.is_set():
            async with connection.transaction():
                await maintenance.roll_up_day(connection, done_to, UNBELIEVED)
                done_to += timedelta(days=1)
                await maintenance.set_rollup_progress(connection, done_to, now)
            days += 1
    finally:
        await alone.give_up(connection, Right.CLEAN)
    if days:
        log.info("rolled up", days=days, done_to=done_to.isoformat())
    return days
