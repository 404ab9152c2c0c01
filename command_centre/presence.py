"""This centre's word to the others, every five seconds: that it runs, and what it alone sees of its machine."""

import asyncio
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
import structlog

from city.settings import Settings
from city.storage import centres
from city.storage.centres import Said
from city.storage.changes import open_connection
from command_centre import disk_alarm
from command_centre.waking import rest

EVERY_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(kw_only=True, slots=True)
class Presence:
    """One for each process. ``certificates`` are those it sees, with their end; filled by whoever looks at them."""

    leaving: Callable[[], bool]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    host: str = field(default_factory=socket.gethostname)
    certificates: Mapping[str, datetime] = field(default_factory=dict)

    async def run(self, url: str, settings: Settings, stop: asyncio.Event) -> None:
        """Until ``stop``; raises DatabaseError when the database is lost, to be started again."""
        connection = await open_connection(url, "city centre presence", autocommit=True)
        async with connection:
            left = False
            while not stop.is_set():
                before = await disk_alarm.standing_room(connection)
                disk, free = (await disk_alarm.of_files(settings, before)) or ("ok", None)
                left = self.leaving()
                await centres.say(
                    connection,
                    Said(
                        id=self.id,
                        host=self.host,
                        leaving=left,
                        disk=disk,
                        disk_free_bytes=free,
                        certificates_end={name: at.isoformat() for name, at in self.certificates.items()},
                    ),
                )
                for _ in range(int(EVERY_S)):  # that it leaves is said within a second
                    if not stop.is_set() and self.leaving() == left:
                        await rest(stop)
            with suppress(psycopg.Error):
                await centres.gone(connection, self.id)
