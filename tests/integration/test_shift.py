"""The change of shift, the board and the report on alarms, over HTTP on real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.integration.running_centre import Centre, on_fresh_ground
from tests.integration.test_alarm_api import alarm_of, get, person
from tests.integration.test_api import problem
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


def test_one_shift_hands_over_and_another_takes_it(centre: Centre) -> None:
    alarm = alarm_of(centre)
    number = centre.execute(
        "SELECT i.number FROM incidents i JOIN alarms a ON a.incident_id = i.id WHERE a.id = %s", alarm
    )
    stands = get(centre, "/api/handovers/standing")["figures"]
    assert stands["counts"]["open"] == {"A": 1}
    assert [one["number"] for one in stands["incidents"]] == [number[0][0]]
    assert (stands["counts"]["alarms"], stands["counts"]["opened"]) == (1, 1)

    early, late = person(centre, "dispatcher"), person(centre, "supervisor")
    first = early.post(
        "/api/handovers", json={"notes": "南湖泵站 3 号泵待修"}, headers={"Idempotency-Key": "n1"}
    )
    again = early.post(
        "/api/handovers", json={"notes": "南湖泵站 3 号泵待修"}, headers={"Idempotency-Key": "n1"}
    )
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    written = first.json()
    assert written["figures"]["counts"]["open"] == {"A": 1}
    assert problem(early.post("/api/handovers", json={"notes": "once more"}), 409)["detail_zh"].startswith(
        "上一份"
    )
    assert problem(early.post(f"/api/handovers/{written['id']}/take", json={}), 403)
    assert problem(late.post(f"/api/handovers/{written['id']}/withdraw"), 403)
    taken = late.post(f"/api/handovers/{written['id']}/take", json={"note": "已知悉"}).json()
    assert (taken["taker"], taken["taken_note"]) == ("supervisor", "已知悉")
    assert problem(late.post(f"/api/handovers/{written['id']}/take", json={}), 409)

    since = get(centre, "/api/handovers/standing")
    assert since["began_at"] == written["written_at"]
    assert since["figures"]["counts"]["opened"] == 0
    second = late.post("/api/handovers", json={}).json()
    assert late.post(f"/api/handovers/{second['id']}/withdraw").json()["withdrawn_at"] is not None
    listed = get(centre, "/api/handovers?limit=1")
    assert [one["id"] for one in listed["items"]] == [second["id"]]
    assert [one["id"] for one in get(centre, f"/api/handovers?cursor={listed['next']}")["items"]] == [
        written["id"]
    ]
    assert problem(late.post("/api/handovers/999/take", json={}), 404)


def test_what_was_handed_over_is_not_rewritten(centre: Centre) -> None:
    number = centre.execute(
        "INSERT INTO handovers (began_at, written_at, written_by, notes, figures, withdrawn_at)"
        " VALUES (now() - interval '1 hour', now(), 'system', 'as it was', '{}', now()) RETURNING id"
    )[0][0]
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        centre.execute("UPDATE handovers SET notes = 'as it was not' WHERE id = %s", number)
    with pytest.raises(psycopg.errors.CheckViolation):
        centre.execute(
            "INSERT INTO handovers (began_at, written_at, written_by, notes, figures, taken_at, taken_by)"
            " VALUES (now() - interval '1 hour', now(), 'user:1', '', '{}', now(), 'user:1')"
        )


def test_the_board_shows_load_and_who_is_late(centre: Centre) -> None:
    alarm = alarm_of(centre, "D2")
    unit = centre.execute(
        "SELECT u.code, i.id FROM incidents i JOIN units u ON u.id = i.unit_id JOIN alarms a ON a.incident_id = i.id"
        " WHERE a.id = %s",
        alarm,
    )
    assert unit, "the demonstration ground gives fires to a station"
    code, incident = unit[0]
    before = {row["code"]: row for row in get(centre, "/api/board")["units"]}[code]
    assert before["open"] == before["a"] + before["b"] + before["c"] >= 1
    assert (before["overdue"], before["duty"]) == (0, "unknown")
    centre.execute("UPDATE units SET capacity = 2 WHERE code = %s", code)
    centre.execute("UPDATE incidents SET due_at = now() - interval '1 minute' WHERE id = %s", incident)
    after = {row["code"]: row for row in get(centre, "/api/board")["units"]}[code]
    assert after["overdue"] == 1
    assert after["load"] == after["working"] / 2


def test_alarms_are_counted_as_people_met_them(centre: Centre) -> None:
    begin = datetime(2026, 3, 2, 4, tzinfo=UTC)
    device = centre.execute("SELECT id FROM devices WHERE code = 'D1'")[0][0]
    incident = centre.execute("SELECT min(id) FROM incidents")[0][0]
    for second in (0, 20, 40, 1200, *range(3600, 3612)):
        at = begin + timedelta(seconds=second)
        centre.execute(
            "INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, cleared_at, recorded_at,"
            " evidence, triage, incident_id, acknowledged_at)"
            " VALUES ('r', 1, %s, 'fire.smoke', 'red', %s, %s, %s, '{}', 'done', %s, %s)",
            device,
            at,
            at + timedelta(seconds=0.5),
            at,
            incident,
            at + timedelta(seconds=90),
        )
    centre.execute(
        "INSERT INTO alarms (rule_id, rule_version, category, level, raised_at, recorded_at, evidence,"
        " triage, exercise) VALUES ('drill', 1, 'fire.smoke', 'red', %s, %s, '{}', 'recorded', true)",
        begin,
        begin,
    )
    found = get(
        centre, "/api/alarm-performance?from=2026-03-02T04:00:00Z&to=2026-03-02T08:00:00Z&operators=1"
    )
    figures = {one["key"]: one for one in found["figures"]}
    assert (found["alarms"], found["silent"], found["acknowledge_median_s"]) == (16, {"exercise": 1}, 90)
    assert [number for _, number in found["spans"]] == [3, 1, 12]
    assert [flood["alarms"] for flood in found["floods"]] == [12]
    assert (figures["fleeting"]["value"], figures["peak"]["verdict"]) == (16, "bad")
    assert [(one["device"], one["alarms"]) for one in found["chattering"]] == [("D1", 16)]
    assert [(one["rule"], one["alarms"]) for one in found["most_frequent"]] == [("r", 16)]
    assert found["classes"] == {"A": 16}

    centre.execute(
        "INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, recorded_at, evidence,"
        " triage) VALUES ('old', 1, %s, 'fire.smoke', 'red', %s, %s, '{}', 'new')",
        device,
        begin - timedelta(hours=25),
        begin,
    )
    stands = get(centre, "/api/alarm-performance?from=2026-03-02T04:00:00Z&to=2026-03-02T08:00:00Z")
    assert (stands["standing"], [one["rule"] for one in stands["stale"]]) == (1, ["old"])


@pytest.mark.parametrize(
    "asked", ["from=2026-03-02T04:00:00Z&to=2026-03-01T04:00:00Z", "from=2025-01-01T00:00:00Z"]
)
def test_a_span_that_cannot_be_is_refused(centre: Centre, asked: str) -> None:
    assert problem(centre.client.get(f"/api/alarm-performance?{asked}"), 422)["errors"][0]["field"] == "from"
