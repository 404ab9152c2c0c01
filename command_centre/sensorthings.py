"""Rows of SensorThings' entity sets as the standard writes them (18-088, clause 8 and 9.3.5); pure."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from city.observations import Quality
from city.sensorthings.model import ENTITIES, Entity
from city.sensorthings.options import Query, token

Row = Mapping[str, Any]
VERSION = "v1.1"
_REQUIREMENTS = "http://www.opengis.net/spec/iot_sensing/1.1/req/"
# What is answered whole. The classes "request-data" and "data-array" as such are not named: some functions of the
# filter language are not spoken (501), and nothing is taken in.
CONFORMANCE = tuple(
    _REQUIREMENTS + name
    for name in (
        "datamodel",
        "resource-path/resource-path-to-entities",
        "request-data/status-code",
        "request-data/query-status-code",
        "request-data/order",
        "request-data/expand",
        "request-data/select",
        "request-data/orderby",
        "request-data/top",
        "request-data/skip",
        "request-data/count",
        "request-data/filter",
        "request-data/built-in-filter-operations",
        "request-data/pagination",
    )
)


def root(base: str) -> dict[str, Any]:
    """The service root: entity sets and what of the standard is spoken."""
    return {
        "value": [{"name": name, "url": f"{base}/{name}"} for name in ENTITIES],
        "serverSettings": {"conformance": CONFORMANCE},
    }


def self_link(entity: Entity, row: Row, base: str) -> str:
    """The address of one entity."""
    written = f"'{row['id']}'" if isinstance(row["id"], str) else row["id"]
    return f"{base}/{entity.plural}({written})"


def one(entity: Entity, row: Row, query: Query | None, base: str) -> dict[str, Any]:
    """An entity with the properties and links that ``$select`` leaves."""
    select = query.select if query is not None else None
    here = self_link(entity, row, base)
    shown: dict[str, Any] = {}
    if select is None or "id" in select:
        shown |= {"@iot.id": row["id"], "@iot.selfLink": here}
    for name in entity.properties:
        if name != "id" and (select is None or name in select):
            shown[name] = value(entity, name, row)
    for name in entity.navigations:
        if select is None or name in select:
            shown[f"{name}@iot.navigationLink"] = f"{here}/{name}"
    return shown


def value(entity: Entity, name: str, row: Row) -> Any:
    """One property as the standard writes it."""
    if name == "resultQuality":
        return [str(one.name).lower() for one in Quality if one and row["quality"] & one] or ["good"]
    if name == "parameters":
        return {"receivedAt": row["received_at"], "sequence": row["seq"]}
    return row[entity.properties[name].column]


def listed(
    rows: Sequence[Any], *, count: int | None, address: str, query: Query, after: Sequence[object] | None
) -> dict[str, Any]:
    """A collection: ``value``, the count when asked for, the link to the next page when there is one."""
    body: dict[str, Any] = {} if count is None else {"@iot.count": count}
    if after is not None:
        body["@iot.nextLink"] = next_link(address, query, after)
    return body | {"value": rows}


def next_link(address: str, query: Query, after: Sequence[object]) -> str:
    """Where a list goes on; by the last row's place in the order, hence without $skip."""
    given = [(name, said) for name, said in query.written if name not in ("$skip", "$skiptoken")]
    written = urlencode([*given, ("$skiptoken", token(after))], safe="$,()/':;=", quote_via=quote)
    return f"{address}?{written}"


def data_arrays(rows: Sequence[Row], query: Query, base: str) -> list[dict[str, Any]]:
    """Observations as a table for each Datastream (clause 13.2)."""
    entity = ENTITIES["Observations"]
    names = [name for name in entity.properties if query.select is None or name in query.select]
    tables: dict[tuple[int, int], dict[str, Any]] = {}
    for row in rows:
        series = (row["device_id"], row["metric_id"])
        if series not in tables:
            stream = row["id"].partition("-")[0]
            tables[series] = {
                "Datastream@iot.navigationLink": f"{base}/Datastreams({stream})",
                "components": names,
                "dataArray@iot.count": 0,
                "dataArray": [],
            }
        table = tables[series]
        table["dataArray"].append([value(entity, name, row) for name in names])
        table["dataArray@iot.count"] += 1
    return list(tables.values())
