"""Whether there is room for what comes: on disks of this machine, and within what the database may have."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from psycopg import Connection

from city.disk_room import GB, Room, judge
from city.settings import Settings, SettingsError
from city.storage import disk

SIZE_EVERY_S = 10.0  # the database's size is a look at each of its files

log = structlog.get_logger(__name__)


class DiskWatch:
    """``room`` as last judged, ``free_bytes`` the least of all that is watched; None = nothing is."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError naming a watched folder that is not there."""
        self._folders = _folders(settings.disk_paths)
        self._budget = int(settings.database_max_gb * GB)
        self._little, self._none = int(settings.disk_warn_gb * GB), int(settings.disk_stop_gb * GB)
        self._used = 0
        self._size_at = -SIZE_EVERY_S
        self.room: Room = "ok"
        self.free_bytes: int | None = None

    def look(self, connection: Connection[Any]) -> bool:
        """Measure and judge; True when the word changed. The database's size is asked for every ten seconds."""
        free = [shutil.disk_usage(folder).free for folder in self._folders]
        if self._budget:
            if time.monotonic() - self._size_at >= SIZE_EVERY_S:
                self._used, self._size_at = disk.used_bytes(connection), time.monotonic()
            free.append(max(0, self._budget - self._used))
        if not free:
            return False
        self.free_bytes = min(free)
        before = self.room
        self.room = judge(self.free_bytes, before, little_bytes=self._little, none_bytes=self._none)
        if self.room != before:
            self._say(before)
        return self.room != before

    def figures(self) -> dict[str, object]:
        """For health and metrics; nothing where nothing is watched."""
        if self.free_bytes is None:
            return {}
        return {"disk": self.room, "disk_free_bytes": self.free_bytes, "disk_full": self.room == "none"}

    def _say(self, before: Room) -> None:
        free = f"{(self.free_bytes or 0) / GB:.2f} GiB"
        if self.room == "none":
            log.error("no room for more; the broker keeps what comes", free=free, remedy="make room")
        elif before == "none":
            log.info("there is room again", free=free)
        elif self.room == "little":
            log.warning("little room is left", free=free, stops_at=f"{self._none / GB:.2f} GiB")


def _folders(paths: str) -> Sequence[Path]:
    folders = [Path(path.strip()) for path in paths.split(",") if path.strip()]
    for folder in folders:
        try:
            shutil.disk_usage(folder)
        except OSError as error:
            raise SettingsError(
                f"CITY_DISK_PATHS: {folder} cannot be looked at ({error.strerror}); "
                "name folders on the database's disk, or leave it empty"
            ) from error
    return folders
