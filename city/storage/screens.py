"""Walls that an administrator paired, and whose log-ins are behind open screens; asynchronous.

Secrets arrive digested: neither a pairing address nor a screen's cookie is ever stored plain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.storage import audit

Connection = AsyncConnection[Any]
Row = dict[str, Any]

SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedScreen:
    """``scope`` is an area's code, None the whole district. ``renews``: in use it gets more time by itself."""

    id: int
    name: str
    scope: str | None
    renews: bool
    expires_at: datetime
    revoked_at: datetime | None
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Whose log-in or token; ``unit`` is the code of whom they act for, ``scope`` of the area they reach (None = all).

    ``second_factor``: the log-in has shown one; of a token always.
    """

    digest: bytes
    role: str
    unit: str | None
    scope: str | None
    second_factor: bool


async def people(connection: Connection, digests: Sequence[bytes], now: datetime) -> dict[bytes, Person]:
    """Those of these log-ins and tokens that hold, by digest. A log-in that may only change its password does not."""
    async with connection.cursor(row_factory=class_row(Person)) as cursor:
        await cursor.execute(
            """
            SELECT s.token_digest AS digest, u.role, n.code AS unit, p.scope, s.second_factor
            FROM sessions s JOIN users u ON u.id = s.user_id LEFT JOIN units n ON n.id = u.unit_id
                LEFT JOIN user_scopes p ON p.user_id = u.id
            WHERE s.token_digest = ANY(%(digests)s) AND s.expires_at > %(now)s
              AND s.seen_at > %(now)s::timestamptz - make_interval(secs => s.idle_s)
              AND NOT u.disabled AND NOT u.must_change
            UNION ALL
            SELECT t.digest, t.role, n.code, t.scope, true FROM api_tokens t LEFT JOIN units n ON n.id = t.unit_id
            WHERE t.digest = ANY(%(digests)s) AND t.revoked_at IS NULL AND t.expires_at > %(now)s
            """,
            {"digests": list(digests), "now": now},
        )
        return {person.digest: person for person in await cursor.fetchall()}


_PAIRED = """
    SELECT s.id, s.name, a.code AS scope, s.renews, s.expires_at, s.revoked_at, s.version
    FROM screens s LEFT JOIN areas a ON a.id = s.area_id
"""


async def _paired(
    connection: Connection, query: str, given: Sequence[object] | Mapping[str, object]
) -> list[PairedScreen]:
    async with connection.cursor(row_factory=class_row(PairedScreen)) as cursor:
        await cursor.execute(query, given)
        return await cursor.fetchall()


async def by_token(connection: Connection, digest: bytes) -> PairedScreen | None:
    """The screen that holds this cookie, also one whose access is over."""
    found = await _paired(connection, _PAIRED + " WHERE s.token_digest = %s", (digest,))
    return found[0] if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedScope:
    """Of a screen that may look: ``scope`` is an area's code, None the whole district."""

    scope: str | None


def may_look(connection: psycopg.Connection[Any], digest: bytes, now: datetime) -> PairedScope | None:
    """How far the paired screen with this cookie sees, None when it may not look; for the gate, in a thread."""
    with connection.cursor(row_factory=class_row(PairedScope)) as cursor:
        return cursor.execute(
            """
            SELECT a.code AS scope FROM screens s LEFT JOIN areas a ON a.id = s.area_id
            WHERE s.token_digest = %s AND s.revoked_at IS NULL AND s.expires_at > %s
            """,
            (digest, now),
        ).fetchone()


async def seen(connection: Connection, ids: Sequence[int], now: datetime) -> dict[int, PairedScreen]:
    """Screens that are connected now, noted as seen once a minute."""
    await connection.execute(
        "UPDATE screens SET last_seen_at = %s WHERE id = ANY(%s)"
        " AND (last_seen_at IS NULL OR last_seen_at < %s)",
        (now, list(ids), now - SEEN_EVERY),
    )
    found = await _paired(connection, _PAIRED + " WHERE s.id = ANY(%s)", (list(ids),))
    return {one.id: one for one in found}


async def area(connection: Connection, code: str) -> int | None:
    """The street, community or cell of that code, the widest when several layers use it."""
    cursor = await connection.execute(
        """
        SELECT id FROM areas WHERE code = %s AND valid_to IS NULL AND layer IN ('street', 'community', 'cell')
        ORDER BY array_position(ARRAY['street', 'community', 'cell'], layer) LIMIT 1
        """,
        (code,),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def create(
    connection: Connection,
    *,
    name: str,
    area_id: int | None,
    renews: bool,
    expires_at: datetime,
    pairing: bytes,
    pairing_until: datetime,
    actor: str,
    now: datetime,
) -> int:
    """A screen that waits to be paired; returns its number."""
    cursor = await connection.execute(
        """
        INSERT INTO screens (name, area_id, renews, expires_at, pairing_digest, pairing_until, created_by, created_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (name, area_id, renews, expires_at, pairing, pairing_until, actor, now),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING
    return int(row[0])


async def offer_pairing(connection: Connection, screen_id: int, pairing: bytes, until: datetime) -> bool:
    """Another one-time address for a screen that is not revoked; the one before is worth nothing from now on."""
    cursor = await connection.execute(
        "UPDATE screens SET pairing_digest = %s, pairing_until = %s WHERE id = %s AND revoked_at IS NULL",
        (pairing, until, screen_id),
    )
    return cursor.rowcount == 1


async def trade(
    connection: Connection, pairing: bytes, token: bytes, now: datetime, lasts: timedelta
) -> PairedScreen | None:
    """Take the one-time secret for a cookie; None when it was used, is too old or the screen is revoked.

    A screen that renews itself gets its time anew; another pairing takes the access from the machine before.
    """
    cursor = await connection.execute(
        """
        UPDATE screens SET token_digest = %(token)s, pairing_digest = NULL, pairing_until = NULL, paired_at = %(now)s,
            expires_at = CASE WHEN renews THEN greatest(expires_at, %(now)s + %(lasts)s) ELSE expires_at END
        WHERE pairing_digest = %(pairing)s AND pairing_until > %(now)s AND revoked_at IS NULL RETURNING id
        """,
        {"token": token, "pairing": pairing, "now": now, "lasts": lasts},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return (await _paired(connection, _PAIRED + " WHERE s.id = %s", (row[0],)))[0]


async def renew(connection: Connection, screen_id: int, until: datetime) -> None:
    """More time for a screen that is in use and renews itself."""
    await connection.execute(
        "UPDATE screens SET expires_at = greatest(expires_at, %s) WHERE id = %s AND renews AND revoked_at IS NULL",
        (until, screen_id),
    )


_CHANGE = """
    UPDATE screens SET name = coalesce(%(name)s, name),
        area_id = CASE WHEN %(place)s THEN %(area)s ELSE area_id END,
        expires_at = coalesce(%(expires_at)s, expires_at), version = version + 1
    WHERE id = %(id)s AND revoked_at IS NULL AND (%(version)s::int IS NULL OR version = %(version)s)
"""


async def change(
    connection: Connection,
    screen_id: int,
    *,
    version: int | None,
    name: str | None,
    place: bool,
    area_id: int | None,
    expires_at: datetime | None,
) -> bool:
    """Change what is given (``place``: the area too, None = the district); False when it moved on or is revoked."""
    cursor = await connection.execute(
        _CHANGE,
        {
            "id": screen_id,
            "version": version,
            "name": name,
            "place": place,
            "area": area_id,
            "expires_at": expires_at,
        },
    )
    return cursor.rowcount == 1


async def revoke(connection: Connection, screen_id: int, actor: str, now: datetime) -> bool:
    """End its access for good; False when that was done before."""
    cursor = await connection.execute(
        """
        UPDATE screens SET revoked_at = %s, revoked_by = %s, pairing_digest = NULL, pairing_until = NULL,
            version = version + 1
        WHERE id = %s AND revoked_at IS NULL
        """,
        (now, actor, screen_id),
    )
    return cursor.rowcount == 1


_LISTED = """
    SELECT s.id, s.name, a.code AS scope, a.name AS scope_name, s.renews, s.expires_at, s.created_by, s.created_at,
           s.paired_at, s.last_seen_at, s.revoked_at, s.revoked_by, s.version,
           CASE WHEN s.revoked_at IS NOT NULL THEN 'revoked' WHEN s.expires_at <= %(now)s THEN 'expired'
                WHEN s.token_digest IS NULL THEN 'waiting' ELSE 'active' END AS state
    FROM screens s LEFT JOIN areas a ON a.id = s.area_id
"""


async def listed(connection: Connection, now: datetime, after: int, limit: int) -> list[Row]:
    """Screens by number above ``after``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _LISTED + " WHERE s.id > %(after)s ORDER BY s.id LIMIT %(limit)s",
            {"now": now, "after": after, "limit": limit},
        )
        return await cursor.fetchall()


async def get(connection: Connection, screen_id: int, now: datetime) -> Row | None:
    """One of them."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_LISTED + " WHERE s.id = %(id)s", {"now": now, "id": screen_id})
        return await cursor.fetchone()


async def record(
    connection: Connection, *, actor: str, action: str, screen_id: int, reason: str = ""
) -> None:
    """Who changed which screen: one row in the audit table."""
    await audit.record(connection, actor=actor, action=action, subject=f"screen:{screen_id}", reason=reason)
