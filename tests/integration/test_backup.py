"""Backups of a database in use, brought back whole; and what time has made wrong put right."""

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from city import backups
from city import sealing as sealing_keys
from city.backups import BackupError
from city.incidents import Happening, Incident
from city.settings import Settings
from city.storage import audit as audit_rows
from city.storage import backups as stored
from city.storage import incidents
from city.storage.changes import open_connection
from command_centre import anchoring, photos, sealing, upkeep
from runtime import audit, backup, backup_check, backup_history, doctor, history_archive, restore
from runtime.cli import app
from tests.integration import small_town
from tests.integration.small_town import rows
from tests.servers.city_process import city_environment
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerProcess

DAY = date(2026, 3, 1)  # archived, and the one after it
NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
PHOTO = bytes(range(32))
SQL = """
INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
SELECT d.id, m.id, '2026-11-19Z'::timestamptz + n * interval '1 minute', now(), n
FROM devices d, metrics m, generate_series(1, 3999) n WHERE m.code = 'smoke' AND d.code = 'c00-s1';
INSERT INTO users (name, role, password_hash) VALUES ('li', 'dispatcher', 'x');
INSERT INTO sessions (token_digest, user_id, expires_at) SELECT '\\x01', id, now() + interval '1 day' FROM users;
"""


OLD = """
INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
SELECT d.id, m.id, '2026-03-01Z'::timestamptz + n * interval '1 minute', now(), n
FROM devices d, metrics m, generate_series(0, 2 * 1440) n WHERE m.code = 'smoke' AND d.code = 'c00-s1';
"""


def told(_what: str) -> None:
    return None


async def _incidents(url: str, folder: Path) -> None:
    async with await open_connection(url, "test", autocommit=True) as connection:
        for number in await incidents.take_numbers(connection, NOW.date(), 2):
            new = Incident(
                number=number, incident_class="B", base_class="B", category="fire", reason="无", opened_at=NOW
            )
            (incident_id,) = await incidents.insert(connection, [new])
            fields = {name: getattr(new, name) for name in Incident.__dataclass_fields__}
            known = Incident(**fields | {"id": incident_id})
            happenings = [
                Happening(kind="opened", detail={"n": 1}, text=""),
                Happening(kind="commented", text="张三"),
            ]
            chained = incidents.chain(known, happenings, NOW)
            await incidents.append(connection, [chained])
            grown = fields | {"id": incident_id, "last_seq": chained.last_seq, "head": chained.head}
            await incidents.save(connection, [Incident(**grown)])
        await anchoring.anchor(connection, Settings(data_dir=folder, _env_file=None), NOW)
        await anchoring.file(connection, folder / anchoring.FILE, 0)
        await audit_rows.record(connection, actor="user:1", action="account.made", subject="user:2")
        await sealing.seal(connection)
        await sealing.publish(connection, folder / sealing.FILE, "", NOW)


async def _archive(url: str, folder: Path) -> None:
    """Two days of old readings leave the database, of the third one stays."""
    async with await open_connection(url, "test", autocommit=True) as connection:
        await connection.execute(OLD)
        await upkeep.roll_up(connection, datetime(2026, 3, 6, 12, tzinfo=UTC), asyncio.Event())
    made = list(history_archive.archive(url, folder, before=DAY + timedelta(days=2), most=9))
    assert [one.readings for one in made] == [1440, 1440]


def _town(url: str, folder: Path) -> Settings:
    small_town.build(url)
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO metrics (code, name) VALUES ('smoke', '烟') ON CONFLICT DO NOTHING")
    asyncio.run(_archive(url, folder / "history"))
    with psycopg.connect(url) as connection:
        connection.execute(SQL)
    asyncio.run(_incidents(url, folder))
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO photos VALUES (%s, %s, 3, 1, 1, now(), 'user:1')", (PHOTO, PHOTO))
        connection.execute(
            "INSERT INTO notifications (incident_id, unit_id, purpose, channel, body, next_attempt_at)"
            " SELECT i.id, u.id, 'order', 'smtp', '{}', CASE WHEN i.number LIKE '%1' THEN now()"
            " ELSE now() + interval '9 hours' END FROM incidents i, units u WHERE u.code = 'fire-hq'"
        )
    settings = Settings(data_dir=folder, database_url=url, _env_file=None)
    picture = photos.path(settings.photo_folder, PHOTO)
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"jpg")
    return settings


class Town:
    """A database with something of everything, and a backup of it that was made while rows went on coming."""

    def __init__(self, server: PostgresServer, template: str, folder: Path) -> None:
        self.server, self.name = server, server.create_database(template=template)
        self.url = server.url(self.name)
        self.folder = folder
        (folder / "var").mkdir()
        self.settings = _town(self.url, folder / "var")
        stop = threading.Event()
        writing = threading.Thread(target=self._write, args=(stop,))
        writing.start()
        try:
            wanted = backup.Wanted(folder=folder / "backups", keep=0, check=True, jobs=2)
            self.made = backup.make(self.url, self.settings, wanted, told)
        finally:
            stop.set()
            writing.join()

    def _write(self, stop: threading.Event) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not stop.wait(0.002):
                connection.execute("INSERT INTO changes (kind, object) VALUES ('alarm.raised', '1')")

    def copy(self, to: Path) -> Path:
        """The backup once more, to be spoilt."""
        shutil.copytree(self.made.folder, to / self.made.folder.name)
        return to / self.made.folder.name

    def close(self) -> None:
        self.server.drop_database(self.name)


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    made = Town(postgres_server, postgres_template, tmp_path_factory.mktemp("town"))
    yield made
    made.close()


def test_a_hypertable_comes_back_with_its_chunks(
    timescale_server: PostgresServer, timescale_template: str, tmp_path: Path
) -> None:
    made = Town(timescale_server, timescale_template, tmp_path)  # the check restores and compares
    try:
        manifest = made.made.manifest
        assert manifest.content.timescaledb is not None
        assert manifest.content.tables["public.observations"].rows == 4000
        assert manifest.check is not None
        assert manifest.check.faults == ()
        assert (manifest.check.incidents, manifest.check.events) == (2, 4)
    finally:
        made.close()


def test_what_was_committed_at_the_instant_is_in_it_and_proved(town: Town) -> None:
    manifest = town.made.manifest
    assert manifest.check is not None
    assert manifest.check.faults == ()
    assert (manifest.check.incidents, manifest.check.events) == (2, 4)
    assert manifest.content.tables["public.observations"].rows == 4000
    assert (manifest.content.chains.anchor, manifest.content.chains.audit) == (1, 1)
    assert (manifest.missing_files, manifest.missing_history) == (0, ())
    days = [history_archive.file_name(DAY + timedelta(days=n)) for n in range(2)]
    assert [name for name in manifest.files if name.startswith("history/")] == [f"history/{d}" for d in days]
    written = manifest.content.tables["public.changes"].rows
    (later,) = rows(town.url, "SELECT count(*) FROM changes")
    assert written <= later[0]
    assert {path.stat().st_mode & 0o077 for path in [town.made.folder, *town.made.folder.rglob("*")]} == {0}
    assert rows(town.url, "SELECT checked, bytes FROM backups") == [(True, manifest.bytes)]
    assert not [one for (one,) in rows(town.url, "SELECT datname FROM pg_database") if "check" in one]


def test_it_comes_back_whole_and_goes_on(town: Town, tmp_path: Path) -> None:
    (tmp_path / anchoring.FILE).write_text("of this machine\n")
    history, day_file = tmp_path / "history", history_archive.file_name(DAY)
    history.mkdir()
    (history / day_file).write_text("of this machine")
    wanted = restore.Wanted(backup=town.made.folder.parent, into="", jobs=2, send_waiting=False)
    with pytest.raises(BackupError, match="not empty, nothing was changed"):
        restore.restore(town.url, town.settings, wanted, told)
    name = town.server.create_database(bare=True)
    url = town.server.url(name)
    try:
        settings = Settings(data_dir=tmp_path, database_url=url, _env_file=None)
        done = restore.restore(url, settings, wanted, told)
        assert done.check.faults == ()
        assert done.settled is not None
        assert (done.settled.sessions_ended, done.settled.held_back) == (1, 1)
        assert done.settled.incidents == ("20261121-0001",)
        assert rows(url, "SELECT state, count(*) FROM notifications GROUP BY 1 ORDER BY 1") == [
            ("failed", 1),
            ("waiting", 1),
        ]
        assert rows(url, "SELECT count(*) FROM observations") == [(4000,)]
        assert photos.path(settings.photo_folder, PHOTO).read_bytes() == b"jpg"
        assert (tmp_path / (anchoring.FILE + backup_history.SET_ASIDE)).read_text() == "of this machine\n"
        assert (history / (day_file + backup_history.SET_ASIDE)).read_text() == "of this machine"
        assert done.lacking_history == ()
        assert [one.fault for one in history_archive.check(url, history)] == [None, None]
        assert history_archive.restore(url, history, DAY) == (1440, 1440)

        async def next_number() -> list[str]:
            async with await open_connection(url, "test", autocommit=True) as connection:
                today = datetime.now(UTC).astimezone(settings.zone).date()
                return list(await incidents.take_numbers(connection, today, 1))

        assert asyncio.run(next_number()) == [done.settled.first_number]
        missed = [one.number for one in asyncio.run(audit.examined(url, tmp_path / anchoring.FILE)).broken]
        assert missed == [done.settled.first_number]  # taken just now, and nobody opened it
    finally:
        town.server.drop_database(name)


def test_a_spoilt_one_is_refused_before_anything_is_changed(town: Town, tmp_path: Path) -> None:
    spoilt = town.copy(tmp_path)
    victim = max((spoilt / "database").iterdir(), key=lambda path: path.stat().st_size)
    raw = bytearray(victim.read_bytes())
    raw[len(raw) // 2] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(BackupError, match=f"{victim.name} is not as it was written"):
        restore.proved(town.url, spoilt, told)
    victim.unlink()
    with pytest.raises(BackupError, match=f"{victim.name} is missing"):
        restore.proved(town.url, spoilt, told)
    (spoilt / backups.MANIFEST).unlink()
    with pytest.raises(BackupError, match="interrupted"):
        restore.proved(town.url, restore.newest(spoilt), told)


def test_one_of_a_newer_version_is_refused(town: Town, tmp_path: Path) -> None:
    newer = town.copy(tmp_path)
    manifest = json.loads((newer / backups.MANIFEST).read_bytes())
    manifest["content"]["migrations"].append("9999_later")
    (newer / backups.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match=r"newer version \(schema 9999_later"):
        restore.proved(town.url, newer, told)


def test_one_at_a_time_and_the_oldest_go(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "b"
    for name in ("city-20200101T000000Z", "city-20200102T000000Z", "city-20200103T000000Z.partial", "kept"):
        (folder / name).mkdir(parents=True)
    wanted = backup.Wanted(folder=folder, keep=2, check=False, jobs=1)
    with backup._alone(folder), pytest.raises(BackupError, match="another `city backup`"):
        backup.make(town.url, town.settings, wanted, told)
    with monkeypatch.context() as patch:
        patch.setattr(backups, "room_needed", lambda *_: 1 << 60)
        with pytest.raises(BackupError, match="GB free"):
            backup.make(town.url, town.settings, wanted, told)
    assert (folder / "city-20200101T000000Z").exists()
    made = backup.make(town.url, town.settings, wanted, told)
    assert made.manifest.check is None
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "city-20200102T000000Z", made.folder.name, "kept",
    }  # fmt: skip


def test_a_backup_that_fails_its_check_counts_for_nothing(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "city-20200101T000000Z").mkdir()
    fault = backups.Check(at=NOW, seconds=1, incidents=0, events=0, faults=("something",))
    monkeypatch.setattr(backup_check, "checked", lambda *_: fault)
    before = stored.newest(town.url)
    with pytest.raises(BackupError, match="something"):
        backup.make(town.url, town.settings, backup.Wanted(folder=tmp_path, keep=1, check=True, jobs=1), told)
    assert stored.newest(town.url) == before
    (failed,) = tmp_path.glob("*" + backups.FAILED)
    with pytest.raises(BackupError, match="did not prove itself"):
        restore.proved(town.url, failed, told)
    assert restore.newest(tmp_path).name == "city-20200101T000000Z"


def test_one_that_is_overdue_is_an_incident_until_there_is_a_newer_one(town: Town) -> None:
    most = timedelta(hours=48)
    (newest, _) = stored.newest(town.url)
    assert newest is not None

    async def watched(at: datetime) -> list[tuple[object, ...]]:
        async with await open_connection(town.url, "test", autocommit=True) as connection:
            await upkeep.watch_backups(connection, at, most)
        return rows(town.url, "SELECT category, level, cleared_at IS NULL FROM alarms")

    assert asyncio.run(watched(newest + most)) == []
    assert doctor._backup(town.settings).state == "ok"
    for _ in range(2):
        late = asyncio.run(watched(newest + most + timedelta(minutes=1)))
        assert late == [("system.backup", "yellow", True)]
    assert asyncio.run(watched(newest + most)) == [("system.backup", "yellow", False)]


def test_the_commands(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_DATABASE_URL", town.url)
    monkeypatch.setenv("CITY_DATA_DIR", str(town.settings.data_dir))
    done = CliRunner().invoke(app, ["backup", str(tmp_path), "--no-check", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert (said["checked"], said["missing_files"], said["timelines"]) == (False, 0, 2)
    written = Path(said["backup"]) / backups.MANIFEST
    manifest = json.loads(written.read_bytes())
    manifest["content"]["tables"]["public.observations"]["rows"] += 1
    manifest["content"]["tables"]["public.devices"]["digest"] ^= 1
    written.write_text(json.dumps(manifest))
    done = CliRunner().invoke(app, ["restore", str(tmp_path), "--check", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.output)["faults"] == [
        "public.devices: 33 rows, not the same ones",
        "public.observations: 4000 rows of 4001",
    ]
    assert isinstance(CliRunner().invoke(app, ["restore"]).exception, BackupError)


def test_who_sees_which_rows_comes_back_too(town: Town) -> None:
    """On an empty server the roles are made first; that grants and policies are the same is part of each check."""
    assert "city_within" in town.made.manifest.content.roles
    assert any("TO city_within" in one for one in town.made.manifest.content.default_privileges)
    try:
        for _ in range(2):
            stored.make_roles(town.url, ["city_restore_test", "city_within"])
        assert rows(town.url, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'city_restore_test'") == [
            (False,)
        ]
    finally:
        with psycopg.connect(town.url) as connection:
            connection.execute("DROP ROLE city_restore_test")


def test_the_data_keys_are_not_in_it_and_are_asked_for(town: Town, tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path, _env_file=None)
    sealing_keys.read_or_make(own.key_file)
    (key,) = backup.data_keys(own)
    assert town.made.manifest.keys == ()
    manifest = replace(town.made.manifest, keys=(key,))
    assert town.made.manifest.check is not None
    for settings, lacking in ((own, ()), (town.settings, (key,))):
        done = restore._restored(settings, tmp_path, manifest, town.made.manifest.check)
        assert done.lacking_keys == lacking


def test_one_that_is_killed_is_none_and_the_next_one_clears_it_away(town: Town, tmp_path: Path) -> None:
    endless = tmp_path / "programs" / "pg_dump"
    endless.parent.mkdir()
    endless.write_text("#!/bin/sh\nexec sleep 600\n")
    endless.chmod(0o755)
    env = city_environment(
        database_url=town.url, data_dir=str(town.settings.data_dir), postgres_programs=str(endless.parent)
    )
    command = [sys.executable, "-m", "runtime.cli", "backup", str(tmp_path), "--no-check"]
    process = ServerProcess(command, tmp_path / "log", env=env)
    process.wait_ready(lambda: bool(list(tmp_path.glob("*" + backups.PARTIAL))), 60)
    process.kill()
    (partial,) = tmp_path.glob("*" + backups.PARTIAL)
    partial = partial.rename(tmp_path / ("city-20200101T000000Z" + backups.PARTIAL))  # another second's
    with pytest.raises(BackupError, match="interrupted"):
        restore.proved(town.url, restore.newest(partial), told)
    with pytest.raises(BackupError, match="no finished backup"):
        restore.newest(tmp_path)
    wanted = backup.Wanted(folder=tmp_path, keep=0, check=False, jobs=1)
    made = backup.make(town.url, town.settings, wanted, told)
    assert made.removed == (partial.name,)
