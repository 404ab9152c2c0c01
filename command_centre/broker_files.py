"""The broker's password and access files, kept equal to the register in the folder that CITY_BROKER_FILES names.

Files and not a broker's own administration, so that what the register says is what is good, whoever changed it, and a
broker that starts before everything else has them (docs/device-credentials.md compares the two). Whoever runs the
broker tells it to read them again: deploy/mosquitto/start.sh does.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import structlog
from psycopg import Connection
from psycopg.rows import TupleRow

from city import broker_accounts
from city.errors import CityError
from city.settings import Settings
from city.storage import broker_files as stored
from city.storage.database import connect, translated
from command_centre.waking import Waking

PASSWORDS, ACCESS = "passwords", "acl"
LEAST_BETWEEN_S = 3.0  # each time the broker reads them it does nothing else
SWEEP_S = 10.0  # how late an account may end

log = structlog.get_logger(__name__)


class BrokerFilesError(CityError):
    """The folder cannot be written."""


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Write until ``stop``; without a folder nothing. Raises BrokerFilesError or DatabaseError, to be started again."""
    folder = settings.broker_files
    if folder is None:
        await stop.wait()
        return
    written: tuple[int, int] | None = None
    swept = wrote = float("-inf")
    async with Waking(url, "city centre broker files wake", stop) as waking:
        with connect(url, application="city centre broker files", autocommit=True) as connection:
            while not stop.is_set():
                now = time.monotonic()
                if now - swept >= SWEEP_S:
                    await asyncio.to_thread(_sweep, connection)
                    swept = now
                found = await asyncio.to_thread(_version, connection)
                if found != written and now - wrote >= LEAST_BETWEEN_S:
                    await asyncio.to_thread(write, connection, folder)
                    written, wrote = found, now
                await waking.sleep()


def write(connection: Connection[TupleRow], folder: Path) -> list[str]:
    """Bring the two files up to date; the names of those that changed. Raises BrokerFilesError.

    Rights before passwords: a broker that reads between the two must not let somebody in whose messages it would
    acknowledge and drop.
    """
    with translated():
        accounts = stored.accounts(connection)
    lines = sum(1 for one in accounts if one.writes or one.denied)
    if lines > broker_accounts.MOST_WITH_LINES:
        log.warning(
            "many accounts have lines of their own in the broker's access file; its reading grows with their square",
            accounts=lines,
            remedy="use device codes as user names, or let more devices share a gateway",
        )
    texts = (
        (ACCESS, broker_accounts.access_file(accounts)),
        (PASSWORDS, broker_accounts.password_file(accounts)),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        changed = [name for name, text in texts if _put(folder / name, text)]
    except OSError as error:
        raise BrokerFilesError(
            f"CITY_BROKER_FILES = {folder}: {error.strerror}; let us write there"
        ) from error
    if changed:
        log.info("broker's files written", accounts=len(accounts), changed=changed)
    return changed


def _put(path: Path, text: str) -> bool:
    """Replace the file in one step when it differs; read by its owner and its group, to which the broker belongs."""
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return False
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        Path(fresh).chmod(0o640)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
    return True


def _sweep(connection: Connection[TupleRow]) -> None:
    with translated():
        ended = stored.end_overdue(connection)
    if ended:
        log.info("accounts at the broker ended", count=len(ended), first=ended[:5])


def _version(connection: Connection[TupleRow]) -> tuple[int, int]:
    with translated():
        return stored.version(connection)
