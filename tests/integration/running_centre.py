"""A centre that really serves: its own event loop in a thread, a free port, real PostgreSQL behind it."""

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg

from city.settings import Settings
from command_centre import main
from command_centre.main import listen, serve
from tests.servers.accounts import services_url
from tests.servers.postgres import PostgresServer

TOKEN = "token-of-the-tests"
# Two loops look at their stop once a second; a hundred centres need not wait for them to come round.
main.LOOPS_PATIENCE_S = 0.2
NO_TLS = ssl.SSLContext(
    ssl.PROTOCOL_TLS_CLIENT
)  # reading every authority of the world costs more than a request


class Centre:
    """``base`` is its address; ``client`` speaks with the administrator's token."""

    def __init__(self, url: str, *, beside: "Centre | None" = None, **settings: Any) -> None:
        """``beside``: on the same port as another one, which was made with ``centres=2``."""
        self.url = url
        self._settings = settings
        port = 0 if beside is None else int(beside.base.rpartition(":")[2])
        self._listener = listen("127.0.0.1", port, shared=settings.get("centres", 1) > 1)
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.screens = self.base.replace("http", "ws") + "/ws/screen"
        self.folder = TemporaryDirectory()  # what it keeps outside the database
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.client = httpx.Client(
            base_url=self.base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, verify=NO_TLS
        )
        self.stranger = httpx.Client(base_url=self.base, timeout=60, verify=NO_TLS)

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._failure is None, self._failure
            try:
                if self.stranger.get("/readyz").json()["checks"]["screens"] == "ok":
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError("the centre did not load its state")

    def close(self) -> None:
        self.client.close()
        self.stranger.close()
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        self.folder.cleanup()

    def execute(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """Straight into the database, committed."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def _run(self) -> None:
        settings = Settings(
            **{
                "database_url": services_url(self.url),
                "data_dir": Path(self.folder.name),
                "disk_warn_gb": 0,  # how much room there is here is nobody's business
                "disk_stop_gb": 0,
                **self._settings,
            },
            _env_file=None,
        )
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(serve(settings, TOKEN, self._listener, self._stop))
        except BaseException as error:
            self._failure = error
        finally:
            self._loop.close()


@contextmanager
def running(url: str, **settings: Any) -> Iterator[Centre]:
    """A centre on a migrated database, stopped at the end; ``settings`` as ``Centre`` takes them."""
    centre = Centre(url, **settings)
    try:
        centre.start()
        yield centre
    finally:
        centre.close()


@contextmanager
def on_fresh_ground(server: PostgresServer, template: str, **settings: Any) -> Iterator[Centre]:
    """A centre on a database of its own with the ground laid, for fixtures that outlive a test."""
    name = server.create_database(template=template)
    url = server.url(name)
    lay_ground(url)
    try:
        with running(url, **settings) as centre:
            yield centre
    finally:
        server.drop_database(name)


GROUND = """
INSERT INTO district (code, name, name_en, timezone)
    VALUES ('440399', '示范区', 'Demonstration', 'Asia/Shanghai');
INSERT INTO areas (layer, code, name, geometry) VALUES ('street', 'S1', '东街', NULL);
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'community', 'M1', '一社区', id FROM areas WHERE code = 'S1';
INSERT INTO areas (layer, code, name, parent_id, geometry)
    SELECT 'cell', 'C' || n, '网格' || n, (SELECT id FROM areas WHERE code = 'M1'),
        format('{"type": "Polygon", "coordinates": [[[%s, 0], [%s, 0], [%s, 1], [%s, 0]]]}',
               n, n + 1, n + 1, n)::jsonb
    FROM generate_series(1, 4) AS n;
INSERT INTO metrics (code) VALUES ('smoke'), ('level');
INSERT INTO device_kinds (code, name, name_en, main_metric, expected_interval_s)
    VALUES ('smoke', '烟感', 'Smoke detector', 'smoke', 300), ('water', '水位', 'Water level', 'level', 60);
INSERT INTO devices (code, kind, cell_id, longitude, latitude)
    SELECT 'D' || n, 'smoke', (SELECT id FROM areas WHERE code = 'C' || (1 + n % 2)), 114.0, 22.5
    FROM generate_series(1, 20) AS n;
INSERT INTO devices (code, kind, cell_id) SELECT 'W1', 'water', id FROM areas WHERE code = 'C3';
INSERT INTO stations (device_id, station_kind, warning_level_m, guaranteed_level_m, highest_level_m)
    SELECT id, 'river', 3, 4, 5 FROM devices WHERE code = 'W1';
INSERT INTO categories (code, name, name_en, class, limit_minutes) VALUES
    ('fire', '火灾', 'Fire', 'A', 30), ('fire.smoke', '烟雾', 'Smoke', 'A', 30),
    ('flood.level', '水位', 'Water level', 'B', 60), ('public.person', '人员', 'Person', 'C', 120),
    ('device.silent', '离线', 'Silent', 'C', 600), ('system.ingest', '接入', 'Ingest', 'A', 30);
INSERT INTO units (code, name, name_en, phone, lead_phone)
    VALUES ('U1', '一队', 'Crew 1', '110-1', '110-2');
INSERT INTO units (code, name, name_en, phone) VALUES ('U2', '二队', 'Crew 2', '110-3');
INSERT INTO responsibilities (category, unit_id) SELECT 'fire', id FROM units WHERE code = 'U1';
"""


def lay_ground(url: str) -> None:
    """Four cells, twenty detectors, one station, two units; fire is U1's, everything else is nobody's."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(GROUND)


RAISE = """
    WITH raised AS (
        INSERT INTO alarms (rule_id, rule_version, device_id, cell_id, category, level, raised_at, evidence)
        SELECT 'test', 1, d.id, d.cell_id, %s, 'red', now(), '{"value": 80}' FROM devices d WHERE d.code = %s
        RETURNING id
    ), told AS (INSERT INTO changes (kind, object) SELECT 'alarm.raised', id::text FROM raised)
    SELECT id FROM raised
"""


def raise_alarm(centre: Centre, device: str, category: str = "fire.smoke") -> int:
    """What ingest does when a rule is crossed: alarm, change and nudge in one transaction."""
    with psycopg.connect(centre.url) as connection:
        row = connection.execute(RAISE, (category, device)).fetchone()
        connection.execute("NOTIFY changed")
    assert row is not None
    return int(row[0])
