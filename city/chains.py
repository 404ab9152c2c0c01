"""What is wrong with a timeline that is not as it was written, and the anchors that prove chains from outside.

``first_fault`` reads one incident's events once, in order. An anchor is one digest over the heads of many chains:
whoever rewrites a chain from its first event on, head included, has a chain that agrees with itself and not with it.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from city.incidents import GENESIS, Event, link, text_digest

What = Literal[
    "changed",  # its content or its hash is not as written
    "broken",  # it does not follow from the event before: one of the two was rewritten
    "removed",  # an event that must be there is not
    "cut",  # events are missing at the end
    "added",  # there are events behind the end
    "head",  # the last event is not the one the incident names
    "text",  # what a person typed was changed
    "anchored",  # the chain agrees with itself, and not with an anchor: it was rewritten
    "gone",  # the incident, or its events, are not there any more
    "anchor",  # an anchor itself was changed or removed
]
WORDS: Mapping[What, tuple[str, str]] = {
    "changed": ("内容被改动", "its content was changed"),
    "broken": (
        "与前一条不衔接，其一被改写",
        "does not follow from the event before: one of the two was rewritten",
    ),
    "removed": ("该条被删除", "the event was removed"),
    "cut": ("末尾被截断", "events are missing at the end"),
    "added": ("末尾之后有多余记录", "there are events behind the end"),
    "head": ("末条与事件所记不符", "the last event is not the one the incident names"),
    "text": ("所录文字被改动", "what was typed was changed"),
    "anchored": (
        "与锚定记录不符，整条链被改写",
        "the chain was rewritten: it does not agree with its anchor",
    ),
    "gone": ("事件或其记录被删除", "the incident or its events were removed"),
    "anchor": ("锚定记录本身被改动或删除", "the anchor itself was changed or removed"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """The first place where something differs. ``seq`` 0 is the incident as a whole; ``anchor`` names the anchor."""

    number: str
    seq: int
    what: What
    incident_id: int | None = None
    anchor: int | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An event as it is stored, with the text beside it (None = none, or erased)."""

    event: Event
    salt: bytes | None
    text: str | None


def first_fault(events: Iterable[Stored], last_seq: int, head: bytes) -> tuple[int, What] | None:
    """(seq, what) of the first event that is not as it was written; None for a whole chain.

    ``last_seq`` and ``head`` are the end that the incident names; a chain that ends otherwise fails behind its end.
    """
    previous, seq = GENESIS, 0
    for stored in events:
        seq += 1
        event = stored.event
        if event.seq != seq:
            return seq, "removed"
        if seq > last_seq:
            return seq, "added"
        own = _link(event.previous, event)
        if own != event.hash:
            return seq, "changed"
        if event.previous != previous:
            return seq, "broken"
        if stored.text is not None and text_digest(stored.salt or b"", stored.text) != event.detail.get(
            "text"
        ):
            return seq, "text"
        previous = event.hash
    if seq < last_seq:
        return seq + 1, "cut"
    return None if previous == head else (seq + 1, "head")


def _link(previous: bytes, event: Event) -> bytes | None:
    try:
        return link(previous, event)
    except ValueError:  # a fraction, which nobody of ours writes
        return None


# ── anchors ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Where a chain ended when it was anchored."""

    incident_id: int
    seq: int
    head: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """One digest over ``heads`` heads, linked to the anchor before; the first one's ``previous`` is drawn by lot.

    That draw names the series: anchors of another database are told apart by it.
    """

    id: int
    at: datetime
    heads: int
    previous: bytes
    digest: bytes


def anchor_digest(number: int, at: datetime, previous: bytes, heads: Sequence[Head]) -> bytes:
    """SHA-256 over the anchor before, number, instant (UTC, microseconds) and the heads by incident: 32 bytes."""
    digest = hashlib.sha256(previous)
    digest.update(struct.pack(">q", number))
    digest.update(at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode())
    for one in sorted(heads, key=lambda one: one.incident_id):
        digest.update(struct.pack(">qi", one.incident_id, one.seq) + one.head)
    return digest.digest()
