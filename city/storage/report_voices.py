"""What reporters say after their report: additions, ratings, reopening, calls back; and what they were told.

Asynchronous; every function works in the caller's transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def additions(connection: Connection, report_id: int) -> int:
    """How often something was added."""
    cursor = await connection.execute(
        "SELECT count(*) FROM report_additions WHERE report_id = %s", (report_id,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def add(connection: Connection, report_id: int, text: str, actor: str, at: datetime) -> None:
    """What the reporter added later."""
    await connection.execute(
        "INSERT INTO report_additions (report_id, at, actor, text) VALUES (%s, %s, %s, %s)",
        (report_id, at, actor, text),
    )


async def rating(connection: Connection, report_id: int) -> Row | None:
    """response, result, manner (1-5), comment, rated_at, changed_at."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT response, result, manner, comment, rated_at, changed_at FROM report_ratings"
            " WHERE report_id = %s",
            (report_id,),
        )
        return await cursor.fetchone()


async def rate(
    connection: Connection,
    report_id: int,
    *,
    response: int,
    result: int,
    manner: int,
    comment: str,
    actor: str,
    at: datetime,
) -> None:
    """Write the rating, or change the one that is there; when it was first given stays."""
    await connection.execute(
        """
        INSERT INTO report_ratings (report_id, response, result, manner, comment, rated_at, changed_at, actor)
        VALUES (%(report)s, %(response)s, %(result)s, %(manner)s, %(comment)s, %(at)s, %(at)s, %(actor)s)
        ON CONFLICT (report_id) DO UPDATE SET response = excluded.response, result = excluded.result,
            manner = excluded.manner, comment = excluded.comment, changed_at = excluded.changed_at,
            actor = excluded.actor
        """,
        {
            "report": report_id,
            "response": response,
            "result": result,
            "manner": manner,
            "comment": comment,
            "actor": actor,
            "at": at,
        },
    )


async def reopened(connection: Connection, report_id: int, at: datetime) -> None:
    """It was opened again because of this report: once."""
    await connection.execute("UPDATE reports SET reopened_at = %s WHERE id = %s", (at, report_id))


async def called_back(
    connection: Connection,
    report_id: int,
    *,
    actor: str,
    reached: bool,
    satisfied: bool | None,
    words: str,
    at: datetime,
) -> None:
    """One call back."""
    await connection.execute(
        """
        INSERT INTO report_callbacks (report_id, at, actor, reached, satisfied, words)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (report_id, at, actor, reached, satisfied, words),
    )


async def callbacks(connection: Connection, report_id: int) -> list[Row]:
    """Calls back, oldest first: at, actor by name, reached, satisfied, words."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT b.at, coalesce(nullif(u.display_name, ''), u.name, b.actor) AS actor, b.reached, b.satisfied,
                   b.words
            FROM report_callbacks b LEFT JOIN users u ON b.actor = 'user:' || u.id
            WHERE b.report_id = %s ORDER BY b.id
            """,
            (report_id,),
        )
        return await cursor.fetchall()


async def callbacks_due(connection: Connection, tries: int, before: int | None, limit: int) -> list[Row]:
    """Reports answered or closed whose reporter wants a call and was not reached in ``tries`` calls.

    Newest id first, only ids below ``before``. Says nothing of the telephone number itself.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT r.id, r.tracking, r.received_at, r.category, i.number, i.state, i.id AS incident,
                   coalesce(i.closed_at, i.fed_back_at) AS answered_at, calls.tried, calls.last_at
            FROM reports r
            JOIN report_contacts c ON c.report_id = r.id AND c.call_back AND c.phone <> ''
            JOIN incidents i ON i.id = r.incident_id AND i.state IN ('fed_back', 'archived', 'voided')
            LEFT JOIN LATERAL (
                SELECT count(*) AS tried, max(at) AS last_at, bool_or(reached) AS reached
                FROM report_callbacks b WHERE b.report_id = r.id
            ) calls ON true
            WHERE NOT coalesce(calls.reached, false) AND calls.tried < %s
              AND (%s::bigint IS NULL OR r.id < %s)
            ORDER BY r.id DESC LIMIT %s
            """,
            (tries, before, before, limit),
        )
        return await cursor.fetchall()


async def told(connection: Connection, steps: Sequence[tuple[int, str, datetime, str]]) -> None:
    """Remember which reporters were told of what: report, state, when, by which way. Addresses stay elsewhere."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO report_notices (report_id, step, at, channel) VALUES (%s, %s, %s, %s)", steps
        )


async def notices(connection: Connection, report_id: int) -> list[Row]:
    """What the reporter was told of, oldest first: step, at, channel."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT step, at, channel FROM report_notices WHERE report_id = %s ORDER BY id", (report_id,)
        )
        return await cursor.fetchall()


async def answered(connection: Connection, incident_id: int) -> tuple[datetime, str] | None:
    """When the reporter was last answered (反馈), and in which words."""
    cursor = await connection.execute(
        """
        SELECT e.at, coalesce(t.text, '') FROM incident_events e
        LEFT JOIN incident_texts t ON t.incident_id = e.incident_id AND t.seq = e.seq
        WHERE e.incident_id = %s AND e.kind = 'fed_back' ORDER BY e.seq DESC LIMIT 1
        """,
        (incident_id,),
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None
