"""How long a chunk is, and which days are archived: both by arithmetic alone."""

from datetime import UTC, date, datetime

import pytest

from bench import sizing
from city import chunks
from city.settings import Settings
from city.storage.history_archive import Archived, Extent
from runtime.history_archive import due


@pytest.mark.parametrize(
    ("devices", "hours"), [(0, 24), (600_000, 24), (1_000_000, 12), (10_000_000, 1), (10**9, 1)]
)
def test_a_chunk_is_as_long_as_its_primary_key_stays_in_memory(devices: int, hours: int) -> None:
    assert chunks.chunk_hours(devices) == hours


def test_what_the_product_reckons_with_is_what_the_page_says() -> None:
    unit = sizing.costs(sizing.PAGE.read_text(encoding="utf-8"))
    assert (unit["index_bytes"], unit["interval_s"]) == (chunks.INDEX_BYTES, chunks.INTERVAL_S)
    assert unit["index_gb"] == chunks.ROOM_GB


def test_a_chunk_never_lies_on_two_days() -> None:
    assert all(24 % hours == 0 for hours in chunks.HOURS)
    assert Settings(chunk_hours=6).chunk_hours == 6
    with pytest.raises(ValueError, match="must divide a day"):
        Settings(chunk_hours=5)


def archived(day: date, restored_at: datetime | None) -> Archived:
    return Archived(
        day=day,
        file="f",
        readings=1,
        bytes=1,
        sha256="0" * 64,
        archived_at=datetime(2026, 5, 1, tzinfo=UTC),
        restored_at=restored_at,
    )


FIRST, THIRD = date(2026, 3, 1), date(2026, 3, 3)
BACK = archived(date(2026, 2, 1), datetime(2026, 5, 2, tzinfo=UTC))
GONE = archived(date(2026, 2, 2), None)


@pytest.mark.parametrize(
    ("extent", "before", "expected"),
    [
        (Extent(first=None, rolled_up_to=THIRD), date(2026, 4, 1), []),
        (Extent(first=FIRST, rolled_up_to=None), date(2026, 4, 1), []),
        (Extent(first=FIRST, rolled_up_to=THIRD), date(2026, 4, 1), [FIRST, date(2026, 3, 2)]),
        (Extent(first=FIRST, rolled_up_to=date(2026, 4, 1)), date(2026, 3, 2), [FIRST]),
        (Extent(first=FIRST, rolled_up_to=THIRD), date(2026, 2, 1), []),
    ],
)
def test_a_day_is_archived_when_it_is_old_enough_and_its_hours_are_kept(
    extent: Extent, before: date, expected: list[date]
) -> None:
    assert due(extent, before, [GONE], 9) == expected
    assert due(extent, before, [BACK, GONE], 9) == [BACK.day, *expected]
    assert due(extent, before, [BACK, GONE], 1) == [BACK.day]
