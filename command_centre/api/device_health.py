"""Whether devices are well: states, gateways, batteries, availability. docs/device-health.md defines each word."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime
from starlette.responses import Response

from city.sheet_cells import guarded
from city.storage import device_availability
from city.storage import device_health as stored
from command_centre import device_health
from command_centre.api import paging
from command_centre.api.answers import answer, files, gives
from command_centre.api.problem import field_problem, not_found
from command_centre.api.services import async_transaction
from command_centre.api.shapes.device_health import (
    Availabilities,
    DeviceHealth,
    DeviceHealthPage,
    DeviceHealthState,
    EndingBatteries,
    Gateways,
)

router = APIRouter(prefix="/api/device-health", tags=["devices"])
of_devices = APIRouter(prefix="/api/devices", tags=["devices"])

LONGEST = timedelta(days=400)
DEFAULT = timedelta(days=30)
UPTIME_DAYS = 30
Filter = Annotated[str | None, Query(max_length=200)]
By = Annotated[device_availability.By, Query(description="what the devices have in common")]


def _filters(
    kind: Filter = None,
    model: Filter = None,
    vendor: Filter = None,
    maintainer: Filter = None,
    cell: Filter = None,
    gateway: Filter = None,
) -> dict[str, str | None]:
    """Which devices: by what the register says of them."""
    return {
        "kind": kind,
        "model": model,
        "vendor": vendor,
        "maintainer": maintainer,
        "cell": cell,
        "gateway": gateway,
    }


Filters = Annotated[dict[str, str | None], Depends(_filters)]
Start = Annotated[AwareDatetime | None, Query(alias="from", description="30 days before to")]
End = Annotated[AwareDatetime | None, Query(alias="to", description="now")]


@of_devices.get(
    "/{code}/health", summary="How one device is", operation_id="device_health", responses=gives(DeviceHealth)
)
async def health_of_device(request: Request, code: str) -> Response:
    """Its state with the reason, each of its metrics, its battery and its radio signal."""
    async with async_transaction(request) as connection:
        row = await stored.one(connection, code)
        if row is None:
            raise not_found("device", "设备", code)
        return answer((await _shown(connection, [row]))[0])


@router.get(
    "",
    summary="Devices by how they are",
    operation_id="list_device_health",
    responses=gives(DeviceHealthPage),
)
async def list_health(
    request: Request,
    filters: Filters,
    state: DeviceHealthState | None = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """By code, and how many are in each state by the same filters; ``online`` is the wall's: online, late and blind."""
    after = paging.read(cursor, tuple[str])
    async with async_transaction(request) as connection:
        rows = await stored.page(
            connection, filters, state=state, after=after[0] if after else None, limit=limit + 1
        )
        counts = await stored.counts(connection, filters)
        shown = await _shown(connection, rows)
    counts = {name: counts.get(name, 0) for name in device_health.STATES}
    return answer(
        {
            **paging.page(shown, limit, lambda one: [one["code"]]),
            "counts": counts,
            "total": sum(counts.values()) - counts["out"],
            "online": sum(counts[name] for name in device_health.HEARD),
        }
    )


_FACTS = (
    "registration", "service_state", "link", "first_heard_at", "last_heard_at", "late_before", "silent_before",
    "silent_alarm_at", "gateway",
)  # fmt: skip
_KEPT = (
    "code", "name", "kind", "kind_name", "kind_name_en", "model", "vendor", "maintainer", "cell", "cell_name",
    "gateway", "registration", "service_state", "expected_interval_s", "link", "last_heard_at",
)  # fmt: skip


async def _shown(connection: AsyncConnection[Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    metrics = await stored.metrics(connection, [row["id"] for row in rows])
    gateways = {row["gateway"] for row in rows if row["gateway"]}
    silent = await stored.silent_gateways(connection, sorted(gateways)) if gateways else {}
    return [_one(row, metrics.get(row["id"], []), silent.get(row["gateway"])) for row in rows]


def _one(
    row: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], gateway_silent_since: datetime | None
) -> dict[str, Any]:
    known = [
        device_health.MetricFacts(
            metric=one["metric"],
            last_at=one["last_at"],
            every_s=one["every_s"],
            limit_s=one["limit_s"],
            blind_since=one["blind_since"],
        )
        for one in metrics
    ]
    found = device_health.judge(
        device_health.Facts(
            **{name: row[name] for name in _FACTS}, gateway_silent_since=gateway_silent_since, metrics=known
        )
    )
    return {
        **{name: row[name] for name in _KEPT},
        "state": found.state,
        "since": found.since,
        "reason": found.reason,
        "reason_en": found.reason_en,
        "explained_by": found.explained_by,
        "metrics": [
            {**one, "state": device_health.judge_metric(facts, found.state, row["now"])}
            for one, facts in zip(metrics, known, strict=True)
        ],
        "battery": _battery(row),
        "signal": None
        if row["signal"] is None
        else {
            "state": row["signal"],
            "metric": row["signal_metric"],
            "unit": row["signal_unit"],
            "value": row["signal_value"],
            "per_week": row["signal_per_week"],
        },
    }


def _battery(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row["battery"] is None:
        return None
    return {
        "state": row["battery"],
        "percent": row["battery_percent"],
        "per_day": row["battery_per_day"],
        "since": row["battery_since"],
        "end": row["end_at"],
        "early": row["end_early"],
        "late": row["end_late"],
    }


# ── gateways ─────────────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/gateways",
    summary="Gateways and what the devices behind them do",
    operation_id="list_gateway_health",
    responses=gives(Gateways),
)
async def list_gateways(
    request: Request, limit: paging.Limit = 100, cursor: paging.Cursor = None
) -> Response:
    """Those with most silent devices first. ``uptime`` is the share of hours in which it or one behind it was heard."""
    after = paging.read(cursor, tuple[int])
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        rows = await stored.gateways(connection)
        up = await device_availability.uptime(connection, now - timedelta(days=UPTIME_DAYS), now)
    begin = after[0] if after else 0
    items = [
        {
            **row,
            "fate": device_health.fate(row["state"], row["children"], row["silent"]),
            "uptime": _share(*up.get(row["code"], (0, 0))),
        }
        for row in rows[begin : begin + limit]
    ]
    more = begin + limit < len(rows)
    return answer(
        {"items": items, "next": paging.write([begin + limit]) if more else None, "days": UPTIME_DAYS}
    )


def _share(expected: int, heard: int) -> float | None:
    return round(heard / expected, 5) if expected else None


# ── batteries ────────────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/batteries",
    summary="Batteries to be replaced, the next to end first",
    operation_id="list_ending_batteries",
    responses=gives(EndingBatteries),
)
async def list_batteries(
    request: Request,
    filters: Filters,
    days: Annotated[int, Query(ge=0, le=3650, description="whose end is expected within so many days")] = 30,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """With the band in which the end lies, and how many devices' batteries are in which state."""
    after = paging.read(cursor, tuple[date, str])
    until = (datetime.now(UTC) + timedelta(days=days)).date()
    async with async_transaction(request) as connection:
        rows = await stored.batteries(
            connection,
            filters,
            until=until,
            after=(after[0], after[1]) if after else None,
            limit=limit + 1,
        )
        counts = await stored.battery_counts(connection)
    found = paging.page(rows, limit, lambda row: [row["end_at"].isoformat(), row["code"]])
    kept = ("code", "name", "kind", "model", "vendor", "maintainer", "cell", "gateway")
    items = [{**{name: row[name] for name in kept}, "battery": _battery(row)} for row in found["items"]]
    return answer({**found, "items": items, "counts": counts})


# ── availability ─────────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/availability",
    summary="Which share of the time devices were heard",
    operation_id="device_availability",
    responses=gives(Availabilities),
)
async def availability(request: Request, by: By, start: Start = None, end: End = None) -> Response:
    """Hours in which we did not listen count for nobody; the worst share first."""
    since, until = _period(start, end)
    return answer(
        {
            "from": since,
            "to": until,
            "by": by,
            "items": await _counted(request, by, since, until),
            "next": None,
        }
    )


@router.get(
    "/availability.csv",
    summary="The same as a file",
    operation_id="device_availability_csv",
    response_class=Response,
    responses=files("text/csv"),
)
async def availability_file(request: Request, by: By, start: Start = None, end: End = None) -> Response:
    """UTF-8 with a byte order mark, so that spreadsheets read the Chinese."""
    since, until = _period(start, end)
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([by, "devices", "unjudged", "expected_spans", "heard_spans", "share", "from", "to"])
    for one in await _counted(request, by, since, until):
        lines.writerow(
            [guarded(one["key"]), one["devices"], one["unjudged"], one["expected"], one["heard"],
             one["share"], since.isoformat(), until.isoformat()]
        )  # fmt: skip
    headers = {"Content-Disposition": f'attachment; filename="availability-{by}.csv"'}
    return Response(text.getvalue().encode("utf-8-sig"), 200, headers, "text/csv; charset=utf-8")


def _period(start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    until = min((end or now).astimezone(UTC), now)
    since = (start or until - DEFAULT).astimezone(UTC)
    if since >= until:
        raise field_problem("from", since, "lies not before to; exchange them", "不早于 to，请对调")
    if until - since > LONGEST:
        raise field_problem("from", since, "at most 400 days before to", "距 to 最多 400 天")
    return since, until


async def _counted(
    request: Request, by: device_availability.By, since: datetime, until: datetime
) -> list[dict[str, Any]]:
    async with async_transaction(request) as connection:
        rows = await device_availability.by(connection, by, since, until)
    return [{**row, "share": _share(row["expected"], row["heard"])} for row in rows]
