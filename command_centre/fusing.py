"""Fusion against the database: the rules in force, and the ground of open incidents, under the caller's locks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.catalogue import family
from city.directory import Directory
from city.incidents import Incident
from city.storage import fusions as stored
from command_centre.fusion import Fusions, Ground, alarm_signal, report_signal
from command_centre.triage import OpenIncident
from rules.definitions import RuleError, from_row
from rules.fusion import FusionRule, Signal

Connection = AsyncConnection[Any]

log = structlog.get_logger(__name__)


async def in_force(connection: Connection, directory: Directory) -> Fusions:
    """The fusion rules as they stand now. One that cannot be read is left out, and said: triage must go on."""
    rules: list[FusionRule] = []
    for row in await stored.rules_in_force(connection):
        try:
            rule = from_row(*row)
        except RuleError as error:
            log.error("fusion rule left out", reason=str(error))
            continue
        if isinstance(rule, FusionRule):
            rules.append(rule)
    places = {
        cell: {place.layer: place.code for place in around} for cell, around in directory.places.items()
    }
    return Fusions(rules=tuple(rules), zone=directory.zone, places=places)


async def with_ground(
    connection: Connection, candidates: Sequence[OpenIncident], fusions: Fusions, earliest: datetime
) -> list[OpenIncident]:
    """Open incidents with who spoke in them since one window before ``earliest``, where a rule asks for it."""
    asked = {family(rule.category) for rule in fusions.rules}
    ids = [one.incident.id for one in candidates if family(one.incident.category) in asked]
    if not ids:
        return list(candidates)
    longest_us = max(rule.span_us for rule in fusions.rules)
    since = earliest - timedelta(microseconds=longest_us)
    signals: dict[int, list[Signal]] = {incident_id: [] for incident_id in ids}
    for row in await stored.alarms_of(connection, ids, since):
        signals[row["incident_id"]].append(_alarm(row))
    for row in await stored.reports_of(connection, ids, since):
        detail = row["detail"]
        if isinstance(detail.get("area"), int):
            origin = f"report:{row['incident_id']}:{row['seq']}"
            signals[row["incident_id"]].append(
                report_signal(origin, str(detail["category"]), detail["area"], row["at"])
            )
    for one in candidates:
        if one.incident.id in signals and (opened := _opened_by_a_person(one.incident)) is not None:
            signals[one.incident.id].append(opened)
    cells = {signal.cell_id for of_incident in signals.values() for signal in of_incident}
    beside = await stored.neighbours(connection, sorted(cells))
    return [
        replace(one, ground=Ground(signals=tuple(signals.get(one.incident.id, ())), neighbours=beside))
        for one in candidates
    ]


def _alarm(row: Mapping[str, Any]) -> Signal:
    return alarm_signal(row["category"], row["rule_id"], row["device_id"], row["cell_id"], row["raised_at"])


def _opened_by_a_person(incident: Incident) -> Signal | None:
    if incident.source not in ("person", "report") or incident.area_id is None:
        return None
    return report_signal(f"report:{incident.id}:1", incident.category, incident.area_id, incident.opened_at)
