"""What people and other systems report: the report itself, who waits for an answer, and its tracking number.

A tracking number is the only key a citizen has to the progress of a report, so it cannot be guessed (60 random
bits) and survives being read out on the telephone: no letters that look like digits, and a last character that
tells of any wrong character and of any two that changed places.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from city.incidents import Nature

Channel = str  # web, hotline, community, patrol, mailbox, open311, …: a district has 150, so they are data
Language = Literal["zh", "en"]
ToldBy = Literal["none", "sms", "email"]
Place = Literal["inside", "outside", "unknown"]

MOST_TEXT = 4000  # characters of a report
CITIZEN = "citizen"  # the actor of whoever reports without a log-in; never a name

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O, U
_VALUES: Mapping[str, int] = {letter: value for value, letter in enumerate(_ALPHABET)}
_HEARD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\u3000": None})
_RANDOM = 16  # 80 bits by lot
_RANDOM_BEFORE = 12  # of numbers that an earlier release gave out; people keep them


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """How to reach who reported: personal data, kept in a table of their own, never on a timeline or in a log.

    ``told_by`` says by which way each step is told; ``call_back`` that somebody should telephone at the end.
    """

    name: str = ""
    phone: str = ""
    email: str = ""
    told_by: ToldBy = "none"
    call_back: bool = False

    def dialled(self) -> "Contact":
        """With the telephone number as it is dialled, so that one number is found however it was written."""
        return replace(self, phone=dialled(self.phone))


def dialled(written: str) -> str:
    """The digits of a telephone number, and a plus in front of the country's."""
    return "".join(part for part in written if part in "+0123456789")


@dataclass(frozen=True, kw_only=True, slots=True)
class NewReport:
    """A report as it came in. ``cell`` is a code; positions are WGS 84 degrees; ``photos`` are their digests.

    ``category`` and ``nature`` None = the reporter did not say. ``external_id`` is the sender's own number: the
    same one from the same sender and channel is the same report. ``actor`` is citizen, user:<id> or system:<code>.
    """

    channel: Channel
    category: str | None = None
    nature: Nature | None = None
    text: str
    cell: str | None = None
    longitude: float | None = None
    latitude: float | None = None
    address: str = ""
    component: str = ""
    contact: Contact | None = None
    photos: tuple[bytes, ...] = ()
    actor: str = CITIZEN
    language: Language = "zh"
    exercise: bool = False
    external_id: str = ""
    fixed_on_spot: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """What became of a report: ``joined`` an incident that stood already, or opened one.

    ``tracking`` is as it is stored; people read it ``spoken``. ``incident_id`` None = put right on the spot.
    ``repeated``: the sender's number was known, nothing was done.
    """

    report_id: int
    tracking: str
    incident_id: int | None
    joined: bool
    received_at: datetime
    place: Place = "unknown"
    repeated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A row of reports. ``incident_id`` is the one it opened or joined, which may have been merged since."""

    id: int
    tracking: str
    channel: Channel
    received_at: datetime
    category: str | None
    nature: Nature
    text: str
    area_id: int | None
    longitude: float | None
    latitude: float | None
    place: Place
    address: str
    component: str
    language: Language
    actor: str
    exercise: bool
    incident_id: int | None
    joined: bool
    fixed_on_spot: bool
    reopened_at: datetime | None
    erased_at: datetime | None
    version: int


def masked(phone: str | None) -> str | None:
    """A telephone number whose middle is hidden, 138****1111; of a short one all is."""
    if not phone:
        return phone
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else "****"


def new_tracking() -> str:
    """Seventeen characters nobody can guess, the last one a check of the others."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return letters + _check(letters)


def read_tracking(written: str) -> str | None:
    """The tracking number as it is stored, however it was written down; None when it cannot be one."""
    letters = written.strip().upper().translate(_HEARD)
    if len(letters) not in (_RANDOM + 1, _RANDOM_BEFORE + 1) or any(
        letter not in _VALUES for letter in letters
    ):
        return None
    return letters if _check(letters[:-1]) == letters[-1] else None


def spoken(tracking: str) -> str:
    """In groups of four, the check with the last: 7K3Q-M9XA-42TB-C0DE9."""
    groups = [tracking[begin : begin + 4] for begin in range(0, len(tracking) - 5, 4)]
    return "-".join([*groups, tracking[-5:]])


def tracking_digest(tracking: str) -> bytes:
    """What it is looked up by: how long the look-up takes then says nothing about the number."""
    return hashlib.sha256(b"tracking " + tracking.encode()).digest()


def _check(letters: str) -> str:
    """A weighted sum in the field of 32 elements: each place has another weight, so a swap is seen too."""
    total = 0
    for letter in letters:
        total = _doubled(total ^ _VALUES[letter])
    return _ALPHABET[total]


def _doubled(value: int) -> int:
    value <<= 1
    return value ^ 0b100101 if value & 0b100000 else value  # x^5 + x^2 + 1, primitive
