"""Rule files (TOML) to typed rules. Strict: an unknown key or an impossible value stops the start.

`docs/rules.md` describes every key with its unit. Delays are kept in microseconds, as instants are.
"""

import re
import tomllib
from collections.abc import Mapping

from rules.keys import Keys, RuleError
from rules.kinds import KINDS
from rules.rule import Rule

__all__ = ["Rule", "RuleError", "from_row", "parse", "to_rows"]

_RULE_ID = re.compile(r"[a-z][a-z0-9]*([.-][a-z0-9]+)*")


def parse(text: str, source: str) -> list[Rule]:
    """Typed rules of a file, all at version 1. ``source`` is named in errors. Raises RuleError."""
    return [_rule(rule_id, 1, definition, source) for rule_id, definition in _tables(text, source)]


def to_rows(text: str, source: str) -> list[tuple[str, dict[str, object]]]:
    """(id, definition) of a file for the database, checked; a definition is JSON-able. Raises RuleError."""
    rows = _tables(text, source)
    for rule_id, definition in rows:
        _rule(rule_id, 1, definition, source)
    return rows


def from_row(rule_id: str, version: int, definition: Mapping[str, object]) -> Rule:
    """The rule of a database row as ``to_rows`` made it. Raises RuleError."""
    return _rule(rule_id, version, definition, "database")


def _tables(text: str, source: str) -> list[tuple[str, dict[str, object]]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"{source}: not TOML: {error}; correct the line it names") from error
    for key in document:
        if key != "rule":
            raise RuleError(f"{source}: {key!r} is not known here; a rule file has only [[rule]] tables")
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RuleError(f"{source}: 'rule' is not a list of tables; begin each rule with [[rule]]")
    rows: dict[str, dict[str, object]] = {}
    for number, table in enumerate(tables, start=1):
        rule_id = table.pop("id", None)
        if not isinstance(rule_id, str) or not _RULE_ID.fullmatch(rule_id):
            raise RuleError(
                f"{source}: rule number {number}: id = {rule_id!r}: "
                'write small letters, digits, "-" and ".", such as "smoke-high"'
            )
        if rule_id in rows:
            raise RuleError(f"{source}: rule {rule_id}: id is used twice; every rule needs its own")
        rows[rule_id] = table
    return list(rows.items())


def _rule(rule_id: str, version: int, definition: Mapping[str, object], source: str) -> Rule:
    keys = Keys(source, rule_id, definition)
    kind = KINDS[keys.choice("type", tuple(KINDS))]
    rule = kind.read(keys, version)
    keys.refuse_the_rest()
    return rule
