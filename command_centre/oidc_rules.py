"""Which claim of the identity provider gives which role, scope and unit. Pure.

A file of rules, the first that fits decides; who fits none is not let in::

    [[rule]]
    claim = "groups"          # dots go into objects: realm_access.roles
    value = "city-duty-desk"  # equal to the claim, or one of its list
    role = "dispatcher"
    scope = "440399001"       # an area's code; left out = the whole district
    unit = "U1"               # for a handler
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from city.errors import CityError
from city.settings import ROLES

_KEYS = frozenset({"claim", "value", "role", "scope", "unit"})


class RulesError(CityError):
    """A file of rules that cannot be used; names the rule and the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """``scope`` None = the whole district, ``unit`` None = for no unit; both are codes."""

    claim: str
    value: str
    role: str
    scope: str | None = None
    unit: str | None = None


def read(text: str) -> tuple[Rule, ...]:
    """The rules in their order; raises RulesError."""
    try:
        written = tomllib.loads(text).get("rule", [])
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"CITY_OIDC_RULES: is not TOML ({error})") from error
    if not isinstance(written, list) or not written:
        raise RulesError("CITY_OIDC_RULES: holds no [[rule]], so nobody could log in")
    return tuple(_rule(number, one) for number, one in enumerate(written, 1))


def _rule(number: int, one: object) -> Rule:
    if not isinstance(one, dict) or not all(isinstance(value, str) and value for value in one.values()):
        raise RulesError(f"CITY_OIDC_RULES, rule {number}: every key is a text that is not empty")
    unknown = set(one) - _KEYS
    missing = {"claim", "value", "role"} - set(one)
    if unknown or missing:
        wrong = ", ".join(sorted(unknown or missing))
        raise RulesError(f"CITY_OIDC_RULES, rule {number}: {'unknown' if unknown else 'lacks'} {wrong}")
    if one["role"] not in ROLES:
        raise RulesError(f"CITY_OIDC_RULES, rule {number}: role = {one['role']}: use {', '.join(ROLES)}")
    if one["role"] == "handler" and "unit" not in one:
        raise RulesError(f"CITY_OIDC_RULES, rule {number}: a handler acts for a unit: give its code")
    return Rule(**one)


def decide(rules: Sequence[Rule], claims: Mapping[str, Any]) -> Rule | None:
    """The first rule that fits what the provider says of this person."""
    return next((rule for rule in rules if _fits(rule, claims)), None)


def _fits(rule: Rule, claims: Mapping[str, Any]) -> bool:
    found: Any = claims.get(rule.claim)
    if found is None:
        found = claims
        for part in rule.claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    return any(isinstance(value, str) and value == rule.value for value in values)
