"""Photos and documents of devices, facilities and buildings: kept with a reason, given back to who is logged in."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from city.storage import papers as stored
from city.storage import photos as stored_photos
from city.storage import register
from city.storage.papers import Thing
from command_centre import papers, photos
from command_centre.api.answers import answer, files, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.register_devices import Words
from command_centre.api.register_shapes import Papers
from command_centre.api.reports import digest_of
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/register", tags=["register"])

MOST_FILES = 5  # at one time
MOST_PHOTOS = 50  # of one entry
_WORDS = {"device": "设备", "component": "部件", "building": "楼栋"}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            }
        },
    }
}


class Removal(BaseModel):
    """One photo or one document."""

    model_config = ConfigDict(extra="forbid")

    photo: str | None = Field(None, max_length=64, description="its digest")
    document: int | None = Field(None, description="its id")
    reason: Words


async def _found(connection: stored.Connection, thing: Thing, code: str) -> int:
    found = await stored.thing_id(connection, thing, code)
    if found is None:
        raise not_found(thing, _WORDS[thing], code)
    return found


async def _papers(connection: stored.Connection, thing: Thing, thing_id: int) -> dict[str, Any]:
    pictures = await stored_photos.of(connection, thing, thing_id)
    rows = [asdict(one) for one in await stored.documents(connection, thing, thing_id)]
    for row in rows:
        del row["digest"]
    return {"photos": [digest.hex() for digest in pictures], "documents": rows}


@router.get(
    "/{thing}/{code}/papers",
    summary="Photos and documents of an entry",
    operation_id="get_papers",
    responses=gives(Papers),
)
async def get_papers(request: Request, thing: Thing, code: str) -> Response:
    """What was not taken away."""
    async with async_transaction(request) as connection:
        return answer(await _papers(connection, thing, await _found(connection, thing, code)))


@router.post(
    "/{thing}/{code}/papers",
    status_code=201,
    summary="Add photos and documents to an entry",
    operation_id="add_papers",
    openapi_extra=_FORM,
    responses=gives(Papers, 201),
)
async def add_papers(
    request: Request,
    thing: Thing,
    code: str,
    known: Known,
    reason: Annotated[
        str, Query(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")
    ],
) -> Response:
    """JPEG, PNG and WebP become photos; PDF, docx, xlsx, pptx and text are kept as documents, never opened."""
    files = await _uploads(request)
    folder, pictures = services(request).settings, []
    kinds: list[tuple[str, bytes, str]] = []
    for name, content in files:
        try:
            pictures.append(await photos.take(name, content))
            continue
        except photos.PhotoError as error:
            if content[:3] == b"\xff\xd8\xff" or content[:8] == b"\x89PNG\r\n\x1a\n":
                raise Problem(422, error.reason_en, error.reason) from error
        try:
            kinds.append((papers.safe_name(name), content, papers.kind_of(name, content)))
        except papers.DocumentError as error:
            raise Problem(422, str(error), error.reason_zh) from error
    async with async_transaction(request) as connection:
        thing_id = await _found(connection, thing, code)
        before = await _papers(connection, thing, thing_id)
        if len(before["photos"]) + len(pictures) > MOST_PHOTOS or (
            len(before["documents"]) + len(kinds) > papers.MOST_EACH
        ):
            raise Problem(
                409, "the entry has 50 photos or documents; remove some", "照片或文件已满50个，请先移除"
            )
        digests = await photos.keep(
            connection, folder.photo_folder, pictures, actor=known.actor, now=datetime.now(UTC)
        )
        await stored_photos.use(connection, thing, thing_id, digests)
        for name, content, kind in kinds:
            digest = await papers.keep(folder.document_folder, content)
            await stored.add_document(
                connection,
                thing,
                thing_id,
                digest=digest,
                name=name,
                kind=kind,
                size=len(content),
                actor=known.actor,
            )
        detail = {"after": {"photos": len(digests), "documents": [name for name, _, _ in kinds]}}
        await _record(connection, thing, code, "papers_added", known.actor, reason.strip(), detail)
        return answer(await _papers(connection, thing, thing_id), 201)


@router.post(
    "/{thing}/{code}/papers/remove",
    summary="Take a photo or a document away from an entry",
    operation_id="remove_paper",
    responses=gives(Papers),
)
async def remove_paper(request: Request, thing: Thing, code: str, body: Removal, known: Known) -> Response:
    """The history keeps that it was there, and a document's file stays."""
    async with async_transaction(request) as connection:
        thing_id = await _found(connection, thing, code)
        what = None
        if body.document is not None:
            what = await stored.remove_document(connection, thing, thing_id, body.document, known.actor)
        elif body.photo is not None and await stored.remove_photos(
            connection, thing, thing_id, [digest_of(body.photo)]
        ):
            what = body.photo
        if what is None:
            raise not_found("document", "文件", str(body.document or body.photo))
        detail = {"before": {"papers": what}}
        await _record(connection, thing, code, "papers_removed", known.actor, body.reason.strip(), detail)
        return answer(await _papers(connection, thing, thing_id))


@router.get(
    "/{thing}/{code}/documents/{document}",
    summary="A document, to be saved",
    operation_id="get_document",
    response_class=Response,
    responses=files(*papers.MEDIA.values()),
)
async def get_document(request: Request, thing: Thing, code: str, document: int) -> Response:
    """Always an attachment: what somebody sent never runs or shows itself under this address."""
    async with async_transaction(request) as connection:
        thing_id = await _found(connection, thing, code)
        found = [one for one in await stored.documents(connection, thing, thing_id) if one.id == document]
    if not found:
        raise not_found("document", "文件", str(document))
    file = papers.path(services(request).settings.document_folder, found[0].digest)
    try:
        content = await run_in_threadpool(file.read_bytes)
    except FileNotFoundError as error:
        raise not_found("document", "文件", found[0].name) from error
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found[0].name)}",
        "Cache-Control": "no-store",
    }
    return Response(content, 200, headers, papers.MEDIA[found[0].kind])


async def _record(
    connection: stored.Connection,
    thing: Thing,
    code: str,
    verb: str,
    actor: str,
    reason: str,
    detail: Mapping[str, object],
) -> None:
    named = code if thing == "device" else f"{thing}:{code}"
    await register.record(connection, f"{thing}.{verb}", named, actor=actor, reason=reason, detail=detail)


async def _uploads(request: Request) -> list[tuple[str, bytes]]:
    if "multipart/form-data" not in request.headers.get("content-type", ""):
        raise Problem(415, "send a form with the part files, once for each file", "请以表单 files 发送文件")
    async with request.form(max_files=MOST_FILES, max_fields=5) as form:
        found = [
            (part.filename or "", await part.read())
            for part in form.getlist("files")
            if isinstance(part, UploadFile)
        ]
    if not found:
        raise Problem(422, "files: send at least one file", "请至少选择一个文件")
    return found
