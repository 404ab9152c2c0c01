"""Patrol at work: routes written, checks taken in (also late, also twice), problems handed to intake."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from city.reports import NewReport
from city.settings import Settings
from city.storage import directory, patrol, patrol_routes, photos, reports
from city.storage.patrol import NewAnswer, NewCheck
from city.storage.patrol_routes import NewPoint, RoutePoint
from command_centre import intake
from command_centre.actions import ActionError
from command_centre.order_giving import invalid, sayable
from command_centre.orders_below import metres
from command_centre.patrol import Checklist, Item

Connection = AsyncConnection[Any]
CHANNEL = "patrol"
AHEAD = timedelta(minutes=5)  # a phone's clock
LATE = timedelta(days=7)  # without signal; older than that, a check is written down by hand
MOST_POINTS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One answer as it was sent; ``photos`` are digests in hexadecimal."""

    item: str
    answer: str
    note: str
    photos: tuple[str, ...]
    fixed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """A check as it was sent; ``raw`` is all of it, to tell a repetition from another check."""

    client_id: UUID
    route: str
    point: str
    observed_at: datetime
    longitude: float | None
    latitude: float | None
    note: str
    found: Sequence[Found]
    raw: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftRoute:
    """A route as it was sent; cells by code, the person by log-in name."""

    code: str
    name: str
    name_en: str
    assigned_to: str | None
    active: bool
    points: Sequence[tuple[NewPoint, str | None]]  # with the code of its cell


async def put_route(
    connection: Connection,
    known: Mapping[str, Checklist],
    draft: DraftRoute,
    *,
    actor: str,
    now: datetime,
    expected: int | None,
) -> bool:
    """Write the route in the caller's transaction; True when it is new. Raises ActionError, then nothing is written."""
    stands = await patrol_routes.lock_route(connection, draft.code)
    if expected is not None and (stands is None or stands[1] != expected):
        raise ActionError(
            "stale",
            "路线已被他人修改，请刷新",
            f"route {draft.code} is not at version {expected}: read it again",
        )
    worker = None
    if draft.assigned_to is not None:
        worker = await patrol_routes.person(connection, draft.assigned_to)
        if worker is None:
            raise invalid(
                "assigned_to", "没有可派的人员", f"nobody who may patrol is called {draft.assigned_to!r}"
            )
    codes = [point.code for point, _ in draft.points]
    if len(set(codes)) < len(codes):
        raise invalid("points", "点位编码重复", "a code stands twice")
    if len(codes) > MOST_POINTS:
        raise invalid("points", f"最多{MOST_POINTS}个", f"at most {MOST_POINTS} of them")
    points = []
    for point, cell in draft.points:
        if point.checklist not in known:
            listed = ", ".join(known)
            raise invalid(
                "points.checklist", f"没有“{point.checklist}”", f"{point.checklist!r}: use {listed}"
            )
        cell_id = await reports.cell_by_code(connection, cell) if cell is not None else None
        if cell is not None and cell_id is None:
            raise invalid("points.cell", f"没有网格“{cell}”", f"cell {cell!r} is not known; see /api/cells")
        cadence = point.cadence or known[point.checklist].cadence
        points.append(replace(point, cell_id=cell_id, cadence=cadence))
    await patrol_routes.write_route(
        connection,
        code=draft.code,
        name=draft.name,
        name_en=draft.name_en,
        assigned_to=worker,
        active=draft.active,
        points=points,
        actor=actor,
        now=now,
    )
    return stands is None


async def check(
    connection: Connection,
    settings: Settings,
    known: Mapping[str, Checklist],
    visit: Visit,
    *,
    actor: str,
    may_all: bool,
    now: datetime,
) -> tuple[int, bool]:
    """(id of the check, whether it was there already), in the caller's transaction. Raises ActionError.

    A check sent again under its number is the same check; with another content it is refused.
    """
    digest = hashlib.sha256(actor.encode() + b"\n" + visit.raw).digest()
    before = await patrol.earlier(connection, visit.client_id)
    if before is not None:
        if before[1] != digest:
            raise invalid(
                "client_id", "此编号已用于另一次检查", "was used for another check; use a fresh one for each"
            )
        return before[0], True
    point = await _point(connection, visit, actor, may_all=may_all)
    if visit.observed_at > now + AHEAD:
        raise invalid("observed_at", "晚于现在，请校准手机时间", "lies in the future; set the phone's clock")
    if visit.observed_at < now - LATE:
        raise invalid("observed_at", f"超过{LATE.days}天", f"is older than {LATE.days} days")
    note = sayable("note", visit.note, needed=False)
    answers = _answers(known.get(point.checklist), visit.found)
    check_id = await patrol.insert_check(
        connection,
        NewCheck(
            client_id=visit.client_id,
            digest=digest,
            point_id=point.id,
            actor=actor,
            observed_at=visit.observed_at,
            received_at=now,
            longitude=visit.longitude,
            latitude=visit.latitude,
            distance_m=_distance(point, visit),
            note=note,
        ),
    )
    stored = [
        await _stored(connection, settings, point, visit, item, found, actor, now) for item, found in answers
    ]
    await patrol.insert_answers(connection, check_id, stored)
    await photos.use(
        connection, "patrol", check_id, [bytes.fromhex(photo) for one in stored for photo in one.photos]
    )
    return check_id, False


async def _point(connection: Connection, visit: Visit, actor: str, *, may_all: bool) -> RoutePoint:
    point = await patrol_routes.point(connection, visit.route, visit.point, visit.observed_at)
    if point is None:
        raise invalid("point", "路线上没有这个点位", f"route {visit.route!r} has no point {visit.point!r}")
    walked_by_others = point.assigned_to is not None and actor != f"user:{point.assigned_to}"
    # Whose route it was before it was last changed is not known: a check from then is taken.
    if walked_by_others and not may_all and visit.observed_at >= point.changed_at:
        raise ActionError("forbidden", "此路线由他人巡查", f"route {visit.route} is walked by somebody else")
    return point


def _answers(checklist: Checklist | None, found: Sequence[Found]) -> list[tuple[Item, Found]]:
    """Each item answered once; raises ActionError naming those that are missing, unknown or wordless."""
    if checklist is None:
        raise invalid("point", "该点位的检查表已不存在", "its checklist is gone; give the point another one")
    items = {item.code: item for item in checklist.items}
    answered = [one.item for one in found]
    unknown = [code for code in answered if code not in items]
    missing = [code for code in items if code not in answered]
    if unknown or missing or len(set(answered)) < len(answered):
        listed = ", ".join(items)
        raise invalid(
            "answers",
            f"每项答一次：{listed}；缺{missing}，多{unknown}",
            f"answer each of {listed} once; missing {missing}, unknown {unknown}",
        )
    for one in found:
        needed = one.answer == "problem"
        sayable(f"answers.{one.item}.note", one.note, needed=needed)
        if one.fixed and not needed:
            raise invalid(
                f"answers.{one.item}.fixed", "没有问题，无需处置", "there was no problem to put right"
            )
    return [(items[one.item], one) for one in found]


def _distance(point: RoutePoint, visit: Visit) -> int | None:
    if None in (point.longitude, point.latitude, visit.longitude, visit.latitude):
        return None
    return round(metres(point.longitude or 0, point.latitude or 0, visit.longitude or 0, visit.latitude or 0))


async def _stored(
    connection: Connection,
    settings: Settings,
    point: RoutePoint,
    visit: Visit,
    item: Item,
    found: Found,
    actor: str,
    now: datetime,
) -> NewAnswer:
    """The answer; a problem that was not put right becomes a report like any other."""
    digests = tuple(_digest(item, photo) for photo in found.photos)
    if gone := await photos.unknown(connection, digests):
        raise invalid(
            f"answers.{item.code}.photos",
            "照片未上传",
            f"{gone[0].hex()} was not uploaded; see POST /api/photos",
        )
    report_id = None
    if found.answer == "problem" and not found.fixed:
        known = (await directory.load(connection, settings.zone, settings.urge_after)).category(item.category)
        report = NewReport(
            channel=CHANNEL,
            category=known.code if known is not None and known.active else None,
            nature="request",
            text=f"{point.name}：{item.name}：{found.note.strip()}",
            cell=point.cell,
            longitude=point.longitude if point.longitude is not None else visit.longitude,
            latitude=point.latitude if point.latitude is not None else visit.latitude,
            photos=digests,
            actor=actor,
            external_id=f"{visit.client_id}:{item.code}"[:100],
        )
        report_id = (await intake.register(connection, settings, report, now=now)).report_id
    return NewAnswer(
        item=item.code,
        answer=found.answer,
        note=found.note.strip(),
        photos=tuple(digest.hex() for digest in digests),
        fixed=found.fixed,
        report_id=report_id,
    )


def _digest(item: Item, written: str) -> bytes:
    try:
        digest = bytes.fromhex(written)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise invalid(
            f"answers.{item.code}.photos", "应为照片摘要", "give the digest that POST /api/photos answered"
        )
    return digest
