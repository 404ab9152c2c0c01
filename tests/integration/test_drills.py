"""Drills on a real database: whose alarms are exercise, that they never meet the real thing, and what an end leaves."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from city.alarms import Cleared, Raised
from city.settings import Settings
from city.storage import alarms
from city.storage import drills as stored
from city.storage import incidents as kept
from city.storage.changes import open_connection
from city.storage.transitions import write_transitions
from command_centre import alarm_life_loop, drills, triage_loop
from command_centre.actions import ActionError
from command_centre.known_directory import KnownDirectory
from tests.integration.small_town import NOW, build, rows

MINUTE = timedelta(minutes=1)
UNTIL = NOW + timedelta(hours=1)


@pytest.fixture
def town(migrated_url: str) -> str:
    build(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        connection.execute(
            "UPDATE units SET webhook_url = 'http://127.0.0.1:9/orders' WHERE code = 'fire-east'"
        )
        connection.execute("INSERT INTO metrics (code) VALUES ('smoke')")
    return migrated_url


def on(url: str, work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Any]]) -> Any:
    async def once() -> Any:
        async with (
            await open_connection(url, "test", autocommit=True) as connection,
            connection.transaction(),
        ):
            return await work(connection)

    return asyncio.run(once())


def begin(url: str, *, now: datetime = NOW, until: datetime = UNTIL, **changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "name": "autumn",
        "scenario": "fire",
        "devices": [],
        "areas": ["c02"],
        "reason": "practise the handover",
        "actor": "user:1",
        **changes,
    }
    row: dict[str, Any] = on(url, lambda connection: drills.begin(connection, now=now, until=until, **asked))
    return row


def raise_on(
    url: str, code: str, at: datetime = NOW + MINUTE, now: datetime | None = None, **changes: Any
) -> int:
    """As ingest raises it; the alarm's id."""
    device = rows(url, "SELECT id FROM devices WHERE code = %s", code)[0][0]
    given: dict[str, Any] = {
        "rule_id": "smoke-high",
        "rule_version": 1,
        "device_id": device,
        "metric_id": rows(url, "SELECT id FROM metrics WHERE code = 'smoke'")[0][0],
        "raised_us": int(at.timestamp()) * 1_000_000,
        "level": "red",
        "category": "fire.smoke",
        "incident_class": "B",
        "late": False,
        "evidence": {"value": 88},
        **changes,
    }
    with psycopg.connect(url) as connection:
        write_transitions(connection, [Raised(**given)], now=now or at)
    return int(str(rows(url, "SELECT max(id) FROM alarms")[0][0]))


def triage(url: str, now: datetime = NOW + MINUTE) -> None:
    known = KnownDirectory(Settings().zone)
    on(url, lambda connection: triage_loop.triage_batch(connection, known, now, mail=True))


def look(url: str, now: datetime) -> None:
    known = KnownDirectory(Settings().zone)
    on(url, lambda connection: alarm_life_loop.look(connection, known, now, mail=True))


def shown(url: str, alarm: int, now: datetime = NOW) -> dict[str, Any]:
    row: dict[str, Any] = on(url, lambda connection: alarms.get(connection, alarm, now))
    return row


def remember(url: str, code: str, state: dict[str, object]) -> None:
    """What the rule holds of a device, as ingest stores it."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO rule_states (rule_id, device_id, state) SELECT 'smoke-high', id, %s FROM devices"
            " WHERE code = %s ON CONFLICT (rule_id, device_id) DO UPDATE SET state = excluded.state",
            (json.dumps(state), code),
        )


def observe(url: str, code: str, at: datetime) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
            " SELECT d.id, m.id, %s, %s, 90 FROM devices d, metrics m WHERE d.code = %s AND m.code = 'smoke'",
            (at, at, code),
        )


def test_an_area_is_every_device_in_it_and_a_drill_is_on_the_record(town: str) -> None:
    assert begin(town)["devices"] == 3
    assert begin(town, areas=["s1"])["devices"] == 30
    assert begin(town, areas=["m1"], devices=["d00-s1"])["devices"] == 16
    assert rows(town, "SELECT count(*) FROM audit WHERE action = 'drill.opened' AND actor = 'user:1'") == [
        (3,)
    ]
    assert len(on(town, lambda c: stored.page(c, NOW, running=True, before=None, limit=10))) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"areas": []}, "name devices or cells"),
        ({"areas": ["nowhere"]}, "no such device or area: nowhere"),
        ({"devices": ["c02-s1", "ghost"]}, "no such device or area: ghost"),
        ({"reason": " "}, "reason: say what"),
        ({"name": "", "scenario": ""}, "name: give"),
        ({"until": NOW}, "must lie ahead"),
        ({"until": NOW + drills.LONGEST_DRILL + MINUTE}, "8 hours at most"),
    ],
)
def test_a_drill_that_could_be_forgotten_or_marks_nothing_is_refused(
    town: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ActionError, match=said):
        begin(town, **changes)
    assert rows(town, "SELECT count(*) FROM drills") == [(0,)]


def test_everything_of_a_drills_devices_is_exercise_and_everything_else_is_real(town: str) -> None:
    drill = begin(town)
    practised, real = raise_on(town, "c02-s1"), raise_on(town, "c03-s1")
    assert [(shown(town, one)["exercise"], shown(town, one)["drill"]) for one in (practised, real)] == [
        (True, drill["id"]),
        (False, None),
    ]
    triage(town)
    assert rows(town, "SELECT exercise, class FROM incidents ORDER BY id") == [(True, "B"), (False, "B")]
    bodies = rows(town, "SELECT (body ->> 'exercise')::boolean FROM notifications ORDER BY id")
    assert bodies == [(True,), (False,)]
    # A third detector and a camera raise the exercise's class; the real one beside it stays what it was.
    raise_on(town, "c02-s2")
    raise_on(town, "c02-k1", rule_id="camera-fire", category="fire.detection", metric_id=None)
    triage(town)
    assert rows(town, "SELECT exercise, class FROM incidents ORDER BY id") == [(True, "A"), (False, "B")]
    assert on(town, kept.verify_all) == {}


def test_event_time_decides_not_arrival(town: str) -> None:
    begin(town, now=NOW, until=UNTIL)
    before = raise_on(town, "c02-s1", at=NOW - MINUTE, now=NOW + MINUTE, late=True)
    within = raise_on(town, "c02-s2", at=NOW + MINUTE, now=UNTIL + MINUTE, late=True)
    after = raise_on(town, "c02-k1", at=UNTIL + MINUTE, now=UNTIL + MINUTE, rule_id="x", metric_id=None)
    assert [shown(town, one)["exercise"] for one in (before, within, after)] == [False, True, False]


def test_a_real_alarm_that_stands_when_it_begins_stays_real_and_is_named(town: str) -> None:
    real = raise_on(town, "c02-s1", at=NOW - MINUTE)
    drill = begin(town)
    assert drill["standing_real"] == [{"id": real, "device": "c02-s1", "rule": "smoke-high"}]
    raise_on(town, "c02-s1")  # the same condition, reached again by the play
    assert rows(town, "SELECT id, exercise, repeats FROM alarms") == [(real, False, 1)]


def test_it_ends_by_itself_and_leaves_nothing_standing(town: str) -> None:
    drill = begin(town)
    alarm, waiting = raise_on(town, "c02-s1"), raise_on(town, "c02-s2")
    real = raise_on(town, "c05-s1")
    chosen = {one: on(town, lambda c, e=one: alarms.page(c, now=NOW, exercise=e)) for one in (True, False)}
    assert {row["id"] for row in chosen[True]} == {alarm, waiting}
    assert {row["id"] for row in chosen[False]} == {real}
    triage(town)
    untriaged = raise_on(town, "c02-k1", at=UNTIL - MINUTE, rule_id="x", metric_id=None)
    look(town, UNTIL - MINUTE)
    assert rows(town, "SELECT ended_at FROM drills") == [(None,)]
    look(town, UNTIL)
    assert rows(town, "SELECT ended_at, ended_by FROM drills") == [(UNTIL, "system")]
    for one in (alarm, waiting, untriaged):
        assert (shown(town, one)["cleared_at"], shown(town, one)["evidence"]["cleared"]["drill"]) == (
            UNTIL,
            drill["id"],
        )
    assert shown(town, untriaged)["triage"] == "recorded"
    assert shown(town, real)["cleared_at"] is None
    assert rows(town, "SELECT exercise, state FROM incidents ORDER BY id") == [
        (True, "archived"),
        (False, "dispatched"),
    ]
    assert on(town, kept.verify_all) == {}
    late = raise_on(town, "c02-s1", at=UNTIL - MINUTE, now=UNTIL + MINUTE, late=True)
    look(town, UNTIL + MINUTE)
    assert (shown(town, late)["exercise"], shown(town, late)["cleared_at"]) == (True, UNTIL)
    assert on(town, lambda c: stored.get(c, drill["id"], UNTIL))["standing_alarms"] == 0


def test_a_person_ends_it_before_its_time_once(town: str) -> None:
    drill = begin(town)
    raise_on(town, "c02-s1")
    triage(town)
    directory = on(town, lambda c: KnownDirectory(Settings().zone).fresh(c, NOW))

    def end() -> Any:
        return on(
            town,
            lambda c: drills.end(
                c, directory, drill["id"], actor="user:2", reason="enough", now=NOW + 5 * MINUTE, mail=False
            ),
        )

    ended = end()
    assert (ended["running"], ended["end_reason"], ended["standing_alarms"]) == (False, "enough", 0)
    assert rows(town, "SELECT state FROM incidents") == [("archived",)]
    with pytest.raises(ActionError, match="has ended already"):
        end()
    assert not shown(town, raise_on(town, "c02-s2", at=NOW + 6 * MINUTE))["exercise"]


def test_an_incident_of_two_drills_stays_until_both_have_ended(town: str) -> None:
    begin(town, areas=["c02"], until=NOW + 10 * MINUTE)
    begin(town, areas=["c03"], until=NOW + 20 * MINUTE)
    raise_on(town, "c02-s1")
    raise_on(town, "c03-s1")
    triage(town)
    look(town, NOW + 10 * MINUTE)
    assert rows(town, "SELECT count(*), min(state) FROM incidents") == [(1, "dispatched")]
    look(town, NOW + 20 * MINUTE)
    assert rows(town, "SELECT state FROM incidents") == [("archived",)]


# ── what goes on afterwards is real ──────────────────────────────────────────────────────────────────


def ended_with(url: str, state: dict[str, object], **changes: Any) -> int:
    """A drill over, its alarm closed, and the rule still holding this state."""
    begin(url)
    alarm = raise_on(url, "c02-s1", **changes)
    triage(url)
    remember(url, "c02-s1", state)
    look(url, UNTIL)
    assert rows(url, "SELECT alarm_id FROM drill_leftovers") == [(alarm,)]
    return alarm


def real_ones(url: str) -> list[tuple[object, ...]]:
    return rows(
        url, "SELECT id, raised_at, triage, evidence ->> 'after_drill' FROM alarms WHERE NOT exercise"
    )


def test_a_fire_that_burns_on_after_the_drill_is_raised_as_real(town: str) -> None:
    alarm = ended_with(town, {"phase": "standing", "over": True, "raised_us": 1})
    look(town, UNTIL + MINUTE)
    assert real_ones(town) == []  # nothing heard since
    observe(town, "c02-s1", UNTIL + MINUTE)
    look(town, UNTIL + 2 * MINUTE)
    ((real, raised_at, waits, drill),) = real_ones(town)
    assert (raised_at, waits, drill) == (UNTIL, "new", "1")
    triage(town, UNTIL + 2 * MINUTE)
    assert rows(town, "SELECT exercise, state FROM incidents ORDER BY id") == [
        (True, "archived"),
        (False, "dispatched"),
    ]
    assert rows(town, "SELECT count(*) FROM drill_leftovers") == [(0,)]
    look(town, UNTIL + 3 * MINUTE)
    assert len(real_ones(town)) == 1
    with psycopg.connect(town) as connection:  # and the rule's own end clears it
        device, metric = connection.execute(
            "SELECT device_id, metric_id FROM alarms WHERE id = %s", (alarm,)
        ).fetchone()  # type: ignore[misc]  # it is there
        over = Cleared(
            rule_id="smoke-high",
            device_id=device,
            metric_id=metric,
            cleared_us=int((UNTIL + 4 * MINUTE).timestamp()) * 1_000_000,
            evidence={},
        )
        write_transitions(connection, [over], now=UNTIL + 4 * MINUTE)
    assert shown(town, int(str(real)))["cleared_at"] == UNTIL + 4 * MINUTE


def test_what_has_ended_in_the_rules_eyes_is_not_raised_again(town: str) -> None:
    ended_with(town, {"phase": "standing", "over": True, "raised_us": 1})
    remember(town, "c02-s1", {"past_from_us": 1, "past_to_us": 2})
    observe(town, "c02-s1", UNTIL + MINUTE)
    look(town, UNTIL + 2 * MINUTE)
    assert real_ones(town) == []
    assert rows(town, "SELECT count(*) FROM drill_leftovers") == [(0,)]


@pytest.mark.parametrize(
    ("state", "is_real"),
    [
        ({"phase": "ending", "began_us": 1, "raised_us": 1}, False),
        ({"phase": "standing", "over": False, "raised_us": 1}, False),
        ({"steps": [{"phase": "ending", "raised_us": 1}, {}], "level": "blue", "raised_us": 1}, False),
        ({"steps": [{"phase": "standing", "over": True}, {}], "level": "blue", "raised_us": 1}, True),
    ],
)
def test_calm_readings_after_the_drill_are_no_alarm(
    town: str, state: dict[str, object], is_real: bool
) -> None:
    """A rule waits out its off-delay and its deadband: what falls is not raised as real, and is watched on."""
    ended_with(town, state)
    observe(town, "c02-s1", UNTIL + MINUTE)
    look(town, UNTIL + 2 * MINUTE)
    assert len(real_ones(town)) == int(is_real)
    assert rows(town, "SELECT count(*) FROM drill_leftovers") == [(int(not is_real),)]


def test_a_camera_that_sees_it_again_after_the_drill_is_real(town: str) -> None:
    seen = int((UNTIL - MINUTE).timestamp()) * 1_000_000
    ended_with(town, {"raised_us": seen, "last_us": seen}, metric_id=None)
    look(town, UNTIL + MINUTE)
    assert real_ones(town) == []
    remember(town, "c02-s1", {"raised_us": seen, "last_us": seen + 120_000_000})
    look(town, UNTIL + 2 * MINUTE)
    assert len(real_ones(town)) == 1


def test_silence_has_a_while_to_end_after_the_drill(town: str) -> None:
    ended_with(town, {"raised_us": 5, "heard_us": 4}, metric_id=None)
    look(town, UNTIL + drills.SILENCE_PATIENCE)
    assert real_ones(town) == []
    look(town, UNTIL + drills.SILENCE_PATIENCE + MINUTE)
    assert len(real_ones(town)) == 1


def test_a_device_that_never_speaks_again_is_watched_for_a_day_only(town: str) -> None:
    ended_with(town, {"phase": "standing", "over": True, "raised_us": 1})
    look(town, UNTIL + timedelta(hours=25))
    assert real_ones(town) == []
    assert rows(town, "SELECT count(*) FROM drill_leftovers") == [(0,)]
