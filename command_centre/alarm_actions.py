"""What a person does to one alarm: decided by ``alarm_life``, stored with its event, its audit and its change."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.storage import alarm_shelves, alarms
from command_centre import alarm_life
from command_centre.actions import ActionError

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def acknowledge(connection: Connection, alarm_id: int, *, actor: str, now: datetime) -> Row:
    """The first acknowledgement counts, also after it cleared; its incident is acknowledged apart.

    Raises ActionError when there is no such alarm.
    """
    await alarms.acknowledge(connection, alarm_id, actor, now)
    return await shown(connection, alarm_id, now)


async def shelve(
    connection: Connection,
    alarm_id: int,
    *,
    until: datetime,
    reason: str,
    actor: str,
    role: str,
    now: datetime,
) -> Row:
    """Silence its rule on its device until then: further episodes are recorded, and nobody is sent.

    Raises ActionError; nothing was changed then.
    """
    alarm = await shown(connection, alarm_id, now)
    refused = alarm_life.may_shelve(
        state=alarm["state"],
        category=alarm["category"],
        incident_class=alarm["class"] or "",
        role=role,
        reason=reason,
        until=until,
        now=now,
        about_a_device=alarm["device"] is not None,
    )
    if refused is not None:
        raise ActionError(refused.code, refused.reason, refused.reason_en, refused.field)
    done = await alarm_shelves.put(
        connection, alarm_id, until=until, reason=reason.strip(), actor=actor, now=now
    )
    if not done:
        raise ActionError("conflict", "该报警已被搁置", f"alarm {alarm_id} is on the shelf already")
    await alarms.hold_silent(connection, now)
    return await shown(connection, alarm_id, now)


async def unshelve(connection: Connection, alarm_id: int, *, actor: str, reason: str, now: datetime) -> Row:
    """Take it off the shelf; what still stands comes back unacknowledged, and its unit is told. Raises ActionError."""
    await shown(connection, alarm_id, now)
    if not await alarm_shelves.take_off(connection, alarm_id, actor=actor, reason=reason.strip(), now=now):
        raise ActionError("conflict", "该报警未被搁置", f"alarm {alarm_id} is not on the shelf")
    await alarms.release_held(connection, now)
    return await shown(connection, alarm_id, now)


async def shown(connection: Connection, alarm_id: int, now: datetime) -> Row:
    """The alarm as lists show it. Raises ActionError when there is none."""
    row = await alarms.get(connection, alarm_id, now)
    if row is None:
        raise ActionError("not_found", f"没有报警{alarm_id}", f"there is no alarm {alarm_id}")
    return row
