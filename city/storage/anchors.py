"""Heads of the chains, written down once an hour under one digest; read back to be compared; asynchronous."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from city.chains import Anchor, Broken, Head, anchor_digest

Connection = AsyncConnection[Any]

_LOCK = 7235_0020  # advisory: of several centres one anchors at a time
_ANCHOR = "SELECT id, at, heads, previous, digest FROM anchors"


async def newest(connection: Connection) -> Anchor | None:
    """The last anchor; None before the first."""
    async with connection.cursor(row_factory=class_row(Anchor)) as cursor:
        await cursor.execute(_ANCHOR + " ORDER BY id DESC LIMIT 1")
        return await cursor.fetchone()


async def after(connection: Connection, number: int) -> list[Anchor]:
    """Anchors behind this one, in order; 0 = all."""
    async with connection.cursor(row_factory=class_row(Anchor)) as cursor:
        await cursor.execute(_ANCHOR + " WHERE id > %s ORDER BY id", (number,))
        return await cursor.fetchall()


async def write(connection: Connection, now: datetime, *, not_before: datetime) -> Anchor | None:
    """Anchor every head that moved since the last anchor, inside the caller's transaction.

    None when none moved, when the last anchor is younger than ``not_before``, or while another centre is at it.
    """
    alone = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
    row = await alone.fetchone()
    last = await newest(connection)
    if not (row and row[0]) or (last is not None and last.at > not_before):
        return None
    async with connection.cursor(row_factory=class_row(Head)) as cursor:
        await cursor.execute(
            """
            SELECT i.id AS incident_id, i.last_seq AS seq, i.head FROM incidents i
            WHERE i.last_seq > 0
              AND NOT EXISTS (SELECT FROM anchored_heads a WHERE a.incident_id = i.id AND a.seq = i.last_seq)
            ORDER BY i.id
            """
        )
        heads = await cursor.fetchall()
    if not heads:
        return None
    anchor = Anchor(
        id=last.id + 1 if last else 1,
        at=now,
        heads=len(heads),
        previous=last.digest if last else secrets.token_bytes(32),
        digest=b"",
    )
    anchor = replace(anchor, digest=anchor_digest(anchor.id, now, anchor.previous, heads))
    await connection.execute(
        "INSERT INTO anchors (id, at, heads, previous, digest) VALUES (%s, %s, %s, %s, %s)",
        (anchor.id, anchor.at, anchor.heads, anchor.previous, anchor.digest),
    )
    await connection.execute(
        "INSERT INTO anchored_heads (incident_id, seq, head, anchor_id)"
        " SELECT *, %s FROM unnest(%s::bigint[], %s::integer[], %s::bytea[])",
        (anchor.id, [h.incident_id for h in heads], [h.seq for h in heads], [h.head for h in heads]),
    )
    return anchor


async def prove(connection: Connection) -> AsyncIterator[Broken]:
    """Anchors that are not as they were written: numbered without gaps, each linked, its heads under its digest."""
    expected, previous = 1, b""
    for anchor in await after(connection, 0):
        if anchor.id != expected or (previous and anchor.previous != previous):
            yield Broken(number="", seq=0, what="anchor", anchor=min(expected, anchor.id))
        else:
            async with connection.cursor(row_factory=class_row(Head)) as cursor:
                await cursor.execute(
                    "SELECT incident_id, seq, head FROM anchored_heads WHERE anchor_id = %s", (anchor.id,)
                )
                heads = await cursor.fetchall()
            if anchor_digest(anchor.id, anchor.at, anchor.previous, heads) != anchor.digest:
                yield Broken(number="", seq=0, what="anchor", anchor=anchor.id)
        expected, previous = anchor.id + 1, anchor.digest


async def compare(connection: Connection, incident_id: int | None = None) -> list[Broken]:
    """Chains that do not hold what was anchored of them: the first differing anchor of each incident, set-based."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT ON (a.incident_id) a.incident_id, coalesce(i.number, 'id ' || a.incident_id::text), a.seq,
               CASE WHEN e.hash IS NULL THEN 'gone' ELSE 'anchored' END, a.anchor_id
        FROM anchored_heads a
        LEFT JOIN incident_events e ON e.incident_id = a.incident_id AND e.seq = a.seq
        LEFT JOIN incidents i ON i.id = a.incident_id
        WHERE e.hash IS DISTINCT FROM a.head AND (%(one)s::bigint IS NULL OR a.incident_id = %(one)s)
        ORDER BY a.incident_id, a.seq LIMIT 10000
        """,
        {"one": incident_id},
    )
    return [
        Broken(incident_id=row[0], number=row[1], seq=row[2], what=row[3], anchor=row[4])
        for row in await cursor.fetchall()
    ]
