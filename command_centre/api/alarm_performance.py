"""How well the alarm system does, by ISA-18.2: not how the city does."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import alarm_performance as stored
from command_centre import alarm_performance
from command_centre.alarm_performance import BUCKET, Unit, Verdict
from command_centre.api.answers import answer, gives
from command_centre.api.problem import field_problem
from command_centre.api.services import async_transaction

router = APIRouter(prefix="/api", tags=["alarms"])

LONGEST = timedelta(days=92)  # a quarter
DEFAULT = timedelta(days=7)
_LISTED = 10


class AlarmFigure(TypedDict):
    key: str
    value: float
    unit: Unit
    good: float
    most: float | None
    verdict: Verdict


class AlarmSource(TypedDict):
    rule: str
    device: str | None
    device_name: str | None
    cell: str | None
    alarms: int


class ChatteringSource(AlarmSource):
    worst_at: str


class StaleAlarm(TypedDict):
    alarm: int
    since: str
    rule: str
    device: str | None
    device_name: str | None
    cell: str | None


class AlarmFlood(TypedDict):
    begin: str
    end: str
    alarms: int
    peak: float


AlarmPerformance = TypedDict(
    "AlarmPerformance",
    {
        "from": str,
        "to": str,
        "operators": int,
        "alarms": int,
        "silent": dict[str, int],
        "standing": int,
        "acknowledged": int,
        "acknowledge_median_s": float | None,
        "acknowledge_p90_s": float | None,
        "classes": dict[str, int],
        "shares": dict[str, float],
        "figures": list[AlarmFigure],
        "spans": list[tuple[str, int]],
        "span_minutes": int,
        "floods": list[AlarmFlood],
        "most_frequent": list[AlarmSource],
        "chattering": list[ChatteringSource],
        "stale": list[StaleAlarm],
    },
)


@router.get(
    "/alarm-performance",
    summary="Alarms against the figures of ISA-18.2",
    operation_id="alarm_performance",
    responses=gives(AlarmPerformance),
)
async def performance(
    request: Request,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    operators: Annotated[int, Query(ge=1, le=100, description="who share the desk at one time")] = 1,
) -> Response:
    """Of at most 92 days, the last seven when nothing is said; drills and what nobody was told count apart."""
    now = datetime.now(UTC)
    until = min(end or now, now)
    since = start or until - DEFAULT
    if since >= until:
        raise field_problem("from", since, "lies not before to; exchange them", "不早于 to，请对调")
    if until - since > LONGEST:
        raise field_problem("from", since, "at most 92 days before to", "距 to 最多 92 天")
    async with async_transaction(request) as connection:
        return answer(await _measured(connection, since, until, operators))


async def _measured(
    connection: AsyncConnection[Any], since: datetime, until: datetime, operators: int
) -> dict[str, Any]:
    counted = await stored.buckets(connection, since, until, BUCKET)
    frequent = await stored.most_frequent(connection, since, until, alarm_performance.MOST_FREQUENT)
    chattering = await stored.chattering(
        connection,
        since,
        until,
        raises=alarm_performance.CHATTER_RAISES,
        within=alarm_performance.CHATTER_WITHIN,
        most=1000,
    )
    fleeting = await stored.fleeting(connection, since, until, alarm_performance.FLEETING_WITHIN)
    stale, oldest = await stored.stale(connection, until, alarm_performance.STALE_AFTER, _LISTED)
    by_class = await stored.classes(connection, since, until)
    acknowledging = await stored.acknowledging(connection, since, until)
    return {
        "from": since,
        "to": until,
        "operators": operators,
        "alarms": sum(number for _, number in counted),
        "silent": await stored.silent(connection, since, until),
        "standing": await stored.standing(connection, until),
        "acknowledged": acknowledging["acknowledged"],
        "acknowledge_median_s": acknowledging["median_s"],
        "acknowledge_p90_s": acknowledging["p90_s"],
        "classes": by_class,
        "shares": alarm_performance.shares(by_class),
        "figures": alarm_performance.figures(
            start=since,
            end=until,
            operators=operators,
            counted=counted,
            top=sum(row["alarms"] for row in frequent),
            chattering=len(chattering),
            fleeting=fleeting,
            stale=stale,
        ),
        "spans": counted,
        "span_minutes": int(BUCKET.total_seconds() // 60),
        "floods": alarm_performance.floods(counted, until, operators),
        "most_frequent": frequent,
        "chattering": chattering[:_LISTED],
        "stale": oldest,
    }
