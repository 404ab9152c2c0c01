"""What the page of the system's health says of figures: the worst first, each with a remedy in both languages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from command_centre.health_checks import CHECKS, GB, Figures, findings

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
WELL = Figures(
    now=NOW, database="ok", database_version="17.2", database_bytes=3 * GB, connections=9, connections_most=100,
    ingest="ok", lag_s=0.1, broker="ok", failing={}, restarts={}, stations=2,
    forecast_at=NOW - timedelta(minutes=2), anchored_at=NOW - timedelta(hours=1),
    backup_at=NOW - timedelta(hours=9), born_at=NOW - timedelta(days=9), backup_most=timedelta(days=2),
    screens=3, screens_most=500, free_bytes=90 * GB,
)  # fmt: skip


LINE = {
    "silent_s": 1.0, "up": True, "since": NOW - timedelta(hours=2), "alive_at": NOW, "why": "", "waiting": 40,
    "oldest_at": NOW - timedelta(seconds=1), "refused": 0, "refused_topic": "", "expired": 0,
}  # fmt: skip


def test_a_line_that_catches_up_is_well_and_says_how_much_is_left() -> None:
    behind = replace(WELL, uplink=LINE | {"oldest_at": NOW - timedelta(hours=1), "waiting": 1234})
    (said,) = [one for one in findings(behind) if one.check == "uplink"]
    assert said.state == "ok"
    assert "catching up, 1234" in said.text
    assert "补报中" in said.text_zh
    (well,) = [one for one in findings(replace(WELL, uplink=LINE)) if one.check == "uplink"]
    assert "catching up" not in well.text


def test_all_is_well_and_nobody_is_told_to_do_anything() -> None:
    found = findings(WELL)
    assert len(found) == len(CHECKS)
    assert {one.state for one in found} == {"ok"}
    assert {one.remedy for one in found} | {one.remedy_zh for one in found} == {""}


@pytest.mark.parametrize(
    ("changes", "check", "state"),
    [
        ({"database": "down"}, "database", "fail"),
        ({"connections": 90}, "database", "warn"),
        ({"missing_migrations": ["0099"]}, "migrations", "fail"),
        ({"ingest": "down"}, "ingest", "fail"),
        ({"ingest": "lagging", "lag_s": 3.0}, "ingest", "warn"),
        ({"ingest": "lagging", "lag_s": 40.0}, "ingest", "fail"),
        ({"broker": "down", "broker_refusal": "bad password"}, "broker", "fail"),
        ({"broker_dropped": 4}, "broker", "warn"),
        ({"refused_last_hour": 100}, "quarantine", "warn"),
        ({"unclaimed": 1}, "unclaimed", "warn"),
        ({"failing": {"triage": "no route to host", "outbox": "x"}}, "loops", "fail"),
        ({"untriaged": 3, "untriaged_since": NOW - timedelta(minutes=2)}, "triage", "warn"),
        ({"untriaged": 3, "untriaged_since": NOW - timedelta(minutes=6)}, "triage", "fail"),
        ({"clocks_late": 1, "clocks_late_since": NOW - timedelta(minutes=6)}, "clocks", "fail"),
        ({"unsent": 1, "unsent_since": NOW - timedelta(minutes=2)}, "outbox", "warn"),
        ({"failed_today": 1}, "undelivered", "warn"),
        ({"forecast_at": NOW - timedelta(hours=1)}, "forecasts", "warn"),
        ({"forecast_at": None}, "forecasts", "warn"),
        ({"backup_at": NOW - timedelta(days=3)}, "backup", "warn"),
        ({"backup_at": None}, "backup", "warn"),
        ({"certificates_end": {"broker": "2026-12-01T00:00:00+00:00"}}, "certificates", "warn"),
        ({"certificates_end": {"broker": "2026-11-22T06:59:00+00:00"}}, "certificates", "fail"),
        ({"log_partitions": 4, "log_lag_s": 12.0, "log_lag_records": 9}, "log", "warn"),
        ({"log_partitions": 4, "log_lag_s": 31.0}, "log", "fail"),
        ({"log_partitions": 4, "log_unread": 1}, "log", "fail"),
        ({"log_partitions": 4, "log_lost": 7}, "log", "fail"),
        ({"uplink": LINE | {"silent_s": 16.0}}, "uplink", "fail"),
        ({"uplink": LINE | {"up": False, "why": "lost: timeout"}}, "uplink", "warn"),
        ({"uplink": LINE | {"refused": 1}}, "uplink", "warn"),
        ({"uplink": LINE | {"expired": 5}}, "uplink", "warn"),
        ({"screens": 490}, "screens", "warn"),
        ({"free_bytes": GB}, "disk", "warn"),
        ({"free_bytes": GB // 4}, "disk", "fail"),
        ({"disk": "little", "database_free_bytes": 2 * GB}, "database_disk", "warn"),
    ],
)
def test_what_is_wrong_comes_first_with_what_to_do(changes: dict[str, Any], check: str, state: str) -> None:
    first, *rest = findings(replace(WELL, **changes))
    assert (first.check, first.state) == (check, state)
    assert first.remedy
    assert first.remedy_zh
    assert {one.state for one in rest} == {"ok"}


def test_a_queue_that_is_worked_off_within_a_minute_is_no_trouble() -> None:
    found = findings(replace(WELL, unsent=200, unsent_since=NOW - timedelta(seconds=20)))
    assert {one.state for one in found} == {"ok"}


def test_what_fails_stands_before_what_warns() -> None:
    states = [one.state for one in findings(replace(WELL, unclaimed=2, ingest="down"))]
    assert states[:2] == ["fail", "warn"]


def test_a_full_disk_is_said_of_ingest_and_of_the_disk() -> None:
    found = findings(replace(WELL, ingest="down", disk="none", database_free_bytes=GB // 2))
    assert [(one.check, one.state) for one in found if one.state != "ok"] == [
        ("ingest", "fail"),
        ("database_disk", "fail"),
    ]
    assert "disk is full" in found[0].text
