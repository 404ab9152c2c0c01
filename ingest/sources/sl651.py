"""The listener for stations of SL 651-2014: their stream cut into frames, and what they are answered.

Reports and pictures are confirmed after the commit, as the standard asks of its modes M2 to M4 (6.6.4); link reports
and answers to queries are not. A frame without the right password is kept in quarantine and not confirmed.
"""

from collections.abc import Callable

from city.settings import Settings
from ingest.decoders.said import Rejected
from ingest.decoders.sl651 import FAMILY, PICTURE, REPORTS, WRONG_PASSWORD
from ingest.decoders.sl651_frames import ACK, EOT, ESC, ETB, Frame, length_of, read_frame, write_down
from ingest.inbox import Inbox
from ingest.sources.framing import Piece
from ingest.sources.peers import Heard, Limits
from ingest.sources.tcp import TcpSource

HELD_GARBAGE = 1024  # bytes without a beginning that are gathered into one piece
MOST_BROKEN = 16  # pieces of one read; each may cost a checksum of 4 KiB, so what follows is one piece
LONGEST_REPORT = 32 * 1024  # bytes of packets that are put together

_GARBAGE_TOPIC = f"{FAMILY}/-"


class StationFramer:
    """``sources.framing.Framer`` of both forms. A frame is whole when its checksum is right.

    After one that is not, the next place where a header could stand is tried, so that a lost byte costs one frame.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._tried = 0  # no frame begins before this place of what is held

    @property
    def waiting(self) -> int:
        """Bytes held."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Piece]:
        """Every piece that is complete now."""
        self._held += data
        return self._cut(final=False)

    def rest(self) -> list[Piece]:
        """What is held; a frame that a false beginning hid is still found."""
        return self._cut(final=True)

    def _cut(self, *, final: bool) -> list[Piece]:
        held, pieces = self._held, []
        begin, at, broken = 0, self._tried, 0

        def pass_over(end: int) -> None:
            nonlocal begin
            if end > begin:
                pieces.append(Piece(bytes(held[begin:end]), whole=False))
            begin = end

        while (at := _beginning(held, at)) < len(held):
            size = length_of(held, at)
            if size == 0:
                at += 1
            elif size is None or at + size > len(held):
                if not final:
                    break
                at += 1
            elif isinstance(read_frame(bytes(held[at : at + size])), Rejected):
                broken += 1
                if broken > MOST_BROKEN:
                    at = len(held)
                    break
                pass_over(at)
                at = begin_inside = _plausible(held, at + 1, at + size)
                pass_over(begin_inside)
            else:
                pass_over(at)
                pieces.append(Piece(bytes(held[at : at + size]), whole=True))
                begin = at = at + size
        if final or at < len(held) or at - begin >= HELD_GARBAGE:
            pass_over(len(held) if final else at)
        del held[:begin]
        self._tried = at - begin
        return pieces


def _beginning(held: bytearray, at: int) -> int:
    """The next byte that may begin a frame, or the end."""
    places = [place for place in (held.find(0x7E, at), held.find(0x01, at)) if place >= 0]
    return min(places, default=len(held))


def _plausible(held: bytearray, at: int, end: int) -> int:
    """The next place before ``end`` where a header stands, or so far looks like one; or ``end``."""
    while (at := _beginning(held, at)) < end:
        size = length_of(held, at)
        if size or (size is None and len(held) - at > 1):
            return at
        at += 1
    return end


class StationTalk:
    """One station's connection: see ``sources.peers.Conversation``."""

    def __init__(self, passwords: frozenset[str], *, stay_online: bool) -> None:
        self._passwords = passwords
        self._last = ESC if stay_online else EOT
        self._framer = StationFramer()
        self._parts: list[bytes] = []  # of a report in several packets
        self._first: Frame | None = None  # the packet that has serial number and time

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not complete; packets may take their time."""
        return self._framer.waiting

    def hear(self, data: bytes) -> list[Heard]:
        """What these bytes complete."""
        return [heard for piece in self._framer.feed(data) for heard in self._take(piece)]

    def rest(self) -> list[Heard]:
        """What is left when the station goes."""
        heard = [heard for piece in self._framer.rest() for heard in self._take(piece)]
        return heard + self._unfinished()

    def _take(self, piece: Piece) -> list[Heard]:
        found = read_frame(piece.data) if piece.whole else None
        if found is None or isinstance(found, Rejected):
            return [Heard(_GARBAGE_TOPIC, piece.data, garbage=True)]
        frame = found[0]
        topic = f"{FAMILY}/{frame.station}"
        if self._passwords and frame.password not in self._passwords:
            return [Heard(f"{topic}/{WRONG_PASSWORD}", piece.data, garbage=True)]
        if frame.packet is not None and not frame.down:
            return self._packet(frame, topic, piece.data)
        return [*self._unfinished(), Heard(topic, piece.data, self._answer(frame, frame))]

    def _packet(self, frame: Frame, topic: str, data: bytes) -> list[Heard]:
        """One of several: a report's are put together, a picture's are passed on; both are confirmed once."""
        total, number = frame.packet or (1, 1)
        before = self._unfinished() if number == 1 else []
        if number == 1:
            self._first = frame
        first = self._first
        follows = first is not None and (first.station, first.function) == (frame.station, frame.function)
        answer = self._answer(first, frame) if follows and first is not None and number == total else None
        if frame.function == PICTURE or not follows:
            return [*before, *(self._unfinished() if not follows else []), Heard(topic, data, answer)]
        self._parts.append(data)
        if number < total and sum(map(len, self._parts)) < LONGEST_REPORT:
            return before
        joined, self._parts, self._first = b"".join(self._parts), [], None
        return [*before, Heard(topic, joined, answer)]

    def _unfinished(self) -> list[Heard]:
        """A report whose other packets did not come: what is there, unconfirmed, so that it is sent again."""
        parts, self._parts = self._parts, []
        first, self._first = self._first, None
        return [Heard(f"{FAMILY}/{first.station}", b"".join(parts))] if parts and first is not None else []

    def _answer(self, first: Frame, last: Frame) -> Callable[[], bytes] | None:
        if first.down or (first.function not in REPORTS and first.function != PICTURE):
            return None
        if len(first.serial) < (16 if first.text else 8):
            return None
        end = ACK if last.end == ETB else self._last  # more follows: go on
        return lambda: write_down(first, end)


def station_listener(settings: Settings, inbox: Inbox, *, source: int, limits: Limits) -> TcpSource:
    """The source at ``CITY_SL651_PORT``."""
    said = settings.sl651_password.get_secret_value() if settings.sl651_password is not None else ""
    passwords = frozenset(one.strip().upper() for one in said.split(",") if one.strip())
    return TcpSource(
        FAMILY,
        host=settings.listen_host,
        port=settings.sl651_port,
        setting="CITY_SL651_PORT",
        converse=lambda: StationTalk(passwords, stay_online=settings.sl651_stay_online),
        inbox=inbox,
        source=source,
        limits=limits,
    )
