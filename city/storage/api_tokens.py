"""Tokens of programs: digested, with a role, a reach and an end."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row

Any_Connection = Connection[Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A token that holds; ``only_reads``: it changes nothing, whatever its role could."""

    id: int
    name: str
    role: str
    only_reads: bool
    scope: str | None
    unit_id: int | None


def held(connection: Any_Connection, digest: bytes, now: datetime) -> Token | None:
    """The token of this digest while it lasts; notes to the minute that it is used."""
    with connection.cursor(row_factory=class_row(Token)) as cursor:
        found = cursor.execute(
            "SELECT id, name, role, only_reads, scope, unit_id FROM api_tokens"
            " WHERE digest = %s AND revoked_at IS NULL AND expires_at > %s",
            (digest, now),
        ).fetchone()
    if found is not None:
        connection.execute(
            "UPDATE api_tokens SET last_used_at = %s WHERE id = %s"
            " AND (last_used_at IS NULL OR last_used_at < %s)",
            (now, found.id, now - timedelta(minutes=1)),
        )
    return found


def create(
    connection: Any_Connection,
    *,
    name: str,
    digest: bytes,
    role: str,
    only_reads: bool,
    scope: str | None,
    unit_id: int | None,
    actor: str,
    now: datetime,
    expires_at: datetime,
) -> int:
    """A token; returns its number."""
    row = connection.execute(
        "INSERT INTO api_tokens (name, digest, role, only_reads, scope, unit_id, created_by, created_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (name, digest, role, only_reads, scope, unit_id, actor, now, expires_at),
    ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING
    return int(row[0])


_LISTED = """
    SELECT t.id, t.name, t.role, t.only_reads, t.scope, u.code AS unit, t.created_by, t.created_at, t.expires_at,
           t.revoked_at, t.revoked_by, t.last_used_at,
           CASE WHEN t.revoked_at IS NOT NULL THEN 'revoked' WHEN t.expires_at <= %(now)s THEN 'expired'
                ELSE 'active' END AS state
    FROM api_tokens t LEFT JOIN units u ON u.id = t.unit_id
"""


def listed(connection: Any_Connection, now: datetime, *, before: int | None, limit: int) -> list[Row]:
    """The newest first, the ended ones too; those with a number below ``before``."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            _LISTED
            + " WHERE (%(before)s::integer IS NULL OR t.id < %(before)s) ORDER BY t.id DESC LIMIT %(limit)s",
            {"now": now, "before": before, "limit": limit},
        ).fetchall()


def get(connection: Any_Connection, token_id: int, now: datetime) -> Row | None:
    """One of them."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_LISTED + " WHERE t.id = %(id)s", {"now": now, "id": token_id}).fetchone()


def revoke(connection: Any_Connection, token_id: int, actor: str, now: datetime) -> bool:
    """End it for good; False when that was done before or there is no such token."""
    cursor = connection.execute(
        "UPDATE api_tokens SET revoked_at = %s, revoked_by = %s WHERE id = %s AND revoked_at IS NULL",
        (now, actor, token_id),
    )
    return cursor.rowcount == 1
