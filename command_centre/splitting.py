"""What was merged comes apart again: as it was before, with its alarms, its clocks and its unit.

Or some alarms or reports of an incident become one of their own, when they turn out to be another matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from psycopg import AsyncConnection

from city.clocks import Start, read_limit
from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.settings import Settings
from city.storage import directory, incidents
from city.storage import merging as stored
from city.storage.merging import Merge
from command_centre import actions, dispatch, gathering
from command_centre.gathering import Weight
from command_centre.pairs import conflict, invalid, locked_together, own_weight, permitted, there
from command_centre.recording import store

Connection = AsyncConnection[Any]
Row = Mapping[str, Any]
MOST_PICKED = 1000  # alarms or reports in one request


async def split(
    connection: Connection,
    settings: Settings,
    incident_id: int,
    *,
    actor: str,
    role: str,
    unit_id: int | None,
    reason: str,
    fields: Mapping[str, object],
    now: datetime,
    expected_version: int | None = None,
) -> Incident:
    """Undo the merge of this incident; or, with ``alarms`` or ``reports``, make of these an incident of their own.

    Returns the incident that was split off. Raises ActionError.
    """
    async with connection.transaction():
        way = await stored.way(connection, incident_id)
        locked = await locked_together(connection, way)
        incident = there(locked, incident_id)
        permitted(
            incident,
            "split",
            actor=actor,
            role=role,
            unit_id=unit_id,
            reason=reason,
            expected_version=expected_version,
        )
        if incident.state != "merged":
            return await _picked_out(connection, settings, incident, fields, actor, reason.strip(), now)
        if fields.get("alarms") or fields.get("reports"):
            raise invalid(
                "alarms",
                "被合并的事件整体拆出，请勿指定报警",
                "a merged incident is split off as a whole; leave alarms and reports out",
            )
        if any(locked[one].merged_into != other for one, other in pairwise(way)):
            raise conflict("刚被他人改动，请重试", "somebody moved it just now: try again", of=incident)
        if locked[way[-1]].closed_at is not None:
            raise _over(incident, locked[way[-1]])
        return await _apart(connection, settings, [locked[one] for one in way], actor, reason.strip(), now)


def _over(incident: Incident, end: Incident) -> actions.ActionError:
    return conflict(
        f"事件{incident.number}已随{end.number}结束（{end.state}），请先重新办理{end.number}",
        f"incident {incident.number} ended with {end.number}, which is {end.state}: reopen that one first",
        of=incident,
    )


async def _apart(
    connection: Connection, settings: Settings, way: Sequence[Incident], actor: str, text: str, now: datetime
) -> Incident:
    """The first of ``way`` by itself again; each after it bears less."""
    gone = way[0]
    taken = await stored.active(connection, gone.id)
    if taken is None:
        raise conflict(f"事件{gone.number}未被合并", f"incident {gone.number} is not merged", of=gone)
    known = await directory.load(connection, settings.zone, settings.urge_after)
    decided = [_restored(gone, taken, way[1], actor, text, now)]
    owns = [
        (await own_weight(connection, other))[0] for other in way[1:]
    ]  # as long as the merge still counts
    await stored.undo(connection, taken.id, actor, now)
    for other, own in zip(way[1:], owns, strict=True):
        left = [gathering.read(one.brought) for one in await stored.into(connection, other.id)]
        weight = gathering.together(own, left)
        await stored.set_own(connection, other.id, gathering.written(own))
        await stored.set_opened(connection, other.id, weight.opened_at)
        decided.append(await _lighter(connection, other, weight, gone, taken, actor, text))
        above = await stored.active(connection, other.id)
        if above is not None:
            await _passed_on(connection, above, weight)
    moved = await stored.bring_alarms_home(connection, gone.id)
    first = decided[0].happenings[0]
    decided[0] = replace(decided[0], happenings=(replace(first, detail={**first.detail, "alarms": moved}),))
    results = await store(connection, known, decided, now, mail=bool(settings.smtp_url))
    return results[0]


async def _passed_on(connection: Connection, above: Merge, weight: Weight) -> None:
    """One that is merged itself weighs less on what it went into, and goes back to its own deadline."""
    before = gathering.read(above.brought)
    brings = replace(weight, due_at=weight.due_at if before.due_at is not None else None)
    due_at = weight.due_at.isoformat() if weight.due_at is not None else ""
    clocks = [
        {**one, "due_at": due_at} if one["stage"] == "handle" and due_at else one for one in above.clocks
    ]
    await stored.lighten(connection, above.id, gathering.written(brings), clocks)


def _restored(gone: Incident, taken: Merge, other: Incident, actor: str, text: str, now: datetime) -> Change:
    """As it was; a deadline that passed meanwhile begins to be due now, since nobody could meet it."""
    starts = tuple(
        Start(
            stage=one["stage"],  # type: ignore[arg-type]  # written from a clock's stage
            limit=read_limit(one["limit"]),
            due_at=max(datetime.fromisoformat(one["due_at"]), now),
        )
        for one in taken.clocks
    )
    back = replace(
        gone,
        state=taken.before_state,  # type: ignore[arg-type]  # written from an incident's state
        merged_into=None,
        closed_at=None,
        told_at=now if gone.unit_id is not None else gone.told_at,
        version=gone.version + 1,
    )
    detail: dict[str, object] = {"from": other.number, "incident": other.id, "state": taken.before_state}
    return Change(
        incident=back,
        happenings=(Happening(kind="split", actor=actor, detail=detail, text=text),),
        tells=(Tell(purpose="again"),) if gone.unit_id is not None else (),
        effects=starts,
    )


async def _lighter(
    connection: Connection,
    other: Incident,
    weight: Weight,
    gone: Incident,
    taken: Merge,
    actor: str,
    text: str,
) -> Change:
    """One that bore the split one, directly or through what is merged into it."""
    beside = await incidents.co_units(connection, other.id)
    stay = [unit for unit in beside if unit not in taken.co_units]
    detail: dict[str, object] = {"split": gone.number, "incident": gone.id}
    return Change(
        incident=replace(gathering.bearing(other, weight), version=other.version + 1),
        happenings=(Happening(kind="split_off", actor=actor, detail=detail, text=text),),
        effects=gathering.due_again(other, weight),
        co_units=tuple(stay) if len(stay) < len(beside) else None,
    )


# ── a part that is another matter ────────────────────────────────────────────────────────────────────


async def _picked_out(
    connection: Connection,
    settings: Settings,
    incident: Incident,
    fields: Mapping[str, object],
    actor: str,
    text: str,
    now: datetime,
) -> Incident:
    alarm_ids, report_ids = _ids(fields, "alarms"), _ids(fields, "reports")
    if not alarm_ids and not report_ids:
        raise invalid("alarms", "请选择要拆出的报警或上报", "name the alarms or reports to split off, by id")
    alarms = await stored.alarms_of(connection, incident.id)
    reports = await stored.reports_of(connection, incident.id)
    picked = _all_there("alarms", alarm_ids, alarms, incident)
    picked_reports = _all_there("reports", report_ids, reports, incident)
    if len(picked) == len(alarms) and len(picked_reports) == len(reports):
        raise invalid(
            "alarms",
            f"拆出全部后，事件{incident.number}将无内容",
            f"nothing would be left of incident {incident.number}; leave something, or void it",
        )
    known = await directory.load(connection, settings.zone, settings.urge_after)
    mail = bool(settings.smtp_url)
    opening = _opened(incident, [*picked, *picked_reports], known, actor, text, now)
    (fresh,) = await store(connection, known, [opening], now, mail=mail)
    await stored.give_alarms(connection, alarm_ids, fresh.id)
    await stored.give_reports(connection, report_ids, fresh.id)
    detail: dict[str, object] = {
        "to": fresh.number,
        "incident": fresh.id,
        "alarms": alarm_ids,
        "reports": report_ids,
    }
    left = Change(
        incident=replace(incident, version=incident.version + 1),
        happenings=(Happening(kind="split_off", actor=actor, detail=detail, text=text),),
    )
    await store(connection, known, [left], now, mail=mail)
    return fresh


def _ids(fields: Mapping[str, object], field: str) -> list[int]:
    given = fields.get(field) or []
    if (
        not isinstance(given, list)
        or len(given) > MOST_PICKED
        or any(isinstance(one, bool) or not isinstance(one, int) or not 0 < one < 2**63 for one in given)
    ):
        raise invalid(field, f"应为编号列表，最多{MOST_PICKED}个", f"a list of ids, at most {MOST_PICKED}")
    return sorted(set(given))


def _all_there(field: str, wanted: Sequence[int], rows: Sequence[Row], incident: Incident) -> list[Row]:
    by_id = {row["id"]: row for row in rows}
    strangers = [one for one in wanted if one not in by_id]
    if strangers:
        listed = ", ".join(str(one) for one in strangers[:10])
        raise invalid(
            field, f"{listed}不属于事件{incident.number}", f"{listed}: not of incident {incident.number}"
        )
    return [by_id[one] for one in wanted]


def _opened(
    incident: Incident, picked: Sequence[Row], known: Directory, actor: str, text: str, now: datetime
) -> Change:
    """A new incident for what was picked, about what came first of it, dispatched like any other."""
    first = min(picked, key=lambda row: row["at"])
    raised = [row["at"] for row in picked if row["sensed"]]
    category = first["category"] or incident.category
    catalogued = known.category(category)
    matter = dispatch.Matter(
        category=category,
        cell_id=first["cell_id"] if first["cell_id"] is not None else incident.area_id,
        alarm_class=first["class"],
        unclaimed_device=(first["device"] or "") if first["unclaimed"] else "",
        late=first["late"],
        source="alarm" if raised else "report",
        nature=incident.nature,
        longitude=first["longitude"],
        latitude=first["latitude"],
    )
    change = dispatch.opening(
        matter,
        dispatch.decide(matter, known, now),
        now,
        actor=actor,
        source="alarm" if raised else "report",
        title=catalogued.name if catalogued else category,
        detail={"split_from": incident.number, "incident": incident.id, "category": category},
        text=text,
        last_alarm_at=max(raised, default=None),
        exercise=incident.exercise,
    )
    reported = any(not row["sensed"] for row in picked)
    return replace(change, incident=replace(change.incident, reported=reported, collected_by=None))
