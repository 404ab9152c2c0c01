"""The ground: cells with their live state, and the outlines a screen draws once."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city.storage import areas
from command_centre.api import paging
from command_centre.api.answers import answer, tagged
from command_centre.api.services import services, transaction

router = APIRouter(prefix="/api", tags=["ground"])


@router.get("/cells", summary="Cells with their live state", operation_id="list_cells")
def list_cells(
    request: Request,
    level: Annotated[str, Query(max_length=64, description="layer: cell, community, street, …")] = "cell",
    limit: paging.Limit = 1000,
    cursor: paging.Cursor = None,
) -> Response:
    """By code. A cell whose devices are all silent is `blind`, one without devices `unset`."""
    after = paging.read(cursor, tuple[str])
    with transaction(request) as connection:
        every = areas.load_areas(connection)
    codes = {area.id: area.code for area in every}
    live = services(request).hub.log.topic("cell")
    rows = []
    for area in sorted((area for area in every if area.layer == level), key=lambda area: area.code):
        if after is not None and area.code <= after[0]:
            continue
        row: dict[str, object] = {
            "code": area.code,
            "name": area.name,
            "name_en": area.name_en,
            "parent": codes.get(area.parent_id or 0),
            "level": area.layer,
        }
        if level == "cell" and area.code in live:
            row |= msgspec.json.decode(live[area.code])
        rows.append(row)
        if len(rows) > limit:
            break
    return answer(paging.page(rows, limit, lambda row: [row["code"]]))


@router.get("/wall/map", summary="Outlines of streets and cells", operation_id="wall_map")
def wall_map(request: Request) -> Response:
    """Rings of longitude and latitude (WGS84), and the box around them. Has an ETag."""
    with transaction(request) as connection:
        drawn = areas.load_map(connection)
    return tagged(
        request,
        {
            "district": {"code": drawn.code, "name": drawn.name, "name_en": drawn.name_en},
            "bbox": drawn.bbox,
            "streets": [
                {"code": street.code, "name": street.name, "name_en": street.name_en, "rings": street.rings}
                for street in drawn.streets
            ],
            "communities": [
                {"code": community.code, "name": community.name, "name_en": community.name_en}
                for community in drawn.communities
            ],
            "cells": [
                {
                    "code": cell.code,
                    "name": cell.name,
                    "name_en": cell.name_en,
                    "street": cell.street,
                    "community": cell.community,
                    "rings": cell.rings,
                }
                for cell in drawn.cells
            ],
        },
    )
