"""QR labels of devices, facilities and buildings, and what a phone that scanned one is told."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city.storage import papers
from city.storage.papers import Thing
from command_centre import labels
from command_centre.api.answers import answer, files, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.register_shapes import LabelledThing
from command_centre.api.services import async_transaction, services

router = APIRouter(prefix="/api", tags=["register"])

MOST = 540  # labels of one request: twenty sheets
_WORDS = {"device": "设备", "component": "部件", "building": "楼栋"}


def _base(request: Request) -> str:
    return services(request).settings.public_url or str(request.base_url)


@router.get(
    "/labels/{sort}/sheet.svg",
    summary="A4 sheets of labels, to be printed",
    operation_id="get_label_sheet",
    response_class=Response,
    responses=files("image/svg+xml"),
)
async def get_sheet(
    request: Request,
    sort: Thing,
    code: Annotated[list[str] | None, Query(max_length=MOST, description="once for each")] = None,
    cell: Annotated[str | None, Query(max_length=128, description="all of this cell")] = None,
    page: Annotated[int, Query(ge=1, le=20)] = 1,
) -> Response:
    """27 labels of 60 x 30 mm on a page; `Label-Pages` says how many pages there are."""
    async with async_transaction(request) as connection:
        things = await papers.labels_of(connection, sort, codes=code or [], cell=cell, limit=MOST)
    if not things:
        raise Problem(
            404, "there is nothing to label; name codes or a cell", "没有可打印的标签，请指定编码或网格"
        )
    drawn = labels.sheet(_base(request), sort, things, page - 1)
    return _svg(drawn, {"Label-Pages": str(labels.pages(len(things)))})


@router.get(
    "/labels/{sort}/{code}.svg",
    summary="A QR label",
    operation_id="get_label",
    response_class=Response,
    responses=files("image/svg+xml"),
)
async def get_label(request: Request, sort: Thing, code: str) -> Response:
    """60 x 30 mm; its address opens the thing on a phone, for staff and for citizens."""
    async with async_transaction(request) as connection:
        found = await papers.labels_of(connection, sort, codes=[code], cell=None, limit=1)
    if not found:
        raise not_found(sort, _WORDS[sort], code)
    return _svg(labels.label(_base(request), sort, code, found[0]["name"], found[0]["address"]), {})


@router.get(
    "/scanned/{sort}/{code}",
    summary="What a label names, for whoever scans it",
    operation_id="get_labelled",
    responses=gives(LabelledThing),
)
async def get_labelled(request: Request, sort: Thing, code: str) -> Response:
    """Public: enough to fill in a report. Of a device only kind and cell: homes have detectors too."""
    async with async_transaction(request) as connection:
        found = await papers.labelled(connection, sort, code)
    if found is None:
        raise not_found(sort, _WORDS[sort], code)
    place = {"lon": found.pop("longitude"), "lat": found.pop("latitude")}
    return answer({"sort": sort, **found, **place})


def _svg(drawn: str, headers: dict[str, str]) -> Response:
    return Response(drawn.encode(), 200, {"Cache-Control": "no-cache", **headers}, "image/svg+xml")
