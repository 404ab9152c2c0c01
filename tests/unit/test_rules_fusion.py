"""Fusion: different sources near one another in place and time, never two of one kind, and what it writes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.incidents import Incident
from command_centre import triage
from command_centre.fusion import Fusions
from command_centre.triage import Join, NewAlarm, OpenIncident
from rules.definitions import RuleError
from rules.engine import Engine, Listening
from rules.fusion import FusionRule, Signal, fuse
from tests.unit.rules_feed import METRICS, START_US, UNTIMED, at, rule

SOURCES: list[dict[str, object]] = [
    {"category": "fire.smoke", "name": "烟感", "name_en": "smoke detector"},
    {"category": "fire.detection", "name": "摄像头", "name_en": "camera"},
    {"report": "fire", "name": "来电", "name_en": "caller"},
]
KEYS: dict[str, object] = {
    "type": "fusion",
    "name": "火情印证",
    "name_en": "Fire confirmed",
    "source": SOURCES,
    "k": 2,
    "window_s": 600,
    "where": "neighbours",
    "category": "fire",
    "class": "A",
    "level": "red",
}
MADE = rule("fire-confirmed", KEYS)
assert isinstance(MADE, FusionRule)
FIRE: FusionRule = MADE
# Cells 1 to 9 lie in a row.
BESIDE = {cell: frozenset({cell - 1, cell + 1}) for cell in range(1, 10)}


def signal(category: str, cell: int = 1, t: float = 0, *, origin: str = "", report: bool = False) -> Signal:
    return Signal(
        category=category, report=report, origin=origin or f"{category}-{cell}-{t}", cell_id=cell, at_us=at(t)
    )


SMOKE, CAMERA = signal("fire.smoke"), signal("fire.detection", t=60)
CALLER = signal("fire.smoke", t=120, report=True)


def test_two_different_sources_fuse() -> None:
    (group,) = fuse([SMOKE, CAMERA], BESIDE, FIRE)
    assert (group.members, group.sources) == ((0, 1), (0, 1))
    (group,) = fuse([SMOKE, CALLER], BESIDE, FIRE)
    assert group.sources == (0, 2)


@pytest.mark.parametrize(
    "signals",
    [
        [SMOKE],
        [SMOKE, signal("fire.smoke", t=1)],  # two smoke detectors are one source
        [SMOKE, signal("fire.detection", cell=3)],  # not beside it
        [SMOKE, signal("fire.detection", t=601)],  # too late
        [SMOKE, signal("fire.hydrant", t=1)],  # no source of the rule
        [SMOKE, signal("fire.smokey", t=1)],
        [
            signal("fire.smoke", origin="d1"),
            signal("fire.detection", origin="d1"),
        ],  # one device, two of its rules
        [SMOKE, signal("flood.level", t=1, report=True)],
    ],
)
def test_what_does_not_fuse(signals: list[Signal]) -> None:
    assert fuse(signals, BESIDE, FIRE) == []


def test_where_is_the_cell_or_also_those_beside_it() -> None:
    beside = [SMOKE, signal("fire.detection", cell=2)]
    assert len(fuse(beside, BESIDE, FIRE)) == 1
    assert fuse(beside, BESIDE, replace(FIRE, where="cell")) == []
    around = [
        signal("fire.smoke", cell=1),
        signal("fire.detection", cell=2),
        signal("fire", cell=3, report=True),
    ]
    (group,) = fuse(around, BESIDE, replace(FIRE, k=3))
    assert group.sources == (0, 1, 2)  # all of them lie in or beside cell 2


def test_a_rule_id_may_be_a_source() -> None:
    made = rule("x", KEYS | {"source": [SOURCES[0], {"rule": "heat", "name": "温感", "name_en": "heat"}]})
    assert isinstance(made, FusionRule)
    assert len(fuse([SMOKE, replace(CAMERA, rule_id="heat")], BESIDE, made)) == 1


SIGNALS = st.lists(
    st.builds(
        Signal,
        category=st.sampled_from(["fire.smoke", "fire.detection", "fire", "public.person"]),
        report=st.booleans(),
        origin=st.sampled_from(["a", "b", "c", "d", "e"]),
        cell_id=st.integers(1, 4),
        at_us=st.integers(0, 20).map(lambda minute: START_US + minute * 60_000_000),
    ),
    max_size=8,
)


@UNTIMED
@given(SIGNALS, st.integers(2, 3), st.sampled_from(["cell", "neighbours"]))
def test_it_fuses_exactly_when_there_are_so_many_around_one(
    signals: list[Signal], k: int, where: str
) -> None:
    the_rule = replace(FIRE, k=k, where=where)  # type: ignore[arg-type]  # one of the two
    first: dict[str, int] = {}
    for one in signals:
        for number, source in enumerate(the_rule.sources):
            if source.matches(one):
                first[one.origin] = min(number, first.get(one.origin, number))
                break

    def counts(one: Signal) -> bool:
        return any(source.matches(one) for source in the_rule.sources)

    def near(one: Signal, other: Signal) -> bool:
        cells = {one.cell_id} | (BESIDE[one.cell_id] if where == "neighbours" else set())
        return other.cell_id in cells and abs(one.at_us - other.at_us) <= 600_000_000

    expected = any(
        len({first[other.origin] for other in signals if counts(other) and near(one, other)}) >= k
        for one in signals
        if counts(one)
    )
    groups = fuse(signals, BESIDE, the_rule)
    assert bool(groups) == expected
    for group in groups:
        assert len(group.sources) >= k
        assert {first[signals[place].origin] for place in group.members} == set(group.sources)


@UNTIMED
@given(SIGNALS, st.randoms())
def test_the_order_of_signals_does_not_matter(signals: list[Signal], random: object) -> None:
    shuffled = list(signals)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random

    def said(of: list[Signal]) -> set[tuple[int, ...]]:
        return {group.sources for group in fuse(of, BESIDE, FIRE)}

    assert said(signals) == said(shuffled)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"source": SOURCES[:1]}, ["source", "at least two"]),
        ({"k": 4}, ["k = 4", "2 to 3"]),
        ({"k": 1}, ["k = 1"]),
        ({"where": "district"}, ["where = 'district'", "cell, neighbours"]),
        ({"class": None}, ["class missing", "A, B or C"]),
        ({"scope": {"devices": ["s-1"]}}, ["scope", "places"]),
        ({"source": [SOURCES[0], {"name": "x", "name_en": "x"}]}, ["source 2", "category, rule and report"]),
        ({"source": [SOURCES[0], SOURCES[1] | {"rule": "x"}]}, ["source 2", "one of"]),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], names: list[str]) -> None:
    keys = {key: value for key, value in (KEYS | changes).items() if value is not None}
    with pytest.raises(RuleError) as caught:
        rule("fire-confirmed", keys)
    for name in names:
        assert name in str(caught.value)


def test_the_engine_has_nothing_to_do_with_it() -> None:
    engine = Engine([FIRE], METRICS)
    engine.accept(engine.tick(now_us=START_US, listened=Listening([(0, None)])))


# ── in triage ─────────────────────────────────────────────────────────────────────────────────────────────

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FUSIONS = Fusions(rules=(FIRE,))


def alarm(
    number: int, category: str, minute: float = 0, *, device: int | None = 0, **more: object
) -> NewAlarm:
    made = NewAlarm(
        id=number,
        category=category,
        incident_class="C",
        raised_at=NOON + timedelta(minutes=minute),
        device_id=number if device == 0 else device,
        kind="smoke",  # of one kind: what raises the class is the rule alone
        cell_id=1,
        neighbours=BESIDE[1],
    )
    return replace(made, **more)  # type: ignore[arg-type]  # the tests name real fields


def opened(by: NewAlarm) -> OpenIncident:
    incident = Incident(
        id=7,
        incident_class=by.incident_class,
        base_class=by.incident_class,
        category=by.category,
        area_id=by.cell_id,
        unit_id=3,
        reason="x",
        opened_at=by.raised_at,
    )
    ground = triage.Ground().joined_by(triage.signal_of(by), by.neighbours)
    return OpenIncident(incident=incident, footprint=triage.footprint_of(by), ground=ground)


def join(new: NewAlarm, to: OpenIncident, fusions: Fusions = FUSIONS) -> tuple[OpenIncident, Join, list[str]]:
    verdict = triage.decide(new, [to], NOON, None, fusions)
    assert isinstance(verdict, Join)
    after, change = triage.join(new, to, verdict, NOON)
    return after, verdict, [happening.kind for happening in change.happenings]


def test_the_second_source_raises_the_class_and_says_why_in_both_languages() -> None:
    after, verdict, kinds = join(alarm(2, "fire.detection", 1), opened(alarm(1, "fire.smoke")))
    assert (after.incident.incident_class, after.incident.base_class) == ("A", "C")
    assert kinds == ["joined", "fused", "class_raised"]
    (fused,) = verdict.fused
    assert fused.sources == ("category:fire.smoke", "category:fire.detection")
    assert "烟感、摄像头：2 个不同来源" in fused.reason
    assert "smoke detector, camera: 2 different sources agree" in fused.reason_en
    assert fused.happening().detail["rule"] == "fire-confirmed"


def test_it_is_said_again_only_when_a_further_source_joins() -> None:
    state, _, _ = join(alarm(2, "fire.detection", 1), opened(alarm(1, "fire.smoke")))
    state, _, kinds = join(alarm(3, "fire.smoke", 2), state)
    assert kinds == ["joined"]
    caller = alarm(0, "fire", 3, device=None)
    _, verdict, kinds = join(caller, state)
    assert kinds == ["joined", "fused"]
    assert verdict.fused[0].sources[-1] == "report:fire"


def test_scope_schedule_and_matter_keep_a_rule_out() -> None:
    away = replace(FIRE, scope=replace(FIRE.scope, streets=frozenset({"s2"})))
    here = Fusions(rules=(away,), places={1: {"cell": "c1", "street": "s1"}})
    there = Fusions(rules=(away,), places={1: {"cell": "c1", "street": "s2"}})
    flood = Fusions(rules=(replace(FIRE, category="flood"),))
    night = rule("at-night", KEYS | {"schedule": {"hours": ["22:00-06:00"]}})
    assert isinstance(night, FusionRule)
    for fusions, expected in ((here, 0), (there, 1), (flood, 0), (Fusions(rules=(night,)), 0)):
        _, verdict, _ = join(alarm(2, "fire.detection", 1), opened(alarm(1, "fire.smoke")), fusions)
        assert len(verdict.fused) == expected


def test_devices_that_agree_are_the_same_story_without_a_rule() -> None:
    state = opened(alarm(1, "fire.smoke"))
    state, _, kinds = join(alarm(2, "fire.smoke"), state)
    assert kinds == ["joined"]
    state, verdict, kinds = join(alarm(3, "fire.smoke"), state)
    assert kinds == ["joined", "fused", "class_raised"]
    assert state.incident.incident_class == "B"
    assert verdict.fused[0].rule_id == ""
    assert "3 台设备" in verdict.fused[0].reason
    _, _, kinds = join(alarm(4, "fire.smoke"), state)
    assert kinds == ["joined"]


def test_every_pair_of_sources_fuses_in_either_order() -> None:
    ways = [
        alarm(1, "fire.smoke"),
        alarm(2, "fire.detection", 1),
        alarm(0, "fire", 2, device=None),
    ]
    for one, other in combinations(ways, 2):
        for first, second in ((one, other), (other, one)):
            _, verdict, _ = join(second, opened(first))
            assert verdict.raise_class_to == "A"
