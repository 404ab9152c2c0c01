"""Each second: the lane when the directory changed, and clocks that have struck; whoever must hear is told."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from city.directory import Directory
from city.incidents import Change, Incident
from city.settings import Settings
from city.storage import calendar
from city.storage import clocks as stored
from city.storage.changes import open_connection
from city.storage.clocks import Kept
from command_centre import clock_keeping, clocks, deadlines, redispatch
from command_centre.clock_keeping import Standing
from command_centre.deadlines import Struck
from command_centre.known_directory import KnownDirectory
from command_centre.lane import Lane
from command_centre.recording import store
from command_centre.waking import rest

BATCH = 250  # in one transaction; a larger one would keep people waiting who want one of its incidents
PUT_OFF = timedelta(minutes=10)
LOOK_AGAIN = timedelta(minutes=1)  # at clocks that a process with an older calendar began a moment too late

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Watch until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    known = KnownDirectory(settings.zone, settings.urge_after)
    connection = await open_connection(url, "city centre deadlines", autocommit=True)
    async with connection:
        lane, rebasing = Lane(known), Rebasing(known)
        await calendar.note_library(connection, datetime.now(UTC))
        while not stop.is_set():
            done = await strike(connection, known, settings, datetime.now(UTC))
            await lane.look(connection, datetime.now(UTC), mail=bool(settings.smtp_url))
            done = max(done, await rebasing.look(connection, settings, datetime.now(UTC)))
            if done < BATCH:
                await rest(stop)


async def strike(connection: Connection, known: KnownDirectory, settings: Settings, now: datetime) -> int:
    """Write what is due at ``now``, for a batch at most; what another centre holds is left to it.

    Returns how many incidents were looked at: a full batch means that there may be more. One that cannot be written
    is put off and said in the log; it keeps nobody else from being urged.
    """
    try:
        return await _strike(connection, known, settings, now)
    except psycopg.OperationalError:
        raise
    except Exception as error:
        log.warning("a batch of deadlines could not be written; one by one", error=str(error)[:300])
    ids = await stored.due(connection, now, BATCH)
    for incident_id in ids:
        try:
            await _strike(connection, known, settings, now, only=incident_id)
        except psycopg.OperationalError:
            raise
        except Exception:
            log.exception("a deadline could not be written", incident=incident_id, again_in=str(PUT_OFF))
            await stored.put_off(connection, incident_id, now, now + PUT_OFF)
    return len(ids)


async def _strike(
    connection: Connection,
    known: KnownDirectory,
    settings: Settings,
    now: datetime,
    *,
    only: int | None = None,
) -> int:
    async with connection.transaction():
        due = await stored.lock_due(connection, now, BATCH, only)
        if not due:
            return 0
        directory = await known.fresh(connection, now)
        found = await clock_keeping.standing(connection, due, directory, now)
        changes: list[Change] = []
        writes: list[Kept] = []
        for incident in due:
            standing = found.get(incident.id, Standing())
            change, kept = _struck(incident, standing, directory, now)
            writes += kept
            if change is not None:
                changes.append(change)
        await stored.save(connection, writes)
        if changes:
            await store(connection, directory, changes, now, mail=bool(settings.smtp_url))
            log.info("deadlines struck", incidents=len(changes))
    return len(due)


def _struck(
    incident: Incident, standing: Standing, directory: Directory, now: datetime
) -> tuple[Change | None, list[Kept]]:
    """What is said of one incident, and its clocks as they then are: told further, or put to their next step."""
    found: list[Struck] = []
    writes = {one.clock.id: one for one in standing.moved}
    for kept in standing.kept:
        one = deadlines.struck(kept.clock, incident, directory, now)
        if one is not None:
            found.append(one)
        elif kept.clock.next_at is None or kept.clock.next_at > now:
            continue
        clock = one.clock if one is not None else clocks.scheduled(kept.clock, incident, directory)
        writes[clock.id] = replace(kept, clock=clock)
    if not (found or standing.happenings):
        return None, list(writes.values())
    current = clock_keeping.with_deadline(incident, [one.clock for one in standing.kept], now)
    change = deadlines.take(current, found, directory, now)
    if standing.happenings:
        change = replace(change, happenings=(*standing.happenings, *change.happenings))
    if any(one.clock.stage == "acknowledge" and one.top for one in found):
        change = _relieved(change, directory, now)
    return change, list(writes.values())


def _relieved(change: Change, directory: Directory, now: datetime) -> Change:
    """Nobody acknowledges and nobody is left to urge: whoever stands in has it, where somebody does."""
    relief = redispatch.consider(change.incident, directory, now)
    if relief is None:
        return change
    return replace(
        relief,
        happenings=(*change.happenings, *relief.happenings),
        tells=(*change.tells, *relief.tells),
    )


class Rebasing:
    """Deadlines that rest on an older calendar are worked out again, once, whichever process comes first."""

    def __init__(self, known: KnownDirectory) -> None:
        self._known = known
        self._done: tuple[int, datetime] | None = None  # version, when nothing was left

    async def look(self, connection: Connection, settings: Settings, now: datetime) -> int:
        """One batch; returns how many incidents it had, 0 when there is nothing to do."""
        newest = await calendar.version(connection)
        if self._done is not None:
            version, at = self._done
            if version == newest and at <= now < at + LOOK_AGAIN:
                return 0
        directory = await self._known.fresh(connection, now)
        done = await rebase(connection, directory, settings, now)
        if done < BATCH:
            self._done = directory.calendar_version, now
        return done


async def rebase(connection: Connection, directory: Directory, settings: Settings, now: datetime) -> int:
    """Bring a batch of clocks to the directory's calendar; what moves stands on the timeline with old and new."""
    async with connection.transaction():
        elsewhere = await stored.lock_elsewhere(connection, directory.calendar_version, BATCH)
        if not elsewhere:
            return 0
        found = await clock_keeping.standing(connection, elsewhere, directory, now)
        changes = [
            Change(
                incident=replace(
                    clock_keeping.with_deadline(one, [kept.clock for kept in standing.kept], now),
                    version=one.version + 1,
                ),
                happenings=standing.happenings,
            )
            for one in elsewhere
            if (standing := found.get(one.id)) is not None and standing.happenings
        ]
        await stored.save(connection, [kept for standing in found.values() for kept in standing.moved])
        if changes:
            await store(connection, directory, changes, now, mail=bool(settings.smtp_url))
            log.info("deadlines worked out on another calendar", incidents=len(changes))
    return len(elsewhere)
