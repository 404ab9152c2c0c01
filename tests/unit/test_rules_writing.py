"""Definitions to a rule file and back: the same definitions, the same bytes, whatever stands in them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import city
from rules.definitions import to_rows
from rules.writing import rule_to_toml, to_toml

BUILT_IN = sorted((Path(city.__file__).parent / "defaults" / "rules").glob("*.toml"))

# What JSON can hold, without null: TOML has none. Numbers as a database's jsonb gives them back.
texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), texts
)
values: Any = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
definitions = st.dictionaries(texts.filter(lambda key: key not in ("", "id")), values, max_size=8)
ids = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", fullmatch=True)
sets = st.dictionaries(ids, definitions, max_size=5)


@given(sets)
def test_what_is_written_reads_back_as_it_was(rules: dict[str, dict[str, object]]) -> None:
    tables = tomllib.loads(to_toml(rules.items())).get("rule", [])
    assert {table.pop("id"): table for table in tables} == rules


@given(sets, st.randoms())
def test_the_order_in_which_rules_and_keys_come_changes_no_byte(
    rules: dict[str, dict[str, object]], random: Any
) -> None:
    shuffled = [
        (rule_id, dict(random.sample(sorted(keys.items()), len(keys)))) for rule_id, keys in rules.items()
    ]
    random.shuffle(shuffled)
    assert to_toml(shuffled) == to_toml(rules.items())


@given(sets)
def test_json_between_changes_no_byte(rules: dict[str, dict[str, object]]) -> None:
    stored = json.loads(json.dumps(rules))
    assert to_toml(stored.items()) == to_toml(rules.items())


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.name)
def test_the_built_in_rules_survive_the_round_trip(path: Path) -> None:
    rows = to_rows(path.read_text("utf-8"), path.name)
    text = to_toml(rows)
    assert sorted(to_rows(text, "again")) == sorted(rows)
    assert to_toml(to_rows(text, "again")) == text


def test_a_rule_reads_from_what_it_is_to_what_follows() -> None:
    text = rule_to_toml(
        "river",
        {
            "level": "red", "raise_at": 3, "kind": "water", "type": "ladder", "category": "flood.level", "none": None,
            "name": '"急"\n', "steps": [{"level": "blue", "at": 1.5}, {"level": "red", "at": 2}], "a.b": [],
        },
    )  # fmt: skip
    assert text == (
        '[[rule]]\nid = "river"\ntype = "ladder"\nname = "\\"急\\"\\n"\nkind = "water"\nraise_at = 3\n"a.b" = []\n'
        'steps = [\n    { at = 1.5, level = "blue" },\n    { at = 2, level = "red" },\n]\n'
        'category = "flood.level"\nlevel = "red"\n'
    )


def test_what_no_file_can_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="None"):
        rule_to_toml("r", {"list": [None]})
