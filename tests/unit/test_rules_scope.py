"""Scope and precedence: of one family the most specific rule that matches is in force, and it says so."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.definitions import RuleError, parse
from rules.rule import Rule
from rules.scope import SPECIFICITY, Place, Scope, in_force, standings
from tests.unit.rules_feed import UNTIMED, Desk, Row, facts, threshold

PLACES = {"cell": "c1", "community": "m1", "street": "s1"}
DEVICE = Place(code="d1", kind="smoke", model="X", tags=frozenset({"school"}), places=PLACES)
MATCHING = {
    "kinds": "smoke",
    "models": "X",
    "tags": "school",
    "streets": "s1",
    "communities": "m1",
    "cells": "c1",
    "devices": "d1",
}


def scoped(rule_id: str, family: str, **scope: str) -> Rule:
    rule = threshold(rule_id)
    return replace(
        rule, family=family, scope=Scope(**{key: frozenset({code}) for key, code in scope.items()})
    )


@pytest.mark.parametrize("key", SPECIFICITY)
def test_each_key_matches_its_own_and_nothing_else(key: str) -> None:
    assert Scope(**{key: frozenset({MATCHING[key]})}).matches(DEVICE)
    assert not Scope(**{key: frozenset({"another"})}).matches(DEVICE)


def test_all_keys_of_a_scope_must_match() -> None:
    scope = Scope(kinds=frozenset({"smoke"}), streets=frozenset({"s2"}))
    assert not scope.matches(DEVICE)


@given(st.sets(st.sampled_from(SPECIFICITY), min_size=1), st.sets(st.sampled_from(SPECIFICITY), min_size=1))
def test_the_more_specific_of_a_family_is_in_force(one: set[str], other: set[str]) -> None:
    rules = [
        scoped("a", "f", **{key: MATCHING[key] for key in one}),
        scoped("b", "f", **{key: MATCHING[key] for key in other}),
    ]
    most = {key: SPECIFICITY.index(key) for key in one ^ other}
    expected = "a"
    if most:
        decisive = max(most, key=lambda key: most[key])
        expected = "a" if decisive in one else "b"
    assert in_force(rules, DEVICE) == [expected]
    beaten = [found for found in standings(rules, DEVICE) if found.beaten_by is not None]
    assert [found.beaten_by for found in beaten] == [expected]


def test_rules_of_different_families_are_all_in_force() -> None:
    rules = [scoped("a", "a", kinds="smoke"), scoped("b", "b", devices="d1"), scoped("c", "c", cells="c9")]
    assert sorted(in_force(rules, DEVICE)) == ["a", "b"]


def test_a_scope_says_itself_in_words() -> None:
    assert scoped("a", "a", kinds="smoke", communities="m1").scope.to_words() == "community m1, kind smoke"
    assert Scope().to_words() == "everything"


@UNTIMED
@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(0, 100)), min_size=1, max_size=25))
def test_a_scoped_limit_replaces_the_general_one_on_its_ground_only(values: list[tuple[int, int]]) -> None:
    general = replace(threshold("general", raise_at=70), family="smoke")
    kitchen = replace(
        threshold("kitchen", raise_at=90),
        family="smoke",
        scope=Scope(kinds=frozenset({"smoke"}), tags=frozenset({"kitchen"})),
    )
    devices = [facts(1), replace(facts(2), tags=frozenset({"kitchen"})), facts(3, "water")]
    desk = Desk([general, kitchen], devices)
    for t, (device, value) in enumerate(values):
        desk.read(Row(device, t, value))
    for device, rule_id, limit in ((1, "general", 70), (2, "kitchen", 90)):
        reached = any(value >= limit for of, value in values if of == device)
        assert bool(desk.alarms.of(rule_id, device)) == reached
    assert not desk.alarms.of("kitchen", 1)
    assert not desk.alarms.of("general", 2)
    assert not desk.alarms.of("general", 3)


def test_a_device_that_moves_ends_the_alarm_of_the_rule_it_left() -> None:
    there = replace(threshold("there"), scope=Scope(cells=frozenset({"c1"})))
    desk = Desk([there], [replace(facts(1), places=PLACES)])
    desk.read(Row(1, 0, 80))
    desk.engine.know([facts(1)])
    desk.tick(10)
    assert [row.cleared_us is None for row in desk.alarms.of("there", 1)] == [False]


RULE = """
[[rule]]
id = "kitchens"
type = "threshold"
family = "smoke-high"
name = "厨房"
name_en = "Kitchens"
kind = "smoke"
metric = "smoke"
raise_at = 85
category = "fire.smoke"
level = "red"
"""


def test_a_file_gives_scope_and_family() -> None:
    (rule,) = parse(RULE + '[rule.scope]\ntags = ["kitchen"]\nstreets = ["s1", "s2"]\n', "f")
    assert rule.family == "smoke-high"
    assert rule.scope == Scope(
        kinds=frozenset({"smoke"}), tags=frozenset({"kitchen"}), streets=frozenset({"s1", "s2"})
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[rule.scope]\ntagss = ["kitchen"]\n', "tagss"),
        ('[rule.scope]\ntags = "kitchen"\n', "tags"),
        ("scope = 3\n", "scope"),
    ],
)
def test_a_scope_that_cannot_be_is_named(text: str, named: str) -> None:
    with pytest.raises(RuleError, match=named):
        parse(RULE + text, "f")
