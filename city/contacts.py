"""How a unit or a person is reached: an address, in which language, for what, and when not. Nouns and their reading."""

import re
from dataclasses import dataclass
from datetime import time
from typing import Literal, get_args

from city.errors import CityError
from city.incidents import Purpose

Channel = Literal["webhook", "smtp", "apprise"]
Language = Literal["zh", "en", "both"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class ContactError(CityError):
    """A contact that cannot be used; ``field`` says which part, the text says the remedy. ``zh`` is the same text."""

    def __init__(self, field: str, message: str, zh: str) -> None:
        super().__init__(message)
        self.field = field
        self.zh = zh


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """``id`` 0 is an address that the district's files give a unit; a person's has ``user_id``.

    ``lead`` True gets what goes to the unit's lead, False the rest, None both. ``purposes`` empty = all.
    ``quiet`` is ``22:00-07:00`` in the district's time, or empty.
    """

    id: int = 0
    unit_id: int | None = None
    user_id: int | None = None
    channel: Channel
    address: str
    label: str = ""
    language: Language = "both"
    lead: bool | None = None
    active: bool = True
    purposes: tuple[str, ...] = ()
    quiet: str = ""
    digest: bool = True


def read_quiet(written: str) -> tuple[time, time] | None:
    """Begin and end of quiet hours, which may pass midnight; None for empty text. Raises ContactError."""
    if not written:
        return None
    found = _QUIET.fullmatch(written)
    if found is None or (found[1], found[2]) == (found[3], found[4]):
        raise ContactError(
            "quiet",
            f"quiet = {written[:50]!r}: write begin and end such as 22:00-07:00, or leave it empty",
            f"quiet = {written[:50]!r}：请写起止时刻，如 22:00-07:00，或留空",
        )
    return time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
