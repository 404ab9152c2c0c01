"""An alarm's life on a real database: levels that move, shelves that end, silence by design, first-out."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from city.alarms import Cleared, LevelChanged, Raised, Repeated, Transition
from city.settings import Settings
from city.storage import alarm_events, alarm_shelves, alarms
from city.storage import incidents as stored
from city.storage.changes import open_connection
from city.storage.devices import set_service
from city.storage.transitions import REPEATS_NOTED, write_transitions
from command_centre import acting, alarm_actions, alarm_life_loop, triage_loop, workflow
from command_centre.actions import ActionError
from command_centre.alarm_life import Facts, state_of
from command_centre.known_directory import KnownDirectory
from tests.integration.small_town import NOW, build, clear_alarm, raise_alarm, rows

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
UNTIL = NOW + 2 * HOUR


@pytest.fixture
def town(migrated_url: str) -> str:
    build(migrated_url)
    return migrated_url


def on(url: str, work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Any]]) -> Any:
    async def once() -> Any:
        async with (
            await open_connection(url, "test", autocommit=True) as connection,
            connection.transaction(),
        ):
            return await work(connection)

    return asyncio.run(once())


def triage(url: str, now: datetime = NOW) -> None:
    known = KnownDirectory(Settings().zone)
    on(url, lambda connection: triage_loop.triage_batch(connection, known, now, mail=True))


def look(url: str, now: datetime) -> None:
    known = KnownDirectory(Settings().zone)
    on(url, lambda connection: alarm_life_loop.look(connection, known, now, mail=True))


def shelve(
    url: str, alarm: int, now: datetime = NOW, until: datetime = UNTIL, role: str = "dispatcher"
) -> Any:
    return on(
        url,
        lambda connection: alarm_actions.shelve(
            connection, alarm, until=until, reason="cleaning", actor="user:1", role=role, now=now
        ),
    )


def shown(url: str, alarm: int, now: datetime = NOW) -> dict[str, Any]:
    row: dict[str, Any] = on(url, lambda connection: alarms.get(connection, alarm, now))
    return row


def events(url: str, alarm: int) -> list[str]:
    return [row["kind"] for row in on(url, lambda connection: alarm_events.of_alarm(connection, alarm))]


def kinds(url: str, incident: int) -> list[object]:
    return [
        row[0]
        for row in rows(url, "SELECT kind FROM incident_events WHERE incident_id = %s ORDER BY seq", incident)
    ]


def us(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


def device_id(url: str, code: str) -> int:
    return int(str(rows(url, "SELECT id FROM devices WHERE code = %s", code)[0][0]))


def raised(url: str, code: str = "c02-s1", at: datetime = NOW, **changes: Any) -> Raised:
    given: dict[str, Any] = {
        "rule_id": "ladder",
        "rule_version": 1,
        "device_id": device_id(url, code),
        "metric_id": None,
        "raised_us": us(at),
        "level": "yellow",
        "category": "fire.smoke",
        "incident_class": "B",
        "late": False,
        "evidence": {"value": 71},
    }
    return Raised(**{**given, **changes})


def level(url: str, to: str, of_class: str | None, at: datetime, *, risen: bool) -> LevelChanged:
    return LevelChanged(
        rule_id="ladder",
        rule_version=2,
        device_id=device_id(url, "c02-s1"),
        metric_id=None,
        changed_us=us(at),
        level=to,  # type: ignore[arg-type]  # one of the four colours
        incident_class=of_class,  # type: ignore[arg-type]  # A, B, C or none
        risen=risen,
        evidence={"value": 93},
    )


def cleared(url: str, at: datetime) -> Cleared:
    return Cleared(
        rule_id="ladder",
        device_id=device_id(url, "c02-s1"),
        metric_id=None,
        cleared_us=us(at),
        evidence={"value": 12},
    )


def write(url: str, *transitions: Transition, now: datetime = NOW) -> None:
    with psycopg.connect(url) as connection:
        write_transitions(connection, transitions, now=now)


# ── levels ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_level_that_rises_is_told_again_and_must_be_acknowledged_again(town: str) -> None:
    write(town, raised(town))
    triage(town)
    on(town, lambda connection: alarms.acknowledge_of_incident(connection, 1, "user:1", NOW + MINUTE))
    with psycopg.connect(town) as connection:
        connection.execute(
            "UPDATE incidents SET state = 'acknowledged', acknowledged_at = %s, acknowledged_by = 'user:1'",
            (NOW + MINUTE,),
        )
    assert shown(town, 1)["state"] == "ACKED"
    later = NOW + 2 * MINUTE
    write(town, level(town, "red", "A", later, risen=True), now=later)
    row = shown(town, 1)
    assert (row["state"], row["level"], row["class"], row["level_since"]) == ("UNACK", "red", "A", later)
    triage(town, later)
    assert rows(town, "SELECT state, class, acknowledged_at, told_at FROM incidents") == [
        ("dispatched", "A", None, later)
    ]
    assert kinds(town, 1)[-4:] == ["alarm_again", "class_raised", "acknowledgement_reopened", "nobody_told"]
    assert events(town, 1) == ["raised", "acknowledged", "level_raised"]
    said = on(town, lambda connection: alarm_events.of_alarm(connection, 1))[-1]["evidence"]
    assert (said["from"], said["to"], said["class_from"], said["class_to"]) == ("yellow", "red", "B", "A")
    assert on(town, stored.verify_all) == {}


def test_the_same_level_again_tells_nobody(town: str) -> None:
    rise = level(town, "red", "A", NOW + MINUTE, risen=True)
    write(town, raised(town), rise)
    triage(town)
    before = rows(town, "SELECT version, last_seq FROM incidents")
    write(town, rise)
    assert rows(town, "SELECT triage FROM alarms") == [("done",)]
    triage(town)
    assert rows(town, "SELECT version, last_seq FROM incidents") == before
    assert events(town, 1) == ["raised", "level_raised"]


def test_a_level_that_falls_is_recorded_and_nothing_else(town: str) -> None:
    write(town, raised(town, level="red", incident_class="A"))
    triage(town)
    on(town, lambda connection: alarms.acknowledge(connection, 1, "user:1", NOW))
    write(town, level(town, "yellow", "B", NOW + MINUTE, risen=False))
    row = shown(town, 1)
    assert (row["state"], row["level"], row["triage"]) == ("ACKED", "yellow", "done")
    assert rows(town, "SELECT class FROM incidents") == [("A",)]
    assert events(town, 1)[-1] == "level_lowered"


def test_levels_and_the_end_keep_their_order(town: str) -> None:
    write(
        town,
        raised(town),
        level(town, "red", "A", NOW + MINUTE, risen=True),
        cleared(town, NOW + 2 * MINUTE),
        level(town, "orange", "A", NOW + 3 * MINUTE, risen=True),  # of an episode that is over: nothing
    )
    row = shown(town, 1)
    assert (row["level"], row["cleared_at"], row["state"]) == ("red", NOW + 2 * MINUTE, "RTNUN")
    assert events(town, 1) == ["raised", "level_raised", "cleared"]


def test_a_rise_after_the_incident_was_closed_opens_another(town: str) -> None:
    write(town, raised(town))
    triage(town)
    with psycopg.connect(town) as connection:
        connection.execute("UPDATE incidents SET state = 'voided', closed_at = %s", (NOW,))
    write(town, level(town, "red", "A", NOW + MINUTE, risen=True))
    triage(town, NOW + MINUTE)
    assert rows(town, "SELECT id, state, class FROM incidents ORDER BY id") == [
        (1, "voided", "B"),
        (2, "dispatched", "A"),
    ]
    assert shown(town, 1)["incident"] == 2


def test_repeats_are_counted_always_and_noted_sparingly(town: str) -> None:
    write(town, raised(town))
    one = Repeated(
        rule_id="ladder",
        device_id=device_id(town, "c02-s1"),
        metric_id=None,
        count=1,
        evidence={"value": 72, "observed_at": (NOW + MINUTE).isoformat()},
    )
    write(town, *[one] * (REPEATS_NOTED + 60))
    assert shown(town, 1)["repeats"] == REPEATS_NOTED + 60
    noted = on(town, lambda connection: alarm_events.of_alarm(connection, 1))
    repeats = [row for row in noted if row["kind"] == "repeated"]
    assert len(repeats) == REPEATS_NOTED + 1  # and the hundredth
    assert (repeats[-1]["evidence"]["repeats"], repeats[0]["at"]) == (100, NOW + MINUTE)


# ── acknowledging ────────────────────────────────────────────────────────────────────────────────────


def test_an_alarm_is_acknowledged_after_it_cleared(town: str) -> None:
    alarm = raise_alarm(town, "c02-s1")
    triage(town)
    clear_alarm(town, alarm, NOW + MINUTE)
    assert shown(town, alarm)["state"] == "RTNUN"
    row = on(town, lambda c: alarm_actions.acknowledge(c, alarm, actor="user:1", now=NOW + 2 * MINUTE))
    assert (row["state"], row["acknowledged_by"]) == ("NORM", "user:1")
    again = on(town, lambda c: alarm_actions.acknowledge(c, alarm, actor="user:2", now=NOW + 3 * MINUTE))
    assert again["acknowledged_by"] == "user:1"
    assert events(town, alarm) == ["acknowledged"]
    with pytest.raises(ActionError, match="there is no alarm 99"):
        on(town, lambda c: alarm_actions.acknowledge(c, 99, actor="user:1", now=NOW))


# ── the shelf ────────────────────────────────────────────────────────────────────────────────────────


def test_a_shelved_alarm_comes_back_by_itself_while_it_stands(town: str) -> None:
    alarm = raise_alarm(town, "c02-s1")
    triage(town)
    on(town, lambda connection: alarms.acknowledge(connection, alarm, "user:1", NOW))
    row = shelve(town, alarm)
    assert (row["state"], row["triage"], row["shelf"]["reason"]) == ("SHLVD", "held", "cleaning")
    listed = on(town, lambda connection: alarm_shelves.page(connection, NOW, after=None, limit=10))
    assert [(one["scope"], one["state"], one["alarm"], one["device"], one["held"]) for one in listed] == [
        ("alarm", "SHLVD", alarm, "c02-s1", 1)
    ]
    assert on(town, lambda c: alarms.silent_counts(c, NOW)) == {"SHLVD": 1, "DSUPR": 0, "OOSRV": 0}
    look(town, UNTIL - MINUTE)
    assert shown(town, alarm, UNTIL - MINUTE)["state"] == "SHLVD"
    look(town, UNTIL)
    row = shown(town, alarm, UNTIL)
    assert (row["state"], row["triage"], row["shelf"]) == ("UNACK", "new", None)
    triage(town, UNTIL)
    assert (shown(town, alarm, UNTIL)["incident"], rows(town, "SELECT count(*) FROM incidents")) == (
        1,
        [(1,)],
    )
    assert "alarm_again" in kinds(town, 1)
    assert rows(town, "SELECT told_at FROM incidents") == [(UNTIL,)]
    assert events(town, alarm) == ["acknowledged", "shelved", "held", "unshelved", "released"]
    said = rows(town, "SELECT action, actor, reason FROM audit ORDER BY id")
    assert said == [
        ("alarm.shelved", "user:1", "cleaning"),
        ("alarm.unshelved", "system", "its time had ended"),
    ]


def test_further_episodes_of_a_shelved_rule_are_held_and_nobody_is_sent(town: str) -> None:
    first = raise_alarm(town, "c02-s1")
    triage(town)
    clear_alarm(town, first, NOW + MINUTE)
    shelve(town, first)
    second = raise_alarm(town, "c02-s1", at=NOW + 2 * MINUTE)
    other = raise_alarm(town, "c02-s1", rule="another", at=NOW + 2 * MINUTE)
    before = rows(town, "SELECT last_seq FROM incidents")
    triage(town, NOW + 2 * MINUTE)
    now = NOW + 2 * MINUTE
    assert [shown(town, one, now)["state"] for one in (first, second, other)] == ["RTNUN", "SHLVD", "UNACK"]
    assert shown(town, second, now)["incident"] is None
    assert (
        rows(town, "SELECT last_seq FROM incidents") != before
    )  # the other rule on the same device is heard
    clear_alarm(town, second, NOW + 3 * MINUTE)
    look(town, NOW + 3 * MINUTE)
    assert (shown(town, second)["triage"], shown(town, second)["state"]) == ("recorded", "NORM")


def test_a_shelf_can_be_ended_before_its_time(town: str) -> None:
    alarm = raise_alarm(town, "c02-s1")
    triage(town)
    with pytest.raises(ActionError, match="is not on the shelf"):
        on(town, lambda c: alarm_actions.unshelve(c, alarm, actor="user:2", reason="", now=NOW))
    shelve(town, alarm)
    with pytest.raises(ActionError, match="cannot be shelved"):
        shelve(town, alarm)
    row = on(
        town, lambda c: alarm_actions.unshelve(c, alarm, actor="user:2", reason="done", now=NOW + MINUTE)
    )
    assert (row["state"], row["triage"]) == ("UNACK", "new")
    assert rows(town, "SELECT ended_by, end_reason FROM alarm_shelves") == [("user:2", "done")]
    assert shelve(town, alarm, NOW + 2 * MINUTE)["state"] == "SHLVD"


def test_a_shelf_holds_what_was_shelved_and_not_what_rises_above_it(town: str) -> None:
    """Whoever shelved yellow did not shelve red: it comes back, is told, and goes under the shelf again as it falls."""
    write(town, raised(town))
    triage(town)
    shelve(town, 1)
    write(town, level(town, "red", "A", NOW + MINUTE, risen=True))
    assert (shown(town, 1)["state"], shown(town, 1)["shelf"]) == ("UNACK", None)
    look(town, NOW + MINUTE)
    triage(town, NOW + MINUTE)
    assert rows(town, "SELECT class, told_at FROM incidents") == [("A", NOW + MINUTE)]
    with pytest.raises(ActionError, match="administrator"):
        shelve(town, 1, NOW + MINUTE)  # red is a class A fire now
    on(town, lambda connection: alarms.acknowledge(connection, 1, "user:1", NOW + MINUTE))
    write(town, level(town, "yellow", "B", NOW + 2 * MINUTE, risen=False))
    look(town, NOW + 2 * MINUTE)
    assert (shown(town, 1)["state"], shown(town, 1)["triage"]) == ("SHLVD", "held")
    write(town, cleared(town, NOW + 3 * MINUTE), raised(town, at=NOW + 4 * MINUTE, level="orange"))
    triage(town, NOW + 4 * MINUTE)
    assert [shown(town, one, NOW + 4 * MINUTE)["state"] for one in (1, 2)] == ["NORM", "UNACK"]
    assert shelve(town, 2, NOW + 5 * MINUTE)["state"] == "SHLVD"  # the same shelf, now up to orange
    assert rows(town, "SELECT level, alarm_id FROM alarm_shelves") == [("orange", 2)]


def test_a_class_a_fire_is_shelved_by_an_administrator_only(town: str) -> None:
    write(town, raised(town, incident_class="A"))
    with pytest.raises(ActionError) as caught:
        shelve(town, 1)
    assert (caught.value.code, rows(town, "SELECT count(*) FROM alarm_shelves")) == ("forbidden", [(0,)])
    assert shelve(town, 1, role="administrator")["state"] == "SHLVD"


def test_a_shelf_without_end_or_reason_does_not_exist(town: str) -> None:
    alarm = raise_alarm(town, "c02-s1")
    insert = (
        "INSERT INTO alarm_shelves (rule_id, device_id, alarm_id, level, shelved_at, shelved_by, until, reason)"
        " SELECT rule_id, device_id, id, level, %s, 'x', %s, %s FROM alarms WHERE id = %s"
    )
    for until, reason in ((NOW, "y"), (UNTIL, "")):
        with psycopg.connect(town) as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(insert, (NOW, until, reason, alarm))


# ── the device as a whole ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("service", "state"), [("under_test", "OOSRV"), ("out_of_service", "OOSRV"), ("shelved", "SHLVD")]
)
def test_a_silenced_device_is_the_same_story(town: str, service: Any, state: str) -> None:
    earlier = raise_alarm(town, "c02-s1", rule="first")
    triage(town)
    with psycopg.connect(town) as connection:
        set_service(connection, "c02-s1", service, until=UNTIL, reason="works", actor="user:1", now=NOW)
    during = raise_alarm(town, "c02-s1", rule="second", at=NOW + MINUTE)
    triage(town, NOW + MINUTE)
    look(town, NOW + MINUTE)
    assert {shown(town, one, NOW + MINUTE)["state"] for one in (earlier, during)} == {state}
    assert rows(town, "SELECT count(*) FROM incidents") == [(1,)]
    listed = on(town, lambda connection: alarm_shelves.page(connection, NOW, after=None, limit=10))
    assert [(one["scope"], one["state"], one["device"], one["held"]) for one in listed] == [
        ("device", state, "c02-s1", 2)
    ]
    with psycopg.connect(town) as connection:
        set_service(connection, "c02-s1", "in_service", until=None, reason="", actor="user:1", now=NOW)
    look(town, NOW + 2 * MINUTE)
    triage(town, NOW + 2 * MINUTE)
    assert [shown(town, one, NOW + 2 * MINUTE)["state"] for one in (earlier, during)] == ["UNACK", "UNACK"]
    assert {shown(town, one)["incident"] for one in (earlier, during)} == {1}
    assert events(town, earlier) == ["held", "released"]


# ── by design ────────────────────────────────────────────────────────────────────────────────────────


def test_suppressed_by_design_is_stored_and_counted_and_nobody_is_sent(town: str) -> None:
    write(town, raised(town, suppressed="gateway gw-c silent"))
    triage(town)
    row = shown(town, 1)
    assert (row["state"], row["suppressed"], row["incident"]) == ("DSUPR", "gateway gw-c silent", None)
    assert on(town, lambda c: alarms.silent_counts(c, NOW))["DSUPR"] == 1
    assert ("alarm.suppressed", "1") in rows(town, "SELECT kind, object FROM changes")
    assert ("alarm.raised", "1") not in rows(town, "SELECT kind, object FROM changes")
    write(town, raised(town, suppressed="gateway gw-c silent"))
    assert (shown(town, 1)["state"], shown(town, 1)["repeats"]) == ("DSUPR", 1)
    write(town, raised(town, at=NOW + MINUTE))  # the gateway is back, this device is not
    assert (shown(town, 1)["state"], shown(town, 1)["triage"]) == ("UNACK", "new")
    triage(town, NOW + MINUTE)
    assert shown(town, 1)["incident"] == 1
    assert events(town, 1) == ["raised", "suppressed", "unsuppressed"]
    write(town, raised(town, at=NOW + MINUTE))  # an ordinary repeat afterwards
    assert (shown(town, 1)["triage"], events(town, 1)[-1]) == ("done", "unsuppressed")


def test_suppressed_and_over_is_normal(town: str) -> None:
    write(town, raised(town, suppressed="self-test running"), cleared(town, NOW + MINUTE))
    assert (shown(town, 1)["state"], shown(town, 1)["triage"]) == ("NORM", "recorded")


# ── first-out ────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_of_a_group_is_marked_and_late_data_bring_an_earlier_one(town: str) -> None:
    one = raise_alarm(town, "c02-s1", at=NOW)
    two = raise_alarm(town, "c02-s2", at=NOW + MINUTE)
    triage(town, NOW + MINUTE)
    assert [shown(town, alarm)["first_out"] for alarm in (one, two)] == [True, False]
    late = raise_alarm(town, "c03-s1", at=NOW - 9 * MINUTE, late=True)
    triage(town, NOW + 2 * MINUTE)
    assert [shown(town, alarm)["first_out"] for alarm in (one, two, late)] == [False, False, True]
    after_a_while = raise_alarm(town, "c01-s1", at=NOW + 20 * MINUTE)
    triage(town, NOW + 20 * MINUTE)
    assert shown(town, after_a_while)["incident"] == 1
    assert shown(town, after_a_while)["first_out"]  # a group of its own


def test_an_alarm_without_an_incident_is_first_of_nothing(town: str) -> None:
    alarm = raise_alarm(town, "c02-s1")
    assert not shown(town, alarm)["first_out"]


# ── one truth ────────────────────────────────────────────────────────────────────────────────────────


def test_the_database_and_the_table_name_the_same_state(town: str) -> None:
    """Every combination of what an alarm and its device can be, shelf included: SQL and Python agree."""
    with psycopg.connect(town) as connection:
        connection.execute(
            """
            WITH cases AS (
                SELECT row_number() OVER () AS n, * FROM
                    (VALUES (true), (false)) s (standing), (VALUES (true), (false)) a (acknowledged),
                    (VALUES ('new'), ('held'), ('recorded')) t (triage), (VALUES (NULL), ('why')) p (suppressed),
                    (VALUES ('in_service'), ('under_test'), ('shelved'), ('out_of_service')) v (service),
                    (VALUES (true), (false)) e (ended), (VALUES (true), (false)) h (shelf)
            ), made AS (
                INSERT INTO devices (code, kind, cell_id, service_state, service_until, name)
                SELECT 'x' || n, 'smoke', (SELECT id FROM areas WHERE code = 'c00'), service,
                    CASE WHEN ended THEN %(now)s - interval '1 s' ELSE %(now)s + interval '1 h' END, shelf::text
                FROM cases RETURNING id, code, name
            ), alarm AS (
                INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, cleared_at,
                    acknowledged_at, triage, suppressed, evidence)
                SELECT 'r', 1, m.id, 'fire.smoke', 'red', %(now)s - interval '1 h',
                    CASE WHEN NOT standing THEN %(now)s END, CASE WHEN acknowledged THEN %(now)s END, triage,
                    suppressed, '{}'
                FROM cases c JOIN made m ON m.code = 'x' || c.n RETURNING id, device_id
            )
            INSERT INTO alarm_shelves (rule_id, device_id, alarm_id, level, shelved_at, shelved_by, until, reason)
            SELECT 'r', a.device_id, a.id, 'red', %(now)s, 'x', %(now)s + interval '1 h', 'y'
            FROM alarm a JOIN made m ON m.id = a.device_id WHERE m.name = 'true'
            """,
            {"now": NOW},
        )
    found = on(town, lambda c: alarms.page(c, now=NOW, limit=1000))
    facts = {
        row[0]: row[1:]
        for row in rows(
            town,
            "SELECT a.id, d.service_state, d.service_until > %s, d.name = 'true' FROM alarms a"
            " JOIN devices d ON d.id = a.device_id",
            NOW,
        )
    }
    assert len(found) == 2 * 2 * 3 * 2 * 4 * 2 * 2
    for row in found:
        service, lasts, shelf = facts[row["id"]]
        expected = state_of(
            Facts(
                standing=row["cleared_at"] is None,
                acknowledged=row["acknowledged_at"] is not None,
                told=row["triage"] in ("new", "done"),
                suppressed=row["suppressed"] is not None,
                shelved=bool(shelf or (service == "shelved" and lasts)),
                withdrawn=bool(service in ("under_test", "out_of_service") and lasts),
            )
        )
        assert row["state"] == expected, row
    for state in ("UNACK", "ACKED", "RTNUN", "NORM", "SHLVD", "DSUPR", "OOSRV"):
        chosen = on(town, lambda c, s=state: alarms.page(c, now=NOW, states=[s], limit=1000))
        assert {row["id"] for row in chosen} == {row["id"] for row in found if row["state"] == state}
    both = on(town, lambda c: alarms.page(c, now=NOW, states=["RTNUN", "UNACK"], limit=1000))
    assert {row["state"] for row in both} == {"RTNUN", "UNACK"}


def test_what_happened_to_an_alarm_is_never_changed(town: str) -> None:
    write(town, raised(town))
    for query in ("UPDATE alarm_events SET kind = 'cleared'", "DELETE FROM alarm_events"):
        with psycopg.connect(town) as connection, pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute(query)  # type: ignore[arg-type]  # a text from the line above


def test_an_incident_is_still_a_persons_to_close(town: str) -> None:
    """A shelved alarm stands: its incident is not archived over it by a dispatcher."""
    alarm = raise_alarm(town, "c02-s1")
    triage(town)
    shelve(town, alarm)
    counted = on(town, lambda connection: alarms.counts(connection, 1))
    incident = on(town, lambda connection: stored.lock(connection, 1))
    facts = workflow.Facts(alarms=counted[0], standing=counted[1], unbelieved=counted[2])
    handled = replace(incident, state="handled", handled_by="user:2")
    refused = acting.apply(
        handled, workflow.Act(action="archive", actor="user:1", role="dispatcher"), facts, NOW
    )
    assert counted == (1, 1, 1)
    assert isinstance(refused, workflow.Refused)
    assert "blind, shelved" in refused.reason_en
