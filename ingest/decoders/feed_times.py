"""Times and numbers as public feeds write them, shared by their decoders; pure."""

import math
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1990, 1, 1, tzinfo=UTC)  # 0001-01-01 and 1970 stand for "never" there
SENTINELS = (-9999.0, -999.0, -99999.0, -9998.0)  # instead of "nothing was measured"


def instant_us(text: object) -> int | None:
    """Microseconds since 1970 UTC of an ISO 8601 time with offset; None = no such time."""
    if not isinstance(text, str) or len(text) > 40:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    if read.tzinfo is None or read < _FIRST:
        return None
    whole = read.astimezone(UTC) - _EPOCH
    return (whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds


def measured(value: object) -> float | None:
    """The number, or None where something else, nothing, or a sentinel stands."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value) if abs(value) < 1e300 else math.inf
    return number if math.isfinite(number) and number not in SENTINELS else None
