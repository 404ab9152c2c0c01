"""Who may log in: passwords (argon2id), sessions, and the one-time secret of a first start."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from psycopg import Connection

from city.errors import CityError
from city.storage import users
from city.storage.database import connect, translated

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
NAME = r"[A-Za-z0-9._-]{2,64}"  # what is typed to log in
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 256  # argon2 takes any length; a megabyte of "password" is an attack

_hasher = PasswordHasher()  # the library's current recommendation; old hashes are renewed at log-in
# Compared against when the name is unknown, so that an answer's time does not tell which names exist.
_NOBODY = _hasher.hash(secrets.token_urlsafe(16))


class AccountError(CityError):
    """An account that is not there, or is there already; says what to do."""


class PasswordError(CityError):
    """A new password that cannot be taken; says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedIn:
    """A fresh session: the cookie's value and whose it is."""

    token: str
    user: users.User


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """Too many wrong passwords; try again after ``seconds``."""

    seconds: int


def ensure_administrator(url: str) -> str | None:
    """Make the first administrator on an empty user table and return its one-time secret, else None.

    The secret opens nothing but the change of itself. Raises DatabaseError.
    """
    with connect(url, application="city accounts") as connection, translated():
        if not users.is_empty(connection):
            return None
        secret = one_time_secret()
        users.add(
            connection,
            name=FIRST_ADMINISTRATOR,
            display_name="管理员",
            password_hash=_hasher.hash(secret),
            role="administrator",
            must_change=True,
        )
        users.record(connection, actor="system", action="user.created", name=FIRST_ADMINISTRATOR)
        return secret


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """A one-time secret just made, and whose it is."""

    secret: str
    user: users.User


def reset(
    url: str, name: str, *, actor: str, create: bool = False, role: Role = "viewer", unit: str = ""
) -> Reset:
    """A fresh one-time secret for an account, which ends its sessions and its pause; or with ``create`` the account.

    ``unit`` is the code of whom a new account acts for; a handler needs one. For whoever may read the database.
    Raises AccountError and DatabaseError; then nothing was changed.
    """
    secret = one_time_secret()
    with connect(url, application="city accounts") as connection, translated():
        user = users.get(connection, name)
        if create:
            user = _create(connection, name, secret, role, unit, actor, taken=user is not None)
        elif user is None:
            raise AccountError(
                f"NAME = {name}: there is no such account; add --create --role ROLE to make it"
            )
        else:
            users.set_password(connection, user.id, _hasher.hash(secret), must_change=True)
            users.end_sessions(connection, user.id)
            users.record(connection, actor=actor, action="user.reset", name=name)
        return Reset(secret=secret, user=user)


def _create(
    connection: Connection[Any], name: str, secret: str, role: Role, unit: str, actor: str, *, taken: bool
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
        )
    )
    if user is None:
        raise AccountError(f"NAME = {name}: there is such an account; leave out --create for a new secret")
    users.record(connection, actor=actor, action="user.created", name=name)
    return user


def one_time_secret() -> str:
    """About 95 bits, in groups that a person can read from a screen and type."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4))


def hash_password(password: str) -> str:
    """argon2id with a fresh salt; raises PasswordError when the password is too short or too long."""
    if len(password) < SHORTEST_PASSWORD:
        raise PasswordError(
            f"password: has {len(password)} characters; use {SHORTEST_PASSWORD} or more / "
            f"密码只有 {len(password)} 个字符，请至少使用 {SHORTEST_PASSWORD} 个"
        )
    if len(password) > LONGEST_PASSWORD:
        raise PasswordError(
            f"password: has {len(password)} characters; use at most {LONGEST_PASSWORD} / "
            f"密码有 {len(password)} 个字符，最多 {LONGEST_PASSWORD} 个"
        )
    return _hasher.hash(password)


def log_in(connection: Connection[Any], name: str, password: str, now: datetime) -> LoggedIn | Paused | None:
    """A session for the right password, Paused after too many wrong ones, else None.

    Takes about a tenth of a second and 64 MiB on purpose; callers bound how many run at once. Commits the
    counted try before the password is looked at, so that a crash in between still counts it.
    """
    user = users.begin_try(connection, name, now)
    connection.commit()
    known = users.get(connection, name) if user is None else None
    matches = verified(user.password_hash if user else _NOBODY, password[:LONGEST_PASSWORD])
    if known is not None and known.locked_until is not None and known.locked_until > now:
        return Paused(seconds=int((known.locked_until - now).total_seconds()) + 1)
    if user is None or user.disabled or not matches:
        return None
    renewed = hash_again(user.password_hash, password)
    users.succeeded(connection, user.id, renewed)
    token = secrets.token_urlsafe(32)
    users.open_session(connection, digest(token), user.id, now)
    return LoggedIn(token=token, user=user)


def check_current(connection: Connection[Any], name: str, password: str, now: datetime) -> users.User | None:
    """The user when the password is right; a wrong one counts as a failed log-in."""
    user = users.begin_try(connection, name, now)
    connection.commit()
    if user is None or not verified(user.password_hash, password[:LONGEST_PASSWORD]):
        return None
    users.succeeded(connection, user.id, user.password_hash)
    return user


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


def holder(connection: Connection[Any], token: str, now: datetime) -> users.User | None:
    """Whose session the cookie is, while it lasts."""
    return users.of_session(connection, digest(token), now)
