"""The folder that keeps what must be there after a restart, and who may use it now.

``postgres/`` the database, ``broker/`` the broker's queue, ``district/`` the generated demonstration
district, ``log/`` one bounded log a process, ``city.lock`` held by the one ``city up``.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from city.errors import CityError


def prepare(folder: Path) -> Path:
    """Create the folder (for its owner only) and return it absolute; CityError when it cannot be used."""
    path = folder.expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CityError(
            f"CITY_DATA_DIR = {path}: cannot be written ({error.strerror}); "
            "choose a folder that belongs to you, or change its owner"
        ) from error
    return path


@contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Keep every other ``city up`` away from this folder; CityError when one is there.

    Yields True when the last holder ended without cleaning up (killed, power cut): then its servers may
    still be on their way out.
    """
    descriptor = os.open(path / "city.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise CityError(
                f"CITY_DATA_DIR = {path}: another `city up` (pid {pid}) is using it; "
                "stop that one first, or set CITY_DATA_DIR to another folder"
            ) from error
        unclean = os.pread(descriptor, 20, 0) != b""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        try:
            yield unclean
        finally:
            os.ftruncate(descriptor, 0)  # a kill leaves the number behind: that is how it is known
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """Process id of the ``city up`` that holds the folder now, or None."""
    try:
        descriptor = os.open(path / "city.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)
