"""The table of states: what each role may do, what each action changes, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from city.incidents import Change, Incident, State
from city.units import Unit
from command_centre.workflow import TABLE, Refused, Request, Role, allowed, apply

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DUE = NOON + timedelta(hours=1)
STATES = get_args(State)
CLOSED = ("archived", "voided")

OFFICE = Unit(
    id=7,
    code="fire-east",
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
)


def incident(state: State = "dispatched", **changes: object) -> Incident:
    base = Incident(
        id=1,
        number="20261121-0001",
        state=state,
        incident_class="B",
        base_class="B",
        category="fire.smoke",
        unit_id=None if state == "filed" else 3,
        reason="x",
        due_at=NOON + timedelta(minutes=30),
        opened_at=NOON - timedelta(minutes=5),
        acknowledged_at=NOON if state in ("acknowledged", "handled") else None,
        closed_at=NOON if state in CLOSED else None,
        awaiting_since=NOON,
        urged_level=1,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def ask(action: str, **changes: object) -> Request:
    base = Request(
        action=action, actor="user:1", role="dispatcher", reason="r", comment="c", unit=OFFICE, due_at=DUE
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def done(incident_before: Incident, request: Request, standing: int = 0) -> Change:
    result = apply(incident_before, request, standing, NOON)
    assert isinstance(result, Change), result
    return result


def refused(incident_before: Incident, request: Request, standing: int = 0) -> Refused:
    result = apply(incident_before, request, standing, NOON)
    assert isinstance(result, Refused), result
    return result


def test_the_way_from_lane_to_archive() -> None:
    state = incident("filed")
    for action, expected in (
        ("dispatch", "dispatched"),
        ("acknowledge", "acknowledged"),
        ("handle", "handled"),
        ("archive", "archived"),
    ):
        state = done(state, ask(action)).incident
        assert state.state == expected
    assert state.closed_at == NOON
    assert state.version == 5


def test_acknowledging_the_lane_silences_without_an_owner() -> None:
    change = done(incident("filed"), ask("acknowledge"))
    assert change.incident.state == "filed"
    assert change.incident.acknowledged_by == "user:1"
    assert refused(change.incident, ask("acknowledge")).code == "conflict"


def test_acknowledging_takes_its_alarms_along_and_stops_urging() -> None:
    change = done(incident(), ask("acknowledge"))
    assert change.alarms_acknowledged_by == "user:1"
    assert change.incident.awaiting_since is None


def test_first_dispatch_sets_the_deadline_and_sending_on_keeps_it() -> None:
    assert done(incident("filed"), ask("dispatch")).incident.due_at == DUE
    sent_on = done(incident("acknowledged"), ask("dispatch"))
    assert sent_on.incident.due_at == NOON + timedelta(minutes=30)
    assert sent_on.incident.acknowledged_at is None
    assert sent_on.incident.urged_level == 0
    assert [tell.purpose for tell in sent_on.tells] == ["order"]
    assert done(incident("handled"), ask("dispatch")).incident.due_at == DUE


def test_sending_on_needs_a_reason_and_any_dispatch_a_unit() -> None:
    assert refused(incident(), ask("dispatch", reason=" ")).field == "reason"
    assert done(incident("filed"), ask("dispatch", reason="")).incident.unit_id == 7
    assert refused(incident("filed"), ask("dispatch", unit=None)).field == "unit"


def test_what_must_be_said() -> None:
    assert refused(incident(), ask("void", reason="")).field == "reason"
    assert refused(incident(), ask("escalate", reason="")).field == "reason"
    assert refused(incident(), ask("handle", reason="", comment="")).field == "comment"
    assert refused(incident(), ask("comment", reason="", comment="\n ")).field == "comment"


def test_texts_are_bounded_and_hold_no_control_characters() -> None:
    for text in ("x" * 4001, "a\x00b", "a\x1bb", "\ud800"):
        assert refused(incident(), ask("comment", comment=text)).code == "invalid"
    assert done(incident(), ask("comment", comment="一行\n二行\t　完")).happenings[0].text.endswith("完")


def test_typed_words_are_text_and_never_enter_the_chained_reason() -> None:
    happening = done(incident(), ask("handle", reason="张三", comment="13800000000")).happenings[0]
    assert happening.text == "张三\n13800000000"
    assert happening.reason == ""
    assert "张三" not in str(happening.detail)


def test_archiving_while_an_alarm_stands_needs_an_administrator_with_a_reason() -> None:
    handled = incident("handled")
    assert refused(handled, ask("archive"), standing=1).code == "conflict"
    assert refused(handled, ask("archive", role="administrator", reason=""), standing=1).code == "conflict"
    assert done(handled, ask("archive", role="administrator"), standing=1).incident.state == "archived"
    assert done(handled, ask("archive", reason="")).incident.state == "archived"
    assert refused(incident("filed"), ask("archive")).code == "conflict"


def test_escalation_raises_one_step_reopens_and_tells_unit_and_lead() -> None:
    change = done(incident("acknowledged"), ask("escalate"))
    assert change.incident.incident_class == "A"
    assert change.incident.state == "dispatched"
    assert [(tell.purpose, tell.to_lead) for tell in change.tells] == [("again", False), ("again", True)]
    assert refused(incident(), ask("escalate", incident_class="C")).field == "class"
    assert refused(incident(incident_class="A"), ask("escalate")).field == "class"


def test_handling_late_is_on_the_record() -> None:
    late = done(incident(due_at=NOON - timedelta(minutes=1)), ask("handle"))
    assert late.happenings[0].detail["in_time"] is False
    assert done(incident(), ask("handle")).happenings[0].detail["in_time"] is True


def test_unknown_actions_and_viewers() -> None:
    assert refused(incident(), ask("explode")).field == "action"
    assert refused(incident(), ask("acknowledge", role="viewer")).code == "forbidden"
    for state in STATES:
        assert allowed(state, "viewer") == ()


def test_buttons_hide_what_makes_no_sense() -> None:
    assert allowed("dispatched", "dispatcher") == (
        "acknowledge",
        "dispatch",
        "escalate",
        "handle",
        "void",
        "comment",
    )
    assert "escalate" not in allowed("dispatched", "dispatcher", incident_class="A")
    assert "acknowledge" not in allowed("filed", "dispatcher", acknowledged=True)
    assert allowed("archived", "administrator") == ("comment",)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(STATES),
    st.sampled_from([*TABLE, "explode"]),
    st.sampled_from(get_args(Role)),
    st.integers(0, 2),
    st.booleans(),
)
def test_whatever_is_asked_the_rules_of_the_table_hold(
    state: State, action: str, role: str, standing: int, mute: bool
) -> None:
    """The schema's constraints hold after every change; what no button offers is refused."""
    words = {"reason": "", "comment": ""} if mute else {}
    before = incident(state)
    result = apply(before, ask(action, role=role, **words), standing, NOON)
    if action not in allowed(state, role, acknowledged=before.acknowledged_at is not None):
        assert isinstance(result, Refused)
        assert result.reason
        assert result.reason_en
    if isinstance(result, Change):
        after = result.incident
        assert after.unit_id is not None or after.state in ("filed", *CLOSED)
        assert after.unit_id is None or after.due_at is not None
        assert (after.closed_at is not None) == (after.state in CLOSED)
        assert after.incident_class <= before.incident_class
        assert after.version == before.version + 1
        assert len(result.happenings) == 1
        assert result.happenings[0].actor == "user:1"


def test_the_page_for_people_says_what_the_table_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "incidents.md").read_text(encoding="utf-8")
    for state in STATES:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{state}` |")]
        named = {
            word.split(" ")[0]
            for word in row.split("|")[3].replace(" (seen; the sound stops)", "").strip().split(", ")
        }
        assert named == {entry.action for entry in TABLE.values() if state in entry.states}, state
