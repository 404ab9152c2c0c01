"""The rules of a back-test that stand in the database: a version by its number, and what is in force instead."""

from collections.abc import Collection
from typing import Any

from psycopg import Connection

from city.storage import rules as storage
from command_centre.rule_backtest import BacktestError

RuleRow = tuple[str, int, dict[str, Any]]  # id, version, definition


def version_row(connection: Connection[Any], named: str) -> RuleRow:
    """``named`` is an id, or an id, @ and a version; alone the version in force, else the newest is meant.

    Raises BacktestError.
    """
    rule_id, _, number = named.partition("@")
    if number and not number.isdecimal():
        raise BacktestError(f"rule = {named!r}: write an id such as smoke-high, or smoke-high@3")
    found = (
        storage.version(connection, rule_id, int(number)) if number else storage.current(connection, rule_id)
    )
    if found is None:
        raise BacktestError(f"rule = {named!r}: there is none of this id and version; see `city rules list`")
    return found.rule_id, found.version, found.definition


def active_rows(connection: Connection[Any], rule_ids: Collection[str]) -> list[RuleRow]:
    """What is in force under these ids; a new rule has nothing to be held against."""
    return [
        (found.rule_id, found.version, found.definition)
        for found in storage.active(connection)
        if found.rule_id in rule_ids
    ]
