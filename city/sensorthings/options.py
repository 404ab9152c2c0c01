"""Query options of SensorThings 1.1 (18-088, clause 9.3): read, bounded, and held against the model."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from city.sensorthings import filters
from city.sensorthings.model import ENTITIES, Entity, Property, SensorThingsError

MOST = 1_000  # entities of one list
USUAL = 100
FURTHEST = 100_000  # $skip; further on by @iot.nextLink, which costs nothing
DEEPEST = 3  # $expand within $expand
MOST_EXPANDS = 20

_ELSEWHERE = frozenset(("$apply", "$search", "$compute", "$format", "$levels"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One key of the order."""

    property: Property
    falling: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Expand:
    """Entities to put in the place of a navigation link."""

    navigation: str
    query: "Query"


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What is asked of one entity set. ``after``: values of ``order`` of the last row that was seen.

    ``order`` always ends with the entity's key, so that it is total and pages neither repeat nor skip a row.
    """

    order: tuple[Order, ...]
    top: int = USUAL
    skip: int = 0
    count: bool = False
    select: frozenset[str] | None = None
    expand: tuple[Expand, ...] = ()
    where: filters.Condition | None = None
    after: tuple[object, ...] | None = None
    data_array: bool = False
    written: tuple[tuple[str, str], ...] = ()  # the options as they came, for the next page's link


def parse(entity: Entity, given: Sequence[tuple[str, str]], *, depth: int = 0) -> Query:
    """The options of one request, or of one ``$expand`` in it; raises SensorThingsError."""
    said: dict[str, str] = {}
    for name, value in given:
        if name in said:
            raise SensorThingsError(400, name, value, "is given twice", "重复给出")
        if name in _ELSEWHERE:
            raise SensorThingsError(501, name, value, "is not spoken here", "本系统不支持该选项")
        nested_only = depth and name in ("$skiptoken", "$resultFormat")
        if name not in _READERS or nested_only:
            raise SensorThingsError(
                400, name, value, f"is no option; known are {', '.join(_READERS)}", "没有该查询选项"
            )
        said[name] = value
    order = _order(entity, said.get("$orderby", ""))
    expand = _expand(entity, said["$expand"], depth) if "$expand" in said else ()
    after = _after(order, said["$skiptoken"]) if "$skiptoken" in said else None
    data_array = said.get("$resultFormat") is not None
    if data_array and (said["$resultFormat"] != "dataArray" or entity.plural != "Observations"):
        raise SensorThingsError(
            501,
            "$resultFormat",
            said["$resultFormat"],
            "only dataArray of Observations",
            "只支持观测的 dataArray",
        )
    if data_array and expand:
        raise SensorThingsError(
            400, "$expand", said["$expand"], "has no place in a dataArray", "不能与 dataArray 同用"
        )
    return Query(
        order=order,
        top=min(_whole("$top", said.get("$top", str(USUAL)), None), MOST),
        skip=_whole("$skip", said.get("$skip", "0"), FURTHEST),
        count=_boolean(said.get("$count", "false")),
        select=_select(entity, said["$select"]) if "$select" in said else None,
        expand=expand,
        where=filters.parse(said["$filter"], entity) if "$filter" in said else None,
        after=after,
        data_array=data_array,
        written=tuple(given),
    )


_READERS = (
    "$top",
    "$skip",
    "$count",
    "$select",
    "$expand",
    "$orderby",
    "$filter",
    "$resultFormat",
    "$skiptoken",
)


def _whole(name: str, text: str, most: int | None) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise SensorThingsError(400, name, text, "must be a whole number from 0", "应为非负整数")
    number = int(text)
    if most is not None and number > most:
        raise SensorThingsError(
            400,
            name,
            text,
            f"goes to {most} at most; follow @iot.nextLink instead",
            "过大，请改用 @iot.nextLink",
        )
    return number


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise SensorThingsError(400, "$count", text, "must be true or false", "应为 true 或 false")
    return text == "true"


def _select(entity: Entity, text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",")]
    names = ["id" if name == "@iot.id" else name for name in names]
    for name in names:
        if name not in entity.properties and name not in entity.navigations:
            raise SensorThingsError(400, "$select", name, f"is not of {entity.plural}", "没有该属性")
    return frozenset(names)


def _order(entity: Entity, text: str) -> tuple[Order, ...]:
    orders: list[Order] = []
    for part in text.split(",") if text else ():
        words = part.split()
        if len(words) not in (1, 2) or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise SensorThingsError(
                400, "$orderby", part, "must be a property, then asc or desc", "格式应为 属性 asc/desc"
            )
        path = filters.resolve(entity, words[0].split("/"), "$orderby")
        if path.through:
            raise SensorThingsError(
                501, "$orderby", part, "another entity's property orders nothing here", "不支持按关联实体排序"
            )
        if path.kind in ("json", "place"):
            raise SensorThingsError(400, "$orderby", part, "has no order", "该属性无法排序")
        orders.append(Order(property=path.meant, falling=words[-1] == "desc"))
    if len(orders) > 5:
        raise SensorThingsError(400, "$orderby", text, "has more than 5 keys", "排序键不得超过 5 个")
    known = {order.property.column for order in orders}
    falling = bool(orders) and orders[-1].falling  # one direction lets one index serve the whole order
    orders += [Order(property=one, falling=falling) for one in entity.key if one.column not in known]
    return tuple(orders)


# ── $expand ──────────────────────────────────────────────────────────────────────────────────────────


def _expand(entity: Entity, text: str, depth: int) -> tuple[Expand, ...]:
    if depth >= DEEPEST:
        raise SensorThingsError(
            400, "$expand", text, f"is nested deeper than {DEEPEST}", f"嵌套超过 {DEEPEST} 层"
        )
    wanted: dict[str, list[tuple[str, str]]] = {}
    for item in _split(text, ","):
        path, opening, rest = item.partition("(")
        if opening and not rest.endswith(")"):
            raise SensorThingsError(400, "$expand", item, "lacks a ) at its end", "缺少右括号")
        first, slash, further = path.strip().partition("/")
        if first not in entity.navigations:
            known = ", ".join(entity.navigations)
            raise SensorThingsError(400, "$expand", first, f"leads nowhere; known are {known}", "没有该关联")
        options = [_option(one) for one in _split(rest[:-1], ";")] if opening else []
        if slash:
            options = [("$expand", further + (f"({rest}" if opening else ""))]
        _join(wanted.setdefault(first, []), options, item)
    if len(wanted) > MOST_EXPANDS:
        raise SensorThingsError(400, "$expand", text, "asks for too much", "展开过多")
    return tuple(
        Expand(
            navigation=name,
            query=parse(ENTITIES[entity.navigations[name].target], options, depth=depth + 1),
        )
        for name, options in wanted.items()
    )


def _join(known: list[tuple[str, str]], more: list[tuple[str, str]], item: str) -> None:
    """``Datastreams/Sensor,Datastreams/Thing`` is one expansion with two in it; other repetitions contradict."""
    names = dict(known)
    for name, value in more:
        if name == "$expand" and name in names:
            known[[one for one, _ in known].index(name)] = (name, f"{names[name]},{value}")
        elif name in names:
            raise SensorThingsError(400, "$expand", item, f"gives {name} twice", "重复给出")
        else:
            known.append((name, value))


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    if not equals:
        raise SensorThingsError(
            400, "$expand", text, "must be $option=value between ;", "格式应为 $选项=值，用分号隔开"
        )
    return name, value


def _split(text: str, mark: str) -> list[str]:
    """At ``mark`` outside parentheses and quotes; empty parts are refused."""
    parts, begin, depth, quoted = [], 0, 0, False
    for place, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif not quoted:
            depth += (char == "(") - (char == ")")
            if depth < 0 or depth > 10:
                break
            if char == mark and depth == 0:
                parts.append(text[begin:place])
                begin = place + 1
    parts.append(text[begin:])
    if depth or quoted or not all(part.strip() for part in parts):
        raise SensorThingsError(
            400, "$expand", text, "has unmatched parentheses or an empty part", "括号不配对或有空项"
        )
    return parts


# ── where a list goes on ─────────────────────────────────────────────────────────────────────────────


def token(values: Sequence[object]) -> str:
    """``$skiptoken`` of the order's values of the last row."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(values))).decode().rstrip("=")


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "integer": lambda value: isinstance(value, int) and abs(value) < 1 << 63,
    "number": lambda value: isinstance(value, int | float),
    "text": lambda value: isinstance(value, str),
    "time": lambda value: isinstance(value, str),
}


def _after(order: tuple[Order, ...], text: str) -> tuple[object, ...]:
    """The values that ``token`` wrote; raises SensorThingsError for a token of another list."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(raw, type=list[Any])
        if len(values) != len(order):
            raise ValueError("another order")
        return tuple(_typed(one.property, value) for one, value in zip(order, values, strict=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise SensorThingsError(
            400,
            "$skiptoken",
            text,
            "is not of this list; follow @iot.nextLink unchanged",
            "请原样使用 @iot.nextLink",
        ) from error


def _typed(kind: Property, value: object) -> object:
    if not _SHAPES[kind.kind](value):
        raise ValueError("another kind")
    if kind.kind == "time":
        read = datetime.fromisoformat(str(value))
        if read.tzinfo is None:
            raise ValueError("no offset")
        return read
    return value
