"""Alarms to incidents: a fire seen by three detectors and a camera is one incident, a fire across town another.

A further alarm joins an open incident of the same family when it comes from a place the incident already has,
or from a cell beside one, within the family's window of event time. Drills never mix with the real thing. The
spread of one incident is bounded, so that neighbours of neighbours do not swallow the district.
docs/incidents.md says why each of these is as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from city.alarms import IncidentClass
from city.catalogue import family
from city.clocks import Effect, End, Start
from city.incidents import Change, Happening, Incident, Tell, more_urgent, raised_class
from command_centre import fusion
from command_centre.fusion import Fused, Fusions, Ground
from command_centre.workflow import DONE
from command_centre.workflow_steps import undone
from rules.fusion import Signal

JOIN_WINDOW = timedelta(minutes=30)
TELL_AGAIN_AFTER = timedelta(minutes=2)
MOST_CELLS = 25  # one incident spreads no further by neighbourhood
SILENT = "device.silent"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewAlarm:
    """An alarm that waits for triage, and its device; ``neighbours`` are the cells beside its own."""

    id: int
    rule_id: str = ""
    category: str
    incident_class: IncidentClass  # its own, else its category's
    raised_at: datetime
    cleared_at: datetime | None = None
    late: bool = False
    page_after: datetime | None = None
    exercise: bool = False
    device_id: int | None = None
    device_code: str = ""
    kind: str = ""
    maintainer: str = ""  # of the device, as its register has it
    gateway: str | None = None
    unclaimed: bool = False
    service_state: str = "in_service"
    shelved: bool = False  # its rule on its device, by a person
    decided_below: bool = False  # its device belongs to a district that dispatches by itself
    incident_id: int | None = None  # looked at again: its level rose, or it came back from being silent
    level: str = ""
    cell_id: int | None = None
    cell_code: str = ""
    neighbours: frozenset[int] = frozenset()
    longitude: float | None = None
    latitude: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """Where an open incident has alarms, and when; ``standing`` are cells with one not yet cleared."""

    cells: frozenset[int] = frozenset()
    standing: frozenset[int] = frozenset()
    devices: frozenset[int] = frozenset()
    kinds: frozenset[str] = frozenset()
    gateways: frozenset[str] = frozenset()
    first_at: datetime
    last_at: datetime


_NO_GROUND = Ground()
_NO_FUSIONS = Fusions()


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenIncident:
    """An incident that an alarm may join."""

    incident: Incident
    footprint: Footprint
    ground: Ground = _NO_GROUND


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """No open incident fits: a new one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """It belongs to an open incident. ``also_fits`` could have been joined too: a person may look."""

    incident_id: int
    why: Literal["device", "cell", "neighbour", "gateway", "system", "again"]
    raise_class_to: IncidentClass | None = None
    reopen_acknowledgement: bool = False
    tell_again: bool = False
    also_fits: tuple[int, ...] = ()
    fused: tuple[Fused, ...] = ()  # sources that agree now and did not before


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """History only: it was over before anybody could act, or the district below acts. Nobody is paged."""

    why: Literal["late_and_over", "silence_ended", "cleared_while_held", "over_again", "decided_below"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """It is shelved, or its device is, or is under test or out of service: kept until that ends."""

    why: str  # the device's service state, or "shelf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A late one waits for the rest of its backlog."""

    until: datetime


Verdict = Open | Join | Record | Hold | Wait

_NEARNESS = ("device", "gateway", "cell", "system", "neighbour")


def decide(
    alarm: NewAlarm,
    candidates: Sequence[OpenIncident],
    now: datetime,
    windows: Mapping[str, int] | None = None,
    fusions: Fusions = _NO_FUSIONS,
) -> Verdict:
    """What becomes of one alarm. ``windows`` are minutes by category where a district set its own."""
    if alarm.page_after is not None and alarm.page_after > now:
        return Wait(until=alarm.page_after)
    if (over := _over_or_held(alarm)) is not None:
        return over
    if alarm.incident_id is not None and (again := _again(alarm, candidates)) is not None:
        return again
    minutes = (windows or {}).get(alarm.category)
    window = JOIN_WINDOW if minutes is None else timedelta(minutes=minutes)
    fits = []
    for candidate in candidates:
        why = _fits(alarm, candidate, window)
        if why is not None:
            nearness = _NEARNESS.index(why)
            fits.append(
                (nearness, -candidate.footprint.last_at.timestamp(), candidate.incident.id, why, candidate)
            )
    if not fits:
        return Open()
    fits.sort(key=lambda fit: fit[:3])
    _, _, _, why, chosen = fits[0]
    fused = _fused(alarm, chosen, fusions)
    return _join(alarm, chosen, why, now, tuple(sorted(fit[2] for fit in fits[1:])), fused)


def _over_or_held(alarm: NewAlarm) -> Record | Hold | None:
    if alarm.decided_below:
        return Record(why="decided_below")
    why = alarm.service_state if alarm.service_state != "in_service" else "shelf" if alarm.shelved else ""
    if why:
        return Hold(why=why) if alarm.cleared_at is None else Record(why="cleared_while_held")
    if alarm.cleared_at is not None and alarm.late:
        return Record(why="late_and_over")
    if alarm.cleared_at is not None and alarm.category == SILENT:
        return Record(why="silence_ended")
    return None


def _again(alarm: NewAlarm, candidates: Sequence[OpenIncident]) -> Join | Record | None:
    """A re-alarm belongs to the incident it has; None when that is closed by now: then it is as good as new.

    Whoever acknowledged did so for a lower level, or before the alarm was silenced: it is asked for again.
    """
    own = next((one for one in candidates if one.incident.id == alarm.incident_id), None)
    if own is None or own.incident.closed_at is not None:
        return Record(why="over_again") if alarm.cleared_at is not None else None
    deserved = _deserved_class(alarm, own)
    seen = own.incident.acknowledged_at is not None or own.incident.state in DONE
    return Join(
        incident_id=own.incident.id,
        why="again",
        raise_class_to=deserved if deserved < own.incident.incident_class else None,
        reopen_acknowledgement=seen,
        tell_again=True,
    )


Why = Literal["device", "cell", "neighbour", "gateway", "system"]


def _fits(alarm: NewAlarm, candidate: OpenIncident, window: timedelta) -> Why | None:
    incident, seen = candidate.incident, candidate.footprint
    if incident.closed_at is not None or incident.exercise != alarm.exercise:
        return None
    if family(incident.category) != family(alarm.category):
        return None
    why = _nearness(alarm, seen)
    if why is None:
        return None
    if alarm.cell_id is not None and alarm.cell_id in seen.standing:
        return why  # the condition still stands there: however long ago it began, this is the same event
    return why if seen.first_at - window <= alarm.raised_at <= seen.last_at + window else None


def _nearness(alarm: NewAlarm, seen: Footprint) -> Why | None:
    """How an alarm touches an incident, nearest first; None when it does not."""
    if alarm.device_id is None and alarm.cell_id is None:
        return "system" if not seen.cells and not seen.devices else None
    if alarm.device_id is not None and alarm.device_id in seen.devices:
        return "device"
    silent = family(alarm.category) == "device"
    if silent and alarm.gateway is not None and alarm.gateway in seen.gateways:
        return "gateway"
    narrow = len(seen.cells) < MOST_CELLS
    if alarm.cell_id in seen.cells:
        # Silence travels along gateways: without a bound, two gateways sharing a cell would chain on and on.
        return "cell" if narrow or not silent else None
    if not silent and narrow and alarm.neighbours & seen.cells:
        return "neighbour"
    return None


def _join(
    alarm: NewAlarm,
    chosen: OpenIncident,
    why: Why,
    now: datetime,
    also_fits: tuple[int, ...],
    fused: Sequence[Fused],
) -> Join:
    incident, seen = chosen.incident, chosen.footprint
    deserved = _deserved_class(alarm, chosen)
    agreed = _agreement(alarm, chosen)
    if (
        agreed is not None
        and not fused
        and deserved < more_urgent(incident.incident_class, alarm.incident_class)
    ):
        fused = [agreed]
    for one in fused:
        deserved = more_urgent(deserved, one.incident_class or deserved)
    rose = deserved < incident.incident_class
    more = footprint_of(alarm)
    new_place = not (more.cells <= seen.cells and more.devices <= seen.devices)
    reopen = incident.state in DONE or (incident.acknowledged_at is not None and (rose or new_place))
    rested = incident.told_at is None or now - incident.told_at >= TELL_AGAIN_AFTER
    return Join(
        incident_id=incident.id,
        why=why,
        raise_class_to=deserved if rose else None,
        reopen_acknowledgement=reopen,
        tell_again=rested or rose or reopen,
        also_fits=also_fits,
        fused=tuple(fused),
    )


def _fused(alarm: NewAlarm, chosen: OpenIncident, fusions: Fusions) -> list[Fused]:
    """Fusion rules about this matter that the alarm makes fire."""
    signal = signal_of(alarm)
    matter = family(chosen.incident.category)
    rules = [rule for rule in fusions.rules if family(rule.category) == matter]
    if signal is None or not rules:
        return []
    after = chosen.ground.joined_by(signal, alarm.neighbours)
    return fusion.newly_fused(chosen.ground, after, rules, fusions)


def signal_of(alarm: NewAlarm) -> Signal | None:
    """The alarm as fusion sees it; None = it has no place. Without a device it is what a person says."""
    if alarm.cell_id is None:
        return None
    if alarm.device_id is None:
        return fusion.report_signal(f"report:{alarm.id}", alarm.category, alarm.cell_id, alarm.raised_at)
    return fusion.alarm_signal(alarm.category, alarm.rule_id, alarm.device_id, alarm.cell_id, alarm.raised_at)


def _deserved_class(alarm: NewAlarm, chosen: OpenIncident) -> IncidentClass:
    """The most urgent of what it has and of its alarms, one step more when several detectors agree."""
    base = more_urgent(chosen.incident.base_class, alarm.incident_class)
    if _agreement(alarm, chosen) is not None:
        base = raised_class(base)
    return more_urgent(chosen.incident.incident_class, base)


def _agreement(alarm: NewAlarm, chosen: OpenIncident) -> Fused | None:
    if family(alarm.category) == "device":  # a dead gateway silences many: one fault, not proof
        return None
    seen = chosen.footprint
    devices = seen.devices | ({alarm.device_id} if alarm.device_id is not None else set())
    kinds = seen.kinds | ({alarm.kind} if alarm.kind else set())
    return fusion.agreement(len(devices), sorted(kinds))


def footprint_of(alarm: NewAlarm) -> Footprint:
    """Where an incident stands that this alarm opened."""
    return Footprint(
        cells=frozenset() if alarm.cell_id is None else frozenset({alarm.cell_id}),
        standing=frozenset() if alarm.cell_id is None or alarm.cleared_at else frozenset({alarm.cell_id}),
        devices=frozenset() if alarm.device_id is None else frozenset({alarm.device_id}),
        kinds=frozenset({alarm.kind} if alarm.kind else ()),
        gateways=frozenset({alarm.gateway} if alarm.gateway else ()),
        first_at=alarm.raised_at,
        last_at=alarm.raised_at,
    )


def join(alarm: NewAlarm, chosen: OpenIncident, verdict: Join, now: datetime) -> tuple[OpenIncident, Change]:
    """The incident with the alarm in it, and what that writes on the timeline and tells people."""
    before, more = chosen.footprint, footprint_of(alarm)
    footprint = Footprint(
        cells=before.cells | more.cells,
        standing=before.standing | more.standing,
        devices=before.devices | more.devices,
        kinds=before.kinds | more.kinds,
        gateways=before.gateways | more.gateways,
        first_at=min(before.first_at, alarm.raised_at),
        last_at=max(before.last_at, alarm.raised_at),
    )
    old = chosen.incident
    effects: tuple[Effect, ...] = ()
    incident = replace(
        old,
        incident_class=verdict.raise_class_to or old.incident_class,
        base_class=more_urgent(old.base_class, alarm.incident_class),
        last_alarm_at=footprint.last_at,
    )
    if verdict.reopen_acknowledgement:
        incident = replace(
            undone(incident),
            state="dispatched" if old.unit_id is not None and old.state != "suspended" else old.state,
            awaiting_since=now,
        )
        effects = _asked_again(old)
    tells: tuple[Tell, ...] = ()
    if verdict.tell_again and incident.unit_id is not None:
        incident = replace(incident, told_at=now)
        tells = (Tell(purpose="again"),)
    change = Change(
        incident=incident, happenings=_join_happenings(alarm, old, verdict), tells=tells, effects=effects
    )
    ground = chosen.ground.joined_by(signal_of(alarm), alarm.neighbours)
    return OpenIncident(incident=incident, footprint=footprint, ground=ground), change


def _asked_again(old: Incident) -> tuple[Effect, ...]:
    """Its unit must acknowledge anew; what was handled has its time to be handled again."""
    if old.unit_id is None or old.state == "suspended":
        return ()
    if old.state in DONE:
        return (
            End(stages=("verify", "feedback", "archive"), outcome="cancelled"),
            Start(stage="handle"),
            Start(stage="acknowledge"),
        )
    return (Start(stage="acknowledge"),)


def _join_happenings(alarm: NewAlarm, old: Incident, verdict: Join) -> tuple[Happening, ...]:
    detail: dict[str, object] = {**alarm_detail(alarm), "why": verdict.why, "told_again": verdict.tell_again}
    if other := [incident_id for incident_id in verdict.also_fits if incident_id > 0]:
        detail["also_fits"] = other
    if verdict.why == "again":
        detail["level"] = alarm.level
    happenings = [Happening(kind="alarm_again" if verdict.why == "again" else "joined", detail=detail)]
    happenings += [fused.happening() for fused in verdict.fused]
    if verdict.raise_class_to is not None:
        step: dict[str, object] = {"from": old.incident_class, "to": verdict.raise_class_to}
        happenings.append(Happening(kind="class_raised", detail=step))
    if verdict.reopen_acknowledgement:
        happenings.append(Happening(kind="acknowledgement_reopened", detail={"from": old.state}))
    return tuple(happenings)


def alarm_detail(alarm: NewAlarm) -> dict[str, object]:
    """What the timeline says of an alarm."""
    return {
        "alarm": alarm.id,
        "category": alarm.category,
        "device": alarm.device_code or None,
        "cell": alarm.cell_code or None,
        "raised_at": alarm.raised_at.isoformat(),
        "late": alarm.late,
    }
