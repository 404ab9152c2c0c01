"""Accounts at the broker as mosquitto's files hold them: names, secrets, their hashes, and the two files; pure.

A password file has a line ``user:$7$iterations$salt$hash`` (mosquitto_passwd(1): PBKDF2 with SHA-512, salt and hash in
base64); an access file lines ``user NAME`` with ``topic write FILTER`` below (mosquitto.conf(5), acl_file).
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A secret of ours has 160 random bits: nobody finds it by trying, however fast one try is. Iterations would only cost
# the broker, which checks the secret of every open connection again whenever it reads its files
# (docs/device-credentials.md has the figures). Secrets that people choose are mosquitto_passwd's business.
ITERATIONS = 1
SECRET_BYTES = 20
SALT_BYTES = 12  # mosquitto's own
RESERVED = frozenset({"ingest", "centre", "devices", "signs", "admin", "anonymous"})
MOST_WITH_LINES = (
    10_000  # accounts with lines of their own; the broker's reading grows with the square of them
)

_PLAIN = re.compile(r"[^\s:+#/%~$\x00-\x1f\x7f\u2028\u2029\ufeff]{1,100}\Z")
_HASH = re.compile(r"\$7\$([0-9]{1,7})\$([A-Za-z0-9+/]{16})\$([A-Za-z0-9+/]{86}==)\Z")
_END = "# end"  # the broker's start script takes no file without it
_HEAD = "# Written from the register by `city`; changes here are lost."


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One user name. ``secret_hash`` None = by certificate only; ``writes`` are lines beyond the pattern of its name.

    ``denied`` = it may do nothing, even with a certificate that is still good.
    """

    name: str
    secret_hash: str | None = None
    writes: Sequence[str] = ()
    denied: bool = False


def account_name(code: str, device_id: int, slot: int) -> str:
    """The user name of a device's credential: its code where the broker's files can hold it, else ``~`` and its number.

    Slot 2 is the other one of a rotation. No device's code can be taken for either.
    """
    base = code if _PLAIN.match(code) and code not in RESERVED else f"~{device_id}"
    return base if slot == 1 else f"{base}~2"


def covered_by_pattern(name: str, code: str) -> bool:
    """Whether ``pattern write city/+/+/%u`` says already what this account may do for its own device."""
    return name == code


def fresh_secret() -> str:
    """A secret to type or to paste: 32 letters and digits in groups of eight, without those that look alike."""
    text = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().lower()
    return "-".join(text[at : at + 8] for at in range(0, len(text), 8))


def hashed(secret: str, *, iterations: int = ITERATIONS) -> str:
    """A secret in mosquitto's form ``$7$``."""
    salt = secrets.token_bytes(SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def fits(secret: str, stored: str) -> bool:
    """Whether this is the secret behind a hash; False for a hash of another form."""
    found = _HASH.match(stored)
    if found is None:
        return False
    salt, key = base64.b64decode(found[2]), base64.b64decode(found[3])
    return hmac.compare_digest(hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, int(found[1])), key)


def password_file(accounts: Iterable[Account]) -> str:
    """The broker's password file; accounts that cannot stand in it are left out."""
    lines = [
        f"{one.name}:{one.secret_hash}"
        for one in accounts
        if one.secret_hash is not None and not one.denied and _HASH.match(one.secret_hash) and _line(one.name)
    ]
    return "\n".join([_HEAD, *lines, _END, ""])


def access_file(accounts: Iterable[Account]) -> str:
    """The broker's access file beyond its standing part: who writes more than the pattern of his name gives him."""
    lines = [_HEAD]
    for one in accounts:
        if not _line(one.name):
            continue
        if one.denied:
            lines += [f"user {one.name}", "topic deny #"]
        elif one.writes:
            lines += [f"user {one.name}", *(f"topic write {topic}" for topic in one.writes if _line(topic))]
    return "\n".join([*lines, _END, ""])


def _line(text: str) -> bool:
    """Whether a text stays on its line."""
    return bool(text) and not re.search(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", text)
