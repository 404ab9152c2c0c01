"""One TCP peer of a listener: what it may do, and what is done about one that does more.

Nobody is trusted: a peer that begins a frame and does not end it, is silent for too long, never stops, talks nonsense
or does not read is closed and counted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import structlog

BURST_S = 10.0  # a peer may send so many seconds' worth at once: what it saved while it had no network
UNREAD_BYTES = 64 * 1024  # answers that a peer has not read; more, and it is closed

log = structlog.get_logger()


class Heard(NamedTuple):
    """One message of a peer. ``answer`` makes the bytes of its acknowledgement once it is committed."""

    topic: str
    payload: bytes
    answer: Callable[[], bytes] | None = None
    garbage: bool = False  # bytes that are no frame, or one that is broken


class Conversation(Protocol):
    """One peer's side of a family's protocol, from connection to close. No I/O."""

    @property
    def waiting(self) -> int:
        """Bytes held of what is not complete."""
        ...

    def hear(self, data: bytes) -> list[Heard]:
        """What these bytes complete."""
        ...

    def rest(self) -> list[Heard]:
        """What is held when the peer goes or takes too long."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one listener lets its peers do. Rates are averages; ``BURST_S`` of them may come at once."""

    connections: int = 8192
    per_address: int = 4096  # half: whole districts come through one address of their operator
    idle_s: float = 900.0  # without a byte
    frame_s: float = 30.0  # from a frame's first byte to its last
    bytes_per_s: float = 64 * 1024
    frames_per_s: float = 200.0
    garbage: int = 16  # broken frames of one connection, then it is closed


COUNTED = (
    "accepted",
    "refused",  # beyond the number of connections, in all or of one address
    "closed_idle",
    "closed_slow",  # a frame that took too long
    "closed_flood",  # more bytes or frames a second than allowed
    "closed_garbage",
    "closed_unread",  # it does not read its answers
    "frames",
    "garbage",
    "answers",
    "answers_stale",  # the peer was gone
    "failed",  # our own mistakes
)


class Host(Protocol):
    """The listener as its peers see it."""

    family: str
    limits: Limits
    counters: Counter[str]

    def converse(self) -> Conversation:
        """A new peer's conversation."""
        ...

    def admit(self, peer: "Peer") -> bool:
        """Whether there is a place for one more."""
        ...

    def dismiss(self, peer: "Peer") -> None:
        """It is gone."""
        ...

    def take(self, peer: "Peer", heard: list[Heard]) -> None:
        """It said this."""
        ...


class Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._loop = loop
        self._conversation = host.converse()
        self._heard_at = loop.time()
        self._begun_at: float | None = None  # when the frame that is not complete had its first byte
        self._bytes = host.limits.bytes_per_s * BURST_S  # that it may still send now
        self._frames = host.limits.frames_per_s * BURST_S
        self._garbage = 0
        self._ended = False  # it sends no more, and waits for its answers
        self._closing = False
        self.owed: set[int] = set()
        self.address = ""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or be closed."""
        self.transport = cast(asyncio.Transport, transport)
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._host.admit(self):
            self._closing = True
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever is held of a frame is said as garbage, except where we closed for it."""
        if not self._closing:
            self._take(self._conversation.rest())
        self._closing = True
        self._host.dismiss(self)

    def leave(self) -> None:
        """Close once the answers are sent; what it began it sends again to whoever listens next."""
        self._closing = True
        self.transport.close()

    def eof_received(self) -> bool:
        """A peer may close its side and still wait for its answers."""
        self._take(self._conversation.rest())
        self._ended = True
        return bool(self.owed)

    def data_received(self, data: bytes) -> None:
        """Cut it and pass it on, unless it is too much."""
        if self._closing:
            return
        now = self._loop.time()
        limits = self._host.limits
        past = now - self._heard_at
        self._heard_at = now
        self._bytes = min(self._bytes + past * limits.bytes_per_s, limits.bytes_per_s * BURST_S) - len(data)
        before = self._conversation.waiting
        try:
            heard = self._conversation.hear(data)
        except Exception:  # a mistake of ours about one peer's bytes; they are kept, and the others go on
            self._host.counters["failed"] += 1
            log.exception("a peer's bytes could not be cut", family=self._host.family)
            self._take([Heard(f"{self._host.family}/-", data, garbage=True)])
            self.transport.abort()
            return
        self._frames = min(self._frames + past * limits.frames_per_s, limits.frames_per_s * BURST_S) - len(
            heard
        )
        if not self._conversation.waiting:
            self._begun_at = None
        elif heard or not before:
            self._begun_at = now
        self._take(heard)
        if self._bytes < 0 or self._frames < 0:
            self.close("closed_flood")

    def _take(self, heard: list[Heard]) -> None:
        garbage = sum(one.garbage for one in heard)
        allowed = self._host.limits.garbage - self._garbage
        self._garbage += garbage
        self._host.counters["frames"] += len(heard) - garbage
        self._host.counters["garbage"] += garbage
        if garbage > allowed:
            kept, left = [], allowed
            for one in heard:
                left -= one.garbage
                if left < 0:
                    break
                kept.append(one)
            heard = kept
        self._host.take(self, heard)
        if self._garbage >= self._host.limits.garbage:
            self.close("closed_garbage")

    def look_at_the_clock(self, now: float) -> None:
        """Close when it has been silent, or at one frame, for too long."""
        if self._begun_at is not None and now - self._begun_at >= self._host.limits.frame_s:
            self._take(self._conversation.rest())
            self.close("closed_slow")
        elif now - self._heard_at >= self._host.limits.idle_s:
            self.close("closed_idle")

    def pause(self) -> None:
        """Leave what it sends in the socket."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again; the time we kept it waiting is not its own."""
        self._heard_at = self._loop.time()
        self._begun_at = self._heard_at if self._conversation.waiting else None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def answer(self, data: bytes) -> None:
        """Send it; a peer that lets its answers lie is closed."""
        if self.transport.is_closing():
            return
        self.transport.write(data)
        self._host.counters["answers"] += 1
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.close("closed_unread")
        elif self._ended and not self.owed:
            self.transport.close()

    def close(self, why: str) -> None:
        """Close at once and count it under ``why``."""
        if self._closing:
            return
        self._closing = True
        self._host.counters[why] += 1
        log.info("peer closed", family=self._host.family, why=why, address=self.address)
        self.transport.abort()
