"""Why an alarm is there, told from stored data only: real rules, real readings, through ingest's own pipeline."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from city.district import import_defaults
from city.settings import Settings
from city.storage.changes import open_connection
from city.storage.database import connect
from command_centre import why
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from rules.definitions import to_rows
from rules.listening import Listening
from tests.integration.small_town import build, rows

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
WATER = {
    "type": "threshold", "name": "水位超警戒", "name_en": "Water above warning", "kind": "water", "metric": "level",
    "raise_at": "station.warning", "deadband": 0.05, "on_delay_s": 120, "category": "flood.level", "class": "B",
    "level": "yellow", "family": "water", "scope": {"cells": ["c02"]},
}  # fmt: skip
STATION = """
    INSERT INTO devices (code, kind, cell_id, name, registered_at)
        SELECT 'w-1', 'water', id, '东河', now() - interval '9 days' FROM areas WHERE code = 'c02';
    INSERT INTO stations (device_id, station_kind, warning_level_m, guaranteed_level_m)
        SELECT id, 'river', 6, 7 FROM devices WHERE code = 'w-1';
    UPDATE devices SET registered_at = now() - interval '9 days';
"""


class Town:
    """A town, ingest's pipeline over it, and the centre's answer."""

    def __init__(self, url: str) -> None:
        build(url)
        import_defaults(url, parse_rules=to_rows)
        self.url = url
        self.began = datetime.now(UTC).replace(microsecond=0)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(STATION)
            connection.execute(
                "UPDATE rules SET active = false WHERE id NOT IN ('smoke-high', 'camera-fire', 'device-silent')"
            )
        self.put_in_force("water-up", WATER)
        self.connection = connect(url, application="test ingest", autocommit=True)
        self.pipeline = Pipeline(self.connection, max_unclaimed=100, retention_days=400)

    def put_in_force(self, rule: str, definition: dict[str, Any], version: int = 1) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute("UPDATE rules SET active = false WHERE id = %s", (rule,))
            connection.execute(
                "INSERT INTO rules (id, version, definition, active, created_by, reason)"
                " VALUES (%s, %s, %s, true, 'user:1', 'after the spring flood')",
                (rule, version, json.dumps(definition)),
            )
            connection.execute(
                "INSERT INTO rule_history (rule_id, action, actor, reason, to_version)"
                " VALUES (%s, 'activate', 'user:2', 'agreed', %s)",
                (rule, version),
            )

    def say(self, topic: str, at: datetime, **said: Any) -> None:
        """One message, arriving now."""
        payload = json.dumps({"ts": int(at.timestamp() * 1000), **said}).encode()
        self.pipeline.process(
            [
                Delivery(
                    topics=[topic.encode()],
                    payloads=[payload],
                    packet_ids=[0],
                    received_us=int(datetime.now(UTC).timestamp() * 1e6),
                    generation=0,
                )
            ]
        )

    def level(self, at: datetime, metres: float) -> None:
        self.say("city/c02/water/w-1", at, value=metres)

    def alarm(self) -> int:
        return int(str(rows(self.url, "SELECT max(id) FROM alarms")[0][0]))

    def why(self, alarm: int | None = None, retention_days: int = 400) -> dict[str, Any]:
        settings = Settings(retention_days=retention_days, _env_file=None)  # type: ignore[call-arg]  # pydantic's own

        async def ask() -> dict[str, Any]:
            async with await open_connection(self.url, "test", autocommit=True) as connection:
                return await why.explain(connection, settings, alarm or self.alarm(), datetime.now(UTC))

        return asyncio.run(ask())


@pytest.fixture
def town(migrated_url: str) -> Iterator[Town]:
    made = Town(migrated_url)
    yield made
    made.connection.close()


def codes(told: dict[str, Any]) -> set[str]:
    return {note["code"] for note in told["notes"]}


def a_flood(town: Town) -> datetime:
    """Over the warning level for three minutes, and back; the instant it began."""
    began = town.began - 4 * MINUTE
    for minute, metres in ((-2, 5.8), (-1, 5.95), (0, 6.03), (1, 6.1), (2, 6.12)):
        town.level(began + minute * MINUTE, metres)
    return began


def test_a_threshold_is_told_with_its_limit_and_where_it_came_from(town: Town) -> None:
    began = a_flood(town)
    town.level(began + 3 * MINUTE, 5.9)
    told = town.why()
    at = began.astimezone(Settings().zone).strftime("%Y-%m-%d %H:%M:%S")
    assert f"{at} 水位 6.03 m ≥ 警戒 6.00 m，持续 120 s，低于 5.95 m 才恢复" in told["sentence"]
    assert (
        f"6.03 m >= the warning level 6.00 m at {at}, lasting 120 s, clears below 5.95 m"
        in told["sentence_en"]
    )
    assert "依据规则“水位超警戒”（water-up 第1版）" in told["sentence"]
    assert "恢复（5.90 m）" in told["sentence"]
    limit = told["limits"][0]
    assert (limit["key"], limit["value"], limit["unit"], limit["source"]) == ("raise_at", 6.0, "m", "station")
    sources = {one["key"]: one["source"] for one in told["limits"]}
    assert sources == {"raise_at": "station", "clear_at": "station", "on_delay_s": "constant"}
    rule = told["rule"]
    assert (rule["stored"], rule["version"], rule["author"], rule["reason"]) == (
        True,
        1,
        "user:1",
        "after the spring flood",
    )
    assert (rule["activated_by"], rule["activation_reason"], rule["active_version"]) == (
        "user:2",
        "agreed",
        1,
    )
    assert rule["definition"]["raise_at"] == "station.warning"
    assert told["scope"]["matched"] == {"cells": ["c02"], "kinds": ["water"]}
    assert "cell c02, kind water" in told["scope"]["text_en"]
    assert "the most specific" in told["scope"]["text_en"]
    assert [event["kind"] for event in told["events"]] == ["raised", "cleared"]
    assert codes(told) == set()


def test_the_readings_around_it_are_shown_and_the_deciding_one_is_marked(town: Town) -> None:
    began = a_flood(town)
    told = town.why()
    assert [point["value"] for point in told["observations"]] == [5.8, 5.95, 6.03, 6.1, 6.12]
    assert [point["observed_at"] for point in told["observations"] if point["deciding"]] == [began]
    assert {point["metric"] for point in told["observations"]} == {"level"}
    assert told["window"]["from"] < began - 14 * MINUTE
    assert "尚未恢复" in told["sentence"]


def test_many_readings_are_cut_around_the_alarm_and_said_to_be(town: Town) -> None:
    began = a_flood(town)
    with psycopg.connect(town.url) as connection:
        connection.execute(
            "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
            " SELECT d.id, m.id, %s - n * interval '1 second', now(), 5 FROM generate_series(121, 860) n,"
            " devices d, metrics m WHERE d.code = 'w-1' AND m.code = 'level'",
            (began,),
        )
    told = town.why()
    assert len(told["observations"]) <= why.MOST_POINTS
    assert any(point["deciding"] for point in told["observations"])
    assert "cut" in codes(told)


def test_a_revised_deciding_value_is_said(town: Town) -> None:
    began = a_flood(town)
    town.level(began, 5.5)
    told = town.why()
    assert [(one["observed_at"], one["value"]) for one in told["revisions"]] == [(began, 5.5)]
    assert [point["value"] for point in told["observations"] if point["revised"]] == [6.03]
    note = next(note for note in told["notes"] if note["code"] == "revised")
    assert "5.50 m" in note["text"]
    assert "the first one stays" in note["text_en"]


def test_late_readings_are_marked_and_said(town: Town) -> None:
    began = town.began - 20 * MINUTE
    for minute in (0, 1, 2, 3):
        town.level(began + minute * MINUTE, 6.5)
    told = town.why()
    assert "late" in codes(told)
    assert {tuple(point["quality"]) for point in told["observations"]} == {("late",)}
    assert any(note["code"] == "marked" and "late" in note["text_en"] for note in told["notes"])


def test_what_was_purged_is_said_and_the_evidence_remains(town: Town) -> None:
    a_flood(town)
    with psycopg.connect(town.url) as connection:
        connection.execute("DELETE FROM observations")
        connection.execute("UPDATE alarms SET raised_at = raised_at - interval '30 days'")
    told = town.why(retention_days=10)
    assert told["observations"] == []
    assert "purged" in codes(told)
    assert told["evidence"]["value"] == 6.03
    assert "6.03 m" in told["sentence"]
    assert "not_stored" in codes(town.why(retention_days=400))


def test_a_rule_that_changed_since_is_told_as_it_was(town: Town) -> None:
    a_flood(town)
    town.put_in_force("water-up", WATER | {"raise_at": 9.5, "name_en": "Other words"}, version=2)
    with psycopg.connect(town.url) as connection:
        connection.execute("UPDATE stations SET warning_level_m = 6.4")
    told = town.why()
    assert told["rule"]["definition"]["raise_at"] == "station.warning"
    assert (told["rule"]["version"], told["rule"]["active_version"]) == (1, 2)
    assert codes(told) == {"rule_changed", "limit_changed"}
    assert "Other words" not in told["sentence_en"]
    said = next(note["text_en"] for note in told["notes"] if note["code"] == "limit_changed")
    assert said == "that level of the station is 6.40 m now, it was 6.00 m"
    with psycopg.connect(town.url) as connection:
        connection.execute("UPDATE rules SET active = false WHERE id = 'water-up'")
    assert "rule_retired" in codes(town.why())


def test_a_rule_that_is_not_stored_leaves_the_evidence_to_speak(town: Town) -> None:
    a_flood(town)
    with psycopg.connect(town.url) as connection:
        connection.execute("DELETE FROM rules WHERE id = 'water-up'")
    told = town.why()
    assert (told["rule"]["stored"], told["rule"]["definition"]) == (False, None)
    assert "rule_not_stored" in codes(told)
    assert "水位 6.03 m ≥ 警戒 6.00 m" in told["sentence"]


def test_what_a_camera_saw(town: Town) -> None:
    town.say(
        "city/c02/camera/c02-k1",
        town.began - SECOND,
        event="fire",
        score=0.91,
        id="e1",
        state="new",
        zone="roof",
    )
    told = town.why()
    assert "摄像头识别到 fire（roof），置信度 0.91 ≥ 0.6" in told["sentence"]
    assert "saw fire in zone roof" in told["sentence_en"]
    assert [(one["label"], one["event"]) for one in told["detections"]] == [("fire", "e1")]
    assert codes(told) == set()


def test_silence_is_told_by_the_clock_with_the_last_words_and_our_own_listening(town: Town) -> None:
    spoke = town.began - timedelta(hours=3)
    with psycopg.connect(town.url) as connection:
        connection.execute(
            "INSERT INTO ingest_sessions (client_id, listening_from, alive_at) VALUES ('x', %s, %s)",
            (spoke - MINUTE, town.began),
        )
        connection.execute(
            "INSERT INTO presence (device_id, last_heard_at) SELECT id, %s FROM devices WHERE code = 'w-1'",
            (spoke,),
        )
        connection.execute(
            "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
            " SELECT d.id, m.id, %s, %s, 5 FROM devices d, metrics m WHERE d.code = 'w-1' AND m.code = 'level'",
            (spoke, spoke),
        )
    town.pipeline.load()
    town.pipeline.tick(Listening([(int((spoke - MINUTE).timestamp() * 1e6), None)]))
    alarm = int(
        str(
            rows(
                town.url,
                "SELECT a.id FROM alarms a JOIN devices d ON d.id = a.device_id WHERE d.code = 'w-1'",
            )[0][0]
        )
    )
    told = town.why(alarm)
    at = spoke.astimezone(Settings().zone).strftime("%Y-%m-%d %H:%M:%S")
    assert f"最后一次收到上报 {at}" in told["sentence"]
    assert "in which we listened" in told["sentence_en"]
    assert [point["value"] for point in told["observations"]] == [5.0]
    assert [(span["from"] <= spoke, span["caught_up"]) for span in told["listening"]] == [(True, True)]
    assert {one["key"]: one["source"] for one in told["limits"]}["expected_interval_s"] == "register"


def test_an_alarm_about_ourselves_has_words_and_a_life_from_its_row(town: Town) -> None:
    with psycopg.connect(town.url) as connection:
        connection.execute(
            "INSERT INTO alarms (rule_id, rule_version, category, level, raised_at, evidence)"
            " VALUES ('system.ingest_silent', 1, 'system.ingest', 'red', %s, '{\"silent_after_s\": 30}')",
            (town.began,),
        )
    told = town.why()
    assert told["rule"]["stored"] is False
    assert [event["kind"] for event in told["events"]] == ["raised"]
    assert told["sentence"]
    assert (told["observations"], codes(told)) == ([], set())


def test_evidence_of_an_unknown_kind_is_told_key_by_key(town: Town) -> None:
    town.put_in_force("newkind", WATER | {"type": "of_tomorrow", "name": "新规则", "name_en": "New rule"})
    with psycopg.connect(town.url) as connection:
        connection.execute(
            "INSERT INTO alarms (rule_id, rule_version, device_id, metric_id, category, level, raised_at, evidence)"
            " SELECT 'newkind', 1, d.id, m.id, 'flood.level', 'red', %s, %s FROM devices d, metrics m"
            " WHERE d.code = 'w-1' AND m.code = 'level'",
            (
                town.began,
                json.dumps({"samples": 12, "window_s": 3600, "nested": {"a": 1}, "k": 2, "gateway": "gw-7"}),
            ),
        )
    told = town.why()
    assert "新规则：时间窗 3600 s，样本数 12，至少 2，网关 gw-7" in told["sentence"]
    assert "window 3600 s, samples 12, at least 2, gateway gw-7" in told["sentence_en"]
    assert {one["key"] for one in told["limits"]} == {"window_s", "k"}


# ── every kind of rule ───────────────────────────────────────────────────────────────────────────────


def rising(town: Town, definition: dict[str, Any], values: list[float], minutes: int = 5) -> dict[str, Any]:
    """A rule alone in force, readings some minutes apart up to now, and why its alarm is there."""
    with psycopg.connect(town.url) as connection:
        connection.execute("UPDATE rules SET active = false")
    common = {"kind": "water", "metric": "level", "category": "flood.level", "class": "B"}
    common |= {} if definition["type"] == "ladder" else {"level": "yellow"}
    town.put_in_force("kind", {"name": "新规则", "name_en": "New rule", **common, **definition})
    town.pipeline.load()
    for place, value in enumerate(values):
        town.level(town.began - (len(values) - 1 - place) * minutes * MINUTE, value)
    return town.why()


def test_a_ladder_names_the_step_and_the_level_it_rose_to(town: Town) -> None:
    steps = [
        {"level": "blue", "at": "station.warning", "offset": -0.5},
        {"level": "red", "at": 6.8, "class": "A"},
    ]
    definition = {"type": "ladder", "step": steps}
    told = rising(town, definition, [5.0, 5.6, 6.9], minutes=1)
    assert "水位 5.60 m ≥ 警戒-0.5 m 5.50 m" in told["sentence"]
    assert ">= the warning level -0.5 m 5.50 m" in told["sentence_en"]
    assert "起为红色" in told["sentence"]
    assert [event["kind"] for event in told["events"]] == ["raised", "level_raised"]
    limit = told["limits"][0]
    assert (limit["key"], limit["value"], limit["source"]) == ("raise_at", 5.5, "ladder")
    assert limit["source_text_en"] == "step 1 of the ladder: the warning level of the station"


def test_a_rate_is_told_by_its_slope(town: Town) -> None:
    definition = {"type": "rate", "raise_at": 0.5, "window_s": 3600, "min_samples": 4, "noise": 0.1}
    told = rising(town, definition, [4.0, 4.1, 4.2, 4.3, 4.4, 4.5])
    assert "水位变化率每小时 1.20 m ≥ 0.50 m（3600 s 内" in told["sentence"]
    assert "changed by 1.20 m an hour >= 0.50 m" in told["sentence_en"]
    assert {one["key"]: one["unit"] for one in told["limits"]}["raise_at"] == "m/h"
    assert any(point["deciding"] for point in told["observations"])


def test_a_projection_is_told_by_the_time_that_is_left(town: Town) -> None:
    definition = {
        "type": "projection",
        "to": "station.warning",
        "within_s": 7200,
        "window_s": 3600,
        "noise": 0.1,
    }
    told = rising(town, {**definition, "min_samples": 4}, [4.6, 4.7, 4.8, 4.9, 5.0])
    assert "推算 7200 s 内将达警戒 6.00 m，约" in told["sentence"]
    assert "would reach the warning level 6.00 m within 7200 s, reached in about" in told["sentence_en"]
    assert {one["key"]: one["source"] for one in told["limits"]}["to"] == "station"


def test_a_stuck_value_is_told_by_how_long_it_stood(town: Town) -> None:
    definition = {"type": "stuck", "for_s": 1200, "min_samples": 3, "category": "device.fault", "class": "C"}
    told = rising(town, definition, [4.2] * 6)
    assert "一直为 4.20 m，已" in told["sentence"]
    assert "s 不变 ≥ 1200 s" in told["sentence"]
    assert "the sensor may be stuck" in told["sentence_en"]


def test_signs_of_maintenance_are_told_one_by_one(town: Town) -> None:
    with psycopg.connect(town.url) as connection:
        connection.execute("UPDATE rules SET active = false")
    sign = {"metric": "battery", "below": 20, "name": "电量低", "name_en": "Low battery"}
    town.put_in_force(
        "upkeep",
        {"type": "maintenance", "name": "维护", "name_en": "Maintenance", "kinds": ["smoke"], "sign": [sign],
         "category": "device.maintenance", "class": "C", "level": "blue"},
    )  # fmt: skip
    town.pipeline.load()
    town.say("city/c02/smoke/c02-s1", town.began, metrics={"smoke": 4, "battery": 12})
    told = town.why()
    assert "设备需要维护：电量低（12" in told["sentence"]
    assert "the device needs maintenance: Low battery (12" in told["sentence_en"]
    assert [point["value"] for point in told["observations"] if point["metric"] == "battery"] == [12.0]
