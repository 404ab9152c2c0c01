"""Warnings for other systems: each message byte for byte as it went out, and a feed of them. Open to everybody."""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from city.flood import Sent
from city.storage import flood_warnings
from command_centre.api.answers import files
from command_centre.api.problem import field_problem, not_found
from command_centre.api.services import async_transaction, services
from command_centre.flood import desk as desks
from command_centre.flood import feed
from command_centre.flood.cap_xml import MEDIA_TYPE

router = APIRouter(prefix="/cap", tags=["cap"])

MOST_ENTRIES = 100
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,100}")


@router.get(
    "/feed.atom",
    summary="Warnings as an Atom feed",
    operation_id="cap_feed",
    response_class=Response,
    responses={**files(feed.ATOM_TYPE), 304: {"description": "the caller has it"}},
)
async def atom(request: Request) -> Response:
    """The newest hundred messages, newest first. Answers 304 to `If-None-Match` and `If-Modified-Since`."""
    settings = services(request).settings
    async with async_transaction(request) as connection:
        messages = await flood_warnings.newest(connection, MOST_ENTRIES)
        drills = await flood_warnings.page(connection, states=["issued"], exercise=True, before=None, limit=1)
        desk = await desks.read(connection, settings)
    content = feed.feed(
        messages,
        base=desk.web or str(request.base_url).rstrip("/"),
        district=desk.code,
        name=desk.name,
        name_en=desk.name_en,
        exercise=bool(drills),
    )
    return _conditional(request, content, feed.ATOM_TYPE, feed.newest_change(messages))


@router.get(
    "/{identifier}.xml",
    summary="A CAP 1.2 message",
    operation_id="cap_message",
    response_class=Response,
    responses={**files(MEDIA_TYPE), 304: {"description": "the caller has it"}},
)
async def message(request: Request, identifier: str) -> Response:
    """By its identifier: the bytes as they went out. By a warning's number: that warning's newest message."""
    if not _IDENTIFIER.fullmatch(identifier):
        raise field_problem(
            "identifier", identifier, "use letters, digits, hyphen, dot, underline", "标识只含字母、数字、-._"
        )
    async with async_transaction(request) as connection:
        found = await _find(connection, identifier)
    if found is None:
        raise not_found("message", "预警消息", identifier)
    return _conditional(request, found.xml, MEDIA_TYPE, found.sent)


async def _find(connection: AsyncConnection[Any], identifier: str) -> Sent | None:
    found = await flood_warnings.by_identifier(connection, identifier)
    if found is None and identifier.isascii() and identifier.isdigit() and len(identifier) < 19:
        listed = await flood_warnings.of_warning(connection, int(identifier))
        return listed[-1] if listed else None
    return found


def _conditional(request: Request, content: bytes, media_type: str, changed: datetime) -> Response:
    """The bytes with their entity tag and time; 304 when the caller has them. A tag goes before a time (RFC 9110)."""
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    changed = changed.astimezone(UTC).replace(microsecond=0)
    headers = {
        "ETag": tag,
        "Last-Modified": format_datetime(changed, usegmt=True),
        "Cache-Control": "no-cache",
    }
    if _has(request, tag, changed):
        return Response(status_code=304, headers=headers)
    return Response(content, 200, headers, media_type)


def _has(request: Request, tag: str, changed: datetime) -> bool:
    known = request.headers.get("if-none-match")
    if known is not None:
        return known.strip() == "*" or tag in [part.strip().removeprefix("W/") for part in known.split(",")]
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return changed <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False
