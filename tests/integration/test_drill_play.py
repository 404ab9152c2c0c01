"""``city simulate --drill`` beside real devices: what is played through broker and ingest is exercise, nothing else."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from city.district import import_defaults
from city.errors import CityError
from city.settings import Settings
from city.storage.changes import open_connection
from command_centre import alarm_life_loop
from command_centre.known_directory import KnownDirectory
from rules.definitions import to_rows
from runtime import drill
from tests.integration.running_ingest import Stand
from tests.integration.small_town import build, rows
from tests.servers.city_process import start_city

DEVICES = """code,kind,cell,lon,lat,expected_interval_s
c02-s1,smoke,c02,114.25,22.75,30
c02-s2,smoke,c02,114.2501,22.7501,30
c05-s1,smoke,c05,114.26,22.76,30
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "devices.csv").write_text(DEVICES, encoding="utf-8")
    return tmp_path


@pytest.fixture
def stand(migrated_url: str, mosquitto: Any) -> Iterator[Stand]:
    build(migrated_url)
    import_defaults(migrated_url, parse_rules=to_rows)
    made = Stand(migrated_url, mosquitto.url, mosquitto.port)
    yield made
    made.close()


def look(url: str) -> None:
    async def once() -> None:
        known = KnownDirectory(Settings().zone)
        async with await open_connection(url, "test", autocommit=True) as connection:
            await alarm_life_loop.look(connection, known, datetime.now(UTC), mail=False)

    asyncio.run(once())


def test_what_is_played_is_exercise_and_a_real_fire_beside_it_is_real(
    stand: Stand, mosquitto: Any, folder: Path
) -> None:
    play = start_city(
        "simulate", "fire", "--drill", "--cell", "c02", "--speed", "25", "--duration", "60", "--reason", "autumn",
        database_url=stand.database, mqtt_url=mosquitto.url, config=str(folder),
    )  # fmt: skip
    try:
        stand.until("SELECT count(*) FROM alarms WHERE exercise", 2, seconds=60)
        stand.publish("city/c05/smoke/c05-s1", {"ts": int(datetime.now(UTC).timestamp() * 1000), "value": 88})
        stand.until("SELECT count(*) FROM alarms WHERE NOT exercise", 1)
    finally:
        play.stop()
    assert stand.rows(
        "SELECT d.code, a.exercise, a.drill_id FROM alarms a JOIN devices d ON d.id = a.device_id ORDER BY d.code"
    ) == [("c02-s1", True, 1), ("c02-s2", True, 1), ("c05-s1", False, None)]
    assert stand.rows("SELECT reason, ended_by, end_reason, ended_at < until FROM drills") == [
        ("autumn", "command-line", "the play has ended", True)
    ]
    assert stand.rows("SELECT count(*) FROM drill_devices") == [(2,)]
    look(stand.database)
    assert stand.rows("SELECT count(*) FROM alarms WHERE exercise AND cleared_at IS NULL") == [(0,)]
    assert stand.rows("SELECT count(*) FROM alarms WHERE NOT exercise AND cleared_at IS NULL") == [(1,)]


def test_nothing_is_played_when_the_drill_cannot_be_opened(migrated_url: str, folder: Path) -> None:
    """The devices are in the folder and not in the register: the play would be taken for real."""
    wanted = drill.Wanted(scenario="fire", folder=folder, cells=["c02"], minutes=5, reason="")
    settings = Settings(database_url=migrated_url, _env_file=None)  # type: ignore[call-arg]  # pydantic's own
    with pytest.raises(CityError, match="no such device or area: c02-s1"), drill.running(settings, wanted):
        raise AssertionError("played")
    unknown = drill.Wanted(scenario="fire", folder=folder, cells=["c99"], minutes=5, reason="")
    with pytest.raises(CityError, match="c99"), drill.running(settings, unknown):
        raise AssertionError("played")
    assert rows(migrated_url, "SELECT count(*) FROM drills") == [(0,)]
