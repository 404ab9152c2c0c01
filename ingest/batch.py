"""A micro-batch taken apart: messages in, columns of readings and what was not understood out. Pure.

The order of a datum: payload -> Message -> rows -> arrays with quality. Nothing here knows the database; topics
arrive already resolved to senders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from city.observations import (
    AHEAD_AFTER_US,
    IMPOSSIBLE_AHEAD_US,
    LATE_AFTER_US,
    NO_READINGS,
    NO_SEQ,
    Detection,
    Quality,
    Readings,
    Rejection,
)
from ingest.decoders.native import (
    Decoded,
    Message,
    check,
    decode_batch,
    decode_one,
    marked,
    names_another,
    observed_us,
)
from ingest.decoders.said import Rejected
from ingest.register import Sender
from ingest.senders import Linked, Measured, Resolved, Watched

_TS_LIMIT = 2**50  # milliseconds; beyond it int64 microseconds overflow
_US_LIMIT = 2**60  # microseconds
_STATES = frozenset({"new", "update", "end"})


@dataclass(slots=True)
class Messages:
    """n messages in columns, from any number of deliveries; all lists have length n."""

    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    received: list[int] = field(default_factory=list)  # microseconds since 1970 UTC, no two alike
    retained: set[int] = field(default_factory=set)
    cut: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """Message number ``position`` of the batch was not (or not wholly) understood."""

    position: int
    why: Rejected


@dataclass(slots=True)
class Batch:
    """What a micro-batch says."""

    readings: Readings
    source: np.ndarray[tuple[int], np.dtype[np.intp]]  # row -> position of its message
    detections: list[Detection]
    links: dict[int, tuple[str, int]]  # device id -> (online or offline, arrival)
    refused: list[Refused]


class _Rows:
    """Readings being gathered; parallel lists are the fastest thing plain Python has for it."""

    def __init__(self) -> None:
        self.device: list[int] = []
        self.metric: list[int] = []
        self.observed: list[int] = []
        self.value: list[float] = []
        self.seq: list[int] = []
        self.message: list[int] = []
        self.estimated: list[int] = []  # row numbers without a time of their own
        self.marked: dict[int, int] = {}  # row number -> what its sender knows against it, bits of Quality

    def add(
        self,
        device: int,
        metric: int,
        observed: int | None,
        value: float,
        seq: int,
        message: int,
        received: int,
    ) -> None:
        if observed is None:
            self.estimated.append(len(self.device))
            observed = received
        self.device.append(device)
        self.metric.append(metric)
        self.observed.append(observed)
        self.value.append(value)
        self.seq.append(seq)
        self.message.append(message)


def unknown_metrics(decoded: Sequence[Decoded | Rejected], known: Mapping[str, int]) -> list[str]:
    """Names in ``metrics`` objects that have no id yet."""
    names: dict[str, None] = {}
    for item in decoded:
        for message in item if isinstance(item, list) else (item,):
            if isinstance(message, Message) and message.metrics and check(message) is None:
                names.update(dict.fromkeys(name for name in message.metrics if name not in known))
    return list(names)


def decode(messages: Messages, senders: Sequence[Sender | Rejected]) -> list[Decoded | Rejected]:
    """Each payload decoded or rejected; status payloads and rejected topics come back as rejections to be ignored."""
    positions = [
        index
        for index, sender in enumerate(senders)
        if type(sender) is Sender and not sender.status and index not in messages.cut
    ]
    if len(positions) == len(senders):
        whole = decode_batch(messages.payloads)
        return list(whole) if whole is not None else [decode_one(payload) for payload in messages.payloads]
    answers: list[Decoded | Rejected] = [_NOTHING] * len(senders)
    chosen = [messages.payloads[index] for index in positions]
    part = decode_batch(chosen) if chosen else []
    for index, answer in zip(positions, part if part is not None else map(decode_one, chosen), strict=True):
        answers[index] = answer
    for index, size in messages.cut.items():
        answers[index] = Rejected(Rejection.OVERSIZE, f"payload of {size} bytes; send at most 262144")
    return answers


_NOTHING = Rejected(Rejection.WRONG_SHAPE, "")


def build(
    messages: Messages,
    senders: Sequence[Sender | Rejected],
    decoded: Sequence[Decoded | Rejected],
    *,
    metrics: Mapping[str, int],
    retention_us: int,
    foreign: Mapping[int, Resolved] = MappingProxyType({}),
) -> Batch:
    """Columns of everything that was said, and refusals with their reasons.

    ``foreign`` is what other senders' messages said, by position; their ``senders`` entry is a refusal nobody sees.
    """
    rows = _Rows()
    batch = Batch(readings=NO_READINGS, source=np.empty(0, np.intp), detections=[], links={}, refused=[])
    received = messages.received
    for position, (sender, item) in enumerate(zip(senders, decoded, strict=True)):
        if type(sender) is not Sender:
            said = foreign[position] if position in foreign else _refusal(sender)
            _take_foreign(said, position, received[position], rows, batch, messages)
        elif type(item) is Message:
            ts = item.ts
            if (
                type(ts) is int
                and item.value is not None
                and item.metrics is None
                and item.event is None
                and item.device is None
                and item.marks is None
                and sender.metric_id
            ):
                seq = item.seq
                if -_TS_LIMIT < ts < _TS_LIMIT and (seq is None or 0 <= seq < 2**63):
                    rows.device.append(sender.device_id)
                    rows.metric.append(sender.metric_id)
                    rows.observed.append(ts * 1000)
                    rows.value.append(item.value)
                    rows.seq.append(NO_SEQ if seq is None else seq)
                    rows.message.append(position)
                    continue
            _take(item, sender, position, received[position], metrics, rows, batch, messages)
        elif sender.status:
            _take_status(sender, messages, position, batch)
        elif isinstance(item, list):
            for message in item:
                _take(message, sender, position, received[position], metrics, rows, batch, messages)
        elif isinstance(item, Rejected):
            batch.refused.append(Refused(position, item))
    if rows.device:
        _finish(batch, rows, messages, retention_us)
    _refuse_impossible_detections(batch, messages, retention_us)
    return batch


def _take(
    message: Message,
    sender: Sender,
    position: int,
    received: int,
    metrics: Mapping[str, int],
    rows: _Rows,
    batch: Batch,
    messages: Messages,
) -> None:
    """One object of any form."""
    fault = check(message)
    if fault is None and message.device is not None:
        fault = names_another(message, messages.topics[position].split(b"/")[3].decode())
    observed = observed_us(message.ts)
    if fault is not None or isinstance(observed, Rejected):
        batch.refused.append(Refused(position, fault or observed))  # type: ignore[arg-type]  # one of the two is a Rejected
        return
    seq = NO_SEQ if message.seq is None else message.seq
    if message.event is not None:
        batch.detections.append(
            _detection(message, sender, observed, received, position in messages.retained)
        )
        return
    bits, begin = marked(message), len(rows.device)
    if message.value is not None:
        if sender.metric_id:
            rows.add(sender.device_id, sender.metric_id, observed, message.value, seq, position, received)
        else:
            batch.refused.append(
                Refused(
                    position,
                    Rejected(Rejection.WRONG_SHAPE, "this kind has no main metric; send metrics or event"),
                )
            )
    for name, value in (message.metrics or {}).items():
        metric = metrics.get(name)
        if metric is None:
            batch.refused.append(
                Refused(
                    position,
                    Rejected(
                        Rejection.WRONG_SHAPE, f"too many different metrics; {name[:40]!r} has no place"
                    ),
                )
            )
        elif value is not None:
            rows.add(sender.device_id, metric, observed, value, seq, position, received)
    if bits:
        rows.marked.update(dict.fromkeys(range(begin, len(rows.device)), bits))


def _take_foreign(
    said: Sequence[Measured | Watched | Linked | Rejected],
    position: int,
    received: int,
    rows: _Rows,
    batch: Batch,
    messages: Messages,
) -> None:
    """Everything one message of a foreign sender said."""
    for one in said:
        if isinstance(one, Measured):
            seq = NO_SEQ if one.seq is None or not 0 <= one.seq < 2**63 else one.seq
            if one.at_us is not None and not -_US_LIMIT < one.at_us < _US_LIMIT:
                batch.refused.append(Refused(position, Rejected(Rejection.TIME_OUT_OF_RANGE, _TIME_REMEDY)))
                continue
            for metric, value in one.values:
                rows.add(one.device_id, metric, one.at_us, value, seq, position, received)
        elif isinstance(one, Linked):
            batch.links[one.device_id] = ("online" if one.online else "offline", received)
        elif isinstance(one, Rejected):
            batch.refused.append(Refused(position, one))
        else:
            _take_seen(one, position, received, batch, position in messages.retained)


def _refusal(sender: Sender | Rejected) -> Resolved:
    return [sender] if isinstance(sender, Rejected) else []


def _take_seen(one: Watched, position: int, received: int, batch: Batch, retained: bool) -> None:
    seen = one.seen
    message = Message(
        event=seen.label, id=seen.key, state=seen.state, score=seen.score, zone=seen.zone, url=seen.url
    )
    fault = check(message)
    if fault is not None:
        batch.refused.append(Refused(position, fault))
    else:
        sender = Sender(one.device_id, 0, False)
        batch.detections.append(_detection(message, sender, seen.at_us, received, retained))


def _detection(
    message: Message, sender: Sender, observed: int | None, received: int, retained: bool
) -> Detection:
    quality = (Quality.RETAINED if retained else Quality.GOOD) | (
        Quality.TIME_ESTIMATED if observed is None else Quality.GOOD
    )
    quality |= Quality(marked(message))
    at = received if observed is None else observed
    if at < received - LATE_AFTER_US:
        quality |= Quality.LATE
    if at > received + AHEAD_AFTER_US:
        quality |= Quality.CLOCK_AHEAD
    return Detection(
        device_id=sender.device_id,
        event_key=message.id or "",
        state=message.state if message.state in _STATES else "new",
        label=message.event or "",
        observed_us=at,
        received_us=received,
        score=message.score,
        zone=message.zone or "",
        url=message.url or "",
        seq=NO_SEQ if message.seq is None else message.seq,
        quality=quality,
    )


def _take_status(sender: Sender, messages: Messages, position: int, batch: Batch) -> None:
    said = messages.payloads[position].strip()
    if said in (b"online", b"offline"):
        batch.links[sender.device_id] = (said.decode(), messages.received[position])
    else:
        batch.refused.append(
            Refused(position, Rejected(Rejection.WRONG_SHAPE, "a status is online or offline"))
        )


def _finish(batch: Batch, rows: _Rows, messages: Messages, retention_us: int) -> None:
    """Lists to arrays, with quality; rows at impossible times are refused, their message's other rows are not."""
    source = np.array(rows.message, dtype=np.intp)
    observed = np.array(rows.observed, dtype=np.int64)
    received = np.array(messages.received, dtype=np.int64)[source]
    quality = np.zeros(len(source), dtype=np.int16)
    quality[observed < received - LATE_AFTER_US] |= int(Quality.LATE)
    quality[observed > received + AHEAD_AFTER_US] |= int(Quality.CLOCK_AHEAD)
    quality[rows.estimated] |= int(Quality.TIME_ESTIMATED)
    for row, bits in rows.marked.items():
        quality[row] |= bits
    if messages.retained:
        quality[np.isin(source, list(messages.retained))] |= int(Quality.RETAINED)
    readings = Readings(
        device=np.array(rows.device, dtype=np.int32),
        metric=np.array(rows.metric, dtype=np.int16),
        observed_us=observed,
        received_us=received,
        value=np.array(rows.value, dtype=np.float64),
        seq=np.array(rows.seq, dtype=np.int64),
        quality=quality,
    )
    impossible = (observed > received + IMPOSSIBLE_AHEAD_US) | (observed < received - retention_us)
    broken = ~np.isfinite(readings.value)
    if impossible.any() or broken.any():
        for position in np.unique(source[impossible]).tolist():
            batch.refused.append(Refused(position, Rejected(Rejection.TIME_OUT_OF_RANGE, _TIME_REMEDY)))
        for position in np.unique(source[broken]).tolist():
            batch.refused.append(
                Refused(
                    position, Rejected(Rejection.NOT_FINITE, "a value is not finite; leave the metric out")
                )
            )
        good = ~(impossible | broken)
        readings, source = readings.take(good), source[good]
    batch.readings, batch.source = readings, source


_TIME_REMEDY = (
    "ts is beyond retention or over a day ahead; set the clock, send epoch milliseconds (not seconds)"
)


def _refuse_impossible_detections(batch: Batch, messages: Messages, retention_us: int) -> None:
    possible = [
        d
        for d in batch.detections
        if d.received_us - retention_us <= d.observed_us <= d.received_us + IMPOSSIBLE_AHEAD_US
    ]
    if len(possible) == len(batch.detections):
        return
    by_arrival = {arrival: position for position, arrival in enumerate(messages.received)}
    refused = {d.received_us for d in batch.detections} - {d.received_us for d in possible}
    batch.refused += [
        Refused(by_arrival[at], Rejected(Rejection.TIME_OUT_OF_RANGE, _TIME_REMEDY)) for at in sorted(refused)
    ]
    batch.detections = possible
