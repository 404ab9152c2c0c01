"""The centre's process: one event loop with the HTTP side, the screens, and the loops that run incidents."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.types import ASGIApp

from city import districts
from city.errors import CityError
from city.service_manager import SILENT, ServiceManager
from city.settings import Settings
from city.stopping import on_signals
from city.storage import migrate
from city.storage.database import DatabaseError
from command_centre import (
    alarm_life_loop,
    anchoring,
    broker_files,
    broker_watch,
    data_keys,
    deadlines_loop,
    device_health_loop,
    orders_loop,
    outbox,
    pools,
    sealing,
    signs_loop,
    triage_loop,
    upkeep,
)
from command_centre.api.app import create
from command_centre.api.screen.hub import Hub
from command_centre.api.screen.parting import see_off
from command_centre.api.screen.sender import ScreenProtocol
from command_centre.api.services import Services
from command_centre.api.tracing import Traced
from command_centre.backtest_jobs import Jobs
from command_centre.city_watch import CityWatch
from command_centre.flood import desk_loop, forecasting
from command_centre.flood.desk import known_defaults
from command_centre.leaving import Leaving
from command_centre.presence import Presence
from command_centre.readiness import Migrations
from command_centre.supervision import Loop, Supervision
from command_centre.waking import rest

SCHEMA_PATIENCE_S = 120.0
LOOPS_PATIENCE_S = 1.0  # after a stop; the server's own second runs before it
_log = structlog.get_logger(__name__)


class CentreError(CityError):
    """The centre cannot start; says what is in the way."""


def run(settings: Settings, manager: ServiceManager = SILENT) -> int:
    """Serve until SIGTERM or SIGINT; returns 0. Raises CityError when it cannot start.

    ``manager`` is told that we are ready, alive and stopping.
    """
    if not settings.database_url:
        raise CentreError("CITY_DATABASE_URL: is empty; `city up` brings a database, this needs one")
    token = settings.token()
    if settings.districts:
        districts.read(settings.districts)  # so is a wrong file of districts
    known_defaults(settings.config)  # a wrong flood.toml is said now, not in the flood
    listener = listen(settings.http_host, settings.http_port, shared=settings.centres > 1)
    with listener:
        wait_for_schema(settings.database_url)
        data_keys.agree(settings.database_url, settings.keys)
        asyncio.run(_until_signal(settings, token, listener, manager))
    return 0


def listen(host: str, port: int, *, shared: bool = False, variable: str = "CITY_HTTP_PORT") -> socket.socket:
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
            f"{variable} = {port}: cannot listen on {host} ({error.strerror}); "
            "stop whoever has it, or choose another port"
        ) from error
    return listener


@contextmanager
def figures_listener(settings: Settings) -> Iterator[list[socket.socket]]:
    """A door of this process alone, for Prometheus where several centres share one port; none when it is 0."""
    if not settings.metrics_port:
        yield []
        return
    with listen(settings.metrics_host, settings.metrics_port, variable="CITY_METRICS_PORT") as listener:
        yield [listener]


def wait_for_schema(url: str, patience_s: float = SCHEMA_PATIENCE_S) -> None:
    """Until every migration is there; the centre migrates nothing. Raises CentreError after a while."""
    deadline = time.monotonic() + patience_s
    said = ""
    while True:
        try:
            missing = migrate.missing(url)
            trouble = f"the schema lacks {', '.join(missing)}; run `city migrate`" if missing else ""
        except DatabaseError as error:
            if not error.retry:
                raise
            trouble = str(error)
        if not trouble:
            return
        if time.monotonic() >= deadline:
            raise CentreError(f"after {patience_s:.0f} s still: {trouble}")
        if trouble != said:
            _log.info("waiting for the database", why=trouble)
            said = trouble
        time.sleep(0.25)


async def _until_signal(
    settings: Settings, token: str | None, listener: socket.socket, manager: ServiceManager
) -> None:
    stop = asyncio.Event()
    leaving = Leaving(stop, drain_s=settings.drain_s, manager=manager)
    loop = asyncio.get_running_loop()

    def ask() -> None:
        loop.call_soon_threadsafe(leaving.ask)

    on_signals(ask, drain_s=settings.drain_s)
    watching = asyncio.create_task(_watch(manager, stop))
    try:
        await serve(settings, token, listener, stop, leaving=leaving)
    finally:
        watching.cancel()


async def _watch(manager: ServiceManager, stop: asyncio.Event) -> None:
    """That the loop which answers still goes round; a process that answers from its threads alone is no use."""
    manager.ready()
    while not stop.is_set():
        manager.watched()
        await rest(stop, 1.0)


async def serve(
    settings: Settings,
    token: str | None,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    leaving: Leaving | None = None,
) -> None:
    """Run everything on ``listener`` until ``stop``; leaves nothing behind."""
    leaving = leaving or Leaving(stop, drain_s=0)
    url = settings.database_url
    supervision = Supervision(stop)
    presence = Presence(leaving=leaving.asked)
    async with pools.opened(url) as (pool, screen_pool, async_pool):
        hub = Hub(url, screen_pool)
        services = Services(
            settings=settings,
            token=token,
            pool=pool,
            async_pool=async_pool,
            hub=hub,
            restarts=lambda: supervision.restarts,
            failing=lambda: supervision.failing,
            missing_migrations=Migrations(pool),
            backtests=Jobs(async_pool.connection),
            leaving=leaving.asked,
            city=CityWatch(districts.read(settings.districts)) if settings.districts else None,
        )
        if services.city is not None:
            supervision.start("districts", services.city.run)
        for name, work in (
            *_of_screens(hub, leaving, screen_pool, presence),
            *_of_district(settings, presence),
        ):
            supervision.start(name, work)
        try:
            app = Traced(create(services), calls=services.calls, trusted=settings.trusted_proxies)
            with figures_listener(settings) as more:
                await _http(app, [listener, *more], stop)
        finally:
            stop.set()
            await services.backtests.close()
            await supervision.ended(LOOPS_PATIENCE_S)


def _of_screens(
    hub: Hub, leaving: Leaving, pool: AsyncConnectionPool[AsyncConnection[Any]], presence: Presence
) -> tuple[tuple[str, Loop], ...]:
    return (
        ("screens tick", hub.tick),
        ("screens listen", hub.feed.listen),
        ("screens follow", hub.feed.follow),
        ("screens look", hub.feed.look),
        ("screens leave", lambda stop: see_off(hub, leaving, pool, presence.id, stop)),
    )


def _of_district(settings: Settings, presence: Presence) -> tuple[tuple[str, Loop], ...]:
    return (
        ("presence", _of(presence.run, settings)),
        ("triage", _of(triage_loop.run, settings)),
        ("outbox", _of(outbox.run, settings)),
        ("signs", _of(signs_loop.run, settings)),
        ("broker files", _of(broker_files.run, settings)),
        ("broker watch", _of(broker_watch.run, settings)),
        ("anchors", _of(anchoring.run, settings)),
        ("audit", _of(sealing.run, settings)),
        ("deadlines", _of(deadlines_loop.run, settings)),
        ("orders", _of(orders_loop.run, settings)),
        ("alarm life", _of(alarm_life_loop.run, settings)),
        ("upkeep", lambda stop: upkeep.run(settings.database_url, settings, stop, presence)),
        ("device health", _of(device_health_loop.run, settings)),
        ("flood desk", _of(desk_loop.run, settings)),
        ("forecasts", _of(forecasting.run, settings)),
    )


def _of(
    run_loop: Callable[[str, Settings, asyncio.Event], Awaitable[None]], settings: Settings
) -> Callable[[asyncio.Event], Awaitable[None]]:
    return lambda stop: run_loop(settings.database_url, settings, stop)


async def _http(app: ASGIApp, listeners: list[socket.socket], stop: asyncio.Event) -> None:
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
            proxy_headers=False,  # Traced reads them: it also asks whose word on a call's id counts
        )
    )
    serving = asyncio.create_task(server.serve(sockets=listeners))
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
