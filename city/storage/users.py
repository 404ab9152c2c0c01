"""Accounts. Passwords arrive hashed: they are never stored plain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

Any_Connection = Connection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A person who may log in; ``role`` is one of ``command_centre.accounts.Role``, ``unit_id`` whom they act for.

    ``scope`` is the code of the area that they see and act in; None the whole district.
    """

    id: int
    name: str
    display_name: str
    password_hash: str
    role: str
    must_change: bool
    disabled: bool
    created_at: datetime
    unit_id: int | None = None
    scope: str | None = None


# Named one by one: a column that the next release adds is not ours to stumble over.
_COLUMNS = (
    "users.id, users.name, users.display_name, users.password_hash, users.role, users.must_change, users.disabled,"
    " users.created_at, users.unit_id,"
    " (SELECT o.scope FROM user_scopes o WHERE o.user_id = users.id) AS scope"
)


def _users(
    connection: Any_Connection, query: str, parameters: Sequence[object] | Mapping[str, object]
) -> list[User]:
    with connection.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def is_empty(connection: Any_Connection) -> bool:
    """True when nobody can log in yet; holds a lock until the transaction ends: two starts make one user."""
    connection.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
    return connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is None


def add(
    connection: Any_Connection,
    *,
    name: str,
    display_name: str,
    password_hash: str,
    role: str,
    must_change: bool,
    unit_id: int | None = None,
    ends_at: datetime | None = None,
) -> User | None:
    """A new user, or None when the name is taken. ``ends_at`` is the end of a first secret that nobody uses."""
    found = _users(
        connection,
        "INSERT INTO users (name, display_name, password_hash, role, must_change, unit_id)"  # noqa: S608  # columns named above
        f" VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}",
        (name, display_name, password_hash, role, must_change, unit_id),
    )
    if found:
        _end_first_secret(connection, found[0].id, ends_at)
    return found[0] if found else None


def every(connection: Any_Connection) -> list[User]:
    """All users by name; a district has tens of them, not thousands."""
    return _users(connection, f"SELECT {_COLUMNS} FROM users ORDER BY name LIMIT 1000", ())  # noqa: S608  # columns named above


def by_actor(connection: Any_Connection) -> dict[str, str]:
    """How people are called, by what they are named in histories (``user:7``)."""
    return {f"user:{user.id}": user.display_name or user.name for user in every(connection)}


def get(connection: Any_Connection, name: str) -> User | None:
    """The user of that name."""
    found = _users(connection, f"SELECT {_COLUMNS} FROM users WHERE name = %s", (name,))  # noqa: S608  # columns named above
    return found[0] if found else None


def renew_hash(connection: Any_Connection, user_id: int, password_hash: str) -> None:
    """The same password under parameters of hashing that have grown."""
    connection.execute("UPDATE users SET password_hash = %s WHERE id = %s", (password_hash, user_id))


def set_password(
    connection: Any_Connection,
    user_id: int,
    password_hash: str,
    *,
    must_change: bool,
    ends_at: datetime | None = None,
) -> None:
    """A new password, or a first secret that is good until ``ends_at``. Sessions are ended apart, see
    ``end_sessions``."""
    connection.execute(
        "UPDATE users SET password_hash = %s, must_change = %s WHERE id = %s",
        (password_hash, must_change, user_id),
    )
    _end_first_secret(connection, user_id, ends_at)


def _end_first_secret(connection: Any_Connection, user_id: int, ends_at: datetime | None) -> None:
    if ends_at is None:
        connection.execute("DELETE FROM first_secrets WHERE user_id = %s", (user_id,))
        return
    connection.execute(
        "INSERT INTO first_secrets (user_id, ends_at) VALUES (%s, %s)"
        " ON CONFLICT (user_id) DO UPDATE SET ends_at = EXCLUDED.ends_at",
        (user_id, ends_at),
    )


def first_secret_ended(connection: Any_Connection, user_id: int, now: datetime) -> datetime | None:
    """When the first secret of somebody who has not changed it yet ran out; None while it is good."""
    row = connection.execute(
        "SELECT ends_at FROM first_secrets WHERE user_id = %s AND ends_at <= %s", (user_id, now)
    ).fetchone()
    return row[0] if row else None


def change(
    connection: Any_Connection,
    name: str,
    *,
    role: str | None,
    disabled: bool | None,
    display_name: str | None,
    unit_id: int | None = None,
) -> User | None:
    """Change what is not None; None when there is no such user."""
    found = _users(
        connection,
        "UPDATE users SET role = coalesce(%s, role), disabled = coalesce(%s, disabled),"  # noqa: S608  # columns named above
        " display_name = coalesce(%s, display_name), unit_id = coalesce(%s, unit_id)"
        f" WHERE name = %s RETURNING {_COLUMNS}",
        (role, disabled, display_name, unit_id, name),
    )
    return found[0] if found else None


def set_scope(connection: Any_Connection, user_id: int, scope: str | None) -> None:
    """The area within which the account sees and acts; None the whole district."""
    if scope is None:
        connection.execute("DELETE FROM user_scopes WHERE user_id = %s", (user_id,))
    else:
        connection.execute(
            "INSERT INTO user_scopes (user_id, scope) VALUES (%s, %s)"
            " ON CONFLICT (user_id) DO UPDATE SET scope = EXCLUDED.scope",
            (user_id, scope),
        )


def is_area(connection: Any_Connection, code: str) -> bool:
    """Whether a street, community or cell of today has this code."""
    row = connection.execute(
        "SELECT 1 FROM areas WHERE code = %s AND valid_to IS NULL AND layer IN ('street', 'community', 'cell')",
        (code,),
    ).fetchone()
    return row is not None


def district_words(connection: Any_Connection) -> tuple[str, ...]:
    """What the district is called, for passwords that are made of it."""
    row = connection.execute("SELECT name, name_en FROM district LIMIT 1").fetchone()
    return tuple(str(word) for word in row or () if word)


def by_id(connection: Any_Connection, user_id: int) -> User | None:
    """The user of that number."""
    found = _users(connection, f"SELECT {_COLUMNS} FROM users WHERE id = %s", (user_id,))  # noqa: S608  # columns named above
    return found[0] if found else None


def unit_by_code(connection: Any_Connection, code: str) -> int | None:
    """The working unit that a user acts for."""
    row = connection.execute("SELECT id FROM units WHERE code = %s AND active", (code,)).fetchone()
    return int(row[0]) if row else None


def unit_codes(connection: Any_Connection) -> dict[int, str]:
    """Codes of units by id, for showing users."""
    return dict(connection.execute("SELECT id, code FROM units").fetchall())


def other_administrators(connection: Any_Connection, name: str) -> int:
    """How many can still administer the whole when ``name`` no longer does; locks them until the transaction ends."""
    rows = connection.execute(
        "SELECT id FROM users WHERE role = 'administrator' AND NOT disabled AND name <> %s"
        " AND NOT EXISTS (SELECT FROM user_scopes o WHERE o.user_id = users.id) FOR UPDATE",
        (name,),
    ).fetchall()
    return len(rows)
