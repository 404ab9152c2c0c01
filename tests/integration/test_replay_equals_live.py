"""What ingest decided as it came, and what the back-test decides from the rows it left behind, are the same."""

import csv
import gzip
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from city.district import import_defaults
from city.storage import rules as storage
from command_centre import rule_backtest
from rules.backtest import within
from rules.definitions import from_row, to_rows
from tests.integration.running_ingest import Stand

RULES = """
[[rule]]
id = "smoke-delayed"
type = "threshold"
name = "持续烟雾"
name_en = "Smoke that lasts"
kind = "smoke"
metric = "smoke"
raise_at = 70
deadband = 10
on_delay_s = 1
off_delay_s = 1
category = "fire.smoke"
level = "orange"

[[rule]]
id = "quick-silent"
type = "silence"
name = "短时失联"
name_en = "Silent for a moment"
kinds = ["smoke"]
factor = 2
min_s = 2
category = "device.silent"
level = "blue"
"""
LEVELS = (6.0, 7.0, 8.0)  # warning, guaranteed, highest; the recorded crest is 10.2 m
PULSE_S = 0.25


@pytest.fixture
def stretch(shared_data: Path) -> list[tuple[datetime, float]]:
    """Both floods of July 2013, ten minutes a step."""
    with gzip.open(shared_data / "data/water/han_cheongdam_2012_2015.csv.gz", "rt") as file:
        rows = [(datetime.fromisoformat(row["time"]), row["level_m"]) for row in csv.DictReader(file)]
    begin, end = datetime(2013, 7, 10, tzinfo=UTC), datetime(2013, 7, 28, tzinfo=UTC)
    return [(at, float(level)) for at, level in rows if begin <= at < end and level]


def _prepare(url: str) -> None:
    import_defaults(url, parse_rules=to_rows)
    with psycopg.connect(url) as connection:
        for rule_id, definition in to_rows(RULES, "test"):
            connection.execute(
                "INSERT INTO rules (id, version, definition, active) VALUES (%s, 1, %s, true)",
                (rule_id, Jsonb(definition)),
            )
        connection.execute(
            "INSERT INTO devices (code, kind, expected_interval_s)"
            " VALUES ('s1', 'smoke', 60), ('s2', 'smoke', 1), ('w1', 'water', NULL)"
        )
        connection.execute(
            "INSERT INTO stations (device_id, station_kind, warning_level_m, guaranteed_level_m, highest_level_m)"
            " SELECT id, 'river', %s, %s, %s FROM devices WHERE code = 'w1'",
            LEVELS,
        )


def _play(stand: Stand, stretch: Sequence[tuple[datetime, float]]) -> int:
    """Sixteen seconds of two detectors, one pausing for thirteen, and a river's backlog; returns readings sent."""
    shift = datetime.now(UTC) - stretch[-1][0]
    backlog = [{"ts": round((at + shift).timestamp() * 1000), "value": level} for at, level in stretch]
    pattern = [20.0, 75.0, 75.0, 65.0, 72.0, 50.0, 71.0, 71.0, 71.0, 71.0, 71.0, 71.0, 62.0, 62.0, 90.0, 20.0]
    sent = 0
    for pulse in range(64):
        now = time.time_ns() // 1_000_000
        stand.publish("city/c1/smoke/s1", {"ts": now, "value": pattern[pulse % len(pattern)]})
        sent += 1
        # Once each: silence ends at the newest arrival that its tick finds, and a slow machine's tick finds several.
        if pulse in {0, 52}:
            stand.publish("city/c1/smoke/s2", {"ts": now, "value": pattern[(pulse * 5) % len(pattern)]})
            sent += 1
        if pulse < 30:  # the backlog in messages of a hundred, as a gateway sends it after an outage
            part = backlog[pulse * 100 : (pulse + 1) * 100]
            if part:
                stand.publish("city/c1/water/w1", part)
                sent += len(part)
        time.sleep(PULSE_S)
    assert len(backlog) <= 30 * 100
    return sent


Told = set[tuple[str, str, datetime, datetime | None, str, int]]


def _alarms(url: str) -> Told:
    with psycopg.connect(url) as connection:
        rows: list[Any] = connection.execute(
            "SELECT a.rule_id, d.code, a.raised_at, a.cleared_at, a.level,"
            " a.repeats + coalesce((a.evidence ->> 'repeats')::int, 0) FROM alarms a"
            " JOIN devices d ON d.id = a.device_id"
        ).fetchall()
    return set(rows)


def _replayed(url: str, from_us: int, to_us: int) -> Told:
    with psycopg.connect(url) as connection:
        rules = [from_row(one.rule_id, one.version, one.definition) for one in storage.active(connection)]
    span = rule_backtest.span_of(rules, from_us, to_us)
    result = rule_backtest.run(rule_backtest.Stored(url), [rules], span)
    codes = {fact.device_id: fact.code for fact in result.ground.facts}

    def when(at_us: int) -> datetime:
        return rule_backtest.instant(at_us)

    return {
        (
            episode.rule_id,
            codes[episode.device_id],
            when(episode.raised_us),
            None if episode.cleared_us is None else when(episode.cleared_us),
            episode.levels[-1][1] if episode.levels else episode.level,
            episode.repeats,
        )
        for episode in within(result.episodes[0], from_us, to_us)
    }


def test_replay_equals_live(
    migrated_url: str, mosquitto: Any, stretch: Sequence[tuple[datetime, float]]
) -> None:
    _prepare(migrated_url)
    stand = Stand(migrated_url, mosquitto.url, mosquitto.port)
    try:
        sent = _play(stand, stretch)
        stand.until("SELECT count(*) FROM observations", sent)
        # One detector has fallen silent for good, the other's delay is over: nothing is about to be due.
        stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'quick-silent' AND cleared_at IS NULL", 1)
        stand.until(
            "SELECT (count(*) = 0)::int FROM alarms a JOIN devices d ON d.id = a.device_id"
            " WHERE a.rule_id = 'smoke-delayed' AND d.code = 's1' AND a.cleared_at IS NULL",
            1,
        )
    finally:
        stand.close()
    live = _alarms(migrated_url)
    to_us = time.time_ns() // 1000
    from_us = to_us - 30 * 86_400_000_000
    assert _replayed(migrated_url, from_us, to_us) == live
    assert {(rule, device) for rule, device, *_ in live} >= {
        ("smoke-high", "s1"),
        ("smoke-delayed", "s1"),
        ("quick-silent", "s2"),
        ("water-warning", "w1"),
    }
    assert len([one for one in live if one[:2] == ("quick-silent", "s2")]) == 2
