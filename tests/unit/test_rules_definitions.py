"""Rule files: the built-in ones load, the database gives back the same, each mistake is named in one line."""

import csv
import json
from pathlib import Path

import pytest

import city
from rules.condition import ThresholdRule
from rules.definitions import Rule, RuleError, from_row, parse, to_rows
from rules.detection import DetectionRule
from rules.engine import Engine
from rules.silence import SilenceRule

BUILT_IN = sorted((Path(city.__file__).parent / "defaults" / "rules").glob("*.toml"))

GOOD = {
    "id": '"smoke-high"',
    "type": '"threshold"',
    "name": '"烟雾"',
    "name_en": '"Smoke"',
    "kind": '"smoke"',
    "metric": '"smoke"',
    "raise_at": "70",
    "clear_at": "60",
    "category": '"fire.smoke"',
    "level": '"red"',
}


def text(**changes: str | None) -> str:
    keys = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return "[[rule]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items())


def built_in() -> dict[str, Rule]:
    return {rule.rule_id: rule for path in BUILT_IN for rule in parse(path.read_text("utf-8"), path.name)}


def test_the_built_in_rules_keep_the_wire_contract() -> None:
    rules = built_in()
    smoke = rules["smoke-high"]
    assert isinstance(smoke, ThresholdRule)
    assert (smoke.raise_at, smoke.clear_at, smoke.on_delay_us, smoke.off_delay_us) == (70.0, 60.0, 0, 0)
    assert (smoke.scope.kinds, smoke.metric, smoke.category) == ({"smoke"}, "smoke", "fire.smoke")
    assert {type(rule) for rule in rules.values()} >= {ThresholdRule, DetectionRule, SilenceRule}
    codes = sorted({code for rule in rules.values() for code in rule.metrics()})
    Engine(list(rules.values()), {code: number for number, code in enumerate(codes, start=1)})


def test_the_built_in_rules_need_only_built_in_categories() -> None:
    with (Path(city.__file__).parent / "defaults" / "categories.csv").open(encoding="utf-8") as file:
        known = {row["code"] for row in csv.DictReader(file)}
    assert {rule.category for rule in built_in().values()} <= known


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.name)
def test_a_database_row_gives_back_the_rule(path: Path) -> None:
    content = path.read_text("utf-8")
    rows = to_rows(content, path.name)
    stored = [(rule_id, json.loads(json.dumps(definition))) for rule_id, definition in rows]
    assert [from_row(rule_id, 1, definition) for rule_id, definition in stored] == parse(content, path.name)
    assert {from_row(rule_id, 4, definition).version for rule_id, definition in stored} == {4}


def test_clear_at_and_deadband_mean_the_same() -> None:
    (by_limit,) = parse(text(), "a")
    (by_band,) = parse(text(clear_at=None, deadband="10"), "a")
    assert isinstance(by_limit, ThresholdRule)
    assert isinstance(by_band, ThresholdRule)
    assert (by_limit.clear_at, by_band.clear_at, by_band.deadband) == (60.0, None, 10.0)


def test_class_may_be_left_to_the_category() -> None:
    assert parse(text(), "a")[0].incident_class is None
    assert parse(text(**{"class": '"B"'}), "a")[0].incident_class == "B"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("[[rule]\n", ["not TOML"]),
        ("x = 1", ["'x'", "[[rule]]"]),
        ("rule = 3", ["'rule'", "list of tables"]),
        (text(id=None), ["rule number 1", "id = None"]),
        (text(id='"Smoke High"'), ["'Smoke High'"]),
        (text() + "\n" + text(), ["smoke-high", "used twice"]),
        (text(type='"stairs"'), ["type", "'stairs'", "threshold, ladder"]),
        (text(type=None), ["type missing", "choose one of"]),
        (text(raise_att="5"), ["raise_att = 5", "not a key", "raise_at", "off_delay_s"]),
        (text(raise_at=None), ["raise_at missing", "finite number"]),
        (text(raise_at='"station.worst"'), ["'station.worst'", "station.warning"]),
        (text(raise_at="nan"), ["raise_at = nan", "finite"]),
        (text(raise_at="true"), ["raise_at = True"]),
        (text(clear_at="71"), ["clear_at = 71", "raise_at = 70"]),
        (text(clear_at="60", direction='"below"'), ["clear_at = 60", "at or over"]),
        (text(deadband="5"), ["clear_at", "deadband"]),
        (text(raise_at='"station.warning"'), ["clear_at", "deadband in metres"]),
        (text(clear_at=None, deadband="-1"), ["deadband = -1", "at least 0"]),
        (text(on_delay_s="60000000"), ["on_delay_s", "604800"]),
        (text(off_delay_s="-1"), ["off_delay_s = -1"]),
        (text(direction='"up"'), ["direction", "'up'", "above, below"]),
        (text(level='"purple"'), ["level", "'purple'", "blue, yellow, orange, red"]),
        (text(**{"class": '"D"'}), ["class", "'D'", "A, B, C"]),
        (text(category='"Fire Smoke"'), ["category", "'Fire Smoke'"]),
        (text(name='" "'), ["name", "text"]),
        (text(kind="3"), ["kind = 3"]),
    ],
)
def test_a_mistake_is_named_in_one_line(content: str, names: list[str]) -> None:
    with pytest.raises(RuleError) as caught:
        to_rows(content, "own/fire.toml")
    message = str(caught.value)
    assert message.startswith("own/fire.toml: ")
    assert "\n" not in message.replace("\\n", "")
    for name in names:
        assert name in message


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"labels": "[]"}, ["labels", "at least one"]),
        ({"labels": '"fire"'}, ["labels = 'fire'", "list"]),
        ({"min_score": "60"}, ["min_score = 60", "0 to 1"]),
        ({"clear_after_s": "0"}, ["clear_after_s = 0", "1 to 604800"]),
        ({"zones": "[1]"}, ["zones = [1]"]),
        ({"raise_at": "3"}, ["raise_at = 3", "labels"]),
    ],
)
def test_a_mistake_in_a_detection_rule(changes: dict[str, str], names: list[str]) -> None:
    absent = dict.fromkeys(("metric", "raise_at", "clear_at"))
    keys: dict[str, str | None] = {**absent, "type": '"detection"', "labels": '["fire"]'}
    with pytest.raises(RuleError) as caught:
        parse(text(**(keys | changes)), "own.toml")
    for name in names:
        assert name in str(caught.value)


def test_a_factor_under_one_would_call_everybody_silent() -> None:
    absent: dict[str, str | None] = dict.fromkeys(("kind", "metric", "raise_at", "clear_at"))
    with pytest.raises(RuleError, match=r"factor = 0\.5: write a number from 1 to 1000"):
        parse(text(**absent, type='"silence"', factor="0.5"), "own.toml")


def test_a_rule_on_an_unknown_metric_stops_the_start() -> None:
    with pytest.raises(RuleError, match=r"rule smoke-high: metric = 'smoke'.*kinds\.toml"):
        Engine(parse(text(), "own.toml"), {"level": 1})


def test_a_row_that_nobody_wrote_names_the_database() -> None:
    with pytest.raises(RuleError, match=r"^database: rule smoke-high: type missing"):
        from_row("smoke-high", 2, {})
