"""What SensorThings' filters and paths become in SQL: columns come from the model, every value is a bound parameter."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql

from city.sensorthings import filters
from city.sensorthings.address import Step
from city.sensorthings.model import ENTITIES, Entity, key_of
from city.sensorthings.options import Order

Key = tuple[Any, ...]

# A district of 200,000 devices keeps no list of its series; those of a page's devices are looked for in the hourly
# rollups (past days) and in the last three days' readings, from one metric to the next by the index. Asking for each of
# the district's metrics whether the device has it took 13 s for a page (bench/outputs.py), this takes 10 ms.
RELATIONS: Mapping[str, LiteralString] = {
    "Things": """
        SELECT d.id, d.code, d.kind, d.model, d.owner_unit AS owner, d.maintainer_unit AS maintainer, d.registration,
               coalesce(a.code, '') AS cell, coalesce(nullif(d.name, ''), d.code) AS name,
               coalesce(nullif(k.name_en, ''), k.code) || ' ' || d.code AS description,
               jsonb_build_object('code', d.code, 'kind', d.kind, 'model', d.model, 'owner', d.owner_unit,
                   'maintainer', d.maintainer_unit, 'registration', d.registration, 'cell', a.code,
                   'address', d.address, 'gateway', d.gateway, 'serviceState', d.service_state) AS properties
        FROM devices d JOIN device_kinds k ON k.code = d.kind LEFT JOIN areas a ON a.id = d.cell_id""",
    "Locations": """
        SELECT d.id, d.code, coalesce(a.code, '') AS cell,
               coalesce(nullif(d.address, ''), nullif(d.name, ''), d.code) AS name,
               'where ' || d.code || ' stands' AS description, 'application/geo+json' AS encoding,
               jsonb_build_object('type', 'Point', 'coordinates', jsonb_build_array(d.longitude, d.latitude))
                   AS location,
               jsonb_build_object('code', d.code, 'cell', a.code) AS properties, d.longitude, d.latitude
        FROM devices d LEFT JOIN areas a ON a.id = d.cell_id
        WHERE d.longitude IS NOT NULL AND d.latitude IS NOT NULL""",
    "HistoricalLocations": """
        SELECT d.id, coalesce(d.edited_at, d.registered_at) AS time FROM devices d
        WHERE d.longitude IS NOT NULL AND d.latitude IS NOT NULL""",
    "Datastreams": """
        SELECT d.id AS device_id, m.id::integer AS metric_id, d.id::bigint * 32768 + m.id AS id, d.code, d.kind,
               m.code AS metric, m.unit AS symbol,
               coalesce(nullif(d.name, ''), d.code) || ' ' || coalesce(nullif(m.name_en, ''), m.code) AS name,
               coalesce(nullif(m.name_en, ''), m.code) || ' of ' || d.code AS description,
               'http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement' AS observation_type,
               jsonb_build_object('name', m.unit, 'symbol', m.unit, 'definition', '') AS unit,
               jsonb_build_object('code', d.code, 'metric', m.code, 'kind', d.kind) AS properties
        FROM devices d CROSS JOIN LATERAL (
            WITH RECURSIVE rolled AS (
                (SELECT r.metric_id FROM rollups r
                 WHERE r.step_s = 3600 AND r.device_id = d.id ORDER BY r.metric_id LIMIT 1)
                UNION ALL
                SELECT (SELECT r.metric_id FROM rollups r WHERE r.step_s = 3600 AND r.device_id = d.id
                        AND r.metric_id > b.metric_id ORDER BY r.metric_id LIMIT 1)
                FROM rolled b WHERE b.metric_id IS NOT NULL
            ), lately AS (
                (SELECT o.metric_id FROM observations o
                 WHERE o.device_id = d.id AND o.observed_at > now() - interval '3 days' ORDER BY o.metric_id LIMIT 1)
                UNION ALL
                SELECT (SELECT o.metric_id FROM observations o WHERE o.device_id = d.id AND o.metric_id > b.metric_id
                        AND o.observed_at > now() - interval '3 days' ORDER BY o.metric_id LIMIT 1)
                FROM lately b WHERE b.metric_id IS NOT NULL
            )
            SELECT metric_id FROM rolled UNION SELECT metric_id FROM lately
            UNION SELECT x.id FROM metrics x JOIN device_kinds k ON k.main_metric = x.code WHERE k.code = d.kind
        ) seen JOIN metrics m ON m.id = seen.metric_id""",
    "Sensors": """
        SELECT d.id, d.code, d.kind, d.model,
               coalesce(nullif(d.model, ''), nullif(k.name_en, ''), k.code) || ' ' || d.code AS name,
               coalesce(nullif(k.name_en, ''), k.code) AS description, 'text/plain' AS encoding,
               concat_ws(' ', nullif(d.vendor, ''), nullif(d.model, ''), k.name) AS metadata,
               jsonb_build_object('code', d.code, 'kind', d.kind, 'model', d.model, 'vendor', d.vendor) AS properties
        FROM devices d JOIN device_kinds k ON k.code = d.kind""",
    "ObservedProperties": """
        SELECT m.id::integer AS id, m.code, coalesce(nullif(m.name_en, ''), m.code) AS name,
               'urn:city:metric:' || m.code AS definition, coalesce(nullif(m.name, ''), m.code) AS description,
               jsonb_build_object('code', m.code, 'unit', m.unit) AS properties
        FROM metrics m""",
    "Observations": """
        SELECT o.device_id, o.metric_id, o.observed_at, o.received_at, o.value, o.quality, o.seq,
               (o.device_id::bigint * 32768 + o.metric_id)::text || '-'
                   || (extract(epoch FROM o.observed_at) * 1000000)::bigint::text AS id
        FROM observations o WHERE o.quality & 4 = 0""",
    "FeaturesOfInterest": """
        SELECT d.id, d.code, coalesce(a.code, '') AS cell,
               coalesce(nullif(d.address, ''), nullif(d.name, ''), d.code) AS name,
               'the place that ' || d.code || ' observes' AS description, 'application/geo+json' AS encoding,
               CASE WHEN d.longitude IS NULL OR d.latitude IS NULL THEN a.geometry ELSE jsonb_build_object(
                   'type', 'Point', 'coordinates', jsonb_build_array(d.longitude, d.latitude)) END AS feature,
               jsonb_build_object('code', d.code, 'cell', a.code) AS properties, d.longitude, d.latitude
        FROM devices d LEFT JOIN areas a ON a.id = d.cell_id""",
}


class Bound:
    """The values of one statement, each under a name of its own, and aliases, each once."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self._aliases = 0

    def value(self, value: object) -> sql.Placeholder:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return sql.Placeholder(name)

    def alias(self) -> str:
        self._aliases += 1
        return f"e{self._aliases}"


def _relation(entity: Entity, alias: str) -> sql.Composed:
    return sql.SQL("({}) AS {}").format(sql.SQL(RELATIONS[entity.plural]), sql.Identifier(alias))


def joined(steps: Sequence[Step], bound: Bound) -> tuple[sql.Composable, list[sql.Composable]]:
    """FROM and WHERE of a path; the last step is ``t``. Each step before it is one row, so none is repeated."""
    relations: list[sql.Composable] = []
    conditions: list[sql.Composable] = []
    before = ""
    for place, step in enumerate(steps):
        alias = "t" if place == len(steps) - 1 else f"p{place}"
        relations.append(_relation(step.entity, alias))
        conditions += _linked(before, alias, step.link)
        if step.key is not None:
            conditions.append(_keyed(step.entity, alias, step.key, bound))
        before = alias
    return sql.SQL(", ").join(relations), conditions


def _linked(near: str, far: str, link: Sequence[tuple[str, str]]) -> list[sql.Composable]:
    return [
        sql.SQL("{} = {}").format(sql.Identifier(near, here), sql.Identifier(far, there))
        for here, there in link
    ]


def _keyed(entity: Entity, alias: str, key: Key, bound: Bound) -> sql.Composable:
    return every(
        [
            sql.SQL("{} = {}").format(sql.Identifier(alias, column.column), bound.value(value))
            for column, value in zip(entity.key, key, strict=True)
        ]
    )


def every(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")


def ordered(order: Sequence[Order]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("t.{} DESC" if one.falling else "t.{}").format(sql.Identifier(one.property.column))
        for one in order
    )


def beyond(order: Sequence[Order], after: Sequence[object], bound: Bound) -> sql.Composable:
    """Rows after ``after``. Where all keys run one way it is a comparison of rows, which an index can begin at."""
    columns = [sql.Identifier("t", one.property.column) for one in order]
    values = [bound.value(value) for value in after]
    signs = [sql.SQL("<" if one.falling else ">") for one in order]
    first = sql.SQL("{} {}= {}").format(columns[0], signs[0], values[0])
    if len({one.falling for one in order}) == 1:
        rest: sql.Composable = sql.SQL("({}) {} ({})").format(
            sql.SQL(", ").join(columns), signs[0], sql.SQL(", ").join(values)
        )
    else:
        rest = sql.SQL("({})").format(
            sql.SQL(" OR ").join(
                every(
                    [sql.SQL("{} = {}").format(columns[n], values[n]) for n in range(place)]
                    + [sql.SQL("{} {} {}").format(columns[place], signs[place], values[place])]
                )
                for place in range(len(order))
            )
        )
    return sql.SQL("{} AND {}").format(first, rest)


def condition(node: filters.Condition, entity: Entity, alias: str, bound: Bound) -> sql.Composable:
    if isinstance(node, filters.Every):
        mark = sql.SQL(" OR " if node.any_of else " AND ")
        return sql.SQL("({})").format(mark.join(condition(part, entity, alias, bound) for part in node.parts))
    if isinstance(node, filters.Negated):
        return sql.SQL("NOT ({})").format(condition(node.part, entity, alias, bound))
    found = _by_key(node, entity, alias, bound)
    if found is not None:
        return found
    aliases: dict[tuple[str, ...], str] = {(): alias}
    relations: list[sql.Composable] = []
    conditions: list[sql.Composable] = []
    for through in sorted({path.through for path in _paths(node)}):
        here, near = entity, alias
        for step in through:
            way = here.navigations[step]
            here, far = ENTITIES[way.target], bound.alias()
            relations.append(_relation(here, far))
            conditions += _linked(near, far, way.link)
            near = far
        aliases[through] = near
    said = _leaf(node, aliases, bound)
    if not relations:
        return said
    return sql.SQL("EXISTS (SELECT FROM {} WHERE {})").format(
        sql.SQL(", ").join(relations), every([*conditions, said])
    )


def _by_key(
    node: filters.Compare | filters.Call, entity: Entity, alias: str, bound: Bound
) -> sql.Composable | None:
    """``id eq …`` and ``Datastream/id eq …`` by the columns that make the id, which are indexed; None = neither."""
    if not isinstance(node, filters.Compare) or node.operator != "eq":
        return None
    path, value = node.left, node.right
    if not isinstance(path, filters.Path) or path.name != "id" or not isinstance(value, filters.Value):
        return None
    owner = ENTITIES[path.owner]
    columns = {column.column: column.column for column in owner.key}
    if path.through:
        way = entity.navigations[path.through[0]]
        near = {far: here for here, far in way.link}
        if len(path.through) > 1 or set(near) != set(columns):
            return None
        columns = near
    key = key_of(owner, str(value.value))
    if key is None:
        return sql.SQL("false")
    return every(
        [
            sql.SQL("{} = {}").format(sql.Identifier(alias, columns[column.column]), bound.value(part))
            for column, part in zip(owner.key, key, strict=True)
        ]
    )


def _paths(node: filters.Condition | filters.Operand) -> list[filters.Path]:
    if isinstance(node, filters.Path):
        return [node]
    if isinstance(node, filters.Compare):
        return _paths(node.left) + _paths(node.right)
    if isinstance(node, filters.Call):
        return [path for argument in node.arguments for path in _paths(argument)]
    return []


_OPERATORS: Mapping[str, LiteralString] = {
    "eq": "=",
    "ne": "<>",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
}
_CASTS: Mapping[str, LiteralString] = {
    "integer": "{}::bigint",
    "number": "{}::double precision",
    "text": "{}::text",
    "time": "{}::timestamptz",
    "boolean": "{}::boolean",
    "area": "{}::polygon",
}
_CALLS: Mapping[str, LiteralString] = {
    "substringof": "(strpos({1}, {0}) > 0)",
    "startswith": "starts_with({0}, {1})",
    "endswith": "(right({0}, length({1})) = {1})",
    "length": "length({0})",
    "indexof": "(strpos({0}, {1}) - 1)",
    "substring": "substr({0}, greatest({1}, 0)::integer + 1)",
    "tolower": "lower({0})",
    "toupper": "upper({0})",
    "trim": "btrim({0})",
    "concat": "({0} || {1})",
    "year": "extract(year FROM {0} AT TIME ZONE 'UTC')",
    "month": "extract(month FROM {0} AT TIME ZONE 'UTC')",
    "day": "extract(day FROM {0} AT TIME ZONE 'UTC')",
    "hour": "extract(hour FROM {0} AT TIME ZONE 'UTC')",
    "minute": "extract(minute FROM {0} AT TIME ZONE 'UTC')",
    "second": "floor(extract(second FROM {0}))",
    "now": "now()",
    "round": "round({0}::numeric)",
    "floor": "floor({0})",
    "ceiling": "ceil({0})",
    "geo.intersects": "coalesce({0} <@ {1}, false)",
    "st_within": "coalesce({0} <@ {1}, false)",
    "st_intersects": "coalesce({0} <@ {1}, false)",
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / nullif({1}::double precision, 0))",
}
_SUBSTRING_OF_LENGTH: LiteralString = "substr({0}, greatest({1}, 0)::integer + 1, greatest({2}, 0)::integer)"


def _leaf(
    node: filters.Compare | filters.Call, aliases: Mapping[tuple[str, ...], str], bound: Bound
) -> sql.Composable:
    if isinstance(node, filters.Call):
        return _operand(node, aliases, bound)
    return sql.SQL("{} {} {}").format(
        _operand(node.left, aliases, bound),
        sql.SQL(_OPERATORS[node.operator]),
        _operand(node.right, aliases, bound),
    )


def _operand(node: filters.Operand, aliases: Mapping[tuple[str, ...], str], bound: Bound) -> sql.Composable:
    if isinstance(node, filters.Value):
        return sql.SQL(_CASTS[node.kind]).format(bound.value(_sent(node.value)))
    if isinstance(node, filters.Path):
        alias = aliases[node.through]
        if node.kind == "place":
            return sql.SQL("point({}, {})").format(
                sql.Identifier(alias, "longitude"), sql.Identifier(alias, "latitude")
            )
        return sql.Identifier(alias, node.meant.column)
    form = _CALLS[node.name]
    if node.name == "substring" and len(node.arguments) == 3:
        form = _SUBSTRING_OF_LENGTH
    return sql.SQL(form).format(*(_operand(argument, aliases, bound) for argument in node.arguments))


def _sent(value: object) -> object:
    if isinstance(value, tuple):  # a ring, as PostgreSQL writes polygons
        return "(" + ",".join(f"({longitude!r},{latitude!r})" for longitude, latitude in value) + ")"
    if isinstance(value, datetime):
        return value.isoformat()
    return value
