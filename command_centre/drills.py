"""A drill from its opening to its end: whose devices only practise, and what must not be left behind.

A drill may hide a real fire behind the word exercise, so it is opened by an administrator, it names its devices, and
it ends by itself. Its alarms are closed with it, its incidents archived; what goes on afterwards is raised anew, as
real.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.clocks import End
from city.directory import Directory
from city.incidents import SYSTEM, Change, Happening, Incident
from city.storage import drills, incidents
from command_centre.actions import ActionError
from command_centre.recording import store

LONGEST_DRILL = timedelta(
    hours=8
)  # a shift: whoever takes over should not find one running that nobody leads
SILENCE_PATIENCE = timedelta(
    minutes=5
)  # devices that were played may need a while to speak for themselves again
MOST_NAMED = 50

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def begin(
    connection: Connection,
    *,
    name: str,
    scenario: str,
    devices: Sequence[str],
    areas: Sequence[str],
    until: datetime,
    reason: str,
    actor: str,
    now: datetime,
) -> Row:
    """Open a drill over these devices and all devices in these areas; the drill as lists show it.

    ``standing_real`` in the answer are real alarms that stand on them: they stay real. Raises ActionError.
    """
    if not reason.strip():
        raise ActionError("invalid", "reason：请写明演练目的", "reason: say what is practised", "reason")
    title = name.strip() or scenario.strip()
    if not title:
        raise ActionError("invalid", "name：请给演练命名", "name: give the drill a name", "name")
    if not now < until <= now + LONGEST_DRILL:
        hours = int(LONGEST_DRILL.total_seconds() // 3600)
        raise ActionError(
            "invalid",
            f"until = {until.isoformat()}：须晚于现在且不超过{hours}小时",
            f"until = {until.isoformat()}: must lie ahead of now, by {hours} hours at most",
            "until",
        )
    if missing := await drills.unknown(connection, devices, areas):
        named = ", ".join(missing[:10])
        raise ActionError(
            "invalid", f"未知设备或区域：{named}", f"no such device or area: {named}", "devices"
        )
    ids = await drills.find_devices(connection, devices, areas)
    if not ids:
        raise ActionError(
            "invalid",
            "请指明参演设备或网格：没有设备的演练不起作用",
            "name devices or cells: these have no device, and a drill without devices marks nothing",
            "devices",
        )
    drill_id = await drills.insert(
        connection,
        name=title,
        scenario=scenario.strip(),
        reason=reason.strip(),
        actor=actor,
        now=now,
        until=until,
        devices=ids,
    )
    real = await drills.standing_real(connection, drill_id, MOST_NAMED)
    log.warning("drill opened", drill=drill_id, name=title, devices=len(ids), until=until.isoformat())
    opened = await shown(connection, drill_id, now)
    return {**opened, "standing_real": real}


async def shown(connection: Connection, drill_id: int, now: datetime) -> Row:
    """The drill as lists show it. Raises ActionError when there is none."""
    row = await drills.get(connection, drill_id, now)
    if row is None:
        raise ActionError("not_found", f"没有演练{drill_id}", f"there is no drill {drill_id}")
    return row


async def end(
    connection: Connection,
    directory: Directory,
    drill_id: int,
    *,
    actor: str,
    reason: str,
    now: datetime,
    mail: bool,
) -> Row:
    """End it before its time, with everything of it. Raises ActionError."""
    await shown(connection, drill_id, now)
    if not await drills.end(connection, drill_id, actor=actor, reason=reason.strip(), now=now):
        raise ActionError("conflict", "演练已结束", f"drill {drill_id} has ended already")
    await close(connection, directory, now, actor=actor, mail=mail)
    return await shown(connection, drill_id, now)


async def end_due(connection: Connection, now: datetime) -> int:
    """End drills whose time is over; returns how many."""
    ended = await drills.due(connection, now)
    for drill_id in ended:
        await drills.end(connection, drill_id, actor=SYSTEM, reason="its time had ended", now=now)
        log.info("drill ended", drill=drill_id)
    return len(ended)


async def close(
    connection: Connection, directory: Directory, now: datetime, *, actor: str = SYSTEM, mail: bool
) -> int:
    """Close alarms and incidents that ended drills left; returns how many incidents."""
    await drills.close_alarms(connection, now)
    locked = [await incidents.lock(connection, one) for one in await drills.incidents_left(connection)]
    left = [one for one in locked if one is not None and one.closed_at is None]
    if left:
        await store(connection, directory, [archived(one, actor, now) for one in left], now, mail=mail)
    return len(left)


def archived(incident: Incident, actor: str, now: datetime) -> Change:
    """Its incident is archived as it stands: a drill is a person's act, and so is the end it was given."""
    closed = replace(
        incident,
        state="archived",
        closed_at=now,
        awaiting_since=None,
        held_state=None,
        waived_by=actor,
        version=incident.version + 1,
    )
    happening = Happening(
        kind="archived",
        actor=actor,
        reason="演练结束 / the drill ended",
        detail={"from": incident.state, "drill_ended": True},
    )
    return Change(incident=closed, happenings=(happening,), effects=(End(outcome="cancelled"),))
