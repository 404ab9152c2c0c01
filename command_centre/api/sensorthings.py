"""OGC SensorThings API 1.1, read only: what every GIS and data platform asks a sensor service in."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from city.sensorthings import address, options
from city.sensorthings.model import ENTITIES, Entity, SensorThingsError
from city.storage import sensorthings
from city.storage.sensorthings import Connection, Page, TooCostlyError
from command_centre import sensorthings as written
from command_centre.api.answers import answer, files
from command_centre.api.problem import Problem
from command_centre.api.services import async_transaction, services

router = APIRouter(tags=["sensorthings"])

MOST_ENTITIES = 20_000  # of one answer, expanded ones included
LONGEST_QUERY = 8_000  # characters
PATIENCE_S = 10.0  # of one answer
PLACE = f"/sensorthings/{written.VERSION}"


@router.get(PLACE, summary="SensorThings: the service root", operation_id="sensorthings_root")
def service_root(request: Request) -> Response:
    """Entity sets and conformance."""
    return answer(written.root(_base(request)))


@router.get(
    PLACE + "/{path:path}",
    summary="SensorThings: entities by path",
    operation_id="sensorthings_entities",
    responses=files("text/plain", words="JSON; `$value` is plain"),
)
async def entities(request: Request, path: str) -> Response:
    """Things, Locations, Datastreams, Observations and the rest, with $filter, $expand, $select, $orderby, $top,
    $skip, $count; docs/outputs.md says which of the standard is spoken."""
    try:
        if len(request.url.query) > LONGEST_QUERY:
            raise SensorThingsError(
                400, "query", request.url.query[:40] + "…", f"is over {LONGEST_QUERY} characters", "查询过长"
            )
        asked = address.parse(path.rstrip("/"))
        query = options.parse(asked.entity, request.query_params.multi_items())
        async with asyncio.timeout(PATIENCE_S), async_transaction(request) as connection:
            reading = _Reading(connection, _base(request))
            return await (reading.many if asked.many else reading.single)(asked, query)
    except SensorThingsError as error:
        fault = {"field": error.field, "value": error.value, "remedy": error.remedy}
        raise Problem(
            error.status, str(error), f"{error.field} = {error.value}：{error.remedy_zh}", errors=[fault]
        ) from error
    except (TooCostlyError, TimeoutError) as error:
        raise Problem(
            503,
            "the answer takes too long: ask for one Datastream, a shorter time, fewer expansions or no $count",
            "查询耗时过长：请限定数据流、缩短时间范围、减少展开或去掉 $count",
        ) from error


def _base(request: Request) -> str:
    outside = services(request).settings.public_url or str(request.base_url)
    return outside.rstrip("/") + PLACE


class _Reading:
    """One answer: its connection, and how many more entities may be in it."""

    def __init__(self, connection: Connection, base: str) -> None:
        self._connection = connection
        self._base = base
        self._left = MOST_ENTITIES

    async def single(self, asked: address.Address, query: options.Query) -> Response:
        """One entity, or one property of it."""
        row = await sensorthings.get(self._connection, asked.steps)
        if row is None:
            raise _none(asked)
        if asked.form == "ref":
            return answer({"@iot.selfLink": written.self_link(asked.entity, row, self._base)})
        if asked.name is not None:
            value = row["id"] if asked.name == "id" else written.value(asked.entity, asked.name, row)
            if asked.form == "json":
                return answer({asked.name: value})
            plain = isinstance(value, str | int | float)
            return PlainTextResponse(str(value)) if plain else answer(value)
        return answer((await self._shown(asked.entity, [row], query))[0])

    async def many(self, asked: address.Address, query: options.Query) -> Response:
        """A list of entities, a page of it."""
        found = await sensorthings.page(self._connection, asked.steps, query)
        parents = asked.steps[:-1]
        if not found.rows and parents and await sensorthings.get(self._connection, parents) is None:
            raise _none(asked)
        entity = asked.entity
        rows: Sequence[Any]
        if asked.form == "ref":
            rows = [{"@iot.selfLink": written.self_link(entity, row, self._base)} for row in found.rows]
        elif query.data_array:
            rows = written.data_arrays(found.rows, query, self._base)
        else:
            rows = await self._shown(entity, found.rows, query)
        return answer(self._listed(found, rows, f"{self._base}/{asked.written}", query))

    def _listed(self, found: Page, rows: Sequence[Any], where: str, query: options.Query) -> dict[str, Any]:
        return written.listed(rows, count=found.count, address=where, query=query, after=found.after)

    async def _shown(
        self, entity: Entity, rows: Sequence[Mapping[str, Any]], query: options.Query
    ) -> list[dict[str, Any]]:
        """The rows as entities, with what ``$expand`` wants in its place: one query for each expansion and depth."""
        self._left -= len(rows)
        if self._left < 0:
            raise SensorThingsError(
                400,
                "$expand",
                f"over {MOST_ENTITIES} entities",
                "lower $top here or within $expand",
                "请减小 $top",
            )
        shown = [written.one(entity, row, query, self._base) for row in rows]
        for expand in query.expand if rows else ():
            await self._expand(entity, rows, expand, shown)
        return shown

    async def _expand(
        self,
        entity: Entity,
        rows: Sequence[Mapping[str, Any]],
        expand: options.Expand,
        shown: Sequence[dict[str, Any]],
    ) -> None:
        way = entity.navigations[expand.navigation]
        target = ENTITIES[way.target]
        keys = [tuple(row[near] for near, _ in way.link) for row in rows]
        parents = list(dict.fromkeys(keys))
        pages = await sensorthings.beside(
            self._connection, target, way.link, parents, expand.query, self._left + 1
        )
        flat = [row for page in pages for row in page.rows]
        inner = iter(await self._shown(target, flat, expand.query))
        by_parent = {
            key: (page, [next(inner) for _ in page.rows]) for key, page in zip(parents, pages, strict=True)
        }
        name = expand.navigation
        for row, key, whole in zip(rows, keys, shown, strict=True):
            page, items = by_parent[key]
            whole.pop(f"{name}@iot.navigationLink", None)
            if not way.many:
                whole[name] = items[0] if items else None
                continue
            where = f"{written.self_link(entity, row, self._base)}/{name}"
            listed = self._listed(page, items, where, expand.query)
            whole[name] = listed.pop("value")
            whole |= {f"{name}{control}": said for control, said in listed.items()}


def _none(asked: address.Address) -> SensorThingsError:
    return SensorThingsError(404, "path", asked.written, "there is nothing of this address", "该地址没有内容")
