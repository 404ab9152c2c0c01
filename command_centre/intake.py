"""One pipe in (集中受理): every report becomes part of an incident, the one that stands there or a new one.

A report that is certainly about something already open joins it; anything less than certain opens an incident of
its own and names what it may belong to, for a dispatcher to merge. Whoever reports follows the incident from then
on, through every merge.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.areas import cell_of_points
from city.code_forms import CodeFault, read_code
from city.directory import Directory
from city.incidents import FINAL, Change, Happening, Incident, Tell
from city.reports import (
    Contact,
    NewReport,
    Place,
    Registered,
    Report,
    new_tracking,
)
from city.settings import Settings
from city.storage import alarms, components, fusions, incidents, photos, reports
from city.storage import directory as stored_directory
from command_centre import dispatch, finding, report_checks, reporting
from command_centre.finding import Candidate
from command_centre.notices import received
from command_centre.recording import store
from command_centre.report_checks import by_staff, wrong
from command_centre.triage import TELL_AGAIN_AFTER

__all__ = ["Contact", "NewReport", "Registered", "place", "register"]
_MOST_LIKELY = 5  # other incidents named for a dispatcher to look at
_OWN_ROUNDS = ("patrol", "community", "grid")
_log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """A report on its way: its id, where it lies, and the category it is dispatched by."""

    id: int
    report: NewReport
    category: str
    area_id: int | None
    place: Place

    def detail(self) -> dict[str, object]:
        """What the timeline says of it: never who, never the tracking number."""
        return {
            "report": self.id,
            "channel": self.report.channel,
            "category": self.report.category,
            "area": self.area_id,
            "place": self.place,
            "photos": len(self.report.photos),
        }


async def register(
    connection: Connection, settings: Settings, report: NewReport, *, now: datetime
) -> Registered:
    """Take a report inside the caller's transaction; raises ActionError, and then nothing was done.

    The same ``external_id`` from the same actor and channel is answered with what it became the first time.
    """
    if report.external_id:
        known = await reports.earlier(connection, report.actor, report.channel, report.external_id)
        if known is not None:
            return _again(known)
    directory = await stored_directory.load(connection, settings.zone, settings.urge_after)
    report_checks.check(report, directory)
    report = await _completed(connection, report, directory)
    if missing := await photos.unknown(connection, report.photos):
        raise wrong("photos", "有照片未上传", f"photo {missing[0].hex()} was not uploaded")
    area_id, where = await place(connection, report)
    case = _Case(
        id=await reports.take_id(connection),
        report=report,
        category=_dispatched_by(report, directory, settings),
        area_id=area_id,
        place=where,
    )
    incident, joined = None, False
    if not report.fixed_on_spot:
        incident, joined = await _into_incident(connection, settings, directory, case, now)
    tracking = new_tracking()
    await reports.insert(
        connection,
        report,
        report_id=case.id,
        tracking=tracking,
        received_at=now,
        area_id=area_id,
        place=where,
        incident_id=incident.id if incident else None,
        joined=joined,
        keys=settings.keys.ring(),
    )
    await photos.use(connection, "report", case.id, report.photos)
    if incident is not None:
        await photos.use(connection, "incident", incident.id, report.photos)
        await received(connection, case.id, tracking, report, incident, settings.keys.ring(), now)
    _log.info("report received", report=case.id, channel=report.channel, joined=joined, place=where)
    return Registered(
        report_id=case.id,
        tracking=tracking,
        incident_id=incident.id if incident else None,
        joined=joined,
        received_at=now,
        place=where,
    )


def _again(known: Report) -> Registered:
    return Registered(
        report_id=known.id,
        tracking=known.tracking,
        incident_id=known.incident_id,
        joined=known.joined,
        received_at=known.received_at,
        place=known.place,
        repeated=True,
    )


async def place(connection: Connection, report: NewReport) -> tuple[int | None, Place]:
    """The cell a report lies in, and what is known of its place. A position outside is kept and said.

    A position counts more than a cell's code; the code serves where the position lies in no cell.
    Raises ActionError for a code that is no cell's.
    """
    coded = None
    if report.cell is not None:
        coded = await reports.cell_by_code(connection, report.cell)
        if coded is None:
            raise wrong("cell", "没有这个网格", "there is no such cell; see /api/cells, or leave it out")
    if report.longitude is None or report.latitude is None:
        return coded, "inside" if coded is not None else "unknown"
    around = await reports.cells_around(connection, report.longitude, report.latitude)
    (found,) = cell_of_points([drawn for _, drawn in around], [report.longitude], [report.latitude])
    if found is not None:
        return around[found][0], "inside"
    return coded, "inside" if coded is not None else "outside"


async def _completed(connection: Connection, report: NewReport, directory: Directory) -> NewReport:
    """What was left out, from the facility whose code was given and from the catalogue."""
    contact = report.contact.dialled() if report.contact else None
    report = replace(report, contact=contact)
    if report.component:
        report = await _of_component(connection, report, directory)
    known = directory.category(report.category or "")
    return replace(report, nature=report.nature or (known.nature if known else "complaint"))


async def _of_component(connection: Connection, report: NewReport, directory: Directory) -> NewReport:
    """Whoever reads a code off a manhole cover need not say where it is; raises ActionError for what is no code."""
    found = await components.known(connection, report.component)
    if found is None:
        forms = await components.code_forms(connection)
        if isinstance(fault := read_code(report.component, forms.get("component", ())), CodeFault):
            raise wrong("component", fault.reason, fault.reason_en)
        return report
    if report.category is None and found.category in directory.categories:
        report = replace(report, category=found.category)
    if report.cell is not None or report.longitude is not None:
        return report
    placed = found.cell is not None and await reports.cell_by_code(connection, found.cell) is not None
    return replace(
        report, cell=found.cell if placed else None, longitude=found.longitude, latitude=found.latitude
    )


def _dispatched_by(report: NewReport, directory: Directory, settings: Settings) -> str:
    if report.category is not None:
        return report.category
    general = settings.report_category
    return general if general in directory.categories else general.partition(".")[0]


async def _into_incident(
    connection: Connection, settings: Settings, directory: Directory, case: _Case, now: datetime
) -> tuple[Incident, bool]:
    """The incident it belongs to, as stored, and whether that stood already."""
    if case.area_id is not None:
        # Two people who report one fire in the same second must not open two incidents.
        beside = (await fusions.neighbours(connection, [case.area_id])).get(case.area_id, frozenset())
        await alarms.lock_ground(connection, sorted({case.area_id, *beside}), [], nowhere=False)
    mail = bool(settings.smtp_url)
    told = reporting.Report(
        category=case.category,
        cell_id=case.area_id,
        incident_class=None,
        exercise=case.report.exercise,
        actor=case.report.actor,
        text=case.report.text,
        detail=case.detail(),
        reported=_awaited(case.report),
    )
    fused = await reporting.join_open(connection, directory, told, now, mail=mail)
    if fused is not None:
        return fused, True
    likely = await finding.candidates(
        connection,
        category=case.report.category,
        cell_id=case.area_id,
        longitude=case.report.longitude,
        latitude=case.report.latitude,
        text=case.report.text,
        at=now,
        exercise=case.report.exercise,
    )
    for candidate in likely:
        standing = await incidents.lock(connection, candidate.incident_id) if candidate.certain else None
        if standing is not None and standing.state not in FINAL:
            change = _joining(standing, case, candidate, now)
            (stored,) = await store(connection, directory, [change], now, mail=mail)
            return stored, True
    (stored,) = await store(connection, directory, [_opening(directory, case, likely, now)], now, mail=mail)
    return stored, False


def _awaited(report: NewReport) -> bool:
    """Whether somebody waits for an answer; what staff found on their own rounds needs none."""
    return report.contact is not None or not (by_staff(report.actor) and report.channel in _OWN_ROUNDS)


def _joining(standing: Incident, case: _Case, candidate: Candidate, now: datetime) -> Change:
    """The report on the incident's timeline; its unit hears of it, at most every two minutes."""
    told_again = standing.unit_id is not None and (
        standing.told_at is None or now - standing.told_at >= TELL_AGAIN_AFTER
    )
    incident = replace(
        standing,
        reported=standing.reported or _awaited(case.report),
        told_at=now if told_again else standing.told_at,
        version=standing.version + 1,
    )
    said = Happening(
        kind="reported",
        actor=case.report.actor,
        detail={**case.detail(), "told_again": told_again, **_reasons(candidate)},
        text=case.report.text,
    )
    return Change(incident=incident, happenings=(said,), tells=(Tell(purpose="again"),) if told_again else ())


def _reasons(candidate: Candidate) -> dict[str, object]:
    """Why it is, or may be, the same matter; a score as text, since chains hold no fractions."""
    return {
        "score": f"{candidate.score:.2f}",
        "why": "；".join(zh for zh, _ in candidate.reasons),
        "why_en": "; ".join(en for _, en in candidate.reasons),
    }


def _opening(directory: Directory, case: _Case, likely: Sequence[Candidate], now: datetime) -> Change:
    report = case.report
    matter = dispatch.Matter(
        category=case.category,
        cell_id=case.area_id,
        nature=report.nature,
        source="report",
        longitude=report.longitude,
        latitude=report.latitude,
    )
    known = directory.category(case.category)
    detail = case.detail()
    if likely:
        detail["may_belong_to"] = [
            {"incident": one.incident_id, "number": one.number, **_reasons(one)}
            for one in likely[:_MOST_LIKELY]
        ]
    has_position = report.longitude is not None and report.latitude is not None
    change = dispatch.opening(
        matter,
        dispatch.decide(matter, directory, now),
        now,
        actor=report.actor,
        source="report",
        title=known.name if known else case.category,
        detail=detail,
        text=report.text,
        exercise=report.exercise,
        registered=True,
        position=(report.longitude or 0.0, report.latitude or 0.0) if has_position else None,
    )
    return replace(change, incident=replace(change.incident, reported=_awaited(report)))
