"""From a published message to committed rows and alarms, with the real broker, process and database."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import OVER_LOG
from tests.integration.running_ingest import Stand, stands
from tests.servers.city_process import start_city


@pytest.fixture(params=["mosquitto", OVER_LOG])
def make_stand(migrated_url: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Stand]]:
    """A function that starts ingest on plain PostgreSQL and mosquitto, or over the log."""
    with stands(migrated_url, request.getfixturevalue(request.param)) as make:
        yield make


@pytest.fixture
def stand(make_stand: Callable[..., Stand]) -> Stand:
    return make_stand()


# Every database and every broker once; the other pairs and the log of several machines are for the long run.
PAIRS = [
    pytest.param(("migrated_url", "mosquitto"), id="postgres-mosquitto"),
    pytest.param(("timescale_migrated_url", "nats"), id="timescale-nats"),
    pytest.param(("migrated_url", "nats"), id="postgres-nats", marks=pytest.mark.slow),
    pytest.param(("timescale_migrated_url", "mosquitto"), id="timescale-mosquitto", marks=pytest.mark.slow),
    pytest.param(("migrated_url", "rabbit_log"), id="log", marks=[pytest.mark.slow, pytest.mark.over_log]),
]


@pytest.fixture(params=PAIRS)
def any_place(request: pytest.FixtureRequest) -> Iterator[Callable[..., Stand]]:
    """The main job runs on every combination of database and broker."""
    database, broker = (request.getfixturevalue(name) for name in request.param)
    with stands(database, broker) as make:
        yield make


@pytest.fixture
def any_stand(any_place: Callable[..., Stand]) -> Stand:
    return any_place()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_crossing_is_stored_and_raised_and_its_sender_registered(any_stand: Stand) -> None:
    now = _now_ms()
    any_stand.publish("city/c1/smoke/s1", {"ts": now - 1000, "value": 20.0, "seq": 1})
    any_stand.publish("city/c1/smoke/s1", {"ts": now, "value": 75.5, "seq": 2})
    any_stand.until("SELECT count(*) FROM alarms", 1)
    assert any_stand.rows("SELECT value, seq FROM observations ORDER BY observed_at") == [
        (20.0, 1),
        (75.5, 2),
    ]
    assert any_stand.rows("SELECT code, kind, registration FROM devices") == [("s1", "smoke", "unclaimed")]
    assert any_stand.rows("SELECT code, origin FROM areas WHERE layer = 'cell'") == [("c1", "topic")]
    (alarm,) = any_stand.rows(
        "SELECT rule_id, category, level, cleared_at, late, triage, evidence ->> 'value' FROM alarms"
    )
    assert alarm == ("smoke-high", "fire.smoke", "red", None, False, "new", "75.5")
    any_stand.publish("city/c1/smoke/s1", {"ts": now + 1, "value": 59.0})
    any_stand.until("SELECT count(*) FROM alarms WHERE cleared_at IS NOT NULL", 1)
    assert [
        row[0] for row in any_stand.rows("SELECT kind FROM changes WHERE kind LIKE 'alarm.%' ORDER BY id")
    ] == [
        "alarm.raised",
        "alarm.cleared",
    ]


def test_redelivery_is_stored_once_and_another_value_is_a_revision(any_stand: Stand) -> None:
    now = _now_ms()
    for _ in range(3):
        any_stand.publish("city/c1/smoke/s1", {"ts": now, "value": 41.0, "seq": 5})
    any_stand.publish("city/c1/smoke/s1", {"ts": now, "value": 99.0, "seq": 5})
    for _ in range(3):
        any_stand.publish("city/c1/smoke/s2", {"value": 42.0, "seq": 5})
    any_stand.publish("city/c1/smoke/s2", {"value": 43.0, "seq": 6})
    any_stand.publish("city/c1/smoke/s3", {"value": 1.0})
    any_stand.until("SELECT count(*) FROM observations WHERE value = 1.0", 1)
    assert any_stand.rows("SELECT value FROM observations ORDER BY value") == [
        (1.0,),
        (41.0,),
        (42.0,),
        (43.0,),
    ]
    assert any_stand.rows("SELECT value FROM observation_revisions") == [(99.0,)]
    assert any_stand.rows("SELECT count(*) FROM alarms") == [(0,)]


def test_late_ahead_impossible_and_retained(stand: Stand) -> None:
    now = _now_ms()
    stand.publish(
        "city/c1/smoke/late", [{"ts": now - 900_000, "value": 80.0}, {"ts": now - 800_000, "value": 10.0}]
    )
    stand.publish("city/c1/smoke/standing", {"ts": now - 900_000, "value": 81.0})
    stand.publish("city/c1/smoke/ahead", {"ts": now + 600_000, "value": 82.0})
    stand.publish("city/c1/smoke/past", {"ts": 0, "value": 83.0})
    stand.publish("city/c1/smoke/future", {"ts": 2_808_950_400_000, "value": 84.0})
    stand.publish("city/c1/smoke/marker", {"ts": now, "value": 1.0})
    stand.until("SELECT count(*) FROM observations WHERE value = 1.0", 1)
    alarms = stand.rows(
        "SELECT d.code, a.late, a.triage, a.cleared_at IS NULL, a.page_after > a.recorded_at"
        " FROM alarms a JOIN devices d ON d.id = a.device_id ORDER BY 1"
    )
    assert alarms == [("late", True, "recorded", False, True), ("standing", True, "new", True, True)]
    assert stand.rows("SELECT code FROM devices WHERE clock_ahead_at IS NOT NULL") == [("ahead",)]
    assert stand.rows("SELECT DISTINCT reason FROM quarantine") == [("time_out_of_range",)]
    assert stand.rows("SELECT count(*) FROM quarantine") == [(2,)]


@pytest.mark.parametrize("make_stand", ["mosquitto"], indirect=True)  # the log's own way is the next test's
def test_a_retained_message_never_raises(make_stand: Callable[..., Stand]) -> None:
    first = make_stand()
    first.publish("city/c1/smoke/kept", {"ts": _now_ms(), "value": 20.0}, retain=True)
    first.until("SELECT count(*) FROM observations", 1)
    first.ingest.stop()
    first.publish("city/c1/smoke/kept2", {"ts": _now_ms(), "value": 90.0}, retain=True)
    second = make_stand(mqtt_client_id="another")
    second.publish("city/c1/smoke/marker", {"ts": _now_ms(), "value": 1.0})
    second.until("SELECT count(*) FROM observations WHERE value = 1.0", 1)
    assert second.rows("SELECT count(*) FROM alarms") == [(0,)]
    assert second.rows("SELECT count(*) FROM observations WHERE value = 90.0 AND quality & 8 = 8") == [(1,)]


@pytest.mark.slow
@pytest.mark.over_log
def test_the_log_hands_a_retained_message_over_once_and_in_its_turn(
    request: pytest.FixtureRequest, migrated_url: str
) -> None:
    """Nobody subscribes to it, so nothing old is sent anew: what a device retains is read as what it says now."""
    with stands(migrated_url, request.getfixturevalue("rabbit_log")) as make:
        first = make()
        first.publish("city/c1/smoke/kept", {"ts": _now_ms(), "value": 90.0}, retain=True)
        first.until("SELECT count(*) FROM alarms", 1)
        first.ingest.stop()
        second = make()
        second.publish("city/c1/smoke/marker", {"ts": _now_ms(), "value": 1.0})
        second.until("SELECT count(*) FROM observations WHERE value = 1.0", 1)
        assert second.rows("SELECT count(*) FROM observations WHERE value = 90.0") == [(1,)]
        assert second.rows("SELECT count(*), count(cleared_at) FROM alarms") == [(1, 0)]


def test_hostile_input_is_quarantined_by_reason_and_good_messages_pass(stand: Stand) -> None:
    now = _now_ms()
    hostile: list[tuple[str, bytes]] = [
        ("city/c1/smoke/s1", b""),
        ("city/c1/smoke/s1", b"\xff\xfe\x00"),
        ("city/c1/smoke/s1", b'{"value": NaN}'),
        ("city/c1/smoke/s1", b'{"value": "x"}'),
        ("city/c1/smoke/s1", b'{"a":' + b"[" * 50_000 + b"]}"),
        ("city/c1/smoke/s1", b'{"value":1,"pad":"' + b"x" * 300_000 + b'"}'),
        ("city/c1/balloon/b1", b'{"value": 1}'),
        ("city//smoke/s1", b'{"value": 1}'),
        ("city/c1/smoke/" + "s" * 300, b'{"value": 1}'),
        ("city/c1/smoke/s1/what", b'{"value": 1}'),
        ("city/c1/water/s1", b'{"value": 1}'),
    ]
    stand.publish("city/c1/smoke/s1", {"ts": now, "value": 1.0})
    for number, (topic, payload) in enumerate(hostile):
        stand.publish(topic, payload)
        stand.publish("city/c1/smoke/s1", {"ts": now + 1 + number, "value": 2.0})
    stand.until("SELECT count(*) FROM observations WHERE value = 2.0", len(hostile))
    assert stand.rows("SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1") == [
        ("bad_topic", 3),
        ("kind_conflict", 1),
        ("not_finite", 1),
        ("not_json", 2),
        ("oversize", 1),
        ("unknown_kind", 1),
        ("wrong_shape", 2),
    ]
    assert stand.rows("SELECT sum(counted) FROM quarantine_counts") == [(11,)]
    assert stand.rows("SELECT size > 300000, length(payload) FROM quarantine WHERE reason = 'oversize'") == [
        (True, 65536)
    ]


def test_quarantined_messages_are_replayed_after_a_fix(stand: Stand) -> None:
    now = _now_ms()
    stand.publish("city/c1/balloon/b1", {"ts": now, "value": 7.5})
    stand.publish("city/c1/smoke/s1", b"rubbish")
    stand.until("SELECT count(*) FROM quarantine", 2)
    with psycopg.connect(stand.database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO device_kinds (code, name, main_metric) VALUES ('balloon', '气球', 'height');"
            "UPDATE quarantine SET replay_requested_at = now()"
        )
    stand.until("SELECT count(*) FROM quarantine WHERE replayed_at IS NOT NULL", 2)
    assert stand.rows("SELECT value FROM observations") == [(7.5,)]
    assert stand.rows("SELECT outcome FROM quarantine WHERE replayed_at IS NOT NULL ORDER BY id") == [
        ("taken",),
        ("again not_json",),
    ]


def test_strangers_are_bounded(make_stand: Callable[..., Stand]) -> None:
    stand = make_stand(max_unclaimed_devices="5")
    for number in range(9):
        stand.publish(f"city/c1/smoke/new{number}", {"ts": _now_ms(), "value": 1.0})
    stand.until("SELECT count(*) FROM quarantine WHERE reason = 'registration_limit'", 4)
    assert stand.rows("SELECT count(*) FROM devices") == [(5,)]
    assert stand.rows("SELECT count(*) FROM observations") == [(5,)]


def test_state_survives_kill_and_what_came_meanwhile_is_not_lost(any_place: Callable[..., Stand]) -> None:
    any_stand = any_place(apart=True)
    now = _now_ms()
    any_stand.publish("city/c1/smoke/s1", {"ts": now, "value": 90.0, "seq": 1})
    any_stand.until("SELECT count(*) FROM alarms", 1)
    any_stand.process.stop(signal.SIGKILL)
    for number in range(200):
        any_stand.publish(
            "city/c1/smoke/s1",
            {"ts": now + 1 + number, "value": 95.0 if number < 150 else 10.0, "seq": 2 + number},
        )
    any_stand.restart()
    # NATS hands over what was unacknowledged at the kill only after its ack_wait.
    any_stand.until("SELECT count(*) FROM observations", 201)
    any_stand.until("SELECT count(*) FROM alarms WHERE cleared_at IS NOT NULL", 1)
    assert any_stand.rows(
        "SELECT count(*), count(DISTINCT (device_id, metric_id, observed_at)) FROM observations"
    ) == [(201, 201)]
    assert any_stand.rows("SELECT count(*) FROM alarms") == [(1,)]


def test_last_will_and_presence_reach_the_database(stand: Stand) -> None:
    stand.publish("city/c1/smoke/s1", {"ts": _now_ms(), "value": 1.0})
    stand.publish("city/c1/smoke/s1/status", b"online")
    stand.until("SELECT count(*) FROM presence WHERE link = 'online'", 1)
    stand.publish("city/c1/smoke/s1/status", b"offline")
    stand.until("SELECT count(*) FROM presence WHERE link = 'offline'", 1)
    stand.ingest.stop()
    assert stand.rows(
        "SELECT count(*) FROM presence p JOIN devices d ON d.id = p.device_id WHERE d.first_heard_at IS NOT NULL"
    ) == [(1,)]
    assert stand.rows("SELECT count(*) FROM ingest_sessions WHERE listening") == [(0,)]


def test_without_a_database_url_it_says_so_in_one_line(tmp_path: Path) -> None:
    process = start_city("ingest", mqtt_url="mqtt://127.0.0.1:1")
    assert process.stop(signal.SIGCONT) == 2
    lines = [line for line in process.log_tail().splitlines() if line.strip()]
    assert len(lines) == 1
    assert "CITY_DATABASE_URL" in lines[0]
