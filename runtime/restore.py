"""``city restore``: a backup proved, put into an empty database, compared, and what time has made wrong put right."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from city import backups, district
from city.backups import ANCHORS, AUDIT, DISTRICT, DOCUMENTS, HISTORY, PHOTOS, BackupError, Check, Manifest
from city.settings import Settings
from city.storage import backups as stored
from city.storage import history_archive as days
from city.storage import migrate
from city.storage.backups import Settled
from rules.definitions import to_rows
from runtime import backup, backup_check, backup_files, backup_history, history_archive
from runtime.backup_check import Programs
from runtime.backup_history import SET_ASIDE
from runtime.scratch_database import beside

Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for. ``into`` empty = the database of the settings."""

    backup: Path
    into: str
    jobs: int
    send_waiting: bool


@dataclass(frozen=True, kw_only=True)
class Restored:
    """How it went. ``settled`` None after a mere check."""

    folder: Path
    manifest: Manifest
    check: Check
    migrated: tuple[str, ...]
    settled: Settled | None
    lacking_keys: tuple[str, ...]  # of the data keys that sealed columns open with, those not on this machine
    lacking_history: tuple[str, ...]  # files of archived days that are not here, or not as they were written


def newest(folder: Path) -> Path:
    """The backup itself, or the newest good one in a folder of backups; raises BackupError when there is none."""
    if not folder.is_dir():
        raise BackupError(f"{folder}: no such folder")
    if (
        (folder / backups.MANIFEST).exists()
        or backups.is_backup(folder.name)
        or backups.leftover(folder.name)
    ):
        return folder
    finished = sorted(path for path in folder.iterdir() if path.is_dir() and backups.is_backup(path.name))
    if not finished:
        raise BackupError(f"{folder}: holds no finished backup (city-…Z)")
    return finished[-1]


def proved(url: str, folder: Path, told: Told) -> Manifest:
    """Read and prove a backup's files, and that this program and this server can take it; raises BackupError."""
    manifest = backup_files.read_manifest(folder)
    if not manifest.good:
        raise BackupError(f"{folder}: did not prove itself when it was made; use another one")
    known = [path.stem for path in sorted(migrate.migrations_folder().glob("[0-9]*.sql"))]
    if why := backups.unfit(manifest.content, known, stored.server(url)):
        raise BackupError(f"{folder}: {why}")
    told(f"proving {len(manifest.files)} files, {manifest.bytes / 1e9:.2f} GB")
    backup_files.prove(folder, manifest)
    return manifest


def check(url: str, settings: Settings, wanted: Wanted, told: Told) -> Restored:
    """Restore into a scratch database on this server, compare, drop it; changes nothing else."""
    folder = newest(wanted.backup)
    manifest = proved(url, folder, told)
    programs = Programs(folder=settings.postgres_programs, jobs=wanted.jobs)
    told("restoring into a scratch database")
    found = backup_check.checked(url, folder, manifest, programs)
    return _restored(settings, folder, manifest, found)


def _restored(
    settings: Settings,
    folder: Path,
    manifest: Manifest,
    found: Check,
    *,
    migrated: Sequence[str] = (),
    settled: Settled | None = None,
    lacking_history: Sequence[str] | None = None,
) -> Restored:
    """``lacking_history`` None = nothing was put here: what the backup itself lacks."""
    if lacking_history is None:
        lacking_history = manifest.missing_history or ()
    lacking = tuple(one for one in manifest.keys if one not in backup.data_keys(settings))
    return Restored(
        folder=folder,
        manifest=manifest,
        check=found,
        migrated=tuple(migrated),
        settled=settled,
        lacking_keys=lacking,
        lacking_history=tuple(lacking_history),
    )


def restore(url: str, settings: Settings, wanted: Wanted, told: Told) -> Restored:
    """Restore for good; raises BackupError when the target holds anything, before anything is changed."""
    folder = newest(wanted.backup)
    manifest = proved(url, folder, told)
    target = url
    if wanted.into:
        stored.create(url, wanted.into)
        target = beside(url, wanted.into)
    elif not stored.is_empty(url):
        raise BackupError(
            "the database is not empty, nothing was changed; restore with --into NAME into a new one beside it, "
            "or give an empty one (docs/backup.md)"
        )
    if not wanted.into:
        backup_history.require_room(manifest, settings.data_dir / HISTORY)
    started = time.monotonic()
    told("restoring")
    programs = Programs(folder=settings.postgres_programs, jobs=wanted.jobs)
    backup_check.fill(target, folder, manifest.content, programs)
    told("comparing")
    found = backup_check.compare(target, folder, manifest, started)
    if found.faults:
        return _restored(settings, folder, manifest, found)
    stored.analyze(target)
    migrated = migrate.apply(target)
    if migrated:
        district.import_defaults(target, parse_rules=to_rows)
    lacking = None
    if not wanted.into:
        _files(settings, folder, manifest)
        lacking = _lacking(target, settings.data_dir / HISTORY)
    settled = settle(target, settings, manifest.snapshot_at, send_waiting=wanted.send_waiting)
    return _restored(
        settings, folder, manifest, found, migrated=migrated, settled=settled, lacking_history=lacking
    )


def _lacking(url: str, folder: Path) -> list[str]:
    """Files of archived days that this database names and ``folder`` has not, each read once more."""
    return [one.file for one in days.days(url) if one.alone and history_archive.fault(folder, one)]


def settle(url: str, settings: Settings, snapshot_at: datetime | None, *, send_waiting: bool) -> Settled:
    """What follows every recovery, also one without us (point in time, a virtual machine's snapshot)."""
    now = datetime.now(UTC)
    today = now.astimezone(settings.zone).date()
    return stored.settle(url, today=today, now=now, snapshot_at=snapshot_at, send_waiting=send_waiting)


def _files(settings: Settings, folder: Path, manifest: Manifest) -> None:
    """Photos, documents, archived days beside those that are there; a district's folder where there is none; anchors.

    This machine's own anchors.log and audit.log are set aside, never overwritten: they may know of more.
    """
    backup_files.copy_folder(folder / PHOTOS, settings.photo_folder)
    backup_files.copy_folder(folder / DOCUMENTS, settings.document_folder)
    backup_history.put_back(folder, manifest, settings.data_dir / HISTORY)
    if settings.config is None and not (settings.data_dir / DISTRICT).exists():
        backup_files.copy_folder(folder / DISTRICT, settings.data_dir / DISTRICT)
    for name in (ANCHORS, AUDIT):
        published = settings.data_dir / name
        if published.exists():
            published.replace(published.with_name(name + SET_ASIDE))
        if (folder / name).exists():
            shutil.copyfile(folder / name, published)
