"""What rstream's client lacks of RabbitMQ's stream protocol: reads of any size, chunks at their price, a stream's end.

RabbitMQ, "Streams Protocol Reference", StreamStats: command 28 with a stream's name is answered by (name, int64) pairs.
"""

import asyncio
import enum
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from rstream import schema
from rstream.client import Client
from rstream.connection import Connection, ConnectionClosed
from rstream.constants import T
from rstream.encoding import decode_frame

COMMITTED = "committed_offset"  # of the last record that a majority of nodes has; -1 = there is none
_ANSWER = 0x8000  # set in the number of a command that is an answer
_LEAST = 14  # bytes of an answer: command, version, correlation, code, count
# Command, version, subscription, magic, kind, entries, records, time, epoch, first offset, CRC, two sizes, and 4 bytes.
_CHUNK = struct.Struct(">HHBbbHIqQQIIII")

log = structlog.get_logger()


class _Key(enum.Enum):
    DELIVER = 8
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


def stats_of(frame: bytes) -> StatsAnswer:
    """The answer in a whole frame, which has no length in front. Raises ValueError for one that is cut."""
    if len(frame) < _LEAST:
        raise ValueError(f"an answer of {len(frame)} bytes")
    said: dict[str, int] = {}
    at = _LEAST
    for _ in range(int.from_bytes(frame[10:14], "big")):
        end = at + 2 + int.from_bytes(frame[at : at + 2], "big")
        if end + 8 > len(frame):
            raise ValueError("the answer ends in the middle")
        said[frame[at + 2 : end].decode()] = int.from_bytes(frame[end : end + 8], "big", signed=True)
        at = end + 8
    return StatsAnswer(
        correlation_id=int.from_bytes(frame[4:8], "big"),
        response_code=int.from_bytes(frame[8:10], "big"),
        said=said,
    )


@dataclass
class ChunkFrame(schema.Frame):
    """Deliver (command 8): records as the broker wrote them together; ``timestamp`` in ms since 1970 UTC."""

    key = _Key.DELIVER  # type: ignore[assignment]  # as above; rstream's own Deliver is parsed field by field
    subscription_id: int
    timestamp: int
    first_offset: int
    records: list[bytes]


def chunk_of(frame: bytes) -> ChunkFrame:
    """The chunk in a whole frame. Raises ValueError for one that is cut, changed or of another kind."""
    if len(frame) < _CHUNK.size:
        raise ValueError(f"a chunk of {len(frame)} bytes")
    *_, subscription, _, kind, entries, _, timestamp, _, first, crc, size, _, _ = _CHUNK.unpack_from(frame)
    data = frame[_CHUNK.size :]
    if kind or len(data) != size or zlib.crc32(data) != crc:
        raise ValueError(f"a chunk of kind {kind} with {len(data)} of {size} bytes, or changed on its way")
    records, at = [], 0
    for _ in range(entries):
        length = int.from_bytes(data[at : at + 4], "big")
        if length > size - at - 4:  # also what a batch within a chunk begins with, which MQTT never writes
            raise ValueError("a record ends behind its chunk")
        at += 4 + length
        records.append(data[at - length : at])
    return ChunkFrame(subscription_id=subscription, timestamp=timestamp, first_offset=first, records=records)


class _Line(Connection):
    """rstream's own would read 256 bytes at a time, and end at a command it does not know."""

    async def read_frame(self) -> schema.Frame:
        """The next one. What cannot be read ends the connection: behind it nothing can be trusted."""
        assert self._reader is not None  # noqa: S101  # open() was called
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "big")
            frame = await self._reader.readexactly(length)
            key = int.from_bytes(frame[:2], "big")
            if key == _Key.DELIVER.value:
                return chunk_of(frame)
            return stats_of(frame) if key == _ANSWER | _Key.STREAM_STATS.value else decode_frame(frame)
        except asyncio.IncompleteReadError:
            raise ConnectionClosed from None
        except (ValueError, KeyError) as error:
            log.warning("the log sent what cannot be read", why=str(error))
            raise ConnectionClosed from None

    def abort(self) -> None:
        """Close without a word to a node that does not answer."""
        if self._writer is not None:
            self._writer.transport.abort()


class LogClient(Client):
    """rstream's client on such a line."""

    async def start(self) -> None:
        """Connect; raises OSError."""
        self._conn = _Line(self.host, self.port, self._ssl_context)
        await self._conn.open()
        self.start_task("listener", self._listener())
        self.add_handler(schema.Heartbeat, self._on_heartbeat)
        self.add_handler(schema.Close, self._on_close)

    def abort(self) -> None:
        """Leave a node that does not answer: its end of the line learns it from the network, or from our silence."""
        if isinstance(self._conn, _Line):
            self._conn.abort()

    async def end_of(self, stream: str) -> int:
        """The offset behind the last record of a stream; 0 = it is empty. Raises ServerError, TimeoutError."""
        asked = _Stats(self._corr_id_seq.next(), stream=stream)
        answer = await self.sync_request(asked, resp_schema=StatsAnswer)
        return answer.said[COMMITTED] + 1

    async def places_of(self, streams: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
        """(host, port) of the nodes that have each stream, its leader last; none for a stream that nobody has now.

        One question for all: a node that has just died costs RabbitMQ a second of waiting for each question.
        """
        answer = await self.sync_request(
            schema.Metadata(self._corr_id_seq.next(), streams=list(streams)),
            resp_schema=schema.MetadataResponse,
            raise_exception=False,
        )
        at = {broker.reference: (broker.host, broker.port) for broker in answer.brokers}
        return {
            one.name: [at[ref] for ref in (*one.replicas_refs, one.leader_ref) if ref in at]
            for one in answer.metadata
        }
