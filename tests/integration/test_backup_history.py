"""Archived days in a backup: copied once, linked afterwards, proved each time, and back on a machine that has none."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from city.backups import BackupError
from city.settings import Settings
from city.storage import backups
from city.storage import history_archive as stored
from runtime import backup, backup_check, backup_files, backup_history, history_archive, restore
from runtime.backup import Made
from runtime.backup_check import Programs
from runtime.cli import app
from tests.integration.test_backup import DAY, Town, told
from tests.servers.postgres import PostgresServer

PROGRAMS = Programs(folder=None, jobs=1)


@pytest.fixture(scope="module")
def whole(
    postgres_server: PostgresServer, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    made = Town(postgres_server, postgres_template, tmp_path_factory.mktemp("town"))
    yield made
    made.close()


@pytest.fixture
def town(whole: Town) -> Iterator[Town]:
    """With its history put right again afterwards."""
    kept = whole.folder / "kept"
    shutil.copytree(whole.settings.data_dir / "history", kept)
    yield whole
    shutil.rmtree(whole.settings.data_dir / "history")
    kept.rename(whole.settings.data_dir / "history")


def again(town: Town, place: Path, *, keep: int = 0, check: bool = False) -> Made:
    """Another backup beside the first one, which has another second's name."""
    if not place.exists():
        place.mkdir()
        shutil.copytree(town.made.folder, place / "city-20200101T000000Z")
    wanted = backup.Wanted(folder=place, keep=keep, check=check, jobs=1)
    return backup.make(town.url, town.settings, wanted, told)


def day_files(folder: Path) -> list[Path]:
    return sorted((folder / "history").iterdir())


def test_what_the_backup_before_has_is_linked_and_outlives_it(town: Town, tmp_path: Path) -> None:
    made = again(town, tmp_path / "b", keep=1)
    assert made.removed == ("city-20200101T000000Z",)
    assert (len(made.history.files), made.history.copied_bytes, made.history.missing) == (2, 0, ())
    assert made.manifest.files == town.made.manifest.files | {
        name: one for name, one in made.manifest.files.items() if not name.startswith("history/")
    }
    backup_files.prove(made.folder, made.manifest)
    assert {path.stat().st_mode & 0o077 for path in made.folder.rglob("*")} == {0}


def test_a_link_is_the_same_file_and_a_disk_without_links_gets_copies(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = again(town, tmp_path / "b")
    first = day_files(tmp_path / "b" / "city-20200101T000000Z")
    assert [path.stat().st_ino for path in day_files(made.folder)] == [path.stat().st_ino for path in first]

    def refuses(*_: object) -> None:
        raise PermissionError("this disk knows no links")

    monkeypatch.setattr(os, "link", refuses)
    copied = again(town, tmp_path / "c")
    assert copied.history.copied_bytes == made.history.bytes > 0
    assert [path.read_bytes() for path in day_files(copied.folder)] == [path.read_bytes() for path in first]
    assert not {one.name for one in (tmp_path / "c").iterdir()} & {".link", ".linked"}


def test_one_that_rotted_in_the_backup_before_is_copied_anew(town: Town, tmp_path: Path) -> None:
    place = tmp_path / "b"
    place.mkdir()
    shutil.copytree(town.made.folder, place / "city-20200101T000000Z")
    rotten = day_files(place / "city-20200101T000000Z")[0]
    raw = bytearray(rotten.read_bytes())
    raw[len(raw) // 2] ^= 1
    rotten.write_bytes(raw)
    made = again(town, place)
    assert made.history.copied_bytes == rotten.stat().st_size
    assert made.history.missing == ()
    backup_files.prove(made.folder, made.manifest)


def test_a_day_that_is_nowhere_is_named_and_stops_no_backup(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, spoilt = day_files(town.settings.data_dir)
    gone.unlink()
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    monkeypatch.setenv("CITY_DATABASE_URL", town.url)
    monkeypatch.setenv("CITY_DATA_DIR", str(town.settings.data_dir))
    done = CliRunner().invoke(app, ["backup", str(tmp_path / "alone")])
    assert done.exit_code == 0, done.output
    assert f"2 archived days lack their file, or have another ({gone.name}, {spoilt.name})" in done.output
    done = CliRunner().invoke(app, ["restore", str(tmp_path / "alone"), "--check"])
    assert done.exit_code == 0, done.output
    assert "2 archived days lack their file" in done.output
    beside = again(town, tmp_path / "b")  # the backup before has both
    assert (len(beside.history.files), beside.history.missing) == (2, ())


def test_a_day_that_was_put_back_into_the_database_needs_no_file(town: Town, tmp_path: Path) -> None:
    history = town.settings.data_dir / "history"
    assert history_archive.restore(town.url, history, DAY) == (1440, 1440)
    made = again(town, tmp_path / "b", check=True)
    assert list(made.history.files) == ["history/readings-2026-03-02.parquet"]
    assert made.manifest.check is not None
    assert made.manifest.check.faults == ()
    list(history_archive.archive(town.url, history, before=DAY, most=9))
    shutil.copytree(history, town.folder / "kept", dirs_exist_ok=True)  # its bytes may be others now


def test_the_check_finds_a_day_that_the_backup_should_have(town: Town, tmp_path: Path) -> None:
    folder = town.copy(tmp_path)
    name = f"history/{history_archive.file_name(DAY)}"
    without = replace(
        town.made.manifest, files={one: of for one, of in town.made.manifest.files.items() if one != name}
    )
    found = backup_check.checked(town.url, folder, without, PROGRAMS)
    assert found.faults == (f"{name}: missing",)
    older = replace(without, missing_history=None)  # an older version's backup never had any
    assert backup_check.checked(town.url, folder, older, PROGRAMS).faults == ()


def test_where_its_history_has_no_room_nothing_is_restored(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = town.server.create_database(bare=True)
    url = town.server.url(name)
    settings = Settings(data_dir=tmp_path, database_url=url, _env_file=None)
    wanted = restore.Wanted(backup=town.made.folder, into="", jobs=1, send_waiting=False)
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: usage)
            with pytest.raises(
                BackupError, match="archived days to put there; make room, nothing was changed"
            ):
                restore.restore(url, settings, wanted, told)
            assert backups.is_empty(url)
            shutil.copytree(town.made.folder / "history", tmp_path / "history", dirs_exist_ok=True)
            done = restore.restore(url, settings, wanted, told)  # what is there already needs none
        assert done.lacking_history == ()
    finally:
        town.server.drop_database(name)


def test_what_is_there_already_is_left_and_what_is_lacking_is_named(town: Town, tmp_path: Path) -> None:
    backup_history.put_back(town.made.folder, town.made.manifest, tmp_path / "history")
    first, second = day_files(tmp_path)
    before = first.stat().st_ino
    backup_history.put_back(town.made.folder, town.made.manifest, tmp_path / "history")
    assert [path.name for path in day_files(tmp_path)] == [first.name, second.name]
    assert first.stat().st_ino == before
    assert restore._lacking(town.url, tmp_path / "history") == []
    second.unlink()
    assert restore._lacking(town.url, tmp_path / "history") == [second.name]
    assert len(stored.days(town.url)) == 2
