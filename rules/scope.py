"""Which devices a rule is for, and which of several rules of one family is the one for a device.

A scope is what a device must match, each key by one of its values, all keys together. Rules of one ``family``
say the same thing for different ground; for each device the most specific of them is in force and the others
are not. Most specific: device before cell, community, street, tag, model, kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Protocol

from rules.keys import Keys

_NOWHERE: Mapping[str, str] = MappingProxyType({})
# From the least to the most specific; a scope weighs as much as its keys together.
SPECIFICITY = ("kinds", "models", "tags", "streets", "communities", "cells", "devices")


class Subject(Protocol):
    """A device as far as scopes look at it."""

    @property
    def code(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def tags(self) -> frozenset[str]: ...
    @property
    def places(self) -> Mapping[str, str]:
        """Codes of the areas it stands in, by layer: cell, community, street."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Codes; an empty set asks nothing."""

    kinds: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    streets: frozenset[str] = frozenset()
    communities: frozenset[str] = frozenset()
    cells: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()

    def matches(self, subject: Subject) -> bool:
        places = subject.places
        return (
            (not self.kinds or subject.kind in self.kinds)
            and (not self.devices or subject.code in self.devices)
            and (not self.models or subject.model in self.models)
            and (not self.tags or not self.tags.isdisjoint(subject.tags))
            and (not self.cells or places.get("cell", "") in self.cells)
            and (not self.communities or places.get("community", "") in self.communities)
            and (not self.streets or places.get("street", "") in self.streets)
        )

    @property
    def weight(self) -> int:
        """How specific: a more specific key weighs more than all lesser ones together."""
        return sum(1 << place for place, name in enumerate(SPECIFICITY) if getattr(self, name))

    def only_kinds(self) -> bool:
        """Whether a device's kind is all this looks at."""
        return self.weight <= 1

    def to_words(self) -> str:
        """Such as "device wl-3" or "kind water, street north": its keys, most specific first."""
        parts = [
            f"{name.removesuffix('s').replace('communitie', 'community')} {' '.join(sorted(codes))}"
            for name in reversed(SPECIFICITY)
            if (codes := getattr(self, name))
        ]
        return ", ".join(parts) or "everything"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A subject for questions about one device: "which rule applies here, and why?"."""

    code: str
    kind: str
    model: str = ""
    tags: frozenset[str] = frozenset()
    places: Mapping[str, str] = field(default_factory=lambda: _NOWHERE)


class Scoped(Protocol):
    """A rule, as far as precedence looks at it."""

    @property
    def rule_id(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def scope(self) -> Scope: ...


def read_scope(keys: Keys, kinds: frozenset[str]) -> Scope:
    """The table [rule.scope] beside the rule's own kind or kinds."""
    table = keys.table("scope")
    if table is None:
        return Scope(kinds=kinds)
    names = [item.name for item in fields(Scope) if item.name != "kinds"]
    scope = Scope(kinds=kinds, **{name: table.texts(name) for name in names})
    table.refuse_the_rest()
    return scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A rule that matches a device. ``beaten_by``: id of the rule of its family in force instead, None = it is."""

    rule: Scoped
    beaten_by: str | None


def standings(rules: Sequence[Scoped], subject: Subject) -> list[Standing]:
    """Every rule that matches the device, those in force before those beaten by one.

    Two of equal weight in one family: the first id by alphabet; ``rules.checks`` refuses such a pair.
    """
    winners: dict[str, str] = {}
    found: list[Standing] = []
    for rule in sorted(rules, key=lambda rule: (-rule.scope.weight, rule.rule_id)):
        if rule.scope.matches(subject):
            winner = winners.setdefault(rule.family, rule.rule_id)
            found.append(Standing(rule=rule, beaten_by=None if winner == rule.rule_id else winner))
    return sorted(found, key=lambda standing: standing.beaten_by is not None)


def in_force(rules: Sequence[Scoped], subject: Subject) -> list[str]:
    """Ids of the rules in force for the device."""
    return [found.rule.rule_id for found in standings(rules, subject) if found.beaten_by is None]
