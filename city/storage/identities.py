"""The same person at the city's identity provider: one account for one subject of one issuer, and the reverse."""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

Any_Connection = Connection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """``managed``: the account came about by a log-in there, and its claims decide role and reach each time."""

    user_id: int
    managed: bool


def of_subject(connection: Any_Connection, issuer: str, subject: str) -> Identity | None:
    """Whose account this subject is."""
    with connection.cursor(row_factory=class_row(Identity)) as cursor:
        return cursor.execute(
            "SELECT user_id, managed FROM user_identities WHERE issuer = %s AND subject = %s",
            (issuer, subject),
        ).fetchone()


def link(connection: Any_Connection, issuer: str, subject: str, user_id: int, *, managed: bool) -> bool:
    """False when the subject belongs to another account, or the account to another subject."""
    cursor = connection.execute(
        "INSERT INTO user_identities (issuer, subject, user_id, managed) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (issuer, subject, user_id, managed),
    )
    return cursor.rowcount == 1


def unlink(connection: Any_Connection, user_id: int) -> bool:
    """False when there was no link."""
    return connection.execute("DELETE FROM user_identities WHERE user_id = %s", (user_id,)).rowcount == 1


def linked(connection: Any_Connection) -> set[int]:
    """Accounts that log in at the provider."""
    return {int(row[0]) for row in connection.execute("SELECT user_id FROM user_identities").fetchall()}
