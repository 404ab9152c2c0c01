"""The page of the truth about ourselves: every check with what to do, the worst first."""

import shutil
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Request
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import health, uplink
from city.storage.database import DatabaseError
from command_centre.api.answers import answer, gives
from command_centre.api.services import Services, async_transaction, services
from command_centre.health_checks import RUNBOOKS, Figures, Finding, findings

router = APIRouter(prefix="/api", tags=["health"])


class HealthFinding(TypedDict):
    """``state`` is fail, warn or ok; ``runbook`` the address of a page, empty where all is well or there is none."""

    check: str
    state: str
    text: str
    text_zh: str
    remedy: str
    remedy_zh: str
    runbook: str


class LoopRestarts(TypedDict):
    loop: str
    restarts: int
    failing: str | None


class MessagesCounted(TypedDict):
    channel: str
    state: str
    counted: int


class HealthDetails(TypedDict):
    """``messages``: waiting, and of the last day."""

    at: str
    version: str
    items: list[HealthFinding]
    loops: list[LoopRestarts]
    messages: list[MessagesCounted]
    next: str | None


@router.get(
    "/health/details",
    summary="How the system is, in words",
    operation_id="health_details",
    responses=gives(HealthDetails),
)
async def health_details(request: Request) -> Response:
    """What is abnormal first, each with what to do about it. Answers also while the database does not."""
    here = services(request)
    stored: dict[str, Any] = {}
    messages: list[health.Row] = []
    missing: list[str] = []
    try:
        async with async_transaction(request) as connection:
            stored = await health.details(connection)
            messages = (await health.figures(connection))["messages"]
            ingest = await health.ingest(connection)
            line = await uplink.line(connection)
        missing = await run_in_threadpool(here.missing_migrations)
    except (DatabaseError, OperationalError, PoolTimeout):
        ingest = line = None
    figures = Figures(
        **{"now": datetime.now(UTC), **stored},
        **_of_hub(here, ingest, up=bool(stored)),
        uplink=line,
        missing_migrations=missing,
        failing=here.failing(),
        restarts=here.restarts(),
        free_bytes=await run_in_threadpool(_free, here),
        backup_most=timedelta(hours=here.settings.backup_max_age_hours),
    )
    failing = here.failing()
    names = sorted({*here.restarts(), *failing})
    return answer(
        {
            "at": figures.now,
            "version": _version(),
            "items": [_shown(one) for one in findings(figures)],
            "loops": [
                {"loop": name, "restarts": here.restarts().get(name, 0), "failing": failing.get(name)}
                for name in names
            ],
            "messages": messages,
            "next": None,
        }
    )


def _shown(one: Finding) -> dict[str, Any]:
    page = RUNBOOKS.get(one.check, "") if one.state != "ok" else ""
    return {**asdict(one), "runbook": f"/runbooks/{page}" if page else ""}


def _of_hub(here: Services, ingest: health.Row | None, *, up: bool) -> dict[str, Any]:
    """What the screens' own hub knows: the very words that stand in the wall's head line."""
    known = here.hub.health
    told = ingest["figures"] if ingest else {}
    return {
        "database": known["database"] if up else "down",
        "ingest": known["ingest"],
        "ingest_seen_at": known["ingest_seen_at"],
        "lag_s": known["lag_s"],
        "pending": int(told.get("pending") or 0),
        "broker": known["broker"],
        "broker_refusal": str(told.get("broker_refusal") or ""),
        "broker_dropped": known["broker_dropped"],
        "refused_last_hour": known["quarantined_1h"],
        "unclaimed": int(told.get("unclaimed") or 0),
        "disk": str(told.get("disk") or "ok"),
        "database_free_bytes": int(told["disk_free_bytes"]) if "disk_free_bytes" in told else None,
        "screens": len(here.hub.screens),
        "screens_most": here.hub.most_screens,
    }


def _free(here: Services) -> int | None:
    try:
        return shutil.disk_usage(here.settings.data_dir).free
    except OSError:
        return None


def _version() -> str:
    try:
        return version("city-command-centre")
    except PackageNotFoundError:
        return ""
