"""A backup's files: copied with their digests, made sure to be on the disk, proved again before they are used."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from city.backups import MANIFEST, BackupError, File, Manifest, decode, encode
from command_centre import anchoring

_CHUNK = 1 << 20


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file, in order; half-written ones (a name that begins with a dot) left out."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def size_below(folder: Path) -> int:
    """Bytes of all of them."""
    return sum(path.stat().st_size for path in files_below(folder))


def copy_folder(source: Path, target: Path) -> None:
    """Copy every file; one that is removed meanwhile is left out, since the database names it no more."""
    for path in files_below(source) if source.is_dir() else ():
        beside = target / path.relative_to(source)
        beside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, beside)
        except FileNotFoundError:
            beside.unlink(missing_ok=True)


def copy_published(source: Path, target: Path, series: str, number: str, newest: int) -> None:
    """Copy anchors.log or audit.log up to what the database had at the instant of the backup.

    ``series`` names its own lines, ``number`` their key that counts. Lines of other databases stand above them.
    """
    if not source.exists():
        return
    kept = [
        line
        for line in anchoring.read(source)
        if line.get("series") != series or int(line.get(number, 0)) <= newest
    ]
    target.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def digests(folder: Path, known: Mapping[str, File]) -> dict[str, File]:
    """Size and SHA-256 of every file below a backup's folder, the manifest left out; each is on the disk after it.

    Those in ``known`` were hashed and made sure of already.
    """
    found = {}
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST:
            found[name] = known.get(name) or digest(path, sync=True)
    return found


def digest(path: Path, *, sync: bool = False) -> File:
    """Size and SHA-256 of one file; with ``sync`` it is on the disk afterwards."""
    hashed, size = hashlib.sha256(), 0
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            hashed.update(chunk)
            size += len(chunk)
        if sync:
            os.fsync(opened.fileno())
    return File(bytes=size, sha256=hashed.hexdigest())


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write it, whole or not at all, and return its SHA-256; nothing is written into the folder after it."""
    raw, beside = encode(manifest), folder / f".{MANIFEST}"
    with beside.open("wb") as opened:
        opened.write(raw)
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(folder / MANIFEST)
    sync_folder(folder)
    return hashlib.sha256(raw).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupError for a folder that is no finished backup."""
    try:
        return decode((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise BackupError(
            f"{folder}: no {MANIFEST}: no backup, or one that was interrupted; use a finished one"
        ) from error
    except OSError as error:
        raise BackupError(f"{folder / MANIFEST}: {error.strerror}") from error


def prove(folder: Path, manifest: Manifest) -> None:
    """Hash every file again; raises BackupError naming those that are not as they were written."""
    faults = []
    for name, written in manifest.files.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif path.stat().st_size != written.bytes or digest(path) != written:
            faults.append(f"{name} is not as it was written")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise BackupError(f"{folder}: {'; '.join(faults[:3])}{more}; use another backup")
