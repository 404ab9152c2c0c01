"""The checker finds each fault it is there for: a checker that never complains proves nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.acceptance.checker import check

DEVICES = 10
START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
CROSSED = 13  # message 13: reading 1 of device 3


def _time(number: int) -> datetime:
    return START + timedelta(milliseconds=100 * (number // DEVICES))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Thirty messages of ten devices, all acknowledged, one of them above the limit."""
    numbers = np.arange(30)
    ts_ms = np.array([round(_time(int(n)).timestamp() * 1000) for n in numbers])
    path = tmp_path / "log.npz"
    np.savez(path, acked=np.ones(30, bool), ts_ms=ts_ms, crossed=numbers == CROSSED, devices=DEVICES)
    return path


@pytest.fixture
def database(migrated_url: str) -> str:
    """The same thirty stored, and the alarm, cleared by the device's next reading."""
    with psycopg.connect(migrated_url) as connection:
        connection.execute(
            "INSERT INTO device_kinds (code, name) VALUES ('smoke', '') ON CONFLICT DO NOTHING"
        )
        connection.execute("INSERT INTO metrics (code) VALUES ('smoke') ON CONFLICT DO NOTHING")
        for device in range(DEVICES):
            connection.execute("INSERT INTO devices (code, kind) VALUES (%s, 'smoke')", [f"b{device:06d}"])
        for number in range(30):
            _store(connection, number, _time(number))
        _raise(connection, _time(CROSSED), _time(CROSSED + DEVICES))
    return migrated_url


def _store(connection: psycopg.Connection, number: int, at: datetime) -> None:
    connection.execute(
        "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value, seq)"
        " SELECT d.id, m.id, %s, %s, 1, %s FROM devices d, metrics m WHERE d.code = %s AND m.code = 'smoke'",
        [at, at, 10_000_000 + number // DEVICES, f"b{number % DEVICES:06d}"],
    )


def _raise(connection: psycopg.Connection, raised: datetime, cleared: datetime | None) -> None:
    connection.execute(
        "INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, cleared_at,"
        " evidence) SELECT 'smoke-high', 1, id, 'fire.smoke', 'red', %s, %s, '{}'"
        " FROM devices WHERE code = 'b000003'",
        [raised, cleared],
    )


def _lose(connection: psycopg.Connection) -> None:
    connection.execute("DELETE FROM observations WHERE seq = 10000001 AND device_id % 2 = 0")


def _double(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value, seq)"
        " SELECT device_id, metric_id + 1, observed_at, received_at, value, seq FROM observations"
    )


def _invent(connection: psycopg.Connection) -> None:
    _store(connection, 4, START + timedelta(seconds=7))


def _forget_alarm(connection: psycopg.Connection) -> None:
    connection.execute("DELETE FROM alarms")


def _repeat_alarm(connection: psycopg.Connection) -> None:
    _raise(connection, _time(CROSSED), _time(CROSSED + DEVICES))


def _leave_standing(connection: psycopg.Connection) -> None:
    connection.execute("UPDATE alarms SET cleared_at = NULL")


def test_an_honest_run_is_faultless(log: Path, database: str) -> None:
    verdict = check(log, database)
    assert verdict.faultless
    assert (verdict.acknowledged, verdict.stored, verdict.crossings, verdict.alarms) == (30, 30, 1, 1)


@pytest.mark.parametrize(
    ("fault", "field", "count"),
    [
        (_lose, "lost", 5),
        (_double, "twice", 30),
        (_invent, "foreign", 1),
        (_forget_alarm, "alarms_missing", 1),
        (_repeat_alarm, "alarms_extra", 1),
        (_leave_standing, "alarms_standing", 1),
    ],
)
def test_each_fault_is_found(
    log: Path, database: str, fault: Callable[[psycopg.Connection], None], field: str, count: int
) -> None:
    with psycopg.connect(database) as connection:
        fault(connection)
    verdict = check(log, database)
    assert not verdict.faultless
    assert getattr(verdict, field) == count
