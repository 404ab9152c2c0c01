"""Second factors by time and the codes for when one is lost. Secrets arrive sealed, codes digested."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

Any_Connection = Connection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactor:
    """``confirmed_at`` None: begun, and guards nothing yet. ``last_step``: the time step of the last code taken."""

    user_id: int
    secret: bytes
    confirmed_at: datetime | None
    last_step: int


def get(connection: Any_Connection, user_id: int) -> SecondFactor | None:
    """The person's second factor, also one that is only begun."""
    with connection.cursor(row_factory=class_row(SecondFactor)) as cursor:
        return cursor.execute(
            "SELECT user_id, secret, confirmed_at, last_step FROM second_factors WHERE user_id = %s",
            (user_id,),
        ).fetchone()


def begin(connection: Any_Connection, user_id: int, secret: bytes, now: datetime) -> bool:
    """A fresh secret that guards nothing yet; False when a confirmed one stands."""
    cursor = connection.execute(
        """
        INSERT INTO second_factors AS f (user_id, secret, created_at) VALUES (%s, %s, %s)
        ON CONFLICT (user_id) DO UPDATE SET secret = EXCLUDED.secret, created_at = EXCLUDED.created_at, last_step = 0
        WHERE f.confirmed_at IS NULL
        """,
        (user_id, secret, now),
    )
    return cursor.rowcount == 1


def use_step(connection: Any_Connection, user_id: int, step: int) -> bool:
    """Take the code of this time step; False when it, or a later one, was taken before (RFC 6238, 5.2)."""
    cursor = connection.execute(
        "UPDATE second_factors SET last_step = %s WHERE user_id = %s AND last_step < %s",
        (step, user_id, step),
    )
    return cursor.rowcount == 1


def seal_anew(connection: Any_Connection, user_id: int, secret: bytes) -> None:
    """The same secret under another key."""
    connection.execute("UPDATE second_factors SET secret = %s WHERE user_id = %s", (secret, user_id))


async def all_sealed(connection: AsyncConnection[Any]) -> list[tuple[int, bytes]]:
    """Every person's secret as it stands: number of the person, sealed."""
    cursor = await connection.execute("SELECT user_id, secret FROM second_factors ORDER BY user_id")
    return [(int(row[0]), bytes(row[1])) for row in await cursor.fetchall()]


async def put_sealed(connection: AsyncConnection[Any], user_id: int, before: bytes, after: bytes) -> bool:
    """The same secret under another key; False when it was changed meanwhile."""
    cursor = await connection.execute(
        "UPDATE second_factors SET secret = %s WHERE user_id = %s AND secret = %s", (after, user_id, before)
    )
    return cursor.rowcount == 1


def confirm(connection: Any_Connection, user_id: int, codes: Sequence[bytes], now: datetime) -> None:
    """From now on it is asked for; these are the digests of its recovery codes."""
    connection.execute("UPDATE second_factors SET confirmed_at = %s WHERE user_id = %s", (now, user_id))
    replace_codes(connection, user_id, codes)


def replace_codes(connection: Any_Connection, user_id: int, codes: Sequence[bytes]) -> None:
    """Fresh recovery codes; those before are worth nothing."""
    connection.execute("DELETE FROM recovery_codes WHERE user_id = %s", (user_id,))
    connection.execute(
        "INSERT INTO recovery_codes (digest, user_id) SELECT code, %s FROM unnest(%s::bytea[]) AS given (code)",
        (user_id, list(codes)),
    )


def use_code(connection: Any_Connection, user_id: int, digest: bytes) -> bool:
    """Spend a recovery code; False when there is none like it."""
    cursor = connection.execute(
        "DELETE FROM recovery_codes WHERE user_id = %s AND digest = %s", (user_id, digest)
    )
    return cursor.rowcount == 1


def codes_left(connection: Any_Connection, user_id: int) -> int:
    """How many recovery codes were not spent."""
    row = connection.execute("SELECT count(*) FROM recovery_codes WHERE user_id = %s", (user_id,)).fetchone()
    return int(row[0]) if row else 0


def remove(connection: Any_Connection, user_id: int) -> bool:
    """No second factor any more, and no codes; False when there was none."""
    connection.execute("DELETE FROM recovery_codes WHERE user_id = %s", (user_id,))
    return connection.execute("DELETE FROM second_factors WHERE user_id = %s", (user_id,)).rowcount == 1


def holders(connection: Any_Connection) -> set[int]:
    """Who has one that is asked for."""
    rows = connection.execute("SELECT user_id FROM second_factors WHERE confirmed_at IS NOT NULL").fetchall()
    return {int(row[0]) for row in rows}
