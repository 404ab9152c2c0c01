"""Addresses of units and people, as they wish to be told; asynchronous.

Reading them for a decision costs one query for all units it tells; what the district's files say of a unit
(webhook_url, email, lead_email) comes as contacts with id 0.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from city.contacts import Contact
from city.sealing import KeyRing
from city.storage import audit
from city.storage.shared_secrets import OF_CONTACT

Connection = AsyncConnection[Any]

APPROVERS_KIND = (
    "district_centre"  # the units that hear what is asked; beside them every supervisor in person
)

_COLUMNS = """
    c.id, c.unit_id, c.user_id, c.channel, c.address, c.label, c.language, c.lead, c.active, c.purposes, c.quiet,
    c.digest
"""
# The unit's own columns. A lead without a mail address is reached at the unit's; a webhook is a system: it gets both.
_FROM_FILES = """
    SELECT 0::bigint, u.id, NULL::integer, v.channel, v.address, '', 'both', v.lead, true, '{}'::text[], '', v.digest
    FROM units u, LATERAL (VALUES
        ('webhook', u.webhook_url, NULL::boolean, false, 1),
        ('smtp', u.email, CASE WHEN u.lead_email = '' THEN NULL ELSE false END, true, 2),
        ('smtp', u.lead_email, true, true, 3)) v (channel, address, lead, digest, place)
    WHERE u.id = ANY(%(units)s) AND v.address <> ''
"""


async def reachable(connection: Connection, unit_ids: Sequence[int]) -> dict[int, list[Contact]]:
    """By unit: its addresses, then those of the people who act for it, in a fixed order."""
    found: dict[int, list[Contact]] = {unit_id: [] for unit_id in unit_ids}
    if not found:
        return found
    async with connection.cursor(row_factory=class_row(Contact)) as cursor:
        await cursor.execute(
            f"""
            SELECT 0::bigint AS id, id AS unit_id, user_id, channel, address, label, language, lead, active, purposes,
                   quiet, digest
            FROM ({_FROM_FILES}) f (no, id, user_id, channel, address, label, language, lead, active, purposes, quiet,
                                    digest)
            UNION ALL
            SELECT * FROM (
                SELECT {_COLUMNS} FROM contacts c WHERE c.unit_id = ANY(%(units)s) AND c.removed_at IS NULL
                UNION ALL
                SELECT c.id, p.unit_id, c.user_id, c.channel, c.address, c.label, c.language, c.lead, c.active,
                       c.purposes, c.quiet, c.digest
                FROM contacts c JOIN users p ON p.id = c.user_id AND NOT p.disabled
                WHERE p.unit_id = ANY(%(units)s) AND c.removed_at IS NULL) own
            """,  # noqa: S608  # constants of this file
            {"units": list(found)},
        )
        for contact in await cursor.fetchall():
            if contact.unit_id is not None:
                found[contact.unit_id].append(contact)
    return found


async def of_approvers(connection: Connection) -> list[Contact]:
    """Supervisors in person, and the addresses of the centre's own units."""
    cursor = await connection.execute("SELECT id FROM units WHERE active AND kind = %s", (APPROVERS_KIND,))
    units = await reachable(connection, [row[0] for row in await cursor.fetchall()])
    async with connection.cursor(row_factory=class_row(Contact)) as people:
        await people.execute(
            f"SELECT {_COLUMNS} FROM contacts c JOIN users p ON p.id = c.user_id"  # noqa: S608  # a constant of this file
            " WHERE p.role = 'supervisor' AND NOT p.disabled AND c.removed_at IS NULL ORDER BY c.id"
        )
        persons = await people.fetchall()
    known = {contact.id for contact in persons}
    return [
        *persons,
        *(one for each in units.values() for one in each if one.id == 0 or one.id not in known),
    ]


# ── what their owners see and change ─────────────────────────────────────────────────────────────────


async def unit_id(connection: Connection, code: str) -> int | None:
    """A working unit's id."""
    cursor = await connection.execute("SELECT id FROM units WHERE code = %s AND active", (code,))
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def lock(connection: Connection, *, unit: int | None = None, user: int | None = None) -> None:
    """Let one owner's list be changed by one transaction at a time."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtext('contacts'), hashtext(%s))", (f"{unit}:{user}",)
    )


async def own(connection: Connection, *, unit: int | None = None, user: int | None = None) -> list[Contact]:
    """One owner's contacts, oldest first, addresses unmasked."""
    async with connection.cursor(row_factory=class_row(Contact)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM contacts c WHERE c.removed_at IS NULL"  # noqa: S608  # a constant of this file
            " AND c.unit_id IS NOT DISTINCT FROM %s AND c.user_id IS NOT DISTINCT FROM %s ORDER BY c.id",
            (unit, user),
        )
        return await cursor.fetchall()


async def replace(
    connection: Connection, before: Sequence[Contact], after: Sequence[Contact], now: datetime
) -> None:
    """Make an owner's contacts these: id 0 is new, a known id is changed, an id that is missing is removed.

    What waits for the end of quiet hours that no longer are as they were is looked at again at once.
    """
    kept = {contact.id for contact in after}
    gone = [contact.id for contact in before if contact.id not in kept]
    await connection.execute("UPDATE contacts SET removed_at = %s WHERE id = ANY(%s)", (now, gone))
    values = [
        {name: getattr(one, name) for name in Contact.__dataclass_fields__}
        | {"lead": bool(one.lead), "purposes": list(one.purposes)}
        for one in after
    ]
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO contacts (unit_id, user_id, channel, address, label, language, lead, active, purposes, quiet,
                                  digest)
            VALUES (%(unit_id)s, %(user_id)s, %(channel)s, %(address)s, %(label)s, %(language)s, %(lead)s, %(active)s,
                    %(purposes)s, %(quiet)s, %(digest)s)
            """,
            [one for one in values if one["id"] == 0],
        )
        await cursor.executemany(
            """
            UPDATE contacts SET channel = %(channel)s, address = %(address)s, label = %(label)s,
                language = %(language)s, lead = %(lead)s, active = %(active)s, purposes = %(purposes)s,
                quiet = %(quiet)s, digest = %(digest)s
            WHERE id = %(id)s
            """,
            [one for one in values if one["id"] != 0],
        )
    await connection.execute(
        "UPDATE notifications SET next_attempt_at = %(now)s, began_at = %(now)s"
        " WHERE state = 'waiting' AND held AND contact_id = ANY(%(ids)s)",
        {"now": now, "ids": [*kept, *gone]},
    )


async def renew_secret(
    connection: Connection,
    keys: KeyRing,
    contact_id: int,
    *,
    unit: int | None = None,
    user: int | None = None,
) -> str | None:
    """A fresh secret for an owner's webhook, in force at once; None when there is no such webhook."""
    secret = secrets.token_urlsafe(32)
    cursor = await connection.execute(
        "UPDATE contacts SET secret = %s WHERE id = %s AND channel = 'webhook' AND removed_at IS NULL"
        " AND unit_id IS NOT DISTINCT FROM %s AND user_id IS NOT DISTINCT FROM %s",
        (OF_CONTACT.sealed(keys, contact_id, secret), contact_id, unit, user),
    )
    return secret if cursor.rowcount == 1 else None


async def record(connection: Connection, actor: str, owner: str, detail: str, now: datetime) -> None:
    """That addresses were changed, on record without the addresses."""
    await audit.record(
        connection, actor=actor, action="contacts.changed", subject=owner, reason=detail, at=now
    )
