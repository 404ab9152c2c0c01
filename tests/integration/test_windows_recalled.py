"""What rules look back at, through the real pipeline and database: a restart anywhere changes nothing."""

import json
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from city.district import import_defaults
from city.observations import Quality
from city.storage import rules
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from rules.definitions import to_rows

RULES = """
[[rule]]
id = "rising"
type = "rate"
name = "上涨快"
name_en = "Rising fast"
kind = "water"
metric = "level"
raise_at = 0.5
noise = 0.1
category = "flood.rising"
level = "yellow"

[[rule]]
id = "soon"
type = "projection"
name = "即将到达"
name_en = "Soon there"
kind = "water"
metric = "level"
to = 3.0
within_s = 5400
noise = 0.1
category = "flood.rising"
level = "orange"

[[rule]]
id = "stuck"
type = "stuck"
name = "读数不变"
name_en = "Stands still"
kind = "water"
metric = "level"
for_s = 3600
min_samples = 5
category = "device.fault"
level = "blue"

[[rule]]
id = "possible"
type = "quality"
name = "可能的水位"
name_en = "Possible levels"
kinds = ["water"]
metric = "level"
least = -50
most = 9000
max_step = 1.0
step_s = 600
confirm = 2
"""
Alarms = list[tuple[Any, ...]]
HOUR_MS = 3_600_000


def levels() -> list[float]:
    """Ten-minute steps: still, a rise of 0.9 m/h, a sentinel, a jump and back, a jump that stays."""
    still = [1.0] * 9
    rising = [1.0 + 0.15 * step for step in range(1, 10)]
    return [*still, *rising, -990.0, 2.4, 9.0, 2.4, 2.45, 8.0, 8.0, 8.0, 8.1]


def delivery(level: float, at_ms: int) -> Delivery:
    payload = json.dumps({"ts": at_ms, "value": level}).encode()
    return Delivery(
        topics=[b"city/c1/water/w1"],
        payloads=[payload],
        packet_ids=[1],
        received_us=at_ms * 1000,
        generation=0,
    )


@pytest.fixture
def prepared(either_migrated_url: str) -> str:
    import_defaults(either_migrated_url, parse_rules=to_rows)
    with psycopg.connect(either_migrated_url) as connection:
        rules.take_files(
            connection, [(rule_id, definition, "test") for rule_id, definition in to_rows(RULES, "test")]
        )
    return either_migrated_url


def run(url: str, series: Sequence[float], restarts: set[int], start_ms: int) -> tuple[Alarms, list[int]]:
    """The alarms and the marks that a series makes, with a new process before each place in ``restarts``."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE alarms, rule_states, observations, devices CASCADE")
        pipeline = Pipeline(connection, max_unclaimed=100, retention_days=30)
        for place, level in enumerate(series):
            if place in restarts:
                pipeline = Pipeline(connection, max_unclaimed=100, retention_days=30)
            pipeline.process([delivery(level, start_ms + place * 600_000)])
        alarms = connection.execute(
            "SELECT rule_id, raised_at, cleared_at, repeats, evidence FROM alarms ORDER BY rule_id, raised_at"
        ).fetchall()
        marks = connection.execute("SELECT quality FROM observations ORDER BY observed_at").fetchall()
    return alarms, [row[0] for row in marks]


@pytest.mark.parametrize(
    "restarts",
    [
        pytest.param({5, 13, 20, 24}, id="some"),
        pytest.param(set(range(1, 27)), id="all", marks=pytest.mark.slow),
    ],
)
def test_restarts_anywhere_change_neither_alarms_nor_marks(prepared: str, restarts: set[int]) -> None:
    with psycopg.connect(prepared) as connection:
        row = connection.execute("SELECT (extract(epoch FROM now()) * 1000)::bigint").fetchone()
    assert row is not None
    series = levels()
    start_ms = row[0] // 600_000 * 600_000 - len(series) * 600_000
    alarms, marks = run(prepared, series, set(), start_ms)
    known = [mark & ~int(Quality.LATE) for mark in marks]
    assert {rule_id for rule_id, *_ in alarms} == {"rising", "soon", "stuck"}
    out, spike, stuck = int(Quality.OUT_OF_RANGE), int(Quality.SPIKE), int(Quality.STUCK)
    assert known == [*[0] * 6, *[stuck] * 3, *[0] * 9, out, 0, spike, 0, 0, spike, spike, 0, 0]
    assert max(restarts) < len(series)
    assert run(prepared, series, restarts, start_ms) == (alarms, marks)


def test_what_is_marked_is_counted_and_a_retry_gets_the_same_marks(prepared: str) -> None:
    with psycopg.connect(prepared, autocommit=True) as connection:
        row = connection.execute("SELECT (extract(epoch FROM now()) * 1000)::bigint").fetchone()
        assert row is not None
        pipeline = Pipeline(connection, max_unclaimed=100, retention_days=30)
        start_ms = row[0] - HOUR_MS
        for _ in range(3):
            for place, level in enumerate([1.0, -990.0, 9.0, 1.0]):
                pipeline.process([delivery(level, start_ms + place * 60_000)])
        stored = connection.execute("SELECT value, quality FROM observations ORDER BY observed_at").fetchall()
    late = int(Quality.LATE)
    assert [(value, quality & ~late) for value, quality in stored] == [
        (1.0, 0),
        (-990.0, int(Quality.OUT_OF_RANGE)),
        (9.0, int(Quality.SPIKE)),
        (1.0, 0),
    ]
    assert pipeline.counters["marked_out_of_range"] == 1
    assert pipeline.counters["marked_spike"] == 1
    assert pipeline.counters["duplicates"] == 8


def test_other_rules_go_on_with_what_was_looked_back_at(prepared: str) -> None:
    """A rule that joins a history that is there already needs nothing read; one with its own window does."""
    joined = RULES.replace("1.0\nstep_s", "1.5\nstep_s").replace("raise_at = 0.5", "raise_at = 0.6")
    other = joined.replace("within_s = 5400", "within_s = 5400\nwindow_s = 7200")
    with psycopg.connect(prepared, autocommit=True) as connection:
        row = connection.execute("SELECT (extract(epoch FROM now()) * 1000)::bigint").fetchone()
        assert row is not None
        series = levels()[9:18]
        start_ms = row[0] // 600_000 * 600_000 - len(series) * 600_000
        pipeline = Pipeline(connection, max_unclaimed=100, retention_days=30)
        for place, level in enumerate(series):
            if place in (4, 6):
                text = joined if place == 4 else other
                with connection.transaction():
                    taken = [(rule_id, definition, "test") for rule_id, definition in to_rows(text, "test")]
                    rules.take_files(connection, taken)
                pipeline.refresh()
            pipeline.process([delivery(level, start_ms + place * 600_000)])
        raised = connection.execute(
            "SELECT rule_id, (evidence ->> 'samples')::int FROM alarms WHERE rule_id IN ('rising', 'soon') ORDER BY 1"
        ).fetchall()
        versions = connection.execute("SELECT max(version) FROM rules WHERE id = 'rising'").fetchone()
    assert versions == (2,)
    assert [rule_id for rule_id, _ in raised] == ["rising", "soon"]
