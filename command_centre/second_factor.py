"""Second factors: codes by time (RFC 6238, as every authenticator app reads them) and codes for when one is lost."""

import base64
import hashlib
import hmac
import io
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyotp
import segno
from psycopg import AsyncConnection, Connection

from city.sealing import KeyRing, key_of
from city.storage import second_factors

STEP_S = 30
WINDOW = 1  # steps before and after now whose code is taken: clocks of telephones differ
RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
_GROUPS = 5  # of five characters; there were two before
_RECOVERY = re.compile(f"[{_ALPHABET}]{{5}}(?:-?[{_ALPHABET}]{{5}}){{1,{_GROUPS - 1}}}")


def _context(user_id: int) -> bytes:
    return b"second_factors.secret:%d" % user_id


def fresh_secret() -> bytes:
    """160 bits, as RFC 4226 (section 4) recommends."""
    return secrets.token_bytes(20)


def step_of(secret: bytes, code: str, now: datetime) -> int | None:
    """The time step whose code this is, of those near ``now``; None for a wrong code. Looks at all of them always."""
    totp = pyotp.TOTP(base64.b32encode(secret).decode(), interval=STEP_S)
    current = int(now.timestamp()) // STEP_S
    found = None
    for step in range(current - WINDOW, current + WINDOW + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            found = step
    return found


def address(secret: bytes, name: str, issuer: str) -> str:
    """What an authenticator app reads from the QR code."""
    totp = pyotp.TOTP(base64.b32encode(secret).decode(), interval=STEP_S)
    return totp.provisioning_uri(name=name, issuer_name=issuer)


def picture(text: str) -> str:
    """A QR code as SVG, drawn here: the secret goes to no other service."""
    drawn = io.BytesIO()
    segno.make(text, error="m").save(
        drawn, kind="svg", scale=4, border=4, xmldecl=False, svgns=True, light="#fff"
    )
    return drawn.getvalue().decode()


def recovery_codes() -> list[str]:
    """Fresh ones to be shown once; 123 bits each, so that who reads their digests cannot try them all."""
    return [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    ]


def code_digest(user_id: int, code: str) -> bytes:
    """What the table keeps of a recovery code; dashes do not matter."""
    return hashlib.sha256(b"%d:" % user_id + code.replace("-", "").encode()).digest()


def digests(user_id: int, codes: Sequence[str]) -> list[bytes]:
    return [code_digest(user_id, code) for code in codes]


def begin(connection: Connection[Any], ring: KeyRing, user_id: int, now: datetime) -> bytes | None:
    """A fresh secret to show; None when one is confirmed already. It guards nothing until a first code was right."""
    secret = fresh_secret()
    done = second_factors.begin(connection, user_id, ring.seal(secret, _context(user_id)), now)
    return secret if done else None


def right(connection: Connection[Any], ring: KeyRing, user_id: int, code: str, now: datetime) -> bool:
    """Whether the code is one of now, or a recovery code that was not spent; either serves once.

    Raises SealingError when the key of the secret is not there: then nobody gets in by it, rather than everybody.
    """
    factor = second_factors.get(connection, user_id)
    given = code.strip().lower().replace(" ", "")
    if factor is None:
        return False
    if _RECOVERY.fullmatch(given):
        return second_factors.use_code(connection, user_id, code_digest(user_id, given))
    secret = ring.unseal(factor.secret, _context(user_id))
    step = step_of(secret, given, now)
    if step is None or not second_factors.use_step(connection, user_id, step):
        return False
    if key_of(factor.secret) != ring.newest:  # a fresh key takes over as people come by
        second_factors.seal_anew(connection, user_id, ring.seal(secret, _context(user_id)))
    return True


async def seal_anew(connection: AsyncConnection[Any], ring: KeyRing) -> int:
    """Seal those that are under an older key, also of people who do not come by; returns how many.

    Raises SealingError for one that cannot be opened.
    """
    done = 0
    for user_id, sealed in await second_factors.all_sealed(connection):
        if key_of(sealed) == ring.newest:
            continue
        context = _context(user_id)
        anew = ring.seal(ring.unseal(sealed, context), context)
        done += await second_factors.put_sealed(connection, user_id, sealed, anew)
    return done


def asked_of(connection: Connection[Any], user_id: int) -> bool:
    """Whether this person has one that is asked for."""
    factor = second_factors.get(connection, user_id)
    return factor is not None and factor.confirmed_at is not None
