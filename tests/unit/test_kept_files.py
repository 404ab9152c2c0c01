"""A file that people send is there whole or not at all, and a full disk is said to be full."""

import errno
import os
from pathlib import Path

import pytest

from command_centre import kept_files
from command_centre.kept_files import RoomError


def there(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_it_is_written_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    target = folder / "ab" / "cd.jpg"
    assert kept_files.write(folder, target, b"one") is True
    assert kept_files.write(folder, target, b"two") is False
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert there(folder) == ["ab/cd.jpg"]


@pytest.mark.parametrize(
    ("code", "raised"), [(errno.ENOSPC, RoomError), (errno.EDQUOT, RoomError), (errno.EIO, OSError)]
)
@pytest.mark.parametrize("call", ["open", "fsync"])  # where a file system says so: at once, or when it writes
def test_of_what_the_disk_refuses_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, raised: type[Exception]
) -> None:
    target = tmp_path / "ab" / "cd.jpg"
    kept_files.write(tmp_path, target, b"before")

    def refuses(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(kept_files.os, call, refuses)
    with pytest.raises(raised):
        kept_files.write(tmp_path, target, b"after")
    monkeypatch.undo()
    assert there(tmp_path) == ["ab/cd.jpg"]
    assert target.read_bytes() == b"before"
