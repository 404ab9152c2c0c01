"""A disk that fills: PostgreSQL's refusal loses nothing, and ingest stops before it has to refuse.

On a small file system of its own, which takes the rights of root to mount.
"""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from psycopg import sql

from city.district import import_defaults
from city.settings import Settings
from city.storage.changes import open_connection
from command_centre.disk_alarm import watch_disk
from rules.definitions import to_rows
from tests.servers.city_process import start_city
from tests.servers.mosquitto import MosquittoServer
from tests.servers.processes import ServerProcess

PATIENCE_S = 60
MB = 1024**2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "city-test", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system takes the rights of root here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Scene:
    """A database whose readings lie on the small disk, and a broker; ingest is started as a test wants it."""

    def __init__(self, url: str, broker: MosquittoServer, disk: Path) -> None:
        self.url, self.broker, self.disk = url, broker, disk
        self.ingest: ServerProcess | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._sent = 0

    def start(self, **settings: str) -> None:
        self.ingest = start_city("ingest", database_url=self.url, mqtt_url=self.broker.url, **settings)
        self.until("SELECT count(*) FROM ingest_sessions WHERE listening", 1)

    def stop(self) -> None:
        assert self.ingest is not None
        self.ingest.stop()

    def close(self) -> None:
        if self.ingest is not None:
            self.ingest.stop()
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, count: int) -> None:
        """So many readings more, all acknowledged by the broker."""
        now = time.time_ns() // 1_000_000
        said = [
            self._client.publish(
                "city/c1/smoke/s1", json.dumps({"ts": now + n, "value": 1.0, "seq": self._sent + n}), qos=1
            )
            for n in range(count)
        ]
        for one in said:
            one.wait_for_publish(PATIENCE_S)
        self._sent += count

    def row(self, query: str) -> Any:
        with psycopg.connect(self.url, autocommit=True) as direct:
            row = direct.execute(query.encode()).fetchone()
        return row[0] if row else None

    def until(self, query: str, wanted: object) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.row(query)) != wanted:
            assert time.monotonic() < deadline, (query, found, self.ingest and self.ingest.log_tail())
            time.sleep(0.05)

    def until_said(self, words: str) -> None:
        assert self.ingest is not None
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.ingest.log_tail(20_000):
            assert time.monotonic() < deadline, self.ingest.log_tail(20_000)
            time.sleep(0.05)

    def ballast(self, leave: int) -> None:
        """Fill the disk until ``leave`` bytes are free."""
        free = shutil.disk_usage(self.disk).free
        with (self.disk / "ballast").open("ab") as out:
            out.write(bytes(free - leave))

    def make_room(self) -> None:
        (self.disk / "ballast").unlink()


@pytest.fixture
def scene(migrated_url: str, mosquitto: MosquittoServer, small_disk: Path) -> Iterator[Scene]:
    import_defaults(migrated_url, parse_rules=to_rows)
    place = small_disk / "tables"
    place.mkdir(mode=0o700)
    name = "small_" + migrated_url.rpartition("_")[2]
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        space = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(space, sql.Literal(str(place))))
        connection.execute(sql.SQL("ALTER TABLE observations SET TABLESPACE {}").format(space))
    found = Scene(migrated_url, mosquitto, small_disk)
    yield found
    found.close()
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE observations SET TABLESPACE pg_default")
        connection.execute(sql.SQL("DROP TABLESPACE {}").format(space))


def test_what_postgresql_refuses_for_want_of_room_is_held_and_tried_again(scene: Scene) -> None:
    scene.start()
    scene.ballast(leave=0)
    scene.publish(3000)
    scene.until_said("No space left on device")
    assert scene.row("SELECT count(*) FROM observations") < 3000
    scene.make_room()
    scene.until("SELECT count(*) FROM observations", 3000)
    assert scene.row("SELECT count(*) FROM quarantine") == 0


def test_ingest_stops_before_the_disk_is_full_says_so_and_goes_on_by_itself(scene: Scene) -> None:
    limits = {"disk_warn_gb": str(20 * MB / 1024**3), "disk_stop_gb": str(10 * MB / 1024**3)}
    looking = Settings(_env_file=None, disk_warn_gb=0, disk_stop_gb=0)  # the centre's own disk is another

    def look() -> set[str]:
        async def once() -> None:
            async with await open_connection(scene.url, "test", autocommit=True) as connection:
                await watch_disk(connection, datetime.now(UTC), looking)

        asyncio.run(once())
        with psycopg.connect(scene.url) as direct:
            rows = direct.execute("SELECT rule_id FROM alarms WHERE cleared_at IS NULL").fetchall()
        return {str(row[0]) for row in rows}

    says = "SELECT figures ->> 'disk' FROM ingest_sessions ORDER BY alive_at DESC, id DESC LIMIT 1"
    scene.start(disk_paths=str(scene.disk), **limits)
    scene.publish(10)
    scene.until("SELECT count(*) FROM observations", 10)
    assert look() == set()
    scene.ballast(leave=15 * MB)
    scene.until(says, "little")
    assert look() == {"system.disk_little"}
    scene.publish(10)
    scene.until("SELECT count(*) FROM observations", 20)
    scene.ballast(leave=8 * MB)
    scene.until(says, "none")
    assert look() == {"system.disk_little", "system.disk_full"}
    scene.publish(500)  # the broker takes them, and keeps them
    assert look() == {"system.disk_little", "system.disk_full"}
    assert scene.row("SELECT count(*) FROM alarms") == 2
    assert scene.row("SELECT count(*) FROM observations") == 20
    scene.make_room()
    scene.until("SELECT count(*) FROM observations", 520)
    scene.until(says, "ok")
    assert look() == set()
