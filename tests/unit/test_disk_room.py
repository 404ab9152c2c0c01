"""When a disk is called nearly full and full, and when no more."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from city.disk_room import GB, Room, judge, worse
from city.settings import Settings, SettingsError
from ingest import disk_watch
from ingest.disk_watch import DiskWatch


@pytest.mark.parametrize(
    ("free", "before", "room"),
    [
        (50, "ok", "ok"),
        (49, "ok", "little"),
        (62, "little", "little"),
        (63, "little", "ok"),
        (10, "ok", "little"),
        (9, "ok", "none"),
        (12, "none", "none"),
        (13, "none", "little"),
        (62, "none", "little"),
        (63, "none", "ok"),
    ],
)
def test_each_word_has_its_own_way_back(free: int, before: Room, room: Room) -> None:
    assert judge(free, before, little_bytes=50, none_bytes=10) == room


def test_a_warning_below_the_end_comes_with_the_end() -> None:
    assert judge(9, "ok", little_bytes=0, none_bytes=10) == "none"
    assert judge(11, "none", little_bytes=0, none_bytes=10) == "none"
    assert judge(13, "none", little_bytes=0, none_bytes=10) == "ok"


def test_nothing_is_ever_full_where_both_limits_are_nothing() -> None:
    assert judge(0, "ok", little_bytes=0, none_bytes=0) == "ok"


def test_the_worse_of_two_counts() -> None:
    assert (worse("ok", "none"), worse("little", "ok"), worse("ok", "ok")) == ("none", "little", "ok")


def watch(monkeypatch: pytest.MonkeyPatch, free: dict[str, int], used: int = 0, **settings: Any) -> DiskWatch:
    monkeypatch.setattr(
        disk_watch.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[str(folder)])
    )
    monkeypatch.setattr(disk_watch.disk, "used_bytes", lambda _connection: used)
    return DiskWatch(Settings(_env_file=None, **settings))


def test_the_fullest_of_several_disks_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"/a": 90 * GB, "/b": 4 * GB}
    found = watch(monkeypatch, free, disk_paths="/a, /b")
    assert found.look(None)  # type: ignore[arg-type]  # nobody is asked, here and below
    assert found.figures() == {"disk": "little", "disk_free_bytes": 4 * GB, "disk_full": False}
    free["/b"] = GB - 1
    assert found.look(None)  # type: ignore[arg-type]
    assert found.room == "none"
    assert not found.look(None)  # type: ignore[arg-type]


def test_a_database_elsewhere_has_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    found = watch(monkeypatch, {}, used=98 * GB, database_max_gb=100)
    assert found.look(None)  # type: ignore[arg-type]
    assert (found.room, found.free_bytes) == ("little", 2 * GB)


def test_without_a_word_of_where_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    found = watch(monkeypatch, {})
    assert not found.look(None)  # type: ignore[arg-type]
    assert found.figures() == {}


def test_a_folder_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"CITY_DISK_PATHS: .*nowhere"):
        DiskWatch(Settings(_env_file=None, disk_paths=str(tmp_path / "nowhere")))
