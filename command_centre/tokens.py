"""Tokens of programs: how they look, and who a program with one is.

``city_`` says to people and to scanners of leaked secrets whose it is; the last six characters are a checksum, so that
such a scanner, and the gate, know a real one from a word that looks alike without asking anybody.
"""

import secrets
import string
import zlib

PREFIX = "city_"
_ALPHABET = string.digits + string.ascii_letters
_RANDOM = 36  # characters, 214 bits
_SUM = 6


def fresh() -> str:
    """A new token, to be shown once."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return PREFIX + body + _checksum(body)


def looks_right(token: str) -> bool:
    """Whether this was ever made here; the database knows whether it holds."""
    body = token.removeprefix(PREFIX)
    return (
        token.startswith(PREFIX)
        and len(body) == _RANDOM + _SUM
        and secrets.compare_digest(
            _checksum(body[:_RANDOM]).encode(), body[_RANDOM:].encode(errors="replace")
        )
    )


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode(errors="replace"))
    digits = ""
    for _ in range(_SUM):
        number, rest = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits
