"""What the routes work with, made once in ``command_centre.main`` and found at ``request.app.state.services``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from starlette.requests import Request

from city.settings import Settings
from city.storage.database import translated
from command_centre.api.screen.hub import Hub

Pool = ConnectionPool[Connection[Any]]
AsyncPool = AsyncConnectionPool[AsyncConnection[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """``restarts`` tells how often each supervised loop was started again, by its name."""

    settings: Settings
    pool: Pool
    async_pool: AsyncPool
    hub: Hub
    restarts: Callable[[], dict[str, int]]
    missing_migrations: Callable[[], list[str]]


def services(request: Request) -> Services:
    """A dependency of routes."""
    found: Services = request.app.state.services
    return found


@contextmanager
def transaction(request: Request) -> Iterator[Connection[Any]]:
    """A connection whose work is committed at the end, or undone by an exception; errors come translated."""
    with translated(), services(request).pool.connection() as connection:
        yield connection
