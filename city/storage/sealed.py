"""Sealed columns: what a contact's row holds, which keys have sealed something, and sealing anew. Asynchronous.

A value is sealed for its place, ``report_contacts.<column>:<report>``; a notice's address is the contact's own
sealed text, opened when it is sent.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.reports import Contact, dialled
from city.sealed_text import MARK, digest, digests, needs_sealing, proof, seal, unseal
from city.sealing import KeyRing

Connection = AsyncConnection[Any]
_COLUMNS = ("name", "phone", "email")


def columns(keys: KeyRing, report_id: int, contact: Contact) -> dict[str, object]:
    """What a contact's row holds: name, phone, email, and the digest that the number is found by."""
    found: dict[str, object] = {
        column: seal(keys, getattr(contact, column), _place(column, report_id)) for column in _COLUMNS
    }
    number = dialled(contact.phone)
    return {**found, "digest": digest(keys, number) if number else None}


def opened(keys: KeyRing, report_id: int, stored: Contact) -> Contact:
    """The contact behind a row; raises SealingError."""
    return replace(
        stored,
        name=unseal(keys, stored.name, _place("name", report_id)),
        phone=unseal(keys, stored.phone, _place("phone", report_id)),
        email=unseal(keys, stored.email, _place("email", report_id)),
    )


def address(keys: KeyRing, report_id: int, *, by_mail: bool, stored: str) -> str:
    """Where a notice to a reporter goes; raises SealingError."""
    return unseal(keys, stored, _place("email" if by_mail else "phone", report_id))


def _place(column: str, report_id: int) -> str:
    return f"report_contacts.{column}:{report_id}"


async def reports_of(connection: Connection, keys: KeyRing, number: str) -> list[int]:
    """Reports whose contact has this telephone number, oldest first."""
    cursor = await connection.execute(
        """
        SELECT report_id FROM report_contacts WHERE phone_digest = ANY(%s) OR phone = %s ORDER BY report_id
        """,
        (digests(keys, dialled(number)), dialled(number)),
    )
    return [int(row[0]) for row in await cursor.fetchall()]


async def seal_anew(connection: Connection, keys: KeyRing, after: int, limit: int) -> tuple[int, int]:
    """Seal the next contacts that are plain or under an older key; returns the last id looked at, 0 = no more, and
    how many were sealed.

    Each row is locked for its own update alone, and skipped while somebody else has it: they seal it themselves.
    Raises SealingError for one that cannot be opened.
    """
    async with connection.transaction():
        cursor = await connection.execute(
            """
            SELECT report_id, name, phone, email FROM report_contacts WHERE report_id > %s
            ORDER BY report_id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
            """,
            (after, limit),
        )
        rows = await cursor.fetchall()
        stale = [row for row in rows if any(needs_sealing(keys, value) for value in row[1:])]
        for report_id, *values in stale:
            stored = Contact(**dict(zip(_COLUMNS, values, strict=True)))
            await _put(connection, keys, report_id, stored)
    return (int(rows[-1][0]) if len(rows) == limit else 0), len(stale)


async def _put(connection: Connection, keys: KeyRing, report_id: int, stored: Contact) -> None:
    """The row, and what waits to be sent to it."""
    found = columns(keys, report_id, opened(keys, report_id, stored))
    await connection.execute(
        """
        UPDATE report_contacts SET name = %(name)s, phone = %(phone)s, email = %(email)s, phone_digest = %(digest)s
        WHERE report_id = %(report)s
        """,
        {"report": report_id, **found},
    )
    await connection.execute(
        """
        UPDATE notifications SET address = CASE WHEN channel = 'smtp' THEN %(email)s ELSE %(phone)s END
        WHERE report_id = %(report)s AND address <> '' AND channel IN ('smtp', 'sms')
        """,
        {"report": report_id, **found},
    )


async def known_keys(connection: Connection) -> dict[bytes, bytes]:
    """Proofs of the keys that have sealed something here, by id."""
    cursor = await connection.execute("SELECT id, proof FROM data_keys")
    return {bytes.fromhex(row[0]): bytes(row[1]) for row in await cursor.fetchall()}


async def remember_key(connection: Connection, keys: KeyRing, now: datetime) -> None:
    """The newest one seals here from now on."""
    await connection.execute(
        "INSERT INTO data_keys (id, proof, made_at) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING",
        (keys.newest.hex(), proof(keys, keys.newest), now),
    )


async def forget_key(connection: Connection, name: bytes) -> None:
    """A start asks for this key no more."""
    await connection.execute("DELETE FROM data_keys WHERE id = %s", (name.hex(),))


# What is stored begins with the mark and, in eight letters of base64, a format byte and the key's four.
_USES = """
    WITH value (of) AS (
        SELECT unnest(ARRAY[name, phone, email]) FROM report_contacts
        UNION ALL SELECT address FROM notifications WHERE address <> ''
        UNION ALL SELECT webhook_secret FROM units UNION ALL SELECT secret FROM contacts
        UNION ALL SELECT secret FROM intake_systems
    ), key (of) AS (
        SELECT substr(decode(translate(substr(of, 4, 8), '-_', '+/'), 'base64'), 2, 4) FROM value
        WHERE starts_with(of, %s)
        UNION ALL SELECT substr(secret, 2, 4) FROM second_factors
    )
    SELECT of, count(*) FROM key GROUP BY of
"""


async def key_uses(connection: Connection) -> dict[bytes, int]:
    """How many values each key seals, by its id."""
    cursor = await connection.execute(_USES, (MARK,))
    return {bytes(row[0]): int(row[1]) for row in await cursor.fetchall()}


async def plain(connection: Connection) -> int:
    """How many contacts an older release wrote plainly and nobody has sealed yet."""
    cursor = await connection.execute(
        """
        SELECT count(*) FROM report_contacts
        WHERE (name <> '' AND NOT starts_with(name, %(mark)s)) OR (phone <> '' AND NOT starts_with(phone, %(mark)s))
           OR (email <> '' AND NOT starts_with(email, %(mark)s))
        """,
        {"mark": MARK},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
