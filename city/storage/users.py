"""Accounts and sessions. Passwords arrive hashed and tokens digested: neither is ever stored plain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

Any_Connection = Connection[Any]

IDLE = timedelta(hours=12)  # a session nobody uses ends
LONGEST = timedelta(days=7)  # and so does one that is used all the time
FREE_TRIES = 5  # wrong passwords before the account pauses; each further one doubles the pause
FIRST_PAUSE_S = 30
LONGEST_PAUSE_S = 15 * 60


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
    failed_count: int
    locked_until: datetime | None
    created_at: datetime
    unit_id: int | None = None
    scope: str | None = None


# Named one by one: a column that the next release adds is not ours to stumble over.
_COLUMNS = (
    "users.id, users.name, users.display_name, users.password_hash, users.role, users.must_change, users.disabled,"
    " users.failed_count, users.locked_until, users.created_at, users.unit_id,"
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
) -> User | None:
    """A new user, or None when the name is taken."""
    found = _users(
        connection,
        "INSERT INTO users (name, display_name, password_hash, role, must_change, unit_id)"  # noqa: S608  # columns named above
        f" VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}",
        (name, display_name, password_hash, role, must_change, unit_id),
    )
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


def begin_try(connection: Any_Connection, name: str, now: datetime) -> User | None:
    """Count a log-in before its password is looked at, so that parallel guesses cannot outrun the pause.

    None when there is no such user or it is paused now; a success is reported with ``succeeded``.
    """
    found = _users(
        connection,
        f"""
        UPDATE users SET failed_count = failed_count + 1,
            locked_until = CASE WHEN failed_count + 1 >= %(free)s THEN %(now)s::timestamptz + make_interval(
                secs => least(%(longest)s, %(first)s * 2 ^ least(failed_count + 1 - %(free)s, 10))) END
        WHERE name = %(name)s AND (locked_until IS NULL OR locked_until <= %(now)s) RETURNING {_COLUMNS}
        """,  # noqa: S608  # columns named above
        {"now": now, "name": name, "free": FREE_TRIES, "first": FIRST_PAUSE_S, "longest": LONGEST_PAUSE_S},
    )
    return found[0] if found else None


def succeeded(connection: Any_Connection, user_id: int, password_hash: str) -> None:
    """Forget the failures; ``password_hash`` may be a fresh one when the parameters of hashing have grown."""
    connection.execute(
        "UPDATE users SET failed_count = 0, locked_until = NULL, password_hash = %s WHERE id = %s",
        (password_hash, user_id),
    )


def set_password(connection: Any_Connection, user_id: int, password_hash: str, *, must_change: bool) -> None:
    """A new password; the pause ends with it. Sessions are ended apart, see ``end_sessions``."""
    connection.execute(
        "UPDATE users SET password_hash = %s, must_change = %s, failed_count = 0, locked_until = NULL"
        " WHERE id = %s",
        (password_hash, must_change, user_id),
    )


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


def unit_by_code(connection: Any_Connection, code: str) -> int | None:
    """The working unit that a user acts for."""
    row = connection.execute("SELECT id FROM units WHERE code = %s AND active", (code,)).fetchone()
    return int(row[0]) if row else None


def unit_codes(connection: Any_Connection) -> dict[int, str]:
    """Codes of units by id, for showing users."""
    return dict(connection.execute("SELECT id, code FROM units").fetchall())


def other_administrators(connection: Any_Connection, name: str) -> int:
    """How many can still administer when ``name`` no longer does; locks them until the transaction ends."""
    rows = connection.execute(
        "SELECT id FROM users WHERE role = 'administrator' AND NOT disabled AND name <> %s FOR UPDATE",
        (name,),
    ).fetchall()
    return len(rows)


def open_session(connection: Any_Connection, digest: bytes, user_id: int, now: datetime) -> None:
    """Remember a session by the digest of its token, and forget those that have ended."""
    connection.execute("DELETE FROM sessions WHERE expires_at <= %s OR seen_at <= %s", (now, now - IDLE))
    connection.execute(
        "INSERT INTO sessions (token_digest, user_id, created_at, seen_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        (digest, user_id, now, now, now + LONGEST),
    )


def of_session(connection: Any_Connection, digest: bytes, now: datetime) -> User | None:
    """Who holds this session now, and note once a minute that it is used."""
    found = _users(
        connection,
        f"""
        SELECT {_COLUMNS} FROM sessions s JOIN users ON users.id = s.user_id
        WHERE s.token_digest = %s AND s.expires_at > %s AND s.seen_at > %s AND NOT users.disabled
        """,  # noqa: S608  # columns named above
        (digest, now, now - IDLE),
    )
    if found:
        connection.execute(
            "UPDATE sessions SET seen_at = %s WHERE token_digest = %s AND seen_at < %s",
            (now, digest, now - timedelta(minutes=1)),
        )
    return found[0] if found else None


def end_session(connection: Any_Connection, digest: bytes) -> None:
    """Log out."""
    connection.execute("DELETE FROM sessions WHERE token_digest = %s", (digest,))


def end_sessions(connection: Any_Connection, user_id: int, *, keep: bytes | None = None) -> None:
    """Log a user out everywhere, except in the session ``keep``."""
    connection.execute(
        "DELETE FROM sessions WHERE user_id = %s AND token_digest IS DISTINCT FROM %s", (user_id, keep)
    )


def record(connection: Any_Connection, *, actor: str, action: str, name: str, reason: str = "") -> None:
    """Who changed which account: one row in the audit table."""
    connection.execute(
        "INSERT INTO audit (actor, action, object, reason) VALUES (%s, %s, %s, %s)",
        (actor, action, f"user:{name}", reason),
    )
