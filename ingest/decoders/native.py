"""The native payloads of the wire contract: single reading, metrics, list, camera event.

Decoding goes a batch at a time (``decode_batch``): one call for all payloads of a read costs a tenth of one call
each. Whatever that call cannot take goes through ``decode_one``, which says what is wrong with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from city.observations import Quality, Rejection
from ingest.decoders.said import MAX_PAYLOAD, Rejected

MAX_TOPIC = 512  # bytes
MAX_CODE = 128  # characters of a cell, kind or device code
MAX_TEXT = 2048  # characters of a url

MARKS = {  # what somebody on the way knows against a reading, by the word in ``marks``
    "time_estimated": Quality.TIME_ESTIMATED,
    "clock_ahead": Quality.CLOCK_AHEAD,
    "retained": Quality.RETAINED,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CODE = re.compile(r"[^\x00-\x1f\x7f/+#\u2028\u2029\ufeff]{1,128}\Z")
_NOT_FINITE = re.compile(rb"[:,\[\s]-?(?:NaN|Infinity|inf|nan)\b")


class Message(msgspec.Struct, gc=False):
    """One object of a payload; which fields are there says which form it is."""

    ts: int | float | str | None = None
    value: float | None = None
    metrics: dict[str, float | None] | None = None  # null = not measured this time
    seq: int | None = None
    event: str | None = None
    score: float | None = None
    id: str | None = None
    state: str | None = None
    zone: str | None = None
    url: str | None = None
    device: Any = None  # optional; where it is given it is the device of the topic
    marks: Any = None  # optional: words of MARKS, from a district's own centre that passes the reading on


Decoded = Message | list[Message]
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Message | list[Message])


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """``city/{cell}/{kind}/{device}`` taken apart; ``status`` marks the last-will topic below it."""

    cell: str
    kind: str
    device: str
    status: bool


def read_topic(topic: bytes) -> Topic | Rejected:
    """Cell, kind and device of a native topic, or why it is none."""
    if len(topic) > MAX_TOPIC:
        return Rejected(Rejection.BAD_TOPIC, f"topic of {len(topic)} bytes; use at most {MAX_TOPIC}")
    try:
        levels = topic.decode("utf-8").split("/")
    except UnicodeDecodeError as error:
        return Rejected(Rejection.BAD_TOPIC, f"topic is not UTF-8 at byte {error.start}; send UTF-8")
    if levels[0] != "city":
        return Rejected(
            Rejection.NO_DECODER, "no decoder is set up for this topic; native topics begin with city/"
        )
    status = len(levels) == 5 and levels[4] == "status"
    if len(levels) != 4 and not status:
        return Rejected(
            Rejection.BAD_TOPIC,
            f"topic has {len(levels)} levels; use city/{{cell}}/{{kind}}/{{device}} and below it only status",
        )
    for name, code in zip(("cell", "kind", "device"), levels[1:4], strict=True):
        if not _CODE.match(code):
            return Rejected(
                Rejection.BAD_TOPIC,
                f"{name} {code[:40]!r} in the topic is empty, longer than {MAX_CODE} or has control characters",
            )
    return Topic(cell=levels[1], kind=levels[2], device=levels[3], status=status)


def decode_batch(payloads: Sequence[bytes]) -> list[Decoded] | None:
    """All payloads in one call, or None when any of them needs a closer look.

    Lines are safe where a comma is not: a payload that opens and closes with a bracket of JSON cannot swallow its
    neighbour across a bare newline, and one that holds two values makes the count differ.
    """
    for payload in payloads:
        if payload[:1] not in (b"{", b"[") or payload[-1:] not in (b"}", b"]") or len(payload) > MAX_PAYLOAD:
            return None
    try:
        decoded: list[Decoded] = _DECODER.decode_lines(b"\n".join(payloads))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return decoded if len(decoded) == len(payloads) else None


def decode_one(payload: bytes) -> Decoded | Rejected:
    """One payload, or why not, in words that name the field."""
    if len(payload) > MAX_PAYLOAD:
        return Rejected(Rejection.OVERSIZE, f"payload of {len(payload)} bytes; send at most {MAX_PAYLOAD}")
    if not payload:
        return Rejected(Rejection.NOT_JSON, "payload is empty; send one of the native JSON forms")
    try:
        decoded: Decoded = _DECODER.decode(payload)
    except msgspec.ValidationError as error:
        return Rejected(Rejection.WRONG_SHAPE, _sentence(error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if _NOT_FINITE.search(payload):
            return Rejected(
                Rejection.NOT_FINITE, "NaN and Infinity are not JSON numbers; leave the metric out"
            )
        return Rejected(Rejection.NOT_JSON, _sentence(error))
    except RecursionError:
        return Rejected(Rejection.WRONG_SHAPE, "nested too deeply; the native forms have at most two levels")
    return decoded


def check(message: Message) -> Rejected | None:
    """What is missing or too much in one object; None = it says something."""
    if message.event is not None:
        for name in ("event", "id", "state", "zone", "url"):
            text = getattr(message, name)
            limit = MAX_TEXT if name == "url" else MAX_CODE
            if text is not None and (len(text) > limit or "\x00" in text):
                return Rejected(
                    Rejection.WRONG_SHAPE, f"{name} is longer than {limit} characters or holds a NUL"
                )
        return None
    if message.value is None and not message.metrics:
        return Rejected(Rejection.WRONG_SHAPE, "neither value, metrics nor event; send one of them")
    if message.metrics and len(message.metrics) > 200:
        return Rejected(
            Rejection.WRONG_SHAPE, f"{len(message.metrics)} metrics in one object; send at most 200"
        )
    for name in message.metrics or ():
        if not _CODE.match(name):
            return Rejected(
                Rejection.WRONG_SHAPE,
                f"metric name {name[:40]!r} is empty, too long or has control characters",
            )
    if message.seq is not None and not 0 <= message.seq < 2**63:
        return Rejected(Rejection.WRONG_SHAPE, f"seq {message.seq} is not between 0 and 2^63 - 1")
    return None


def names_another(message: Message, device: str) -> Rejected | None:
    """Why not, when the payload says it is of another device than ``device``, that of its topic; None = it does not.

    A broker's rights go by topic, so a gateway that mixes its devices up is found here or never.
    """
    if message.device is None or str(message.device) == device:
        return None
    return Rejected(
        Rejection.OTHER_DEVICE,
        f"the payload says device {str(message.device)[:40]!r}, its topic {device[:40]!r}; send what is of one device"
        " on its own topic, or leave `device` out",
    )


def marked(message: Message) -> int:
    """Bits of Quality that the message itself says; words that are none say nothing."""
    bits = Quality.GOOD
    for word in message.marks if isinstance(message.marks, list) else ():
        bits |= MARKS.get(word, Quality.GOOD) if isinstance(word, str) else Quality.GOOD
    return int(bits)


def observed_us(ts: int | float | str | None) -> int | Rejected | None:
    """Microseconds since 1970 UTC of a ``ts`` (epoch milliseconds or RFC 3339 with offset); None = not given."""
    if ts is None:
        return None
    if isinstance(ts, str):
        try:
            moment = datetime.fromisoformat(ts)
        except ValueError:
            return Rejected(
                Rejection.BAD_TIME,
                f"ts {ts[:40]!r} is not RFC 3339; send 2026-11-21T18:40:00+08:00 or epoch milliseconds",
            )
        if moment.tzinfo is None:
            return Rejected(Rejection.BAD_TIME, f"ts {ts[:40]!r} has no offset; add one such as +08:00 or Z")
        try:
            return (moment - _EPOCH) // timedelta(microseconds=1)
        except OverflowError:
            return Rejected(Rejection.TIME_OUT_OF_RANGE, f"ts {ts[:40]!r} is beyond the calendar")
    if not -(2**50) < ts < 2**50:
        return Rejected(Rejection.TIME_OUT_OF_RANGE, f"ts {ts!r} is no time in epoch milliseconds")
    return int(ts * 1000)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
