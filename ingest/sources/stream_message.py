"""One record of a RabbitMQ stream as its MQTT listener wrote it: topic and payload out of an AMQP 1.0 message. Pure.

OASIS AMQP 1.0, part 3.2 (sections of a message) and part 1.2 (encodings). Only what is needed is read, everything else
is stepped over: a whole decoder costs twenty times as much a message.
"""

_SECTION = b"\x00\x53"
_ANNOTATIONS, _DATA = 0x72, 0x75
_ROUTING_KEY = b"x-routing-key"
_FIXED = (0, 1, 2, 4, 8, 16)  # bytes behind a constructor of 0x4., 0x5. … 0x9.
_LONG = 0x10  # in a constructor: the size has four bytes


class NotUnderstoodError(ValueError):
    """Not an AMQP 1.0 message with a data section and a routing key."""


def read(record: bytes) -> tuple[bytes, bytes]:
    """MQTT topic and payload. Raises NotUnderstoodError.

    RabbitMQ makes a routing key of a topic by writing dots for slashes, so a dot of a topic comes back as a slash:
    codes on a scaled-out log must have none (docs/scale.md).
    """
    at, topic, payload = 0, None, None
    try:
        while at < len(record):
            if record[at : at + 2] != _SECTION:
                raise NotUnderstoodError(f"no section begins at byte {at}")
            kind = record[at + 2]
            begin, end = _span(record, at + 3)
            if kind == _ANNOTATIONS:
                topic = _routing_key(record, at + 3, end)
            elif kind == _DATA:
                payload = record[begin:end] if payload is None else payload + record[begin:end]
            at = end
    except IndexError:
        raise NotUnderstoodError("the record ends in the middle") from None
    if topic is None or payload is None or at != len(record):
        raise NotUnderstoodError("no routing key, no data, or cut")
    return topic.replace(b".", b"/"), payload


def _span(record: bytes, at: int) -> tuple[int, int]:
    """Where the content of the value at ``at`` begins and ends; arrays and maps with their counts."""
    constructor = record[at]
    width = constructor >> 4
    if width < 4:
        raise NotUnderstoodError(f"no value begins at byte {at}")
    if width <= 9:
        return at + 1, at + 1 + _FIXED[width - 4]
    if constructor & _LONG:
        return at + 5, at + 5 + int.from_bytes(record[at + 1 : at + 5], "big")
    return at + 2, at + 2 + record[at + 1]


def _routing_key(record: bytes, at: int, end: int) -> bytes | None:
    """The value beside the key in the map at ``at``."""
    begin, _ = _span(record, at)
    place = begin + (4 if record[at] & _LONG else 1)  # behind the count
    while place < end:
        key_from, key_to = _span(record, place)
        value_from, value_to = _span(record, key_to)
        if record[key_from:key_to] == _ROUTING_KEY:
            return record[value_from:value_to]
        place = value_to
    return None
