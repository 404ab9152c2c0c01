"""A log-in by password: what is counted where, who pauses whom, and when a second factor is asked for.

Who guesses pauses themselves. A try is counted at the name with the sender's address, at the name, and at the address;
a browser in which the person logged in before counts only at itself (OWASP's "device cookies"), so that nobody locks a
control room out from elsewhere. Names that do not exist count and pause like those that do.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

from city.sealing import KeyRing
from city.storage import audit, sessions, users
from city.storage.sessions import Origin
from command_centre import accounts, second_factor

FREE_TRIES = 5  # wrong passwords for one name from one address, or from one known browser
FREE_OF_NAME = 20  # for one name from all addresses it was never used at
FREE_OF_ADDRESS = 50  # for any names from one address: an office behind one router mistypes too


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """What somebody shows. ``device`` is the cookie of a browser used before, ``code`` of the second factor."""

    name: str
    password: str
    code: str = ""
    address: str = ""
    browser: str = ""
    device: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lasting:
    """How long a session lasts unused, and at most."""

    idle: timedelta = sessions.IDLE
    longest: timedelta = sessions.LONGEST


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedIn:
    """A fresh session: the cookie's value and whose it is; ``device`` a cookie for a browser not known before."""

    token: str
    user: users.User
    device: str | None
    second_factor: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """Too many wrong passwords; try again after ``seconds``."""

    seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeWanted:
    """The password was right; ``wrong``: the code that came with it was not."""

    wrong: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretEnded:
    """The first secret was right, and was good until ``at``."""

    at: datetime


Outcome = LoggedIn | Paused | CodeWanted | SecretEnded | None


def log_in(
    connection: Connection[Any], ring: KeyRing, given: Try, lasting: Lasting, now: datetime
) -> Outcome:
    """A session for the right password and code, else why not; None when name or password is wrong.

    Takes about a tenth of a second and 64 MiB on purpose; callers bound how many run at once. Commits the counted
    try before the password is looked at, so that a crash in between still counts it.
    """
    user = users.get(connection, given.name)
    known = user is not None and _is_known(connection, given.device, user.id, now)
    keys, free = _counted(given, known=known)
    paused = sessions.begin_try(connection, keys, free, accounts.digest(given.name), now)
    connection.commit()
    if paused is not None:
        return Paused(seconds=int((paused - now).total_seconds()) + 1)
    matches = accounts.verified_or_nobody(user, given.password)
    if user is None or user.disabled or not matches:
        _refused(connection, user, "password")
        return None
    if user.must_change and (ended := users.first_secret_ended(connection, user.id, now)) is not None:
        _refused(connection, user, "first secret ended")
        return SecretEnded(at=ended)
    asked = second_factor.asked_of(connection, user.id)
    if asked and not given.code:
        sessions.uncount_try(connection, keys)
        return CodeWanted(wrong=False)
    if asked and not second_factor.right(connection, ring, user.id, given.code, now):
        _refused(connection, user, "code")
        return CodeWanted(wrong=True)
    # The address's own count stays: an account of one's own must not wipe it out between guesses at others'.
    sessions.forget_tries(connection, keys[:1] if known else keys[:2])
    users.renew_hash(connection, user.id, accounts.hash_again(user.password_hash, given.password))
    origin = Origin(address=given.address, browser=given.browser, second_factor=asked)
    device = None if known else _new_device(connection, user.id, now)
    return LoggedIn(
        token=opened(connection, user, origin, lasting, now), user=user, device=device, second_factor=asked
    )


def opened(
    connection: Connection[Any], user: users.User, origin: Origin, lasting: Lasting, now: datetime
) -> str:
    """A fresh session's token, on the record; whoever calls has found out who it is."""
    token = secrets.token_urlsafe(32)
    sessions.open_session(
        connection, accounts.digest(token), user.id, now, origin, idle=lasting.idle, longest=lasting.longest
    )
    how = {"second_factor": origin.second_factor, "by_provider": origin.provider is not None}
    audit.record(
        connection, actor=f"user:{user.id}", action="session.opened", subject=f"user:{user.id}", detail=how
    )
    return token


def right_password(connection: Connection[Any], given: Try, now: datetime) -> users.User | Paused | None:
    """Whether somebody who is logged in knows their password; counted at their name and address, a right one too
    until ``proof_was_right``, since a code may be asked for besides."""
    paused = begin_proof(connection, given, now)
    if paused is not None:
        return paused
    user = users.get(connection, given.name)
    if user is None or not accounts.verified_or_nobody(user, given.password):
        _refused(connection, user, "password")
        return None
    return user


def begin_proof(connection: Connection[Any], given: Try, now: datetime) -> Paused | None:
    """Count what somebody who is logged in shows, before it is looked at; ``proof_was_right`` takes it back."""
    keys, free = _counted(given, known=False)
    paused = sessions.begin_try(connection, keys[:1], free[:1], accounts.digest(given.name), now)
    connection.commit()
    return None if paused is None else Paused(seconds=int((paused - now).total_seconds()) + 1)


def proof_was_right(connection: Connection[Any], given: Try) -> None:
    sessions.forget_tries(connection, _counted(given, known=False)[0][:1])


def _counted(given: Try, *, known: bool) -> tuple[Sequence[bytes], Sequence[int]]:
    if known:
        return [_key("device", given.device)], [FREE_TRIES]
    network = _network(given.address)
    return (
        [
            _key("name and address", given.name, network),
            _key("name", given.name),
            _key("address", network),
        ],
        [FREE_TRIES, FREE_OF_NAME, FREE_OF_ADDRESS],
    )


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).digest()


def _network(address: str) -> str:
    """The address; of an IPv6 address the /64, since one household has all of it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _is_known(connection: Connection[Any], device: str, user_id: int, now: datetime) -> bool:
    return bool(device) and sessions.knows_device(connection, accounts.digest(device), user_id, now)


def _new_device(connection: Connection[Any], user_id: int, now: datetime) -> str:
    device = secrets.token_urlsafe(32)
    sessions.remember_device(connection, accounts.digest(device), user_id, now)
    return device


def _refused(connection: Connection[Any], user: users.User | None, what: str) -> None:
    """On the record: whose account, when there is one. What was typed may be a password and is kept nowhere."""
    subject = f"user:{user.id}" if user is not None else "user:unknown"
    audit.record(connection, actor="system", action="session.refused", subject=subject, reason=what)
    connection.commit()  # the caller's refusal undoes whatever is open
