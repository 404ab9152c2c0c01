"""The keys of a rule file, read one by one; whatever is wrong is one line with file, rule, key, value, remedy."""

import math
import re
from collections.abc import Mapping
from typing import Literal, cast, get_args

from city.alarms import IncidentClass, Level
from city.errors import CityError

Direction = Literal["above", "below"]
StationLevel = Literal["warning", "guaranteed", "highest"]

SECOND_US = 1_000_000
LONGEST_DELAY_S = 7 * 24 * 3600  # a longer one is a unit mistake (milliseconds), not a wish

_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_STATION_PREFIX = "station."


class RuleError(CityError):
    """A rule that cannot be used; the line names file, rule, key, value and remedy.

    ``key`` is dotted, such as "step.2.at"; empty when it is the file and not one key that cannot be read.
    """

    def __init__(self, line: str, *, key: str = "", remedy: str = "", remedy_zh: str = "") -> None:
        super().__init__(line)
        self.key = key
        self.remedy = remedy
        self.remedy_zh = remedy_zh


class Keys:
    """The keys of one rule, taken one by one; what nobody took at the end is unknown."""

    def __init__(
        self, source: str, rule_id: str, definition: Mapping[str, object], *, place: str = ""
    ) -> None:
        """``place`` is where this table stands in the rule, such as "step.2."."""
        self.rule_id = rule_id
        self._place = place
        self.source = source
        self._definition = definition
        self._taken: set[str] = set()

    def error(self, key: str, remedy: str, remedy_zh: str) -> RuleError:
        value = self._definition.get(key)
        shown = "missing" if key not in self._definition else f"= {value!r}"
        return RuleError(
            f"{self.source}: rule {self.rule_id}: {key} {shown}: {remedy}",
            key=f"{self._place}{key}",
            remedy=remedy,
            remedy_zh=remedy_zh,
        )

    def has(self, key: str) -> bool:
        return key in self._definition

    def refuse_the_rest(self) -> None:
        for key in self._definition:
            if key not in self._taken:
                known = ", ".join(sorted(self._taken))
                raise self.error(
                    key, f"is not a key of this rule; known are {known}", f"此类规则没有这一项，可用：{known}"
                )

    def _take(self, key: str) -> object:
        self._taken.add(key)
        return self._definition.get(key)

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "write a text in quotes", "请填写文字")
        return value

    def optional_text(self, key: str, default: str) -> str:
        self._taken.add(key)
        return self.text(key) if self.has(key) else default

    def code(self, key: str) -> str:
        value = self.text(key)
        if not _CODE.fullmatch(value):
            raise self.error(
                key,
                'write a code of small letters, digits, "_" and ".", such as "fire.smoke"',
                "请写编码：小写字母、数字、“_”和“.”，如 fire.smoke",
            )
        return value

    def texts(self, key: str, *, needed: bool = False) -> frozenset[str]:
        value = self._take(key)
        if value is None and not needed:
            return frozenset()
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.error(
                key, 'write a list of texts, such as ["fire", "smoke"]', '请写文字列表，如 ["fire", "smoke"]'
            )
        if needed and not value:
            raise self.error(key, "name at least one", "至少写一项")
        return frozenset(value)

    def tables(self, key: str) -> "list[Keys]":
        """The tables of an array such as [[rule.step]], each to be read, and finished, like a rule of its own."""
        value = self._take(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise self.error(
                key,
                f"write tables, each begun with [[rule.{key}]]",
                f"请分条书写，每条以 [[rule.{key}]] 开头",
            )
        return [
            Keys(self.source, f"{self.rule_id}, {key} {place}", item, place=f"{self._place}{key}.{place}.")
            for place, item in enumerate(value, start=1)
        ]

    def table(self, key: str) -> "Keys | None":
        """One table such as [rule.schedule]; None when it is not there."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.error(
                key, f"write a table, begun with [rule.{key}]", f"请写成以 [rule.{key}] 开头的一节"
            )
        return Keys(self.source, f"{self.rule_id}, {key}", value, place=f"{self._place}{key}.")

    def whole_number(self, key: str, default: int | None = None, *, least: int, most: int) -> int:
        number = self.number(key, default, least=least, most=most)
        if number != int(number):
            raise self.error(key, "write a whole number", "请填写整数")
        return int(number)

    def whole_numbers(self, key: str) -> tuple[int, ...]:
        numbers = self._numbers(
            key, "write a list of whole numbers, such as [3, 5]", "请写整数列表，如 [3, 5]"
        )
        if any(number != int(number) for number in numbers):
            raise self.error(key, "write whole numbers", "请填写整数")
        return tuple(int(number) for number in numbers)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Empty when it is not there."""
        self._taken.add(key)
        if not self.has(key):
            return ()
        return self._numbers(
            key, "write a list of numbers, such as [-990, -999]", "请写数字列表，如 [-990, -999]"
        )

    def _numbers(self, key: str, remedy: str, remedy_zh: str) -> tuple[float, ...]:
        value = self._take(key)
        numbers: list[float] = []
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool) or not isinstance(item, int | float) or not math.isfinite(item):
                raise self.error(key, remedy, remedy_zh)
            numbers.append(float(item))
        if not isinstance(value, list):
            raise self.error(key, remedy, remedy_zh)
        return tuple(numbers)

    def choice(self, key: str, known: tuple[str, ...], default: str | None = None) -> str:
        value = self._take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value not in known:
            raise self.error(key, f"choose one of {', '.join(known)}", f"请从中选择：{'、'.join(known)}")
        return value

    def number(
        self, key: str, default: float | None = None, *, least: float = -math.inf, most: float = math.inf
    ) -> float:
        value = self._take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, "write a finite number", "请填写数字")
        if not least <= value <= most:
            bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            bounds_zh = f"不小于 {least:g} " if most == math.inf else f" {least:g} 至 {most:g} 之间"
            raise self.error(key, f"write a number {bounds}", f"请填写{bounds_zh}的数字")
        return float(value)

    def delay_us(self, key: str, default_s: float, *, least: float = 0.0) -> int:
        return round(self.number(key, default_s, least=least, most=LONGEST_DELAY_S) * SECOND_US)

    def limit(self, key: str) -> float | StationLevel:
        value = self._definition.get(key)
        if not isinstance(value, str):
            return self.number(key)
        self._taken.add(key)
        station_level = value.removeprefix(_STATION_PREFIX)
        if not value.startswith(_STATION_PREFIX) or station_level not in get_args(StationLevel):
            names = ", ".join(f'"{_STATION_PREFIX}{name}"' for name in get_args(StationLevel))
            raise self.error(key, f"write a number or one of {names}", f"请填写数字，或 {names} 之一")
        return cast(StationLevel, station_level)

    def incident_class(self) -> IncidentClass | None:
        if not self.has("class"):
            self._taken.add("class")
            return None
        return cast(IncidentClass, self.choice("class", get_args(IncidentClass)))

    def level(self) -> Level:
        return cast(Level, self.choice("level", get_args(Level)))
