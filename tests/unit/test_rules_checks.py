"""Every check before a rule comes into force: one rule that it stops, and its neighbour that it lets through."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import city
from rules.checks import check
from rules.definitions import from_row, to_rows
from rules.facts import Facts, Ground, KindFact, MetricFact
from rules.problems import Problem
from rules.rule import Rule

SMOKE: Mapping[str, object] = {
    "type": "threshold", "name": "烟", "name_en": "Smoke", "kind": "smoke", "metric": "smoke", "raise_at": 70,
    "clear_at": 60, "category": "fire.smoke", "level": "red",
}  # fmt: skip
COLD = {
    **SMOKE,
    "kind": "temperature",
    "metric": "temperature",
    "direction": "below",
    "raise_at": 3,
    "clear_at": 5,
}
WATER = {
    **SMOKE,
    "kind": "water",
    "metric": "level",
    "raise_at": "station.warning",
    "clear_at": None,
    "deadband": 0.05,
}
CAMERA: Mapping[str, object] = {
    "type": "detection", "name": "火", "name_en": "Fire", "kind": "camera", "labels": ["fire", "smoke"],
    "category": "fire.smoke", "level": "red",
}  # fmt: skip
SILENT = {**CAMERA, "type": "silence", "kind": None, "labels": None, "category": "device.silent"}

LADDER = {
    **WATER, "type": "ladder", "metric": "level", "raise_at": None, "level": None,
    "step": [{"level": "blue", "at": "station.warning", "offset": -0.5}, {"level": "red", "at": "station.guaranteed"}],
}  # fmt: skip
RATE = {**WATER, "type": "rate", "raise_at": 0.5, "deadband": None, "window_s": 3600, "noise": 0.05}
PROJECTION = {
    **WATER, "type": "projection", "raise_at": None, "deadband": None, "to": "station.warning", "within_s": 3600,
    "window_s": 3600, "noise": 0.05,
}  # fmt: skip
STUCK = {**WATER, "type": "stuck", "raise_at": None, "deadband": None, "for_s": 21600, "min_samples": 12}
QUALITY: Mapping[str, object] = {
    "type": "quality", "name": "坏值", "name_en": "Bad values", "kinds": ["water"], "metric": "level", "least": -5,
    "most": 15, "sentinels": [-990], "max_step": 2, "step_s": 300,
}  # fmt: skip
UPKEEP: Mapping[str, object] = {
    "type": "maintenance", "name": "维护", "name_en": "Upkeep", "kinds": ["smoke"], "category": "device.silent",
    "level": "blue", "sign": [{"metric": "battery", "below": 20, "deadband": 5, "name": "电量", "name_en": "Battery"}],
}  # fmt: skip
FUSION: Mapping[str, object] = {
    "type": "fusion", "name": "火", "name_en": "Fire for certain", "category": "fire.smoke", "level": "red",
    "class": "A", "source": [
        {"rule": "smoke", "name": "烟", "name_en": "Smoke"}, {"category": "fire", "name": "火", "name_en": "Fire"},
        {"report": "fire", "name": "报", "name_en": "Caller"},
    ],
}  # fmt: skip

PLACES = {"cell": "C1", "community": "M1", "street": "S1"}
FACTS = Facts(
    metrics={
        "smoke": MetricFact(unit="%"), "temperature": MetricFact(unit="°C"), "level": MetricFact(unit="m"),
        "battery": MetricFact(unit="%"), "odd": MetricFact(unit="", possible=(1.0, 5.0)),
    },
    kinds={
        "smoke": KindFact(main_metric="smoke", interval_s=300), "camera": KindFact(main_metric=None),
        "temperature": KindFact(main_metric="temperature", interval_s=600),
        "water": KindFact(main_metric="level", interval_s=300), "button": KindFact(main_metric="pressed"),
    },
    seen=frozenset({("smoke", "battery")}),
    categories=frozenset({"fire.smoke", "device.silent"}),
    areas={"cell": frozenset({"C1", "C2"}), "community": frozenset({"M1"}), "street": frozenset({"S1"})},
    ground=(
        Ground(kind="smoke", devices=40, model="X-1", tags=frozenset({"old"}), places=PLACES, interval_s=60),
        Ground(kind="smoke", code="D1", places=PLACES, interval_s=300),
        Ground(kind="camera", places=PLACES), Ground(kind="temperature", places=PLACES, interval_s=600),
        Ground(
            kind="water", code="W1", places=PLACES, interval_s=300,
            levels={"warning": 3.0, "guaranteed": 4.0, "highest": None},
        ),
    ),
)  # fmt: skip


def rule(definition: Mapping[str, object], rule_id: str = "r1", **changes: object) -> Rule:
    keys = {key: value for key, value in {**definition, **changes}.items() if value is not None}
    return from_row(rule_id, 1, keys)


def said(new: Rule, *staying: Rule, facts: Facts = FACTS) -> list[tuple[str, str]]:
    problems = check([new], staying, facts)
    assert all(one.text and one.text_zh and one.remedy and one.remedy_zh for one in problems)
    return [(one.severity, one.key) for one in problems]


@pytest.mark.parametrize(
    "definition", [SMOKE, COLD, WATER, CAMERA, SILENT], ids=lambda one: str(one["name_en"])
)
def test_a_good_rule_has_no_problem(definition: Mapping[str, object]) -> None:
    assert said(rule(definition)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metric": "smok"}, ("error", "metric")),
        ({"kind": "smokes"}, ("error", "kind")),
        ({"unit": "ppm"}, ("error", "unit")),
        ({"category": "fire.smok"}, ("error", "category")),
        ({"scope": {"cells": ["C1", "C9"]}}, ("error", "scope.cells")),
        ({"scope": {"communities": ["M9"]}}, ("error", "scope.communities")),
        ({"scope": {"streets": ["S9"]}}, ("error", "scope.streets")),
        ({"scope": {"devices": ["D9"]}}, ("error", "scope.devices")),
        ({"scope": {"models": ["X-9"]}}, ("warning", "scope.models")),
        ({"scope": {"tags": ["new"]}}, ("warning", "scope.tags")),
        ({"scope": {"cells": ["C2"]}}, ("warning", "scope")),
        ({"kind": "temperature"}, ("warning", "metric")),
    ],
)
def test_names_that_lead_nowhere(changes: dict[str, object], expected: tuple[str, str]) -> None:
    assert expected in said(rule(SMOKE, **changes))


@pytest.mark.parametrize(
    "scope",
    [{"cells": ["C1"]}, {"devices": ["D1"]}, {"models": ["X-1"]}, {"tags": ["old"]}, {"streets": ["S1"]}],
)
def test_names_that_lead_somewhere(scope: dict[str, object]) -> None:
    assert said(rule(SMOKE, scope=scope)) == []


def test_the_unit_may_be_said_and_is_then_held_against_the_metric() -> None:
    assert said(rule(SMOKE, unit="%")) == []
    assert said(rule(WATER, raise_at=300, unit="cm")) == [("error", "unit")]
    assert said(rule(QUALITY, unit="cm")) == [("error", "unit")]


def test_a_metric_beside_the_main_one_is_known_once_a_device_has_sent_it() -> None:
    assert said(rule(SMOKE, metric="battery")) == []
    unseen = replace(FACTS, seen=frozenset())
    assert said(rule(SMOKE, metric="battery"), facts=unseen) == [("warning", "metric")]


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        (SMOKE, {"raise_at": 100.5}, [("error", "raise_at")]),
        (SMOKE, {"raise_at": 100}, []),
        (SMOKE, {"raise_at": 0, "clear_at": None}, [("error", "raise_at")]),
        (SMOKE, {"raise_at": 0.5, "clear_at": 0.4}, []),
        (SMOKE, {"clear_at": 0}, [("error", "clear_at")]),
        (SMOKE, {"clear_at": None, "deadband": 70}, [("error", "deadband")]),
        (SMOKE, {"clear_at": None, "deadband": 69.9}, []),
        (COLD, {"raise_at": -300, "clear_at": -290}, [("error", "raise_at")]),
        (COLD, {"raise_at": 5000, "clear_at": None}, [("error", "raise_at")]),
        (COLD, {"clear_at": 5000}, [("error", "clear_at")]),
        (COLD, {"raise_at": -300, "clear_at": None, "metric": "level", "kind": "water"}, []),
    ],
)
def test_limits_against_what_the_metric_can_be(
    base: Mapping[str, object], changes: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert said(rule(base, **changes)) == expected


def test_a_range_of_its_own_goes_before_that_of_the_unit() -> None:
    facts = replace(FACTS, seen=frozenset({("smoke", "odd")}))
    assert said(rule(SMOKE, metric="odd", raise_at=4, clear_at=2), facts=facts) == []
    assert said(rule(SMOKE, metric="odd", raise_at=6, clear_at=2), facts=facts) == [("error", "raise_at")]


def test_station_levels_that_are_missing_or_out_of_order() -> None:
    assert said(rule(WATER, raise_at="station.highest")) == [("warning", "raise_at")]
    stations = [one for one in FACTS.ground if one.levels is None]
    upside_down = Ground(
        kind="water", code="W9", places=PLACES, levels={"warning": 5.0, "guaranteed": None, "highest": 4.0}
    )
    facts = replace(FACTS, ground=(*stations, upside_down))
    assert said(rule(WATER), facts=facts) == [("error", "raise_at")]
    (problem,) = check([rule(WATER)], [], facts)
    assert "W9" in problem.text
    elsewhere = rule(WATER, scope={"cells": ["C2"]})
    assert ("error", "raise_at") not in said(elsewhere, facts=facts), (
        "a station outside the scope is not its matter"
    )


def test_steps_of_a_ladder_are_held_against_each_station() -> None:
    steep = [{"level": "blue", "at": "station.warning"}, {"level": "red", "at": 2.5}]
    assert said(rule(LADDER, step=steep)) == [("error", "step 2")]
    (problem,) = check([rule(LADDER, step=steep)], [], FACTS)
    assert "W1" in problem.text
    assert said(rule(LADDER, step=[{"level": "blue", "at": "station.highest"}])) == [("warning", "step 1")]
    smoke = {"kind": "smoke", "metric": "smoke", "deadband": 5}
    assert said(rule(LADDER, step=[{"level": "blue", "at": 40}, {"level": "red", "at": 140}], **smoke)) == [
        ("error", "step 2")
    ]
    assert said(rule(LADDER), rule(LADDER, "r2")) == [("error", "scope")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"window_s": 599, "max_gap_s": 599, "min_samples": 3},
            [("error", "window_s")],
        ),
        ({"window_s": 600, "min_samples": 3}, []),
        ({"window_s": 1500, "min_samples": 7}, [("error", "min_samples")]),
        ({"window_s": 1800, "min_samples": 7}, []),
        ({"max_gap_s": 299}, [("error", "max_gap_s")]),
        ({"max_gap_s": 301}, []),
    ],
)
def test_windows_against_the_cadence(changes: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert said(rule(RATE, **changes)) == expected


def test_a_window_that_is_too_short_for_some_devices_only_is_a_warning() -> None:
    some = rule(RATE, kind="smoke", metric="smoke", noise=1, window_s=300)
    assert said(some) == [("warning", "window_s"), ("warning", "min_samples")]
    assert (
        said(rule(RATE, kind="smoke", metric="smoke", noise=1, window_s=300, scope={"models": ["X-1"]})) == []
    )


def test_slopes_that_cannot_be() -> None:
    smoke = {"kind": "smoke", "metric": "smoke"}
    assert said(rule(RATE, **smoke, noise=100)) == [("error", "noise")]
    assert said(rule(RATE, **smoke, noise=99)) == []
    assert said(rule(RATE, **smoke, only_above=101)) == [("error", "only_above")]
    assert said(rule(RATE, only_above="station.highest")) == [("warning", "only_above")]


def test_projections_that_reach_too_far_or_nowhere() -> None:
    assert said(rule(PROJECTION, within_s=6 * 3600)) == []
    assert said(rule(PROJECTION, within_s=6 * 3600 + 1)) == [("warning", "within_s")]
    assert said(rule(PROJECTION, to="station.highest")) == [("warning", "to")]
    assert said(rule(PROJECTION, kind="smoke", metric="smoke", to=101)) == [("error", "to")]


def test_overlaps_of_slopes() -> None:
    assert said(rule(RATE), rule(RATE, "r2")) == [("error", "scope")]
    assert said(rule(RATE), rule(RATE, "r2", raise_at=12, per="day")) == [("error", "scope")], "0.5 an hour"
    assert said(rule(RATE), rule(RATE, "r2", raise_at=1)) == [("warning", "scope")]
    assert said(rule(RATE), rule(RATE, "r2", raise_at=1, level="orange")) == []
    assert said(rule(PROJECTION), rule(PROJECTION, "r2")) == [("error", "scope")]
    assert said(rule(PROJECTION), rule(PROJECTION, "r2", within_s=1800, level="orange")) == []
    assert said(rule(PROJECTION), rule(RATE, "r2")) == []


def test_values_that_a_quality_rule_does_not_believe_raise_nothing() -> None:
    assert said(rule(WATER, raise_at=16.0)) == []
    assert said(rule(WATER, raise_at=16.0), rule(QUALITY, "q1")) == [("error", "raise_at")]
    assert said(rule(WATER, raise_at=14.0), rule(QUALITY, "q1")) == []
    assert said(rule(SMOKE), rule(QUALITY, "q1")) == []
    some = rule(QUALITY, "q1", scope={"devices": ["W1"]})
    assert said(rule(WATER, raise_at=16.0), some) == [], "other devices of the kind may still read 16"


def test_quality_and_stuck_rules_that_mark_everything_or_nothing() -> None:
    smoke = {"kinds": ["smoke"], "metric": "smoke"}
    assert said(rule(QUALITY, **smoke, least=101, most=None)) == [("error", "least")]
    assert said(rule(QUALITY, **smoke, least=None, most=-1)) == [("error", "most")]
    assert said(rule(QUALITY, step_s=10)) == [("error", "step_s")]
    assert said(rule(STUCK, kind="smoke", metric="smoke", tolerance=100, min_samples=3)) == [
        ("error", "tolerance")
    ]
    assert said(rule(STUCK, for_s=3000)) == [("error", "min_samples")]
    assert said(rule(STUCK, for_s=3300)) == []


def test_maintenance_by_signs_that_cannot_be_and_for_rules_that_are_not() -> None:
    sign = {"metric": "battery", "name": "电量", "name_en": "Battery"}
    assert said(rule(UPKEEP, sign=[{**sign, "below": -1}])) == [("error", "sign battery below")]
    assert said(rule(UPKEEP, sign=[{**sign, "below": 60, "deadband": 40}])) == [
        ("error", "sign battery deadband")
    ]
    facts = replace(FACTS, metrics={**FACTS.metrics, "self_test": MetricFact(unit="")})
    facts = replace(facts, seen=facts.seen | {("smoke", "self_test")})
    tested = {"metric": "self_test", "above": 1, "holds": ["r2"]}
    assert said(rule(UPKEEP, self_test=tested), facts=facts) == [("error", "self_test.holds")]
    assert said(rule(UPKEEP, self_test=tested), rule(SMOKE, "r2"), facts=facts) == []


def test_fusion_of_sources_that_never_speak() -> None:
    smoke = rule(SMOKE, "smoke")
    assert said(rule(FUSION), smoke) == []
    assert said(rule(FUSION)) == [("error", "source.rule"), ("error", "k")], "only callers are left"
    assert said(rule(FUSION), smoke, rule(FUSION, "r2")) == [("error", "scope")]
    assert said(rule(FUSION), smoke, rule(FUSION, "r2", k=3)) == [("warning", "scope")]
    names = {"name": "x", "name_en": "x"}
    sources = [{"category": "fire.x", **names}, {"report": "fire", **names}, {"report": "device", **names}]
    assert said(rule(FUSION, source=sources), smoke) == [("error", "source.category")]


def test_one_rule_of_these_kinds_is_enough_for_a_device() -> None:
    assert said(rule(STUCK), rule(STUCK, "r2", for_s=30000)) == [("error", "scope")]
    assert said(rule(QUALITY), rule(QUALITY, "r2", most=12)) == [("warning", "family")]
    assert said(rule(QUALITY), rule(QUALITY, "r2", most=12, family="own")) == [("error", "scope")]
    assert said(rule(UPKEEP), rule(UPKEEP, "r2")) == [("error", "scope")]


def test_silence_of_kinds_that_owe_no_word() -> None:
    assert said(rule(SILENT, kinds=["button"]))[0] == ("error", "kinds")
    assert said(rule(SILENT, kinds=["button", "water"])) == []
    assert said(rule(SILENT, kinds=["button"], cadence="learned"))[1:] == []
    assert ("error", "kinds") not in said(rule(SILENT, kinds=["button"], every_s=60))


def test_silence_that_is_called_after_every_reading() -> None:
    water = {"kinds": ["water"], "min_s": 0}
    assert said(rule(SILENT, **water, every_s=99)) == [("error", "every_s")]
    assert said(rule(SILENT, **water, every_s=100)) == []
    assert said(rule(SILENT, **water, cadence="learned", most_s=99)) == [("error", "most_s")]
    assert said(rule(SILENT, **water, cadence="learned")) == []
    assert said(rule(SILENT, kinds=["smoke"], min_s=0, every_s=20)) == [("warning", "every_s")], (
        "some report often"
    )


def test_a_schedule_that_is_never_on() -> None:
    holidays = {"days": "working", "season": "10-01/10-03"}
    assert said(rule(SMOKE, schedule=holidays)) == [("error", "schedule")]
    assert said(rule(SMOKE, schedule={"days": "weekend", "season": "10-01/10-03"})) == []
    assert said(rule(SMOKE, schedule={"season": "02-29/02-29"})) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, [("error", "scope")]),
        ({}, {"level": "orange"}, [("error", "scope")]),
        ({}, {"raise_at": 80}, [("warning", "scope")]),
        ({}, {"raise_at": 80, "level": "orange"}, []),
        ({}, {"direction": "below", "raise_at": 5, "clear_at": 6}, []),
        ({}, {"scope": {"cells": ["C1"]}}, []),
        ({"scope": {"cells": ["C1"]}}, {"scope": {"cells": ["C1", "C2"]}}, [("error", "scope")]),
        ({"scope": {"cells": ["C1"]}}, {"scope": {"devices": ["D1"]}}, []),
        ({"family": "smoke"}, {"family": "smoke"}, [("warning", "family")]),
        ({"family": "smoke"}, {"family": "smoke", "scope": {"cells": ["C1"]}}, []),
        ({"schedule": {"hours": ["08:00-20:00"]}}, {"schedule": {"hours": ["20:00-08:00"]}}, []),
        ({"schedule": {"hours": ["08:00-20:01"]}}, {"schedule": {"hours": ["20:00-08:00"]}}, [("error", "scope")]),
        ({"schedule": {"days": "weekend"}}, {"schedule": {"days": "mon-fri"}}, []),
        (
            {"schedule": {"days": "weekend"}},
            {"schedule": {"days": "mon-fri", "hours": ["23:00-01:00"]}},
            [("error", "scope")],
        ),
        ({"schedule": {"season": "04-15/10-15"}}, {"schedule": {"season": "10-16/04-14"}}, []),
        ({"schedule": {"season": "04-15/10-15"}}, {}, [("error", "scope")]),
    ],
)  # fmt: skip
def test_two_thresholds_for_one_condition(
    one: dict[str, object], other: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert said(rule(SMOKE, **one), rule(SMOKE, "r2", **other)) == expected


def test_overlaps_of_other_kinds() -> None:
    assert said(rule(CAMERA), rule(CAMERA, "r2", labels=["smoke"])) == [("error", "scope")]
    assert said(rule(CAMERA), rule(CAMERA, "r2", labels=["smoke"], level="blue")) == [("warning", "scope")]
    assert said(rule(CAMERA), rule(CAMERA, "r2", labels=["person"])) == []
    zones = {"zones": ["gate"]}
    assert said(rule(CAMERA, **zones), rule(CAMERA, "r2", zones=["yard"])) == []
    assert said(rule(CAMERA, **zones), rule(CAMERA, "r2")) == [("error", "scope")]
    assert said(rule(SILENT), rule(SILENT, "r2", factor=9)) == [("error", "scope")]
    assert said(rule(SILENT, kinds=["smoke"]), rule(SILENT, "r2", kinds=["water"])) == []
    assert said(rule(SMOKE), rule(CAMERA, "r2")) == []


def test_new_rules_are_held_against_each_other() -> None:
    problems = check([rule(SMOKE), rule(SMOKE, "r2")], [], FACTS)
    assert [(one.rule_id, one.key) for one in problems] == [("r2", "scope")]


def test_errors_stand_before_warnings() -> None:
    severities = [one[0] for one in said(rule(SMOKE, scope={"models": ["X-9"]}, raise_at=300))]
    assert severities == sorted(severities)
    assert len(set(severities)) == 2


def test_a_problem_in_words_names_rule_key_value_and_remedy() -> None:
    (problem,) = check([rule(SMOKE, raise_at=170)], [], FACTS)
    assert isinstance(problem, Problem)
    assert problem.line().startswith(
        "rule r1: raise_at = 170: can never be reached: smoke is from 0 to 100 %; write"
    )
    assert "规则 r1：raise_at = 170" in problem.line_zh()


def test_the_built_in_rules_stand_beside_each_other() -> None:
    folder = Path(city.__file__).parent / "defaults" / "rules"
    rows = [
        row for path in sorted(folder.glob("*.toml")) for row in to_rows(path.read_text("utf-8"), path.name)
    ]
    rules = [from_row(rule_id, 1, definition) for rule_id, definition in rows]
    pairs = [problem for problem in check(rules, [], FACTS) if problem.key in ("scope", "family")]
    assert [problem.line() for problem in pairs if "overlap" in problem.text or problem.key == "family"] == []
