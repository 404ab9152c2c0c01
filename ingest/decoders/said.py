"""What a foreign sender's message says, in our words, before anybody looked up whose it is.

Every decoder of this folder but ``native`` answers with these. A device is named as its own family names it
(``0x00158d0001d64498``, ``24e124136b502217``); the register says which of the district's devices that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

import msgspec

from city.observations import Rejection

MAX_PAYLOAD = 256 * 1024  # bytes; more is quarantined unread
MAX_NAME = 96  # characters of a device's name in its family
MAX_VALUES = 200  # quantities in one report


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a payload or topic was not understood: a countable reason and a sentence for a person."""

    reason: Rejection
    detail: str


class Report(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one device measured at one time; keys and units are the sender's own (its profile translates them).

    A switch is 1.0 or 0.0. What is not finite is refused by name when it is made a row; no values at all: the device
    was heard, and measured nothing. ``at_us`` is microseconds since 1970 UTC, None = the message has no time. ``seq``
    tells redeliveries apart where there is no time. ``units`` only where the message itself states them.
    """

    device: str
    values: dict[str, float]
    at_us: int | None = None
    seq: int | None = None
    units: dict[str, str] | None = None
    model: str = ""
    gateway: str = ""  # the name, in the same family, of what it reports through


class Raw(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Bytes of a device whose network decodes nothing: the codec of its profile makes a Report of them."""

    device: str
    data: bytes
    port: int
    at_us: int | None = None
    seq: int | None = None
    model: str = ""
    gateway: str = ""


class Seen(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A camera's event; ``state`` is new, update or end, ``key`` the sender's id of the event."""

    device: str
    key: str
    label: str
    state: str
    score: float | None = None
    zone: str = ""
    url: str = ""
    at_us: int | None = None


class Link(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A device is reachable, or its last will says that it is not."""

    device: str
    online: bool


class Announced(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A device tells what it is before it measures anything; fills what the register does not know.

    ``permanent`` is its name in the same family that nobody can change, where ``device`` is one that people give: told
    both, the register knows the device again after it was given another.
    """

    device: str
    name: str = ""
    model: str = ""
    vendor: str = ""
    gateway: str = ""
    keys: tuple[str, ...] = ()  # what it is going to report; decides its kind
    permanent: str = ""
    family: str = ""  # another one's, where that one reads what the device reports; "" = the decoder's own


Said = Report | Raw | Seen | Link | Announced | Rejected


class Arrival(NamedTuple):
    """When a message came, and where local times without an offset are at home."""

    received_us: int  # microseconds since 1970 UTC
    zone: ZoneInfo  # the district's


class Decoder(Protocol):
    """One family of senders. Pure: no clock, no memory of earlier messages, nothing of this machine.

    ``filters`` are the MQTT filters subscribed for it unless the district says otherwise; topics that no socket
    subscribes to (TCP listeners, pull feeds) have theirs here too, with ``subscribed`` False.
    """

    @property
    def family(self) -> str:
        """``[a-z0-9_]+``; one half of a foreign device's identity."""
        ...

    @property
    def filters(self) -> tuple[str, ...]:
        """MQTT topic filters with ``+`` and ``#``."""
        ...

    @property
    def subscribed(self) -> bool:
        """Whether these topics come from a broker."""
        ...

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Everything that was said, in its order; an empty answer = understood, and nothing to keep.

        A ``Rejected`` among others quarantines the message and keeps the others.
        """
        ...
