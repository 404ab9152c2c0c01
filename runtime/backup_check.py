"""A backup's rows put into a database, and what it holds then compared with what was written down.

The same way for a check into a scratch database and for a restore.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from city.backups import (
    ANCHORS,
    DATABASE,
    BackupError,
    Check,
    Content,
    Manifest,
    differences,
    history_differences,
)
from city.storage import backups as stored
from city.storage import history_archive
from runtime import audit, postgres_programs
from runtime.scratch_database import scratch

SCRATCH = "city_check_"
INSTEAD = "use --no-check and check elsewhere with `city restore --check`"


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where PostgreSQL's programs are (None = the wheel's), and how many work at once."""

    folder: Path | None
    jobs: int


def fill(url: str, folder: Path, content: Content, programs: Programs) -> None:
    """Put a backup's rows into an empty database; raises BackupError or DatabaseError."""
    database = folder / DATABASE
    stored.make_roles(url, content.roles)
    with stored.restoring(url, content.timescaledb):
        if content.timescaledb is None:
            postgres_programs.restore(url, database, jobs=programs.jobs, programs=programs.folder)
            stored.set_default_privileges(url, content.default_privileges)
            return
        # TimescaleDB's own catalogue has to be there before the chunks, and in order: one job for it.
        catalogue = ("--section=data", "--schema=_timescaledb_catalog", "--schema=_timescaledb_config")
        others = ("--exclude-schema=_timescaledb_catalog", "--exclude-schema=_timescaledb_config")
        for jobs, more in (
            (1, ("--section=pre-data",)),
            (1, catalogue),
            (programs.jobs, ("--section=data", *others)),
            (programs.jobs, ("--section=post-data",)),
        ):
            postgres_programs.restore(url, database, jobs=jobs, programs=programs.folder, more=more)
    stored.set_default_privileges(url, content.default_privileges)


def compare(url: str, folder: Path, manifest: Manifest, started: float) -> Check:
    """Every table's rows and digest, the ends of the timelines, every timeline proved, and files of archived days.

    ``started`` is monotonic.
    """
    faults = differences(manifest.content, stored.restored_content(url))
    if manifest.missing_history is not None:  # an older one's schema may not know archived days
        named = {one.file: one.sha256 for one in history_archive.days(url) if one.alone}
        faults += history_differences(manifest, named)
    report = asyncio.run(audit.examined(url, folder / ANCHORS))
    faults += [audit.described(one) for one in report.broken[:20]]
    if report.fault is not None and report.fault.what != "unsealed":  # the centre that seals is not here
        faults.append(f"audit {report.fault.seq}: {report.fault.what}")
    return Check(
        at=datetime.now(UTC),
        seconds=round(time.monotonic() - started, 1),
        incidents=report.incidents,
        events=report.events,
        faults=tuple(faults),
    )


def checked(url: str, folder: Path, manifest: Manifest, programs: Programs) -> Check:
    """Restore into a scratch database beside ``url`` and compare; what pg_restore refuses is a fault as well.

    Raises CityError when we may not make one.
    """
    started = time.monotonic()
    with scratch(url, SCRATCH, purpose="the backup's check", instead=INSTEAD) as address:
        try:
            fill(address, folder, manifest.content, programs)
            return compare(address, folder, manifest, started)
        except BackupError as error:
            seconds = round(time.monotonic() - started, 1)
            return Check(at=datetime.now(UTC), seconds=seconds, incidents=0, events=0, faults=(str(error),))
