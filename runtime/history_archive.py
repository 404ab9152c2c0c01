"""Days of readings into files and back: read, written, read back and compared, and only then removed."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from city.backups import HISTORY
from city.errors import CityError
from city.storage import history_archive as stored
from city.storage.database import translated
from city.storage.history_archive import Archived, Db, Extent, Leaving
from runtime import history_files
from runtime.history_files import ArchiveError, DayFile, file_name

FOLDER = HISTORY  # of the data folder
_ATTEMPTS = 3


def due(extent: Extent, before: date, known: Sequence[Archived], most: int) -> list[date]:
    """Days to archive, oldest first: those that are over, rolled up and not in a file, and those put back by hand."""
    days = [one.day for one in known if one.restored_at is not None]
    if extent.first is not None and extent.rolled_up_to is not None:
        end = min(before, extent.rolled_up_to)
        days += [extent.first + timedelta(days=n) for n in range(max(0, (end - extent.first).days))]
    return days[:most]


def archive(url: str, folder: Path, *, before: date, most: int) -> Iterator[Archived]:
    """Every day before ``before`` that is due, each as it is done; a stop in between loses nothing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with translated(), closing(stored.opened(url)) as connection:
        for day in due(stored.extent(connection), before, stored.archived(connection), most):
            yield _one(connection, folder, day)


def _one(connection: Db, folder: Path, day: date) -> Archived:
    for _ in range(_ATTEMPTS):
        leaving = Leaving(connection, day)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            made = _written(connection, folder, day, leaving)
            if leaving.one_snapshot:
                leaving.remove()
                stored.note(connection, made)
                return made
        with connection.transaction():
            if leaving.remove():
                stored.note(connection, made)
                return made
    raise ArchiveError(
        f"{day}: readings came for it each time it was read; nothing was removed, run it again"
    )


def _written(connection: Db, folder: Path, day: date, leaving: Leaving) -> Archived:
    devices, metrics = stored.names(connection)
    file = DayFile(folder / file_name(day), devices, metrics)
    size, digest = file.write(leaving.read())
    return Archived(
        day=day,
        file=file_name(day) if size else "",
        readings=file.readings,
        bytes=size,
        sha256=digest,
        archived_at=datetime.now(UTC),
        restored_at=None,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What became of one day's file: ``fault`` None = it is as it was written."""

    day: date
    fault: str | None


def check(url: str, folder: Path) -> list[Found]:
    """Every file, byte by byte, against its digest."""
    with translated(), closing(stored.opened(url)) as connection:
        return [
            Found(day=one.day, fault=fault(folder, one)) for one in stored.archived(connection) if one.file
        ]


def fault(folder: Path, one: Archived) -> str | None:
    """Why a day's file cannot be used; None = it is as it was written."""
    path = folder / one.file
    if not path.is_file():
        return f"{path} is not there"
    return None if history_files.sha256(path) == one.sha256 else f"{path} is not what was written"


def restore(url: str, folder: Path, day: date) -> tuple[int, int]:
    """Put a day's readings back into the database: (in the file, stored). Raises ArchiveError, CityError."""
    with translated(), closing(stored.opened(url)) as connection:
        one = next((one for one in stored.archived(connection) if one.day == day), None)
        if one is None:
            raise CityError(f"{day}: was never archived; `city history list` says which days were")
        if why := (fault(folder, one) if one.file else None):
            raise ArchiveError(f"{why}; bring it from its copy")
        back = 0
        with connection.transaction():
            devices, metrics = ({code: n for n, code in names.items()} for names in stored.names(connection))
            for block in history_files.read(folder / one.file, devices, metrics) if one.file else ():
                back += stored.put_back(connection, block)
            stored.note_restored(connection, day)
        return one.readings, back


def files_between(url: str, folder: Path, start: date, end: date) -> list[Path]:
    """Files of the days from ``start`` to ``end``, both included, oldest first. Raises ArchiveError for a bad one."""
    with translated(), closing(stored.opened(url)) as connection:
        wanted = [one for one in stored.archived(connection) if one.file and start <= one.day <= end]
    for one in wanted:
        if why := fault(folder, one):
            raise ArchiveError(f"{why}; bring it from its copy")
    return [folder / one.file for one in wanted]
