"""When a station is to be forecast, and when its model is to be trained. Pure: ``now`` is passed in."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from city.stations import Measures, ReadSpan, StoredModel

ISSUE_EVERY = timedelta(minutes=5)
ISSUE_APART = timedelta(seconds=30)  # at least, however the level moves
MOVED_M = {"level": 0.05, "depth": 0.02, "ground": 0.0}  # since the last forecast: then a new one at once
STEP_S = {"culvert": 300, "underpass": 300, "road": 300}  # these rise within the hour; others in ten minutes
USUAL_STEP_S = 600
HISTORY_ROWS = 105_000  # at the station's step: two years at ten minutes
LEAST_HISTORY = timedelta(hours=1)


def issue_due(
    measures: Measures, span: ReadSpan, last: tuple[datetime, float | None] | None, now: datetime
) -> bool:
    """Whether a new forecast is owed: ``last`` is when the last one was issued, and from which level.

    A landslide spot has no level to forecast.
    """
    if measures == "ground":
        return False
    if last is None:
        return True
    issued_at, level_m = last
    if now - issued_at >= ISSUE_EVERY:
        return True
    moved = level_m is not None and abs(span.level_m - level_m) >= MOVED_M[measures] - 1e-9
    return moved and now - issued_at >= ISSUE_APART


def training_due(
    model: StoredModel | None, measures: Measures, span: ReadSpan, round_at: datetime, now: datetime
) -> bool:
    """Whether a model is to be trained: the first, one whose history has doubled, or the day's.

    ``round_at`` is the last daily hour that has struck. A young station learns often: with 2, 4, 8, … hours of
    history, until the daily round is the sooner one. Nothing new since the last training: nothing to learn.
    """
    history = min(span.newest_at, now) - span.first_at
    if measures == "ground" or history < LEAST_HISTORY:
        return False
    if model is None:
        return True
    if span.newest_at <= model.trained_until:
        return False
    doubled = history >= 2 * max(model.trained_until - model.first_at, LEAST_HISTORY)
    return doubled or model.trained_at < round_at


def last_round(now: datetime, hour: int, zone: ZoneInfo) -> datetime:
    """The newest instant at which the clock of ``zone`` struck ``hour``."""
    local = now.astimezone(zone)
    struck = local.replace(hour=hour, minute=0, second=0, microsecond=0)
    return struck if struck <= local else struck - timedelta(days=1)


def step_of(kind: str, expected_interval_s: int | None) -> int:
    """Seconds between two of the levels a model works with: never finer than the station reports."""
    return max(STEP_S.get(kind, USUAL_STEP_S), expected_interval_s or 0)
