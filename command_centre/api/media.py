"""Pictures and clips that an alarm rests on, through the centre: a browser asks no other host."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import FileResponse, Response
from typing_extensions import TypedDict

from city.storage import alarm_why, alarms
from command_centre import media_addresses
from command_centre.api.answers import answer, files, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import async_transaction
from command_centre.media import Media
from command_centre.media_addresses import MediaError

router = APIRouter(prefix="/api/alarms", tags=["alarms"])
AROUND = timedelta(hours=1)  # a camera's event that goes on longer brings no further pictures


class MediaItem(TypedDict):
    n: int
    host: str
    file: str
    refused: str | None  # why it is not fetched: its host is not among CITY_MEDIA_HOSTS
    refused_en: str | None


class MediaItems(TypedDict):
    items: list[MediaItem]
    next: None


@router.get(
    "/{alarm_id}/media",
    summary="Pictures and clips of an alarm",
    operation_id="list_alarm_media",
    responses=gives(MediaItems),
)
async def list_media(request: Request, alarm_id: int) -> Response:
    """What its sender named, the alarm's own first; nothing is fetched yet."""
    found = await _addresses(request, alarm_id)
    return answer({"items": media_addresses.listing(found, _media(request).hosts), "next": None})


@router.get(
    "/{alarm_id}/media/{n}",
    summary="One picture or clip",
    operation_id="get_alarm_media",
    response_class=Response,
    responses=files(*media_addresses.KINDS.values()),
)
async def get_media(request: Request, alarm_id: int, n: Annotated[int, Path(ge=0, le=1000)]) -> Response:
    """JPEG, PNG, WebP, MP4 or WebM, by its bytes; with ranges. Fetched by the centre from `CITY_MEDIA_HOSTS` only."""
    found = await _addresses(request, alarm_id)
    if n >= len(found):
        raise not_found("picture or clip of this alarm", "该报警的图像", n)
    try:
        kept = await _media(request).get(found[n])
    except MediaError as error:
        raise Problem(error.status, error.reason_en, error.reason) from error
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": "inline",
        "Content-Encoding": "identity",  # a range of a compressed body would be a range of something else
    }
    return FileResponse(kept.path, headers=headers, media_type=kept.media_type)


async def _addresses(request: Request, alarm_id: int) -> list[str]:
    async with async_transaction(request) as connection:
        alarm = await alarms.get(connection, alarm_id, datetime.now().astimezone())
        if alarm is None:
            raise not_found("alarm", "报警", alarm_id)
        told = await alarm_why.media_of_event(connection, alarm_id, AROUND, media_addresses.MOST_ADDRESSES)
    return media_addresses.addresses(alarm["evidence"], told)


def _media(request: Request) -> Media:
    found: Media = request.app.state.media
    return found
