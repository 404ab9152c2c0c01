"""What screens show, derived from rows: cells, counts, stations, health."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from command_centre.api.screen import health as chain
from command_centre.api.screen import state as derive
from command_centre.api.screen.log import ScreenLog

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def incident(number: int, **changed: Any) -> dict[str, Any]:
    row = {
        "id": number, "number": f"20261121-{number:04d}", "state": "dispatched", "class": "B", "cell": "C1",
        "unit": "U1", "acknowledged_at": None, "closed_at": None, "lon": None, "lat": None, "exercise": False,
    }  # fmt: skip
    return {**row, **changed}


def square(west: float) -> dict[str, Any]:
    ring = [[west, 0], [west + 1, 0], [west + 1, 1], [west, 1], [west, 0]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.fixture
def log() -> ScreenLog:
    return ScreenLog("e")


@pytest.fixture
def state(log: ScreenLog) -> derive.DistrictState:
    made = derive.DistrictState(log)
    made.set_cells([{"code": f"C{n}", "name": "", "geometry": square(n)} for n in (1, 2, 3)])
    made.set_incidents([], every=True)
    return made


def shown(log: ScreenLog, topic: str, key: str) -> Any:
    log.commit(0.0)
    raw = log.snapshot().get(topic, {}).get(key)
    return None if raw is None else msgspec.json.decode(raw)


def presence(cell: str | None, kind: str, *, total: int, online: int, never: int = 0) -> dict[str, Any]:
    return {"cell": cell, "kind": kind, "name": kind, "name_en": "", "total": total, "online": online,
            "never": never, "unclaimed": 0}  # fmt: skip


def test_silence_and_emptiness_are_never_green(log: ScreenLog, state: derive.DistrictState) -> None:
    state.set_presence(
        [presence("C1", "smoke", total=3, online=1), presence("C2", "smoke", total=2, online=0)]
    )
    assert shown(log, "cell", "C1")["state"] == "normal"
    assert shown(log, "cell", "C2")["state"] == "blind"
    assert shown(log, "cell", "C3")["state"] == "unset"


def test_online_adds_cells_up_and_tells_never_from_offline(
    log: ScreenLog, state: derive.DistrictState
) -> None:
    state.set_presence(
        [presence("C1", "smoke", total=5, online=2, never=1), presence(None, "smoke", total=4, online=4)]
    )
    row = shown(log, "online", "smoke")
    assert (row["total"], row["online"], row["offline"], row["never"]) == (9, 6, 2, 1)
    state.set_presence([])
    assert shown(log, "online", "smoke") is None


def test_a_cell_shows_its_worst_open_incident(log: ScreenLog, state: derive.DistrictState) -> None:
    state.set_incidents([incident(1), incident(2, **{"class": "A"})], every=False)
    cell = shown(log, "cell", "C1")
    assert (cell["class"], cell["open"]) == ("A", 2)
    state.set_incidents([incident(2, closed_at=NOW, **{"class": "A"})], every=False)
    cell = shown(log, "cell", "C1")
    assert (cell["class"], cell["open"]) == ("B", 1)
    assert shown(log, "incident", "2") is None


def test_an_incident_without_a_device_stands_in_the_middle_of_its_cell(
    log: ScreenLog, state: derive.DistrictState
) -> None:
    state.set_incidents([incident(1)], every=False)
    row = shown(log, "incident", "1")
    assert (row["lon"], row["lat"]) == (1.5, 0.5)


def test_an_incident_that_moves_leaves_its_old_cell(log: ScreenLog, state: derive.DistrictState) -> None:
    state.set_incidents([incident(1)], every=False)
    state.set_incidents([incident(1, cell="C2")], every=False)
    assert shown(log, "cell", "C1")["open"] == 0
    assert shown(log, "cell", "C2")["open"] == 1


def test_counts_follow_and_a_full_list_removes_what_is_gone(
    log: ScreenLog, state: derive.DistrictState
) -> None:
    state.set_incidents([incident(1, unit=None), incident(2, acknowledged_at=NOW)], every=False)
    counts = shown(log, "counts", "open")
    assert counts == {"A": 0, "B": 2, "C": 0, "unassigned": 1, "unacknowledged": 1, "total": 2, "exercise": 0}
    state.set_incidents([incident(2)], every=True)
    assert shown(log, "counts", "open")["total"] == 1
    assert shown(log, "incident", "1") is None


def test_exercise_is_shown_and_counted_apart(log: ScreenLog, state: derive.DistrictState) -> None:
    state.set_incidents([incident(1), incident(2, exercise=True, **{"class": "A"})], every=False)
    assert shown(log, "incident", "2")["exercise"]
    counts = shown(log, "counts", "open")
    assert (counts["A"], counts["total"], counts["exercise"]) == (0, 1, 1)
    cell = shown(log, "cell", "C1")
    assert (cell["class"], cell["open"], cell["exercise"]) == ("B", 1, 1)


def test_drills_come_and_go_and_what_is_silent_is_counted(
    log: ScreenLog, state: derive.DistrictState
) -> None:
    state.set_drills([{"id": 7, "name": "autumn", "until": NOW}])
    state.set_silent(
        [{"cell": "C1", "state": "SHLVD", "alarms": 2}, {"cell": None, "state": "OOSRV", "alarms": 1}]
    )
    assert shown(log, "drill", "7")["name"] == "autumn"
    assert shown(log, "counts", "silent") == {"SHLVD": 2, "DSUPR": 0, "OOSRV": 1}
    state.set_drills([])
    assert shown(log, "drill", "7") is None


def test_a_cell_that_is_no_longer_valid_leaves_the_screen(
    log: ScreenLog, state: derive.DistrictState
) -> None:
    assert shown(log, "cell", "C3") is not None
    state.set_cells([{"code": "C1", "name": "", "geometry": None}])
    assert shown(log, "cell", "C3") is None
    assert shown(log, "cell", "C1") is not None


def session(**changed: Any) -> dict[str, Any]:
    figures = {"lag_ms": 20, "broker_connected": True, "broker_dropped": 0}
    return {
        "alive_at": NOW,
        "now": NOW,
        "listening": True,
        "figures": {**figures, **changed.pop("figures", {})},
        **changed,
    }


@pytest.mark.parametrize(
    ("row", "ingest", "broker"),
    [
        (None, "down", "down"),
        (session(), "ok", "ok"),
        (session(now=NOW + timedelta(seconds=60)), "down", "down"),
        (session(figures={"lag_ms": 60_000}), "lagging", "ok"),
        (session(figures={"broker_connected": False}), "lagging", "down"),
        (session(figures={"disk": "little"}), "ok", "ok"),
        (session(figures={"disk": "none"}), "down", "ok"),
    ],
)
def test_health(row: dict[str, Any] | None, ingest: str, broker: str) -> None:
    health = chain.of_chain(row, 3)
    assert (health["ingest"], health["broker"], health["quarantined_1h"]) == (ingest, broker, 3)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (None, "none"),
        ({}, "up"),
        ({"oldest_at": NOW - timedelta(minutes=1)}, "behind"),
        ({"oldest_at": NOW - timedelta(minutes=1), "waiting": 0}, "up"),
        ({"up": False}, "cut"),
        ({"up": False, "silent_s": 20.0}, "stopped"),
    ],
)
def test_the_line_to_the_city(changes: dict[str, Any] | None, word: str) -> None:
    line = {"silent_s": 1.0, "up": True, "since": NOW, "alive_at": NOW, "oldest_at": NOW, "waiting": 7}
    health = chain.of_chain(session(), 0, None if changes is None else {**line, **changes})
    assert (health["uplink"], health["ingest"]) == (word, "ok"), "a cut line is nothing that is wrong here"
    assert health["uplink_waiting"] == (0 if changes is None else {**line, **changes}["waiting"])


def test_without_the_database_nothing_is_called_well() -> None:
    health = chain.blind(chain.of_chain(session(), 0))
    assert (health["ingest"], health["broker"], health["database"]) == ("down", "down", "down")
