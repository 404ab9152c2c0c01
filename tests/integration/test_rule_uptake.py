"""A running ingest takes up a changed rule without a restart, and forgets nothing of what stands."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from city.storage.database import connect
from command_centre import rule_changes
from tests.integration.running_ingest import Stand
from tests.integration.test_ingest import make_stand

__all__ = ["make_stand"]  # a fixture

SMOKE: dict[str, object] = {
    "type": "threshold", "name": "烟雾", "name_en": "Smoke", "kind": "smoke", "metric": "smoke", "raise_at": 70,
    "clear_at": 60, "category": "fire.smoke", "class": "A", "level": "red",
}  # fmt: skip
HEAT = SMOKE | {
    "kind": "temperature",
    "metric": "temperature",
    "raise_at": 50,
    "clear_at": 45,
    "on_delay_s": 30,
}


def put_in_force(stand: Stand, rule_id: str, **changes: object) -> float:
    """As a person does it; the monotonic time of the commit."""
    definition = {**(HEAT if rule_id == "heat" else SMOKE), **changes}
    now = datetime.now(UTC)
    who: dict[str, Any] = {"actor": "user:1", "reason": "test", "now": now}
    with connect(stand.database, application="test") as connection:
        current = connection.execute(
            "SELECT version FROM rules WHERE id = %s ORDER BY active DESC, version DESC", (rule_id,)
        ).fetchone()
        expected = int(str(current[0])) if current else None
        done = rule_changes.draft(connection, rule_id, definition, expected=expected, **who)
        assert done.version is not None
        rule_changes.put_in_force(
            connection, rule_id, done.version, action="activate", accept_warnings=True, **who
        )
    return time.monotonic()


def taken_up(stand: Stand, changes: int) -> None:
    """Wait until ingest has said so often that the rules changed."""
    deadline = time.monotonic() + 60
    while stand.process.log.read_text().count("rules changed") < changes:
        assert time.monotonic() < deadline, stand.ingest.log_tail()
        time.sleep(0.02)


class Chorus(threading.Thread):
    """Detectors that say 65 ten times a second until they are told to stop."""

    def __init__(self, stand: Stand, devices: int) -> None:
        super().__init__(daemon=True)
        self._stand, self._devices = stand, devices
        self._over = threading.Event()
        self.said = 0

    def run(self) -> None:
        while not self._over.wait(0.1):
            now = time.time_ns() // 1_000_000
            for device in range(self._devices):
                self._stand.publish(f"city/c1/smoke/s{device}", {"ts": now, "value": 65, "seq": self.said})
                self.said += 1

    def end(self) -> None:
        self._over.set()
        self.join(30)


@pytest.fixture
def stand(make_stand: Callable[..., Stand]) -> Stand:
    """In a process of its own, whose log says when it took a rule up."""
    return make_stand(apart=True)


@pytest.fixture
def chorus(stand: Stand) -> Iterator[Chorus]:
    made = Chorus(stand, 5)
    made.start()
    yield made
    made.end()


def test_a_changed_limit_is_taken_up_while_readings_come(stand: Stand, chorus: Chorus) -> None:
    put_in_force(stand, "heat", on_delay_s=0)
    taken_up(stand, 1)
    now = time.time_ns() // 1_000_000
    stand.publish("city/c1/temperature/t1", {"ts": now, "value": 55})
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'heat'", 1)
    assert stand.rows("SELECT count(*) FROM alarms WHERE rule_id = 'smoke-high'") == [(0,)]

    committed = put_in_force(stand, "smoke-high", raise_at=64, clear_at=50)
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'smoke-high' AND rule_version = 2", 5)
    print(f"taken up {time.monotonic() - committed:.2f} s after the commit")  # noqa: T201 - shown with -s

    stand.publish("city/c1/temperature/t1", {"ts": now + 1000, "value": 40})
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'heat' AND cleared_at IS NOT NULL", 1)
    assert stand.rows("SELECT count(*) FROM alarms WHERE rule_id = 'heat'") == [(1,)], "one episode, not two"

    put_in_force(stand, "smoke-high", raise_at=90, clear_at=80)
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'smoke-high' AND cleared_at IS NOT NULL", 5)
    chorus.end()
    stand.until(
        "SELECT count(*) FROM observations o JOIN metrics m ON m.id = o.metric_id AND m.code = 'smoke'",
        chorus.said,
    )
    assert stand.rows(
        "SELECT count(*), count(DISTINCT device_id), count(*) FILTER (WHERE cleared_at IS NULL) FROM alarms"
        " WHERE rule_id = 'smoke-high'"
    ) == [(5, 5, 0)]


def test_a_delay_that_runs_goes_on_running(stand: Stand) -> None:
    put_in_force(stand, "heat")
    taken_up(stand, 1)
    begun = time.time_ns() // 1_000_000 - 20_000
    stand.publish("city/c1/temperature/t1", {"ts": begun, "value": 55})
    stand.until("SELECT count(*) FROM rule_states WHERE rule_id = 'heat'", 1)
    put_in_force(stand, "smoke-high", raise_at=64, clear_at=50)
    taken_up(stand, 2)
    put_in_force(stand, "heat", name_en="Heat, renamed", on_delay_s=15)
    taken_up(stand, 3)
    # It ran before the change: 15 s after its beginning, not after the change.
    stand.publish("city/c1/temperature/t1", {"ts": begun + 19_000, "value": 55})
    stand.until("SELECT count(*) FROM alarms WHERE rule_id = 'heat'", 1)
    (raised,) = stand.rows(
        "SELECT (extract(epoch FROM raised_at) * 1000)::bigint FROM alarms WHERE rule_id = 'heat'"
    )
    assert raised == (begun + 15_000,)


def test_a_retired_rule_ends_its_alarms_and_says_why(stand: Stand) -> None:
    stand.publish("city/c1/smoke/s1", {"ts": time.time_ns() // 1_000_000, "value": 75})
    stand.until("SELECT count(*) FROM alarms", 1)
    with connect(stand.database, application="test") as connection:
        rule_changes.retire(connection, "smoke-high", actor="user:1", reason="test")
    stand.until("SELECT count(*) FROM alarms WHERE cleared_at IS NOT NULL", 1)
    (reason,) = stand.rows("SELECT evidence -> 'cleared' ->> 'reason' FROM alarms")
    assert reason == ("rule removed or rewritten",)
