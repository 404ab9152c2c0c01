"""A replay gives the episodes of the live run, however its stream was cut, delayed or out of order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from city.observations import LATE_AFTER_US, Detection, Quality
from rules.episodes import Episode
from rules.listening import Listening
from rules.replay import Ears, Replay
from rules.rule import Rule
from tests.unit.rules_feed import (
    ALWAYS,
    METRICS,
    SMOKE,
    Desk,
    Row,
    at,
    batch,
    detection,
    facts,
    rule,
    threshold,
)

SILENT: dict[str, object] = {
    "type": "silence", "name": "失联", "name_en": "Silent", "factor": 2, "min_s": 15, "category": "device.silent",
    "level": "blue",
}  # fmt: skip
PERSON: dict[str, object] = {
    "type": "detection", "name": "人", "name_en": "Person", "kind": "camera", "labels": ["person"],
    "clear_after_s": 8, "category": "public.person", "level": "blue",
}  # fmt: skip
RULES = [
    threshold("at-once", clear_at=60),
    threshold("on-delay", clear_at=60, on_delay_s=7),
    threshold("both", deadband=10, on_delay_s=5, off_delay_s=9),
    rule("silent", SILENT),
    rule("person", PERSON),
]
DEVICES = [facts(1, interval=10), facts(2, interval=20), facts(3, "camera", interval=30)]
END = 1000  # after the last arrival there can be: 14 pauses of 45 s and 310 s on the way
MANY = settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
VALUES = st.sampled_from([10.0, 55.0, 61.0, 69.0, 70.0, 75.0, 90.0])


@dataclass(frozen=True)
class Arrival:
    second: int
    row: Row | None = None
    event: Detection | None = None


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """In order of arrival, whole seconds; each has been on its way for its own time."""
    found: dict[tuple[int, int], Arrival] = {}
    now = 0
    ways = st.sampled_from([0, 0, 0, 1, 2, 12, 30, 310])
    steps = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 45), ways, VALUES), max_size=14)
    for device, pause, way, value in draw(steps):
        now += pause
        late = Quality.LATE if way * 1_000_000 > LATE_AFTER_US else Quality.GOOD
        if device == 3:
            seen = Arrival(now + way, event=detection(3, now, "person", received=now + way, quality=late))
        else:
            seen = Arrival(now + way, row=Row(device, now, value, SMOKE, late, now + way))
        found.setdefault((device, now), seen)  # the primary key keeps the first
    return sorted(found.values(), key=lambda arrival: arrival.second)


Told = set[tuple[str, int, int, int | None, int, bool]]


def live(stream: Sequence[Arrival], listened: Sequence[tuple[int, int]] | None = None) -> Told:
    """Every second what arrived in it, then a tick."""
    desk = Desk(RULES, DEVICES)
    ears = Ears(None if listened is None else [(at(begin), at(end)) for begin, end in listened])
    by_second = {second: list(group) for second, group in groupby(stream, lambda arrival: arrival.second)}
    for second in range(END):
        came = by_second.get(second, [])
        rows = [arrival.row for arrival in came if arrival.row]
        events = [arrival.event for arrival in came if arrival.event]
        if came:
            desk.read(*rows, seen=events)
        for event in events:
            desk.engine.heard(
                batch([Row(event.device_id, 0, 0)]).device, batch([Row(1, 0, 0, received=second)]).received_us
            )
        now = second + 0.999
        desk.commit(desk.engine.tick(now_us=at(now), listened=ears.at(at(now))))
    return {
        (rule_id, device, row.raised_us, row.cleared_us, row.repeats, row.late)
        for (rule_id, device, _), rows_of in desk.alarms.episodes.items()
        for row in rows_of
    }


def replayed(
    stream: Sequence[Arrival], cuts: set[int], listened: Sequence[tuple[int, int]] | None = None
) -> list[Episode]:
    ears = Ears(None if listened is None else [(at(begin), at(end)) for begin, end in listened])
    replay = Replay(RULES, DEVICES, METRICS, zone=ZoneInfo("UTC"), ears=ears, tick_us=1_000_000)
    for begin, end in pairwise(sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})):
        part = stream[begin:end]
        rows = [arrival.row for arrival in part if arrival.row]
        events = [arrival.event for arrival in part if arrival.event]
        replay.feed(batch(rows), events)
    replay.finish(at(END - 0.001))
    return replay.episodes.all()


def told(episodes: Sequence[Episode]) -> Told:
    return {(e.rule_id, e.device_id, e.raised_us, e.cleared_us, e.repeats, e.late) for e in episodes}


def whole_seconds(stream: Sequence[Arrival], cuts: set[int]) -> set[int]:
    """Cuts that do not part what arrived at one instant: a block of stored rows may, live batches do not."""
    return {cut for cut in cuts if 0 < cut < len(stream) and stream[cut].second != stream[cut - 1].second}


@MANY
@given(arrivals(), st.sets(st.integers(0, 14)))
def test_a_replay_gives_what_the_live_run_gave(stream: list[Arrival], cuts: set[int]) -> None:
    assert told(replayed(stream, whole_seconds(stream, cuts))) == live(stream)


@MANY
@given(arrivals(), st.sets(st.integers(0, 14)), st.lists(st.integers(0, 600), min_size=2, max_size=6))
def test_so_it_does_when_ingest_did_not_always_listen(
    stream: list[Arrival], cuts: set[int], turns: list[int]
) -> None:
    """What arrives while we do not listen is what the broker kept; it is handed over later, so none is fed then."""
    edges = sorted(set(turns))
    listened = [(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=False) if end > begin]
    heard = [a for a in stream if any(begin <= a.second < end for begin, end in listened)]
    assert told(replayed(heard, whole_seconds(heard, cuts), listened)) == live(heard, listened)


def test_a_reading_that_travelled_finds_what_the_clock_decided() -> None:
    stream = [
        Arrival(10, row=Row(1, 10, 90.0)),
        Arrival(40, row=Row(1, 12, 20.0, received=40)),
        Arrival(41, row=Row(1, 41, 20.0)),
    ]
    on_delay = [e for e in replayed(stream, set()) if e.rule_id == "on-delay"]
    assert [(e.raised_us, e.cleared_us) for e in on_delay] == [(at(17), at(17))]
    assert told(replayed(stream, set())) == live(stream)


def test_the_end_of_a_pause_is_where_the_device_spoke_again() -> None:
    stream = [Arrival(s, row=Row(1, s, 20.0)) for s in (0, 10, 20, 70, 80, 90)]
    silent = [e for e in replayed(stream, set()) if (e.rule_id, e.device_id) == ("silent", 1)]
    assert [(e.raised_us, e.cleared_us) for e in silent] == [(at(40), at(70)), (at(110), None)]


def test_time_in_which_nobody_listened_is_nobodys_silence() -> None:
    stream = [Arrival(s, row=Row(1, s, 20.0)) for s in (0, 10, 300, 310)]
    listened = [(0, 15), (299, END)]
    silent = {e.raised_us for e in replayed(stream, set(), listened) if e.device_id == 1}
    assert at(45) not in silent
    assert silent == {raised for rule_id, device, raised, *_ in live(stream, listened) if device == 1}


def test_the_peak_is_the_furthest_value_of_the_episode() -> None:
    values = [(0, 20.0), (5, 71.0), (10, 88.0), (15, 75.0), (20, 30.0), (25, 69.0), (30, 95.0), (35, 20.0)]
    stream = [Arrival(t, row=Row(1, t, value)) for t, value in values]
    for cuts in (set[int](), set(range(len(values)))):
        found = [e for e in replayed(stream, cuts) if e.rule_id == "at-once"]
        assert [(e.peak, e.peak_us) for e in found] == [(88.0, at(10)), (95.0, at(30))]


def test_readings_are_counted_by_device() -> None:
    stream = [Arrival(t, row=Row(1 + t % 2, t, 20.0)) for t in range(9)]
    replay = Replay(RULES, DEVICES, METRICS, zone=ZoneInfo("UTC"), ears=Ears(None), tick_us=1_000_000)
    replay.feed(batch([a.row for a in stream if a.row]))
    assert replay.episodes.readings.tolist() == [0, 5, 4, 0]


def test_ears_know_no_more_than_was_known_then() -> None:
    ears = Ears([(at(0), at(100)), (at(200), at(300))])
    assert ears.at(at(50)).horizon_us(at(50)) == at(50)
    assert ears.at(at(150)).horizon_us(at(150)) == at(100)
    assert ears.at(at(201)).horizon_us(at(201)) == at(100)  # not settled yet
    assert ears.at(at(250)).horizon_us(at(250)) == at(250)
    assert isinstance(Ears(None).at(5), Listening)
    assert Ears(None).at(7).horizon_us(at(7)) == ALWAYS.horizon_us(at(7))


def test_quality_rules_judge_again() -> None:
    """What was marked when it was stored is judged by the rules that are tried, not by those of then."""
    limits = rule(
        "smoke-range",
        {
            "type": "quality",
            "name": "范围",
            "name_en": "Range",
            "kinds": ["smoke"],
            "metric": "smoke",
            "most": 80.0,
        },
    )
    rules: list[Rule] = [threshold("at-once", clear_at=60), limits]
    rows = [
        Row(1, 0, 20.0),
        Row(1, 10, 90.0),  # beyond what the rule believes
        Row(1, 20, 75.0, quality=Quality.OUT_OF_RANGE),  # within, though another rule marked it
        Row(1, 30, 20.0),
    ]
    replay = Replay(rules, DEVICES, METRICS, zone=ZoneInfo("UTC"), ears=Ears(None), tick_us=1_000_000)
    replay.feed(batch(rows))
    replay.finish(at(100))
    assert [(e.raised_us, e.cleared_us, e.peak) for e in replay.episodes.all()] == [(at(20), at(30), 75.0)]
