"""What a source hands to the pipeline: messages as columns, and how to acknowledge them once they are committed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """n messages of one read of the socket; all sequences have length n.

    ``received_us`` is the arrival of the first, microseconds since 1970 UTC; message i arrived at ``received_us + i``:
    the source guarantees that no two messages of a process share an instant, because arrival is the identity of a
    reading whose sender has neither clock nor counter.
    """

    topics: list[bytes]
    payloads: list[bytes]
    packet_ids: list[int]  # 0 = nothing to acknowledge (QoS 0)
    received_us: int
    generation: int  # of the connection: an acknowledgement for another one would hit the wrong message
    retained: frozenset[int] = (
        frozenset()
    )  # positions of messages the broker replayed from its retained store
    source: int = 0  # which of the worker's sources it came from
    cut: dict[int, int] = field(
        default_factory=dict
    )  # position -> real size in bytes, where the payload was cut
    partition: int = 0  # of a log that is divided; a broker's own queue is one
    offset: int = 0  # of the first message in its partition; the others follow

    def __len__(self) -> int:
        return len(self.topics)

    def part(self, begin: int, end: int) -> "Delivery":
        """Messages ``begin`` to ``end`` as a delivery of their own; the whole is what is acknowledged."""
        return Delivery(
            topics=self.topics[begin:end],
            payloads=self.payloads[begin:end],
            packet_ids=[0] * (end - begin),
            received_us=self.received_us + begin,
            generation=self.generation,
            retained=frozenset(at - begin for at in self.retained if begin <= at < end),
            source=self.source,
            cut={at - begin: size for at, size in self.cut.items() if begin <= at < end},
            partition=self.partition,
            offset=self.offset + begin,
        )


def portions(deliveries: Sequence[Delivery], most: int) -> list[list[Delivery]]:
    """The same messages in the same order, in groups of at most ``most``."""
    found: list[list[Delivery]] = [[]]
    room = most
    for delivery in deliveries:
        at = 0
        while at < len(delivery):
            if room == 0:
                found.append([])
                room = most
            end = min(len(delivery), at + room)
            found[-1].append(delivery if end - at == len(delivery) else delivery.part(at, end))
            room -= end - at
            at = end
    return [portion for portion in found if portion]


class Source(Protocol):
    """Where messages come from. It gives every delivery its own number, and reads no more than there is room for."""

    @property
    def connected(self) -> bool:
        """Whether somebody could be heard now; a source that listens itself is connected while it listens."""
        ...

    @property
    def behind(self) -> bool:
        """Whether more is waiting than was read."""
        ...

    def start(self) -> None:
        """Begin in a thread of its own. Raises CityError when it cannot (a port that is taken)."""
        ...

    def stop(self) -> None:
        """End; what was not acknowledged is sent again by whoever sent it."""
        ...

    def acknowledge(self, generation: int, packet_ids: list[int]) -> None:
        """What these say is committed."""
        ...

    def figures(self) -> dict[str, object]:
        """Counters for health and metrics, named with the source's own prefix."""
        ...


class Owner(Protocol):
    """Who owns partitions of a log that several workers share; called on the pipeline's thread."""

    def acquire(self, partition: int, generation: int) -> int:
        """Own it from now on; the offset of the first record that is wanted. Deliveries carry the ``generation``."""
        ...

    def release(self, partition: int) -> None:
        """Own it no more: whoever is next reads on from the last commit."""
        ...
