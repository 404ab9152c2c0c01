"""What a million devices say, as the bytes a broker would hand over: the wire's native form, made without connections.

Everything about a device follows from its number, so that the source itself remembers none of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from city.partitions import partition_for
from ingest.delivery import Delivery

CELL_DEVICES = 500  # a cell of a city has 300 to 1,000 households
# Kinds of twenty devices in a row: a city has detectors first of all, and every kind has a rule of its own.
MIX = (
    ("smoke",) * 10
    + ("gas",) * 3
    + ("temperature",) * 2
    + ("water", "air", "pipe_pressure", "electrical", "noise")
)
_SEQ_BASE = 10_000_000  # JSON numbers must not begin with 0; eight digits stay eight
CALM_TENTHS, BEYOND_TENTHS = (
    120,
    900,
)  # 12.0 to 13.9 are below every built-in limit, 90.0 above that of smoke, gas and water


def code(number: int) -> str:
    """Of device ``number``, from 0."""
    return f"f{number:08d}"


def kind(number: int) -> str:
    """What it is."""
    return MIX[number % len(MIX)]


def cell(number: int) -> str:
    """Where it hangs: neighbours in number share a cell."""
    return f"c{number // CELL_DEVICES:06d}"


def partition(cell_code: str, partitions: int) -> int:
    """Of so many, where ``city scale init`` binds a cell that lies in no community or street."""
    return partition_for(cell_code, range(partitions))


@dataclass(frozen=True, kw_only=True)
class Load:
    """``rounds`` readings of every device, ``interval_s`` apart; the last round ends at ``end_us``."""

    devices: int
    rounds: int
    interval_s: int
    end_us: int  # microseconds since 1970 UTC
    batch: int = 5_000
    beyond_every: int = 1_009  # one reading of so many is beyond its limit; the device's next is calm again

    def deliveries(self, turn: int) -> Iterator[Delivery]:
        """Round ``turn`` from 0, in an order that knows no neighbours, as a city's readings come in."""
        stride = _coprime(self.devices)
        began_us = self.end_us - (self.rounds - turn) * self.interval_s * 1_000_000
        batch = min(
            self.batch, -(-self.devices // 4)
        )  # one that took a whole interval to gather would be late
        for begin in range(0, self.devices, batch):
            place = np.arange(begin, min(begin + batch, self.devices), dtype=np.int64)
            number = place * stride % self.devices
            observed_us = began_us + place * (self.interval_s * 1_000_000) // self.devices
            tenths = (
                CALM_TENTHS + (number * 7 + turn * 13) % 20
            )  # breathing: a sensor that says the same is stuck
            tenths[(number + turn * 7) % self.beyond_every == 0] = BEYOND_TENTHS
            yield Delivery(
                topics=_topics(number),
                payloads=_payloads(observed_us // 1000, tenths, turn),
                packet_ids=[0] * len(number),
                # after the last of them was read, and no two batches share an instant
                received_us=int(observed_us[-1]) + 2_000_000,
                generation=0,
            )


class Log:
    """The same readings as RabbitMQ's log hands them over: of each batch a chunk for each partition, in its order."""

    generation = 1  # of the one activation that each partition has

    def __init__(self, partitions: int) -> None:
        """0 = no log: what a broker's queue holds is not divided."""
        self._ends = [0] * partitions  # offsets behind the last records

    def chunks(self, delivery: Delivery) -> list[Delivery]:
        """As ``ingest.sources.stream_log`` gives them."""
        if not self._ends:
            return [delivery]
        rows: dict[int, list[int]] = {}
        for row, topic in enumerate(delivery.topics):
            cell_code = topic.split(b"/", 2)[1].decode()
            rows.setdefault(partition(cell_code, len(self._ends)), []).append(row)
        return [self._chunk(delivery, number, part) for number, part in sorted(rows.items())]

    def _chunk(self, delivery: Delivery, number: int, rows: list[int]) -> Delivery:
        offset = self._ends[number]
        self._ends[number] += len(rows)
        return Delivery(
            topics=[delivery.topics[row] for row in rows],
            payloads=[delivery.payloads[row] for row in rows],
            packet_ids=[0] * len(rows),
            received_us=delivery.received_us,
            generation=self.generation,
            partition=number,
            offset=offset,
        )


def wire_bytes() -> int:
    """Of one reading as an MQTT QoS 1 PUBLISH, topic and payload included, TCP and TLS not (MQTT 3.1.1, 3.3)."""
    topics = _topics(np.arange(len(MIX), dtype=np.int64))
    payload = _payloads(np.array([1_763_750_400_000]), np.array([CALM_TENTHS]), 0)[0]
    topic = sum(map(len, topics)) / len(topics)
    return round(1 + (1 if topic + len(payload) + 4 < 128 else 2) + 2 + topic + 2 + len(payload))


def _topics(number: NDArray[np.int64]) -> list[bytes]:
    return [
        b"city/c%06d/%s/f%08d" % (one // CELL_DEVICES, _MIX_BYTES[one % len(MIX)], one)
        for one in number.tolist()
    ]


_MIX_BYTES = tuple(one.encode() for one in MIX)


def _payloads(ts_ms: NDArray[np.int64], tenths: NDArray[np.int64], turn: int) -> list[bytes]:
    """All of one length: filled in as columns of digits and cut apart, at a tenth of the price of formatting."""
    form = b'{"ts":0000000000000,"value":00.0,"seq":%d}' % (_SEQ_BASE + turn)
    rows = np.tile(np.frombuffer(form, np.uint8), (len(ts_ms), 1))
    at, rest = form.index(b"0000000000000"), ts_ms.copy()
    for place in range(12, -1, -1):
        rows[:, at + place] = 48 + rest % 10
        rest //= 10
    at = form.index(b"00.0")
    rows[:, at], rows[:, at + 1], rows[:, at + 3] = (
        48 + tenths // 100,
        48 + tenths // 10 % 10,
        48 + tenths % 10,
    )
    whole, length = rows.tobytes(), len(form)
    return [whole[begin : begin + length] for begin in range(0, len(whole), length)]


def _coprime(devices: int) -> int:
    """A step that meets every device once, near the golden section so that neighbours come far apart."""
    step = max(1, int(devices * 0.618034))
    while gcd(step, devices) != 1:
        step += 1
    return step
