"""``city backup``: a database and the files beside it as of one instant, proved by restoring them.

The instant is a snapshot that pg_dump and our own count share, so the counts are the dump's and nothing has to stand
still. Files follow the database: whatever it names was written before it was committed.
"""

import fcntl
import importlib.metadata
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from city import backups, sealing
from city.backups import (
    ANCHORS,
    AUDIT,
    DATABASE,
    DISTRICT,
    DOCUMENTS,
    FAILED,
    FORMAT,
    HISTORY,
    PARTIAL,
    PHOTOS,
    BackupError,
    Manifest,
)
from city.settings import Settings
from city.storage import backups as stored
from city.storage import history_archive
from command_centre import papers, photos
from runtime import backup_check, backup_files, backup_history, postgres_programs
from runtime.backup_check import Programs
from runtime.backup_history import Gathered

Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for. ``keep`` 0 = remove none."""

    folder: Path
    keep: int
    check: bool
    jobs: int


@dataclass(frozen=True, kw_only=True)
class Made:
    """A backup that is there."""

    folder: Path
    manifest: Manifest
    history: Gathered
    removed: tuple[str, ...]


def make(url: str, settings: Settings, wanted: Wanted, told: Told) -> Made:
    """Make one, prove it, remove those it replaces; raises BackupError, and then nothing older was removed."""
    os.umask(0o077)  # whoever reads a backup reads everything
    wanted.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    programs = Programs(folder=settings.postgres_programs, jobs=wanted.jobs)
    with _alone(wanted.folder):
        partial = wanted.folder / (backups.name(datetime.now(UTC)) + PARTIAL)
        final = partial.with_suffix("")
        if final.exists() or partial.exists():
            raise BackupError(f"{final}: there is one of this second; try again")
        started = time.monotonic()
        manifest, history = _collect(url, settings, partial, programs, told)
        if wanted.check:
            told("checking: restoring into a scratch database")
            check = backup_check.checked(url, partial, manifest, programs)
            manifest = _with(manifest, check, started)
        digest = backup_files.write_manifest(partial, manifest)
        if not manifest.good:
            failed = final.with_name(final.name + FAILED)
            partial.rename(failed)
            raise BackupError(
                f"{failed}: does not hold what the database held: {'; '.join(_faults(manifest)[:3])}"
            )
        partial.rename(final)
        backup_files.sync_folder(wanted.folder)
        place = f"{socket.gethostname()}:{final}"
        stored.record(url, manifest, finished_at=datetime.now(UTC), place=place, digest=digest)
        removed = _prune(wanted.folder, wanted.keep)
        return Made(folder=final, manifest=manifest, history=history, removed=removed)


def _faults(manifest: Manifest) -> tuple[str, ...]:
    return manifest.check.faults if manifest.check else ()


def _with(manifest: Manifest, check: backups.Check, started: float) -> Manifest:
    fields = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    return Manifest(**fields | {"check": check, "seconds": round(time.monotonic() - started, 1)})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One backup into a folder at a time."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupError(f"{folder}: another `city backup` is at work there; wait for it") from error
        yield
    finally:
        os.close(handle)


def _collect(
    url: str, settings: Settings, partial: Path, programs: Programs, told: Told
) -> tuple[Manifest, Gathered]:
    started = time.monotonic()
    known = backup_history.earlier(partial.parent)
    with stored.snapshot(url) as snapshot:
        days = history_archive.archived(snapshot.connection)
        _require_room(
            settings, partial.parent, snapshot.table_bytes, backup_history.bytes_to_copy(days, known)
        )
        partial.mkdir(mode=0o700)
        told(f"copying {snapshot.database_bytes / 1e9:.2f} GB of database")
        dump = postgres_programs.dump(
            url, snapshot.id, partial / DATABASE, jobs=programs.jobs, programs=programs.folder
        )
        try:
            content = stored.content(snapshot.connection)
            series = stored.series(snapshot.connection)
            named = stored.named_files(snapshot.connection)
            dump.finish()
        finally:
            dump.end()
    told("copying photos, documents and the district's folder")
    _copy_files(settings, partial)
    for file, line_of, number, newest in (
        (ANCHORS, series[0], "id", content.chains.anchor),
        (AUDIT, series[1], "seq", content.chains.audit),
    ):
        backup_files.copy_published(settings.data_dir / file, partial / file, line_of, number, newest)
    told("copying or linking the files of archived days, and proving them")
    history = backup_history.gather(settings.data_dir / HISTORY, partial / HISTORY, days, known)
    manifest = Manifest(
        format=FORMAT,
        product=importlib.metadata.version("city-command-centre"),
        snapshot_at=snapshot.at.astimezone(UTC),
        seconds=round(time.monotonic() - started, 1),
        content=content,
        missing_files=_missing(partial, named),
        missing_history=history.missing,
        files=backup_files.digests(partial, history.files),
        settings=backups.plain_settings(settings.model_dump(mode="json")),
        keys=data_keys(settings),
        check=None,
    )
    return manifest, history


def data_keys(settings: Settings) -> tuple[str, ...]:
    """Ids of the data keys that this machine has."""
    file = settings.key_file
    return tuple(sorted(one.hex() for one in sealing.read(file).keys)) if file.exists() else ()


def _copy_files(settings: Settings, partial: Path) -> None:
    backup_files.copy_folder(settings.photo_folder, partial / PHOTOS)
    backup_files.copy_folder(settings.document_folder, partial / DOCUMENTS)
    backup_files.copy_folder(settings.config or settings.data_dir / DISTRICT, partial / DISTRICT)


def _missing(partial: Path, named: tuple[set[bytes], set[bytes]]) -> int:
    """Photos and documents that the database names and this machine does not have."""
    of_photos, of_documents = named
    return sum(not photos.path(partial / PHOTOS, one).exists() for one in of_photos) + sum(
        not papers.path(partial / DOCUMENTS, one).exists() for one in of_documents
    )


def _require_room(settings: Settings, folder: Path, table_bytes: int, history_bytes: int) -> None:
    files = history_bytes + sum(
        backup_files.size_below(one)
        for one in (settings.photo_folder, settings.document_folder)
        if one.is_dir()
    )
    needed, free = backups.room_needed(table_bytes, files), shutil.disk_usage(folder).free
    if free < needed:
        raise BackupError(
            f"{folder}: {free / 1e9:.2f} GB free, up to {needed / 1e9:.2f} GB needed; make room, or choose another disk"
        )


def _prune(folder: Path, keep: int) -> tuple[str, ...]:
    """Remove what interrupted or failed ones left, and finished ones beyond ``keep``; the names removed."""
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    gone = [one for one in names if backups.leftover(one)]
    gone += backups.superfluous(names, keep) if keep else []
    for one in gone:
        shutil.rmtree(folder / one)
    return tuple(gone)
