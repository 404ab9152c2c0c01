"""The centre's process: one event loop with the HTTP side, the screens, and the loops that run incidents."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
import uvicorn
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from starlette.types import ASGIApp

from city.errors import CityError
from city.settings import Settings
from city.storage import migrate
from city.storage.database import DatabaseError, connection_arguments
from command_centre import (
    alarm_life_loop,
    anchoring,
    deadlines_loop,
    device_health_loop,
    orders_loop,
    outbox,
    signs_loop,
    triage_loop,
    upkeep,
)
from command_centre.api.app import create
from command_centre.api.screen.hub import Hub
from command_centre.api.screen.sender import ScreenProtocol
from command_centre.api.services import Services
from command_centre.backtest_jobs import Jobs
from command_centre.flood import desk_loop, forecasting
from command_centre.flood.desk import known_defaults
from command_centre.supervision import Supervision

SCHEMA_PATIENCE_S = 120.0
LOOPS_PATIENCE_S = 1.0  # after a stop; the server's own second runs before it
_log = structlog.get_logger(__name__)


class CentreError(CityError):
    """The centre cannot start; says what is in the way."""


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns 0. Raises CityError when it cannot start."""
    if not settings.database_url:
        raise CentreError("CITY_DATABASE_URL: is empty; `city up` brings a database, this needs one")
    token = settings.token()
    known_defaults(settings.config)  # a wrong flood.toml is said now, not in the flood
    listener = listen(settings.http_host, settings.http_port, shared=settings.centres > 1)
    with listener:
        wait_for_schema(settings.database_url)
        asyncio.run(_until_signal(settings, token, listener))
    return 0


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """The listening socket, taken before anything else is started; raises CentreError when it is taken.

    ``shared``: with other centres of ours, each with a socket of its own; the kernel spreads what connects.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio sets TCP_NODELAY on what it accepts: without it every answer waits 40 ms
    # for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:  # not always: a second centre started by mistake shall be told that the port is taken
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CentreError(
            f"CITY_HTTP_PORT = {port}: cannot listen on {host} ({error.strerror}); "
            "stop whoever has it, or choose another port"
        ) from error
    return listener


def wait_for_schema(url: str, patience_s: float = SCHEMA_PATIENCE_S) -> None:
    """Until every migration is there; the centre migrates nothing. Raises CentreError after a while."""
    deadline = time.monotonic() + patience_s
    said = ""
    while True:
        try:
            missing = migrate.missing(url)
            trouble = f"the schema lacks {', '.join(missing)}; run `city migrate`" if missing else ""
        except DatabaseError as error:
            trouble = str(error)
        if not trouble:
            return
        if time.monotonic() >= deadline:
            raise CentreError(f"after {patience_s:.0f} s still: {trouble}")
        if trouble != said:
            _log.info("waiting for the database", why=trouble)
            said = trouble
        time.sleep(0.25)


async def _until_signal(settings: Settings, token: str | None, listener: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, token, listener, stop)


async def serve(settings: Settings, token: str | None, listener: socket.socket, stop: asyncio.Event) -> None:
    """Run everything on ``listener`` until ``stop``; leaves nothing behind."""
    url = settings.database_url
    supervision = Supervision(stop)
    async with _pools(url) as (pool, screen_pool, async_pool):
        hub = Hub(url, screen_pool)
        services = Services(
            settings=settings,
            token=token,
            pool=pool,
            async_pool=async_pool,
            hub=hub,
            restarts=lambda: supervision.restarts,
            failing=lambda: supervision.failing,
            missing_migrations=lambda: migrate.missing(url),
            backtests=Jobs(async_pool.connection),
        )
        for name, work in (
            ("screens tick", hub.tick),
            ("screens listen", hub.feed.listen),
            ("screens follow", hub.feed.follow),
            ("screens look", hub.feed.look),
            ("triage", _of(triage_loop.run, settings)),
            ("outbox", _of(outbox.run, settings)),
            ("signs", _of(signs_loop.run, settings)),
            ("anchors", _of(anchoring.run, settings)),
            ("deadlines", _of(deadlines_loop.run, settings)),
            ("orders", _of(orders_loop.run, settings)),
            ("alarm life", _of(alarm_life_loop.run, settings)),
            ("upkeep", _of(upkeep.run, settings)),
            ("device health", _of(device_health_loop.run, settings)),
            ("flood desk", _of(desk_loop.run, settings)),
            ("forecasts", _of(forecasting.run, settings)),
        ):
            supervision.start(name, work)
        try:
            await _http(create(services), settings, listener, stop)
        finally:
            stop.set()
            await services.backtests.close()
            await supervision.ended(LOOPS_PATIENCE_S)


def _of(
    run_loop: Callable[[str, Settings, asyncio.Event], Awaitable[None]], settings: Settings
) -> Callable[[asyncio.Event], Awaitable[None]]:
    return lambda stop: run_loop(settings.database_url, settings, stop)


async def _http(app: ASGIApp, settings: Settings, listener: socket.socket, stop: asyncio.Event) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,  # city.logs has set it up
            access_log=False,
            ws=ScreenProtocol,
            ws_per_message_deflate=False,  # on a LAN it costs more than it saves
            ws_max_size=4096,  # screens say nothing but acknowledgements
            timeout_graceful_shutdown=1,
            server_header=False,
            forwarded_allow_ips=settings.trusted_proxies,  # whose word counts for who is asking
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the process's business, not the server's."""

    @contextmanager
    def capture_signals(self) -> Any:
        yield


Pools = tuple[
    ConnectionPool[Connection[Any]],
    AsyncConnectionPool[AsyncConnection[Any]],
    AsyncConnectionPool[AsyncConnection[Any]],
]


@asynccontextmanager
async def _pools(url: str) -> AsyncIterator[Pools]:
    """For routes in threads, for the screens' loops, for routes that wait without a thread."""
    routes: dict[str, Any] = connection_arguments("city centre")
    screens: dict[str, Any] = {**connection_arguments("city centre screens"), "autocommit": True}
    with ConnectionPool[Connection[Any]](
        url,
        kwargs=routes,
        min_size=1,
        max_size=8,
        timeout=5,
        check=ConnectionPool.check_connection,
        open=True,
    ) as pool:
        async with (
            AsyncConnectionPool[AsyncConnection[Any]](
                url, kwargs=screens, min_size=2, max_size=3, timeout=5, open=False
            ) as screen_pool,
            AsyncConnectionPool[AsyncConnection[Any]](
                url,
                kwargs={**routes, "autocommit": True},
                min_size=1,
                max_size=8,
                timeout=5,
                check=AsyncConnectionPool.check_connection,
                open=False,
            ) as async_pool,
        ):
            yield pool, screen_pool, async_pool
