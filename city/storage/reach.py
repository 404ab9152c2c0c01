"""A transaction held to what its caller reaches; asynchronous and not. The policies are the migrations' 0035 and 0037.

``within`` turns the transaction into the role that policies hold for, ``beyond`` turns back for the few lines that
must see everything: what a process keeps for all callers, and counts that are no answer to anybody.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

from psycopg import AsyncConnection, Connection

from city.reach import Reach

ROLE = "city_within"
# For this transaction only: a connection that goes back to its pool is nobody's.
_WITHIN = f"""
    SELECT set_config('city.scope', %s, true), set_config('city.unit', %s, true), set_config('city.held', %s, true),
           set_config('city.actor', %s, true), set_config('city.incident', %s, true),
           set_config('city.ground', kept_ground(current_setting('city.scope')), true),
           set_config('role', '{ROLE}', true)
"""  # a constant of ours
_held: WeakSet[AsyncConnection[Any]] = WeakSet()


def _settings(reach: Reach) -> tuple[str, str, str, str, str]:
    return (
        reach.scope or "",
        "" if reach.unit_id is None else str(reach.unit_id),
        "yes" if reach.held else "",
        reach.actor,
        "" if reach.incident is None else str(reach.incident),
    )


def within(connection: Connection[Any], reach: Reach) -> None:
    """From here to the transaction's end."""
    if not reach.whole:
        connection.execute(_WITHIN, _settings(reach))


@asynccontextmanager
async def held_to(connection: AsyncConnection[Any], reach: Reach) -> AsyncIterator[None]:
    """The same, around what a transaction does; to be left only at its end."""
    if reach.whole:
        yield
        return
    await connection.execute(_WITHIN, _settings(reach))
    _held.add(connection)
    try:
        yield
    finally:
        _held.discard(connection)


@asynccontextmanager
async def beyond(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """Everything, for these lines; costs nothing where a transaction is not held. Not undone by a failure, which
    ends the transaction."""
    if connection not in _held:
        yield
        return
    await connection.execute("SELECT set_config('role', 'none', true)")
    _held.discard(connection)  # what is called from here need not turn back again
    yield
    _held.add(connection)
    await connection.execute("SELECT set_config('role', %s, true)", (ROLE,))


# What an address names, looked up as its caller. Numbers come as numbers: a text compared would leave the index aside.
_NAMED: Mapping[str, str] = {
    "incident": "SELECT FROM incidents WHERE id = %s::bigint",
    "alarm": "SELECT FROM alarms WHERE id = %s::bigint",
    "order": "SELECT FROM site_orders WHERE id = %s::bigint",
    "task": "SELECT FROM flood_tasks WHERE id = %s::bigint",
    "notification": "SELECT FROM notifications WHERE id = %s::bigint",
    "device": "SELECT FROM devices WHERE code = %s",
    "station": "SELECT FROM devices WHERE code = %s",
    "component": "SELECT FROM components WHERE code = %s",
    "building": "SELECT FROM buildings WHERE code = %s",
    "area": "SELECT FROM areas WHERE code = %s",
    "route": "SELECT FROM patrol_routes WHERE code = %s",
    "report": "SELECT FROM reports WHERE tracking_digest = %s",
    "photo": """
        SELECT FROM photos p WHERE p.digest = %s AND (p.actor = current_setting('city.actor', true)
            OR EXISTS (SELECT FROM photo_uses u WHERE u.digest = p.digest))
    """,
}
THINGS = frozenset(_NAMED)


async def reached(connection: AsyncConnection[Any], thing: str, named: int | str | bytes) -> bool:
    """Whether the caller of this held transaction reaches what the address names."""
    cursor = await connection.execute(_NAMED[thing], (named,))
    return await cursor.fetchone() is not None
