"""What a person owns until it is closed: the incident, what happened to it, and the chain that proves the order.

Every change is an appended event. Event n carries ``link(hash of event n-1, event n)``; the first one links
to GENESIS. The bytes under the hash are ``canonical``; the database keeps the newest hash beside the
incident, so that neither a changed, a removed nor a cut-off event goes unseen (``verify``).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from city.alarms import IncidentClass
from city.clocks import Effect

State = Literal[
    "registered",  # 登记: reported, nobody has said yet that it is a matter
    "filed",  # 立案, no unit: the unassigned lane
    "dispatched",  # 派遣
    "acknowledged",  # 签收
    "arrived",  # 到场
    "handled",  # 处置完毕
    "verified",  # 核查, six steps only
    "fed_back",  # 反馈 to whoever reported it
    "returned",  # 回退, granted: in the lane again
    "rework",  # 返工: verified and found wanting
    "suspended",  # 挂账, granted
    "archived",  # 归档, final unless reopened
    "voided",  # 作废, final
    "merged",  # 合并 into another, until it is split off again
]
Nature = Literal["complaint", "consultation", "suggestion", "request", "alarm"]  # 投诉 咨询 建议 求决 报警
EventLevel = Literal[1, 2, 3, 4]  # 一级 is the gravest
Purpose = Literal["order", "again", "urge", "overdue", "remind", "co_order", "asked", "decided", "supervise"]
FINAL: frozenset[State] = frozenset({"archived", "voided", "merged"})
UNOWNED: frozenset[State] = frozenset({"registered", "filed", "returned"})  # the lane: nobody has it
GENESIS = bytes(32)
SYSTEM = "system"  # the actor of what nobody decided
AUTOMATION = "api-token"  # the actor of an administrator's automation

_RAISED: Mapping[IncidentClass, IncidentClass] = {"C": "B", "B": "A", "A": "A"}


def more_urgent(one: IncidentClass, other: IncidentClass) -> IncidentClass:
    """A before B before C."""
    return min(one, other)


def raised_class(incident_class: IncidentClass) -> IncidentClass:
    """One step up; A stays A."""
    return _RAISED[incident_class]


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """A row of incidents. ``area_id`` is its cell; ``unit_id`` None is the unassigned lane, ``reason`` says why.

    ``incident_class`` never falls; ``base_class`` is what it was before several detectors together raised it.
    ``head`` and ``last_seq`` are the end of its chain; id 0 is an incident not yet stored. ``steps`` is 5 (street
    and community) or 6 (with verification). ``due_at`` is that of its clock ``handle``.
    """

    id: int = 0
    number: str = ""
    state: State = "filed"
    incident_class: IncidentClass
    base_class: IncidentClass
    category: str
    title: str = ""
    area_id: int | None = None
    unit_id: int | None = None
    reason: str
    reason_en: str = ""
    source: Literal["alarm", "report", "person", "system"] = "alarm"
    nature: Nature = "alarm"
    event_level: EventLevel = 4
    steps: Literal[5, 6] = 5
    longitude: float | None = None  # its own place, WGS 84; None = where its first alarm's device stands
    latitude: float | None = None
    reported: bool = False  # somebody waits for an answer: no archive without feedback
    collected_by: str | None = None  # who registered it, and therefore may not handle it
    dispatched_at: datetime | None = None  # to the unit that has it now
    arrived_at: datetime | None = None
    handled_at: datetime | None = None
    handled_by: str | None = None
    verified_at: datetime | None = None
    verified_by: str | None = None  # never who handled it
    fed_back_at: datetime | None = None
    held_state: State | None = None  # where it goes on after a suspension
    extensions: int = 0
    reworks: int = 0
    returned_by: Sequence[int] = ()  # units that gave it back: the list passes them over
    supervised_at: datetime | None = None
    waived_by: str | None = None  # the approver who answers for archiving past a guard
    merged_into: int | None = None
    parent_id: int | None = None  # the large event it belongs to
    due_at: datetime | None = None
    opened_at: datetime
    last_alarm_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    told_at: datetime | None = None
    awaiting_since: datetime | None = None
    urged_at: datetime | None = None
    urged_level: int = 0
    overdue_at: datetime | None = None
    closed_at: datetime | None = None
    exercise: bool = False
    version: int = 1
    last_seq: int = 0
    head: bytes = GENESIS


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """An event about to be appended. ``text`` is what a person typed: only its digest is chained."""

    kind: str
    actor: str = SYSTEM
    reason: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tell:
    """Somebody must hear of it: the unit (None = the incident's own), or its lead."""

    purpose: Purpose
    unit_id: int | None = None
    to_lead: bool = False


Ask = Literal["return", "transfer", "extend", "suspend", "dispute"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a unit asked for and somebody else decides; the unit keeps the incident meanwhile.

    ``to_unit_id`` is where a transfer or dispute would send it; ``limit`` is how much more time is asked for, or
    how long a suspension lasts, written as in ``city.clocks``. ``decided_by`` is never ``asked_by``.
    """

    id: int = 0
    incident_id: int
    ask: Ask
    unit_id: int | None
    asked_by: str
    asked_at: datetime
    to_unit_id: int | None = None
    limit: str = ""
    state: Literal["open", "granted", "refused", "withdrawn"] = "open"
    decided_by: str | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A decision about one incident, stored as a whole: its new row, what happened, who must be told.

    ``effects`` say what it does to the clocks; ``requests`` are written new (id 0) or over what they were;
    ``co_units`` are who handles beside the lead from now on (None = as before).
    """

    incident: Incident
    happenings: tuple[Happening, ...]
    tells: tuple[Tell, ...] = ()
    effects: tuple[Effect, ...] = ()
    requests: tuple[Request, ...] = ()
    co_units: tuple[int, ...] | None = None
    alarms_acknowledged_by: str | None = None  # its alarms are acknowledged with it
    position: tuple[float, float] | None = None  # longitude, latitude; None = its first alarm's device


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A stored event. ``detail`` holds strings, integers, booleans, lists and objects, never fractions."""

    incident_id: int
    seq: int
    at: datetime
    kind: str
    actor: str
    reason: str
    detail: Mapping[str, object]
    previous: bytes = GENESIS
    hash: bytes = b""


def canonical(event: Event) -> bytes:
    """The bytes that are hashed: JSON, keys sorted, no blanks, UTF-8, the instant in UTC with microseconds.

    Raises ValueError for a fraction in ``detail``: a database may give 1.0 back as 1, and the chain would break.
    """
    _refuse_fractions(event.detail)
    return json.dumps(
        {
            "incident": event.incident_id,
            "seq": event.seq,
            "at": event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "kind": event.kind,
            "actor": event.actor,
            "reason": event.reason,
            "detail": event.detail,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode("utf-8")


def link(previous: bytes, event: Event) -> bytes:
    """SHA-256 over the hash of the event before and this event's canonical bytes: 32 bytes."""
    return hashlib.sha256(previous + canonical(event)).digest()


def text_digest(salt: bytes, text: str) -> str:
    """What the chain keeps of a typed text: says nothing once salt and text are erased."""
    return hashlib.sha256(salt + text.encode("utf-8")).hexdigest()


def verify(events: Iterable[Event], head: bytes | None = None) -> int | None:
    """The first seq that does not follow from the one before, or None for a whole chain.

    ``head`` is the newest hash kept beside the incident; a chain that ends elsewhere fails at the seq after its end.
    """
    previous, seq = GENESIS, 0
    for event in events:
        seq += 1
        try:
            sound = event.seq == seq and event.previous == previous and event.hash == link(previous, event)
        except ValueError:
            sound = False
        if not sound:
            return seq
        previous = event.hash
    if head is not None and head != previous:
        return seq + 1
    return None


def _refuse_fractions(value: object) -> None:
    if isinstance(value, float):
        raise ValueError(f"an event's detail holds no fractions: {value!r}; write it as text")
    if isinstance(value, Mapping):
        for part in value.values():
            _refuse_fractions(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _refuse_fractions(part)
