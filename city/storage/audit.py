"""Who saw and did what: written by everybody in their own transaction, sealed into one chain a moment later.

``record`` is how a row is written. People are named by number (``user:7``), so that a name can be erased elsewhere
without touching a row; what a row says beside that can be erased too (``erase``) and the chain still proves.
"""

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, overload

from psycopg import AsyncConnection, Connection, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from city import tracing
from city.audit_chain import End, Entry, Fault, Sealed, first_fault, seal

_INSERT = (
    "INSERT INTO audit (at, actor, action, object, reason, detail, request)"
    " VALUES (coalesce(%s, now()), %s, %s, %s, %s, %s, %s)"
)
_ENTRIES = "SELECT id, at, actor, action, object, reason, detail::text AS detail, request FROM audit"
_SEALED = (
    "SELECT id, at, actor, action, object, reason, detail::text AS detail, request, seq, salt, said, hash"
    " FROM audit"
)
_PROVED = "audit.proved"
AT_ONCE = 5_000  # rows sealed or proved in one statement


@overload
def record(
    connection: Connection[Any],
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str = "",
    detail: Mapping[str, object] | None = None,
    at: datetime | None = None,
) -> None: ...
@overload
def record(
    connection: AsyncConnection[Any],
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str = "",
    detail: Mapping[str, object] | None = None,
    at: datetime | None = None,
) -> Awaitable[Any]: ...
def record(
    connection: Connection[Any] | AsyncConnection[Any],
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str = "",
    detail: Mapping[str, object] | None = None,
    at: datetime | None = None,
) -> Awaitable[Any] | None:
    """One row, in the caller's transaction: it stands when what was done stands. To be awaited on an async connection.

    ``actor`` is ``user:7``, ``api-token``, ``command-line`` or ``system``; ``action`` a word like ``session.opened``;
    ``subject`` what it was done to, as ``device:D7``; ``at`` when, None = the transaction's begin. Neither secrets nor
    personal data belong into any of them.
    """
    done = connection.execute(
        _INSERT, (at, actor, action, subject, reason, Jsonb(dict(detail or {})), tracing.request_id.get())
    )
    return done if isinstance(connection, AsyncConnection) else None  # type: ignore[return-value]  # psycopg's coroutine is awaitable


# ── the chain ────────────────────────────────────────────────────────────────────────────────────────


async def seal_some(connection: AsyncConnection[Any], most: int = AT_ONCE) -> int:
    """Chain rows that are committed and not chained, in a transaction of the caller; returns how many.

    0 when there are none, and while another centre is at it.
    """
    cursor = await connection.execute("SELECT seq, hash FROM audit_head FOR UPDATE SKIP LOCKED")
    held = await cursor.fetchone()
    if held is None:
        return 0
    async with connection.cursor(row_factory=class_row(Entry)) as reading:
        await reading.execute(_ENTRIES + " WHERE seq IS NULL ORDER BY id LIMIT %s", (most,))
        entries = await reading.fetchall()
    if not entries:
        return 0
    links, end = seal(
        End(seq=held[0], hash=held[1]), entries, [secrets.token_bytes(16) for _ in range(len(entries))]
    )
    await connection.execute(
        """
        UPDATE audit a SET seq = l.seq, salt = l.salt, said = l.said, hash = l.hash
        FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[], %s::bytea[])
            AS l (id, seq, salt, said, hash)
        WHERE a.id = l.id
        """,
        (
            [link.id for link in links],
            [link.seq for link in links],
            [link.salt for link in links],
            [link.said for link in links],
            [link.hash for link in links],
        ),
    )
    await connection.execute("UPDATE audit_head SET seq = %s, hash = %s", (end.seq, end.hash))
    return len(links)


async def end(connection: AsyncConnection[Any]) -> End:
    """Where the chain ends now."""
    async with connection.cursor(row_factory=class_row(End)) as cursor:
        await cursor.execute("SELECT seq, hash FROM audit_head")
        return await cursor.fetchone() or End()


async def hashes(connection: AsyncConnection[Any], places: Sequence[int]) -> dict[int, bytes]:
    """The hashes at these places of the chain, those that are there."""
    cursor = await connection.execute("SELECT seq, hash FROM audit WHERE seq = ANY(%s)", (list(places),))
    return {int(row[0]): bytes(row[1]) for row in await cursor.fetchall()}


async def prove(connection: AsyncConnection[Any], *, waits_s: float) -> tuple[int, Fault | None]:
    """Hash the whole chain again: rows that prove, and the first fault. ``waits_s``: unsealed for longer is one.

    On a connection in autocommit; everything is read as of one instant, so that a running centre is no fault.
    """
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        whole, at = await end(connection), End()
        while rows := await _sealed_after(connection, at.seq):
            fault, at = first_fault(at, rows)
            if fault is None and at.seq > whole.seq:
                fault = Fault(seq=whole.seq + 1, what="added")
            if fault is not None:
                return at.seq, fault
        if at != whole:
            return at.seq, Fault(seq=at.seq + 1, what="removed" if at.seq < whole.seq else "head")
        return at.seq, await _waiting(connection, waits_s)


async def _sealed_after(connection: AsyncConnection[Any], seq: int) -> list[Sealed]:
    cursor = await connection.execute(
        _SEALED + " WHERE seq > %s ORDER BY seq LIMIT %s",
        (seq, AT_ONCE),
    )
    return [
        Sealed(
            entry=Entry(
                id=row[0],
                at=row[1],
                actor=row[2],
                action=row[3],
                object=row[4],
                reason=row[5],
                detail=row[6],
                request=row[7],
            ),
            seq=row[8],
            salt=row[9],
            said=row[10],
            hash=row[11],
        )
        for row in await cursor.fetchall()
    ]


async def _waiting(connection: AsyncConnection[Any], waits_s: float) -> Fault | None:
    cursor = await connection.execute(
        "SELECT id FROM audit WHERE seq IS NULL AND at < now() - make_interval(secs => %s) ORDER BY id LIMIT 1",
        (waits_s,),
    )
    row = await cursor.fetchone()
    return Fault(seq=0, what="unsealed", entry=row[0]) if row else None


async def waiting(connection: AsyncConnection[Any]) -> tuple[int, datetime | None]:
    """Rows that are not sealed yet, and since when the oldest waits."""
    cursor = await connection.execute("SELECT count(*), min(at) FROM audit WHERE seq IS NULL")
    row = await cursor.fetchone()
    return (int(row[0]), row[1]) if row else (0, None)


async def note_proof(connection: AsyncConnection[Any], *, actor: str, entries: int, faults: int) -> None:
    """That everything was hashed again, and in how many places it was not as it was written."""
    await record(
        connection,
        actor=actor,
        action=_PROVED,
        subject="audit",
        detail={"entries": entries, "faults": faults},
    )


async def last_proof(connection: AsyncConnection[Any]) -> tuple[datetime | None, int]:
    """When all of it was last proved good, and how many faults the newest proof found.

    Never yet: since when there is something to prove, None for nothing.
    """
    cursor = await connection.execute(
        """
        SELECT coalesce(max(at) FILTER (WHERE detail ->> 'faults' = '0'), (SELECT min(at) FROM audit)),
            (array_agg((detail ->> 'faults')::integer ORDER BY id DESC))[1]
        FROM audit WHERE object = 'audit' AND action = %s AND erased_at IS NULL
        """,
        (_PROVED,),
    )
    row = await cursor.fetchone()
    return (row[0], int(row[1] or 0)) if row else (None, 0)


async def erase(connection: AsyncConnection[Any], entry: int, *, actor: str, reason: str) -> bool:
    """Take away what one sealed row says, and record that; False when there is no such row or it is erased."""
    cursor = await connection.execute(
        "UPDATE audit SET object = '', reason = '', detail = '{}', salt = NULL, erased_at = now()"
        " WHERE id = %s AND seq IS NOT NULL AND erased_at IS NULL",
        (entry,),
    )
    if cursor.rowcount == 0:
        return False
    await record(connection, actor=actor, action="audit.erased", subject=f"audit:{entry}", reason=reason)
    return True


# ── looking things up ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """What is looked for; None and empty mean anything. ``action`` and ``object`` are beginnings."""

    actor: str = ""
    action: str = ""
    object: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A row for a person to read; ``by`` is how the actor is called today, ``seq`` None = not sealed yet."""

    id: int
    at: datetime
    actor: str
    by: str
    action: str
    object: str
    reason: str
    detail: dict[str, Any]
    request: str
    seq: int | None
    erased_at: datetime | None


async def find(
    connection: AsyncConnection[Any], sought: Sought, *, before: int | None, limit: int
) -> list[Found]:
    """Newest first, those before row ``before``."""
    wanted: list[sql.SQL] = [sql.SQL("(%(before)s::bigint IS NULL OR a.id < %(before)s)")]
    if sought.actor:
        wanted.append(sql.SQL("a.actor = %(actor)s"))
    if sought.action:
        wanted.append(sql.SQL("starts_with(a.action, %(action)s)"))
    if sought.object:
        wanted.append(sql.SQL("starts_with(a.object, %(object)s)"))
    if sought.since is not None:
        wanted.append(sql.SQL("a.at >= %(since)s"))
    if sought.until is not None:
        wanted.append(sql.SQL("a.at < %(until)s"))
    async with connection.cursor(row_factory=class_row(Found)) as cursor:
        await cursor.execute(
            sql.SQL(
                """
                SELECT a.id, a.at, a.actor, coalesce(nullif(p.display_name, ''), p.name, a.actor) AS "by", a.action,
                       a.object, a.reason, a.detail, a.request, a.seq, a.erased_at
                FROM audit a LEFT JOIN users p ON a.actor = 'user:' || p.id
                WHERE {} ORDER BY a.id DESC LIMIT %(limit)s
                """
            ).format(sql.SQL(" AND ").join(wanted)),
            {
                "before": before,
                "limit": limit,
                "actor": sought.actor,
                "action": sought.action,
                "object": sought.object,
                "since": sought.since,
                "until": sought.until,
            },
        )
        return await cursor.fetchall()
