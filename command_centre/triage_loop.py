"""Alarms claimed, decided on, and stored as incidents: a batch is one transaction, safe beside other centres.

The ground around the batch's alarms is locked before open incidents are read, so that two centres which hold
two alarms of one fire decide one after the other and the second sees what the first opened.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.catalogue import family
from city.directory import Directory
from city.incidents import Change, Incident
from city.settings import Settings
from city.storage import alarms, incidents
from city.storage.changes import open_connection
from command_centre import dispatch, fusing, triage
from command_centre.fusion import Fusions, Ground
from command_centre.known_directory import KnownDirectory
from command_centre.recording import store
from command_centre.triage import Footprint, NewAlarm, OpenIncident
from command_centre.waking import Waking

BATCH = 100  # alarms in one transaction: short enough that a person's action never waits long behind it

log = structlog.get_logger(__name__)
Row = Mapping[str, Any]


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Triage until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    known = KnownDirectory(settings.zone, settings.urge_after)
    async with Waking(url, "city centre triage wake", stop) as waking:
        connection = await open_connection(url, "city centre triage", autocommit=True)
        async with connection:
            while not stop.is_set():
                done = await triage_batch(
                    connection, known, datetime.now(UTC), mail=bool(settings.smtp_url), limit=BATCH
                )
                if done < BATCH:
                    await waking.sleep()


async def triage_batch(
    connection: AsyncConnection[Any], known: KnownDirectory, now: datetime, *, mail: bool, limit: int = BATCH
) -> int:
    """Decide on up to ``limit`` alarms in one transaction; returns how many were taken."""
    async with connection.transaction():
        rows = await alarms.claim(connection, now, limit)
        if not rows:
            return 0
        directory = await known.fresh(connection, now, {row["cell_id"] for row in rows if row["cell_id"]})
        waiting = [_alarm(row, directory) for row in rows]
        fusions = await fusing.in_force(connection, directory)
        plan = Plan(directory=directory, now=now, fusions=fusions)
        near = await open_near(connection, waiting)
        earliest = min(alarm.raised_at for alarm in waiting)
        for candidate in await fusing.with_ground(connection, near, fusions, earliest):
            plan.open[candidate.incident.id] = candidate
        for alarm in waiting:
            plan.take(alarm)
        stored = await store(connection, directory, list(plan.changes.values()), now, mail=mail)
        ids = {before: after.id for before, after in zip(plan.changes, stored, strict=True)}
        await alarms.mark(
            connection,
            [
                (state, ids[key] if key is not None else None, alarm_id, why)
                for alarm_id, state, key, why in plan.verdicts
            ],
            now,
        )
    return len(rows)


def _alarm(row: Row, directory: Directory) -> NewAlarm:
    return NewAlarm(
        id=row["id"],
        rule_id=row["rule_id"],
        category=row["category"],
        incident_class=row["class"] or directory.class_of(row["category"]),
        raised_at=row["raised_at"],
        cleared_at=row["cleared_at"],
        late=row["late"],
        exercise=row["exercise"],
        device_id=row["device_id"],
        device_code=row["device_code"],
        kind=row["kind"],
        maintainer=row["maintainer"],
        gateway=row["gateway"],
        unclaimed=row["unclaimed"],
        service_state=row["service_state"],
        shelved=row["shelved"],
        decided_below=row["decided_below"],
        incident_id=row["incident_id"],
        level=row["level"],
        cell_id=row["cell_id"],
        cell_code=row["cell_code"],
        neighbours=frozenset(row["neighbours"]),
        longitude=row["longitude"],
        latitude=row["latitude"],
    )


async def open_near(connection: AsyncConnection[Any], waiting: Sequence[NewAlarm]) -> list[OpenIncident]:
    """Lock the ground of these alarms and read what is open there."""
    cells = {alarm.cell_id for alarm in waiting if alarm.cell_id is not None}
    cells |= {cell for alarm in waiting for cell in alarm.neighbours}
    devices = {alarm.device_id for alarm in waiting if alarm.device_id is not None}
    gateways = {alarm.gateway for alarm in waiting if alarm.gateway}
    tops = {alarm.category.partition(".")[0] for alarm in waiting}
    nowhere = any(alarm.cell_id is None for alarm in waiting)
    await alarms.lock_ground(connection, sorted(cells), sorted(gateways), nowhere=nowhere)
    found = await incidents.lock_open_near(
        connection, sorted(tops), sorted(cells), sorted(devices), sorted(gateways)
    )
    footprints = await incidents.footprints(connection, [incident.id for incident in found])
    return [
        OpenIncident(incident=incident, footprint=_footprint(incident, footprints.get(incident.id)))
        for incident in found
    ]


def _footprint(incident: Incident, row: Row | None) -> Footprint:
    """What a person opened has no alarms yet: it stands in its own cell, at the time it was opened."""
    own = frozenset() if incident.area_id is None else frozenset({incident.area_id})
    if row is None:
        return Footprint(cells=own, first_at=incident.opened_at, last_at=incident.opened_at)
    return Footprint(
        cells=frozenset(row["cells"]) | own,
        standing=frozenset(row["standing"]),
        devices=frozenset(row["devices"]),
        kinds=frozenset(row["kinds"]),
        gateways=frozenset(row["gateways"]),
        first_at=row["first_at"],
        last_at=row["last_at"],
    )


@dataclass(kw_only=True, slots=True)
class Plan:
    """One batch's decisions: later alarms see what earlier ones did; new incidents carry ids below zero."""

    directory: Directory
    now: datetime
    fusions: Fusions
    open: dict[int, OpenIncident] = field(default_factory=dict)
    changes: dict[int, Change] = field(default_factory=dict)
    # alarm, triage state, incident, why it is held
    verdicts: list[tuple[int, str, int | None, str]] = field(default_factory=list)

    def take(self, alarm: NewAlarm) -> None:
        """Decide on one alarm and remember what follows."""
        verdict = triage.decide(
            alarm, list(self.open.values()), self.now, self.directory.join_minutes, self.fusions
        )
        match verdict:
            case triage.Wait():
                return
            case triage.Hold():
                self.verdicts.append((alarm.id, "held", None, verdict.why))
            case triage.Record():
                self.verdicts.append((alarm.id, "recorded", None, ""))
            case triage.Open():
                self._open(alarm)
            case triage.Join():
                self._join(alarm, verdict)

    def _open(self, alarm: NewAlarm) -> None:
        key = -1 - len(self.changes)
        has_position = alarm.longitude is not None and alarm.latitude is not None
        matter = dispatch.Matter(
            category=alarm.category,
            cell_id=alarm.cell_id,
            alarm_class=alarm.incident_class,
            nature="alarm",
            source="alarm" if alarm.device_id is not None else "system",
            longitude=alarm.longitude if has_position else None,
            latitude=alarm.latitude if has_position else None,
            unclaimed_device=alarm.device_code if alarm.unclaimed else "",
            late=alarm.late,
            maintainer=alarm.maintainer if family(alarm.category) == "device" else "",
        )
        known = self.directory.category(alarm.category)
        change = dispatch.opening(
            matter,
            dispatch.decide(matter, self.directory, self.now),
            self.now,
            temporary_id=key,
            actor="system",
            source=matter.source,
            title=known.name if known else alarm.category,
            detail=triage.alarm_detail(alarm),
            last_alarm_at=alarm.raised_at,
            exercise=alarm.exercise,
            position=(alarm.longitude or 0.0, alarm.latitude or 0.0) if has_position else None,
        )
        if change.incident.unit_id is not None and not alarm.exercise:
            self.directory = self.directory.taken_by(change.incident.unit_id)
        self.changes[key] = change
        self.open[key] = OpenIncident(
            incident=change.incident,
            footprint=triage.footprint_of(alarm),
            ground=Ground().joined_by(triage.signal_of(alarm), alarm.neighbours),
        )
        self.verdicts.append((alarm.id, "done", key, ""))

    def _join(self, alarm: NewAlarm, verdict: triage.Join) -> None:
        key = verdict.incident_id
        self.open[key], joined = triage.join(alarm, self.open[key], verdict, self.now)
        earlier = self.changes.get(key)
        if earlier is None:
            if key > 0:
                joined = replace(
                    joined, incident=replace(joined.incident, version=joined.incident.version + 1)
                )
                self.open[key] = replace(self.open[key], incident=joined.incident)
            self.changes[key] = joined
        else:
            self.changes[key] = replace(
                earlier,
                incident=joined.incident,
                happenings=earlier.happenings + joined.happenings,
                tells=earlier.tells or joined.tells,  # one message a batch: written last, it says it all
            )
        self.verdicts.append((alarm.id, "done", key, ""))
