"""The centre's connections: for routes in threads, for the screens' loops, for routes that wait without a thread."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from city.storage.database import connection_arguments
from city.storage.lines import PatientAsyncConnection, PatientConnection, check, check_async

POOLS_PATIENCE_S = 0.5
# Psycopg's pools wait twice as long after each attempt and would sleep for minutes when an outage ends; having given
# up, they try anew with the next who asks, and somebody asks each second.
RECONNECT_S = 3.0

Pools = tuple[
    ConnectionPool[Connection[Any]],
    AsyncConnectionPool[AsyncConnection[Any]],
    AsyncConnectionPool[AsyncConnection[Any]],
]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Pools]:
    """In the order of the module's first line, closed at the end."""
    routes: dict[str, Any] = connection_arguments("city centre")
    screens: dict[str, Any] = {**connection_arguments("city centre screens"), "autocommit": True}
    common: dict[str, Any] = {"timeout": 5, "reconnect_timeout": RECONNECT_S, "open": False}
    in_loop: dict[str, Any] = {**common, "connection_class": PatientAsyncConnection}
    pool = ConnectionPool[Connection[Any]](
        url,
        kwargs=routes,
        min_size=1,
        max_size=8,
        check=check,
        connection_class=PatientConnection,
        **common,
    )
    screen_pool = AsyncConnectionPool[AsyncConnection[Any]](
        url, kwargs=screens, min_size=2, max_size=3, **in_loop
    )
    async_pool = AsyncConnectionPool[AsyncConnection[Any]](
        url, kwargs={**routes, "autocommit": True}, min_size=1, max_size=8, check=check_async, **in_loop
    )
    pool.open()
    try:
        await screen_pool.open()
        await async_pool.open()
        yield pool, screen_pool, async_pool
    finally:
        await asyncio.gather(screen_pool.close(POOLS_PATIENCE_S), async_pool.close(POOLS_PATIENCE_S))
        pool.close(POOLS_PATIENCE_S)
