"""The order in which faults are played, and what the table says of them."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import plan, report
from bench.chaos.matrix import TABLE
from bench.chaos.outcome import Outcome, Played
from tests.acceptance.checker import Verdict
from tests.acceptance.checker_incidents import Aftermath

_PLANS = {"usual": plan.USUAL, "each": plan.EACH, "full": plan.FULL, "short": plan.SHORT}


@pytest.mark.parametrize("name", _PLANS)
def test_a_plan_plays_each_of_its_rows_as_often_as_it_says(name: str) -> None:
    counts = _PLANS[name]
    names = [one.fault for one in plan.rounds(counts)]
    assert {fault: names.count(fault) for fault in names} == dict(counts)


def test_the_full_plan_is_what_must_be_shown() -> None:
    assert plan.kills(plan.FULL) >= 100
    assert plan.others(plan.FULL) >= 20
    assert plan.FULL["kill broker"] >= 2  # counted among neither
    assert set(plan.FULL) == set(TABLE)
    assert {TABLE[name].group for name in plan.USUAL} == {fault.group for fault in TABLE.values()}


def test_kills_are_spread_over_the_whole() -> None:
    names = [one.fault for one in plan.rounds(plan.FULL)]
    at = [place for place, name in enumerate(names) if name == "kill ingest"]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert min(gaps) >= 2
    assert max(gaps) <= 10


def _outcome(rounds: list[Played], **wrong: int) -> Outcome:
    verdict = {
        "acknowledged": 100, "stored": 100, "lost": 0, "foreign": 0, "twice": 0, "crossings": 5, "alarms": 5,
        "alarms_missing": 0, "alarms_extra": 0, "alarms_standing": 0,
    }  # fmt: skip
    return Outcome(
        rounds=rounds,
        verdict=Verdict(**(verdict | {name: count for name, count in wrong.items() if name in verdict})),
        aftermath=Aftermath(
            alarms=5, incidents=4, steps=12, waiting=0, unlinked=0, split=wrong.get("split", 0), chains_broken=0,
            steps_twice=0, steps_missing=0,
        ),
        audit={"incidents": 4, "events": 20, "broken": []},
        lost_by_broker=wrong.get("lost_by_broker", 0),
        screen_faults={"doubled": 0, "gaps": 0},
        wall_differs=0,
        calls={"answered": 3, "attempts": 4, "calls lost": wrong.get("calls lost", 0), "calls twice": 0},
        call_failures={},
        seconds=60,
        rate=2000,
        broker="mosquitto",
    )  # fmt: skip


def _played(fault: str, seconds: float, **more: Any) -> Played:
    row = TABLE[fault]
    recovery = {"stored": seconds / 2, "screens": seconds, "ready": 0.1}
    return Played(fault=fault, group=row.group, does=row.does, kills=row.kills, recovery=recovery, **more)


def test_what_the_killed_broker_lost_is_counted_apart_and_nothing_else_is() -> None:
    assert _outcome([], lost=7, lost_by_broker=7).faultless
    assert _outcome([], lost=8, lost_by_broker=7).faults == {"at the end: lost": 1}
    assert _outcome([], **{"calls lost": 1}).faults == {"at the end: calls lost": 1}
    assert _outcome([], split=1).faults == {"at the end: split": 1}
    assert _outcome([_played("kill ingest", 1, ended=["centre-a"])]).faults == {
        "ended by itself: centre-a": 1
    }


def test_the_table_has_a_row_for_each_fault_with_its_median_and_its_worst() -> None:
    rounds = [
        _played("kill ingest", 2.0),
        _played("kill ingest", 4.0),
        _played("kill broker", 3.0, lost_by_broker=9),
        _played("partition ingest", 0.0, impossible="needs root"),
    ]
    text = report.markdown(
        _outcome(rounds, lost=9, lost_by_broker=9), taken_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    assert "| kill ingest | SIGKILL | 2 | 3.0 s | 4.0 s | 0 |" in text
    assert "| kill broker | SIGKILL | 1 | 3.0 s | 3.0 s | 0 (9 lost by the broker) |" in text
    assert "not possible here: needs root" in text
    assert "2 kills, 0 other faults, 1 kills of the broker" in text


def test_the_table_goes_between_the_markers_of_a_page_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_into(page, "| new |")
    assert page.read_text() == f"before\n{report.BEGIN}\n| new |\n{report.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="no place"):
        report.write_into(page, "x")
