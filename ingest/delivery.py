"""What a source hands to the pipeline: messages as columns, and how to acknowledge them once they are committed."""

from collections.abc import Callable
from dataclasses import dataclass, field


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
    cut: dict[int, int] = field(
        default_factory=dict
    )  # position -> real size in bytes, where the payload was cut

    def __len__(self) -> int:
        return len(self.topics)


Acknowledge = Callable[[int, list[int]], None]  # (generation, packet ids)
