"""Sealed values in columns of text, and finding a number that is sealed.

What is stored is ``~1.<base64url>`` of a sealed value (``city.sealing``): it holds no blank, and tells the text's
length and nothing else. Where a value stands is bound to it. A number is looked up by its digest, HMAC-SHA-256
(RFC 2104) under a key derived from the ring's: whoever has the database alone cannot try all telephone numbers.
"""

import base64
import binascii
import hashlib
import hmac

from city.sealing import KeyRing, SealingError, key_of

MARK = "~1."


def seal(ring: KeyRing, text: str, place: str) -> str:
    """What is stored instead of ``text``; nothing stays nothing. ``place`` is ``table.column:row``."""
    if not text:
        return ""
    return MARK + base64.urlsafe_b64encode(ring.seal(text.encode(), place.encode())).decode().rstrip("=")


def unseal(ring: KeyRing, stored: str, place: str) -> str:
    """The text behind what is stored; raises SealingError. What an older release wrote plainly comes as it is."""
    if not stored.startswith(MARK):
        return stored
    return ring.unseal(_raw(stored), place.encode()).decode()


def needs_sealing(ring: KeyRing, stored: str) -> bool:
    """Whether it is plain, or sealed with a key that is not the newest any more."""
    if not stored:
        return False
    return not stored.startswith(MARK) or key_of(_raw(stored)) != ring.newest


def digest(ring: KeyRing, number: str) -> bytes:
    """What a telephone number, as it is dialled, is found by under the newest key; 32 bytes."""
    return _digest(ring.keys[ring.newest], b"number " + number.encode())


def digests(ring: KeyRing, number: str) -> list[bytes]:
    """What it may stand under while keys are being changed."""
    return [_digest(key, b"number " + number.encode()) for key in ring.keys.values()]


def proof(ring: KeyRing, name: bytes) -> bytes:
    """What the database keeps of a key of the ring, to tell a wrong file from the right one."""
    return _digest(ring.keys[name], b"proof")


def _digest(key: bytes, what: bytes) -> bytes:
    finding = hmac.new(key, b"city: finding", hashlib.sha256).digest()  # another key than the one that seals
    return hmac.new(finding, what, hashlib.sha256).digest()


def _raw(stored: str) -> bytes:
    body = stored.removeprefix(MARK)
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise SealingError("a sealed value was changed: it is no base64 any more") from error
