"""What RabbitMQ's stream protocol has and rstream's client lacks: reads of any size, and where a stream ends.

RabbitMQ, "Streams Protocol Reference", StreamStats: command 28 with a stream's name is answered by (name, int64) pairs.
"""

import asyncio
import enum
from dataclasses import dataclass, field

from rstream import schema
from rstream.client import Client
from rstream.connection import Connection, ConnectionClosed
from rstream.constants import T
from rstream.encoding import decode_frame

COMMITTED = "committed_offset"  # of the last record that a majority of nodes has; -1 = there is none
_ANSWER = 0x8000  # set in the number of a command that is an answer
_LEAST = 14  # bytes of an answer: command, version, correlation, code, count


class _Key(enum.Enum):
    STREAM_STATS = 28


@dataclass
class _Stats(schema.Frame):
    key = _Key.STREAM_STATS  # type: ignore[assignment]  # rstream's own enumeration ends before it
    correlation_id: int = field(metadata={"type": T.uint32})
    stream: str = field(metadata={"type": T.string})


@dataclass
class StatsAnswer(schema.Frame, is_response=True):
    """What the broker says of one stream, by its own names."""

    key = _Key.STREAM_STATS  # type: ignore[assignment]  # as above
    correlation_id: int
    response_code: int
    said: dict[str, int]


_Stats.prepare()  # type: ignore[no-untyped-call]  # rstream's


def stats_of(frame: bytes | bytearray) -> StatsAnswer:
    """The answer in a whole frame, which has no length in front. Raises ValueError for one that is cut."""
    if len(frame) < _LEAST:
        raise ValueError(f"an answer of {len(frame)} bytes")
    said: dict[str, int] = {}
    at = _LEAST
    for _ in range(int.from_bytes(frame[10:14], "big")):
        end = at + 2 + int.from_bytes(frame[at : at + 2], "big")
        if end + 8 > len(frame):
            raise ValueError("the answer ends in the middle")
        said[bytes(frame[at + 2 : end]).decode()] = int.from_bytes(frame[end : end + 8], "big", signed=True)
        at = end + 8
    return StatsAnswer(
        correlation_id=int.from_bytes(frame[4:8], "big"),
        response_code=int.from_bytes(frame[8:10], "big"),
        said=said,
    )


class _Line(Connection):
    """rstream's own would read 256 bytes at a time, and end at a command it does not know."""

    async def _read(self, n: int) -> bytearray:
        assert self._reader is not None  # noqa: S101  # open() was called
        try:
            return bytearray(await self._reader.readexactly(n))
        except asyncio.IncompleteReadError:
            raise ConnectionClosed from None

    async def read_frame(self) -> schema.Frame:
        """The next one."""
        frame = await self._read_frame_raw()
        if int.from_bytes(frame[:2], "big") == _ANSWER | _Key.STREAM_STATS.value:
            return stats_of(frame)
        return decode_frame(bytes(frame))


class LogClient(Client):
    """rstream's client on such a line."""

    async def start(self) -> None:
        """Connect; raises OSError."""
        self._conn = _Line(self.host, self.port, self._ssl_context)
        await self._conn.open()
        self.start_task("listener", self._listener())
        self.add_handler(schema.Heartbeat, self._on_heartbeat)
        self.add_handler(schema.Close, self._on_close)

    async def end_of(self, stream: str) -> int:
        """The offset behind the last record of a stream; 0 = it is empty. Raises ServerError, TimeoutError."""
        asked = _Stats(self._corr_id_seq.next(), stream=stream)
        answer = await self.sync_request(asked, resp_schema=StatsAnswer)
        return answer.said[COMMITTED] + 1
