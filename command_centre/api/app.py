"""The HTTP side put together: routers, the gate before them, problems for every failure."""

from functools import cache

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from city.media_hosts import read_hosts
from command_centre.api import (
    alarm_performance,
    alarms,
    audit,
    backtest,
    board,
    bulk,
    calendar,
    cap,
    catalogue,
    cells,
    city,
    clocks,
    components,
    credentials,
    device_health,
    device_rules,
    devices,
    directory,
    dispatch,
    docs,
    drills,
    exports,
    facilities,
    field,
    flood,
    geojson,
    ground,
    handover,
    health,
    health_details,
    incidents,
    intake,
    labels,
    links,
    media,
    metrics,
    my_account,
    notifications,
    oidc,
    open311,
    orders_below,
    pages,
    patrol,
    patrol_checks,
    permissions,
    persons,
    photos,
    problem,
    quarantine,
    register_devices,
    register_import,
    register_papers,
    register_units,
    report_choices,
    report_desk,
    reports,
    requests,
    responsibilities,
    responsibility_sheets,
    rosters,
    rule_kinds,
    rules,
    runbooks,
    screens,
    second_factor,
    sensorthings,
    session,
    stations,
    tokens,
    tracking,
    users,
    wall,
)
from command_centre.api.allowances import Addresses, Allowances
from command_centre.api.bodies import Bodies
from command_centre.api.gate import Gate
from command_centre.api.headers import Headers
from command_centre.api.reaching import held
from command_centre.api.screen import socket
from command_centre.api.services import Services
from command_centre.api.witness import Witness
from command_centre.known_directory import KnownDirectory
from command_centre.media import Media
from command_centre.oidc import Provider

ROUTERS = (
    health.router,
    health_details.router,
    metrics.router,
    session.router,
    my_account.router,
    second_factor.router,
    oidc.router,
    users.router,
    tokens.router,
    permissions.router,
    audit.router,
    screens.router,
    cells.router,
    wall.router,
    city.router,
    register_devices.router,
    credentials.router,
    geojson.router,
    exports.router,
    devices.router,
    device_health.router,
    device_health.of_devices,
    device_rules.router,
    stations.router,
    sensorthings.router,
    alarms.router,
    media.router,
    alarm_performance.router,
    board.router,
    handover.router,
    incidents.router,
    bulk.router,
    notifications.router,
    clocks.router,
    calendar.router,
    links.router,
    requests.router,
    field.router,
    orders_below.router,
    patrol.router,
    patrol_checks.router,
    open311.router,
    open311.keys_router,
    report_choices.router,
    reports.router,
    report_desk.router,
    report_desk.of_incidents,
    tracking.router,
    photos.router,
    persons.router,
    intake.router,
    drills.router,
    directory.router,
    register_units.router,
    register_import.router,
    ground.router,
    dispatch.router,
    rosters.router,
    catalogue.router,
    facilities.router,
    components.router,
    register_papers.router,
    labels.router,
    responsibilities.router,
    responsibility_sheets.router,
    rule_kinds.router,
    backtest.router,  # before a rule of that name
    rules.router,
    quarantine.router,
    flood.router,
    cap.router,
    docs.router,
    runbooks.router,
    pages.router,
    socket.router,
)


# Nothing is measured for, or sent to, anybody else, whatever the environment says.
SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def routes() -> FastAPI:
    """The routes alone, as the API's description is made from them."""
    app = _bare()
    app.router.routes = _table()
    problem.install(app)
    return app


@cache
def _table() -> list[BaseRoute]:
    """Every route. It depends on nothing but this file, and costs half a second: it is worked out with the first
    request, and kept for every application that this process makes.
    """
    app = _bare()
    for router in ROUTERS:
        # The screens' own door looks at its guests itself: command_centre.api.screen.admission.
        app.include_router(router, dependencies=[] if router is socket.router else [Depends(held)])
    return app.router.routes


def _bare() -> FastAPI:
    return FastAPI(
        title="City command centre",
        version="1",
        description="Incidents, alarms, devices and stations of one district. Errors are RFC 9457 problems.",
        openapi_url=None,  # served behind the gate, see docs
        docs_url=None,  # the framework's own page loads from another host
        redoc_url=None,
        redirect_slashes=False,
        telemetry=SILENT,
        responses={"default": {"description": "A problem (RFC 9457)", "content": {problem.MEDIA_TYPE: {}}}},
    )


def create(services: Services) -> ASGIApp:
    """Everything a server needs; the services are made and ended by the caller."""
    app = routes()
    app.state.services = services
    app.state.door = session.Door()
    app.state.provider = Provider(services.settings)
    app.state.wall = wall.Kept()
    app.state.media = Media(services.settings.media_folder, read_hosts(services.settings.media_hosts))
    app.state.directory = KnownDirectory(services.settings.zone, services.settings.urge_after)
    gate = Gate(
        Allowances(
            Bodies(Witness(app, pool=services.async_pool), seconds=services.settings.body_seconds),
            pool=services.async_pool,
            at_once=services.settings.requests_at_once,
        ),
        pool=services.pool,
        token=services.token,
        settings=services.settings,
    )
    at_the_door = Addresses(gate, at_once=services.settings.requests_at_once)
    return Headers(GZipMiddleware(at_the_door, minimum_size=2048))
