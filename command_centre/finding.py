"""What a report or an incident may belong to, and what else is to be done near it: one matter, or one trip."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import cos, radians
from typing import Any

from psycopg import AsyncConnection

from city.storage import fusions
from city.storage import nearness as stored
from command_centre import matching
from command_centre.matching import Known, Reason, Score, Told
from command_centre.triage import JOIN_WINDOW
from command_centre.workflow import DONE

Connection = AsyncConnection[Any]
LOOKED_BACK = timedelta(hours=72)  # alarms and merged incidents; open incidents are found however old
ONE_TRIP_M = 300.0
MOST_SHOWN = 20
SHORTLIST = 25  # signs whose words are read
_METRES_A_DEGREE = 111_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An open incident that a report may be about. ``certain``: a machine may join it."""

    incident_id: int
    number: str
    score: float
    certain: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearby:
    """Open work close by. ``metres`` None: in the same cell, exactly where is not known."""

    incident_id: int
    number: str
    state: str
    incident_class: str
    category: str
    title: str
    cell: str | None
    unit: str | None
    unit_name: str | None
    unit_name_en: str | None
    same_unit: bool
    metres: int | None
    due_at: datetime | None


async def candidates(
    connection: Connection,
    *,
    category: str | None,
    cell_id: int | None,
    longitude: float | None,
    latitude: float | None,
    text: str,
    at: datetime,
    exclude: int | None = None,
    exercise: bool = False,
    limit: int = 10,
) -> list[Candidate]:
    """Open incidents near in place and kind, the certain ones first, then the likeliest."""
    beside: frozenset[int] = frozenset()
    if cell_id is not None:
        beside = (await fusions.neighbours(connection, [cell_id])).get(cell_id, frozenset())
    told = Told(
        category=category,
        cell_id=cell_id,
        beside=beside,
        longitude=longitude,
        latitude=latitude,
        text=text,
        at=at,
    )
    rows = await stored.signs_near(
        connection,
        top=category.partition(".")[0] if category else None,
        cell_id=cell_id,
        box=_box(longitude, latitude, matching.NEAR_M),
        since=at - LOOKED_BACK,
        exclude=exclude,
        exercise=exercise,
    )
    sensed = await stored.sensed_at(connection, sorted({row["id"] for row in rows}))
    windows = await stored.windows(connection, {row["category"] for row in rows})

    def scored(row: Mapping[str, Any], said: Mapping[str, Any] | None) -> Score:
        minutes = windows.get(row["category"])
        window = JOIN_WINDOW if minutes is None else timedelta(minutes=minutes)
        return matching.score(told, _known(row, sensed.get(row["id"]), said), window)

    # Words are read only of those that place, kind and time leave in question.
    likely = sorted(((scored(row, None).value, row) for row in rows), key=lambda one: one[0], reverse=True)
    shortlist = [row for value, row in likely[:SHORTLIST] if value > 0]
    said = await stored.said_of(connection, [row["sign"] for row in shortlist])
    best: dict[int, Candidate] = {}
    for row in shortlist:
        found = _candidate(row, scored(row, said.get(row["sign"])))
        before = best.get(found.incident_id)
        if found.score >= matching.SUGGESTED and (before is None or _rank(found) < _rank(before)):
            best[found.incident_id] = found
    return sorted(best.values(), key=_rank)[:limit]


def _rank(found: Candidate) -> tuple[bool, float, int]:
    return (not found.certain, -found.score, -found.incident_id)


def _candidate(row: Mapping[str, Any], score: Score) -> Candidate:
    """What is handled already is never certain: a new report may say that it is not."""
    done = row["state"] in DONE
    return Candidate(
        incident_id=row["id"],
        number=row["number"],
        score=score.value,
        certain=score.certain and not done,
        reasons=(*score.reasons, ("已处置完毕", "handled already")) if done else score.reasons,
    )


def _known(row: Mapping[str, Any], sensed: Mapping[str, Any] | None, said: Mapping[str, Any] | None) -> Known:
    """One sign with its root's alarms, and what people said."""
    cells = frozenset() if row["area_id"] is None else frozenset({row["area_id"]})
    own: tuple[tuple[float, float], ...] = ()
    if row["longitude"] is not None and row["latitude"] is not None:
        own = ((row["longitude"], row["latitude"]),)
    first_at = last_at = row["opened_at"]
    if said is not None:
        last_at = max(last_at, said["last_at"])
    standing: frozenset[int] = frozenset()
    if sensed is not None:
        cells |= frozenset(sensed["cells"])
        standing = frozenset(sensed["standing"])
        own += tuple((lon, lat) for lon, lat in sensed["positions"])
        first_at, last_at = min(first_at, sensed["first_at"]), max(last_at, sensed["last_at"])
    return Known(
        category=row["category"],
        cells=cells,
        standing=standing,
        positions=own,
        texts=tuple(text for text in said["texts"] if text) if said is not None else (),
        first_at=first_at,
        last_at=last_at,
    )


async def candidates_of(
    connection: Connection, incident_id: int, *, limit: int = MOST_SHOWN
) -> list[Candidate] | None:
    """What an incident that is open already may be merged into; None when there is no such incident."""
    spot = await stored.spot_of(connection, incident_id)
    if spot is None:
        return None
    return await candidates(
        connection,
        category=spot["category"],
        cell_id=spot["area_id"],
        longitude=spot["longitude"],
        latitude=spot["latitude"],
        text=spot["text"],
        at=spot["opened_at"],
        exclude=incident_id,
        exercise=spot["exercise"],
        limit=limit,
    )


async def nearby(
    connection: Connection,
    *,
    incident_id: int | None = None,
    cell_id: int | None = None,
    longitude: float | None = None,
    latitude: float | None = None,
    unit_id: int | None = None,
    exercise: bool = False,
    radius_m: float = ONE_TRIP_M,
    limit: int = MOST_SHOWN,
) -> list[Nearby]:
    """Open work around an incident, or around a place: one trip, one fix. That of the same unit comes first.

    With ``incident_id`` the place and purpose are the incident's, and the unit too unless another is named.
    """
    if incident_id is not None:
        spot = await stored.spot_of(connection, incident_id)
        if spot is None:
            return []
        cell_id, longitude, latitude = spot["area_id"], spot["longitude"], spot["latitude"]
        unit_id, exercise = unit_id or spot["unit_id"], spot["exercise"]
    rows = await stored.work_near(
        connection,
        cell_id=cell_id,
        box=_box(longitude, latitude, radius_m),
        unit_id=unit_id,
        exclude=incident_id,
        exercise=exercise,
    )
    found = []
    for row in rows:
        metres = _apart(longitude, latitude, row)
        within = row["area_id"] == cell_id if metres is None else metres <= radius_m
        if within:
            found.append(_nearby(row, metres, unit_id))
    found.sort(
        key=lambda one: (not one.same_unit, radius_m if one.metres is None else one.metres, one.incident_id)
    )
    return found[:limit]


def _apart(longitude: float | None, latitude: float | None, row: Mapping[str, Any]) -> float | None:
    if longitude is None or latitude is None or row["longitude"] is None or row["latitude"] is None:
        return None
    return matching.metres_between((longitude, latitude), (row["longitude"], row["latitude"]))


def _nearby(row: Mapping[str, Any], metres: float | None, unit_id: int | None) -> Nearby:
    return Nearby(
        incident_id=row["id"],
        number=row["number"],
        state=row["state"],
        incident_class=row["class"],
        category=row["category"],
        title=row["title"],
        cell=row["cell"],
        unit=row["unit"],
        unit_name=row["unit_name"],
        unit_name_en=row["unit_name_en"],
        same_unit=unit_id is not None and row["unit_id"] == unit_id,
        metres=None if metres is None else round(metres),
        due_at=row["due_at"],
    )


def _box(longitude: float | None, latitude: float | None, metres: float) -> stored.Box | None:
    """West, south, east, north around a position; a little more than the circle."""
    if longitude is None or latitude is None:
        return None
    up = metres / _METRES_A_DEGREE * 1.01
    aside = up / max(0.01, cos(radians(latitude)))
    return (longitude - aside, latitude - up, longitude + aside, latitude + up)
