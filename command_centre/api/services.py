"""What the routes work with: made once in ``command_centre.main``, found in the application's state."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from starlette.requests import Request

from city.settings import Settings
from city.storage import reach
from city.storage.database import translated
from command_centre.api.screen.hub import Hub
from command_centre.backtest_jobs import Jobs
from command_centre.calls import Calls
from command_centre.city_watch import CityWatch
from command_centre.known_directory import KnownDirectory

Pool = ConnectionPool[Connection[Any]]
AsyncPool = AsyncConnectionPool[AsyncConnection[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """``token`` is the administrator's bearer token, if there is one.

    ``restarts`` tells how often each supervised loop was started again, ``failing`` why those fail that do.
    """

    settings: Settings
    token: str | None
    pool: Pool
    async_pool: AsyncPool
    hub: Hub
    restarts: Callable[[], Mapping[str, int]]
    failing: Callable[[], Mapping[str, str]]
    missing_migrations: Callable[[], list[str]]
    backtests: Jobs
    calls: Calls = field(default_factory=Calls)
    city: CityWatch | None = None  # where several districts are looked at from here
    leaving: Callable[[], bool] = lambda: False  # a stop was asked for: no new callers, please


def services(request: Request) -> Services:
    """A dependency of routes."""
    found: Services = request.app.state.services
    return found


def known_directory(request: Request) -> KnownDirectory:
    """The directory of dispatch as this process keeps it. Ask it before a transaction writes: it remembers."""
    found: KnownDirectory = request.app.state.directory
    return found


@contextmanager
def transaction(request: Request) -> Iterator[Connection[Any]]:
    """A connection whose work is committed at the end, or undone by an exception; errors come translated.

    It shows and takes what the caller of this request reaches, see ``city.storage.reach``.
    """
    with translated(), services(request).pool.connection() as connection:
        reach.within(connection, request.state.reach)
        yield connection


@asynccontextmanager
async def async_transaction(request: Request) -> AsyncIterator[AsyncConnection[Any]]:
    """The same for routes that wait without a thread."""
    with translated():
        async with (
            services(request).async_pool.connection() as connection,
            connection.transaction(),
            reach.held_to(connection, request.state.reach),
        ):
            yield connection
