"""Open311 GeoReport v2 under /open311/v2, in JSON and XML, with its own form of errors; and the keys to file with."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from city.errors import CityError
from city.storage import open311
from command_centre import photos
from command_centre.api import once, turnstile
from command_centre.api.answers import answer
from command_centre.api.problem import MEDIA_TYPE as PROBLEM
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.open311 import filing, georeport, writing
from command_centre.open311.georeport import GeoReportError

BASE = "/open311/v2"
CHANGED = datetime(2026, 11, 22, tzinfo=UTC)  # when these endpoints last changed
MOST_FIELDS = 100
MOST_PHOTOS = 5


class GeoReportRoute(APIRoute):
    """Whatever is refused is answered as GeoReport says: a list of code and description, in the format asked for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                if request.path_params.get("form") not in writing.FORMATS:
                    raise GeoReportError(400, "the format must be .json or .xml")
                return await inner(request)
            except GeoReportError as error:
                return await _refused(request, error.status, error.faults)
            except Problem as problem:
                fault = f"{problem.detail} / {problem.detail_zh}" if problem.detail_zh else problem.detail
                return await _refused(request, _status(problem.status), [fault], problem.headers)
            except RequestValidationError as error:
                return await _refused(
                    request, 400, [str(fault.get("msg", "")) for fault in error.errors()[:20]]
                )
            except HTTPException as error:
                return await _refused(request, _status(error.status_code), [str(error.detail)])
            except CityError as error:
                if getattr(error, "retry", None) is not None:
                    raise  # the database's own troubles are answered where all of them are
                return await _refused(request, 400, [str(error)])

        return handler


_EITHER: dict[str, dict[str, Any]] = {
    name.partition(";")[0]: {} for name in (writing.JSON_TYPE, writing.XML_TYPE)
}
router = APIRouter(
    prefix=BASE,
    tags=["open311"],
    route_class=GeoReportRoute,
    default_response_class=Response,
    responses={
        200: {"description": "in the format that the path ends with", "content": _EITHER},
        # The gate answers before GeoReport is spoken.
        "default": {"description": "GeoReport's list of errors", "content": {**_EITHER, PROBLEM: {}}},
    },
)
keys_router = APIRouter(prefix="/api/open311/keys", tags=["open311"])


async def _refused(
    request: Request, status: int, faults: Sequence[str], headers: Mapping[str, str] | None = None
) -> Response:
    form = request.path_params.get("form", "")
    body, media_type = writing.write(
        "errors", georeport.error_rows(status, faults), form if form in writing.FORMATS else "xml"
    )
    if status < 500:
        await turnstile.count(request, f"open311_{status}")
    retry = {"Retry-After": "60"} if status == 429 else {}
    return Response(body, status, retry | dict(headers or {}), media_type)


def _status(status: int) -> int:
    """The specification knows 403, 404 and 400; too large, too often and our own troubles keep their numbers."""
    return status if status in (403, 404, 413, 429) or status >= 500 else 400


def _written(root: str, value: object, form: str, status: int = 200) -> Response:
    body, media_type = writing.write(root, value, form)
    return Response(body, status, media_type=media_type)


@router.get("/discovery.{form}", summary="Where GeoReport is", operation_id="open311_discovery")
async def discovery(request: Request, form: str, jurisdiction_id: str = "") -> Response:
    """Endpoint, formats, and whom to ask for a key."""
    settings = services(request).settings
    async with async_transaction(request) as connection:
        zone = await filing.jurisdiction(connection, jurisdiction_id, settings.zone)
    base = (settings.public_url or str(request.base_url)).rstrip("/") + BASE
    row = georeport.discovery_row(base, settings.public_url or str(request.base_url), CHANGED, zone)
    return _written("discovery", row, form)


@router.get("/services.{form}", summary="What can be reported", operation_id="open311_services")
async def list_services(request: Request, form: str, jurisdiction_id: str = "") -> Response:
    """Every leaf of the catalogue that people report."""
    async with async_transaction(request) as connection:
        await filing.jurisdiction(connection, jurisdiction_id, services(request).settings.zone)
        return _written("services", await filing.services(connection), form)


@router.get(
    "/services/{code}.{form}", summary="What a service asks for", operation_id="open311_service_definition"
)
async def get_service(request: Request, code: str, form: str, jurisdiction_id: str = "") -> Response:
    """Its attributes; services with `metadata` false have none."""
    async with async_transaction(request) as connection:
        await filing.jurisdiction(connection, jurisdiction_id, services(request).settings.zone)
        return _written("service_definition", await filing.definition(connection, code), form)


@router.post(
    "/requests.{form}",
    summary="File a request",
    operation_id="open311_file_request",
    openapi_extra={
        "requestBody": {
            "content": {
                "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
                "multipart/form-data": {"schema": {"type": "object"}},
            },
            "required": True,
        }
    },
)
async def file_request(request: Request, form: str, key: once.Key = None) -> Response:
    """Form fields of GeoReport v2; `api_key` may stand in the query too. Photos go in `media` of multipart."""
    settings = services(request).settings
    now = datetime.now(UTC)
    async with request.form(max_files=MOST_PHOTOS, max_fields=MOST_FIELDS) as given:
        items = list(request.query_params.multi_items())
        items += [(name, value) for name, value in given.multi_items() if isinstance(value, str)]
        uploads = [value for _, value in given.multi_items() if isinstance(value, UploadFile) and value.size]
        fields = dict(items)
        async with async_transaction(request) as connection:  # nothing is decoded for somebody without a key
            await filing.key_holder(connection, fields.get("api_key", ""))
        filed = georeport.filed(items)
        await turnstile.admit_contact(request, filing.contact(filed))
        taken = [await _taken(upload) for upload in uploads]
        async with async_transaction(request) as connection:
            key_id = await filing.key_holder(connection, fields.get("api_key", ""))
            await filing.jurisdiction(connection, fields.get("jurisdiction_id", ""), settings.zone)
            digests = await filing.keep(connection, settings, taken, key_id, now)
            row = await filing.file(
                connection, settings, filed, key_id, digests, now, sent_as=(key or "")[:100]
            )
    return _written("service_requests", [row], form, 201)


async def _taken(upload: UploadFile) -> photos.Taken:
    try:
        return await photos.take(upload.filename or "media", await upload.read())
    except photos.PhotoError as error:
        raise GeoReportError(400, f"{error.reason_en} / {error.reason}") from error


@router.get("/requests.{form}", summary="Requests", operation_id="open311_requests")
async def list_requests(request: Request, form: str) -> Response:
    """Of the last 90 days, or by number, service, time and status: at most 1000, newest first."""
    asked = georeport.search(request.query_params, datetime.now(UTC))
    async with async_transaction(request) as connection:
        given = request.query_params.get("jurisdiction_id", "")
        zone = await filing.jurisdiction(connection, given, services(request).settings.zone)
        rows = await filing.find(connection, asked, zone)
    return _written("service_requests", rows, form)


@router.get("/requests/{request_id}.{form}", summary="One request", operation_id="open311_request")
async def get_request(request: Request, request_id: str, form: str, jurisdiction_id: str = "") -> Response:
    """A list of one, as the specification wants it."""
    async with async_transaction(request) as connection:
        zone = await filing.jurisdiction(connection, jurisdiction_id, services(request).settings.zone)
        return _written("service_requests", await filing.one(connection, request_id, zone), form)


@router.get("/tokens/{token}.{form}", summary="A request by its token", operation_id="open311_token")
async def get_token(request: Request, token: str, form: str, jurisdiction_id: str = "") -> Response:
    """Numbers are given at once here; the tracking number serves as token."""
    await turnstile.may_guess(request)
    try:
        async with async_transaction(request) as connection:
            await filing.jurisdiction(connection, jurisdiction_id, services(request).settings.zone)
            rows = await filing.of_token(connection, token)
    except GeoReportError:
        await turnstile.guessed(request)
        raise
    return _written("service_requests", rows, form)


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────


class NewKey(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, description="whose application it is")


@keys_router.get("", summary="Keys to file with", operation_id="list_api_keys")
async def list_keys(request: Request) -> Response:
    """Without the keys themselves: nobody can read those again."""
    async with async_transaction(request) as connection:
        return answer({"items": await open311.keys(connection), "next": None})


@keys_router.post("", status_code=201, summary="Give out a key", operation_id="create_api_key")
async def create_key(request: Request, body: NewKey, known: Known) -> Response:
    """`key` is shown this once."""
    key = filing.new_key()
    async with async_transaction(request) as connection:
        key_id = await open311.add_key(
            connection, body.name, filing.key_digest(key), known.actor, datetime.now(UTC)
        )
    if key_id is None:
        raise field_problem("name", body.name, "is taken; choose another", "名称已被占用")
    return answer({"id": key_id, "name": body.name, "key": key}, 201)


@keys_router.post("/{key_id}/revoke", summary="Take a key back", operation_id="revoke_api_key")
async def revoke_key(request: Request, key_id: int, known: Known) -> Response:
    """At once; what it filed stays."""
    async with async_transaction(request) as connection:
        row = await open311.revoke_key(connection, key_id, known.actor, datetime.now(UTC))
    if row is None:
        raise not_found("key that holds", "有效的密钥", key_id)
    return answer(row)
