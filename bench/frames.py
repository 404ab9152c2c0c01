"""MQTT 3.1.1 packets as arrays: thousands of PUBLISH frames are filled in at once, so the load costs little.

All messages of one kind have the same length; only packet id, time, value and sequence number differ, each
with a fixed number of digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
PINGREQ, DISCONNECT = b"\xc0\x00", b"\xe0\x00"
SEQ_BASE = 10_000_000  # JSON numbers must not begin with 0, so that eight digits stay eight


def _remaining(length: int) -> bytes:
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def connect(client_id: str, *, clean: bool, keepalive_s: int = 60) -> bytes:
    """A CONNECT without log-in."""
    body = _text("MQTT") + bytes([4, 2 if clean else 0]) + keepalive_s.to_bytes(2, "big") + _text(client_id)
    return b"\x10" + _remaining(len(body)) + body


def subscribe(topic_filter: str, qos: int) -> bytes:
    """A SUBSCRIBE to one filter, with packet id 1."""
    body = b"\x00\x01" + _text(topic_filter) + bytes([qos])
    return b"\x82" + _remaining(len(body)) + body


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The devices the load comes from; codes and topics have a fixed length."""

    devices: int
    cells: int
    water: int = 0  # the last so many are water stations, the others smoke detectors

    def code(self, number: int) -> str:
        """Device code by number."""
        return f"b{number:06d}"

    def cell(self, number: int) -> str:
        """Code of the cell a device stands in: neighbours in number share one."""
        return f"n{number * self.cells // self.devices:05d}"

    def is_water(self, number: int) -> bool:
        """Whether it is a water station."""
        return number >= self.devices - self.water

    def topic(self, number: int) -> str:
        """Where it publishes."""
        kind = "water" if self.is_water(number) else "smoke"
        return f"city/{self.cell(number)}/{kind}/{self.code(number)}"


class Template:
    """Frames of a whole fleet, one row for each device, with `pack` readings in each message."""

    def __init__(self, fleet: Fleet, pack: int = 1) -> None:
        """`pack` 1 = a single reading with seq; more = a list of readings 1 ms apart, without."""
        self.pack = pack
        if pack == 1:
            payload = f'{{"ts":{"0" * 13},"value":00.0,"seq":{SEQ_BASE}}}'
        else:
            payload = "[" + ",".join([f'{{"ts":{"0" * 13},"value":00.0}}'] * pack) + "]"
        rows = []
        for number in range(fleet.devices):
            topic = _text(fleet.topic(number))
            body = topic + b"\x00\x00" + payload.encode()
            rows.append(b"\x32" + _remaining(len(body)) + body)
        self.frames: Bytes = np.frombuffer(b"".join(rows), np.uint8).reshape(fleet.devices, -1)
        first = rows[0]
        self.packet_id_at = len(first) - len(payload) - 2
        start = self.packet_id_at + 2
        self._times = start + np.array([i for i in range(len(payload)) if payload.startswith('"ts":', i)]) + 5
        self._values = (
            start + np.array([i for i in range(len(payload)) if payload.startswith('"value":', i)]) + 8
        )
        self._seq = start + payload.rfind('"seq":') + 6 if pack == 1 else None

    def fill(
        self,
        device: NDArray[np.int64],
        packet_id: NDArray[np.int64],
        ts_ms: int,
        tenths: NDArray[np.int64],
        seq: NDArray[np.int64],
    ) -> Bytes:
        """One frame for each row, as an array (rows, length): the reading `tenths`/10 at `ts_ms`.

        `tenths` from 100 to 999, since JSON numbers must not begin with 0.
        """
        out = self.frames[device]
        out[:, self.packet_id_at] = packet_id >> 8
        out[:, self.packet_id_at + 1] = packet_id & 255
        for i, (time_at, value_at) in enumerate(zip(self._times, self._values, strict=True)):
            digits = str(ts_ms - self.pack + 1 + i).encode()
            out[:, time_at : time_at + 13] = np.frombuffer(digits, np.uint8)
            out[:, value_at] = 48 + tenths // 100
            out[:, value_at + 1] = 48 + tenths // 10 % 10
            out[:, value_at + 3] = 48 + tenths % 10
        if self._seq is not None:
            rest = seq + SEQ_BASE
            for place in range(7, -1, -1):
                out[:, self._seq + place] = 48 + rest % 10
                rest = rest // 10
        return out
