"""People act on incidents: under the lock, on the record, refused without a trace, and provable afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from city.settings import Settings
from city.storage import alarms, incidents
from city.storage.changes import open_connection
from command_centre import triage_loop
from command_centre.actions import ActionError, act, open_by_person
from command_centre.known_directory import KnownDirectory
from tests.integration.small_town import NOW, build, clear_alarm, raise_alarm, rows

MINUTE = timedelta(minutes=1)
LATER = NOW + MINUTE
Connection = AsyncConnection[Any]
T = TypeVar("T")


@pytest.fixture
def town(migrated_url: str) -> str:
    """With one standing alarm and its dispatched incident, number 1."""
    build(migrated_url)
    raise_alarm(migrated_url, "c02-s1")

    async def once(connection: Connection) -> None:
        await triage_loop.triage_batch(connection, KnownDirectory(Settings().zone), NOW, mail=False)

    on(migrated_url, once)
    return migrated_url


def on(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


def do(url: str, action: str, *, role: str = "dispatcher", version: int | None = None, **given: str) -> Any:
    reason = given.pop("reason", "")
    return on(
        url,
        lambda connection: act(
            connection,
            Settings(),
            1,
            action,
            actor="user:1",
            role=role,
            reason=reason,
            fields={name.removesuffix("_"): value for name, value in given.items()},
            now=LATER,
            expected_version=version,
        ),
    )


def test_acknowledge_handle_archive_with_the_timeline_to_show_for_it(town: str) -> None:
    assert do(town, "acknowledge").state == "acknowledged"
    assert rows(town, "SELECT acknowledged_by FROM alarms") == [("user:1",)]
    do(town, "handle", comment="扑灭 put out")
    clear_alarm(town, 1, LATER)
    assert do(town, "archive").state == "archived"
    timeline = on(town, lambda connection: incidents.timeline(connection, 1))
    assert [event["kind"] for event in timeline] == [
        "opened",
        "dispatched",
        "nobody_told",
        "acknowledged",
        "handled",
        "verified",  # by its sensors, which are back to normal
        "archived",
    ]
    assert timeline[4]["reason"] == "扑灭 put out"
    assert timeline[4]["actor"] == "user:1"
    assert rows(town, "SELECT count(*) FROM changes WHERE kind = 'incident.changed'") == [(3,)]


def test_the_whole_way_on_either_server(either_migrated_url: str) -> None:
    """Plain PostgreSQL and TimescaleDB: from the alarm to the archive, chain intact."""
    build(either_migrated_url)
    raise_alarm(either_migrated_url, "c02-s1")

    async def once(connection: Connection) -> None:
        await triage_loop.triage_batch(connection, KnownDirectory(Settings().zone), NOW, mail=False)

    on(either_migrated_url, once)
    do(either_migrated_url, "acknowledge")
    do(either_migrated_url, "handle", comment="put out")
    clear_alarm(either_migrated_url, 1, LATER)
    assert do(either_migrated_url, "archive").closed_at == LATER
    assert on(either_migrated_url, incidents.verify_all) == {}


def test_a_refused_action_changes_nothing(town: str) -> None:
    before = rows(town, "SELECT version, last_seq, head FROM incidents")
    for action, given, code in (
        ("archive", {}, "conflict"),
        ("handle", {}, "invalid"),
        ("dispatch", {"unit": "nobody", "reason": "r"}, "invalid"),
        ("escalate", {"reason": "r", "class_": "Z"}, "invalid"),
        ("explode", {}, "invalid"),
    ):
        with pytest.raises(ActionError) as refusal:
            do(town, action, **given)
        assert refusal.value.code == code, action
        assert refusal.value.reason
    with pytest.raises(ActionError, match="role viewer") as forbidden:
        do(town, "acknowledge", role="viewer")
    assert forbidden.value.code == "forbidden"
    with pytest.raises(ActionError, match="read it again") as stale:
        do(town, "acknowledge", version=99)
    assert stale.value.code == "stale"
    assert rows(town, "SELECT version, last_seq, head FROM incidents") == before


def test_an_incident_that_is_not_there(town: str) -> None:
    with pytest.raises(ActionError) as missing:
        on(
            town,
            lambda connection: act(
                connection,
                Settings(),
                999,
                "comment",
                actor="user:1",
                role="dispatcher",
                reason="x",
                now=LATER,
            ),
        )
    assert missing.value.code == "not_found"


def test_two_people_at_once_one_wins_and_the_other_is_told(town: str) -> None:
    async def both(url: str) -> list[object]:
        first = await open_connection(url, "first", autocommit=True)
        second = await open_connection(url, "second", autocommit=True)
        try:
            return await asyncio.gather(
                *(
                    act(
                        connection, Settings(), 1, "acknowledge", actor="user:1", role="dispatcher", now=LATER
                    )
                    for connection in (first, second)
                ),
                return_exceptions=True,
            )
        finally:
            await first.close()
            await second.close()

    outcome = asyncio.run(both(town))
    assert sorted(type(each).__name__ for each in outcome) == ["ActionError", "Incident"]
    assert rows(town, "SELECT count(*) FROM incident_events WHERE kind = 'acknowledged'") == [(1,)]


def test_sending_on_to_another_unit_is_reasoned_and_told(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute("UPDATE units SET webhook_url = 'http://127.0.0.1:9/' WHERE code = 'fire-hq'")
    incident = do(town, "dispatch", unit="fire-hq", reason="需要云梯 needs a ladder")
    assert incident.due_at == NOW + 30 * MINUTE
    assert rows(town, "SELECT purpose, channel FROM notifications") == [("order", "webhook")]
    assert "needs a ladder" in incident.reason_en
    assert rows(town, "SELECT body->>'unit_name' FROM notifications") == [("消防大队",)]


def test_the_view_has_what_the_desk_shows(town: str) -> None:
    view = on(town, lambda connection: incidents.get(connection, 1))
    assert view is not None
    assert (view["cell"], view["street_name"], view["unit"], view["unit_phone"]) == (
        "c02",
        "东街",
        "fire-east",
        "0755-1",
    )
    assert view["devices"] == ["c02-s1"]
    assert view["alarms"] == [1]
    assert view["standing_alarms"] == 1
    assert on(town, lambda connection: incidents.get(connection, 2)) is None


def test_pages_filter_and_go_on(town: str) -> None:
    raise_alarm(town, "d00-s1")

    async def more(connection: Connection) -> None:
        await triage_loop.triage_batch(connection, KnownDirectory(Settings().zone), NOW, mail=False)

    on(town, more)
    page = incidents.page
    assert [row["id"] for row in on(town, lambda c: page(c, limit=1))] == [2]
    assert [row["id"] for row in on(town, lambda c: page(c, before=2))] == [1]
    assert [row["id"] for row in on(town, lambda c: page(c, states=["filed"]))] == [2]
    assert [row["id"] for row in on(town, lambda c: page(c, unit="fire-east"))] == [1]
    assert [row["id"] for row in on(town, lambda c: page(c, cell="d00", classes=["B"]))] == [2]
    assert on(town, lambda c: page(c, classes=["A"])) == []
    assert [row["id"] for row in on(town, lambda c: alarms.page(c, now=NOW, standing=True, incident=2))] == [
        2
    ]
    assert on(town, lambda c: alarms.page(c, now=NOW, standing=False)) == []
    assert [row["device"] for row in on(town, lambda c: alarms.page(c, now=NOW, device="c02-s1"))] == [
        "c02-s1"
    ]


def test_one_alarm_can_be_acknowledged_once(town: str) -> None:
    assert on(town, lambda connection: alarms.acknowledge(connection, 1, "user:1", LATER))
    assert not on(town, lambda connection: alarms.acknowledge(connection, 1, "user:2", LATER + MINUTE))
    row = on(town, lambda connection: alarms.get(connection, 1, LATER))
    assert row is not None
    assert (row["acknowledged_by"], row["acknowledged_at"], row["state"]) == ("user:1", LATER, "ACKED")
    assert not on(town, lambda connection: alarms.acknowledge(connection, 999, "user:1", LATER))
    assert on(town, lambda connection: alarms.get(connection, 999, LATER)) is None


def test_a_person_opens_one_and_a_later_alarm_joins_it(town: str) -> None:
    opened = on(
        town,
        lambda connection: open_by_person(
            connection,
            Settings(),
            category="fire",
            cell="c08",
            actor="user:1",
            role="dispatcher",
            now=NOW,
            text="来电 a caller sees smoke",
        ),
    )
    assert opened.number == "20261121-0002"
    assert opened.unit_id is not None
    raise_alarm(town, "c08-s1", at=LATER)

    async def more(connection: Connection) -> None:
        await triage_loop.triage_batch(connection, KnownDirectory(Settings().zone), LATER, mail=False)

    on(town, more)
    assert rows(town, "SELECT incident_id FROM alarms WHERE raised_at = %s", LATER) == [(opened.id,)]
    for given, field in (
        ({"category": "aliens", "cell": "c08"}, "category"),
        ({"category": "fire", "cell": "z"}, "cell"),
        ({"category": "fire", "cell": None, "text": "a\x00b"}, "text"),
    ):
        with pytest.raises(ActionError) as refusal:
            on(
                town,
                lambda connection, given=given: open_by_person(
                    connection, Settings(), actor="user:1", role="dispatcher", now=NOW, **given
                ),
            )
        assert refusal.value.field == field


# ── the record ───────────────────────────────────────────────────────────────────────────────────────


def test_events_cannot_be_changed_or_deleted(town: str) -> None:
    for statement in ("UPDATE incident_events SET actor = 'x'", "DELETE FROM incident_events"):
        with psycopg.connect(town) as connection, pytest.raises(errors.RestrictViolation):
            connection.execute(statement.encode())


def test_a_change_behind_the_triggers_back_is_found(town: str) -> None:
    do(town, "comment", comment="张三 called")
    assert on(town, incidents.verify_all) == {}
    with psycopg.connect(town) as connection:
        connection.execute("ALTER TABLE incident_events DISABLE TRIGGER incident_events_append_only")
        connection.execute("UPDATE incident_events SET actor = 'user:2' WHERE seq = 2")
    assert on(town, incidents.verify_all) == {1: 2}


def test_a_cut_off_end_is_found(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute("ALTER TABLE incident_events DISABLE TRIGGER incident_events_append_only")
        connection.execute("DELETE FROM incident_events WHERE seq = 3")
    assert on(town, incidents.verify_all) == {1: 3}


def test_a_typed_text_is_digested_can_be_erased_and_not_replaced(town: str) -> None:
    do(town, "comment", comment="张三 13800000000")
    assert rows(
        town, "SELECT count(*) FROM incident_events WHERE detail::text || reason LIKE '%13800000000%'"
    ) == [(0,)]
    with psycopg.connect(town) as connection:
        connection.execute("UPDATE incident_texts SET text = '李四'")
    assert on(town, incidents.verify_all) == {1: 4}
    with psycopg.connect(town) as connection:
        connection.execute("DELETE FROM incident_texts")
    assert on(town, incidents.verify_all) == {}
    assert on(town, lambda connection: incidents.timeline(connection, 1))[3]["erased"] is True


def test_the_timeline_shows_an_account_by_its_name(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute(
            "INSERT INTO users (name, display_name, password_hash, role) VALUES ('li', '李', 'x', 'dispatcher')"
        )
    do(town, "acknowledge")
    assert on(town, lambda connection: incidents.timeline(connection, 1))[-1]["actor"] == "李"
