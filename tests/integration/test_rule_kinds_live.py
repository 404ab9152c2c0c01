"""Ladders, self-tests and gateways through broker, ingest and database: what the alarms table says in the end."""

import json
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.integration.running_ingest import Stand
from tests.integration.test_ingest import make_stand, stand

__all__ = ["make_stand", "stand"]  # the fixtures

LADDER = {
    "type": "ladder",
    "name": "边坡位移分级",
    "name_en": "Slope by steps",
    "kind": "slope",
    "metric": "displacement",
    "category": "flood.slope",
    "class": "C",
    "step": [
        {"level": "blue", "at": 10},
        {"level": "yellow", "at": 20},
        {"level": "red", "at": 30, "class": "A"},
    ],
}


@pytest.fixture
def with_ladder(make_stand: Callable[..., Stand], migrated_url: str) -> Stand:
    with psycopg.connect(migrated_url) as connection:
        connection.execute(
            "INSERT INTO rules (id, version, definition, active) VALUES ('steps', 1, %s, true)",
            (json.dumps(LADDER),),
        )
    return make_stand()


def test_a_ladder_is_one_alarm_whose_level_moves(with_ladder: Stand) -> None:
    now = time.time_ns() // 1_000_000
    for step, level in enumerate((5.0, 12.0, 35.0, 22.0)):
        with_ladder.publish("city/c1/slope/p1", {"ts": now - 4000 + 1000 * step, "value": level})
    with_ladder.until("SELECT count(*) FROM alarm_events WHERE kind = 'level_lowered'", 1)
    assert with_ladder.rows("SELECT level, class, cleared_at FROM alarms WHERE rule_id = 'steps'") == [
        ("yellow", "C", None)
    ]
    kinds = with_ladder.rows(
        "SELECT e.kind FROM alarm_events e JOIN alarms a ON a.id = e.alarm_id WHERE a.rule_id = 'steps' ORDER BY e.id"
    )
    assert [kind for (kind,) in kinds] == ["raised", "level_raised", "level_lowered"]
    with_ladder.publish("city/c1/slope/p1", {"ts": now, "value": 3.0})
    with_ladder.until("SELECT count(*) FROM alarms WHERE rule_id = 'steps' AND cleared_at IS NOT NULL", 1)


def test_a_self_test_sends_nobody_until_smoke_outlasts_it(stand: Stand) -> None:
    now = time.time_ns() // 1_000_000
    smoke = "SELECT triage, suppressed FROM alarms WHERE rule_id = 'smoke-high'"
    stand.publish("city/c1/smoke/s1", {"ts": now - 120_000, "metrics": {"smoke": 90, "self_test": 1}})
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'smoke-high'", 1)
    assert stand.rows(smoke) == [("recorded", "self-test running")]
    stand.publish("city/c1/smoke/s1", {"ts": now - 60_000, "metrics": {"self_test": 0, "smoke": 90}})
    stand.publish("city/c1/smoke/s1", {"ts": now, "metrics": {"self_test": 0, "smoke": 90}})
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'smoke-high' AND suppressed IS NULL", 1)
    assert stand.rows(smoke) == [("new", None)]
    kinds = stand.rows("SELECT kind FROM alarm_events ORDER BY id")
    assert [kind for (kind,) in kinds] == ["raised", "suppressed", "unsuppressed"]


def test_signs_of_wear_are_one_piece_of_work(stand: Stand) -> None:
    now = time.time_ns() // 1_000_000
    stand.publish("city/c1/smoke/s1", {"ts": now - 1000, "metrics": {"battery": 9, "smoke": 5}})
    stand.publish("city/c1/smoke/s1", {"ts": now, "metrics": {"contamination": 88, "smoke": 5}})
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'device-maintenance' AND repeats = 1", 1)
    (alarm,) = stand.rows(
        "SELECT category, class, metric_id, evidence -> 'signs' -> 0 ->> 'name_en' FROM alarms"
    )
    assert alarm == ("device.maintenance", "C", None, "Battery low")
