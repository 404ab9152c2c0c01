"""Definitions back to a rule file: what ``rules.definitions.to_rows`` reads gives the same definitions again.

The text depends on the definitions only, not on how they were written: rules by id, keys in one order, so that two
exports of the same rules are the same bytes and a diff of two shows what changed and nothing else.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

_FIRST: tuple[str, ...] = (
    "type",
    "name",
    "name_en",
    "family",
    "kind",
    "kinds",
    "metric",
    "metrics",
    "unit",
    "direction",
)
_FIRST += ("labels", "raise_at", "clear_at", "deadband", "on_delay_s", "off_delay_s")
_LAST = ("category", "class", "level", "scope", "schedule")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def to_toml(rows: Iterable[tuple[str, Mapping[str, object]]]) -> str:
    """A rule file of (id, definition). Definitions are JSON-able: what a database row or ``to_rows`` holds."""
    return "\n".join(rule_to_toml(rule_id, definition) for rule_id, definition in sorted(rows, key=_id))


def rule_to_toml(rule_id: str, definition: Mapping[str, object]) -> str:
    """One [[rule]] table."""
    lines = ["[[rule]]", f"id = {_value(rule_id)}"]
    lines += [f"{_key(key)} = {_value(definition[key])}" for key in _ordered(definition)]
    return "\n".join(lines) + "\n"


def _id(row: tuple[str, Mapping[str, object]]) -> str:
    return row[0]


def _ordered(definition: Mapping[str, object]) -> list[str]:
    """What it is and for whom, then what it measures by, then what follows from it."""
    given = [key for key in definition if definition[key] is not None]  # TOML has no null
    middle = sorted(key for key in given if key not in _FIRST and key not in _LAST)
    first = [key for key in _FIRST if key in given]
    return first + middle + [key for key in _LAST if key in given]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case Mapping():
            inner = [
                f"{_key(key)} = {_value(entry)}" for key, entry in sorted(value.items()) if entry is not None
            ]
            return "{ " + ", ".join(inner) + " }" if inner else "{}"
        case Sequence():
            return _list(value)
        case _:
            raise TypeError(f"{value!r} is no value of a definition")


def _list(values: Sequence[object]) -> str:
    """On one line; tables, such as the steps of a ladder, each on their own."""
    written = [_value(value) for value in values]
    if any(isinstance(value, Mapping) for value in values):
        return "[\n" + "".join(f"    {entry},\n" for entry in written) + "]"
    return "[" + ", ".join(written) + "]"


def _text(text: str) -> str:
    escaped = _ESCAPED.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), text)
    return f'"{escaped}"'
