"""Photos for staff: sent before the report or the order they belong to, and looked at."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from command_centre import photos
from command_centre.api.answers import answer, files
from command_centre.api.problem import Problem, not_found
from command_centre.api.report_form import read
from command_centre.api.reports import digest_of
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/photos", tags=["reports"])


@router.post(
    "",
    status_code=201,
    summary="Send photos",
    operation_id="upload_photos",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": {"type": "object"}}},
        }
    },
)
async def upload(request: Request, known: Known) -> Response:
    """A form with up to five files; answers their digests. What nothing names within a day is removed."""
    given = await read(request)
    given.raise_refused()
    if not given.taken:
        raise Problem(422, "photos: send at least one file in a form", "请在表单中至少上传一张照片")
    async with async_transaction(request) as connection:
        digests = await photos.keep(
            connection,
            services(request).settings.photo_folder,
            given.taken,
            actor=known.actor,
            now=datetime.now(UTC),
        )
    return answer({"photos": [digest.hex() for digest in digests]}, 201)


@router.get(
    "/{digest}",
    summary="A photo",
    operation_id="get_photo",
    response_class=Response,
    responses=files("image/jpeg"),
)
async def get_photo(request: Request, digest: str) -> Response:
    """JPEG."""
    return await _file(request, digest, small=False)


@router.get(
    "/{digest}/small",
    summary="A small photo",
    operation_id="get_small_photo",
    response_class=Response,
    responses=files("image/jpeg"),
)
async def get_small(request: Request, digest: str) -> Response:
    """At most 320 pixels a side."""
    return await _file(request, digest, small=True)


async def _file(request: Request, written: str, *, small: bool) -> Response:
    file = photos.path(services(request).settings.photo_folder, digest_of(written), small=small)
    try:
        content = await run_in_threadpool(file.read_bytes)
    except FileNotFoundError as error:
        raise not_found("photo", "照片", written[:64]) from error
    headers = {"Cache-Control": "no-store", "Content-Disposition": "inline"}
    return Response(content, 200, headers, "image/jpeg")
