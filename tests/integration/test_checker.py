"""The checker finds each fault it is there for: a checker that never complains proves nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.acceptance.checker import Stretch, check, check_stretch
from tests.acceptance.checker_incidents import look, wall_differs

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


def _middle(log: Path, connection: psycopg.Connection, first: int = 10, last: int = 30) -> Stretch:
    """The same, asked of a part of a load that goes on."""
    with np.load(log) as kept:
        part = {name: kept[name][first:last] for name in ("acked", "ts_ms", "crossed")}
    return check_stretch(
        part["acked"], part["ts_ms"], part["crossed"], first=first, devices=DEVICES, connection=connection
    )


def test_an_honest_run_is_faultless(log: Path, database: str) -> None:
    verdict = check(log, database)
    assert verdict.faultless
    assert (verdict.acknowledged, verdict.stored, verdict.crossings, verdict.alarms) == (30, 30, 1, 1)
    with psycopg.connect(database) as connection:
        middle = _middle(log, connection)
        assert (middle.acknowledged, middle.stored, middle.crossings) == (20, 20, 1)
        assert middle.complete
        assert (middle.foreign, middle.twice, middle.alarms_extra) == (0, 0, 0)
        empty = _middle(log, connection, 30, 30)
        assert empty.complete
        assert empty.acknowledged == 0


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


def test_each_fault_is_found_in_the_middle_of_a_load_too(log: Path, database: str) -> None:
    found = {}
    with psycopg.connect(database) as connection:
        for fault in (_lose, _double, _invent, _forget_alarm, _repeat_alarm):
            with connection.transaction(force_rollback=True):
                fault(connection)
                middle = _middle(log, connection)
            wrong = {
                "lost": middle.lost.tolist(),
                "foreign": middle.foreign,
                "twice": middle.twice,
                "missing": middle.alarms_missing,
                "extra": middle.alarms_extra,
            }
            found[fault] = {name: count for name, count in wrong.items() if count}
    assert found == {
        _lose: {"lost": [11, 13, 15, 17, 19]},
        _double: {"twice": 20},
        _invent: {},  # at a time outside: the whole run's check finds it
        _forget_alarm: {"missing": 1},
        _repeat_alarm: {"extra": 1},
    }


_TOWN = """
    INSERT INTO units (code, name) VALUES ('u', 'u');
    INSERT INTO incidents (number, state, class, base_class, category, unit_id, reason, due_at, opened_at,
                           last_seq, head)
        SELECT n, 'dispatched', 'A', 'A', 'fire', u.id, 'x', now(), now(), 1, sha256('1'::bytea)
        FROM units u, unnest(ARRAY['K-1', 'other']) n WHERE u.code = 'u';
    UPDATE alarms SET triage = 'done', incident_id = (SELECT id FROM incidents WHERE number = 'K-1');
    INSERT INTO incident_events (incident_id, seq, at, kind, actor, detail, previous, hash)
        SELECT i.id, 1, now(), 'opened', 'system',
               CASE i.number WHEN 'K-1' THEN jsonb_build_object('alarm', a.id) ELSE '{}' END, 'g',
               sha256('1'::bytea)
        FROM incidents i, alarms a;
"""
_STEP = """
    INSERT INTO incident_events (incident_id, seq, at, kind, actor, detail, previous, hash)
        SELECT id, %s, now(), 'urged', 'system', '{"stage": "handle", "level": 1}', 'g', sha256('2'::bytea)
        FROM incidents WHERE number = 'K-1'
"""
_SPOILT = {
    "waiting": "UPDATE alarms SET triage = 'new', incident_id = NULL",
    "unlinked": "UPDATE alarms SET incident_id = (SELECT id FROM incidents WHERE number = 'other')",
    "chains_broken": "UPDATE incidents SET head = sha256('x'::bytea) WHERE number = 'other'",
    "split": """
        INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, cleared_at, evidence,
                            triage, incident_id)
            SELECT rule_id, 1, device_id, category, level, raised_at + interval '29 min', 'infinity', '{}',
                   'done', (SELECT id FROM incidents WHERE number = 'other') FROM alarms
    """,
    "steps_missing": """
        INSERT INTO incident_clocks (incident_id, stage, "limit", started_at, due_at)
            SELECT id, 'handle', '1m', now() - interval '2 min', now() - interval '1 min'
            FROM incidents WHERE number = 'K-1'
    """,
}


def test_what_became_of_alarms_and_deadlines_is_found(database: str) -> None:
    with psycopg.connect(database) as connection:
        for statement in filter(str.strip, _TOWN.split(";")):
            connection.execute(statement.encode())
        honest = look(connection, steps=1, after_s=5)
        assert (honest.alarms, honest.incidents, honest.faults()) == (1, 1, {})
        for name, statement in _SPOILT.items():
            with connection.transaction(force_rollback=True):
                connection.execute(statement.encode())
                assert name in look(connection, steps=1, after_s=5).faults()
        connection.execute(_STEP.encode(), [2])
        assert look(connection, steps=1, after_s=5).steps_twice == 0
        connection.execute(_STEP.encode(), [3])
        assert look(connection, steps=1, after_s=5).steps_twice == 1


def test_a_wall_is_held_against_what_did_not_change_while_it_was_asked() -> None:
    one, two = ["dispatched", "A", "u", 1], ["dispatched", "A", "u", 2]
    assert wall_differs({"1": one}, {"1": one}, {"1": one}) == []
    assert wall_differs({"1": one}, {"1": one}, {"1": two}) == []
    assert wall_differs({"1": one}, {"1": two}, {"1": one}) == ["1"]
    assert wall_differs({"1": one}, {}, {"1": one}) == ["1"]
    assert wall_differs({}, {"9": one}, {}) == ["9"]
    assert wall_differs({}, {}, {"2": one}) == []
