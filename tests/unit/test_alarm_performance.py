"""The figures of ISA-18.2, from counts written by hand."""

from datetime import UTC, datetime, timedelta

from command_centre import alarm_performance
from command_centre.alarm_performance import BUCKET, figures, floods, shares, verdict

START = datetime(2026, 7, 1, tzinfo=UTC)


def spans(*counts: int) -> list[tuple[datetime, int]]:
    """Consecutive ten minutes from START; those without alarms are left out, as the table leaves them out."""
    return [(START + number * BUCKET, count) for number, count in enumerate(counts) if count]


def by_key(
    counted: list[tuple[datetime, int]], days: float = 1, operators: int = 1, **more: int
) -> dict[str, alarm_performance.Figure]:
    given = {"top": 0, "chattering": 0, "fleeting": 0, "stale": 0} | more
    found = figures(
        start=START, end=START + timedelta(days=days), operators=operators, counted=counted, **given
    )
    return {figure.key: figure for figure in found}


def test_a_limit_is_within_itself() -> None:
    assert [verdict(value, 1, 2) for value in (1, 1.01, 2, 2.01)] == ["good", "watch", "watch", "bad"]
    assert verdict(1000, 0, None) == "watch"


def test_a_flood_lasts_until_fewer_than_five_come() -> None:
    end = START + timedelta(hours=2)
    found = floods(spans(3, 11, 40, 5, 4, 12, 0, 10), end, operators=1)
    assert [(flood.begin - START, flood.end - START, flood.alarms, flood.peak) for flood in found] == [
        (BUCKET, 4 * BUCKET, 56, 40),
        (5 * BUCKET, 6 * BUCKET, 12, 12),
    ]


def test_a_flood_that_has_not_ended_ends_with_the_span() -> None:
    end = START + timedelta(minutes=15)
    assert [flood.end for flood in floods(spans(11, 11), end, operators=1)] == [end]


def test_operators_share_the_load() -> None:
    alone, two = by_key(spans(20)), by_key(spans(20), operators=2)
    assert (alone["peak"].value, alone["peak"].verdict) == (20, "bad")
    assert (two["peak"].value, two["peak"].verdict) == (10, "good")
    assert floods(spans(20), START + timedelta(days=1), operators=2) == []


def test_a_day_at_the_limits() -> None:
    quiet = by_key(spans(*[1] * 144))
    assert (quiet["rate"].value, quiet["rate"].verdict, quiet["day"].value) == (1, "good", 144)
    busy = by_key(spans(*[2] * 144))
    assert (busy["rate"].verdict, busy["day"].verdict) == ("watch", "watch")
    assert by_key(spans(*[3] * 144))["day"].verdict == "bad"


def test_share_of_time_in_flood_is_of_the_whole_span() -> None:
    one_in_144 = by_key(spans(11))["flood"]
    assert round(one_in_144.value, 2) == 0.69
    assert one_in_144.verdict == "good"
    assert by_key(spans(11, 11))["flood"].verdict == "bad"


def test_the_ten_worst_are_not_judged_when_there_are_few_alarms() -> None:
    assert by_key(spans(149), top=149)["top"].verdict == "too_few"
    assert by_key(spans(1000), top=40)["top"].verdict == "watch"


def test_nothing_at_all_is_good() -> None:
    assert {figure.verdict for figure in by_key([]).values()} == {"good", "too_few"}
    assert shares({}) == {"A": 0, "B": 0, "C": 0}
    assert shares({"A": 1, "C": 3}) == {"A": 25, "B": 0, "C": 75}
