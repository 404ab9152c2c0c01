"""Is it alive, is it ready, and how is it doing: for supervisors and for Prometheus."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.storage import health
from city.storage.database import DatabaseError
from command_centre.api.answers import answer
from command_centre.api.services import Services, async_transaction, services

router = APIRouter(tags=["health"])

LONGEST_LAG_S = 30.0  # readings older than this on arrival at the rules: not ready to promise a second


@router.get("/healthz", summary="Alive", operation_id="healthz")
async def healthz() -> Response:
    """200 while the process answers; says nothing about what it depends on."""
    return answer({"status": "ok"})


@router.get("/readyz", summary="Ready", operation_id="readyz")
async def readyz(request: Request) -> Response:
    """200 when a reading would become an incident on a screen now, else 503 with what is missing."""
    here = services(request)
    checks = {
        "database": here.hub.health["database"],
        "migrations": await _migrations(here),
        "ingest": here.hub.health["ingest"],
        "broker": here.hub.health["broker"],
        "screens": "ok" if here.hub.loaded else "loading",
        "loops": "ok" if not here.failing() else "failing",
    }
    lag = here.hub.health["lag_s"]
    slow = isinstance(lag, float) and lag > LONGEST_LAG_S
    # Lagging a little is said and does not take the centre out of service: the backlog is being worked off.
    ready = all(state == "ok" or (name == "ingest" and state == "lagging") for name, state in checks.items())
    body = {"ready": ready and not slow, "checks": checks, "lag_s": lag, "failing": here.failing()}
    return answer(body, 200 if body["ready"] else 503)


async def _migrations(here: Services) -> str:
    try:
        missing = await run_in_threadpool(here.missing_migrations)
    except DatabaseError:
        return "unknown"
    return "ok" if not missing else "missing " + ", ".join(missing)


@router.get("/metrics", summary="Figures for Prometheus", operation_id="metrics")
async def metrics(request: Request) -> Response:
    """From this machine without log-in, from elsewhere for administrators."""
    async with async_transaction(request) as connection:
        ingest = await health.ingest(connection)
        figures = await health.figures(connection)
    registry = CollectorRegistry()
    registry.register(_Figures(services(request), ingest, figures))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Figures:
    """One scrape's figures; device ids are never labels."""

    def __init__(
        self, here: Services, ingest: health.Row | None, figures: dict[str, list[health.Row]]
    ) -> None:
        self._here = here
        self._ingest: dict[str, Any] = dict(ingest["figures"]) if ingest else {}
        self._figures = figures

    def collect(self) -> list[Metric]:
        """Everything, freshly built."""
        return [*self._of_ingest(), *self._of_tables(), *self._of_centre()]

    def _of_ingest(self) -> list[Metric]:
        found: list[Metric] = []
        for name, value in sorted(self._ingest.items()):
            if isinstance(value, int | float):  # True and False count as 1 and 0
                found.append(GaugeMetricFamily(f"city_ingest_{name}", f"{name} as ingest reports it", value))
        return found

    def _of_tables(self) -> list[Metric]:
        refused = CounterMetricFamily("city_quarantined", "messages refused", labels=["reason"])
        for row in self._figures["refused"]:
            refused.add_metric([row["reason"]], row["counted"])
        reports = CounterMetricFamily(
            "city_reports_refused", "reports and photos turned away", labels=["reason"]
        )
        for row in self._figures["reports_refused"]:
            reports.add_metric([row["reason"]], row["counted"])
        opened = GaugeMetricFamily("city_incidents_open", "open incidents", labels=["class"])
        lane = GaugeMetricFamily("city_incidents_unassigned", "without a unit", labels=["class"])
        for row in self._figures["open"]:
            opened.add_metric([row["class"]], row["open"])
            lane.add_metric([row["class"]], row["unassigned"])
        standing = GaugeMetricFamily("city_alarms_standing", "alarms not cleared", labels=["level"])
        for row in self._figures["standing"]:
            standing.add_metric([row["level"]], row["standing"])
        waiting = [
            GaugeMetricFamily(f"city_{name}", name.replace("_", " "), value)
            for name, value in self._figures["waiting"][0].items()
        ]
        messages = GaugeMetricFamily(
            "city_notifications", "messages waiting, and of the last day", labels=["channel", "state"]
        )
        for row in self._figures["messages"]:
            messages.add_metric([row["channel"], row["state"]], row["counted"])
        return [refused, reports, opened, lane, standing, messages, *waiting]

    def _of_centre(self) -> list[Metric]:
        hub = self._here.hub
        restarts = CounterMetricFamily("city_loop_restarts", "loops started again", labels=["loop"])
        for name, count in self._here.restarts().items():
            restarts.add_metric([name], count)
        counted = CounterMetricFamily("city_screens", "what the hub did", labels=["what"])
        for what, count in hub.counted.items():
            counted.add_metric([what], count)
        return [
            restarts,
            counted,
            GaugeMetricFamily("city_screens_connected", "screens connected now", len(hub.screens)),
            GaugeMetricFamily("city_database_up", "the database answers", hub.health["database"] == "ok"),
        ]
