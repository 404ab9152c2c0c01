"""Response levels: what fires, what is proposed, and that nobody is sent home while the water still stands."""

import tomllib
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.flood import LEVELS, Facts, RainFact, Standing, StationFact, Trigger, rank
from city.stations import ForecastPoint, StationForecast, StationState, station_state
from command_centre.flood import response, triggers
from command_centre.flood.response import Holding, band, crossing_words, propose
from command_centre.flood.triggers import TriggerError, check_set, definition_of, trigger_of

NOON = datetime(2026, 7, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TEXT = (resources.files("city") / "defaults" / "flood.toml").read_text(encoding="utf-8")
DEFAULTS = [trigger_of(one) for one in tomllib.loads(TEXT)["trigger"]]


def station(level_m: float | None, code: str = "W1", **changes: Any) -> StationFact:
    state = station_state(level_m, 3.0, 4.0, 5.0, is_silent=level_m is None)
    parts: dict[str, Any] = {"warning_m": 3.0, "guaranteed_m": 4.0, "highest_m": 5.0, "state": state}
    return StationFact(code=code, name=f"站{code}", level_m=level_m, **{**parts, **changes})


def ahead(*points: tuple[float, float, float, float], refused: str | None = None) -> StationForecast:
    """A forecast of (hours, q10, q50, q90)."""
    return StationForecast(
        station="W1",
        station_id=1,
        issued_at=NOON,
        observed_at=NOON,
        level_m=2.0,
        points=tuple(
            ForecastPoint(horizon_s=int(h * 3600), q10=low, q50=mid, q90=high) for h, low, mid, high in points
        ),
        basis="",
        basis_en="",
        degraded=(),
        refused=refused,
        refused_en=refused,
        model_id=None,
        model_kind=None,
        model_version=None,
    )


def fired(facts: Facts) -> set[str]:
    return {one.trigger.id for one in response.fire(DEFAULTS, facts)}


def level_of(facts: Facts, standing: Standing | None = None, now: datetime = NOON) -> str | None:
    return propose(DEFAULTS, facts, standing or Standing(), now).level


# ── the defaults ─────────────────────────────────────────────────────────────────────────────────────


def test_the_defaults_are_sound_and_say_where_they_come_from() -> None:
    check_set(DEFAULTS)
    assert {one.level for one in DEFAULTS} == set(LEVELS)
    assert {one.kind for one in DEFAULTS} == {"stations", "forecast", "rain", "incidents", "warnings"}
    assert [one.id for one in DEFAULTS if not one.source or not one.name_en] == []


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        (Facts(), None),
        (Facts(stations=(station(2.99),)), None),
        (Facts(stations=(station(3.0),)), "IV"),
        (Facts(stations=tuple(station(3.2, f"W{n}") for n in range(3))), "III"),
        (Facts(stations=(station(4.0),)), "II"),
        (Facts(stations=tuple(station(4.2, f"W{n}") for n in range(3))), "I"),
        (Facts(stations=(station(5.0),)), "I"),
        (Facts(stations=(station(None),)), None),
        (Facts(stations=(station(9.9, state="unset"),)), None),
        (Facts(rain=(RainFact(code="R", name="雨", mm={1: 49.9, 3: 49.9, 24: 49.9}),)), None),
        (Facts(rain=(RainFact(code="R", name="雨", mm={1: 50.0, 3: 49.9, 24: 50.0}),)), "III"),
        (Facts(rain=(RainFact(code="R", name="雨", mm={1: 10.0, 3: 50.0, 24: 50.0}),)), "II"),
        (Facts(rain=(RainFact(code="R", name="雨", mm={1: 10.0, 3: 100.0, 24: 100.0}),)), "I"),
        (Facts(incidents={("flood.waterlogging", "B"): 1}), "IV"),
        (Facts(incidents={("flood.waterlogging", "B"): 3, ("flood.waterlogging", "A"): 2}), "III"),
        (Facts(incidents={("flood.waterlogging", "C"): 9}), None),
        (Facts(incidents={("flood.reservoir", "A"): 1}), "II"),
        (Facts(incidents={("flood.reservoirs", "A"): 1}), None),
        (Facts(warnings={"blue": 1}), "IV"),
        (Facts(warnings={"yellow": 2}), "III"),
        (Facts(warnings={"red": 1}), "I"),
    ],
)
def test_what_speaks_for_a_level(facts: Facts, level: str | None) -> None:
    assert level_of(facts) == level


@pytest.mark.parametrize(
    ("forecast", "found"),
    [
        (ahead((1, 2.0, 2.5, 3.5), (3, 2.1, 2.9, 3.9)), set()),
        (ahead((1, 2.0, 2.5, 3.5), (6, 2.5, 3.0, 4.5)), {"forecast-warning"}),
        (ahead((3, 3.0, 4.1, 4.5)), {"forecast-warning", "forecast-guaranteed"}),
        (
            ahead((3, 4.0, 4.1, 4.5)),
            {"forecast-warning", "forecast-guaranteed", "forecast-guaranteed-sure"},
        ),
        (ahead((3, 4.0, 4.1, 4.5), refused="传感器失效"), set()),
        (ahead((7, 9.0, 9.0, 9.0)), set()),
        (None, set()),
    ],
)
def test_a_forecast_counts_within_its_hours_and_by_its_band(
    forecast: StationForecast | None, found: set[str]
) -> None:
    assert fired(Facts(stations=(station(2.0, forecast=forecast),))) == found


def test_a_proposal_shows_values_and_limits_in_both_languages() -> None:
    made = propose(DEFAULTS, Facts(stations=(station(4.25),)), Standing(), NOON)
    assert made.level == "II"
    assert "站W1 4.25 m ≥ 4.00 m" in made.words
    assert "A station above the guaranteed level (站W1 4.25 m ≥ 4.00 m)" in made.words_en
    (seen,) = made.fired[0].seen
    assert (seen["code"], seen["value"], seen["limit"], seen["unit"]) == ("W1", 4.25, 4.0, "m")


def test_a_station_without_the_level_asked_for_counts_by_its_next() -> None:
    high = station(4.1, warning_m=None, state="guaranteed")
    assert fired(Facts(stations=(high,))) == {"stations-warning", "stations-guaranteed"}


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lower_level_waits_for_three_calm_hours() -> None:
    last = {"II": NOON - HOUR}
    standing = Standing(level="II", since=NOON - 5 * HOUR, last_fired=last)  # type: ignore[arg-type]  # literal keys
    wet = Facts(stations=(station(3.1),))
    held = propose(DEFAULTS, wet, standing, NOON)
    assert held.level == "II"
    assert held.held_until == NOON + 2 * HOUR
    assert "前不建议降级" in held.words
    later = propose(DEFAULTS, wet, standing, NOON + 2 * HOUR)
    assert (later.level, later.held_until) == ("IV", None)


def test_a_level_set_by_hand_stands_for_as_long() -> None:
    standing = Standing(level="I", since=NOON - HOUR)
    assert level_of(Facts(), standing) == "I"
    assert level_of(Facts(), standing, NOON + 3 * HOUR) is None


def test_lowering_goes_no_further_than_what_fired_lately() -> None:
    last = {"I": NOON - 9 * HOUR, "III": NOON - HOUR}
    standing = Standing(level="I", since=NOON - 10 * HOUR, last_fired=last)  # type: ignore[arg-type]  # literal keys
    assert level_of(Facts(), standing) == "III"


def test_a_proposal_nobody_answered_is_withdrawn_after_half_an_hour() -> None:
    last = {"II": NOON}
    standing = Standing(last_fired=last)  # type: ignore[arg-type]  # literal keys
    assert level_of(Facts(), standing, NOON + timedelta(minutes=29)) == "II"
    assert level_of(Facts(), standing, NOON + timedelta(minutes=30)) is None


def test_who_answered_is_not_asked_again_for_what_is_over() -> None:
    last = {"II": NOON - timedelta(minutes=10)}
    standing = Standing(level="IV", since=NOON - timedelta(minutes=5), last_fired=last)  # type: ignore[arg-type]  # literal keys
    assert level_of(Facts(), standing) == "IV"


levels = st.sampled_from([None, *LEVELS])
moments = st.integers(0, 48 * 60).map(lambda minutes: NOON - timedelta(minutes=minutes))
depths = st.floats(0, 6) | st.none()
facts = st.builds(
    Facts,
    stations=st.lists(depths, max_size=4).map(
        lambda values: tuple(station(value, f"W{n}") for n, value in enumerate(values))
    ),
    rain=st.lists(st.floats(0, 150), max_size=2).map(
        lambda values: tuple(RainFact(code="R", name="雨", mm={1: v / 3, 3: v, 24: v}) for v in values)
    ),
    warnings=st.dictionaries(st.sampled_from(["blue", "red"]), st.integers(0, 2), max_size=2),
)
standings = st.builds(
    Standing,
    level=levels,
    since=st.none() | moments,
    last_fired=st.dictionaries(st.sampled_from(LEVELS), moments, max_size=4),
)


@given(facts, standings)
def test_never_lower_while_a_trigger_of_the_present_level_fires(known: Facts, standing: Standing) -> None:
    made = propose(DEFAULTS, known, standing, NOON)
    speaking = max((rank(one.trigger.level) for one in made.fired), default=0)
    assert rank(made.level) >= speaking
    if rank(made.level) < rank(standing.level):
        assert speaking < rank(standing.level)
        lately = [at for level, at in standing.last_fired.items() if rank(level) >= rank(standing.level)]
        assert all(NOON - at >= Holding().lower_after for at in lately)


@given(facts, standings)
def test_the_order_of_triggers_does_not_decide(known: Facts, standing: Standing) -> None:
    forward = propose(DEFAULTS, known, standing, NOON)
    backward = propose(DEFAULTS[::-1], known, standing, NOON)
    assert (forward.level, forward.held_until) == (backward.level, backward.held_until)


# ── triggers as data ─────────────────────────────────────────────────────────────────────────────────

GOOD = {"id": "a", "level": "II", "kind": "rain", "hours": 3, "mm": 50.0, "name": "雨", "name_en": "Rain",
        "source": "why"}  # fmt: skip


@pytest.mark.parametrize("trigger", DEFAULTS, ids=lambda one: one.id)
def test_a_trigger_comes_back_from_the_table_as_it_went_in(trigger: Trigger) -> None:
    columns = {"id": trigger.id, "level": trigger.level, "enabled": trigger.enabled}
    assert trigger_of({**columns, **definition_of(trigger)}) == trigger


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"kind": "moon"}, "kind"),
        ({"level": "V"}, "level"),
        ({"hours": 2}, "hours"),
        ({"hours": True}, "hours"),
        ({"mm": 0}, "mm"),
        ({"mm": float("nan")}, "mm"),
        ({"mm": "50"}, "mm"),
        ({"count": 0}, "count"),
        ({"name": ""}, "name"),
        ({"source": None}, "source"),
        ({"enabled": 1}, "enabled"),
        ({"state": "warning"}, "state"),
        ({"kind": "forecast", "state": "warning", "within_h": 12.0, "hours": None}, "hours"),
    ],
)
def test_a_wrong_trigger_names_its_key(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(TriggerError) as caught:
        trigger_of({**GOOD, **changed})
    assert caught.value.field == field
    assert caught.value.remedy


def test_a_forecast_looks_no_further_than_forecasts_do() -> None:
    keys = {key: value for key, value in GOOD.items() if key not in ("hours", "mm")}
    with pytest.raises(TriggerError, match=r"within_h = 12.0: must be a number from 0.25 to 6"):
        trigger_of({**keys, "kind": "forecast", "state": "warning", "within_h": 12.0})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"level": "I", "mm": 50.0}),
        ({}, {"level": "I", "mm": 40.0}),
        (
            {"kind": "stations", "state": "guaranteed"},
            {"kind": "stations", "state": "warning", "level": "I"},
        ),
        ({"kind": "warnings", "colour": "red"}, {"kind": "warnings", "colour": "blue", "level": "I"}),
        (
            {"kind": "incidents", "category": "flood.slope"},
            {"kind": "incidents", "category": "flood", "level": "I"},
        ),
    ],
)
def test_a_milder_level_that_never_decides_is_refused(one: dict[str, Any], other: dict[str, Any]) -> None:
    def made(changed: dict[str, Any], name: str) -> Trigger:
        bare = {
            key: value for key, value in GOOD.items() if key not in ("hours", "mm") or "kind" not in changed
        }
        return trigger_of({**bare, **changed, "id": name})

    with pytest.raises(TriggerError, match="never decides"):
        check_set([made(one, "one"), made(other, "other")])
    check_set([made(one, "one"), made({**other, "enabled": False}, "other")])


def test_an_id_stands_once() -> None:
    with pytest.raises(TriggerError, match="stands twice"):
        check_set([trigger_of(GOOD), trigger_of(GOOD)])


def test_incidents_and_triggers_are_known_kinds() -> None:
    assert set(triggers._OWN) == set(response._LOOK)


# ── crossings ────────────────────────────────────────────────────────────────────────────────────────


def follow(levels_m: list[float | None]) -> list[StationState]:
    found: list[StationState] = []
    for level_m in levels_m:
        found.append(band(found[-1] if found else None, station(level_m)))
    return found


def test_a_level_that_plays_round_its_limit_is_one_crossing() -> None:
    assert follow([2.9, 3.0, 2.96, 3.01, 2.97, 2.94, 2.99]) == [
        "normal", "warning", "warning", "warning", "warning", "normal", "normal",
    ]  # fmt: skip


def test_a_silent_station_is_said_and_so_is_its_return() -> None:
    assert follow([3.2, None, 2.0]) == ["warning", "silent", "normal"]
    assert crossing_words("warning", "silent", station(None)) == ("站W1：无数据", "站W1: no data")
    assert "恢复数据" in crossing_words("silent", "normal", station(2.0))[0]


@pytest.mark.parametrize(
    ("before", "after", "level_m", "words"),
    [
        ("normal", "warning", 3.1, "站W1 3.10 m: rose above the warning level 3.00 m"),
        ("normal", "record", 5.1, "站W1 5.10 m: rose above the highest recorded level 5.00 m"),
        ("guaranteed", "warning", 3.9, "站W1 3.90 m: fell below the guaranteed level 4.00 m"),
    ],
)
def test_a_crossing_in_words(before: Any, after: Any, level_m: float, words: str) -> None:
    assert crossing_words(before, after, station(level_m))[1] == words
