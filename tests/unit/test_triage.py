"""Alarms to incidents: what joins, what opens, what is only recorded, and what must hold in any order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from city.incidents import Incident
from command_centre import triage
from command_centre.triage import (
    MOST_CELLS,
    TELL_AGAIN_AFTER,
    Footprint,
    Hold,
    Join,
    NewAlarm,
    Open,
    OpenIncident,
    Record,
    Wait,
    decide,
    family,
    footprint_of,
    join,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def neighbours_in_a_row(cell: int) -> frozenset[int]:
    return frozenset({cell - 1, cell + 1})


def alarm(**changes: object) -> NewAlarm:
    base = NewAlarm(
        id=1,
        category="fire.smoke",
        incident_class="B",
        raised_at=NOON,
        device_id=10,
        device_code="smoke-10",
        kind="smoke",
        cell_id=100,
        neighbours=neighbours_in_a_row(100),
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def opened(by: NewAlarm, **changes: object) -> OpenIncident:
    incident = Incident(
        id=1,
        number="20261121-0001",
        state="dispatched",
        incident_class=by.incident_class,
        base_class=by.incident_class,
        category=by.category,
        area_id=by.cell_id,
        unit_id=7,
        reason="x",
        due_at=NOON + timedelta(hours=1),
        opened_at=by.raised_at,
        told_at=by.raised_at,
        exercise=by.exercise,
    )
    return OpenIncident(
        incident=replace(incident, **changes),  # type: ignore[arg-type]  # the tests name real fields
        footprint=footprint_of(by),
    )


def joined(verdict: object) -> Join:
    assert isinstance(verdict, Join), verdict
    return verdict


def test_nothing_open_nearby_opens() -> None:
    assert decide(alarm(), [], NOON) == Open()


def test_same_cell_other_detector_joins() -> None:
    verdict = joined(decide(alarm(id=2, device_id=11), [opened(alarm())], NOON))
    assert verdict.incident_id == 1
    assert verdict.why == "cell"


def test_neighbouring_cell_joins_and_a_far_one_does_not() -> None:
    near = alarm(id=2, device_id=11, cell_id=101, neighbours=neighbours_in_a_row(101))
    far = alarm(id=3, device_id=12, cell_id=105, neighbours=neighbours_in_a_row(105))
    assert joined(decide(near, [opened(alarm())], NOON)).why == "neighbour"
    assert decide(far, [opened(alarm())], NOON) == Open()


def test_smoke_and_camera_are_one_fire_but_a_hydrant_or_water_is_not() -> None:
    fire = [opened(alarm())]
    camera = alarm(id=2, device_id=11, kind="camera", category="fire.detection")
    assert joined(decide(camera, fire, NOON)).incident_id == 1
    for other in ("fire.hydrant", "flood.level", "public.person"):
        assert decide(alarm(id=2, device_id=11, category=other), fire, NOON) == Open()


def test_matters_of_one_trade_keep_apart() -> None:
    leak = opened(alarm(category="facility.gas"))
    assert decide(alarm(id=2, category="facility.streetlight"), [leak], NOON) == Open()
    assert family("facility.gas") != family("facility.manhole")
    assert family("fire.smoke") == family("fire.detection")


def test_window_counts_event_time_from_the_last_alarm() -> None:
    old = opened(alarm(cleared_at=NOON + MINUTE))
    assert isinstance(decide(alarm(id=2, raised_at=NOON + 30 * MINUTE), [old], NOON), Join)
    assert decide(alarm(id=2, raised_at=NOON + 31 * MINUTE), [old], NOON) == Open()
    assert isinstance(
        decide(alarm(id=2, raised_at=NOON + 31 * MINUTE), [old], NOON, {"fire.smoke": 60}), Join
    )


def test_a_condition_still_standing_in_the_cell_keeps_its_incident() -> None:
    burning = opened(alarm())
    assert isinstance(decide(alarm(id=2, device_id=11, raised_at=NOON + 300 * MINUTE), [burning], NOON), Join)


def test_drill_and_real_never_mix() -> None:
    assert decide(alarm(id=2, exercise=True), [opened(alarm())], NOON) == Open()
    assert decide(alarm(id=2), [opened(alarm(exercise=True))], NOON) == Open()


def test_three_devices_raise_the_class_by_one_step_only() -> None:
    first = alarm()
    state = opened(first)
    classes = []
    for number in range(2, 8):
        another = alarm(id=number, device_id=10 + number)
        verdict = joined(decide(another, [state], NOON))
        state, _ = join(another, state, verdict, NOON)
        classes.append(state.incident.incident_class)
    assert classes == ["B", "A", "A", "A", "A", "A"]


def test_two_kinds_raise_the_class_but_only_one_step_from_c() -> None:
    state = opened(alarm(incident_class="C"))
    camera = alarm(id=2, device_id=11, kind="camera", category="fire.detection", incident_class="C")
    verdict = joined(decide(camera, [state], NOON))
    assert verdict.raise_class_to == "B"


def test_many_silent_devices_are_one_fault_and_no_proof() -> None:
    first = alarm(category="device.silent", incident_class="C", gateway="gw-1")
    state = opened(first)
    for number in range(2, 9):
        another = alarm(
            id=number,
            category="device.silent",
            incident_class="C",
            device_id=10 + number,
            gateway="gw-1",
            cell_id=200 + 10 * number,
            neighbours=frozenset(),
        )
        verdict = joined(decide(another, [state], NOON))
        assert verdict.why == "gateway"
        state, _ = join(another, state, verdict, NOON)
    assert state.incident.incident_class == "C"


def test_silence_does_not_spread_to_neighbouring_cells() -> None:
    first = opened(alarm(category="device.silent", gateway="gw-1"))
    beside = alarm(
        id=2,
        category="device.silent",
        device_id=11,
        gateway="gw-2",
        cell_id=101,
        neighbours=neighbours_in_a_row(101),
    )
    assert decide(beside, [first], NOON) == Open()


def test_a_new_device_after_acknowledgement_reopens_it() -> None:
    seen = opened(alarm(), state="acknowledged", acknowledged_at=NOON, acknowledged_by="user:1", told_at=NOON)
    verdict = joined(decide(alarm(id=2, device_id=11), [seen], NOON + timedelta(seconds=5)))
    assert verdict.reopen_acknowledgement
    assert verdict.tell_again
    after, change = join(alarm(id=2, device_id=11), seen, verdict, NOON + timedelta(seconds=5))
    assert after.incident.state == "dispatched"
    assert after.incident.acknowledged_at is None
    assert [happening.kind for happening in change.happenings] == ["joined", "acknowledgement_reopened"]


def test_the_same_device_again_leaves_the_acknowledgement() -> None:
    seen = opened(alarm(cleared_at=NOON), state="acknowledged", acknowledged_at=NOON, told_at=NOON)
    verdict = joined(decide(alarm(id=2, raised_at=NOON + MINUTE), [seen], NOON + MINUTE))
    assert not verdict.reopen_acknowledgement


def test_a_handled_incident_that_alarms_again_is_open_again() -> None:
    done = opened(alarm(cleared_at=NOON), state="handled", acknowledged_at=NOON)
    verdict = joined(decide(alarm(id=2, raised_at=NOON + MINUTE), [done], NOON + MINUTE))
    assert verdict.reopen_acknowledgement


def test_people_are_told_again_at_most_every_two_minutes() -> None:
    state = opened(alarm(), told_at=NOON)
    soon = joined(decide(alarm(id=2), [state], NOON + TELL_AGAIN_AFTER - timedelta(seconds=1)))
    later = joined(decide(alarm(id=2), [state], NOON + TELL_AGAIN_AFTER))
    assert (soon.tell_again, later.tell_again) == (False, True)


def test_what_the_district_below_decides_is_recorded_here_whatever_it_is() -> None:
    below = {"decided_below": True, "incident_class": "A"}
    assert decide(alarm(**below), [], NOON) == Record(why="decided_below")
    assert decide(alarm(**below, service_state="under_test"), [], NOON) == Record(why="decided_below")
    assert decide(alarm(**below, incident_id=5), [], NOON) == Record(why="decided_below")
    assert isinstance(decide(alarm(), [], NOON), Open)


def test_late_and_over_is_history_and_a_short_flap_is_an_incident() -> None:
    over = NOON + MINUTE
    assert decide(alarm(late=True, cleared_at=over), [], NOON) == Record(why="late_and_over")
    assert decide(alarm(cleared_at=over), [], NOON) == Open()
    assert decide(alarm(late=True), [], NOON) == Open()
    assert decide(alarm(category="device.silent", cleared_at=over), [], NOON) == Record(why="silence_ended")


def test_waiting_and_held() -> None:
    assert decide(alarm(page_after=NOON + MINUTE), [], NOON) == Wait(until=NOON + MINUTE)
    assert decide(alarm(page_after=NOON), [], NOON) == Open()
    assert decide(alarm(service_state="under_test"), [], NOON) == Hold(why="under_test")
    assert decide(alarm(service_state="shelved"), [opened(alarm())], NOON) == Hold(why="shelved")
    assert decide(alarm(service_state="out_of_service"), [], NOON) == Hold(why="out_of_service")
    assert decide(alarm(shelved=True), [opened(alarm())], NOON) == Hold(why="shelf")
    held = alarm(service_state="shelved", cleared_at=NOON)
    assert decide(held, [], NOON) == Record(why="cleared_while_held")
    assert decide(alarm(shelved=True, cleared_at=NOON), [], NOON) == Record(why="cleared_while_held")


def test_a_level_that_rose_is_told_again_in_the_incident_it_has() -> None:
    own = opened(alarm(), state="acknowledged", acknowledged_at=NOON, told_at=NOON)
    nearer = opened(alarm(), id=7)
    rose = alarm(incident_id=1, incident_class="A", level="red")
    verdict = joined(decide(rose, [nearer, own], NOON + timedelta(seconds=1)))
    assert (verdict.incident_id, verdict.why, verdict.raise_class_to) == (1, "again", "A")
    assert verdict.reopen_acknowledgement
    assert verdict.tell_again  # however short ago people were told: they were told of less
    after, change = join(rose, own, verdict, NOON + timedelta(seconds=1))
    assert (after.incident.incident_class, after.incident.state) == ("A", "dispatched")
    said = [happening.kind for happening in change.happenings]
    assert said == ["alarm_again", "class_raised", "acknowledgement_reopened"]
    assert change.happenings[0].detail["level"] == "red"


def test_a_re_alarm_whose_incident_is_closed_is_as_good_as_new_unless_it_is_over() -> None:
    closed = opened(alarm(), state="archived", closed_at=NOON)
    assert decide(alarm(incident_id=1), [closed], NOON) == Open()
    assert decide(alarm(incident_id=1), [], NOON) == Open()
    assert decide(alarm(incident_id=1, cleared_at=NOON), [closed], NOON) == Record(why="over_again")


def test_neighbours_of_neighbours_stop_at_the_bound() -> None:
    state = opened(alarm())
    for step in range(1, MOST_CELLS):
        next_one = alarm(
            id=1 + step, device_id=10 + step, cell_id=100 + step, neighbours=neighbours_in_a_row(100 + step)
        )
        state, _ = join(next_one, state, joined(decide(next_one, [state], NOON)), NOON)
    beyond = 100 + MOST_CELLS
    one_more = alarm(id=99, device_id=99, cell_id=beyond, neighbours=neighbours_in_a_row(beyond))
    assert len(state.footprint.cells) == MOST_CELLS
    assert decide(one_more, [state], NOON) == Open()
    assert isinstance(decide(alarm(id=98, device_id=98, cell_id=110), [state], NOON), Join)


def test_of_several_the_nearest_is_joined_and_the_others_are_named() -> None:
    beside = opened(alarm(cell_id=101, neighbours=neighbours_in_a_row(101)), id=5)
    own = opened(alarm(), id=6)
    verdict = joined(decide(alarm(id=2, device_id=11), [beside, own], NOON))
    assert verdict.incident_id == 6
    assert verdict.also_fits == (5,)


def test_our_own_outage_joins_only_its_like() -> None:
    system = NewAlarm(id=1, category="system.ingest", incident_class="B", raised_at=NOON)
    outage = opened(system, unit_id=None, state="filed")
    assert joined(decide(replace(system, id=2), [outage], NOON)).why == "system"
    assert decide(replace(system, id=2, category="system.disk"), [outage], NOON) == Open()
    assert decide(alarm(category="system.ingest"), [outage], NOON) == Open()


def test_closed_incidents_take_no_alarms() -> None:
    assert decide(alarm(id=2), [opened(alarm(), state="archived", closed_at=NOON)], NOON) == Open()


# ── in any order ─────────────────────────────────────────────────────────────────────────────────────

ALARMS = st.builds(
    lambda number, cell, device, kind, minute, category, urgency: alarm(
        id=number,
        device_id=100 * cell + device,  # a detector hangs in one cell
        kind=kind,
        cell_id=cell,
        neighbours=neighbours_in_a_row(cell),
        raised_at=NOON + minute * MINUTE,
        category=category,
        incident_class=urgency,
    ),
    st.integers(1, 10_000),
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from(["smoke", "camera"]),
    st.integers(0, 120),
    st.sampled_from(["fire.smoke", "fire.detection", "flood.level"]),
    st.sampled_from(["A", "B", "C"]),
)


def triaged(alarms: list[NewAlarm]) -> dict[int, list[NewAlarm]]:
    """Run alarms through the decision one by one; the alarms of each incident."""
    state: dict[int, OpenIncident] = {}
    members: dict[int, list[NewAlarm]] = {}
    for each in alarms:
        verdict = decide(each, list(state.values()), NOON)
        if isinstance(verdict, Join):
            before = state[verdict.incident_id].incident.incident_class
            state[verdict.incident_id], _ = join(each, state[verdict.incident_id], verdict, NOON)
            assert state[verdict.incident_id].incident.incident_class <= before, "a class fell"
            members[verdict.incident_id].append(each)
        else:
            key = len(state) + 1
            state[key] = opened(each, id=key)
            members[key] = [each]
    return members


@given(st.lists(ALARMS, max_size=40))
def test_no_two_incidents_of_one_cell_family_and_window(alarms: list[NewAlarm]) -> None:
    members = triaged(sorted(alarms, key=lambda each: each.raised_at))
    seen: dict[tuple[int | None, str], list[tuple[datetime, int]]] = {}
    for number, group in members.items():
        for each in group:
            seen.setdefault((each.cell_id, family(each.category)), []).append((each.raised_at, number))
    for instants in seen.values():
        for at, number in instants:
            for other_at, other in instants:
                assert number == other or abs(at - other_at) > triage.JOIN_WINDOW


@given(st.lists(ALARMS, min_size=1, max_size=25), st.randoms())
def test_within_a_window_a_cell_has_one_incident_in_any_order(
    alarms: list[NewAlarm], shuffle: Random
) -> None:
    # 120 minutes become 30: all within one window
    together = [replace(each, raised_at=NOON + (each.raised_at - NOON) / 4) for each in alarms]
    shuffle.shuffle(together)
    members = triaged(together)
    owner: dict[tuple[int | None, str], int] = {}
    for number, group in members.items():
        for each in group:
            assert owner.setdefault((each.cell_id, family(each.category)), number) == number


@given(st.lists(ALARMS, max_size=40))
def test_an_incident_is_connected_ground_and_bounded(alarms: list[NewAlarm]) -> None:
    for group in triaged(alarms).values():
        cells = {each.cell_id or 0 for each in group}
        assert len(cells) <= MOST_CELLS
        assert max(cells) - min(cells) == len(cells) - 1


def test_an_incident_a_person_opened_is_joined_by_its_cell() -> None:
    by_hand = OpenIncident(
        incident=opened(alarm()).incident,
        footprint=Footprint(cells=frozenset({100}), first_at=NOON, last_at=NOON),
    )
    assert isinstance(decide(alarm(), [by_hand], NOON), Join)
