"""The listener for environmental stations (HJ 212-2017): lines out of the stream, answer 9014 after the commit."""

from collections.abc import Callable

from city.settings import Settings
from ingest.decoders.hj212 import ALIVE, PERIODS, checksum, read_message
from ingest.decoders.said import Rejected
from ingest.inbox import Inbox
from ingest.sources.framing import Cutter, Piece
from ingest.sources.peers import Heard, Limits
from ingest.sources.tcp import TcpSource

START, END = b"##", b"\r\n"
HEAD = 6  # ## and the length
LONGEST = HEAD + 9999 + 4  # bytes of a message
_ANSWERED = frozenset(PERIODS) | {one for one in ALIVE if not one.startswith("901")}


def cut_lines(data: bytes, *, ended: bool) -> tuple[list[Piece], bytes]:
    """Cuts a station's stream; see framing.Cut. The end of line may be missing, as the sum tells the end."""
    pieces: list[Piece] = []
    at = 0
    while (begin := data.find(START, at)) >= 0:
        pieces += _garbage(data[at:begin])
        at = begin
        end = _end(data, at)
        if end is not None:
            pieces.append(Piece(data[at:end], True))
        elif not ended and len(data) - at <= LONGEST:
            return pieces, data[at:]
        else:
            following = data.find(START, at + 2)
            end = following if following >= 0 else len(data)
            pieces += _garbage(data[at:end])
        at = end
    hold = len(data) - (not ended and data.endswith(START[:1]) and at < len(data))
    return pieces + _garbage(data[at:hold]), data[hold:]


def _end(data: bytes, at: int) -> int | None:
    """Where the message that begins here ends: by length and sum, else with its line, or before the next one."""
    digits = data[at + 2 : at + HEAD]
    if len(digits) == 4 and digits.isdigit():
        end = at + HEAD + int(digits) + 4
        if len(data) >= end and not isinstance(read_message(data[at:end]), Rejected):
            return end
    line = data.find(END, at, at + LONGEST + 2)
    if line < 0:
        return None
    following = data.find(START, at + 2, line)  # this one was broken off
    return following if following >= 0 else line + 2


def _garbage(data: bytes) -> list[Piece]:
    return [Piece(data, False)] if data.strip(END) else []


class StationConversation:
    """One connection, which may speak for several stations."""

    def __init__(self) -> None:
        self._cutter = Cutter(cut_lines)

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete."""
        return self._cutter.waiting

    def hear(self, data: bytes) -> list[Heard]:
        """Messages, each with the answer it asked for."""
        return [_heard(piece) for piece in self._cutter.feed(data)]

    def rest(self) -> list[Heard]:
        """What was begun and is not going to be ended."""
        return [_heard(piece) for piece in self._cutter.rest()]


def _heard(piece: Piece) -> Heard:
    message = read_message(piece.data) if piece.whole else None
    if message is None or isinstance(message, Rejected):
        return Heard("hj212/-", piece.data, garbage=True)
    head = message.head
    station = head.get("MN", "")
    topic = f"hj212/{station if station.isalnum() and len(station) <= 64 else '-'}"
    answers = message.wants_answer and head.get("CN") in _ANSWERED and any(message.groups)
    due: Callable[[], bytes] | None = (lambda: answer(head)) if answers else None
    return Heard(topic, piece.data, due)


def answer(head: dict[str, str]) -> bytes:
    """9014, the answer to data (6.6.4): the question's QN, PW and MN, and the version in its Flag."""
    flag = int(head["Flag"][:4]) & ~3
    data = (
        f"QN={head.get('QN', '')};ST=91;CN=9014;PW={head.get('PW', '')};MN={head.get('MN', '')}"
        f";Flag={flag};CP=&&&&"
    ).encode("gb18030", errors="replace")
    return b"##%04d%s%04X\r\n" % (len(data), data, checksum(data))


def environment_listener(settings: Settings, inbox: Inbox, *, source: int, limits: Limits) -> TcpSource:
    """The source at ``CITY_HJ212_PORT``."""
    return TcpSource(
        "hj212",
        host=settings.listen_host,
        port=settings.hj212_port,
        setting="CITY_HJ212_PORT",
        converse=StationConversation,
        inbox=inbox,
        source=source,
        limits=limits,
    )
