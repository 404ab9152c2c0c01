"""Who has an account: its password (argon2id), and the one-time secret of a first start or a reset."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from psycopg import Connection

from city.errors import CityError
from city.storage import audit, second_factors, sessions, users
from city.storage.database import connect, translated
from command_centre import passwords

Role = Literal[
    "viewer",
    "handler",
    "grid_worker",
    "hotline",
    "dispatcher",
    "flood_officer",
    "supervisor",
    "administrator",
    "integrator",
]
FIRST_ADMINISTRATOR = "admin"
FIRST_SECRET_LASTS = timedelta(hours=72)  # unless CITY_FIRST_SECRET_HOURS says otherwise
NAME = r"[A-Za-z0-9._-]{2,64}"  # what is typed to log in

_hasher = PasswordHasher()  # the library's current recommendation; old hashes are renewed at log-in


class AccountError(CityError):
    """An account that is not there, or is there already; says what to do."""


def ensure_administrator(url: str, lasts: timedelta = FIRST_SECRET_LASTS) -> str | None:
    """Make the first administrator on an empty user table and return its one-time secret, else None.

    The secret opens nothing but the change of itself, and nothing after ``lasts``. Raises DatabaseError.
    """
    with connect(url, application="city accounts") as connection, translated():
        if not users.is_empty(connection):
            return None
        secret = one_time_secret()
        made = users.add(
            connection,
            name=FIRST_ADMINISTRATOR,
            display_name="管理员",
            password_hash=_hasher.hash(secret),
            role="administrator",
            must_change=True,
            ends_at=datetime.now(UTC) + lasts,
        )
        if made is not None:
            audit.record(connection, actor="system", action="user.created", subject=f"user:{made.id}")
        return secret


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """A one-time secret just made, and whose it is."""

    secret: str
    user: users.User


def reset(
    url: str,
    name: str,
    *,
    actor: str,
    create: bool = False,
    role: Role = "viewer",
    unit: str = "",
    no_second_factor: bool = False,
    lasts: timedelta = FIRST_SECRET_LASTS,
) -> Reset:
    """A fresh one-time secret for an account, which ends its sessions and its pause; or with ``create`` the account.

    ``unit`` is the code of whom a new account acts for; a handler needs one. ``no_second_factor`` takes a lost one away
    too: the way back in for the last administrator. The secret is worth nothing after ``lasts``. For whoever may read
    the database.
    Raises AccountError and DatabaseError; then nothing was changed.
    """
    secret = one_time_secret()
    ends_at = datetime.now(UTC) + lasts
    with connect(url, application="city accounts") as connection, translated():
        user = users.get(connection, name)
        if create:
            user = _create(connection, name, secret, role, unit, actor, ends_at, taken=user is not None)
        elif user is None:
            raise AccountError(
                f"NAME = {name}: there is no such account; add --create --role ROLE to make it"
            )
        else:
            begin_anew(connection, user, secret, actor, ends_at)
            if no_second_factor and second_factors.remove(connection, user.id):
                audit.record(
                    connection, actor=actor, action="user.second_factor_reset", subject=f"user:{user.id}"
                )
        return Reset(secret=secret, user=user)


def _create(
    connection: Connection[Any],
    name: str,
    secret: str,
    role: Role,
    unit: str,
    actor: str,
    ends_at: datetime,
    *,
    taken: bool,
) -> users.User:
    if not re.fullmatch(NAME, name):
        raise AccountError(f"NAME = {name}: use 2 to 64 letters, digits, dots, dashes and underscores")
    unit_id = users.unit_by_code(connection, unit) if unit else None
    if unit_id is None and (unit or role == "handler"):
        raise AccountError(f"--unit {unit}: a handler acts for a working unit; see /api/units for its code")
    hashed = _hasher.hash(secret)
    user = (
        None
        if taken
        else users.add(
            connection,
            name=name,
            display_name="",
            password_hash=hashed,
            role=role,
            must_change=True,
            unit_id=unit_id,
            ends_at=ends_at,
        )
    )
    if user is None:
        raise AccountError(f"NAME = {name}: there is such an account; leave out --create for a new secret")
    audit.record(connection, actor=actor, action="user.created", subject=f"user:{user.id}")
    return user


def begin_anew(
    connection: Connection[Any], user: users.User, secret: str, actor: str, ends_at: datetime
) -> None:
    """The account opens with this one-time secret only, until ``ends_at``: sessions, known browsers, pause are over.

    A second factor stays: who was given the secret by mistake does not get in.
    """
    users.set_password(connection, user.id, _hasher.hash(secret), must_change=True, ends_at=ends_at)
    sessions.end_sessions(connection, user.id)
    sessions.forget_devices(connection, user.id)
    sessions.end_pauses(connection, digest(user.name))
    audit.record(connection, actor=actor, action="user.reset", subject=f"user:{user.id}")


def one_time_secret() -> str:
    """About 95 bits, in groups that a person can read from a screen and type."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4))


def hash_password(password: str) -> str:
    """argon2id with a fresh salt; what may be taken as a new password is ``passwords.check``'s."""
    return _hasher.hash(password)


def verified_or_nobody(user: users.User | None, password: str) -> bool:
    """Whether it is the user's password; without a user it takes as long, so that time does not tell names.

    One that is longer than any that can be set is nobody's: its beginning alone opens nothing.
    """
    nobody = _nobody()  # for known names as well: the first try of a process takes longer, whosever it is
    possible = user is not None and len(password) <= passwords.LONGEST
    return (
        verified(user.password_hash if user and possible else nobody, password[: passwords.LONGEST])
        and possible
    )


@cache
def _nobody() -> str:
    """Compared against when the name is unknown, so that an answer's time does not tell which names exist.

    Made when it is first needed: it costs 64 MiB and a tenth of a second, and most processes look at no password.
    """
    return _hasher.hash(secrets.token_urlsafe(16))


def verified(password_hash: str, password: str) -> bool:
    """Whether the password belongs to the hash; a hash that cannot be read belongs to none."""
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def hash_again(password_hash: str, password: str) -> str:
    """The same hash, or a fresh one when the library's recommendation has grown since."""
    return _hasher.hash(password) if _hasher.check_needs_rehash(password_hash) else password_hash


def digest(token: str) -> bytes:
    """What the table keeps of a session's token."""
    return hashlib.sha256(token.encode()).digest()
