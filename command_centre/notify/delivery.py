"""What every channel answers, and when a failed delivery is tried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from city.errors import CityError

GIVE_UP_AFTER = timedelta(hours=1)  # then a person has been urged twice and the phone is the better channel
_FIRST_S, _LONGEST_S = 2.0, 600.0


class DeliveryError(CityError):
    """The order did not arrive. ``retry`` says whether the same order may arrive later."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What the other side said when it took the order: a status and, cut, its words."""

    status: str
    words: str = ""


def next_attempt(attempts: int, created_at: datetime, now: datetime, draw: float) -> datetime | None:
    """When to try again after the ``attempts``-th failure, or None when it is time to give up.

    2, 4, 8, … 600 seconds, each stretched or shrunk by up to half by ``draw`` (0 to 1), so that a receiver
    that comes back is not met by all at once.
    """
    if now - created_at >= GIVE_UP_AFTER:
        return None
    pause = min(_LONGEST_S, _FIRST_S * 2.0 ** min(attempts - 1, 20)) * (0.5 + draw)
    return min(now + timedelta(seconds=pause), created_at + GIVE_UP_AFTER)
