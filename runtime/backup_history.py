"""Files of archived days in a backup, and back beside the centre.

They never change, and there may be years of them: what the newest backup in the same folder has is linked, not copied.
Each backup stays whole: a link is the file itself, and it is there until the last backup that has it is removed.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from city import backups
from city.backups import HISTORY, BackupError, File, Manifest
from city.storage.history_archive import Archived
from runtime import backup_files

SET_ASIDE = ".before-restore"
_PROBE = ".link"


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """``files`` by name in the backup, each hashed; ``missing`` = the data folder lacks it, or has another."""

    files: dict[str, File]
    copied_bytes: int
    missing: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Of all of them, copied or linked."""
        return sum(one.bytes for one in self.files.values())


def earlier(folder: Path) -> dict[str, Path]:
    """Files of archived days in ``folder``'s newest finished backup, by SHA-256; none where no link can be made."""
    finished = sorted(path for path in folder.iterdir() if path.is_dir() and backups.is_backup(path.name))
    if not finished or not _links(folder):
        return {}
    try:
        manifest = backup_files.read_manifest(finished[-1])
    except BackupError:
        return {}
    return {one.sha256: finished[-1] / name for name, one in _of_days(manifest).items()}


def _of_days(manifest: Manifest) -> dict[str, File]:
    return {name: one for name, one in manifest.files.items() if name.startswith(f"{HISTORY}/")}


def _links(folder: Path) -> bool:
    """Whether the disk there knows hard links; some shared ones do not."""
    probe, linked = folder / _PROBE, folder / f"{_PROBE}ed"
    try:
        probe.touch()
        linked.unlink(missing_ok=True)
        os.link(probe, linked)
    except OSError:
        return False
    finally:
        for path in (probe, linked):
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return True


def bytes_to_copy(days: Sequence[Archived], known: Mapping[str, Path]) -> int:
    """How much room ``gather`` needs."""
    return sum(one.bytes for one in days if one.alone and one.sha256 not in known)


def gather(source: Path, target: Path, days: Sequence[Archived], known: Mapping[str, Path]) -> Gathered:
    """Link or copy the file of each day that the database has no more, proved against the digest that it names."""
    files: dict[str, File] = {}
    missing: list[str] = []
    copied = 0
    wanted = [one for one in days if one.alone]
    if wanted:
        target.mkdir(mode=0o700)
    for one in wanted:
        path = target / one.file
        found = _linked(known.get(one.sha256), path, one)
        if found is None:
            found = _copied(source / one.file, path, one)
            copied += found.bytes if found else 0
        if found is None:
            missing.append(one.file)
        else:
            files[f"{HISTORY}/{one.file}"] = found
    if wanted:
        backup_files.sync_folder(target)
    return Gathered(files=files, copied_bytes=copied, missing=tuple(missing))


def _linked(there: Path | None, path: Path, day: Archived) -> File | None:
    if there is None or not there.is_file():
        return None
    try:
        os.link(there, path)
    except OSError:  # a file may have as many names as its disk allows, and no more
        return None
    return _proved(path, day)


def _copied(there: Path, path: Path, day: Archived) -> File | None:
    try:
        shutil.copyfile(there, path)
    except FileNotFoundError:
        return None
    return _proved(path, day)


def _proved(path: Path, day: Archived) -> File | None:
    """What is spoilt does not stay: it may be whole elsewhere."""
    found = backup_files.digest(path, sync=True)
    if found.sha256 == day.sha256:
        return found
    path.unlink()
    return None


def require_room(manifest: Manifest, target: Path) -> None:
    """Raises BackupError where the data folder has no room for the files that ``put_back`` would copy."""
    lacking = [one for name, one in _of_days(manifest).items() if not (target / Path(name).name).exists()]
    needed = sum(one.bytes for one in lacking)
    if not needed:
        return
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(target).free
    if free < needed:
        raise BackupError(
            f"{target}: {free / 1e9:.2f} GB free, {needed / 1e9:.2f} GB of archived days to put there; make room, "
            "nothing was changed"
        )


def put_back(folder: Path, manifest: Manifest, target: Path) -> None:
    """Put a backup's files of archived days into the data folder; another one of that name is set aside."""
    for name, written in _of_days(manifest).items():
        path = target / Path(name).name
        if path.is_file() and backup_files.digest(path) == written:
            continue
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_name(path.name + SET_ASIDE))
        part = path.with_suffix(".part")
        shutil.copyfile(folder / name, part)
        part.replace(path)
