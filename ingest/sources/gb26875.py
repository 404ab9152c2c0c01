"""The listener for fire alarm transmitters (GB/T 26875.3-2011): frames out of the stream, answers after the commit.

A transmitter sends again what is not confirmed within some seconds (6.5). So a frame with a right sum is confirmed
(command 3) once it is committed, whatever was made of it; one with a wrong sum or a command that is none is denied
(command 6). A frame that comes twice carries the same times, so it is stored once and confirmed twice.
"""

from collections.abc import Callable
from datetime import datetime

from city.settings import Settings
from ingest.decoders.gb26875 import (
    CONFIRM,
    DENY,
    END,
    HEAD,
    MAX_UNIT,
    SEND,
    START,
    TAIL,
    TESTED,
    read_frame,
    shows_test_bit,
)
from ingest.decoders.said import Rejected
from ingest.inbox import Inbox
from ingest.sources.framing import Cutter, Piece
from ingest.sources.peers import Heard, Limits
from ingest.sources.tcp import TcpSource

MOST_REMEMBERED = 100_000  # transmitters known to use bit 0
_LENGTH = 24  # where the unit's length stands in a frame
_NO_ANSWER = frozenset({1, CONFIRM, 4, 5, DENY})  # commands that are answers, or the centre's own


def cut_frames(data: bytes, *, ended: bool) -> tuple[list[Piece], bytes]:
    """Cuts a transmitter's stream; see framing.Cut. A frame behind a broken one is found at once."""
    pieces: list[Piece] = []
    said = at = 0
    while (at := data.find(START, at)) >= 0:
        size = _size(data, at)
        if size is not None and (size == 0 or data[at + size - 2 : at + size] not in (END, b"", END[:1])):
            at += 1
        elif size is None or at + size > len(data):
            later = _whole_after(data, at + 1)
            if later is None:
                break
            at = later
        elif (later := _inside(data, at, size)) is not None:
            at = later
        else:
            if at > said:
                pieces.append(Piece(data[said:at], False))
            pieces.append(Piece(data[at : at + size], True))
            said = at = at + size
    hold = len(data) if ended else at if at >= 0 else max(said, len(data) - data.endswith(START[:1]))
    if hold > said:
        pieces.append(Piece(data[said:hold], False))
    return pieces, data[hold:]


def _size(data: bytes, at: int) -> int | None:
    """How long the frame that begins here says it is; 0 = longer than any, None = not yet said."""
    if len(data) < at + _LENGTH + 2:
        return None
    length = int.from_bytes(data[at + _LENGTH : at + _LENGTH + 2], "little")
    return HEAD + length + TAIL if length <= MAX_UNIT else 0


def _inside(data: bytes, at: int, size: int) -> int | None:
    """Where a right frame begins within one whose sum is wrong; None = the wrong sum is all there is to say."""
    if not isinstance(read_frame(data[at : at + size]), Rejected):
        return None
    later = _whole_after(data, at + 1)
    return later if later is not None and later < at + size else None


def _whole_after(data: bytes, at: int) -> int | None:
    """Where the next frame with a right sum begins: what was begun before it was broken off."""
    while (at := data.find(START, at)) >= 0:
        size = _size(data, at)
        if size and not isinstance(read_frame(data[at : at + size]), Rejected):
            return at
        at += 1
    return None


class TestUsers(set[int]):
    """Transmitters whose missing bit 0 means a test, by address; forgotten with the process, and learnt again."""

    __test__ = False  # no test case, whatever its name says

    def learn(self, source: int, unit: bytes) -> bool:
        """Whether this one is known to use the bit, now that it sent ``unit``."""
        if source not in self and len(self) < MOST_REMEMBERED and shows_test_bit(unit):
            self.add(source)
        return source in self


class TransmitterConversation:
    """One connection, which may speak for several transmitters."""

    def __init__(self, users: TestUsers, now: Callable[[], datetime]) -> None:
        self._users = users
        self._now = now
        self._cutter = Cutter(cut_frames)

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not complete."""
        return self._cutter.waiting

    def hear(self, data: bytes) -> list[Heard]:
        """Frames, each with the answer it is due."""
        return [self._heard(piece) for piece in self._cutter.feed(data)]

    def rest(self) -> list[Heard]:
        """What was begun and is not going to be ended."""
        return [self._heard(piece) for piece in self._cutter.rest()]

    def _heard(self, piece: Piece) -> Heard:
        data = piece.data
        if not piece.whole:
            return Heard("gb26875/-", data, garbage=True)
        frame = read_frame(data)
        if isinstance(frame, Rejected):
            return Heard("gb26875/-", data, lambda: self._answer(data, DENY), garbage=True)
        topic = f"gb26875/{frame.source}"
        if self._users.learn(frame.source, frame.unit):
            topic += f"/{TESTED}"
        if frame.command in _NO_ANSWER:
            return Heard(topic, data)
        command = CONFIRM if frame.command == SEND else DENY
        return Heard(topic, data, lambda: self._answer(data, command))

    def _answer(self, data: bytes, command: int) -> bytes:
        return answer(data, command, self._now())


def answer(data: bytes, command: int, now: datetime) -> bytes:
    """A frame without a unit that answers another: its serial and version, its addresses the other way round."""
    sent = bytes((now.second, now.minute, now.hour, now.day, now.month, now.year % 100))
    control = data[2:6] + sent + data[18:24] + data[12:18] + bytes((0, 0, command))
    return START + control + bytes((sum(control) & 0xFF,)) + END


def transmitter_listener(settings: Settings, inbox: Inbox, *, source: int, limits: Limits) -> TcpSource:
    """The source at ``CITY_GB26875_PORT``; its peers share what is known of transmitters."""
    users = TestUsers()
    return TcpSource(
        "gb26875",
        host=settings.listen_host,
        port=settings.gb26875_port,
        setting="CITY_GB26875_PORT",
        converse=lambda: TransmitterConversation(users, lambda: datetime.now(settings.zone)),
        inbox=inbox,
        source=source,
        limits=limits,
    )
