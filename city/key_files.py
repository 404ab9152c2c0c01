"""The ring of keys as it stands in its file now: a fresh key seals at once in every process that runs."""

import threading
from functools import cache
from pathlib import Path

from city import sealing
from city.sealing import KeyRing, SealingError


class KeyFile:
    """The ring of one file, read again when the file changes; safe in threads. Made with ``key_file``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._ring: KeyRing | None = None

    def there(self) -> bool:
        """Whether there is such a file."""
        return self.path.exists()

    def ring(self) -> KeyRing:
        """The keys, made where there are none yet; raises SealingError. A file lost meanwhile is not made anew."""
        with self._lock:
            seen = self._look()
            if self._ring is None or (seen is not None and seen != self._seen):
                self._ring = sealing.read_or_make(self.path)
                self._seen = self._look()
            return self._ring

    def add(self) -> KeyRing:
        """The ring with a fresh key, which seals from now on; raises SealingError."""
        sealing.add_key(self.path)
        return self.ring()

    def drop(self, name: bytes) -> KeyRing:
        """The ring without an older key, in every process that runs; raises SealingError."""
        sealing.drop_key(self.path, name)
        return self.ring()

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SealingError(
                f"CITY_DATA_KEY_FILE = {self.path}: cannot be read ({error.strerror}); make it readable"
            ) from error
        return found.st_mtime_ns, found.st_ino


@cache
def key_file(path: Path) -> KeyFile:
    """The one of this path."""
    return KeyFile(path)
