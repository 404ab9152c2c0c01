"""The keys of what is sealed and the database agree, or the centre does not start; and sealing anew with a fresh one.

A centre that lost its key file would otherwise begin a second key beside the first, and nobody would notice until
somebody has to be called back.
"""

import asyncio
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.errors import CityError
from city.key_files import KeyFile
from city.sealed_text import proof
from city.sealing import SealingError
from city.storage import sealed, shared_secrets
from city.storage.changes import open_connection
from city.storage.database import translated
from command_centre import second_factor

BITE = 200  # contacts sealed in one transaction: some milliseconds
_PAUSE_S = 0.05  # after each, so that what people do goes first
_log = structlog.get_logger(__name__)

Connection = AsyncConnection[Any]


class DataKeyError(CityError):
    """The key file is not the one that this database's personal data were sealed with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotated:
    """The key that seals now, and how many contacts, shared secrets and second factors it sealed anew."""

    key: str
    values: int


def agree(url: str, keys: KeyFile) -> None:
    """Make the key file on a database that has none sealed; raises DataKeyError, SealingError and DatabaseError."""

    async def inside() -> None:
        async with await open_connection(url, "city data keys", autocommit=True) as connection:
            await _agree(connection, keys)

    asyncio.run(inside())


async def _agree(connection: Connection, keys: KeyFile) -> None:
    with translated():
        noted = await sealed.known_keys(connection)
        if noted and not keys.there():
            raise DataKeyError(
                f"CITY_DATA_KEY_FILE = {keys.path}: is not there, and personal data of this database are sealed with "
                "it; bring that file back (docs/personal-data.md)"
            )
        ring = keys.ring()
        if missing := sorted(name.hex() for name in noted if name not in ring.keys):
            raise DataKeyError(
                f"CITY_DATA_KEY_FILE = {keys.path}: does not hold key {', '.join(missing)}, which personal data of "
                "this database are sealed with; bring that file back (docs/personal-data.md)"
            )
        for name, kept in noted.items():
            if not hmac.compare_digest(proof(ring, name), kept):
                raise DataKeyError(
                    f"CITY_DATA_KEY_FILE = {keys.path}: key {name.hex()} is not the one of this database"
                )
        if ring.newest not in noted:
            await sealed.remember_key(connection, ring, datetime.now(UTC))
            _log.info("personal data are sealed with a new key", key=ring.newest.hex(), file=str(keys.path))


async def rotate(url: str, keys: KeyFile) -> Rotated:
    """Seal everything anew under a fresh key, while everything runs; the older keys stay in the file for backups.

    Interrupted, housekeeping goes on with it within the hour.
    """
    async with await open_connection(url, "city data keys", autocommit=True) as connection:
        await _agree(connection, keys)
        ring = keys.add()
        with translated():
            await sealed.remember_key(connection, ring, datetime.now(UTC))
            done = await seal_all(connection, keys, pause_s=0.0)
    return Rotated(key=ring.newest.hex(), values=done)


async def drop(url: str, keys: KeyFile, key: str) -> None:
    """Take an older key that seals nothing here any more out of the file; raises DataKeyError and SealingError.

    A backup that was made under it stays closed from then on. The database forgets it first: interrupted in between,
    a key that nobody asks for stays in the file.
    """
    ring = keys.ring()
    name = next((one for one in ring.keys if one.hex() == key.strip().lower()), None)
    if name is None:
        raise DataKeyError(f"KEY = {key}: there is no such key in {keys.path}; `city keys show` lists them")
    if name == ring.newest:
        raise DataKeyError(f"KEY = {key}: seals what is written now; `city keys rotate` first makes another")
    async with await open_connection(url, "city data keys", autocommit=True) as connection:
        with translated():
            if used := (await sealed.key_uses(connection)).get(name, 0):
                raise DataKeyError(
                    f"KEY = {key}: {name.hex()} still seals {used} value{'s' if used > 1 else ''}; housekeeping "
                    "seals them anew within the hour, `city keys rotate` at once"
                )
            await sealed.forget_key(connection, name)
    keys.drop(name)
    _log.info("a key was dropped", key=name.hex(), file=str(keys.path))


async def seal_all(
    connection: Connection, keys: KeyFile, *, pause_s: float = _PAUSE_S, stop: asyncio.Event | None = None
) -> int:
    """Seal what is plain or under an older key, bite by bite; returns how many. Stops at what cannot be opened."""
    done, after = 0, 0
    try:
        done += await shared_secrets.seal_anew(connection, keys.ring())
        done += await second_factor.seal_anew(connection, keys.ring())
        while stop is None or not stop.is_set():
            after, sealed_now = await sealed.seal_anew(connection, keys.ring(), after, BITE)
            done += sealed_now
            if not after:
                break
            if sealed_now:
                await asyncio.sleep(pause_s)
    except SealingError as error:
        _log.error("a sealed value cannot be sealed anew", why=str(error))
    return done
