"""``$filter`` of SensorThings 1.1 (18-088, clause 9.3.3.5) read into a tree; nothing of it ever becomes SQL text here.

A recursive descent over tokens: or, and, not, comparison, sum, product, operand. Names are looked up in the model and
kinds are checked, so that whoever writes SQL from the tree meets only columns and values that he knows.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from city.sensorthings.model import ENTITIES, Entity, Kind, Property, SensorThingsError

LONGEST = 4_000  # characters
DEEPEST = 20  # parentheses and calls within each other
MOST_TOKENS = 600

Comparison = Literal["eq", "ne", "gt", "ge", "lt", "le"]
_COMPARISONS = ("eq", "ne", "gt", "ge", "lt", "le")
_NUMBERS = ("integer", "number")


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A literal; ``kind`` is integer, number, text, time, boolean or area (a ring of longitude and latitude)."""

    value: object
    kind: Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """A property, reached through none or some navigations; ``owner`` is the entity set that has it."""

    through: tuple[str, ...]
    name: str
    owner: str
    meant: Property

    @property
    def kind(self) -> Kind:
        """Of its values."""
        return self.meant.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A function or an arithmetic operator of the table below."""

    name: str
    arguments: "tuple[Operand, ...]"
    kind: Kind


Operand = Value | Path | Call


@dataclass(frozen=True, kw_only=True, slots=True)
class Compare:
    """Two operands of comparable kinds."""

    operator: Comparison
    left: Operand
    right: Operand


@dataclass(frozen=True, kw_only=True, slots=True)
class Every:
    """All of them (``and``), or with ``any_of`` at least one (``or``)."""

    parts: "tuple[Condition, ...]"
    any_of: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Negated:
    """``not``."""

    part: "Condition"


Condition = Compare | Every | Negated | Call  # a Call whose kind is boolean

# Name: kinds of the arguments (number takes integer too), kind of what comes out.
FUNCTIONS: Mapping[str, tuple[tuple[tuple[Kind, ...], ...], Kind]] = {
    "substringof": ((("text", "text"),), "boolean"),
    "startswith": ((("text", "text"),), "boolean"),
    "endswith": ((("text", "text"),), "boolean"),
    "length": ((("text",),), "integer"),
    "indexof": ((("text", "text"),), "integer"),
    "substring": ((("text", "integer"), ("text", "integer", "integer")), "text"),
    "tolower": ((("text",),), "text"),
    "toupper": ((("text",),), "text"),
    "trim": ((("text",),), "text"),
    "concat": ((("text", "text"),), "text"),
    "year": ((("time",),), "integer"),
    "month": ((("time",),), "integer"),
    "day": ((("time",),), "integer"),
    "hour": ((("time",),), "integer"),
    "minute": ((("time",),), "integer"),
    "second": ((("time",),), "integer"),
    "now": (((),), "time"),
    "round": ((("number",),), "number"),
    "floor": ((("number",),), "number"),
    "ceiling": ((("number",),), "number"),
    "geo.intersects": ((("place", "area"),), "boolean"),
    "st_within": ((("place", "area"),), "boolean"),
    "st_intersects": ((("place", "area"),), "boolean"),
}
_KNOWN_ELSEWHERE = frozenset(
    (
        "fractionalseconds",
        "date",
        "time",
        "totaloffsetminutes",
        "mindatetime",
        "maxdatetime",
        "geo.distance",
        "geo.length",
        "st_equals",
        "st_disjoint",
        "st_touches",
        "st_overlaps",
        "st_crosses",
        "st_contains",
        "st_relate",
        "mod",
    )
)

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
      | (?P<geography>geography'[^']{0,3000}')
      | (?P<duration>duration'[^']{0,100}')
      | (?P<time>\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?)?)
      | (?P<number>-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,4})?)
      | (?P<text>'(?:[^']|'')*')
      | (?P<word>@?[A-Za-z_][A-Za-z0-9_.@]{0,99})
      | (?P<mark>[(),/])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    sort: str
    text: str
    at: int


def parse(text: str, entity: Entity) -> Condition:
    """The condition that ``text`` says of ``entity``; raises SensorThingsError (400, or 501 for what is not spoken)."""
    if len(text) > LONGEST:
        raise _wrong(text[:40] + "…", f"is longer than {LONGEST} characters", f"超过 {LONGEST} 个字符")
    reader = _Reader(_tokens(text), entity, text)
    found = reader.condition(0)
    reader.end()
    return found


def _wrong(value: object, remedy: str, remedy_zh: str, status: int = 400) -> SensorThingsError:
    return SensorThingsError(status, "$filter", value, remedy, remedy_zh)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(
                text[at : at + 40],
                f"cannot be read from character {at + 1}; quote texts with ' and write + as %2B",
                f"从第 {at + 1} 个字符起无法识别；文本用单引号，加号写作 %2B",
            )
        sort = match.lastgroup or ""
        if sort != "space":
            found.append(_Token(sort, match.group(), at))
        if len(found) > MOST_TOKENS:
            raise _wrong(text[:40] + "…", f"has more than {MOST_TOKENS} words", f"超过 {MOST_TOKENS} 个词")
        at = match.end()
    return found


class _Reader:
    """A place in the tokens; each method reads one thing and moves on."""

    def __init__(self, tokens: list[_Token], entity: Entity, text: str) -> None:
        self._tokens = tokens
        self._entity = entity
        self._text = text
        self._at = 0

    def end(self) -> None:
        """Raise unless everything was read."""
        if self._at < len(self._tokens):
            raise self._unexpected("an end, and, or or")

    def condition(self, depth: int) -> Condition:
        """``or`` of ``and`` of conditions."""
        if depth > DEEPEST:
            raise _wrong(self._text[:40] + "…", f"is nested deeper than {DEEPEST}", f"嵌套超过 {DEEPEST} 层")
        parts = [self._and(depth)]
        while self._word("or"):
            parts.append(self._and(depth))
        return parts[0] if len(parts) == 1 else Every(parts=tuple(parts), any_of=True)

    def _and(self, depth: int) -> Condition:
        parts = [self._not(depth)]
        while self._word("and"):
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else Every(parts=tuple(parts), any_of=False)

    def _not(self, depth: int) -> Condition:
        negated = False
        while self._word("not"):
            negated = not negated
        part = self._relation(depth)
        return Negated(part=part) if negated else part

    def _relation(self, depth: int) -> Condition:
        """A comparison, a true function, or a condition in parentheses (which may also begin an operand)."""
        if self._mark_ahead("("):
            before = self._at
            try:
                self._at += 1
                inner = self.condition(depth + 1)
                self._mark(")")
            except SensorThingsError:
                self._at = before
                if not self._operand_in_parentheses():
                    raise
            else:
                if not self._comparison_ahead():
                    return inner
                self._at = before
        left = self._sum(depth)
        if not self._comparison_ahead():
            if isinstance(left, Call) and left.kind == "boolean":
                return left
            raise self._unexpected("eq, ne, gt, ge, lt or le")
        operator: Comparison = self._next().text  # type: ignore[assignment]  # one of the six, as was looked at
        right = self._sum(depth)
        self._comparable(operator, left, right)
        return Compare(operator=operator, left=left, right=right)

    def _operand_in_parentheses(self) -> bool:
        """Whether the matching parenthesis is followed by what only an operand is followed by."""
        open_ones = 0
        for place in range(self._at, len(self._tokens)):
            token = self._tokens[place]
            open_ones += (token.text == "(") - (token.text == ")") if token.sort == "mark" else 0
            if open_ones == 0:
                after = self._tokens[place + 1] if place + 1 < len(self._tokens) else None
                return after is not None and after.text in (*_COMPARISONS, "add", "sub", "mul", "div")
        return False

    def _sum(self, depth: int) -> Operand:
        left = self._product(depth)
        while (name := self._one_of("add", "sub")) is not None:
            left = self._arithmetic(name, left, self._product(depth))
        return left

    def _product(self, depth: int) -> Operand:
        left = self._operand(depth)
        while (name := self._one_of("mul", "div", "mod")) is not None:
            left = self._arithmetic(name, left, self._operand(depth))
        return left

    def _arithmetic(self, name: str, left: Operand, right: Operand) -> Call:
        if name == "mod":
            raise _wrong("mod", "is not spoken here", "本系统不支持", 501)
        for side in (left, right):
            if side.kind not in _NUMBERS:
                raise _wrong(name, f"reckons with numbers, not with {side.kind}", "只能用于数值")
        return Call(name=name, arguments=(left, right), kind="number")

    def _operand(self, depth: int) -> Operand:
        if depth > DEEPEST:
            raise _wrong(self._text[:40] + "…", f"is nested deeper than {DEEPEST}", f"嵌套超过 {DEEPEST} 层")
        if self._mark_ahead("("):
            self._at += 1
            inner = self._sum(depth + 1)
            self._mark(")")
            return inner
        token = self._next()
        if token.sort == "word":
            if self._mark_ahead("("):
                return self._call(token.text, depth)
            if token.text in ("true", "false"):
                return Value(value=token.text == "true", kind="boolean")
            if token.text == "null":
                raise _wrong("null", "is not compared with here", "不支持与 null 比较", 501)
            return self._path(token.text)
        return _literal(token)

    def _call(self, name: str, depth: int) -> Call:
        if name not in FUNCTIONS:
            if name in _KNOWN_ELSEWHERE:
                raise _wrong(name, "is a function that is not spoken here", "本系统不支持该函数", 501)
            raise _wrong(name, f"is no function; known are {', '.join(FUNCTIONS)}", "没有这个函数")
        self._mark("(")
        arguments: list[Operand] = []
        while not self._mark_ahead(")"):
            if arguments:
                self._mark(",")
            arguments.append(self._sum(depth + 1))
        self._mark(")")
        forms, kind = FUNCTIONS[name]
        if not any(_fits(arguments, form) for form in forms):
            wanted = " or ".join(f"({', '.join(form)})" for form in forms)
            given = ", ".join(one.kind for one in arguments)
            raise _wrong(name, f"takes {wanted}, not ({given})", "参数个数或类型不符")
        return Call(name=name, arguments=tuple(arguments), kind=kind)

    def _path(self, first: str) -> Path:
        steps = [first]
        while self._mark_ahead("/"):
            self._at += 1
            steps.append(self._next().text)
        return resolve(self._entity, steps, "$filter")

    def _comparable(self, operator: str, left: Operand, right: Operand) -> None:
        numbers = left.kind in _NUMBERS and right.kind in _NUMBERS
        if not numbers and (left.kind != right.kind or left.kind in ("place", "area", "json")):
            raise _wrong(
                f"{_shown(left)} {operator} {_shown(right)}",
                f"compares {left.kind} with {right.kind}; quote texts and nothing else",
                "两边类型不同，无法比较；只有文本加引号",
            )

    # ── tokens ───────────────────────────────────────────────────────────────────────────────────────

    def _next(self) -> _Token:
        if self._at >= len(self._tokens):
            raise self._unexpected("more")
        self._at += 1
        return self._tokens[self._at - 1]

    def _word(self, word: str) -> bool:
        return self._one_of(word) is not None

    def _one_of(self, *words: str) -> str | None:
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.sort == "word" and token.text in words:
                self._at += 1
                return token.text
        return None

    def _comparison_ahead(self) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at].text in _COMPARISONS

    def _mark_ahead(self, mark: str) -> bool:
        if self._at >= len(self._tokens):
            return False
        token = self._tokens[self._at]
        return token.sort == "mark" and token.text == mark

    def _mark(self, mark: str) -> None:
        if not self._mark_ahead(mark):
            raise self._unexpected(mark)
        self._at += 1

    def _unexpected(self, wanted: str) -> SensorThingsError:
        if self._at >= len(self._tokens):
            return _wrong(self._text[-40:] or "(empty)", f"ends where {wanted} was expected", "表达式不完整")
        token = self._tokens[self._at]
        return _wrong(
            token.text, f"stands at character {token.at + 1} where {wanted} was expected", "位置不对"
        )


def resolve(entity: Entity, steps: list[str], option: str) -> Path:
    """A path such as ``Datastream/ObservedProperty/name``; raises SensorThingsError naming ``option``."""
    through: list[str] = []
    here = entity
    while len(steps) > 1 and steps[0] in here.navigations:
        through.append(steps[0])
        here = ENTITIES[here.navigations[steps[0]].target]
        steps = steps[1:]
    if len(through) > 4:
        raise SensorThingsError(400, option, "/".join(through), "leads through too many entities", "路径过长")
    name = "/".join(steps)
    name = "id" if name == "@iot.id" else name
    found = here.find(name)
    if found is None:
        known = ", ".join([*here.properties, *here.parts, *here.navigations])
        raise SensorThingsError(
            400, option, name, f"is not of {here.plural}; known are {known}", "没有该属性"
        )
    return Path(through=tuple(through), name=name, owner=here.plural, meant=found)


def _fits(arguments: list[Operand], form: tuple[Kind, ...]) -> bool:
    return len(arguments) == len(form) and all(
        given.kind == wanted or (wanted == "number" and given.kind == "integer")
        for given, wanted in zip(arguments, form, strict=True)
    )


def _shown(operand: Operand) -> str:
    if isinstance(operand, Path):
        return "/".join([*operand.through, operand.name])
    return f"{operand.name}(…)" if isinstance(operand, Call) else str(operand.value)[:40]


def _literal(token: _Token) -> Value:
    if token.sort == "text":
        text = token.text[1:-1].replace("''", "'")
        if any(ord(char) < 32 for char in text):
            raise _wrong(repr(text)[:40], "holds a control character", "含有控制字符")
        return Value(value=text, kind="text")
    if token.sort == "number":
        return _number(token.text)
    if token.sort == "time":
        return Value(value=moment(token.text, "$filter"), kind="time")
    if token.sort == "geography":
        return Value(value=_ring(token.text[len("geography'") : -1]), kind="area")
    if token.sort == "duration":
        raise _wrong(token.text, "durations are not spoken here", "不支持时长", 501)
    raise _wrong(token.text, f"stands at character {token.at + 1} where a value was expected", "此处应为值")


def _number(text: str) -> Value:
    if "." not in text and "e" not in text.lower():
        if abs(int(text)) >= 1 << 63:
            raise _wrong(text, "is too large", "数值过大")
        return Value(value=int(text), kind="integer")
    number = float(text)
    if not math.isfinite(number):
        raise _wrong(text, "is too large", "数值过大")
    return Value(value=number, kind="number")


def moment(text: str, option: str) -> datetime:
    """An instant of ISO 8601; without an offset it is UTC. Raises SensorThingsError."""
    whole, dot, fraction = text.partition(".")
    if dot:  # nanoseconds are cut to microseconds
        digits = re.match(r"\d+", fraction)
        kept = digits.group() if digits else ""
        text = f"{whole}.{kept[:6]}{fraction[len(kept) :]}"
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SensorThingsError(
            400, option, text, "is no time; write 2026-05-01T00:00:00Z", "时间格式应为 2026-05-01T00:00:00Z"
        ) from error


def _ring(text: str) -> tuple[tuple[float, float], ...]:
    """Longitude and latitude of ``POLYGON ((x y, …))``, one ring of at most 200 corners."""
    match = re.fullmatch(r"\s*POLYGON\s*\(\(([-+0-9.eE, ]{1,3000})\)\)\s*", text, re.IGNORECASE)
    if match is None:
        raise _wrong(
            text[:60], "only POLYGON ((lon lat, …)) of one ring is spoken here", "只支持单环 POLYGON", 501
        )
    try:
        pairs = [tuple(float(part) for part in corner.split()) for corner in match.group(1).split(",")]
        ring = tuple((longitude, latitude) for longitude, latitude in pairs)
    except ValueError as error:
        raise _wrong(text[:60], "has a corner that is not two numbers", "坐标应为经度和纬度两个数") from error
    if not 3 <= len(ring) <= 200 or not all(math.isfinite(part) for corner in ring for part in corner):
        raise _wrong(text[:60], "needs 3 to 200 finite corners", "应有 3 至 200 个顶点")
    return ring
