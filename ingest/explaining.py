"""What would become of one message, in words: which decoder takes it, what it says, and why not. Without a database.

Native topics go the native way; everything else goes through the decoders of this machine and the profiles given.
What only the register knows (whose device it is, who chose which profile) is not asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from city.observations import (
    AHEAD_AFTER_US,
    IMPOSSIBLE_AHEAD_US,
    LATE_AFTER_US,
    Quality,
    Rejection,
    instant,
)
from ingest import routing
from ingest.decoders.native import Message, check, decode_one, names_another, observed_us, read_topic
from ingest.decoders.said import MAX_PAYLOAD, Announced, Arrival, Link, Raw, Rejected, Report, Said, Seen
from ingest.profile_book import ProfileBook
from ingest.routing import Router


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """One message. ``decoder`` is native, a family, or None when nobody takes the topic."""

    topic: str
    decoder: str | None
    became: list[dict[str, object]] = field(default_factory=list)
    refused: list[Rejected] = field(default_factory=list)

    def plain(self) -> dict[str, object]:
        """For a script."""
        refused = [{"reason": one.reason.value, "detail": one.detail} for one in self.refused]
        return {"topic": self.topic, "decoder": self.decoder, "became": self.became, "refused": refused}


def explain(
    topic: str,
    payload: bytes,
    arrival: Arrival,
    *,
    router: Router,
    book: ProfileBook,
    mains: Mapping[str, str | None],
    retention_us: int,
) -> Explained:
    """``mains``: the main metric by kind; what is older than retention is not taken."""
    done = _explain(topic, payload, arrival, router, book, mains)
    for one in done.became:
        at = one.get("at_us")
        if isinstance(at, int) and not (
            arrival.received_us - retention_us <= at <= arrival.received_us + IMPOSSIBLE_AHEAD_US
        ):
            detail = f"{one['observed_at']} is beyond retention or over a day ahead; set the sender's clock"
            done.refused.append(Rejected(Rejection.TIME_OUT_OF_RANGE, detail))
        one.pop("at_us", None)
    return done


def _explain(
    topic: str,
    payload: bytes,
    arrival: Arrival,
    router: Router,
    book: ProfileBook,
    mains: Mapping[str, str | None],
) -> Explained:
    if topic.startswith("city/"):
        return _native(topic, payload, arrival, mains)
    decoder = router.find(topic.encode())
    if decoder is None:
        detail = (
            "no decoder takes this topic; native topics begin with city/, others are those of CITY_SENDERS"
        )
        return Explained(topic=topic, decoder=None, refused=[Rejected(Rejection.NO_DECODER, detail)])
    if len(payload) > MAX_PAYLOAD:
        detail = f"payload of {len(payload)} bytes; send at most {MAX_PAYLOAD}"
        return Explained(topic=topic, decoder=decoder.family, refused=[Rejected(Rejection.OVERSIZE, detail)])
    said = routing.decode(decoder, topic.encode(), payload, arrival)
    became: list[dict[str, object]] = []
    refused: list[Rejected] = []
    for packed in said:
        for one in _unpacked(decoder.family, packed, arrival, book):
            if isinstance(one, Rejected):
                refused.append(one)
            else:
                became.append(_foreign(decoder.family, one, arrival, book, refused))
    return Explained(topic=topic, decoder=decoder.family, became=became, refused=refused)


def _native(topic: str, payload: bytes, arrival: Arrival, mains: Mapping[str, str | None]) -> Explained:
    answer = Explained(topic=topic, decoder="native")
    parsed = read_topic(topic.encode())
    if isinstance(parsed, Rejected):
        answer.refused.append(parsed)
        return answer
    if parsed.status:
        if payload.strip() in (b"online", b"offline"):
            answer.became.append({"device": parsed.device, "link": payload.strip().decode()})
        else:
            answer.refused.append(Rejected(Rejection.WRONG_SHAPE, "a status is online or offline"))
        return answer
    decoded = decode_one(payload)
    if isinstance(decoded, Rejected):
        answer.refused.append(decoded)
        return answer
    for message in decoded if isinstance(decoded, list) else [decoded]:
        fault = check(message) or names_another(message, parsed.device)
        at = observed_us(message.ts)
        if fault is not None or isinstance(at, Rejected):
            answer.refused.append(fault or at)  # type: ignore[arg-type]  # one of the two is a Rejected
        else:
            said = _native_said(message, mains.get(parsed.kind))
            answer.became.append({"device": parsed.device, "kind": parsed.kind} | said | _time(at, arrival))
    return answer


def _native_said(message: Message, main: str | None) -> dict[str, object]:
    if message.event is not None:
        given = {name: getattr(message, name) for name in ("event", "id", "state", "score", "zone", "url")}
        return {name: value for name, value in given.items() if value is not None}
    values = {name: value for name, value in (message.metrics or {}).items() if value is not None}
    if message.value is not None:
        values[main or "(this kind has no main metric)"] = message.value
    return {"values": values} | ({} if message.seq is None else {"seq": message.seq})


def _unpacked(family: str, one: Said, arrival: Arrival, book: ProfileBook) -> Sequence[Said]:
    if not isinstance(one, Raw):
        return [one]
    return book.unpacked(one, book.codec(family, one.model, one.port), arrival.received_us)


def _foreign(
    family: str, one: Said, arrival: Arrival, book: ProfileBook, refused: list[Rejected]
) -> dict[str, object]:
    if isinstance(one, Report):
        return _report(family, one, book, refused) | _time(one.at_us, arrival)
    if isinstance(one, Seen):
        told = {"event": one.label, "id": one.key, "state": one.state, "score": one.score, "zone": one.zone}
        return {"device": one.device} | told | _time(one.at_us, arrival)
    if isinstance(one, Link):
        return {"device": one.device, "link": "online" if one.online else "offline"}
    if isinstance(one, Announced):
        named = {"name": one.name, "model": one.model, "vendor": one.vendor, "keys": ", ".join(one.keys)}
        return {"device": one.device, "announced": {key: value for key, value in named.items() if value}}
    if isinstance(one, Raw):
        detail = f"no profile of {one.model or family!r} says what these bytes mean; add a codec to profiles/"
        refused.append(Rejected(Rejection.NO_CODEC, detail))
        return {"device": one.device, "model": one.model, "port": one.port, "bytes": one.data.hex()}
    return {}


def _report(family: str, report: Report, book: ProfileBook, refused: list[Rejected]) -> dict[str, object]:
    profile = book.choose(family, report.model, list(report.values))
    values: dict[str, object] = {}
    for key, sent in report.values.items():
        mapped = book.mapped(family, profile, key)
        stated = (report.units or {}).get(key, "")
        line = book.line(mapped, stated)
        if not mapped.metric:
            values[key] = {"sent": sent, "left_out": True}
        elif line is None:
            wanted = f"{book.units.get(mapped.metric, '')!r} of metric {mapped.metric}"
            detail = f"{key} comes in {stated or mapped.unit!r}, which does not convert into {wanted}"
            refused.append(Rejected(Rejection.UNKNOWN_UNIT, detail))
        else:
            values[key] = {
                "sent": sent,
                "sent_unit": stated or mapped.unit,
                "metric": mapped.metric,
                "value": sent * line.factor + line.offset,
                "unit": book.units.get(mapped.metric, ""),
            }
    known = {"model": report.model, "gateway": report.gateway, "seq": report.seq}
    return {
        "device": report.device,
        "profile": profile.code if profile is not None else None,
        "kind": profile.kind if profile is not None else None,
        "values": values,
    } | {key: value for key, value in known.items() if value not in ("", None)}


def _time(at_us: int | None, arrival: Arrival) -> dict[str, object]:
    if at_us is None:
        return {"observed_at": None, "quality": "time_estimated"}
    try:
        at = instant(at_us).astimezone(arrival.zone).isoformat()
    except OverflowError:
        at = "a time beyond the calendar"
    late, ahead = at_us < arrival.received_us - LATE_AFTER_US, at_us > arrival.received_us + AHEAD_AFTER_US
    quality = Quality.LATE if late else Quality.CLOCK_AHEAD if ahead else Quality.GOOD
    return {"observed_at": at, "quality": (quality.name or "").lower(), "at_us": at_us}


def arrival_at(moment: datetime, zone: ZoneInfo) -> Arrival:
    """As if it came at this moment."""
    return Arrival(int(moment.timestamp() * 1_000_000), zone)
