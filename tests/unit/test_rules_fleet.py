"""A changed rule set on the devices that are known already: the same as asking the register again."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rules.definitions import from_row
from rules.fleet import DeviceFacts, Fleet
from rules.rule import Rule

DEVICES = [
    DeviceFacts(
        device_id=number,
        kind=("smoke", "water", "camera")[number % 3],
        code=f"d{number}",
        model=f"m{number % 2}",
        places={"cell": f"c{number % 4}"},
        expected_interval_s=60,
        in_service=True,
        warning_m=None,
        guaranteed_m=None,
        highest_m=None,
        known_from_us=1,
        last_heard_us=None,
    )
    for number in (1, 2, 3, 4, 5, 6, 7, 9, 12)
]
SCOPES: Sequence[dict[str, list[str]]] = ({}, {"cells": ["c1"]}, {"models": ["m1"]}, {"devices": ["d4"]})
rule_sets = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.tuples(
        st.sampled_from(["smoke", "water", "gas"]),
        st.sampled_from(SCOPES),
        st.sampled_from(["a", "b", "own"]),
    ),
    max_size=4,
)


def rules(chosen: dict[str, tuple[str, dict[str, list[str]], str]]) -> list[Rule]:
    return [
        from_row(
            rule_id,
            1,
            {
                "type": "threshold",
                "name": "x",
                "name_en": "x",
                "kind": kind,
                "metric": "smoke",
                "raise_at": 1,
                "category": "fire",
                "level": "red",
                "family": rule_id if family == "own" else family,
                **({"scope": scope} if scope else {}),
            },
        )
        for rule_id, (kind, scope, family) in chosen.items()
    ]


def known(wanted: Sequence[Rule]) -> Fleet:
    fleet = Fleet()
    fleet.follow(wanted)
    fleet.know(DEVICES)
    return fleet


@given(rule_sets, rule_sets, st.booleans())
def test_an_heir_knows_what_a_fleet_made_anew_knows(
    before: dict[str, tuple[str, dict[str, list[str]], str]],
    after: dict[str, tuple[str, dict[str, list[str]], str]],
    keep: bool,
) -> None:
    old, new = rules(before), rules({**before, **after} if keep else after)
    heir = known(old).following(new)
    if heir is None:
        return
    fresh = known(new)
    for rule in new:
        assert np.array_equal(heir.applies(rule.rule_id), fresh.applies(rule.rule_id)), rule.rule_id


def test_a_moved_limit_needs_no_register() -> None:
    scoped = rules({"a": ("smoke", {"cells": ["c1"]}, "own"), "b": ("smoke", {}, "own")})
    assert known(scoped).following(scoped) is not None
    assert known(scoped).following(rules({"a": ("smoke", {"cells": ["c2"]}, "own")})) is None
