"""Two incidents become one and come apart again: nothing lost, on the record, refused without a trace."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from city.incidents import Change, Happening, Incident
from city.storage import directory, incidents
from city.storage.changes import open_connection
from command_centre import merging
from command_centre.actions import ActionError
from command_centre.recording import store
from tests.integration.merging_town import (
    LATER,
    LOSSLESS,
    MINUTE,
    SETTINGS,
    Connection,
    Town,
    acted,
    alarms_of,
    do,
    founded,
    kinds,
    on,
    open_clocks,
    opened,
    refusal,
    rows,
)
from tests.integration.small_town import NOW, clear_alarm, raise_alarm
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Town]:
    """Of this file alone."""
    with founded(postgres_server, postgres_template) as town:
        yield town


def test_merge_moves_alarms_ends_clocks_and_keeps_the_owner(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1", at=NOW - 5 * MINUTE)
    merged = do(town, "merge", gone.id, into=kept.id)
    assert (merged.state, merged.merged_into, merged.closed_at) == ("merged", kept.id, LATER)
    assert len(alarms_of(town, kept.id)) == 2
    assert alarms_of(town, gone.id) == []
    assert open_clocks(town, gone.id) == []
    ((state, unit, due_at),) = rows(
        town, "SELECT state, unit_id, due_at FROM incidents WHERE id = %s", kept.id
    )
    assert (state, unit) == ("dispatched", kept.unit_id)
    assert due_at == gone.due_at  # due as early as the earliest of both
    assert ("handle", gone.due_at) in open_clocks(town, kept.id)
    assert rows(town, "SELECT opened_at FROM incidents WHERE id = %s", kept.id) == [(gone.opened_at,)]
    assert "merged" in kinds(town, gone.id)
    assert "merged_in" in kinds(town, kept.id)
    assert on(town, lambda connection: merging.root(connection, gone.id)) == kept.id


def test_split_gives_everything_back(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1", "c03-s2", at=NOW - 5 * MINUTE)
    acted(town, "acknowledge", gone.id)
    before = [rows(town, LOSSLESS, one.id) for one in (kept, gone)]
    clocks_before = [open_clocks(town, one.id) for one in (kept, gone)]
    alarms_before = [alarms_of(town, one.id) for one in (kept, gone)]
    do(town, "merge", gone.id, into=kept.id)
    assert len(alarms_of(town, kept.id)) == 3
    back = do(town, "split", gone.id, now=LATER + MINUTE)
    assert back.state == "acknowledged"
    assert [rows(town, LOSSLESS, one.id) for one in (kept, gone)] == before
    assert [open_clocks(town, one.id) for one in (kept, gone)] == clocks_before
    assert [alarms_of(town, one.id) for one in (kept, gone)] == alarms_before
    assert rows(town, "SELECT count(*) FROM alarm_homes WHERE incident_id = %s", gone.id) == [(0,)]
    assert on(town, incidents.verify_all) == {}


def test_a_reporter_follows_and_the_root_is_found_through_a_chain(town: Town) -> None:
    first, second, third = (opened(town, device) for device in ("c02-s1", "c02-s2", "c02-k1"))
    do(town, "merge", first.id, into=second.id)
    do(town, "merge", second.id, into=third.id)
    for one in (first, second, third):
        assert on(town, lambda connection, one=one: merging.root(connection, one.id)) == third.id
    assert len(alarms_of(town, third.id)) == 3
    late = opened(town, "c03-s1")
    assert do(town, "merge", late.id, into=first.id).merged_into == third.id  # follows to the root
    do(town, "split", first.id)  # from the depth of the chain
    assert len(alarms_of(town, first.id)) == 1
    assert len(alarms_of(town, third.id)) == 3
    do(town, "split", second.id)
    assert alarms_of(town, second.id) == rows_of_device(town, "c02-s2", second.id)
    assert on(town, incidents.verify_all) == {}


def test_what_leaves_the_middle_of_a_chain_takes_its_weight_with_it(town: Town) -> None:
    """A into B, B into C; A comes out first, then B: each is as it was, and so is C after each step."""
    urgent, middle, end = (
        opened(town, "c02-s1", at=NOW - 3 * MINUTE),
        opened(town, "c02-s2"),
        opened(town, "c02-k1"),
    )
    acted(town, "escalate", urgent.id)
    weights = "SELECT class, opened_at, due_at FROM incidents WHERE id = %s"
    before = {one.id: rows(town, weights, one.id) for one in (urgent, middle, end)}
    do(town, "merge", urgent.id, into=middle.id)
    do(town, "merge", middle.id, into=end.id)
    assert rows(town, weights, end.id) == [("A", urgent.opened_at, urgent.due_at)]
    do(town, "split", urgent.id)
    assert rows(town, weights, end.id) == before[end.id]
    do(town, "split", middle.id)
    for one in (urgent, middle, end):
        assert rows(town, weights, one.id) == before[one.id]
        assert ("handle", before[one.id][0][2]) in open_clocks(town, one.id)
    assert on(town, incidents.verify_all) == {}


def rows_of_device(town: Town, device: str, incident_id: int) -> list[object]:
    return [
        one
        for (one,) in rows(
            town,
            "SELECT a.id FROM alarms a JOIN devices d ON d.id = a.device_id WHERE d.code = %s AND a.incident_id = %s",
            device,
            incident_id,
        )
    ]


def test_the_class_rises_with_a_merge_and_falls_with_the_split(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1")
    acted(town, "escalate", gone.id)
    assert do(town, "merge", gone.id, into=kept.id).incident_class == "A"
    assert rows(town, "SELECT class FROM incidents WHERE id = %s", kept.id) == [("A",)]
    do(town, "split", gone.id)
    assert rows(town, "SELECT class FROM incidents WHERE id = %s", kept.id) == [(kept.incident_class,)]


def test_the_class_stays_when_something_else_came_meanwhile(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1")
    acted(town, "escalate", gone.id)
    do(town, "merge", gone.id, into=kept.id)
    another = opened(town, "c02-s2")
    do(town, "merge", another.id, into=kept.id)
    report_to(town, kept.id)
    do(town, "split", gone.id)
    assert rows(town, "SELECT class FROM incidents WHERE id = %s", kept.id) == [("A",)]


def report_to(town: Town, incident_id: int) -> None:
    """A citizen's report on the incident's timeline."""

    async def work(connection: Connection) -> None:
        async with connection.transaction():
            incident = await incidents.lock(connection, incident_id)
            assert incident is not None
            change = Change(
                incident=replace(incident, reported=True, version=incident.version + 1),
                happenings=(Happening(kind="reported", actor="citizen", text="冒烟"),),
            )
            await store(
                connection, await directory.load(connection, SETTINGS.zone), [change], LATER, mail=False
            )

    on(town, work)


def test_another_unit_stays_beside_when_it_is_on_its_way_and_leaves_with_the_split(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1")
    acted(town, "dispatch", gone.id, unit="fire-west")
    acted(town, "acknowledge", gone.id)
    do(town, "merge", gone.id, into=kept.id)
    ((west,),) = rows(town, "SELECT id FROM units WHERE code = 'fire-west'")
    beside = "SELECT unit_id FROM incident_co_units WHERE incident_id = %s"
    assert rows(town, beside, kept.id) == [(west,)]
    assert "co_order" in told(town, kept.id)
    do(town, "split", gone.id)
    assert rows(town, beside, kept.id) == []


def test_a_unit_that_has_not_begun_is_told_that_it_is_off_unless_it_is_kept(town: Town) -> None:
    kept, gone, other = (opened(town, device) for device in ("c02-s1", "c03-s1", "c03-s2"))
    for one in (gone, other):
        acted(town, "dispatch", one.id, unit="fire-west")
    do(town, "merge", gone.id, into=kept.id)
    assert "decided" in told(town, gone.id)
    assert rows(town, "SELECT unit_id FROM incident_co_units WHERE incident_id = %s", kept.id) == []
    do(town, "merge", other.id, into=kept.id, co_unit=True)
    assert len(rows(town, "SELECT unit_id FROM incident_co_units WHERE incident_id = %s", kept.id)) == 1


def told(town: Town, incident_id: int) -> list[object]:
    query = (
        "SELECT detail ->> 'purpose' FROM incident_events"
        " WHERE incident_id = %s AND kind IN ('told', 'nobody_told')"
    )
    return [purpose for (purpose,) in rows(town, query, incident_id)]


def test_what_the_merged_one_asked_for_is_withdrawn(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1")
    acted(town, "extend", gone.id, unit_id=gone.unit_id, limit="30m")
    do(town, "merge", gone.id, into=kept.id)
    assert rows(town, "SELECT state FROM incident_requests WHERE incident_id = %s", gone.id) == [
        ("withdrawn",)
    ]


def test_an_alarm_that_stands_in_the_merged_one_keeps_the_other_open(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1")
    do(town, "merge", gone.id, into=kept.id)
    first, _ = alarms_of(town, kept.id)
    clear_alarm(town.url, int(str(first)), LATER)
    rows(town, "UPDATE incidents SET state = 'handled', steps = 5 WHERE id = %s RETURNING 1", kept.id)
    with pytest.raises(psycopg.errors.CheckViolation, match="standing alarm"):
        rows(
            town,
            "UPDATE incidents SET state = 'archived', closed_at = now() WHERE id = %s RETURNING 1",
            kept.id,
        )


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("conflict", "into itself", {"into": "gone"}),
    ("invalid", "no incident", {"into": 10**9}),
    ("invalid", "id of an incident", {"into": "x"}),
    ("invalid", "id of an incident", {}),
    ("invalid", "true or false", {"into": "kept", "co_unit": "yes"}),
    ("invalid", "say why", {"into": "kept", "reason": " "}),
    ("invalid", "none of control", {"into": "kept", "reason": "a\x00b"}),
    ("forbidden", "role viewer", {"into": "kept", "role": "viewer"}),
    ("forbidden", "role handler", {"into": "kept", "role": "handler"}),
    ("stale", "read it again", {"into": "kept", "version": 99}),
    ("conflict", "a drill", {"into": "drill"}),
    ("conflict", "is suspended", {"into": "suspended"}),
    ("conflict", "is archived", {"into": "archived"}),
    ("conflict", "other way round", {"into": "handled"}),
    ("conflict", "has no unit", {"into": "lane"}),
]


@pytest.fixture(scope="module")
def cast(town: Town) -> dict[str, int]:
    """Incidents in every state that stands in the way."""
    made = {
        name: opened(town, cell="c07", text="x").id
        for name in ("gone", "kept", "suspended", "archived", "handled")
    }
    made["drill"] = opened(town, cell="c07", exercise=True).id
    made["lane"] = opened(town, category="public.person", cell="d00").id
    for statement, name in (
        ("UPDATE incidents SET state = 'suspended', held_state = 'dispatched' WHERE id = %s", "suspended"),
        ("UPDATE incidents SET state = 'handled' WHERE id = %s", "handled"),
        ("UPDATE incidents SET state = 'handled', steps = 5 WHERE id = %s", "archived"),
        ("UPDATE incidents SET state = 'archived', closed_at = now() WHERE id = %s", "archived"),
    ):
        rows(town, statement + " RETURNING 1", made[name])
    return made


@pytest.mark.parametrize(("code", "why", "given"), REFUSED, ids=[why for _, why, _ in REFUSED])
def test_a_merge_that_cannot_be_changes_nothing(
    town: Town, cast: dict[str, int], code: str, why: str, given: dict[str, Any]
) -> None:
    into = given.get("into")
    asked = {**given, "into": cast.get(into, into) if isinstance(into, str) else into} if into else given
    refused = refusal(town, "merge", cast["gone"], **asked)
    assert refused.code == code
    assert why in str(refused)


def test_an_incident_that_does_not_exist_is_not_found(town: Town) -> None:
    for what, given in (("merge", {"into": 1}), ("split", {}), ("link", {"parent": 1}), ("unlink", {})):
        assert refusal(town, what, 10**9, **given).code == "not_found"


def test_two_people_at_once_the_second_reads_how_it_stands(town: Town) -> None:
    one, two, gone = (opened(town, device) for device in ("c02-s1", "c03-s1", "c02-k1"))

    async def both(_: Connection) -> list[object]:
        async def merged(into: int) -> Incident:
            async with await open_connection(town.url, "test", autocommit=True) as connection:
                return await merging.merge(
                    connection, SETTINGS, gone.id, actor="user:1", role="dispatcher", unit_id=None, reason="r",
                    fields={"into": into}, now=LATER,
                )  # fmt: skip

        return list(await asyncio.gather(merged(one.id), merged(two.id), return_exceptions=True))

    results = on(town, both)
    (refused,) = (result for result in results if isinstance(result, ActionError))
    assert (refused.code, refused.state) == ("conflict", "merged")
    assert len([result for result in results if isinstance(result, Incident)]) == 1


def test_two_that_are_merged_into_each_other_at_once_leave_one(town: Town) -> None:
    one, two = opened(town, "c02-s1"), opened(town, "c03-s1")

    async def both(_: Connection) -> list[object]:
        async def merged(gone: int, into: int) -> Incident:
            async with await open_connection(town.url, "test", autocommit=True) as connection:
                return await merging.merge(
                    connection, SETTINGS, gone, actor="user:1", role="dispatcher", unit_id=None, reason="r",
                    fields={"into": into}, now=LATER,
                )  # fmt: skip

        return list(
            await asyncio.gather(merged(one.id, two.id), merged(two.id, one.id), return_exceptions=True)
        )

    results = on(town, both)
    assert [type(result) for result in results if isinstance(result, Exception)] == [ActionError]
    open_now = rows(
        town, "SELECT count(*) FROM incidents WHERE id IN (%s, %s) AND closed_at IS NULL", one.id, two.id
    )
    assert open_now == [(1,)]


def test_an_alarm_that_joins_in_the_same_moment_is_not_overlooked(town: Town) -> None:
    """Triage holds the incident, its alarm is not among those locked: whoever merges is asked to try again."""
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1")
    late = raise_alarm(town.url, "c03-k1", rule="late", at=NOW)

    async def race(connection: Connection) -> object:
        async with await open_connection(town.url, "triage", autocommit=True) as triage:
            async with triage.transaction():
                await incidents.lock(triage, gone.id)
                await triage.execute(
                    "UPDATE alarms SET triage = 'done', incident_id = %s WHERE id = %s", (gone.id, late)
                )
                merged = asyncio.create_task(
                    merging.merge(
                        connection, SETTINGS, gone.id, actor="user:1", role="dispatcher", unit_id=None, reason="r",
                        fields={"into": kept.id}, now=LATER,
                    )
                )  # fmt: skip
                waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
                while not merged.done():
                    cursor = await triage.execute(waits, (connection.info.backend_pid,))
                    if await cursor.fetchone() == (1,):
                        break
            return (await asyncio.gather(merged, return_exceptions=True))[0]

    refused = on(town, race)
    assert isinstance(refused, ActionError)
    assert "try again" in str(refused)
    assert do(town, "merge", gone.id, into=kept.id).state == "merged"
    assert late in alarms_of(town, kept.id)


# ── coming apart ─────────────────────────────────────────────────────────────────────────────────────


def test_what_ended_with_the_other_is_not_split_off_before_that_is_reopened(town: Town) -> None:
    kept, gone = opened(town, text="a", category="fire.smoke"), opened(town, text="b")
    do(town, "merge", gone.id, into=kept.id)
    acted(town, "void", kept.id)
    refused = refusal(town, "split", gone.id)
    assert refused.code == "conflict"
    assert "reopen" in str(refused)


def test_a_deadline_that_passed_meanwhile_is_due_at_the_split(town: Town) -> None:
    kept, gone = opened(town, "c02-s1"), opened(town, "c03-s1")
    do(town, "merge", gone.id, into=kept.id)
    much_later = NOW + timedelta(days=3)
    do(town, "split", gone.id, now=much_later)
    assert dict(open_clocks(town, gone.id))["handle"] == much_later


def test_chosen_alarms_become_an_incident_of_their_own(town: Town) -> None:
    both = opened(town, "c02-s1", "c04-k1")
    first, second = alarms_of(town, both.id)
    fresh = do(town, "split", both.id, alarms=[second])
    assert alarms_of(town, fresh.id) == [second]
    assert alarms_of(town, both.id) == [first]
    assert (fresh.state, fresh.category) == ("dispatched", "fire.smoke")
    assert kinds(town, both.id)[-1] == "split_off"
    ((detail,),) = rows(
        town, "SELECT detail FROM incident_events WHERE incident_id = %s AND seq = 1", fresh.id
    )
    assert isinstance(detail, dict)
    assert detail["split_from"] == both.number


@pytest.mark.parametrize(
    ("alarms", "why"),
    [
        ([], "name the alarms"),
        ("all", "nothing would be left"),
        ([10**9], "not of incident"),
        ("x", "list of ids"),
        ([True], "list of ids"),
    ],
)
def test_alarms_that_cannot_leave_stay(town: Town, alarms: object, why: str) -> None:
    both = opened(town, "c02-s1", "c04-k1")
    refused = refusal(town, "split", both.id, alarms=alarms_of(town, both.id) if alarms == "all" else alarms)
    assert refused.code == "invalid"
    assert why in str(refused)


def test_a_report_that_was_about_something_else_leaves_with_its_reporter(town: Town) -> None:
    joined = opened(town, "c02-s1")
    ((report,),) = rows(
        town,
        "INSERT INTO reports (tracking, tracking_digest, channel, received_at, nature, text, place, actor, "
        " incident_id, category, area_id) SELECT '0000000000001', sha256('1'), 'web', now(), 'complaint', 'x',"
        " 'inside', 'citizen', %s, 'fire.detection', id FROM areas WHERE code = 'c04' RETURNING id",
        joined.id,
    )
    fresh = do(town, "split", joined.id, reports=[report])
    assert rows(town, "SELECT incident_id FROM reports WHERE id = %s", report) == [(fresh.id,)]
    assert (fresh.source, fresh.category, fresh.reported) == ("report", "fire.detection", True)
    assert len(alarms_of(town, joined.id)) == 1


def test_a_flood_task_stays_by_itself(town: Town) -> None:
    task, other = opened(town, text="t"), opened(town, text="o")
    rows(
        town,
        "INSERT INTO flood_tasks (kind, incident_id, area_id, to_move, deadline, reason, exercise, opened_at,"
        " opened_by) SELECT 'evacuate', %s, id, 3, now() + interval '1 hour', 'r', false, now(), 'user:1'"
        " FROM areas WHERE code = 'c02'"
        " RETURNING id",
        task.id,
    )
    assert "flood task" in str(refusal(town, "merge", task.id, into=other.id))
