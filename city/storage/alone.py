"""What one centre of several does at a time. The right to it is an advisory lock of a connection, and ends with it.

A process that dies loses its connections at once, a machine that vanishes within 11 s (the server's keepalives). A
process that stands still keeps them: who would like to have the right ends the holder's connection when nothing was
said on it for ``QUIET_S``, and what goes on later finds its line cut before it writes anything. So holders say
something every ``TOUCH_S``.
"""

from enum import IntEnum
from typing import Any

import structlog
from psycopg import AsyncConnection

Connection = AsyncConnection[Any]

QUIET_S = 20.0
TOUCH_S = 5.0

_QUIET_HOLDERS = """
    SELECT a.application_name, pg_terminate_backend(a.pid)
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = %s AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (a.state LIKE 'idle%%' OR a.wait_event = 'ClientWrite')  -- or it does not read the answer
      AND a.state_change < clock_timestamp() - make_interval(secs => %s)
"""
_log = structlog.get_logger(__name__)


class Right(IntEnum):
    """The number of the advisory lock, the same in every release."""

    CLEAN = 7235_0010
    LOOK_AT_DEVICES = 7235_0026
    SPEAK_TO_SIGNS = 7235_0027
    HEAR_BROKER = 7235_0029
    FORECAST = 7235_0040


async def try_alone(connection: Connection, right: Right, *, quiet_s: float = QUIET_S) -> bool:
    """Whether this connection has the right now, until ``give_up`` or its end. False also while it is being freed."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (int(right),))
    row = await cursor.fetchone()
    if row is not None and row[0]:
        return True
    ended = await connection.execute(_QUIET_HOLDERS, (int(right), quiet_s))
    for application, _ in await ended.fetchall():
        _log.warning(
            "a centre stands still; what it alone did goes to another", right=right.name, of=application
        )
    return False


async def touch(connection: Connection) -> None:
    """Still here. Raises when the connection is gone, and the right with it."""
    await connection.execute("SELECT 1")


async def give_up(connection: Connection, right: Right) -> None:
    """Let another centre have it."""
    await connection.execute("SELECT pg_advisory_unlock(%s)", (int(right),))
