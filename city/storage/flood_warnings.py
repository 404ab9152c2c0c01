"""Warnings and the messages that went out for them; a message is written once and never changed; asynchronous."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from city.flood import Colour, MessageType, Sent, WarningState

Connection = AsyncConnection[Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class FloodWarning:
    """A row of flood_warnings. ``content`` is JSON: what the newest message says, or the draft will."""

    id: int
    state: WarningState
    colour: Colour
    exercise: bool
    content: dict[str, Any]
    expires_at: datetime
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NewMessage:
    """A message about to go out; ``refers_to`` are identifiers of those before it."""

    warning_id: int
    seq: int
    message_type: MessageType
    exercise: bool
    colour: Colour
    identifier: str
    sender: str
    sent: datetime
    headline: str
    headline_en: str
    refers_to: Sequence[str]
    content: Mapping[str, Any]
    xml: bytes
    sha256: bytes
    actor: str
    reason: str


async def draft(  # a row
    connection: Connection,
    *,
    colour: str,
    exercise: bool,
    content: Mapping[str, Any],
    expires_at: datetime,
    actor: str,
    now: datetime,
) -> int:
    """A new draft; returns its id."""
    cursor = await connection.execute(
        """
        INSERT INTO flood_warnings (colour, exercise, content, expires_at, created_at, created_by)
        VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (colour, exercise, Jsonb(dict(content)), expires_at, now, actor),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def lock(connection: Connection, warning_id: int) -> FloodWarning | None:
    """The warning under its row lock; None when there is none."""
    async with connection.cursor(row_factory=class_row(FloodWarning)) as cursor:
        await cursor.execute(
            "SELECT id, state, colour, exercise, content, expires_at, version FROM flood_warnings"
            " WHERE id = %s FOR NO KEY UPDATE",
            (warning_id,),
        )
        return await cursor.fetchone()


async def save(  # a row
    connection: Connection,
    warning_id: int,
    *,
    state: WarningState,
    colour: str,
    content: Mapping[str, Any],
    expires_at: datetime,
    ended_at: datetime | None,
) -> None:
    """Write a locked warning back; its version grows, and whoever was reminded is reminded again of a new end."""
    await connection.execute(
        """
        UPDATE flood_warnings SET state = %s, colour = %s, content = %s, ended_at = %s, version = version + 1,
            reminded_at = CASE WHEN expires_at = %s THEN reminded_at END, expires_at = %s
        WHERE id = %s
        """,
        (state, colour, Jsonb(dict(content)), ended_at, expires_at, expires_at, warning_id),
    )


async def add_message(connection: Connection, message: NewMessage) -> None:
    """Keep what goes out."""
    await connection.execute(
        """
        INSERT INTO flood_warning_messages (warning_id, seq, message_type, exercise, colour, identifier, sender,
            sent, headline, headline_en, refers_to, content, xml, sha256, actor, reason)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            message.warning_id,
            message.seq,
            message.message_type,
            message.exercise,
            message.colour,
            message.identifier,
            message.sender,
            message.sent,
            message.headline,
            message.headline_en,
            list(message.refers_to),
            Jsonb(dict(message.content)),
            message.xml,
            message.sha256,
            message.actor,
            message.reason,
        ),
    )


_SENT = """
    SELECT identifier, warning_id, message_type, exercise, colour, sender, sent, headline, headline_en, xml, sha256
    FROM flood_warning_messages
"""


async def of_warning(connection: Connection, warning_id: int) -> list[Sent]:
    """Every message of a warning, the first first."""
    async with connection.cursor(row_factory=class_row(Sent)) as cursor:
        await cursor.execute(_SENT + " WHERE warning_id = %s ORDER BY seq", (warning_id,))
        return await cursor.fetchall()


async def by_identifier(connection: Connection, identifier: str) -> Sent | None:
    """One message by its CAP identifier."""
    async with connection.cursor(row_factory=class_row(Sent)) as cursor:
        await cursor.execute(_SENT + " WHERE identifier = %s", (identifier,))
        return await cursor.fetchone()


async def newest(connection: Connection, limit: int) -> list[Sent]:
    """The newest messages of all warnings, newest first."""
    async with connection.cursor(row_factory=class_row(Sent)) as cursor:
        await cursor.execute(_SENT + " ORDER BY sent DESC, id DESC LIMIT %s", (limit,))
        return await cursor.fetchall()


# ── what the desk reads ──────────────────────────────────────────────────────────────────────────────

_VIEW = """
    SELECT w.id, w.state, w.colour, w.exercise, w.content, w.expires_at, w.reminded_at, w.created_at, w.ended_at,
           w.version, coalesce(nullif(u.display_name, ''), u.name, w.created_by) AS created_by,
           coalesce(sent.messages, '[]') AS messages
    FROM flood_warnings w
    LEFT JOIN users u ON w.created_by = 'user:' || u.id
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object(
            'identifier', m.identifier, 'message_type', m.message_type, 'sent', m.sent, 'colour', m.colour,
            'headline', m.headline, 'headline_en', m.headline_en, 'reason', m.reason,
            'sha256', encode(m.sha256, 'hex'), 'href', '/cap/' || m.identifier || '.xml',
            'actor', coalesce(nullif(p.display_name, ''), p.name, m.actor)) ORDER BY m.seq) AS messages
        FROM flood_warning_messages m LEFT JOIN users p ON m.actor = 'user:' || p.id WHERE m.warning_id = w.id
    ) sent ON true
"""


async def get(connection: Connection, warning_id: int) -> Row | None:
    """One warning with its messages; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE w.id = %s", (warning_id,))
        return await cursor.fetchone()


async def page(
    connection: Connection,
    *,
    states: Sequence[str],
    exercise: bool | None,
    before: int | None,
    limit: int,
) -> list[Row]:
    """Warnings newest first, only ids below ``before``; no states means all."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _VIEW
            + """
            WHERE (%(states)s::text[] = '{}' OR w.state = ANY(%(states)s))
              AND (%(exercise)s::boolean IS NULL OR w.exercise = %(exercise)s)
              AND (%(before)s::bigint IS NULL OR w.id < %(before)s)
            ORDER BY w.id DESC LIMIT %(limit)s
            """,
            {"states": list(states), "exercise": exercise, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


# ── what only time changes ───────────────────────────────────────────────────────────────────────────


async def expire(connection: Connection, now: datetime) -> list[Row]:
    """End warnings whose time is over; returns id, colour, exercise of each."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            UPDATE flood_warnings SET state = 'expired', ended_at = %s, version = version + 1
            WHERE state = 'issued' AND expires_at <= %s RETURNING id, colour, exercise
            """,
            (now, now),
        )
        return await cursor.fetchall()


async def remind(connection: Connection, now: datetime, ending_by: datetime) -> list[Row]:
    """Mark warnings that end by then as reminded, once; returns id, colour, exercise, expires_at of each."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            UPDATE flood_warnings SET reminded_at = %s
            WHERE state = 'issued' AND reminded_at IS NULL AND expires_at <= %s
            RETURNING id, colour, exercise, expires_at
            """,
            (now, ending_by),
        )
        return await cursor.fetchall()
