"""Accounts of devices at the broker as people lead them, and who logs in with which; asynchronous."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]

_SHARED_KEPT = 10_000  # clients of shared accounts that are remembered, the newest first


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """One account of a device as people see it: never with a secret, and without its hash.

    ``certificate_only`` = it has no secret. ``ends_at`` None = until it is revoked; ``ended_at`` None = it is good.
    """

    device: str
    account: str
    slot: int
    certificate_only: bool
    families: list[str]
    topics: list[str]
    made_at: datetime
    made_by: str
    reason: str
    ends_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    last_login_at: datetime | None
    last_address: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedLogin:
    """A client that logs in with an account many share."""

    account: str
    client_id: str
    address: str
    first_at: datetime
    last_at: datetime
    times: int


_CREDENTIAL: LiteralString = """
    SELECT d.code AS device, c.account, c.slot, c.secret_hash IS NULL AS certificate_only, c.families, c.topics,
           c.made_at, coalesce(nullif(m.display_name, ''), m.name, c.made_by) AS made_by, c.reason, c.ends_at,
           c.ended_at, coalesce(nullif(e.display_name, ''), e.name, c.ended_by) AS ended_by, c.last_login_at,
           c.last_address
    FROM device_credentials c JOIN devices d ON d.id = c.device_id
    LEFT JOIN users m ON c.made_by = 'user:' || m.id
    LEFT JOIN users e ON c.ended_by = 'user:' || e.id
"""


async def device(connection: Connection, code: str) -> tuple[int, str] | None:
    """(id, registration) of a device, locked against a second change of its credentials; None = there is none."""
    cursor = await connection.execute(
        "SELECT id, registration FROM devices WHERE code = %s FOR NO KEY UPDATE", (code,)
    )
    row = await cursor.fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


async def of_device(connection: Connection, code: str) -> list[Credential]:
    """All that a device ever had, those that are good first, then the newest first."""
    async with connection.cursor(row_factory=class_row(Credential)) as cursor:
        await cursor.execute(
            _CREDENTIAL + " WHERE d.code = %s ORDER BY c.ended_at IS NOT NULL, c.id DESC LIMIT 100", (code,)
        )
        return await cursor.fetchall()


async def add(
    connection: Connection,
    device_id: int,
    *,
    account: str,
    slot: int,
    secret_hash: str | None,
    families: Sequence[str],
    topics: Sequence[str],
    by: str,
    reason: str,
) -> None:
    """A further account; the schema refuses a third that is good."""
    await connection.execute(
        """INSERT INTO device_credentials (device_id, account, slot, secret_hash, families, topics, made_by, reason)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
        (device_id, account, slot, secret_hash, list(families), list(topics), by, reason),
    )


async def without(connection: Connection, kind: str | None) -> list[str]:
    """Codes of registered devices that have no account, of one kind or of all."""
    cursor = await connection.execute(
        """SELECT d.code FROM devices d
           WHERE d.registration = 'registered' AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
             AND NOT EXISTS (SELECT FROM device_credentials c WHERE c.device_id = d.id AND c.ended_at IS NULL)
           ORDER BY d.code""",
        {"kind": kind},
    )
    return [row[0] for row in await cursor.fetchall()]


async def end_later(connection: Connection, account: str, ends_at: datetime) -> None:
    """The old one of a rotation: good until then."""
    await connection.execute(
        "UPDATE device_credentials SET ends_at = %s WHERE account = %s AND ended_at IS NULL",
        (ends_at, account),
    )


async def end(connection: Connection, account: str, *, by: str) -> bool:
    """Revoke what is good of this name; False = nothing is."""
    cursor = await connection.execute(
        "UPDATE device_credentials SET ended_at = now(), ended_by = %s WHERE account = %s AND ended_at IS NULL",
        (by, account),
    )
    return cursor.rowcount == 1


# ── who logs in ──────────────────────────────────────────────────────────────────────────────────────


async def logged_in(connection: Connection, seen: Mapping[str, tuple[datetime, str]]) -> set[str]:
    """Account to (when, address), as the broker's log said; returns those that are, or were, a device's own."""
    await connection.execute(
        """UPDATE device_credentials c SET last_login_at = w.at, last_address = w.address
           FROM unnest(%s::text[], %s::timestamptz[], %s::text[]) AS w (account, at, address)
           WHERE c.account = w.account AND c.ended_at IS NULL""",
        (list(seen), [one[0] for one in seen.values()], [one[1] for one in seen.values()]),
    )
    cursor = await connection.execute(
        "SELECT DISTINCT account FROM device_credentials WHERE account = ANY(%s)", (list(seen),)
    )
    return {row[0] for row in await cursor.fetchall()}


async def shared(connection: Connection, logins: Mapping[tuple[str, str], tuple[datetime, str, int]]) -> None:
    """(account, client id) to (when last, address, how often); the oldest beyond a bound are forgotten."""
    rows = [(*who, *what) for who, what in logins.items()]
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO shared_logins AS known (account, client_id, first_at, last_at, address, times)
               VALUES (%(account)s, %(client)s, %(at)s, %(at)s, %(address)s, %(times)s)
               ON CONFLICT (account, client_id) DO UPDATE SET last_at = excluded.last_at,
                   address = excluded.address, times = known.times + excluded.times""",
            [
                {"account": account, "client": client, "at": at, "address": address, "times": times}
                for account, client, at, address, times in rows
            ],
        )
    await connection.execute(
        "DELETE FROM shared_logins WHERE last_at < (SELECT last_at FROM shared_logins"
        " ORDER BY last_at DESC OFFSET %s LIMIT 1)",
        (_SHARED_KEPT,),
    )


async def refused(connection: Connection, now: datetime, times: int) -> None:
    """Log-ins that the broker refused; kept for a month, by hour."""
    await connection.execute(
        """INSERT INTO refused_logins AS known (hour, times) VALUES (date_trunc('hour', %s::timestamptz, 'UTC'), %s)
           ON CONFLICT (hour) DO UPDATE SET times = known.times + excluded.times""",
        (now, times),
    )
    await connection.execute("DELETE FROM refused_logins WHERE hour < now() - interval '31 days'")


async def refused_since(connection: Connection, since: datetime) -> int:
    """How many log-ins the broker refused in the hours from then on."""
    cursor = await connection.execute(
        "SELECT coalesce(sum(times), 0)::bigint FROM refused_logins WHERE hour >= %s", (since,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def shared_logins(connection: Connection, *, limit: int) -> list[SharedLogin]:
    """Who still shares an account, the last to log in first."""
    async with connection.cursor(row_factory=class_row(SharedLogin)) as cursor:
        await cursor.execute(
            "SELECT account, client_id, address, first_at, last_at, times FROM shared_logins"
            " ORDER BY last_at DESC LIMIT %s",
            (limit,),
        )
        return await cursor.fetchall()


async def unprotected(connection: Connection, *, limit: int) -> list[dict[str, object]]:
    """Registered devices that were heard through an account that is neither theirs nor their gateway's.

    ``code``, ``why`` (none = it has no account, unused = it has one that never logged in), ``last_heard_at``.
    """
    cursor = await connection.execute(
        """SELECT d.code, CASE WHEN c.account IS NULL THEN 'none' ELSE 'unused' END, p.last_heard_at
           FROM devices d JOIN presence p ON p.device_id = d.id
           LEFT JOIN device_credentials c ON c.device_id = d.id AND c.ended_at IS NULL AND c.slot = 1
           WHERE d.registration = 'registered' AND p.last_heard_at IS NOT NULL
             AND (c.account IS NULL OR c.last_login_at IS NULL AND p.last_heard_at > c.made_at)
             AND NOT EXISTS (SELECT FROM device_credentials o WHERE o.device_id = d.id AND o.ended_at IS NULL
                             AND o.last_login_at IS NOT NULL)
             AND NOT EXISTS (SELECT FROM devices g JOIN device_credentials gc ON gc.device_id = g.id
                             WHERE g.code = d.gateway AND gc.ended_at IS NULL AND gc.last_login_at IS NOT NULL)
           ORDER BY d.code LIMIT %s""",
        (limit,),
    )
    return [{"code": row[0], "why": row[1], "last_heard_at": row[2]} for row in await cursor.fetchall()]


async def counts(connection: Connection) -> dict[str, int]:
    """``good`` accounts, ``ending`` ones of rotations, ``unused`` ones that never logged in."""
    cursor = await connection.execute(
        """SELECT count(*), count(*) FILTER (WHERE ends_at IS NOT NULL),
                  count(*) FILTER (WHERE last_login_at IS NULL)
           FROM device_credentials WHERE ended_at IS NULL"""
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  # an aggregate has one row
    return {"good": row[0], "ending": row[1], "unused": row[2]}
