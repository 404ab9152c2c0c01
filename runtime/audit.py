"""Proves that every timeline and the audit are as they were written, and names the first place where one is not.

Behind ``city audit verify`` and ``city doctor``. Chains are hashed again event by event, typed texts against their
digests, the ends against what each incident names; then all of it against the anchors, in the database and in
anchors.log. Reads only; that everything was proved, ``note`` puts on the record.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection
from rich.console import Console

from city.audit_chain import WORDS as AUDIT_WORDS
from city.audit_chain import Fault
from city.chains import WORDS, Anchor, Broken
from city.errors import CityError
from city.storage import anchors, chains
from city.storage import audit as stored
from city.storage.changes import open_connection
from city.storage.database import translated
from command_centre import anchoring, sealing

Connection = AsyncConnection[Any]
Told = Callable[[int, int], None]  # incidents done, of so many

UNSEALED_S = 300.0  # a row of the audit that waits longer for its seal is a fault
NEWEST, DRAWN = 500, 500  # incidents that a quick look proves: the last ones, and some by lot


@dataclass(kw_only=True)
class Report:
    """What was proved, and the first fault of each incident or anchor that has one."""

    incidents: int = 0
    events: int = 0
    texts: int = 0
    anchors: int = 0
    seconds: float = 0.0
    entries: int = 0  # of the audit
    broken: list[Broken] = field(default_factory=list)
    fault: Fault | None = None  # the first one of the audit


async def examined(
    url: str,
    file: Path,
    *,
    number: str | None = None,
    since: datetime | None = None,
    quick: bool = False,
    told: Told = lambda _done, _total: None,
) -> Report:
    """Prove everything, or one incident, or what moved since; ``quick`` the newest, some by lot, and the anchors.

    Raises CityError for a number that no incident has.
    """
    started = time.monotonic()
    report = Report()
    async with await open_connection(url, "city audit", autocommit=True) as connection:
        ids = await chains.incident_ids(
            connection, number=number, since=since, newest=NEWEST if quick else None, drawn=DRAWN
        )
        if number is not None and not ids:
            raise CityError(
                f"--incident {number}: there is no such incident; numbers look like 20261121-0007"
            )
        async for proved in chains.prove(connection, ids):
            report.incidents += proved.incidents
            report.events += proved.events
            report.texts += proved.texts
            report.broken += proved.broken
            told(report.incidents, len(ids))
        only = ids[0] if number is not None else None
        named = {one.incident_id for one in report.broken}
        report.broken += [
            one for one in await anchors.compare(connection, only) if one.incident_id not in named
        ]
        if number is None and since is None:
            report.broken += [] if quick else await chains.missing(connection)
            report.broken += await _anchors(connection, file, report)
            if not quick:
                report.entries, report.fault = await sealing.proved(
                    connection, file.with_name(sealing.FILE), waits_s=UNSEALED_S
                )
    report.seconds = time.monotonic() - started
    return report


async def note(url: str, report: Report) -> None:
    """On the record, so that an alert can tell when it was last done and what it found. Raises DatabaseError."""
    faults = len(report.broken) + int(report.fault is not None)
    async with await open_connection(url, "city audit", autocommit=True) as connection:
        with translated():
            await stored.note_proof(connection, actor="command-line", entries=report.entries, faults=faults)


async def _anchors(connection: Connection, file: Path, report: Report) -> list[Broken]:
    """The anchors themselves, and the file beside them."""
    broken = [one async for one in anchors.prove(connection)]
    series = await anchors.after(connection, 0)
    report.anchors = len(series)
    lines = await asyncio.to_thread(lambda: anchoring.read(file) if file.exists() else [])
    return broken + _against_file(series, lines, {one.anchor for one in broken})


def _against_file(
    series: Sequence[Anchor], lines: Sequence[dict[str, Any]], known: set[int | None]
) -> list[Broken]:
    if not lines:
        return []
    newest = lines[-1]
    if not series or series[0].previous.hex() != newest.get("series"):
        # Lines of an older series may stand above: another database was used with this folder.
        return [Broken(number="", seq=0, what="anchor", anchor=1, detail="anchors.log holds another series")]
    stored = {one.id: anchoring.line(one, series[0].previous) for one in series}
    return [
        Broken(number="", seq=0, what="anchor", anchor=one.get("id"), detail="differs from anchors.log")
        for one in lines
        if one.get("series") == newest["series"]
        and stored.get(one.get("id", 0)) != one
        and one.get("id") not in known
    ]


def described(one: Broken) -> str:
    """One line for a person, in both languages."""
    zh, en = WORDS[one.what]
    where = f"{one.number} #{one.seq}" if one.number and one.seq else one.number
    anchor = f"anchor {one.anchor}" if one.anchor is not None else ""
    place = ", ".join(part for part in (where, anchor) if part)
    return f"{place}: {zh} / {en}" + (f" ({one.detail})" if one.detail else "")


def described_fault(one: Fault) -> str:
    """One line for a person, in both languages."""
    zh, en = AUDIT_WORDS[one.what]
    return f"audit #{one.seq}: {zh} / {en}" + (f" (id {one.entry})" if one.entry is not None else "")


def show(console: Console, report: Report, *, as_json: bool) -> None:
    """Each fault on a line, then the sum; or one JSON object."""
    if as_json:
        print(json.dumps(asdict(report), ensure_ascii=False))  # noqa: T201 - a script reads this
        return
    for one in report.broken:
        console.print(described(one), style="red", highlight=False, soft_wrap=True)
    if report.fault is not None:
        console.print(described_fault(report.fault), style="red", highlight=False, soft_wrap=True)
    faults = len(report.broken) + (report.fault is not None)
    rate = report.events / report.seconds if report.seconds else 0.0
    console.print(
        f"{report.incidents} incidents, {report.events} events, {report.texts} texts, {report.anchors} anchors, "
        f"{report.entries} audit entries in "
        f"{report.seconds:.1f} s ({rate:,.0f} events/s): "
        + ("all as written" if not faults else f"{faults} not as written"),
        highlight=False,
        soft_wrap=True,
    )
