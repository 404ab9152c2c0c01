"""Small secrets and personal data sealed before they enter the database: AES-256-GCM under a ring of keys.

The ring is a file beside the database's own data, never in it and never in its backup: who has only the one cannot
read the other. One line for each key, ``id key`` in hexadecimal; the last line seals, every line unseals, so that a
key is replaced by adding a line and sealing anew at leisure.

A sealed value is ``format (1) | key id (4) | nonce (12) | ciphertext and tag``. Nonces are random, which serves
2^32 values for one key (NIST SP 800-38D, 8.3); a district seals some millions in its life.
"""

import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from city.errors import CityError

_FORMAT = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
_KEY_BYTES = 32
_HEAD = len(_FORMAT) + _ID_BYTES + _NONCE_BYTES


class SealingError(CityError):
    """A ring that cannot be used, or a value that it does not open; never holds a key or what was sealed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRing:
    """Keys by their id; ``newest`` seals. Nothing of it is shown by ``repr``."""

    newest: bytes
    keys: Mapping[bytes, bytes] = field(repr=False)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """``plain`` under the newest key, bound to ``context``: the column and row that it is for.

        A value that is copied into another row does not open there.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + self.newest + nonce + AESGCM(self.keys[self.newest]).encrypt(nonce, plain, context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed; raises SealingError for a key that is not in the ring and for a value that was changed."""
        if len(sealed) < _HEAD or sealed[:1] != _FORMAT:
            raise SealingError("a sealed value has a form that this release does not know")
        key = self.keys.get(key_of(sealed))
        if key is None:
            raise SealingError(
                f"a value was sealed with key {key_of(sealed).hex()}, which is not in CITY_DATA_KEY_FILE; "
                "add that key's line from the copy you keep"
            )
        try:
            return AESGCM(key).decrypt(sealed[_HEAD - _NONCE_BYTES : _HEAD], sealed[_HEAD:], context)
        except InvalidTag:
            raise SealingError("a sealed value was changed, or belongs to another row") from None


def key_of(sealed: bytes) -> bytes:
    """Id of the key that a value was sealed with."""
    return sealed[1 : 1 + _ID_BYTES]


def read(path: Path) -> KeyRing:
    """The ring of a file; raises SealingError naming the faulty line, never its key."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        raise SealingError(f"CITY_DATA_KEY_FILE = {path}: cannot be read ({why})") from error
    keys: dict[bytes, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, key = (bytes.fromhex(part) for part in line.split())
        except ValueError:
            name, key = b"", b""
        if len(name) != _ID_BYTES or len(key) != _KEY_BYTES or name in keys:
            raise SealingError(
                f"CITY_DATA_KEY_FILE = {path}, line {number}: must be 8 and 64 hexadecimal digits"
            )
        keys[name] = key
    if not keys:
        raise SealingError(
            f"CITY_DATA_KEY_FILE = {path}: holds no key; put the copy that you keep in its place"
        )
    return KeyRing(newest=list(keys)[-1], keys=keys)


def read_or_make(path: Path) -> KeyRing:
    """The ring of a file, which is made with one key, for its owner only, where there is none yet.

    Two processes that start at once end with the same ring. Raises SealingError.
    """
    if not path.exists():
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _put(path, new_line(), replace=False)
        except OSError as error:
            raise SealingError(f"CITY_DATA_KEY_FILE = {path}: cannot be made ({error.strerror})") from error
    return read(path)


def new_line() -> str:
    """A fresh key as a line of the file."""
    return f"{secrets.token_hex(_ID_BYTES)} {secrets.token_hex(_KEY_BYTES)}\n"


def add_key(path: Path) -> KeyRing:
    """The ring with a fresh key at its end, which seals from the next start of each process. Raises SealingError."""
    read(path)
    try:
        _put(path, path.read_text(encoding="ascii").rstrip("\n") + "\n" + new_line(), replace=True)
    except OSError as error:
        raise SealingError(f"CITY_DATA_KEY_FILE = {path}: cannot be written ({error.strerror})") from error
    return read(path)


def drop_key(path: Path, name: bytes) -> KeyRing:
    """The ring without an older key; who still has something sealed with it cannot open that. Raises SealingError."""
    ring = read(path)
    if name == ring.newest:
        raise SealingError(
            f"CITY_DATA_KEY_FILE = {path}: key {name.hex()} seals what is written now; keep it"
        )
    kept = [line for line in path.read_text(encoding="ascii").splitlines() if not _is_of(line, name)]
    try:
        _put(path, "\n".join(kept) + "\n", replace=True)
    except OSError as error:
        raise SealingError(f"CITY_DATA_KEY_FILE = {path}: cannot be written ({error.strerror})") from error
    return read(path)


def _is_of(line: str, name: bytes) -> bool:
    return line.strip().lower().startswith(name.hex() + " ")


def _put(path: Path, text: str, *, replace: bool) -> None:
    """Whole or not at all; without ``replace`` a file that came first stays."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(name, path)
            return
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
