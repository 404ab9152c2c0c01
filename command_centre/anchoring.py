"""Once an hour: one digest over every chain that moved, into the database, into a file, and to another machine.

The file is ``anchors.log`` under CITY_DATA_DIR, a line of JSON for each anchor. Each centre writes all anchors its own
file lacks, so that each machine has the whole series.
"""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.chains import Anchor
from city.settings import Settings
from city.storage import anchors, notifications
from city.storage.changes import open_connection
from city.storage.notifications import NewNotification
from command_centre.waking import rest

EVERY = timedelta(hours=1)
FIRST_AFTER = timedelta(minutes=5)  # a start has other work
LOOK_S = 30.0
FILE = "anchors.log"

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Anchor until ``stop``; raises DatabaseError when the database is lost."""
    started = datetime.now(UTC)
    filed = 0  # the newest anchor that this machine's file is known to have
    connection = await open_connection(url, "city centre anchors", autocommit=True)
    async with connection:
        while not stop.is_set():
            now = datetime.now(UTC)
            if now - started >= FIRST_AFTER:
                await anchor(connection, settings, now)
                filed = await file(connection, settings.data_dir / FILE, filed)
            await rest(stop, LOOK_S)


async def anchor(connection: Connection, settings: Settings, now: datetime) -> Anchor | None:
    """Write the anchor that is due, in a transaction of its own; None when none is."""
    async with connection.transaction():
        made = await anchors.write(connection, now, not_before=now - EVERY)
        if made is not None and settings.anchor_url:
            await notifications.enqueue(connection, [_elsewhere(made, settings.anchor_url)], now)
    if made is not None:
        log.info("timelines anchored", anchor=made.id, heads=made.heads)
    return made


async def file(connection: Connection, path: Path, filed: int) -> int:
    """Bring this machine's file up to date, whoever wrote the anchors; returns the newest that it has."""
    last = await anchors.newest(connection)
    if last is None or last.id == filed:
        return filed
    await asyncio.to_thread(_append, path, await anchors.after(connection, 0))
    return last.id


def line(one: Anchor, series: bytes) -> dict[str, object]:
    """What is written of an anchor; ``series`` is the first anchor's ``previous``."""
    return {
        "series": series.hex(),
        "id": one.id,
        "at": one.at.astimezone(UTC).isoformat(),
        "heads": one.heads,
        "previous": one.previous.hex(),
        "digest": one.digest.hex(),
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; a last line that was cut off by a crash is left out."""
    found = []
    for raw in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(raw))
        except ValueError:
            continue
    return found


def _append(path: Path, series: list[Anchor]) -> None:
    """Every anchor that the file lacks, on the disk before we return."""
    known = {(one.get("series"), one.get("id")) for one in read(path)} if path.exists() else set()
    lines = [line(one, series[0].previous) for one in series]
    new = "".join(json.dumps(one) + "\n" for one in lines if (one["series"], one["id"]) not in known)
    if not new:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and not path.read_bytes().endswith(b"\n")  # a crash in the middle of a line
    with path.open("a", encoding="utf-8") as opened:
        opened.write("\n" * cut + new)
        opened.flush()
        os.fsync(opened.fileno())


def _elsewhere(one: Anchor, url: str) -> NewNotification:
    return NewNotification(
        incident_id=None,
        unit_id=None,
        purpose="anchor",
        channel="webhook",
        to_lead=False,
        body={
            "purpose": "anchor",
            "anchor": one.id,
            "at": one.at.astimezone(UTC).isoformat(),
            "heads": one.heads,
            "previous": one.previous.hex(),
            "digest": one.digest.hex(),
        },
        address=url,
    )
