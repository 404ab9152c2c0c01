"""Open311 at work: who may file, what was filed as a report like any other, what everybody may ask for."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from city.reports import Contact, NewReport, read_tracking, tracking_digest
from city.settings import Settings
from city.storage import open311
from command_centre import intake, photos
from command_centre.actions import ActionError
from command_centre.open311 import georeport
from command_centre.open311.georeport import Filed, GeoReportError, Row, Search, Service, Stored
from command_centre.photos import Taken

Connection = AsyncConnection[Any]
MOST_A_MINUTE = 120  # requests of one key: an application may serve a whole city, a runaway one must not
CHANNEL = "open311"


def key_digest(key: str) -> bytes:
    """What is kept of an API key."""
    return hashlib.sha256(key.encode()).digest()


def new_key() -> str:
    """A key to hand out, shown once."""
    return secrets.token_urlsafe(24)


async def jurisdiction(connection: Connection, given: str, default: ZoneInfo) -> ZoneInfo:
    """The district's zone; raises GeoReportError 404 when another jurisdiction is asked for."""
    code, zone = await open311.district(connection)
    if given and given != code:
        raise GeoReportError(
            404, f"jurisdiction_id {given[:60]!r} was not found; this is {code or 'unnamed'}"
        )
    return ZoneInfo(zone) if zone else default


async def services(connection: Connection) -> list[Row]:
    """Every service; the catalogue's leaves that people report."""
    rows = await open311.services(connection, georeport.TECHNICAL)
    return [georeport.service_row(Service(**row)) for row in rows]


async def definition(connection: Connection, code: str) -> Row:
    """Raises GeoReportError 404."""
    if not await open311.services(connection, georeport.TECHNICAL, code):
        raise _no_service(code, 404)
    return georeport.definition_row(code)


async def key_holder(connection: Connection, key: str) -> int:
    """The id of a key that holds; raises GeoReportError 403."""
    found = await open311.key_of(connection, key_digest(key)) if key else None
    if found is None:
        what = "Invalid api_key received" if key else "Missing api_key"
        raise GeoReportError(403, f"{what} -- can't proceed with create_request. / 接口密钥无效或缺失")
    return found


async def file(
    connection: Connection,
    settings: Settings,
    filed: Filed,
    key_id: int,
    digests: tuple[bytes, ...],
    now: datetime,
    *,
    sent_as: str = "",
) -> Row:
    """Register the request in the caller's transaction; raises GeoReportError, then nothing is stored.

    ``sent_as`` is the sender's own number of it (Idempotency-Key): a retry is answered with what is there already.
    """
    if not await open311.services(connection, georeport.TECHNICAL, filed.service_code):
        raise _no_service(filed.service_code, 400)
    if await open311.filed_since(connection, key_id, now - timedelta(minutes=1)) >= MOST_A_MINUTE:
        raise GeoReportError(
            429, f"more than {MOST_A_MINUTE} requests in a minute by this api_key; wait a minute"
        )
    report = NewReport(
        channel=CHANNEL,
        category=filed.service_code,
        nature="complaint",
        text=filed.text or filed.address or filed.service_code,
        longitude=filed.longitude,
        latitude=filed.latitude,
        address=filed.address,
        component=filed.component,
        contact=contact(filed),
        photos=digests,
        actor=_actor(key_id),
        external_id=sent_as,
    )
    try:
        registered = await intake.register(connection, settings, report, now=now)
    except ActionError as error:
        raise refusal(error) from error
    known = await open311.of_report(connection, registered.report_id) if registered.repeated else None
    if known is not None:
        return georeport.filed_row(known, registered.tracking, filed.account_id)
    request_id = str(secrets.randbelow(9 * 10**11) + 10**11)
    await open311.insert(
        connection,
        request_id=request_id,
        report_id=registered.report_id,
        key_id=key_id,
        service_code=filed.service_code,
        address_id=filed.address_id,
        media_url=filed.media_url,
        at=now,
    )
    return georeport.filed_row(request_id, registered.tracking, filed.account_id)


async def keep(
    connection: Connection, settings: Settings, taken: Sequence[Taken], key_id: int, now: datetime
) -> tuple[bytes, ...]:
    """Keep photos that came with a request; returns their digests."""
    if not taken:
        return ()
    return await photos.keep(connection, settings.photo_folder, taken, actor=_actor(key_id), now=now)


def _actor(key_id: int) -> str:
    return f"system:open311-{key_id}"


def refusal(error: ActionError) -> GeoReportError:
    """What intake refused, in this protocol's words: 404 and 403 stay, everything else is 400."""
    status = {"not_found": 404, "forbidden": 403}.get(error.code, 400)
    return GeoReportError(status, f"{error.reason_en} / {error.reason}")


async def find(connection: Connection, asked: Search, zone: ZoneInfo) -> list[Row]:
    """Requests as everybody may see them, newest first; unknown numbers are left out."""
    if asked.ids:
        rows = await open311.by_ids(connection, asked.ids, limit=georeport.MOST_REQUESTS)
    else:
        rows = await open311.found(
            connection,
            services=asked.services,
            statuses=asked.statuses,
            start=asked.start,
            end=asked.end,
            limit=georeport.MOST_REQUESTS,
        )
    return [georeport.request_row(_stored(row), zone) for row in rows]


async def one(connection: Connection, request_id: str, zone: ZoneInfo) -> list[Row]:
    """A list of one; raises GeoReportError 404."""
    rows = await open311.by_ids(connection, [request_id], limit=1)
    if not rows:
        raise _no_request(request_id)
    return [georeport.request_row(_stored(row), zone) for row in rows]


async def of_token(connection: Connection, token: str) -> list[Row]:
    """Our token is the tracking number, in any spelling; raises GeoReportError 404."""
    tracking = read_tracking(token)
    found = await open311.by_tracking(connection, tracking_digest(tracking)) if tracking else None
    if found is None:
        raise _no_request(token)
    return [{"service_request_id": found, "token": token}]


def _stored(row: Mapping[str, Any]) -> Stored:
    return Stored(**row)


def contact(filed: Filed) -> Contact | None:
    """Who reported; None for nobody in particular."""
    if not (filed.name or filed.phone or filed.email):
        return None
    return Contact(
        name=filed.name, phone=filed.phone, email=filed.email, told_by="email" if filed.email else "none"
    )


def _no_service(code: str, status: int) -> GeoReportError:
    return GeoReportError(
        status, f"service_code {code[:60]!r} was not found; see GET services / 没有此服务编码"
    )


def _no_request(given: str) -> GeoReportError:
    return GeoReportError(404, f"Service request not found with id or token {given[:60]} / 没有此请求")
