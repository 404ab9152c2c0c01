"""Figures for Prometheus: what the database holds, and what this process knows. docs/metrics.md lists every name.

Answered also while the database does not: then only what this process knows, and ``city_database_up`` 0. Labels are
bounded by tables of ours (routes, loops, reasons, classes); no device, person or address is ever one.
"""

import shutil
import time
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psycopg
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.storage import audit, health, uplink
from city.storage.database import DatabaseError
from command_centre.api.answers import files
from command_centre.api.metrics_log import of_log
from command_centre.api.metrics_uplink import of_uplink
from command_centre.api.services import Services, async_transaction, services

router = APIRouter(tags=["health"])

_TOLD_APART = {"lag_ms"}  # figures of ingest that have a name of their own, in seconds


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    operation_id="metrics",
    response_class=Response,
    responses=files(CONTENT_TYPE_LATEST),
)
async def metrics(request: Request) -> Response:
    """From this machine without log-in, from elsewhere for administrators. docs/metrics.md has every name."""
    here = services(request)
    began = time.perf_counter()
    stored: list[Metric] = []
    up = True
    try:
        async with async_transaction(request) as connection:
            stored = _of_tables(
                await health.ingest(connection),
                await health.figures(connection),
                {**await health.details(connection), **await health.workings(connection)},
            )
            stored += _of_audit((await audit.end(connection)).seq, *await audit.waiting(connection))
            stored += _of_proof(*await audit.last_proof(connection))
            for one in await health.workers(connection):
                stored += _of_worker(one)
            stored += of_log(await health.log_partitions(connection))
            stored += of_uplink(await uplink.line(connection))
    except (DatabaseError, psycopg.OperationalError, PoolTimeout):
        stored, up = [], False
    seconds = time.perf_counter() - began
    disk = await run_in_threadpool(_of_disk, here)
    registry = CollectorRegistry()
    registry.register(_Found([*_merged(stored), *_of_centre(here), *disk, *_of_database(seconds, up=up)]))
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Found:
    """One scrape's figures, as a registry wants them."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        """As they are."""
        return self._found


def gauge(name: str, words: str, value: float, **labels: str) -> Metric:
    """One figure that goes up and down."""
    one = GaugeMetricFamily(f"city_{name}", words, labels=list(labels))
    one.add_metric(list(labels.values()), value)
    return one


def _counter(name: str, words: str, label: str, counted: Iterable[tuple[str, float]]) -> Metric:
    one = CounterMetricFamily(f"city_{name}", words, labels=[label])
    for value, count in counted:
        one.add_metric([value], count)
    return one


def _merged(found: list[Metric]) -> list[Metric]:
    """Families of one name put together: several workers say the same things of themselves."""
    by_name: dict[str, Metric] = {}
    for one in found:
        by_name.setdefault(one.name, one).samples.extend(one.samples if by_name[one.name] is not one else [])
    return list(by_name.values())


# ── from the database ────────────────────────────────────────────────────────────────────────────────


def _of_tables(
    ingest: health.Row | None, figures: dict[str, list[health.Row]], stored: dict[str, Any]
) -> list[Metric]:
    by_class = [(str(row["class"]), row) for row in figures["open"]]
    opened = GaugeMetricFamily("city_incidents_open", "open incidents", labels=["class"])
    lane = GaugeMetricFamily("city_incidents_unassigned", "open incidents without a unit", labels=["class"])
    for name, row in by_class:
        opened.add_metric([name], row["open"])
        lane.add_metric([name], row["unassigned"])
    standing = GaugeMetricFamily("city_alarms_standing", "alarms not cleared", labels=["level"])
    for row in figures["standing"]:
        standing.add_metric([row["level"]], row["standing"])
    messages = GaugeMetricFamily(
        "city_notifications", "messages waiting, and of the last day", labels=["channel", "state"]
    )
    for row in figures["messages"]:
        messages.add_metric([row["channel"], row["state"]], row["counted"])
    refused = [(row["reason"], row["counted"]) for row in figures["refused"]]
    reports = [(row["reason"], row["counted"]) for row in figures["reports_refused"]]
    told: dict[str, Any] = dict(ingest["figures"]) if ingest else {}
    return [
        _counter("quarantined", "messages refused", "reason", refused),
        _counter("reports_refused", "reports and photos turned away", "reason", reports),
        opened,
        lane,
        standing,
        messages,
        *(gauge(name, name.replace("_", " "), value) for name, value in figures["waiting"][0].items()),
        *(
            gauge(
                f"ingest_{name}", f"{name.replace('_', ' ')}, as the ingest heard of last reports it", value
            )
            for name, value in sorted(told.items())
            if isinstance(value, int | float) and name not in _TOLD_APART  # True and False count as 1 and 0
        ),
        *_of_details(stored),
    ]


def _of_details(stored: dict[str, Any]) -> list[Metric]:
    now: datetime = stored["now"]

    def age(of: str) -> float:
        """Seconds since then; 0 when nothing waits."""
        return max(0.0, (now - stored[of]).total_seconds()) if stored[of] is not None else 0.0

    found = [
        gauge(
            "alarms_untriaged_age_seconds", "the longest wait of an alarm for triage", age("untriaged_since")
        ),
        gauge("notifications_unsent", "orders due and not tried yet", stored["unsent"]),
        gauge("notifications_unsent_age_seconds", "the longest such wait", age("unsent_since")),
        gauge("notifications_failed_day", "given up within the last day", stored["failed_today"]),
        gauge("clocks_late", "deadlines that passed and were not acted on yet", stored["clocks_late"]),
        gauge("clocks_late_age_seconds", "how late the latest of them is", age("clocks_late_since")),
        gauge("database_bytes", "size of the database", stored["database_bytes"]),
        gauge("database_connections", "connections of clients", stored["connections"]),
        gauge("database_connections_most", "connections the server allows", stored["connections_most"]),
        gauge("screens_paired", "paired screens that may look", stored["screens_paired"]),
        gauge("screens_away", "of those, not seen for three minutes", stored["screens_away"]),
    ]
    for name, words, since in (
        ("anchor_age_seconds", "since the timelines were anchored", "anchored_at"),
        ("forecast_age_seconds", "since a forecast was issued", "forecast_at"),
        ("backup_age_seconds", "since the newest good backup", "backup_at"),
    ):
        if stored[since] is not None:
            found.append(gauge(name, words, age(since)))
    return found


def _of_audit(chained: int, waiting: int, since: datetime | None) -> list[Metric]:
    waits = (datetime.now(since.tzinfo) - since).total_seconds() if since is not None else 0.0
    return [
        CounterMetricFamily("city_audit_chained", "entries of the audit that are chained", chained),
        gauge("audit_waiting", "entries not chained yet", waiting),
        gauge("audit_waiting_age_seconds", "the longest such wait", max(0.0, waits)),
    ]


def _of_proof(since: datetime | None, faults: int) -> list[Metric]:
    found = [gauge("audit_faults", "places that the newest proof of all chains found changed", faults)]
    if since is not None:
        age = (datetime.now(since.tzinfo) - since).total_seconds()
        found.append(gauge("audit_proved_age_seconds", "since all chains were proved good", max(0.0, age)))
    return found


def _of_worker(row: health.Row) -> list[Metric]:
    """Of each ingest process that was heard of within a day; ``worker`` is its CITY_MQTT_CLIENT_ID."""
    figures: dict[str, Any] = dict(row["figures"])
    return [
        gauge(
            "worker_alive_age_seconds", "since it said that it lives", row["age_s"], worker=row["client_id"]
        ),
        gauge(
            "worker_pending",
            "messages held and not committed",
            figures.get("pending") or 0,
            worker=row["client_id"],
        ),
        gauge(
            "worker_broker_connected",
            "whether the broker answers it",
            float(bool(figures.get("broker_connected"))),
            worker=row["client_id"],
        ),
    ]


def _of_database(seconds: float, *, up: bool) -> list[Metric]:
    return [
        gauge("database_up", "the database answers", up),
        gauge("database_seconds", "what this page's own questions to it took", seconds),
    ]


# ── of this process ──────────────────────────────────────────────────────────────────────────────────


def _of_centre(here: Services) -> list[Metric]:
    hub = here.hub
    failing = here.failing()
    lag = hub.health["lag_s"]
    loops = {**dict.fromkeys(here.restarts(), 0), **dict.fromkeys(failing, 1)}
    failed = GaugeMetricFamily("city_loop_failing", "1 = it fails and is started again", labels=["loop"])
    for name, value in sorted(loops.items()):
        failed.add_metric([name], value)
    found = [
        gauge("build_info", "the version that runs", 1, version=_version()),
        _counter("loop_restarts", "loops started again", "loop", here.restarts().items()),
        failed,
        _counter("screens", "what the hub did", "what", hub.counted.items()),
        gauge("screens_connected", "screens connected now", len(hub.screens)),
        gauge("screens_most", "screens that may be connected", hub.most_screens),
        gauge(
            "screens_unacknowledged_seconds", "what the slowest screen has not said it drew", hub.slowest_s()
        ),
        gauge(
            "ingest_up", "ingest was heard of within ten seconds", hub.health["ingest"] in {"ok", "lagging"}
        ),
        gauge("broker_up", "ingest is connected to the broker", hub.health["broker"] == "ok"),
        gauge("leaving", "1 = a stop was asked for", here.leaving()),
        CounterMetricFamily(
            "city_broker_dropped",
            "messages the broker says it dropped",
            _number(hub.health["broker_dropped"]),
        ),
        *_of_calls(here),
    ]
    if isinstance(lag, int | float):
        found.append(gauge("ingest_lag_seconds", "how long readings wait to be stored", lag))
    return found


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _of_calls(here: Services) -> list[Metric]:
    answered = CounterMetricFamily(
        "city_http_requests", "calls answered, by the route's template", labels=["method", "route", "status"]
    )
    for (method, route, status), count in sorted(here.calls.answered.items()):
        answered.add_metric([method, route, str(status)], count)
    took = HistogramMetricFamily("city_http_request_seconds", "how long calls took", labels=["kind"])
    for kind, timed in (("read", here.calls.reads), ("write", here.calls.writes)):
        took.add_metric([kind], buckets=timed.buckets(), sum_value=timed.sum_s)
    return [answered, took]


def _of_disk(here: Services) -> list[Metric]:
    try:
        usage = shutil.disk_usage(here.settings.data_dir)
    except OSError:
        return []
    return [
        gauge("disk_free_bytes", "room left under CITY_DATA_DIR", usage.free),
        gauge("disk_bytes", "size of that file system", usage.total),
    ]


def _version() -> str:
    try:
        return version("city-command-centre")
    except PackageNotFoundError:
        return ""
