"""Claims to roles: the first rule that fits, and what cannot be read."""

import pytest

from command_centre import oidc_rules

RULES = oidc_rules.read("""
[[rule]]
claim = "groups"
value = "chiefs"
role = "supervisor"
[[rule]]
claim = "realm_access.roles"
value = "crew"
role = "handler"
unit = "U1"
scope = "S1"
[[rule]]
claim = "department"
value = "duty"
role = "dispatcher"
""")


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["staff", "chiefs"]}, "supervisor"),
        ({"groups": "chiefs", "department": "duty"}, "supervisor"),
        ({"realm_access": {"roles": ["crew"]}}, "handler"),
        ({"realm_access.roles": ["crew"]}, "handler"),
        ({"department": "duty"}, "dispatcher"),
        ({"groups": ["chief"]}, None),
        ({"groups": {"chiefs": True}}, None),
        ({"groups": [["chiefs"]]}, None),
        ({"realm_access": "crew"}, None),
        ({}, None),
    ],
)
def test_the_first_that_fits_decides(claims: dict[str, object], role: str | None) -> None:
    found = oidc_rules.decide(RULES, claims)
    assert (found.role if found else None) == role


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no .*rule"),
        ("[[rule]\n", "TOML"),
        ('[[rule]]\nclaim="g"\nvalue="v"\n', "lacks role"),
        ('[[rule]]\nclaim="g"\nvalue="v"\nrole="chief"\n', "role = chief"),
        ('[[rule]]\nclaim="g"\nvalue="v"\nrole="handler"\n', "unit"),
        ('[[rule]]\nclaim="g"\nvalue="v"\nrole="viewer"\narea="S1"\n', "unknown area"),
        ('[[rule]]\nclaim="g"\nvalue=1\nrole="viewer"\n', "text"),
    ],
)
def test_a_faulty_file_names_its_rule(text: str, why: str) -> None:
    with pytest.raises(oidc_rules.RulesError, match=why):
        oidc_rules.read(text)
