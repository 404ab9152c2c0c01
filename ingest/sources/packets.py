"""MQTT packets out of a byte stream, many at a time; Sans-I/O, so that every cut of a stream can be tested.

One ``feed`` walks all packets of a read in one loop and collects PUBLISH packets as columns; any other packet goes
to the caller in its place of the stream. This is where the speed of the read path comes from (docs/decisions.md):
paho reads each packet with three system calls and makes six objects of it.

Formats: MQTT 3.1.1 (OASIS, 2014), 2.2 fixed header, 2.2.3 remaining length, 3.3 PUBLISH.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

PUBLISH = 0x30
KEEP = 64 * 1024  # payload bytes kept of a message too large to take
LARGEST = (
    1024 * 1024
)  # bytes of a packet held whole; of a larger one only the head is kept while the rest passes by
_HEAD = 2 + 65_535 + 2 + KEEP  # enough for the longest topic, the packet id and what is kept


class ProtocolViolationError(Exception):
    """The peer does not speak MQTT (remaining length beyond four bytes, topic longer than its packet)."""


@dataclass(slots=True)
class Published:
    """Columns of the PUBLISH packets of one feed."""

    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    packet_ids: list[int] = field(default_factory=list)
    retained: list[int] = field(default_factory=list)
    cut: dict[int, int] = field(default_factory=dict)

    def add(self, first: int, packet: bytes, head: int, end: int) -> None:
        """Take the packet whose variable header begins at ``head``; raises ProtocolViolationError."""
        begin = head + 2
        topic_end = begin + ((packet[head] << 8) | packet[head + 1]) if end >= begin else end + 1
        body = topic_end + 2 if first & 0x06 else topic_end
        if body > end:
            raise ProtocolViolationError("a PUBLISH shorter than its own topic")
        if first & 0x01:
            self.retained.append(len(self.topics))
        self.packet_ids.append((packet[topic_end] << 8) | packet[topic_end + 1] if first & 0x06 else 0)
        self.topics.append(packet[begin:topic_end])
        self.payloads.append(packet[body:end])


Other = Callable[[int, int, bytes], bool]  # (first byte, remaining length, body) -> go on


class PacketReader:
    """Holds what is left of a cut packet between two reads; make a new one for each connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0  # bytes of an oversize packet still to pass by
        self._oversize: tuple[int, bytes, int] | None = (
            None  # first byte, head of its body, its whole body's length
        )

    def feed(self, chunk: bytes, other: Other) -> Published:
        """Publishes of this chunk; ``other`` is called for other packets in stream order and may stop the walk."""
        found = Published()
        if self._skip:
            chunk = self._pass_by(chunk, found)
        data = self._rest + chunk if self._rest else chunk
        size = len(data)
        position = 0
        while size - position >= 2:
            first = data[position]
            length = data[position + 1]
            head = position + 2
            if length & 0x80:
                length, head = _long_length(data, position + 1)
                if length < 0:
                    break
            end = head + length
            if end > size:
                if length > LARGEST and size - head >= _HEAD and first & 0xF0 == PUBLISH:
                    self._oversize = (first, data[head : head + _HEAD], length)
                    self._skip = end - size
                    position = size
                break
            if first & 0xF0 == PUBLISH:
                found.add(first, data, head, end)
            elif not other(first, length, data[head:end]):
                position = end
                break
            position = end
        self._rest = data[position:]
        return found

    def _pass_by(self, chunk: bytes, found: Published) -> bytes:
        passed = min(self._skip, len(chunk))
        self._skip -= passed
        if not self._skip and self._oversize is not None:
            first, body, length = self._oversize
            self._oversize = None
            found.add(first, body, 0, len(body))
            head_of_it = len(body) - len(found.payloads[-1])
            found.payloads[-1] = found.payloads[-1][:KEEP]
            found.cut[len(found.topics) - 1] = length - head_of_it
        return chunk[passed:]


def _long_length(data: bytes, at: int) -> tuple[int, int]:
    """Remaining length of several bytes and where the variable header begins; (-1, at) when it is not all there."""
    length = shift = 0
    for index in range(at, min(at + 4, len(data))):
        byte = data[index]
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return length, index + 1
        shift += 7
    if len(data) - at >= 4:
        raise ProtocolViolationError("a remaining length of more than four bytes")
    return -1, at
