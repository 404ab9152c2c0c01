"""The table of states: what each role may do, what each action changes, and what is refused."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.clocks import End, Extend, Limit, Pause, Resume, Start
from city.incidents import FINAL, UNOWNED, Change, Incident, Request, State
from city.units import Unit
from command_centre import workflow_drawn
from command_centre.accounts import Role
from command_centre.acting import apply
from command_centre.workflow import LANE, MOVES, TABLE, Act, Facts, Refused, Waiting, allowed

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DUE = NOON + timedelta(hours=1)
STATES = get_args(State)
OWN, OTHER = 3, 7


def office(unit_id: int = OTHER, tier: str = "district") -> Unit:
    return Unit(
        id=unit_id,
        code=f"u{unit_id}",
        name="东街消防站",
        name_en="East fire station",
        kind="fire",
        parent=None,
        lead="",
        phone="",
        lead_phone="",
        email="",
        lead_email="",
        webhook_url="",
        tier=tier,  # type: ignore[arg-type]  # one of the three
    )


def incident(state: State = "dispatched", **changes: Any) -> Incident:
    base = Incident(
        id=1,
        number="20261121-0001",
        state=state,
        incident_class="B",
        base_class="B",
        category="fire.smoke",
        unit_id=None if state in UNOWNED else OWN,
        reason="x",
        source="person",
        due_at=NOON + timedelta(minutes=30),
        opened_at=NOON - timedelta(minutes=5),
        dispatched_at=NOON - timedelta(minutes=5),
        acknowledged_at=NOON
        if state in ("acknowledged", "arrived", "handled", "verified", "fed_back")
        else None,
        handled_by="user:9" if state in ("handled", "verified", "fed_back", "archived") else None,
        held_state="arrived" if state == "suspended" else None,
        merged_into=2 if state == "merged" else None,
        closed_at=NOON if state in FINAL else None,
        awaiting_since=NOON,
        urged_level=1,
    )
    return replace(base, **changes)


def wish(action: str, **changes: Any) -> Act:
    base = Act(
        action=action,
        actor="user:1",
        role="dispatcher",
        reason="r",
        comment="c",
        unit=office(),
        due_at=DUE,
        limit=Limit(amount=60, unit="natural"),
    )
    return replace(base, **changes)


def handler(action: str, **changes: Any) -> Act:
    given: dict[str, Any] = {"actor": "user:5", "role": "handler", "unit_id": OWN, **changes}
    return wish(action, **given)


def done(before: Incident, act: Act, facts: Facts | None = None) -> Change:
    result = apply(before, act, facts or Facts(), NOON)
    assert isinstance(result, Change), result
    return result


def refused(before: Incident, act: Act, facts: Facts | None = None) -> Refused:
    result = apply(before, act, facts or Facts(), NOON)
    assert isinstance(result, Refused), result
    return result


def asked(ask: str, **changes: Any) -> Facts:
    base = Request(
        id=11,
        incident_id=1,
        ask=ask,  # type: ignore[arg-type]  # one of the five
        unit_id=OWN,
        asked_by="user:5",
        asked_at=NOON,
        limit="60m",
    )
    return Facts(requests=(replace(base, **changes),))


def walk(state: Incident, *steps: tuple[str, str, str], facts: Facts | None = None) -> Incident:
    for action, actor, expected in steps:
        state = done(state, wish(action, actor=actor), facts).incident
        assert state.state == expected
    return state


def test_five_steps_of_a_street() -> None:
    street = office(tier="street")
    state = done(incident("registered"), wish("accept")).incident
    state = done(state, wish("dispatch", unit=street)).incident
    assert state.steps == 5
    end = walk(
        state,
        ("acknowledge", "user:5", "acknowledged"),
        ("arrive", "user:5", "arrived"),
        ("handle", "user:5", "handled"),
        ("feedback", "user:6", "fed_back"),
        ("archive", "user:1", "archived"),
    )
    assert end.closed_at == NOON
    assert end.waived_by is None


def test_six_steps_of_the_district_and_none_is_skipped() -> None:
    state = walk(
        incident("filed", reported=True),
        ("dispatch", "user:1", "dispatched"),
        ("handle", "user:5", "handled"),
    )
    assert state.steps == 6
    assert "verify" in refused(state, wish("feedback")).allowed
    assert "was not verified" in refused(state, wish("archive")).reason_en
    state = walk(state, ("verify", "user:6", "verified"))
    assert "fed back" in refused(state, wish("archive")).reason_en
    assert (
        walk(state, ("feedback", "user:1", "fed_back"), ("archive", "user:1", "archived")).waived_by is None
    )


def test_an_approver_answers_by_name_for_a_step_left_out() -> None:
    handled = incident("handled", steps=6)
    assert refused(handled, wish("archive", role="supervisor", reason="")).code == "conflict"
    assert done(handled, wish("archive", role="supervisor", actor="user:4")).incident.waived_by == "user:4"


def test_sensors_verify_what_only_sensors_told_of() -> None:
    alarm = incident("handled", steps=6, source="alarm")
    change = done(alarm, wish("archive", reason=""), Facts(alarms=2))
    assert [one.kind for one in change.happenings] == ["verified", "archived"]
    assert change.incident.verified_by == "system"
    assert change.incident.waived_by is None
    assert refused(replace(alarm, reported=True), wish("archive", reason=""), Facts(alarms=2))


def test_who_collects_does_not_handle_and_who_handles_does_not_verify() -> None:
    mine = incident(collected_by="user:5")
    assert refused(mine, handler("handle")).code == "forbidden"
    assert done(mine, handler("handle", actor="user:6")).incident.handled_by == "user:6"
    machine = incident(collected_by="api-token")
    assert done(machine, wish("handle", actor="api-token", role="administrator")).incident.state == "handled"
    handled = incident("handled", steps=6, handled_by="user:1")
    for action in ("verify", "rework"):
        assert refused(handled, wish(action)).code == "forbidden"
        assert done(handled, wish(action, actor="user:2"))
    own_worker = wish("verify", role="grid_worker", actor="user:8", unit_id=OWN)
    assert refused(handled, own_worker).code == "forbidden"


def test_a_handler_acts_only_on_what_the_unit_has() -> None:
    theirs = handler("acknowledge", unit_id=OTHER)
    assert refused(incident(), theirs).code == "forbidden"
    assert done(incident(), handler("acknowledge")).incident.acknowledged_by == "user:5"
    co = Facts(co_units=frozenset({OTHER}))
    assert done(incident(), handler("comment", unit_id=OTHER), co)
    assert refused(incident(), handler("handle", unit_id=OTHER), co).code == "forbidden"
    assert refused(incident(), handler("dispatch")).code == "forbidden"


def test_acknowledging_the_lane_silences_without_an_owner() -> None:
    change = done(incident("filed"), wish("acknowledge"))
    assert change.incident.state == "filed"
    assert change.incident.acknowledged_by == "user:1"
    assert change.effects == ()
    assert refused(change.incident, wish("acknowledge")).code == "conflict"


def test_acknowledging_takes_its_alarms_along_and_stops_urging() -> None:
    change = done(incident(), wish("acknowledge"))
    assert change.alarms_acknowledged_by == "user:1"
    assert change.incident.awaiting_since is None
    assert change.effects[0] == End(stages=("acknowledge",))


def test_first_dispatch_sets_the_deadline_and_sending_on_keeps_it() -> None:
    fresh = done(incident("filed"), wish("dispatch"))
    assert fresh.incident.due_at == DUE
    assert Start(stage="handle", due_at=DUE) in fresh.effects
    sent_on = done(incident("acknowledged"), wish("dispatch"))
    assert sent_on.incident.due_at == NOON + timedelta(minutes=30)
    assert not any(isinstance(one, Start) and one.stage == "handle" for one in sent_on.effects)
    assert sent_on.incident.acknowledged_at is None
    assert sent_on.incident.urged_level == 0
    assert [tell.purpose for tell in sent_on.tells] == ["order"]
    assert done(incident("handled"), wish("dispatch")).incident.due_at == DUE


def test_joint_handling_has_one_lead_and_no_circle() -> None:
    helping = office(8)
    change = done(incident("filed"), wish("dispatch", co_units=(helping,)))
    assert change.co_units == (8,)
    assert [tell.purpose for tell in change.tells] == ["order", "co_order"]
    assert refused(incident("filed"), wish("dispatch", co_units=(office(),))).field == "co_units"
    assert refused(incident("filed"), wish("dispatch", co_units=(helping, helping))).field == "co_units"


@pytest.mark.parametrize(
    ("action", "field", "lacking"),
    [
        ("void", "reason", {"reason": ""}),
        ("escalate", "reason", {"reason": ""}),
        ("return", "reason", {"reason": " "}),
        ("transfer", "reason", {"reason": " "}),
        ("dispute", "reason", {"reason": " "}),
        ("supervise", "reason", {"reason": "", "role": "supervisor"}),
        ("extend", "limit", {"limit": None}),
        ("extend", "reason", {"reason": ""}),
        ("suspend", "limit", {"limit": None}),
        ("handle", "comment", {"reason": "", "comment": ""}),
        ("comment", "comment", {"reason": "", "comment": "\n "}),
        ("dispatch", "unit", {"unit": None}),
        ("dispatch", "reason", {"reason": " "}),
    ],
)
def test_what_must_be_said(action: str, field: str, lacking: dict[str, Any]) -> None:
    assert refused(incident(), wish(action, **lacking)).field == field


def test_texts_are_bounded_and_hold_no_control_characters() -> None:
    for text in ("x" * 4001, "a\x00b", "a\x1bb", "\ud800"):
        assert refused(incident(), wish("comment", comment=text)).code == "invalid"
    assert done(incident(), wish("comment", comment="一行\n二行\t　完")).happenings[0].text.endswith("完")


def test_typed_words_are_text_and_never_enter_the_chained_reason() -> None:
    happening = done(incident(), wish("handle", reason="张三", comment="13800000000")).happenings[0]
    assert happening.text == "张三\n13800000000"
    assert happening.reason == ""
    assert "张三" not in str(happening.detail)


def test_nothing_is_archived_while_a_sensor_that_is_heard_still_alarms() -> None:
    handled = incident("handled")
    burning = Facts(alarms=2, standing=2, unbelieved=1)
    for role in ("dispatcher", "supervisor", "administrator"):
        assert refused(handled, wish("archive", role=role), burning).code == "conflict"
    blind = Facts(alarms=2, standing=2, unbelieved=2)
    assert refused(handled, wish("archive"), blind).field == "reason"
    assert refused(handled, wish("archive", role="supervisor", reason=""), blind).field == "reason"
    assert done(handled, wish("archive", role="supervisor"), blind).incident.waived_by == "user:1"
    assert refused(incident("filed"), wish("archive")).code == "conflict"


def test_a_large_event_closes_after_what_is_under_it() -> None:
    parent = incident("handled")
    assert "2 open incidents" in refused(parent, wish("archive"), Facts(open_children=2)).reason_en
    assert done(parent, wish("archive", role="supervisor"), Facts(open_children=2))


def test_escalation_raises_one_step_reopens_and_tells_unit_and_lead() -> None:
    change = done(incident("acknowledged"), wish("escalate"))
    assert change.incident.incident_class == "A"
    assert change.incident.state == "dispatched"
    assert [(tell.purpose, tell.to_lead) for tell in change.tells] == [("again", False), ("again", True)]
    assert refused(incident(), wish("escalate", incident_class="C")).field == "class"
    assert refused(incident(incident_class="A"), wish("escalate")).field == "class"


def test_handling_late_is_on_the_record() -> None:
    late = done(incident(due_at=NOON - timedelta(minutes=1)), wish("handle"))
    assert late.happenings[0].detail["in_time"] is False
    assert done(incident(), wish("handle")).happenings[0].detail["in_time"] is True


def test_rework_gives_the_same_unit_new_time() -> None:
    change = done(incident("handled", steps=6), wish("rework"))
    assert (change.incident.state, change.incident.reworks, change.incident.unit_id) == ("rework", 1, OWN)
    assert change.incident.handled_by is None
    assert Start(stage="handle") in change.effects
    assert [tell.to_lead for tell in change.tells] == [False, True]


def test_reopening_has_a_limit() -> None:
    soon = incident("archived", closed_at=NOON - timedelta(days=6))
    citizen = wish("reopen", actor="citizen", role="citizen")
    assert done(soon, citizen).incident.state == "rework"
    assert done(soon, citizen).incident.closed_at is None
    assert refused(replace(soon, closed_at=NOON - timedelta(days=8)), citizen).code == "conflict"


def test_a_unit_asks_to_return_and_keeps_it_until_the_centre_says_yes() -> None:
    change = done(incident(), handler("return"))
    assert change.incident.unit_id == OWN
    assert change.incident.state == "dispatched"
    assert change.requests[0].ask == "return"
    assert Start(stage="answer") in change.effects
    granted = done(incident(), wish("approve"), asked("return"))
    assert (granted.incident.state, granted.incident.unit_id) == ("returned", None)
    assert granted.requests[0].state == "granted"
    assert Start(stage="dispatch") in granted.effects
    assert refused(incident(), handler("return"), asked("return")).code == "conflict"


def test_nobody_grants_their_own_wish() -> None:
    own = asked("return", asked_by="user:1")
    assert refused(incident(), wish("approve"), own).code == "forbidden"
    assert refused(incident(), wish("approve"), asked("extend")).code == "forbidden"  # a dispatcher may not
    assert done(incident(), wish("approve", role="supervisor"), asked("extend")).incident.extensions == 1


def test_extension_is_counted_and_bounded() -> None:
    change = done(incident(overdue_at=NOON), wish("extend", role="supervisor"))
    assert change.effects[-1] == Extend(stage="handle", by=Limit(amount=60, unit="natural"))
    assert change.incident.overdue_at is None
    assert refused(incident(extensions=2), handler("extend")).code == "conflict"


def test_suspension_stops_the_clocks_and_resuming_goes_on_where_it_was() -> None:
    change = done(incident("arrived"), wish("approve", role="supervisor"), asked("suspend"))
    assert (change.incident.state, change.incident.held_state) == ("suspended", "arrived")
    assert Pause() in change.effects
    back = done(change.incident, handler("resume"))
    assert (back.incident.state, back.incident.held_state) == ("arrived", None)
    assert Resume() in back.effects


def test_first_asked_first_responsible() -> None:
    transfer = handler("transfer", unit=office())
    change = done(incident(), transfer)
    assert change.incident.unit_id == OWN
    assert [(tell.purpose, tell.unit_id) for tell in change.tells] == [("asked", None), ("asked", OTHER)]
    once = asked("transfer", state="refused", decided_by="user:7", decided_at=NOON)
    assert "once already" in refused(incident(), transfer, once).reason_en
    late = incident(dispatched_at=NOON - timedelta(hours=3))
    assert "that time is over" in refused(late, transfer).reason_en
    assert refused(incident(), handler("transfer", unit=office(OWN))).field == "unit"


def test_a_transfer_is_over_only_when_somebody_takes_it() -> None:
    waiting = asked("transfer", to_unit_id=OTHER)
    due = incident().due_at
    taken = done(incident(), handler("take", actor="user:7", unit_id=OTHER), waiting)
    assert (taken.incident.unit_id, taken.incident.state) == (OTHER, "acknowledged")
    assert taken.incident.due_at == due
    assert taken.requests[0].decided_by == "user:7"
    no = done(incident(), handler("refuse", actor="user:7", unit_id=OTHER), waiting)
    assert (no.incident.unit_id, no.requests[0].state) == (OWN, "refused")
    assert refused(incident(), handler("take", unit_id=99, actor="user:8"), waiting).code == "forbidden"


def test_the_arbiter_rules_and_nobody_else() -> None:
    dispute = asked("dispute")
    assert refused(incident(), wish("rule"), dispute).code == "forbidden"
    assert refused(incident(), wish("approve"), dispute).code == "conflict"
    ruled = done(incident(), wish("rule", role="supervisor", amend=True), dispute)
    assert (ruled.incident.unit_id, ruled.incident.state) == (OTHER, "dispatched")
    assert ruled.happenings[0].detail["amends_list"] is True
    stays = done(incident(), wish("rule", role="supervisor", unit=office(OWN)), dispute)
    assert (stays.incident.unit_id, stays.incident.state) == (OWN, "dispatched")
    assert refused(incident(), wish("rule", role="supervisor")).code == "conflict"


def test_who_asked_may_think_better_of_it() -> None:
    waiting = asked("transfer")
    change = done(incident(), handler("withdraw"), waiting)
    assert change.requests[0].state == "withdrawn"
    assert refused(incident(), wish("withdraw", actor="user:2"), waiting).code == "forbidden"


def test_of_several_requests_the_one_that_is_named() -> None:
    two = Facts(requests=(*asked("return").requests, *asked("extend", id=12).requests))
    assert refused(incident(), wish("approve", role="supervisor"), two).field == "request"
    change = done(incident(), wish("approve", role="supervisor", asked=12), two)
    assert change.incident.extensions == 1


def test_a_conflict_says_what_is_possible_now() -> None:
    no = refused(incident("handled"), handler("arrive"))
    assert no.code == "conflict"
    assert no.allowed == ("comment",)
    assert "handled" in no.reason_en
    assert set(refused(incident("archived"), wish("handle")).allowed) == {"reopen", "comment"}


def test_unknown_actions_and_viewers() -> None:
    assert refused(incident(), wish("explode")).field == "action"
    assert refused(incident(), wish("acknowledge", role="viewer")).code == "forbidden"
    for state in STATES:
        assert allowed(state, "viewer") == ()


def test_buttons_hide_what_makes_no_sense() -> None:
    assert "escalate" not in allowed("dispatched", "dispatcher", incident_class="A")
    assert "acknowledge" not in allowed("filed", "dispatcher", acknowledged=True)
    assert "approve" not in allowed("dispatched", "dispatcher")
    assert "rule" in allowed("dispatched", "supervisor", waiting=[waits("dispute")])
    assert "rule" not in allowed("dispatched", "supervisor", actor="user:5", waiting=[waits("dispute")])
    assert "handle" not in allowed("dispatched", "handler", mine=False)
    assert "unlink" not in allowed("dispatched", "dispatcher")
    assert "unlink" in allowed("dispatched", "dispatcher", part=True)
    assert allowed("voided", "administrator") == ("comment",)


def waits(ask: Any, to: int | None = None) -> Waiting:
    return Waiting(ask=ask, asked_by="user:5", unit_id=OWN, to_unit_id=to)


ANSWERS = {"take", "approve", "refuse", "withdraw", "rule"}


def answers(role: str, actor: str, unit: int | None, *waiting: Waiting) -> set[str]:
    offered = allowed("acknowledged", role, actor=actor, unit_id=unit, mine=unit == OWN, waiting=waiting)
    return ANSWERS & set(offered)


def test_only_who_may_answer_a_request_is_offered_to() -> None:
    assert answers("handler", "user:5", OWN, waits("extend")) == {"withdraw"}
    assert answers("handler", "user:6", OWN, waits("transfer", OTHER)) == {"withdraw"}
    assert answers("handler", "user:7", OTHER, waits("transfer", OTHER)) == {"take", "refuse"}
    assert answers("handler", "user:7", OTHER, waits("extend")) == set()
    assert answers("handler", "user:7", 4, waits("transfer", OTHER)) == set()
    assert answers("dispatcher", "user:1", None, waits("extend")) == set()
    assert answers("dispatcher", "user:1", None, waits("return")) == {"approve", "refuse"}
    assert answers("supervisor", "user:2", None, waits("extend")) == {"approve", "refuse"}
    assert answers("supervisor", "user:2", None, waits("dispute")) == {"rule"}
    assert answers("handler", "user:5", OWN) == set()


def test_what_waits_already_is_not_asked_again() -> None:
    offered = allowed("acknowledged", "handler", actor="user:5", unit_id=OWN, waiting=[waits("extend")])
    assert "extend" not in offered
    assert "return" in offered


def test_who_handles_beside_the_lead_says_what_they_see_and_no_more() -> None:
    assert allowed("arrived", "handler", unit_id=OTHER, mine=False, beside=True) == ("comment",)
    assert allowed("arrived", "handler", unit_id=OTHER, mine=False) == ()
    assert done(incident("arrived"), handler("comment", unit_id=OTHER), Facts(co_units=frozenset({OTHER})))


def test_a_unit_that_was_not_asked_takes_nothing_over() -> None:
    anyone = asked("transfer", to_unit_id=None)
    assert refused(incident(), handler("take", actor="user:6"), anyone).code == "forbidden"
    to_other = asked("transfer", to_unit_id=OTHER)
    assert refused(incident(), handler("take", actor="user:6"), to_other).code == "forbidden"
    assert (
        done(incident(), handler("take", unit_id=OTHER, actor="user:7"), to_other).incident.unit_id == OTHER
    )


def test_photos_stand_in_the_event_that_they_prove() -> None:
    digest = "a" * 64
    change = done(incident("arrived"), handler("handle", photos=(digest,)))
    assert change.happenings[0].detail["photos"] == [digest]
    assert "photos" not in done(incident("arrived"), handler("handle")).happenings[0].detail
    assert refused(incident(), wish("escalate", photos=(digest,))).field == "photos"


ASKS = ("return", "transfer", "extend", "suspend", "dispute")


@given(
    st.sampled_from(STATES),
    st.sampled_from([*(one for one in TABLE if one not in ("merge", "split", "link", "unlink")), "explode"]),
    st.sampled_from(get_args(Role)),
    st.sampled_from(["user:1", "user:5", "user:9"]),
    st.sampled_from([OWN, OTHER, None]),
    st.integers(0, 2),
    st.sampled_from([None, *ASKS]),
    st.sampled_from([5, 6]),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_wanted_the_rules_of_the_house_hold(  # each is one thing that varies
    state: State,
    action: str,
    role: str,
    actor: str,
    unit_id: int | None,
    standing: int,
    waiting: str | None,
    steps: Any,
    mute: bool,
    reported: bool,
) -> None:
    """The schema's constraints hold after every change; what no button offers is refused."""
    words = {"reason": "", "comment": ""} if mute else {}
    before = incident(state, steps=steps, reported=reported, collected_by="user:5")
    facts = replace(asked(waiting) if waiting else Facts(), standing=standing, unbelieved=min(standing, 1))
    result = apply(before, wish(action, role=role, actor=actor, unit_id=unit_id, **words), facts, NOON)
    offered = allowed(
        state,
        role,
        actor=actor,
        unit_id=unit_id,
        acknowledged=before.acknowledged_at is not None,
        mine=unit_id is not None and unit_id == before.unit_id,
        waiting=[waits(waiting)] if waiting else [],
        steps=steps,
    )
    if action not in offered:
        assert isinstance(result, Refused)
        assert result.reason
        assert result.reason_en
    if isinstance(result, Change):
        _holds(before, result, role)


def _holds(before: Incident, result: Change, role: str) -> None:
    after = result.incident
    assert after.unit_id is not None or after.state in (*UNOWNED, *FINAL)
    assert after.unit_id is None or after.due_at is not None
    assert (after.closed_at is not None) == (after.state in FINAL)
    assert (after.held_state is not None) == (after.state == "suspended")
    assert after.state == before.state or after.state in MOVES[before.state]
    assert after.handled_by is None or after.handled_by != after.collected_by
    assert after.verified_by is None or after.verified_by != after.handled_by
    if after.state == "archived" and before.state != "archived":
        complete = (after.steps == 5 or after.verified_at) and (not after.reported or after.fed_back_at)
        assert complete or (after.waived_by and role in ("supervisor", "administrator"))
    for one in result.requests:
        assert one.state != "granted" or one.decided_by != one.asked_by
    assert after.incident_class <= before.incident_class
    assert after.version == before.version + 1
    assert result.happenings


def test_the_database_knows_the_same_moves() -> None:
    """Read from the migration's text; the database itself is asked in the integration tests."""
    root = Path(__file__).parents[2] / "city/storage/migrations/0012_workflow.sql"
    text = root.read_text(encoding="utf-8")
    listed = text[text.index("INSERT INTO incident_moves") :]
    pairs = re.findall(r"\('([a-z_]+)', '([a-z_]+)'\)", listed[: listed.index(";")])
    assert {(one, other) for one, ways in MOVES.items() for other in ways} == set(pairs)
    assert set(MOVES) == set(STATES)


def test_the_lane_is_who_nobody_has() -> None:
    assert set(LANE) == UNOWNED


def test_the_page_for_people_says_what_the_table_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "workflow.md").read_text(encoding="utf-8")
    drawn = page[page.index("<!-- drawn -->\n") + len("<!-- drawn -->\n") : page.index("<!-- end -->")]
    assert drawn == workflow_drawn.page(), (
        "run python -m command_centre.workflow_drawn and put it into the page"
    )
    assert set(workflow_drawn.STATES) == set(STATES)
