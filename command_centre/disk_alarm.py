"""Disks that fill: an incident while there is time, another when ingest has stopped taking.

Both are raised by whoever writes on the disk: ingest tells of the database's in its figures, each centre looks at its
own folder of photos, documents and logs and tells the others (``command_centre.presence``): one whose disk is well must
not clear what one with a full disk has raised.
"""

import asyncio
import shutil
import socket
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import structlog
from psycopg import AsyncConnection

from city.disk_room import GB, Room, judge, worse
from city.settings import Settings
from city.storage import centres, maintenance

LITTLE_RULE = "system.disk_little"
FULL_RULE = "system.disk_full"
CATEGORY = "system.disk"
ROOMS: tuple[Room, ...] = ("none", "little", "ok")  # the worst first
HEARD_WITHIN = timedelta(seconds=30)  # an ingest that is silent for longer is an alarm of its own

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]
Looked = tuple[Room, int, str]  # how it is, bytes free, whose machine ("" = the database's)


async def watch_disk(connection: Connection, now: datetime, settings: Settings) -> None:
    """Raise and clear both alarms by what is free now. What stands is read back, so a restart forgets nothing."""
    standing = set(await maintenance.last_raised_at(connection, [LITTLE_RULE, FULL_RULE]))
    looked = await _of_database(connection, now) | await _of_files(connection, settings, _before(standing))
    room: Room = "ok"
    evidence: dict[str, object] = {}
    for where, (found, free, host) in looked.items():
        room = worse(room, found)
        if found != "ok":
            evidence[f"{where}_free_gb"] = round(free / GB, 2)
            if host:
                evidence[f"{where}_host"] = host
    wanted = {LITTLE_RULE} if room == "little" else {LITTLE_RULE, FULL_RULE} if room == "none" else set()
    for rule in sorted(wanted - standing):
        await maintenance.raise_system_alarm(connection, rule, CATEGORY, now, evidence)
        log.error("a disk is full" if rule == FULL_RULE else "a disk is nearly full", **evidence)
    for rule in sorted(standing - wanted):
        await maintenance.clear_system_alarm(connection, rule, now)
        log.info("a disk has room again", rule=rule)


async def _of_database(connection: Connection, now: datetime) -> dict[str, Looked]:
    found = await maintenance.disk_rooms(connection, now - HEARD_WITHIN)
    worst = min(found, key=lambda one: one[1], default=None)
    return {} if worst is None else {"database": (cast(Room, worst[0]), worst[1], "")}


async def _of_files(connection: Connection, settings: Settings, before: Room) -> dict[str, Looked]:
    """The worst of all centres' folders."""
    files = [(cast(Room, room), free, host) for host, room, free in await centres.disks(connection)]
    own = await of_files(settings, before)
    if own is not None:
        files.append((*own, socket.gethostname()))
    return {"files": min(files, key=lambda one: (ROOMS.index(one[0]), one[1]))} if files else {}


async def of_files(settings: Settings, before: Room) -> tuple[Room, int] | None:
    """How this centre's own folder is, and what is free there in bytes; None when there is no such folder."""
    free = await asyncio.to_thread(free_bytes, settings.data_dir)
    if free is None:
        return None
    little, none = int(settings.disk_warn_gb * GB), int(settings.disk_stop_gb * GB)
    return judge(free, before, little_bytes=little, none_bytes=none), free


async def standing_room(connection: Connection) -> Room:
    """What the alarms that stand say; the way back from there is a little longer than the way in."""
    return _before(set(await maintenance.last_raised_at(connection, [LITTLE_RULE, FULL_RULE])))


def _before(standing: Collection[str]) -> Room:
    return "none" if FULL_RULE in standing else "little" if LITTLE_RULE in standing else "ok"


def free_bytes(folder: Path) -> int | None:
    """What an ordinary program may still write there; None when the folder is not there."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
