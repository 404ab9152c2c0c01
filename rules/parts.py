"""A threshold as a part of another rule: a step of a ladder, a sign of wear.

Each part lives its own life (``rules.condition``); the rule it is part of folds what its parts did into one story.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from city.alarms import Cleared, Level, LevelChanged, Raised, Repeated, Transition
from rules.condition import Condition, Course
from rules.standing import ConditionChanges
from rules.threshold import ThresholdBook

Group = list[tuple[int, Transition]]  # each with the number of its part

# The order of what parts do at one instant; repeats follow theirs.
_ENDED, _ROSE, _ENDED_AGAIN = 0, 2, 4


class PartCourse(Course):
    """Answers everything in its order; late episodes are gathered when the parts are one story."""

    def finish(self) -> list[Transition]:
        self._say_repeats()
        return self.transitions


class PartBook(ThresholdBook):
    """All states of one part."""

    def standing(self, device_id: int) -> int:
        """Raised since (event time); 0 = this part does not stand."""
        state = self._states.get(device_id)
        return state.raised_us if state is not None else 0

    def after(self, device_id: int, changes: ConditionChanges | None) -> Condition | None:
        """The state once ``changes`` are accepted; None = at rest since ever."""
        known = self._states.get(device_id)
        return known if changes is None else changes.states.get(device_id, known)

    def _course(self, device_id: int, state: Condition) -> Course:
        limits = self._limits(device_id)
        return PartCourse(self.rule, self.metric_id, device_id, limits, replace(state), self._hours)


def by_device(of_parts: Sequence[Sequence[Transition]]) -> Mapping[int, list[list[Transition]]]:
    """What the parts did, each device's apart: a list for every part."""
    happened: dict[int, list[list[Transition]]] = defaultdict(lambda: [[] for _ in of_parts])
    for place, of_part in enumerate(of_parts):
        for transition in of_part:
            happened[transition.device_id][place].append(transition)
    return happened


def in_order(happened: Sequence[Sequence[Transition]]) -> list[tuple[int, Group]]:
    """What the parts of one device did, by instant; at one instant what ended, what rose, what ended again.

    Each group comes with its instant. Episodes that are over already are left out: see ``past``.
    """
    groups: dict[tuple[int, int], Group] = defaultdict(list)
    for place, of_part in enumerate(happened):
        last = (0, _ENDED)
        for transition in of_part:
            match transition:
                case Raised(cleared_us=None):
                    last = (transition.raised_us, _ROSE)
                case Cleared():
                    at_once = last == (transition.cleared_us, _ROSE)
                    last = (transition.cleared_us, _ENDED_AGAIN if at_once else _ENDED)
                case Repeated():
                    groups[last[0], last[1] + 1].append((place, transition))
                    continue
                case _:
                    continue
            groups[last].append((place, transition))
    return [(at_us, groups[at_us, rank]) for at_us, rank in sorted(groups)]


def past(happened: Sequence[Sequence[Transition]]) -> list[tuple[int, Raised]]:
    """Episodes that were over already, each with its part."""
    return [
        (place, transition)
        for place, of_part in enumerate(happened)
        for transition in of_part
        if isinstance(transition, Raised) and transition.cleared_us is not None
    ]


def told(story: Sequence[Transition], levels: Sequence[Level]) -> list[Transition]:
    """Repeats as one; a late episode that both begins and ends here as one record, which pages nobody.

    ``levels`` in rising order: the record has the highest it reached.
    """
    result: list[Transition] = []
    for transition in story:
        begins = [
            place for place, past in enumerate(result) if isinstance(past, Raised) and past.cleared_us is None
        ]
        if isinstance(transition, Repeated) and result and isinstance(result[-1], Repeated):
            result[-1] = replace(transition, count=result[-1].count + transition.count)
            continue
        if not isinstance(transition, Cleared) or not begins:
            result.append(transition)
            continue
        raised, *between = result[begins[-1] :]
        if isinstance(raised, Raised) and raised.late:
            result[begins[-1] :] = [_record(raised, between, transition, levels)]
        else:
            result.append(transition)
    return result


def _record(
    raised: Raised, between: Sequence[Transition], cleared: Cleared, levels: Sequence[Level]
) -> Raised:
    record = replace(raised, cleared_us=cleared.cleared_us)
    repeats = sum(past.count for past in between if isinstance(past, Repeated))
    for change in between:
        if isinstance(change, LevelChanged) and levels.index(change.level) > levels.index(record.level):
            record = replace(
                record, level=change.level, incident_class=change.incident_class, evidence=change.evidence
            )
    return replace(record, evidence={**record.evidence, "repeats": repeats}) if repeats else record
