"""Secrets that another system holds too, since both sign with them: sealed in the row that they are for.

They cannot be hashed as a password is: HMAC needs the secret itself. Each is sealed for its place, such as
``units.webhook_secret:7``; what an older release wrote plainly is read as it is, and sealed by housekeeping.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql

from city.sealed_text import MARK, needs_sealing, seal, unseal
from city.sealing import KeyRing

Connection = AsyncConnection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedSecret:
    """A column of such secrets, and by which column a row is named."""

    table: str
    column: str
    row: str

    def sealed(self, keys: KeyRing, row: int | str, secret: str) -> str:
        """What the row holds instead of the secret."""
        return seal(keys, secret, self._place(row))

    def opened(self, keys: KeyRing, row: int | str, stored: str) -> str:
        """The secret behind what a row holds; raises SealingError."""
        return unseal(keys, stored, self._place(row))

    def _place(self, row: int | str) -> str:
        return f"{self.table}.{self.column}:{row}"

    def query(self, text: str) -> sql.Composed:
        """SQL with this column's names put in for ``{table}``, ``{column}`` and ``{row}``."""
        names = {"table": self.table, "column": self.column, "row": self.row}
        return sql.SQL(text).format(**{name: sql.Identifier(value) for name, value in names.items()})


OF_UNIT = SharedSecret(table="units", column="webhook_secret", row="id")
OF_CONTACT = SharedSecret(table="contacts", column="secret", row="id")
OF_SYSTEM = SharedSecret(table="intake_systems", column="secret", row="code")
ALL = (OF_UNIT, OF_CONTACT, OF_SYSTEM)


async def made(connection: Connection, keys: KeyRing, of: SharedSecret, row: int) -> str:
    """The secret of a row that had none when it was read: made now, or by whoever was faster. Raises SealingError."""
    cursor = await connection.execute(
        of.query("""
            UPDATE {table} SET {column} = CASE WHEN {column} = '' THEN %s ELSE {column} END WHERE {row} = %s
            RETURNING {column}
        """),
        (of.sealed(keys, row, secrets.token_hex(32)), row),
    )
    found = await cursor.fetchone()
    return of.opened(keys, row, str(found[0])) if found else ""


async def seal_anew(connection: Connection, keys: KeyRing) -> int:
    """Seal those that are plain or under an older key; returns how many. Raises SealingError.

    There are hundreds, not millions: units, their contacts, and other systems. A row that changes meanwhile is left.
    """
    done = 0
    for of in ALL:
        cursor = await connection.execute(
            of.query("SELECT {row}, {column} FROM {table} WHERE {column} <> ''")
        )
        for row, stored in await cursor.fetchall():
            if not needs_sealing(keys, stored):
                continue
            changed = await connection.execute(
                of.query("UPDATE {table} SET {column} = %s WHERE {row} = %s AND {column} = %s"),
                (of.sealed(keys, row, of.opened(keys, row, stored)), row, stored),
            )
            done += changed.rowcount
    return done


async def plain(connection: Connection) -> int:
    """How many an older release wrote plainly and nobody has sealed yet."""
    found = 0
    for of in ALL:
        asked = of.query(
            "SELECT count(*) FROM {table} WHERE {column} <> '' AND NOT starts_with({column}, %s)"
        )
        row = await (await connection.execute(asked, (MARK,))).fetchone()
        found += int(row[0]) if row else 0
    return found
