"""Cells and devices with their live state as GeoJSON (RFC 7946), for maps that are not ours.

A collection is bounded; ``next`` beside ``features`` is the cursor of the next page (a foreign member, clause 6.1).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city.devices import DeviceState
from city.storage import areas, devices
from command_centre.api import paging
from command_centre.api.answers import files, tagged
from command_centre.api.devices import shown
from command_centre.api.services import services, transaction

router = APIRouter(prefix="/api", tags=["ground"])

MEDIA_TYPE = "application/geo+json"
Most = Annotated[int, Query(ge=1, le=20_000, description="features in one answer")]
Filter = Annotated[str | None, Query(max_length=100)]


@router.get(
    "/cells.geojson",
    summary="Cells with their live state as GeoJSON",
    operation_id="cells_geojson",
    response_class=Response,
    responses={**files(MEDIA_TYPE), 304: {"description": "the caller has it"}},
)
def cells_geojson(
    request: Request,
    level: Annotated[str, Query(max_length=64, description="layer: cell, community, street, …")] = "cell",
    limit: Most = 5_000,
    cursor: paging.Cursor = None,
) -> Response:
    """By code, with its outline; null where nobody drew one. Has an ETag."""
    after = paging.read(cursor, tuple[str])
    with transaction(request) as connection:
        every = areas.load_areas(connection, geometry=True)
    codes = {area.id: area.code for area in every}
    live = services(request).hub.log.topic("cell")
    chosen = sorted((area for area in every if area.layer == level), key=lambda area: area.code)
    features = []
    for area in [one for one in chosen if after is None or one.code > after[0]][: limit + 1]:
        said = {
            "code": area.code,
            "name": area.name,
            "name_en": area.name_en,
            "parent": codes.get(area.parent_id or 0),
            "level": area.layer,
        }
        if level == "cell" and area.code in live:
            said |= msgspec.json.decode(live[area.code])
        features.append(_feature(area.code, area.geometry, said))
    return _collection(request, features, limit)


@router.get(
    "/devices.geojson",
    summary="Devices with their live state as GeoJSON",
    operation_id="devices_geojson",
    response_class=Response,
    responses={**files(MEDIA_TYPE), 304: {"description": "the caller has it"}},
)
def devices_geojson(  # each is one parameter of the query
    request: Request,
    kind: Filter = None,
    cell: Filter = None,
    *,
    online: Annotated[bool | None, Query(description="heard lately, or silent")] = None,
    limit: Most = 5_000,
    cursor: paging.Cursor = None,
) -> Response:
    """By code, as points in WGS 84; null where nobody said where it stands. Has an ETag."""
    after = paging.read(cursor, tuple[str])
    with transaction(request) as connection:
        rows = devices.list_devices(
            connection,
            kind=kind,
            cell=cell,
            online=online,
            after=after[0] if after else None,
            limit=limit + 1,
        )
    now = datetime.now(UTC)
    return _collection(request, [_device(row, now) for row in rows], limit)


def _device(device: DeviceState, now: datetime) -> dict[str, Any]:
    said = shown(device, now)
    lon, lat = said.pop("lon"), said.pop("lat")
    point = None if lon is None or lat is None else {"type": "Point", "coordinates": [lon, lat]}
    return _feature(device.code, point, said)


def _feature(code: str, geometry: object, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "id": code, "geometry": geometry, "properties": said}


def _collection(request: Request, features: Sequence[dict[str, Any]], limit: int) -> Response:
    page = paging.page(features, limit, lambda feature: [feature["id"]])
    body = {"type": "FeatureCollection", "features": page["items"], "next": page["next"]}
    return tagged(request, body, MEDIA_TYPE)
