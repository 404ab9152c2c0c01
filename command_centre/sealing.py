"""The loop that chains the audit, and publishes where the chain ends outside the database.

``audit.log`` under CITY_DATA_DIR gets a line of JSON an hour when the chain grew, and the same goes to CITY_ANCHOR_URL.
Whoever rewrites the audit from some row on, end included, has a chain that agrees with itself and not with these.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.audit_chain import Fault
from city.settings import Settings
from city.storage import audit, centres, notifications
from city.storage.changes import open_connection
from city.storage.notifications import NewNotification
from command_centre.anchoring import read
from command_centre.waking import rest

LOOK_S = 2.0
LOOK = timedelta(seconds=10)  # by which one round may come before the last one's hour is over
EVERY = timedelta(hours=1)
FILE = "audit.log"

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Seal until ``stop``; raises DatabaseError when the database is lost."""
    path = settings.data_dir / FILE
    connection = await open_connection(url, "city centre audit", autocommit=True)
    async with connection:
        due = datetime.now(UTC)
        while not stop.is_set():
            await seal(connection)
            now = datetime.now(UTC)
            if now >= due and await publish(connection, path, settings.anchor_url, now):
                due = now + EVERY
            await rest(stop, LOOK_S)


async def seal(connection: Connection) -> int:
    """Everything that waits, so many rows a transaction; returns how many."""
    sealed = 0
    while True:
        async with connection.transaction():
            some = await audit.seal_some(connection)
        sealed += some
        if some < audit.AT_ONCE:
            return sealed


async def publish(connection: Connection, path: Path, url: str, now: datetime) -> bool:
    """A line on where the chain ends, unless the newest line says it; False while there is no chain.

    ``series`` is the first row's hash: lines of another database are told apart by it.
    """
    end = await audit.end(connection)
    first = (await audit.hashes(connection, [1])).get(1)
    if first is None:
        return False
    line = {
        "series": first.hex(),
        "seq": end.seq,
        "at": now.astimezone(UTC).isoformat(),
        "hash": end.hash.hex(),
    }
    known = await asyncio.to_thread(lambda: read(path) if path.exists() else [])
    if known and (known[-1].get("series"), known[-1].get("seq")) == (line["series"], end.seq):
        return True
    await asyncio.to_thread(_append, path, line)
    if url:
        async with connection.transaction():  # each centre has a file, the address elsewhere is one
            if await centres.take_turn(connection, "audit published", EVERY - LOOK):
                await notifications.enqueue(connection, [_elsewhere(line, url)], now)
    log.info("audit published", seq=end.seq)
    return True


async def against(connection: Connection, lines: Sequence[Mapping[str, Any]]) -> Fault | None:
    """The first of the published lines that the chain does not hold; lines of other series are left aside."""
    held = await audit.hashes(connection, [1, *(int(line["seq"]) for line in lines if "seq" in line)])
    first = held.get(1)
    newest = lines[-1].get("series") if lines else None
    if newest is not None and (first is None or first.hex() != newest):
        return Fault(seq=1, what="published")
    for line in lines:
        seq = int(line.get("seq", 0))
        if line.get("series") == newest and seq and held.get(seq, b"").hex() != line.get("hash"):
            return Fault(seq=seq, what="published")
    return None


async def proved(connection: Connection, path: Path, *, waits_s: float) -> tuple[int, Fault | None]:
    """The chain hashed again and held against the file: rows that prove, and the first fault."""
    rows, fault = await audit.prove(connection, waits_s=waits_s)
    if fault is not None and fault.what != "unsealed":
        return rows, fault
    lines = await asyncio.to_thread(lambda: read(path) if path.exists() else [])
    return rows, await against(connection, lines) or fault


def _append(path: Path, line: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and path.read_bytes()[-1:] not in {b"", b"\n"}  # a crash in the middle of a line
    with path.open("a", encoding="utf-8") as opened:
        opened.write("\n" * cut + json.dumps(line) + "\n")
        opened.flush()
        os.fsync(opened.fileno())


def _elsewhere(line: Mapping[str, Any], url: str) -> NewNotification:
    return NewNotification(
        incident_id=None,
        unit_id=None,
        purpose="anchor",
        channel="webhook",
        to_lead=False,
        body={"purpose": "anchor", "audit": dict(line)},
        address=url,
    )
