"""Log-ins that last. Tokens arrive digested: none is ever stored plain.

A session carries its own limits, as they were set when it began, so that whoever asks needs no setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row

Any_Connection = Connection[Any]
Row = dict[str, Any]

IDLE = timedelta(hours=12)  # a session nobody uses ends; CITY_SESSION_IDLE_HOURS
LONGEST = timedelta(days=7)  # and so does one that is used all the time; CITY_SESSION_DAYS
MOST = 50  # of one person; the oldest make room


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a session is used, for its owner's list, and by what it was opened.

    ``provider`` is the issuer that vouches for the person, None for our own password.
    """

    address: str = ""
    browser: str = ""
    second_factor: bool = False
    provider: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A session that holds now, and whose it is."""

    id: int
    user_id: int
    name: str
    display_name: str
    role: str
    must_change: bool
    unit_id: int | None
    scope: str | None
    proven_at: datetime
    second_factor: bool
    provider: str | None
    has_factor: bool


def open_session(
    connection: Any_Connection,
    digest: bytes,
    user_id: int,
    now: datetime,
    origin: Origin | None = None,
    *,
    idle: timedelta = IDLE,
    longest: timedelta = LONGEST,
) -> None:
    """Remember a session by the digest of its token, and forget those that have ended."""
    origin = origin or Origin()
    connection.execute(
        "DELETE FROM sessions WHERE expires_at <= %(now)s"
        " OR seen_at <= %(now)s::timestamptz - make_interval(secs => idle_s)"
        " OR id IN (SELECT id FROM sessions WHERE user_id = %(user)s ORDER BY seen_at DESC OFFSET %(most)s)",
        {"now": now, "user": user_id, "most": MOST - 1},
    )
    connection.execute(
        "INSERT INTO sessions (token_digest, user_id, created_at, seen_at, proven_at, expires_at, idle_s,"
        " second_factor, provider, address, browser) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            digest,
            user_id,
            now,
            now,
            now,
            now + longest,
            int(idle.total_seconds()),
            origin.second_factor,
            origin.provider,
            origin.address[:100],
            origin.browser[:300],
        ),
    )


_HELD = """
    SELECT s.id, u.id AS user_id, u.name, u.display_name, u.role, u.must_change, u.unit_id,
           (SELECT o.scope FROM user_scopes o WHERE o.user_id = u.id) AS scope,
           s.proven_at, s.second_factor, s.provider,
           EXISTS (SELECT FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL) AS has_factor
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.token_digest = %(digest)s AND s.expires_at > %(now)s AND NOT u.disabled
      AND s.seen_at > %(now)s::timestamptz - make_interval(secs => s.idle_s)
"""


def held(connection: Any_Connection, digest: bytes, now: datetime) -> Held | None:
    """Who holds this session now, and note once a minute that it is used."""
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        found = cursor.execute(_HELD, {"digest": digest, "now": now}).fetchone()
    if found is not None:
        connection.execute(
            "UPDATE sessions SET seen_at = %s WHERE id = %s AND seen_at < %s",
            (now, found.id, now - timedelta(minutes=1)),
        )
    return found


def listed(connection: Any_Connection, user_id: int, now: datetime) -> list[Row]:
    """A person's sessions that hold, the one used last first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT id, address, browser, created_at, seen_at, expires_at, second_factor,"
            " provider IS NOT NULL AS by_provider FROM sessions"
            " WHERE user_id = %(user)s AND expires_at > %(now)s"
            " AND seen_at > %(now)s::timestamptz - make_interval(secs => idle_s) ORDER BY seen_at DESC, id DESC",
            {"user": user_id, "now": now},
        ).fetchall()


def proven(
    connection: Any_Connection, session_id: int, fresh: bytes, now: datetime, *, second_factor: bool
) -> None:
    """The person has shown again who they are; from now on the session answers to ``fresh``, another token's digest.

    What may have been read of the token before is worth nothing after it (ASVS 5.0, 7.2.4).
    """
    connection.execute(
        "UPDATE sessions SET proven_at = %s, token_digest = %s, second_factor = second_factor OR %s WHERE id = %s",
        (now, fresh, second_factor, session_id),
    )


def shown_second(connection: Any_Connection, session_id: int, now: datetime | None) -> None:
    """This session has shown a second factor at ``now``; None: there is none any more."""
    connection.execute(
        "UPDATE sessions SET second_factor = %s, proven_at = coalesce(%s, proven_at) WHERE id = %s",
        (now is not None, now, session_id),
    )


def end_session(connection: Any_Connection, digest: bytes) -> None:
    """Log out."""
    connection.execute("DELETE FROM sessions WHERE token_digest = %s", (digest,))


def end_one(connection: Any_Connection, user_id: int, session_id: int) -> bool:
    """End one session of this person; False when it is not theirs or is over."""
    cursor = connection.execute("DELETE FROM sessions WHERE id = %s AND user_id = %s", (session_id, user_id))
    return cursor.rowcount == 1


def end_sessions(connection: Any_Connection, user_id: int, *, keep: int | None = None) -> int:
    """Log a user out everywhere, except in the session ``keep``; returns how many that were."""
    cursor = connection.execute(
        "DELETE FROM sessions WHERE user_id = %s AND id IS DISTINCT FROM %s", (user_id, keep)
    )
    return cursor.rowcount


# ── browsers that somebody used before ───────────────────────────────────────────────────────────────


def knows_device(connection: Any_Connection, digest: bytes, user_id: int, now: datetime) -> bool:
    """Whether this person logged in with this browser before."""
    cursor = connection.execute(
        "UPDATE known_devices SET seen_at = %s WHERE digest = %s AND user_id = %s", (now, digest, user_id)
    )
    return cursor.rowcount == 1


def remember_device(connection: Any_Connection, digest: bytes, user_id: int, now: datetime) -> None:
    """This person logged in with this browser; browsers not seen for 400 days are forgotten."""
    connection.execute("DELETE FROM known_devices WHERE seen_at < %s", (now - timedelta(days=400),))
    connection.execute(
        "INSERT INTO known_devices (digest, user_id, seen_at) VALUES (%s, %s, %s) ON CONFLICT (digest) DO NOTHING",
        (digest, user_id, now),
    )


def forget_devices(connection: Any_Connection, user_id: int) -> None:
    """After a password was reset: who held a browser of this person's is a stranger again."""
    connection.execute("DELETE FROM known_devices WHERE user_id = %s", (user_id,))


# ── tries ────────────────────────────────────────────────────────────────────────────────────────────

FIRST_PAUSE_S = 30
LONGEST_PAUSE_S = 15 * 60
FORGOTTEN = timedelta(hours=24)  # a count that nothing was added to for so long


def begin_try(
    connection: Any_Connection, keys: Sequence[bytes], free: Sequence[int], of_name: bytes, now: datetime
) -> datetime | None:
    """Count a try at each key before anything is looked at, so that parallel guesses cannot outrun the pause.

    ``free`` is how many failures each key has before it pauses for 30 s, then double each time to a quarter of an
    hour. Returns until when it is paused already, None when the try may go on.
    """
    connection.execute("DELETE FROM log_in_tries WHERE last_at < %s", (now - FORGOTTEN,))
    taken = connection.execute(
        """
        INSERT INTO log_in_tries AS t (key, of_name, failed_count, last_at)
        SELECT key, %(name)s, 1, %(now)s FROM unnest(%(keys)s::bytea[]) AS given (key) ORDER BY key
        ON CONFLICT (key) DO UPDATE SET failed_count = t.failed_count + 1, last_at = EXCLUDED.last_at
        WHERE t.locked_until IS NULL OR t.locked_until <= %(now)s
        RETURNING key, failed_count
        """,
        {"now": now, "keys": list(keys), "name": of_name},
    ).fetchall()
    counted = {bytes(key): int(count) for key, count in taken}
    for key, allowed in zip(keys, free, strict=True):
        over = counted.get(key, 0) - allowed
        if over >= 0:
            pause = timedelta(seconds=min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(over, 10)))
            connection.execute("UPDATE log_in_tries SET locked_until = %s WHERE key = %s", (now + pause, key))
    if len(counted) == len(keys):
        return None
    row = connection.execute(
        "SELECT max(locked_until) FROM log_in_tries WHERE key = ANY(%s) AND locked_until > %s",
        ([key for key in keys if key not in counted], now),
    ).fetchone()
    return row[0] if row else None


def forget_tries(connection: Any_Connection, keys: Sequence[bytes]) -> None:
    """The right password: what was counted is over."""
    connection.execute("DELETE FROM log_in_tries WHERE key = ANY(%s)", (list(keys),))


def end_pauses(connection: Any_Connection, of_name: bytes) -> None:
    """Whatever was counted for this name, from wherever."""
    connection.execute("DELETE FROM log_in_tries WHERE of_name = %s", (of_name,))


def uncount_try(connection: Any_Connection, keys: Sequence[bytes]) -> None:
    """The try was no failure and no success: as if it had not been made."""
    connection.execute(
        "UPDATE log_in_tries SET failed_count = greatest(failed_count - 1, 0), locked_until = NULL"
        " WHERE key = ANY(%s)",
        (list(keys),),
    )


def paused_until(connection: Any_Connection, now: datetime) -> dict[bytes, datetime]:
    """Names of which some browser is paused, by their digest, and until when the last of them is."""
    rows = connection.execute(
        "SELECT of_name, max(locked_until) FROM log_in_tries WHERE locked_until > %s GROUP BY of_name", (now,)
    ).fetchall()
    return {bytes(key): until for key, until in rows}
