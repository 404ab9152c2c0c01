"""The process in which the centre's back-tests run, so that numpy's long steps never hold up a screen.

One JSON object comes in on standard input (``Order``); lines of JSON go out: ``{"done": …, "expected": …}`` now and
then, at last ``{"report": …}`` or ``{"error": …}``. When nobody reads any more, it ends.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from city.errors import CityError
from command_centre import backtest_report, rule_backtest
from command_centre.backtest_report import MarkedEvent
from command_centre.rule_backtest import Limits, Stored
from rules.definitions import from_row
from rules.rule import Rule

NICER = 10  # ingest, triage and screens come first
TELL_EVERY_S = 0.25

RuleRow = tuple[str, int, dict[str, Any]]  # id, version, definition


class Order(msgspec.Struct, kw_only=True):
    """What to replay. Instants are microseconds since 1970 UTC; ``active`` None = no comparison."""

    url: str
    rules: list[RuleRow]
    active: list[RuleRow] | None
    from_us: int
    to_us: int
    devices: list[str] | None
    marks: list[MarkedEvent] | None
    before_us: int
    late_after_us: int
    as_observed: bool
    listened_always: bool
    tick_s: float | None
    most_rows: int
    most_seconds: float


def main() -> int:
    """Exit code 0 when an answer was given, also when it is an error that a person can mend."""
    os.nice(NICER)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        _say({"report": run(order, _Teller())})
    except CityError as error:
        _say({"error": str(error)})
    return 0


def run(order: Order, progress: rule_backtest.Progress) -> dict[str, object]:
    """The report. Raises CityError."""
    rules = _rules(order.rules)
    sets = [rules] if order.active is None else [rules, _rules(order.active)]
    source = Stored(
        order.url,
        devices=order.devices,
        as_observed=order.as_observed,
        listened_always=order.listened_always,
    )
    result = rule_backtest.run(
        source,
        sets,
        rule_backtest.span_of([rule for each in sets for rule in each], order.from_us, order.to_us),
        tick_s=order.tick_s,
        limits=Limits(rows=order.most_rows, seconds=order.most_seconds),
        progress=progress,
    )
    return backtest_report.report(
        result,
        rules,
        marked=order.marks,
        before_us=order.before_us,
        late_after_us=order.late_after_us,
    )


def _rules(rows: Sequence[RuleRow]) -> list[Rule]:
    return [from_row(rule_id, version, definition) for rule_id, version, definition in rows]


class _Teller:
    """Says how far it is, a few times a second."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: int, expected: int) -> None:
        now = time.monotonic()
        if now - self._said >= TELL_EVERY_S:
            self._said = now
            _say({"done": done, "expected": expected})


def _say(told: Mapping[str, object]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody waits for it any more
        sys.exit(1)
