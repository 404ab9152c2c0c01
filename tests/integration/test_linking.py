"""What belongs together: parts of a large event, candidates for a merge, and work that lies on the way."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from command_centre import merging
from command_centre.merging import Candidate
from tests.integration.merging_town import (
    LATER,
    MINUTE,
    Town,
    acted,
    do,
    founded,
    kinds,
    on,
    opened,
    refusal,
    rows,
)
from tests.integration.running_centre import running
from tests.integration.small_town import NOW
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Town]:
    """Of this file alone."""
    with founded(postgres_server, postgres_template) as town:
        yield town


# ── a large event and its parts ──────────────────────────────────────────────────────────────────────


def test_link_and_unlink_stand_on_both_timelines(town: Town) -> None:
    whole, part = opened(town, text="w"), opened(town, text="p")
    assert do(town, "link", part.id, parent=whole.id, reason="").parent_id == whole.id
    assert on(town, lambda connection: merging.open_children(connection, whole.id)) == 1
    assert do(town, "unlink", part.id, reason="").parent_id is None
    for one in (whole, part):
        assert kinds(town, one.id)[-2:] == ["linked", "unlinked"]
    assert on(town, lambda connection: merging.open_children(connection, whole.id)) == 0


def test_circles_and_second_levels_are_refused(town: Town) -> None:
    whole, part, other = (opened(town, text=text) for text in "wpo")
    do(town, "link", part.id, parent=whole.id)
    for child, parent, why in (
        (whole, whole, "no part of itself"),
        (whole, part, "itself a part"),
        (other, part, "itself a part"),
        (whole, other, "has parts itself"),
        (part, whole, "already"),
        (part, other, "unlink it first"),
    ):
        refused = refusal(town, "link", child.id, parent=parent.id)
        assert refused.code == "conflict"
        assert why in str(refused)
    assert "no part" in str(refusal(town, "unlink", other.id))
    assert "open parts" in str(refusal(town, "merge", whole.id, into=other.id))
    with (
        psycopg.connect(town.url) as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="part of a part"),
    ):
        connection.execute("UPDATE incidents SET parent_id = %s WHERE id = %s", (part.id, other.id))


# ── candidates ───────────────────────────────────────────────────────────────────────────────────────


def asked(
    town: Town, category: str | None, cell: str | None, text: str = "", **given: object
) -> list[Candidate]:
    """Candidates for a report at LATER."""
    ids = {
        str(code): area_id for area_id, code in rows(town, "SELECT id, code FROM areas WHERE layer = 'cell'")
    }
    asked_for = {
        "category": category,
        "cell_id": ids[cell] if cell else None,
        "longitude": None,
        "latitude": None,
        "text": text,
        "at": LATER,
    } | given
    return on(town, lambda connection: merging.candidates(connection, **asked_for))


def test_the_caller_belongs_to_the_fire_and_the_drain_does_not(town: Town) -> None:
    fire = opened(town, "c05-s1", cell="c05")
    (found,) = asked(town, "fire", "c05", "楼道冒烟")
    assert (found.incident_id, found.number, found.certain) == (fire.id, fire.number, True)
    assert asked(town, "facility.drain", "c05", "下水道堵了") == []
    (next_door,) = asked(town, "fire.detection", "c06")
    assert next_door.certain
    assert asked(town, "fire", "d00") == []
    assert asked(town, "fire", "c05", exclude=fire.id) == []
    assert asked(town, "fire", "c05", exercise=True) == []
    acted(town, "void", fire.id)
    assert asked(town, "fire", "c05") == []


def test_what_was_merged_leads_to_its_root_and_what_is_handled_is_not_certain(town: Town) -> None:
    reported = opened(town, category="environment.noise", cell="c08", text="工地半夜施工噪音大")
    root = opened(town, category="environment.noise", cell="c08", text="别的话", at=NOW - timedelta(days=9))
    do(town, "merge", reported.id, into=root.id)
    (found,) = asked(town, "environment.noise", "c08", "工地凌晨还在施工，噪音吵得睡不着")
    assert (found.incident_id, found.certain) == (root.id, True)
    acted(town, "dispatch", root.id, unit="fire-west")
    acted(town, "handle", root.id, comment="处理完毕")
    (found,) = asked(town, "environment.noise", "c08", "工地凌晨还在施工，噪音吵得睡不着")
    assert not found.certain
    assert ("已处置完毕", "handled already") in found.reasons


def test_without_a_category_there_are_suggestions_only(town: Town) -> None:
    said = opened(town, category="facility.streetlight", cell="c00", text="学校门口路灯坏了")
    found = asked(town, None, "c00", "学校门口的路灯不亮")
    assert [(one.incident_id, one.certain) for one in found] == [(said.id, False)]


def test_a_position_finds_what_lies_there_whatever_the_cell(town: Town) -> None:
    hole = opened(town, category="facility.manhole", cell="c04", text="井盖丢失")
    rows(town, "UPDATE incidents SET longitude = 114.3, latitude = 22.8 WHERE id = %s RETURNING 1", hole.id)
    (found,) = asked(town, "facility.manhole", None, "井盖不见了", longitude=114.3002, latitude=22.8)
    assert (found.incident_id, found.certain) == (hole.id, True)
    assert asked(town, "facility.manhole", None, "井盖不见了", longitude=114.31, latitude=22.8) == []


# ── one trip, one fix ────────────────────────────────────────────────────────────────────────────────


def test_work_nearby_shows_the_same_unit_first_and_nothing_that_is_done(town: Town) -> None:
    here, other, mine, done = (
        opened(town, category="fire.exit_blocked", cell="d00", text=text) for text in "homd"
    )
    acted(town, "dispatch", here.id, unit="fire-west")
    acted(town, "dispatch", mine.id, unit="fire-west")
    for one, metres in ((here, 0), (other, 20), (mine, 200), (done, 10)):
        rows(
            town,
            "UPDATE incidents SET longitude = 114.5 + %s / 102600.0, latitude = 22.5 WHERE id = %s RETURNING 1",
            metres,
            one.id,
        )
    acted(town, "void", done.id)
    found = on(town, lambda connection: merging.nearby(connection, incident_id=here.id))
    assert [(one.incident_id, one.same_unit, one.metres) for one in found] == [
        (mine.id, True, 200),
        (other.id, False, 20),
    ]
    close = on(town, lambda connection: merging.nearby(connection, incident_id=here.id, radius_m=100))
    assert [one.incident_id for one in close] == [other.id]


def test_the_desk_reads_candidates_work_nearby_and_links(town: Town) -> None:
    """By HTTP; last, since the centre's own loops begin to act on what the others left."""
    one, two = (opened(town, category="public.crowd", cell="c09", text="很多人聚集") for _ in range(2))
    part = opened(town, category="public.crowd", cell="c09", at=NOW + MINUTE)
    do(town, "link", part.id, parent=one.id)
    do(town, "merge", two.id, into=one.id)
    with running(town.url) as centre:
        get = centre.client.get
        (found,) = get(f"/api/incidents/{part.id}/candidates").json()["items"]
        assert (found["id"], found["certain"]) == (one.id, True)
        assert len(found["reasons"]) == len(found["reasons_en"]) >= 3
        (near,) = get(f"/api/incidents/{part.id}/nearby?radius_m=500").json()["items"]
        assert (near["id"], near["metres"], near["class"]) == (one.id, None, "B")
        linked = get(f"/api/incidents/{one.id}/links").json()
        assert {item["id"]: item["relation"] for item in linked["items"]} == {
            two.id: "merged",
            part.id: "child",
        }
        assert get(f"/api/incidents/{two.id}/links").json()["goes_on_in"] == one.id
        for what in ("candidates", "nearby", "links"):
            assert get(f"/api/incidents/999999/{what}").status_code == 404
        assert get(f"/api/incidents/{one.id}/nearby?radius_m=1").status_code == 422
        refused = centre.client.post(
            f"/api/incidents/{two.id}/merge", json={"into": one.id, "reason": "again"}
        )
        assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
        assert "merged" in refused.json()["detail"]
