"""Frigate, a network video recorder that recognises objects: its reviews (or its tracked objects) as detections.

Sources: Frigate's documentation, "MQTT" of the integrations, versions 0.8 to 0.17. ``DECODER`` takes what Frigate
itself calls an alert; ``EVENTS`` takes every tracked object instead (docs/senders-frigate-zigbee.md says when). Names
of people and licence plates are in these messages and are never read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import msgspec

from city.observations import Rejection
from ingest.decoders.json_bodies import body
from ingest.decoders.said import Announced, Arrival, Link, Rejected, Said, Seen

MOST_LABELS = 16  # of one review; each is a detection
MOST_CAMERAS = 1000  # of one recorder
SERVER_MODEL = "Frigate NVR"  # by which the profile tells the recorder from its cameras

_STATES = frozenset({"new", "update", "end"})
_OTHER_TYPES = frozenset({"genai"})  # a description was added to a review: nothing new was seen
_VERIFIED = "-verified"  # behind an object that was recognised as somebody; who that is stands elsewhere
_MOST_SECONDS = 2**40


class _Moment(msgspec.Struct, gc=False):
    """One object at one time, as ``before`` and ``after`` have it; what we do not read is not even decoded."""

    id: str = ""
    camera: str = ""
    label: str = ""
    false_positive: bool | None = False
    start_time: float | None = None
    end_time: float | None = None
    frame_time: float | None = None
    score: float | None = None
    top_score: float | None = None
    entered_zones: list[str] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    after: _Moment
    before: _Moment | None = None


class _Content(msgspec.Struct, gc=False):
    objects: list[str] | None = None
    zones: list[str] | None = None
    audio: list[str] | None = None


class _Segment(msgspec.Struct, gc=False):
    id: str = ""
    camera: str = ""
    severity: str | None = None
    start_time: float | None = None
    end_time: float | None = None
    data: _Content | None = None


class _Review(msgspec.Struct, gc=False):
    type: str
    after: _Segment
    before: _Segment | None = None


class _Camera(msgspec.Struct, gc=False):
    camera_fps: float | None = None


class _Stats(msgspec.Struct, gc=False):
    cameras: dict[str, _Camera] | None = None


_EVENT = msgspec.json.Decoder(_Event)
_REVIEW = msgspec.json.Decoder(_Review)
_STATS = msgspec.json.Decoder(_Stats)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frigate:
    """One recorder's topics below ``prefix``; ``source`` says which of its two streams becomes detections."""

    family: str = "frigate"
    prefix: str = "frigate"
    source: Literal["reviews", "events"] = "reviews"
    subscribed: bool = True

    @property
    def filters(self) -> tuple[str, ...]:
        """Everything but commands and pictures (``prefix/camera/object/snapshot`` is a JPEG)."""
        below = ("+", "+/+", "+/+/state", "+/status/+", "+/audio/+", "+/classification/+")
        return tuple(f"{self.prefix}/{one}" for one in below)

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """A detection of each label in a review or event; who is reachable; nothing of all the rest."""
        del arrival  # every time of Frigate's is seconds since 1970
        said = topic.removeprefix(f"{self.prefix}/")
        if said == "reviews":
            return _review(payload) if self.source == "reviews" else ()
        if said == "events":
            return _event(payload) if self.source == "events" else ()
        if said == "available":
            return self._available(payload)
        if said == "stats":
            return self._stats(payload)
        levels = said.split("/")
        if len(levels) == 3 and levels[1:] == ["status", "detect"]:
            return _status(levels[0], payload)
        return ()

    def _available(self, payload: bytes) -> Sequence[Said] | Rejected:
        if payload not in (b"online", b"offline"):
            return _no_status("available", payload) if payload else ()
        server = self.prefix.rsplit("/", 1)[-1]
        return (
            Announced(device=server, model=SERVER_MODEL, vendor="Frigate"),
            Link(device=server, online=payload == b"online"),
        )

    def _stats(self, payload: bytes) -> Sequence[Said] | Rejected:
        """A camera whose pictures arrive is alive: without this one that sees nobody would count as silent.

        One without pictures is not said to be gone; Frigate's own status says that, and else silence does.
        """
        stats = body(_STATS, payload)
        if isinstance(stats, Rejected):
            return stats
        alive = (name for name, one in (stats.cameras or {}).items() if (one.camera_fps or 0) > 0)
        server = self.prefix.rsplit("/", 1)[-1]
        return [Link(device=name, online=True) for name in (server, *islice(alive, MOST_CAMERAS))]


def _event(payload: bytes) -> Sequence[Said] | Rejected:
    """A tracked object. A false positive is nothing, unless it ends what had begun as something."""
    event = body(_EVENT, payload)
    if isinstance(event, Rejected):
        return event
    after, before = event.after, event.before
    if event.type not in _STATES or not (after.id and after.camera and after.label):
        return _fault(event.type, {"id": after.id, "camera": after.camera, "label": after.label})
    if after.false_positive and (event.type != "end" or before is None or before.false_positive):
        return ()
    at_us = _at(event.type, after.start_time, after.end_time or after.frame_time, after.frame_time)
    if isinstance(at_us, Rejected):
        return at_us
    return (
        Seen(
            device=after.camera,
            key=after.id,
            label=after.label,
            state=event.type,
            score=after.top_score or after.score,
            zone=_zone(before.entered_zones if before else None, after.entered_zones),
            at_us=at_us,
        ),
    )


def _review(payload: bytes) -> Sequence[Said] | Rejected:
    """A review of severity alert; it begins when it becomes one, which may be after it was a mere detection."""
    review = body(_REVIEW, payload)
    if isinstance(review, Rejected):
        return review
    if review.type in _OTHER_TYPES:
        return ()
    after, before = review.after, review.before
    if review.type not in _STATES or not (after.id and after.camera and after.severity):
        return _fault(review.type, {"id": after.id, "camera": after.camera, "severity": after.severity})
    was_alert = before is not None and before.severity == "alert"
    if after.severity != "alert" and not was_alert:
        return ()
    at_us = _at(review.type, after.start_time, after.end_time, None)
    if isinstance(at_us, Rejected):
        return at_us
    zone = _zone(
        before.data.zones if before and before.data else None, after.data.zones if after.data else None
    )
    state = "new" if review.type == "update" and not was_alert else review.type
    return [
        Seen(device=after.camera, key=after.id, label=label, state=state, zone=zone, at_us=at_us)
        for label in _labels(after.data)
    ]


def _fault(kind: str, needed: Mapping[str, str | None]) -> Rejected:
    if kind not in _STATES:
        return Rejected(Rejection.UNSUPPORTED, f"type {kind[:40]!r} is none of new, update and end")
    missing = " and ".join(f"after.{name}" for name, value in needed.items() if not value)
    return Rejected(Rejection.WRONG_SHAPE, f"{missing} missing or empty; Frigate always sends it")


def _at(kind: str, start: float | None, end: float | None, frame: float | None) -> int | Rejected | None:
    """Microseconds since 1970 UTC at which this happened. An update of a review has no time: it is its arrival."""
    seconds = start if kind == "new" else end if kind == "end" else frame
    if seconds is None:
        return None
    if not -_MOST_SECONDS < seconds < _MOST_SECONDS:
        return Rejected(Rejection.TIME_OUT_OF_RANGE, f"{seconds!r} is no time in epoch seconds")
    return round(seconds * 1_000_000)


def _zone(before: list[str] | None, after: list[str] | None) -> str:
    """The zone that was entered just now, else the first: a rule for the gate has to hear of the gate."""
    if not after:
        return ""
    if not before:
        return after[0]
    known = set(before)
    return next((zone for zone in after if zone not in known), after[0])


def _labels(content: _Content | None) -> list[str]:
    """What was seen and heard, each once; at least that it was an alert."""
    if content is None:
        return ["alert"]
    labels = {one.removesuffix(_VERIFIED): None for one in (*(content.objects or ()), *(content.audio or ()))}
    labels.pop("", None)
    return list(labels)[:MOST_LABELS] or ["alert"]


def _status(camera: str, payload: bytes) -> Sequence[Said] | Rejected:
    """Whether the stream that is looked at runs; a camera that was switched off sees nothing either."""
    if payload not in (b"online", b"offline", b"disabled"):
        return _no_status("status", payload) if payload else ()
    return (Link(device=camera, online=payload == b"online"),)


def _no_status(what: str, payload: bytes) -> Rejected:
    return Rejected(Rejection.WRONG_SHAPE, f"{what} says {payload[:40]!r}; it is online or offline")


DECODER = Frigate()
EVENTS = Frigate(source="events")
