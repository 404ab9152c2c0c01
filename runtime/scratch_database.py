"""A database beside the one in use, for a check or a measurement; it is gone afterwards."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit, urlunsplit

from city.errors import CityError
from city.storage import backups
from city.storage.database import DatabaseError


def beside(url: str, name: str) -> str:
    """The same server's address with another database."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "/" + quote(name, safe=""), parts.query, parts.fragment))


@contextmanager
def scratch(url: str, prefix: str, *, purpose: str, instead: str) -> Iterator[str]:
    """The address of a new database on the same server, dropped afterwards, as are those that were interrupted.

    Raises CityError when we may not make one: what for, and what to do ``instead``.
    """
    for forgotten in backups.forgotten_scratch(url, prefix):
        backups.drop(url, forgotten)
    name = prefix + secrets.token_hex(4)
    try:
        backups.create(url, name)
    except DatabaseError as error:
        raise CityError(
            f"no scratch database for {purpose} ({error}); give the account CREATEDB, or {instead}"
        ) from error
    try:
        yield beside(url, name)
    finally:
        backups.drop(url, name)
