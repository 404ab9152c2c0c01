"""Names of the scaled-out log, and which partition a cell's messages go to. Pure."""

import zlib
from collections.abc import Sequence

SUPER_STREAM = "events"
UNROUTED_STREAM = "events-unrouted"  # what no binding took
UNROUTED = 32_767  # its number among the partitions; never another's
IN_EXCHANGE = "city.in"  # RabbitMQ's mqtt.exchange
UNROUTED_EXCHANGE = "city.unrouted"  # the alternate exchange of the one before


def stream_of(partition: int) -> str:
    """The stream that a partition is."""
    return UNROUTED_STREAM if partition == UNROUTED else f"{SUPER_STREAM}-{partition}"


def partition_of(stream: str) -> int:
    """The number of a stream: events-7 is 7, what no binding took is UNROUTED."""
    return UNROUTED if stream == UNROUTED_STREAM else int(stream.rsplit("-", 1)[1])


def partition_for(area: str, own: Sequence[int]) -> int:
    """Where the cells of a community or street go: together, so that rules over neighbours see all of them.

    ``own`` are the partitions of the district that they lie in, in rising order.
    """
    return own[zlib.crc32(area.encode()) % len(own)]
