"""The kinds of rule there are: how each is read from a file, and the book that keeps its states."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rules import detection, fusion, ladder, maintenance, projection, quality, rate, silence, stuck, threshold
from rules.books import Book, Surroundings
from rules.condition import ThresholdRule
from rules.keys import Keys
from rules.rule import Rule


@dataclass(frozen=True, slots=True)
class RuleKind:
    """``rule`` is the class that ``read`` answers and ``book`` takes."""

    rule: type[Rule]
    read: Callable[[Keys, int], Rule]
    book: Callable[[Any, Surroundings], Book]


KINDS = {
    "threshold": RuleKind(ThresholdRule, threshold.read, threshold.ThresholdBook),
    "ladder": RuleKind(ladder.LadderRule, ladder.read, ladder.LadderBook),
    "maintenance": RuleKind(maintenance.MaintenanceRule, maintenance.read, maintenance.MaintenanceBook),
    "fusion": RuleKind(fusion.FusionRule, fusion.read, fusion.FusionBook),
    "detection": RuleKind(detection.DetectionRule, detection.read, detection.DetectionBook),
    "rate": RuleKind(rate.RateRule, rate.read, rate.RateBook),
    "projection": RuleKind(projection.ProjectionRule, projection.read, projection.ProjectionBook),
    "stuck": RuleKind(stuck.StuckRule, stuck.read, stuck.StuckBook),
    "quality": RuleKind(quality.QualityRule, quality.read, quality.QualityBook),
    "silence": RuleKind(silence.SilenceRule, silence.read, silence.SilenceBook),
}


def book_of(rule: Rule, around: Surroundings) -> Book:
    """The book of a rule. Raises KeyError for a rule of no kind in ``KINDS``, which is a mistake of ours."""
    return {kind.rule: kind.book for kind in KINDS.values()}[type(rule)](rule, around)
