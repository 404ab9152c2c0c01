"""Files that people send, written whole or not at all: beside their place first, on the disk, then put there."""

import errno
import os
import secrets
from pathlib import Path

from city.errors import CityError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class RoomError(CityError):
    """There is no room left for a file; what was begun is gone again."""

    reason_zh = "服务器存储空间已满，照片和文件暂时无法保存，请稍后再试或不带照片提交"

    def __init__(self) -> None:
        super().__init__(
            "the centre has no room left for photos and documents; nothing of them was kept: send it without them, or "
            "again when an operator has made room (docs/runbooks/DiskFull.md)"
        )


def is_full(error: OSError) -> bool:
    """Whether the system says that a disk or a quota is full."""
    return error.errno in _FULL


def write(folder: Path, target: Path, content: bytes) -> bool:
    """The file for its owner alone, in ``folder`` or below; whether it was not there before. Raises RoomError."""
    fresh = not target.exists()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        for needed in (folder, target.parent):
            needed.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if is_full(error):
            raise RoomError from error
        raise
    return fresh
