"""The outline of a kind of rule is what its reader takes, found out by asking the reader."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from rules.kinds import KINDS
from rules.outline import Key, outline

ROOT = Path(__file__).parents[2]


def keys(kind: str) -> dict[str, Key]:
    return {key.path: key for key in outline(kind)}


def written() -> list[dict[str, Any]]:
    """Every rule that comes with the product."""
    files = sorted((ROOT / "city" / "defaults" / "rules").glob("*.toml"))
    return [rule for file in files for rule in tomllib.loads(file.read_text(encoding="utf-8"))["rule"]]


@pytest.mark.parametrize("rule", written(), ids=lambda rule: str(rule["id"]))
def test_every_key_of_the_built_in_rules_is_in_the_outline_of_their_kind(rule: dict[str, Any]) -> None:
    known = keys(rule.pop("type"))
    rule.pop("id")
    for key, value in rule.items():
        assert key in known
        inner = value if isinstance(value, list) else [value]
        for table in (one for one in inner if isinstance(one, dict)):
            assert {f"{key}.{name}" for name in table} <= known.keys()
    assert {key.path for key in known.values() if key.needed and "." not in key.path} <= rule.keys()


def test_bounds_defaults_and_units_are_the_readers_own() -> None:
    threshold = keys("threshold")
    assert threshold["on_delay_s"] == Key(
        path="on_delay_s", form="number", needed=False, default=0, least=0, most=604_800, unit="s"
    )
    assert threshold["raise_at"].choices == ("station.warning", "station.guaranteed", "station.highest")
    assert threshold["raise_at"].needed
    assert threshold["clear_at"].unit == "metric"
    assert keys("detection")["min_score"].most == 1
    assert keys("detection")["labels"].needed


def test_a_bound_that_hangs_on_another_key_is_left_out() -> None:
    assert keys("fusion")["k"].most is None  # as many as there are sources
    assert keys("rate")["max_gap_s"] == Key(path="max_gap_s", form="number", needed=False, unit="s")


def test_either_or_keys_are_both_found_and_neither_is_needed() -> None:
    maintenance, fusion = keys("maintenance"), keys("fusion")
    assert not maintenance["sign.above"].needed
    assert not maintenance["sign.below"].needed
    assert [fusion[f"source.{by}"].needed for by in ("category", "rule", "report")] == [False] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_and_a_scope_are_told_where_a_rule_can_have_them(kind: str) -> None:
    known = keys(kind)
    assert known["scope"].form == "table"
    assert ("schedule" in known) == (kind != "quality")
    if "schedule" in known:
        assert {"schedule.hours", "schedule.days", "schedule.season"} <= known.keys()
