"""Is it alive, and is it ready: for supervisors, for balancers and for whoever waits for a start."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.storage.database import DatabaseError
from command_centre.api.answers import answer, gives
from command_centre.api.services import Services, services
from command_centre.api.shapes.health import Readiness

router = APIRouter(tags=["health"])

OWN = ("database", "migrations", "screens", "stopping")
LONGEST_LAG_S = 30.0  # readings older than this on arrival at the rules: not ready to promise a second


@router.get("/healthz", summary="Alive", operation_id="healthz")
async def healthz() -> Response:
    """200 while the process answers; says nothing about what it depends on."""
    return answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="Ready",
    operation_id="readyz",
    responses=gives(Readiness) | gives(Readiness, 503, "not ready, and why"),
)
async def readyz(
    request: Request,
    own: Annotated[bool, Query(description="only what another centre may do better")] = False,
) -> Response:
    """200 when a reading would become an incident on a screen now, else 503 with what is missing.

    `failing` names loops; why they fail is said to people who have logged in (`GET /api/health/details`).
    With `own=true` for a balancer of several centres: what is wrong with all of them alike (ingest, the broker, a
    loop's receiver) takes none of them out of service.
    """
    here = services(request)
    checks = {
        "database": here.hub.health["database"],
        "migrations": await _migrations(here),
        "ingest": here.hub.health["ingest"],
        "broker": here.hub.health["broker"],
        "screens": "ok" if here.hub.loaded else "loading",
        "loops": "ok" if not here.failing() else "failing",
        "stopping": "ok" if not here.leaving() else "stopping",
    }
    lag = here.hub.health["lag_s"]
    slow = isinstance(lag, float) and lag > LONGEST_LAG_S
    # Lagging a little is said and does not take the centre out of service: the backlog is being worked off.
    counted = OWN if own else checks.keys()
    ready = all(checks[name] == "ok" or (name == "ingest" and checks[name] == "lagging") for name in counted)
    ready = ready and (own or not slow)
    body = {"ready": ready, "checks": checks, "lag_s": lag, "failing": sorted(here.failing())}
    return answer(body, 200 if body["ready"] else 503)


async def _migrations(here: Services) -> str:
    try:
        missing = await run_in_threadpool(here.missing_migrations)
    except DatabaseError:
        return "unknown"
    return "ok" if not missing else "missing " + ", ".join(missing)
