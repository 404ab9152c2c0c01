"""SensorThings' entity sets as queries over the register and the observations; asynchronous, read only.

Readings of a clock that runs ahead are left out, as in every other list of readings: they would stand as the newest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, errors, sql
from psycopg.rows import dict_row

from city.errors import CityError
from city.sensorthings.address import Step
from city.sensorthings.model import Entity
from city.sensorthings.options import Query
from city.storage.sensorthings_where import RELATIONS, Bound, Key, beyond, condition, every, joined, ordered

Connection = AsyncConnection[Any]
Row = dict[str, Any]

PATIENCE_MS = 5_000  # of one query


class TooCostlyError(CityError):
    """The database was stopped after PATIENCE_MS: the question has to be narrower."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """``rows`` carry every column of the relation; ``after`` continues the list, None at its end."""

    rows: list[Row]
    after: tuple[object, ...] | None
    count: int | None


async def get(connection: Connection, steps: Sequence[Step]) -> Row | None:
    """The one entity at the end of ``steps``, or None."""
    bound = Bound()
    start, conditions = joined(steps, bound)
    query = sql.SQL("SELECT t.* FROM {} WHERE {} LIMIT 1").format(start, every(conditions))
    found = await _fetch(connection, query, bound)
    return found[0] if found else None


async def page(connection: Connection, steps: Sequence[Step], query: Query) -> Page:
    """The list at the end of ``steps``, one page of it. Raises TooCostlyError."""
    entity, bound = steps[-1].entity, Bound()
    start, conditions = joined(steps, bound)
    if query.where is not None:
        conditions.append(condition(query.where, entity, "t", bound))
    count = None
    if query.count:
        asked = sql.SQL("SELECT count(*) AS n FROM {} WHERE {}").format(start, every(conditions))
        count = (await _fetch(connection, asked, bound))[0]["n"]
    if query.after is not None:
        conditions.append(beyond(query.order, query.after, bound))
    rows = await _fetch(
        connection,
        sql.SQL("SELECT t.* FROM {} WHERE {} ORDER BY {} LIMIT {} OFFSET {}").format(
            start,
            every(conditions),
            ordered(query.order),
            bound.value(query.top + 1),
            bound.value(query.skip),
        ),
        bound,
    )
    return _page(rows, query, count)


async def beside(
    connection: Connection,
    entity: Entity,
    link: Sequence[tuple[str, str]],
    parents: Sequence[Key],
    query: Query,
    most: int,
) -> list[Page]:
    """A page of ``entity`` for each of ``parents``, which are values of the link's near columns; one query.

    Reads at most ``most`` rows in all; more come back cut, which the caller sees by their number.
    """
    bound = Bound()
    conditions: list[sql.Composable] = [
        sql.SQL("t.{} = p.{}").format(sql.Identifier(far), sql.Identifier(f"k{place}"))
        for place, (_, far) in enumerate(link)
    ]
    if query.where is not None:
        conditions.append(condition(query.where, entity, "t", bound))
    columns = sql.SQL(", ").join(sql.Identifier(f"k{place}") for place in range(len(link)))
    arrays = sql.SQL(", ").join(
        sql.SQL("{}::bigint[]").format(bound.value([key[place] for key in parents]))
        for place in range(len(link))
    )
    counted = sql.SQL("count(*) OVER ()") if query.count else sql.SQL("NULL::bigint")
    asked = sql.SQL(
        "SELECT p.n AS parent_n, t.* FROM unnest({arrays}) WITH ORDINALITY AS p({columns}, n) CROSS JOIN LATERAL ("
        " SELECT t.*, {counted} AS counted_n FROM ({relation}) AS t WHERE {conditions}"
        " ORDER BY {order} LIMIT {top} OFFSET {skip}) AS t ORDER BY p.n, {order} LIMIT {most}"
    ).format(
        arrays=arrays,
        columns=columns,
        counted=counted,
        relation=sql.SQL(RELATIONS[entity.plural]),
        conditions=every(conditions),
        order=ordered(query.order),
        top=bound.value(query.top + 1),
        skip=bound.value(query.skip),
        most=bound.value(most),
    )
    groups: list[list[Row]] = [[] for _ in parents]
    counts: list[int | None] = [0 if query.count else None for _ in parents]
    for row in await _fetch(connection, asked, bound):
        place = row.pop("parent_n") - 1
        counts[place] = row.pop("counted_n")
        groups[place].append(row)
    return [_page(rows, query, count) for rows, count in zip(groups, counts, strict=True)]


def _page(rows: list[Row], query: Query, count: int | None) -> Page:
    more = len(rows) > query.top
    shown = rows[: query.top]
    after = tuple(shown[-1][one.property.column] for one in query.order) if more and shown else None
    return Page(rows=shown, after=after, count=count)


async def _fetch(connection: Connection, query: sql.Composed, bound: Bound) -> list[Row]:
    try:
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute("SELECT set_config('statement_timeout', %s, true)", (f"{PATIENCE_MS}ms",))
            await cursor.execute(query, bound.values)
            return await cursor.fetchall()
    except errors.QueryCanceled as error:
        raise TooCostlyError(f"the answer takes longer than {PATIENCE_MS // 1000} s") from error
