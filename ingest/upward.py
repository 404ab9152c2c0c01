"""What a district owes its city as messages of the wire contract, native form; pure.

The instant is the one under which it is stored here, so that the same reading sent twice is one reading there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from city.observations import NO_SEQ, Quality, instant
from city.uplink import Owed
from ingest.decoders.native import MARKS, Topic, read_topic

MOST_OBJECTS = 400  # in one payload: far below the 256 KiB that ingest takes, however many metrics there are
MOST_METRICS = 50  # in one object; the contract allows 200
MOST_BYTES = 200_000

_WORDS = {bit: word for word, bit in MARKS.items()}


@dataclass(frozen=True, slots=True)
class Upward:
    """One publication. ``size`` counts the readings, events and links in it."""

    topic: str
    payload: bytes
    size: int


def messages(owed: Iterable[Owed], *, cell: str) -> tuple[list[Upward], list[Owed]]:
    """Publications in an order that keeps each device's own, and what no topic can name.

    ``cell`` stands in the topic of devices that have none.
    """
    spoken: dict[tuple[str, str, str], list[Owed]] = {}
    unsayable: list[Owed] = []
    sayable: dict[str, bool] = {}
    for one in owed:
        key = one.cell or cell, one.kind, one.device
        topic = "/".join(("city", *key))
        if topic not in sayable:
            sayable[topic] = isinstance(read_topic(topic.encode()), Topic)
        if sayable[topic]:
            spoken.setdefault(key, []).append(one)
        else:
            unsayable.append(one)
    found: list[Upward] = []
    for key, rows in spoken.items():
        found += _of_device("/".join(("city", *key)), rows)
    return found, unsayable


def _of_device(topic: str, rows: Sequence[Owed]) -> list[Upward]:
    found: list[Upward] = []
    objects: list[dict[str, Any]] = []
    size = length = 0

    def close() -> None:
        nonlocal size, length
        if objects:
            found.append(Upward(topic, msgspec.json.encode(objects), size))
        objects.clear()
        size = length = 0

    last: tuple[object, ...] = ()
    for one in rows:
        link = one.event.get("link") if one.event is not None else None
        if link is not None:
            close()
            found.append(Upward(f"{topic}/status", str(link).encode(), 1))
            continue
        if one.event is not None:
            said = {**_when(one), **one.event}
            same: tuple[object, ...] = ()
        else:
            same = one.at_us, one.seq, one.quality
            if (
                objects
                and last == same
                and one.metric not in objects[-1]["metrics"]
                and len(objects[-1]["metrics"]) < MOST_METRICS
            ):
                objects[-1]["metrics"][one.metric] = one.value
                size, length = size + 1, length + len(one.metric) + 30
                continue
            said = {**_when(one), "metrics": {one.metric: one.value}}
        weight = len(msgspec.json.encode(said))
        if len(objects) >= MOST_OBJECTS or length + weight > MOST_BYTES:
            close()
        objects.append(said)
        size, length, last = size + 1, length + weight + 1, same
    close()
    return found


def _when(one: Owed) -> dict[str, Any]:
    """Instant, number and marks. An estimated instant was taken from the first arrival and is certain from then on:

    there the number identifies nothing any more, and one that a device uses again every day would hide a reading.
    """
    exact = one.at_us % 1000 == 0
    said: dict[str, Any] = {"ts": one.at_us // 1000 if exact else instant(one.at_us).isoformat()}
    if one.seq != NO_SEQ and not one.quality & Quality.TIME_ESTIMATED:
        said["seq"] = one.seq
    marks = [word for bit, word in _WORDS.items() if one.quality & bit]
    if marks:
        said["marks"] = marks
    return said
