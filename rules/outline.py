"""What can be written in a rule of each kind, found out by letting the kind's own reader read an outline.

There is no second list of keys beside the readers: an ``_Asked`` stands in for the file, answers every question with
something that lets the reader go on, and notes what was asked, with its bounds and what stands for a key left out.
Where a reader goes two ways ("give either above or below"), it is led along each.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from city.alarms import IncidentClass, Level
from rules.keys import LONGEST_DELAY_S, SECOND_US, Keys, RuleError, StationLevel
from rules.kinds import KINDS

Form = Literal["text", "code", "texts", "number", "whole", "numbers", "choice", "limit", "table", "tables"]
_DEEPEST = 3  # optional keys there at once: one of an either-or, a table, and one in that table


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key. ``path`` is dotted: ``scope.cells`` lies in [rule.scope], ``step.at`` in each of [[rule.step]].

    ``least`` and ``most`` are None where nothing bounds it, or where the bound hangs on other keys. ``unit`` is "s",
    "metric" for the unit of the metric it reads, or "" for none.
    """

    path: str
    form: Form
    needed: bool
    default: float | str | None = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""


def outline(kind: str) -> list[Key]:
    """Every key of a kind of rule, in the order in which its reader asks. Raises KeyError for an unknown kind."""
    found: dict[str, Key] = {}
    tried: set[frozenset[str]] = set()
    waiting = [frozenset[str]()]
    while waiting:
        way = waiting.pop(0)
        tried.add(way)
        turnings: list[str] = []
        for rows, stretch in ((1, 1.0), (2, 1.0), (3, 1.5)):
            asked = _Asked(way, rows, stretch)
            _led(kind, asked)
            for key in asked.found.values():
                _merge(found, key)
            turnings += asked.turnings
        further = (way | {turning} for turning in turnings) if len(way) < _DEEPEST else ()
        waiting += [one for one in dict.fromkeys(further) if one not in tried and one not in waiting]
    return list(found.values())


def _led(kind: str, asked: "_Asked") -> None:
    try:
        KINDS[kind].read(asked, 1)
    except RuleError:
        return  # a way that ends in a refusal has asked its questions all the same


def _merge(found: dict[str, Key], key: Key) -> None:
    known = found.get(key.path)
    if known is None:
        found[key.path] = key
        return
    found[key.path] = replace(
        known,
        needed=known.needed and key.needed,
        least=known.least if known.least == key.least else None,
        most=known.most if known.most == key.most else None,
        default=known.default if known.default == key.default else None,
    )


class _Asked(Keys):
    """Answers so that the reader goes on, and notes the question. ``way`` are the optional keys that are there."""

    def __init__(
        self,
        way: frozenset[str],
        rows: int,
        stretch: float,
        path: str = "",
        found: "dict[str, Key] | None" = None,
    ) -> None:
        super().__init__("outline", "outline", {})
        self._way = way
        self._rows = rows
        self._stretch = stretch  # other answers, so that a bound that hangs on them is seen to move
        self._path = path
        self._optional: set[str] = set()
        self.found: dict[str, Key] = {} if found is None else found
        self.turnings: list[str] = []

    def error(self, key: str, remedy: str, _remedy_zh: str) -> RuleError:
        return RuleError(f"outline: {key}: {remedy}")

    def has(self, key: str) -> bool:
        self._optional.add(key)
        self._turn(key)
        return f"{self._path}{key}" in self._way

    def refuse_the_rest(self) -> None:
        return

    def text(self, key: str) -> str:
        self._note(key, "text", needed=True)
        return key

    def optional_text(self, key: str, default: str) -> str:
        self._note(key, "text")
        return default

    def code(self, key: str) -> str:
        self._note(key, "code", needed=True)
        return key

    def texts(self, key: str, *, needed: bool = False) -> frozenset[str]:
        self._note(key, "texts", needed=needed)
        return frozenset({key}) if needed else frozenset()

    def tables(self, key: str) -> list[Keys]:
        self._note(key, "tables")
        return [self._child(key) for _ in range(self._rows)]

    def table(self, key: str) -> Keys | None:
        self._note(key, "table")
        self._turn(key)
        return self._child(key) if f"{self._path}{key}" in self._way else None

    def numbers(self, key: str) -> tuple[float, ...]:
        self._note(key, "numbers")
        return ()

    def whole_numbers(self, key: str) -> tuple[int, ...]:
        self._note(key, "numbers", needed=True)
        return (2, 3)

    def whole_number(self, key: str, default: int | None = None, *, least: int, most: int) -> int:
        self._note(key, "whole", needed=default is None, default=default, least=least, most=most)
        return math.ceil((least if default is None else default) * self._stretch)

    def choice(self, key: str, known: tuple[str, ...], default: str | None = None) -> str:
        self._note(key, "choice", needed=default is None, default=default, choices=known)
        return known[0] if default is None else default

    def number(
        self, key: str, default: float | None = None, *, least: float = -math.inf, most: float = math.inf
    ) -> float:
        unit = "s" if key.endswith("_s") else "metric" if key in _MEASURED else ""
        self._note(key, "number", needed=default is None, default=default, least=least, most=most, unit=unit)
        return max(1.0, least) * self._stretch if default is None else default * self._stretch

    def delay_us(self, key: str, default_s: float, *, least: float = 0.0) -> int:
        return round(self.number(key, default_s, least=least, most=LONGEST_DELAY_S) * SECOND_US)

    def limit(self, key: str) -> float | StationLevel:
        levels = tuple(f"station.{name}" for name in get_args(StationLevel))
        self._note(key, "limit", needed=True, choices=levels, unit="metric")
        return self._stretch

    def incident_class(self) -> IncidentClass | None:
        self._note("class", "choice", choices=get_args(IncidentClass))
        return "A"

    def level(self) -> Level:
        self._note("level", "choice", needed=True, choices=get_args(Level))
        return "blue"

    def _child(self, key: str) -> "_Asked":
        child = _Asked(self._way, self._rows, self._stretch, f"{self._path}{key}.", self.found)
        child.turnings = self.turnings
        return child

    def _turn(self, key: str) -> None:
        if f"{self._path}{key}" not in self.turnings:
            self.turnings.append(f"{self._path}{key}")

    def _note(
        self,
        key: str,
        form: Form,
        *,
        needed: bool = False,
        default: float | str | None = None,
        least: float = -math.inf,
        most: float = math.inf,
        choices: tuple[str, ...] = (),
        unit: str = "",
    ) -> None:
        _merge(
            self.found,
            Key(
                path=f"{self._path}{key}",
                form=form,
                needed=needed and key not in self._optional,
                default=None if isinstance(default, float) and not math.isfinite(default) else default,
                least=least if math.isfinite(least) else None,
                most=most if math.isfinite(most) else None,
                choices=choices,
                unit=unit,
            ),
        )


# What a reader does not say of a number: that it is in the unit of the metric.
_MEASURED = frozenset(
    {
        "raise_at",
        "clear_at",
        "deadband",
        "offset",
        "margin",
        "noise",
        "tolerance",
        "above",
        "below",
        "least",
        "most",
        "max_step",
    }
)
