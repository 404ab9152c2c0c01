"""Moving people, cell by cell: what a report makes of a task's counts, and what is refused. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from city.errors import CityError
from city.flood import Counts, TaskKind

CATEGORIES: Mapping[TaskKind, str] = {"evacuate": "flood.evacuation", "inspect": "flood.inspection"}
TITLES: Mapping[TaskKind, tuple[str, str]] = {
    "evacuate": ("转移{n}人", "Move {n} people"),
    "inspect": ("防汛巡查", "Flood inspection"),
}
MOST_PEOPLE = 1_000_000  # in one cell: more is a slip of the keyboard
NOBODY: Mapping[str, object] = {
    "code": "", "name": "", "tasks": 0, "done": 0, "to_move": 0, "moved": 0, "absent": 0, "refused": 0, "remaining": 0,
}  # fmt: skip


class TaskError(CityError):
    """A report or an order that cannot be; ``field`` names what was wrong, in both languages."""

    def __init__(self, field: str, value: object, remedy: str, remedy_zh: str) -> None:
        super().__init__(f"{field} = {value}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy
        self.remedy_zh = remedy_zh


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a grid worker says; None = as before. Counts are sums so far, so a report sent twice counts once.

    ``to_move`` corrects how many there are. ``done`` ends an inspection.
    """

    moved: int | None = None
    absent: int | None = None
    refused: int | None = None
    to_move: int | None = None
    done: bool | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The counts after a report, and whether the task is done."""

    counts: Counts
    done: bool


def report(kind: TaskKind, before: Counts, was_done: bool, given: Report) -> Progress:
    """Raises TaskError: below 0; fewer moved than before, more than there are, or another total, without a reason."""
    for name in ("moved", "absent", "refused", "to_move"):
        value = getattr(given, name)
        if value is not None and not 0 <= value <= MOST_PEOPLE:
            raise TaskError(name, value, "is a number of people, 0 or more", "应为0或以上的人数")
    if kind == "inspect":
        return _inspected(before, was_done, given)
    if given.done is not None:
        raise TaskError(
            "done", given.done, "an evacuation is done when nobody remains", "无人待转移时自动完成"
        )
    counts = replace(
        before,
        moved=_or(given.moved, before.moved),
        absent=_or(given.absent, before.absent),
        to_move=_or(given.to_move, before.to_move),
    )
    # Whoever refused and went after all is no longer among those who remain.
    counts = replace(counts, refused=_or(given.refused, min(before.refused, counts.remaining)))
    if not given.reason.strip():
        _plausible(before, counts)
    return Progress(counts=counts, done=counts.remaining == 0)


def _inspected(before: Counts, was_done: bool, given: Report) -> Progress:
    if any(value is not None for value in (given.moved, given.absent, given.refused, given.to_move)):
        raise TaskError(
            "moved", given.moved, "an inspection moves nobody; send done", "巡查任务不计人数，请填 done"
        )
    return Progress(counts=before, done=was_done if given.done is None else given.done)


def _plausible(before: Counts, after: Counts) -> None:
    """What is possible but rare needs a reason, so that a slip of the finger does not lose people."""
    if after.moved < before.moved:
        raise _unlikely(
            "moved", after.moved, f"is less than the {before.moved} before", f"少于此前的{before.moved}人"
        )
    if after.to_move != before.to_move:
        raise _unlikely("to_move", after.to_move, f"was {before.to_move}", f"原为{before.to_move}人")
    if after.moved + after.absent > after.to_move:
        more, more_zh = (
            f"with {after.absent} absent is more than the",
            f"加上不在家{after.absent}人超过应转移的",
        )
        raise _unlikely(
            "moved", after.moved, f"{more} {after.to_move} to move", f"{more_zh}{after.to_move}人"
        )
    if after.refused > after.remaining:
        left = after.remaining
        raise _unlikely(
            "refused", after.refused, f"is more than the {left} that remain", f"多于尚未转移的{left}人"
        )


def _unlikely(field: str, value: int, what: str, what_zh: str) -> TaskError:
    return TaskError(field, value, f"{what}; say why in reason", f"{what_zh}，请说明理由")


def _or(given: int | None, before: int) -> int:
    return before if given is None else given


def totals(tasks: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """Sums by ``key`` (street or empty for the district), in its order; each with how many tasks and done."""
    sums: dict[str, dict[str, Any]] = {}
    for task in tasks:
        code = str(task.get(key) or "")
        into = sums.setdefault(code, {**NOBODY, "code": code, "name": task.get(f"{key}_name", "")})
        into["tasks"] += 1
        into["done"] += task["done_at"] is not None
        for name in ("to_move", "moved", "absent", "refused", "remaining"):
            into[name] += task[name]
    return [sums[code] for code in sorted(sums)]
