"""Our read path against paho's own, on packet streams cut at every byte: an upgrade that breaks it fails here."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.mqtt import BatchClient, StockClient
from ingest.sources.packets import KEEP, LARGEST, PacketReader, ProtocolViolationError, Published

CONNACK = b"\x20\x02\x00\x00"
SUBACK = b"\x90\x03\x00\x01\x01"
PINGRESP = b"\xd0\x00"


def _length(number: int) -> bytes:
    out = b""
    while True:
        number, digit = divmod(number, 128)
        out += bytes([digit | (0x80 if number else 0)])
        if not number:
            return out


def publish(
    topic: bytes, payload: bytes, packet_id: int = 0, *, retain: bool = False, dup: bool = False
) -> bytes:
    first = 0x30 | (0x02 if packet_id else 0) | (0x01 if retain else 0) | (0x08 if dup else 0)
    body = (
        struct.pack(">H", len(topic)) + topic + (struct.pack(">H", packet_id) if packet_id else b"") + payload
    )
    return bytes([first]) + _length(len(body)) + body


CORPUS = [
    CONNACK,
    SUBACK,
    publish(b"city/c1/smoke/s1", b'{"value":1}', 1),
    publish(b"city/c1/smoke/s1", b"", 65535),
    publish(b"city/c1/smoke/s2", b'{"value":2}'),
    PINGRESP,
    publish(b"city/c1/water/w", b"x" * 200, 258, retain=True),
    publish(b"a", b"y" * 20_000, 3, dup=True),
    PINGRESP,
    publish(b"\xff\xfe", b"\x00", 4),
]


class ScriptedSocket:
    """Hands out a stream in given pieces, then has nothing."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None: ...


def _read_with(
    make: Callable[..., Any], pieces: list[bytes]
) -> tuple[list[tuple[bytes, bytes, int, bool]], list[str]]:
    """Everything a client of ours makes of a stream: publishes, and the other packets it noticed."""
    got: list[tuple[bytes, bytes, int, bool]] = []
    noticed: list[str] = []

    def on_batch(published: Published) -> None:
        for position, topic in enumerate(published.topics):
            retained = position in published.retained
            got.append((topic, published.payloads[position], published.packet_ids[position], retained))

    client = make(on_batch, lambda: True, client_id="x", clean_session=False, manual_ack=True)
    client.on_connect = lambda *_: noticed.append("connack")
    client.on_subscribe = lambda *_: noticed.append("suback")
    client._sock = socket = ScriptedSocket(pieces)
    client._ping_t = 1.0
    for _ in range(100_000):
        if not socket.pieces:
            break
        client.loop_read()
    client.loop_read()
    noticed.append(f"ping outstanding: {client._ping_t}")
    return got, noticed


def test_agrees_with_paho_on_a_whole_stream() -> None:
    stream = b"".join(CORPUS)
    assert _read_with(BatchClient, [stream]) == _read_with(StockClient, [stream])


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause after a small read is for the broker's sake; thousands of cuts need none."""
    monkeypatch.setattr("ingest.sources.mqtt.COALESCE_S", 0.0)


def test_agrees_with_paho_cut_at_every_byte() -> None:
    short = [packet for packet in CORPUS if len(packet) < 1000]
    stream = b"".join(short)
    expected = _read_with(StockClient, [stream])
    assert len(expected[0]) == 5
    for cut in range(1, len(stream)):
        assert _read_with(BatchClient, [stream[:cut], stream[cut:]]) == expected, cut


def test_agrees_with_paho_byte_by_byte() -> None:
    stream = b"".join(CORPUS)
    assert _read_with(BatchClient, [stream[i : i + 1] for i in range(len(stream))]) == _read_with(
        StockClient, [stream]
    )


@given(
    st.lists(
        st.one_of(
            st.sampled_from([PINGRESP, SUBACK]),
            st.builds(
                publish,
                st.binary(max_size=40),
                st.binary(max_size=300),
                st.integers(0, 65535),
                retain=st.booleans(),
            ),
        ),
        max_size=12,
    ),
    st.lists(st.integers(1, 400), max_size=30),
)
def test_cuts_never_change_what_is_read(packets: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(packets)
    pieces: list[bytes] = []
    rest = stream
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    reader, other = PacketReader(), []
    found: list[tuple[bytes, bytes, int]] = []
    for piece in [*pieces, rest]:
        part = reader.feed(piece, lambda first, _length, _body: bool(other.append(first)) or True)
        found += zip(part.topics, part.payloads, part.packet_ids, strict=True)
    whole = PacketReader().feed(stream, lambda *_: True)
    assert found == list(zip(whole.topics, whole.payloads, whole.packet_ids, strict=True))
    assert len(found) + len(other) == len(packets)


def test_an_oversize_packet_passes_by_and_keeps_its_head() -> None:
    size = LARGEST + 300_000
    stream = publish(b"city/c/smoke/s", b"z" * size, 7) + publish(b"city/c/smoke/t", b"{}", 8)
    reader = PacketReader()
    topics: list[bytes] = []
    kept: list[bytes] = []
    real: list[int] = []
    for begin in range(0, len(stream), 10_000):
        part = reader.feed(stream[begin : begin + 10_000], lambda *_: True)
        assert len(reader._rest) <= LARGEST  # memory stays bounded while it passes
        topics += part.topics
        kept += part.payloads
        real += part.cut.values()
    assert topics == [b"city/c/smoke/s", b"city/c/smoke/t"]
    assert kept == [b"z" * KEEP, b"{}"]
    assert real == [size]


@pytest.mark.parametrize(
    "stream", [b"\x30\xff\xff\xff\xff\x01", b"\x32\x03\x00\x10a", b"\x30\x01\x00", b"\x32\x04\x00\x01a\x00"]
)
def test_a_peer_that_does_not_speak_mqtt_is_noticed(stream: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        PacketReader().feed(stream, lambda *_: True)


def test_acknowledgements_go_out_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    client = BatchClient(lambda _: None, lambda: True, client_id="x", clean_session=False, manual_ack=True)
    monkeypatch.setattr(client, "_packet_queue", lambda _command, packet, _mid, _qos: sent.append(packet))
    client.acknowledge([1, 258, 65535])
    assert sent == [b"\x40\x02\x00\x01\x40\x02\x01\x02\x40\x02\xff\xff"]
