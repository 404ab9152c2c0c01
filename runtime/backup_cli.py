"""``city backup`` and ``city restore``: what can be brought back, and how it is."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from city import settings
from city.errors import CityError

if TYPE_CHECKING:
    from city.storage.backups import Settled
    from runtime.restore import Restored

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]
Jobs = Annotated[int, typer.Option(help="Programs at work at once.", min=1, max=32)]


def backup(
    folder: Annotated[Path, typer.Argument(help="Where backups stand; each becomes a folder in it.")],
    keep: Annotated[int, typer.Option(help="Remove older ones beyond so many; 0 = none.", min=0)] = 0,
    check: Annotated[
        bool, typer.Option(help="Restore it into a scratch database and compare before it counts.")
    ] = True,
    jobs: Jobs = 2,
    as_json: AsJson = False,
) -> None:
    """备份 · Copy database, archived days, photos, documents, district while all runs; prove it by restoring it."""
    from runtime import backup as room
    from runtime import connections

    chosen = settings.load()
    console = Console()
    wanted = room.Wanted(folder=folder.absolute(), keep=keep, check=check, jobs=jobs)
    with connections.database(chosen) as url, _telling(console, as_json) as told:
        _require_schema(url)
        made = room.make(url, chosen, wanted, told)
    manifest = made.manifest
    result = {
        "backup": str(made.folder),
        "snapshot_at": manifest.snapshot_at.isoformat(),
        "bytes": manifest.bytes,
        "seconds": manifest.seconds,
        "rows": sum(one.rows for one in manifest.content.tables.values()),
        "timelines": manifest.content.chains.incidents,
        "checked": manifest.check is not None,
        "check_seconds": manifest.check.seconds if manifest.check else None,
        "missing_files": manifest.missing_files,
        "history_files": len(made.history.files),
        "history_bytes": made.history.bytes,
        "history_copied_bytes": made.history.copied_bytes,
        "missing_history": list(made.history.missing),
        "removed": list(made.removed),
    }
    lines = [
        f"{made.folder}: {manifest.bytes / 1e9:.2f} GB, {result['rows']:,} rows, {result['timelines']:,} timelines in "
        f"{manifest.seconds / 60:.1f} min",
        f"restored and compared in {manifest.check.seconds / 60:.1f} min: the same"
        if manifest.check
        else "not checked: `city restore --check` does it",
    ]
    if manifest.missing_files:
        lines.append(
            f"{manifest.missing_files} photos or documents are not on this machine: run it where the centre runs"
        )
    if made.history.files:
        lines.append(
            f"{len(made.history.files)} archived days, {made.history.bytes / 1e9:.2f} GB, of which "
            f"{made.history.copied_bytes / 1e9:.2f} GB were copied now"
        )
    lines += _lacking_days(made.history.missing)
    _say(console, as_json, result, lines)


def _lacking_days(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [
        f"{len(names)} archived days lack their file, or have another ({', '.join(names[:3])}{more}): bring them from "
        "another copy into CITY_DATA_DIR/history; `city history check` looks again"
    ]


def restore(
    backup: Annotated[
        Path | None, typer.Argument(help="A backup, or the folder of backups: then its newest.")
    ] = None,
    into: Annotated[str, typer.Option(help="Make this database on the same server and restore there.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Restore into a scratch database, compare, drop it.")
    ] = False,
    settle: Annotated[
        bool,
        typer.Option(
            "--settle", help="Restore nothing; only what follows a recovery that was made otherwise."
        ),
    ] = False,
    send_waiting: Annotated[
        bool,
        typer.Option("--send-waiting", help="Send again what was due, though it may have been sent before."),
    ] = False,
    jobs: Jobs = 2,
    as_json: AsJson = False,
) -> None:
    """恢复 · Put a backup into an empty database, compare and prove it; exit code 1 when it is not the same."""
    from city.backups import BackupError
    from runtime import connections
    from runtime import restore as room

    chosen = settings.load()
    console = Console()
    if settle == (backup is not None):
        raise BackupError("name a backup, or --settle without one")
    with connections.database(chosen) as url, _telling(console, as_json) as told:
        if backup is None:
            _require_schema(url)
            settled = room.settle(url, chosen, None, send_waiting=send_waiting)
            _say(console, as_json, asdict(settled), _settled(settled))
            return
        os.umask(0o077)
        wanted = room.Wanted(backup=backup.absolute(), into=into, jobs=jobs, send_waiting=send_waiting)
        done = (room.check if check else room.restore)(url, chosen, wanted, told)
    _report(console, as_json, done)
    raise typer.Exit(int(bool(done.check.faults)))


def _report(console: Console, as_json: bool, done: "Restored") -> None:
    manifest, found = done.manifest, done.check
    result = {
        "backup": str(done.folder),
        "snapshot_at": manifest.snapshot_at.isoformat(),
        "bytes": manifest.bytes,
        "rows": sum(one.rows for one in manifest.content.tables.values()),
        "seconds": found.seconds,
        "timelines": found.incidents,
        "events": found.events,
        "faults": list(found.faults),
        "migrated": list(done.migrated),
        "settled": asdict(done.settled) if done.settled else None,
        "lacking_keys": list(done.lacking_keys),
        "lacking_history": list(done.lacking_history),
    }
    verdict = (
        "the same, every timeline proved" if not found.faults else f"NOT the same: {'; '.join(found.faults)}"
    )
    lines = [
        f"{done.folder} (as of {manifest.snapshot_at:%Y-%m-%d %H:%M:%S}Z): {manifest.bytes / 1e9:.2f} GB, "
        f"{result['rows']:,} rows, {found.incidents:,} timelines in {found.seconds / 60:.1f} min: {verdict}",
    ]
    if done.migrated:
        lines.append(f"brought to this version: {', '.join(done.migrated)}")
    if done.lacking_keys:
        lines.append(
            f"CITY_DATA_KEY_FILE lacks the data key {', '.join(done.lacking_keys)}: without it what is sealed in the "
            "database (reporters' names, second factors) stays shut; put the kept file there before the centre starts"
        )
    lines += _lacking_days(done.lacking_history)
    if done.settled:
        lines += _settled(done.settled)
    _say(console, as_json, result, lines)


def _settled(settled: "Settled") -> list[str]:
    lines = [
        f"{settled.sessions_ended} sessions ended; the next incident is {settled.first_number}",
        "accounts, tokens, screens and device credentials are as they were then: revoke again what was revoked since",
    ]
    if settled.held_back:
        named = f" (of {', '.join(settled.incidents[:10])})" if settled.incidents else ""
        lines.append(
            f"{settled.held_back} messages that were due then are not sent again{named}: call, or dispatch anew"
        )
    return lines


def _require_schema(url: str) -> None:
    from city.storage import migrate

    if missing := migrate.missing(url):
        raise CityError(f"the database lacks {len(missing)} migrations; run `city migrate` first")


@contextmanager
def _telling(console: Console, as_json: bool) -> Iterator[Callable[[str], None]]:
    """What is being done, on the terminal that there may be."""
    if as_json or not console.is_terminal:
        yield lambda _what: None
        return
    with console.status("…") as status:
        yield status.update


def _say(console: Console, as_json: bool, result: object, lines: list[str]) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False, default=str))  # noqa: T201 - a script reads this
        return
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
