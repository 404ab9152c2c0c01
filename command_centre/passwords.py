"""Which new password is taken: long enough, not a common one, not made of known words, not in a list of the stolen.

Length over complexity (NIST SP 800-63B-4, 3.1.1.2): 15 characters where the password stands alone, any of them, and
no rule about kinds of characters. What is guessed first is refused: by zxcvbn's estimate (its lists of common
passwords, names and words, keyboard rows, repeats, dates; offline) with the words of the person and the district.
The city may drop the list of stolen passwords into a file (`CITY_BREACHED_PASSWORDS`), by SHA-1 as haveibeenpwned.com
gives it: one file sorted by hash, or a folder of files named by the first five digits.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from city.errors import CityError

SHORTEST = 15
LONGEST = 256  # argon2 takes any length; a megabyte of "password" is an attack
GUESSES = (
    1e8  # what is found sooner is refused; zxcvbn's own line between "somewhat" and "safely" unguessable
)
_JUDGED = 72  # characters that the estimate looks at: its time grows with the square
_PARTS = re.compile(r"[\s._-]+")
_PREFIX = 5  # hexadecimal digits that name a file of the folder


class PasswordError(CityError):
    """A new password that cannot be taken; says why and what to do, and never the password."""


def check(password: str, words: Iterable[str] = (), stolen: Path | None = None) -> None:
    """Raises PasswordError. ``words`` are what somebody who knows the person tries first."""
    if len(password) < SHORTEST:
        raise PasswordError(
            f"password: has {len(password)} characters; use {SHORTEST} or more, several words are fine / "
            f"密码只有 {len(password)} 个字符，请至少使用 {SHORTEST} 个，可用几个词组成"
        )
    if len(password) > LONGEST:
        raise PasswordError(
            f"password: has {len(password)} characters; use at most {LONGEST} / "
            f"密码有 {len(password)} 个字符，最多 {LONGEST} 个"
        )
    if _guessed_soon(password, words):
        raise PasswordError(
            "password: is guessed too soon (common words, rows of keys, repeats, or your own name); "
            "use some words that have nothing to do with one another / "
            "密码太容易被猜到（常见词、键盘顺序、重复或本人姓名），请改用几个互不相关的词"
        )
    if stolen is not None and is_stolen(password, stolen):
        raise PasswordError(
            "password: is in the list of stolen passwords; choose another, and change it wherever you use it / "
            "该密码出现在泄露密码名单中，请换一个，并在其他使用处一并更换"
        )


def _guessed_soon(password: str, words: Iterable[str]) -> bool:
    from zxcvbn import zxcvbn  # noqa: PLC0415 - ten megabytes of lists for who changes a password, not for every start

    rest = password.casefold()
    for part in {part for word in words for part in _PARTS.split(word.casefold()) if len(part) > 1}:
        rest = rest.replace(part, "")
    if sum(sign.isalnum() for sign in rest) < SHORTEST // 2:
        return True
    return float(zxcvbn(password[:_JUDGED])["guesses"]) < GUESSES


def is_stolen(password: str, where: Path) -> bool:
    """Whether the list has it; raises PasswordError when the list cannot be read.

    The password has to be looked up by SHA-1 because that is how the list is kept; nothing of it is stored.
    """
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
    try:
        if where.is_dir():
            file = where / f"{digest[:_PREFIX]}.txt"
            return file.is_file() and _has_line(file, digest[_PREFIX:])
        return _has_line(where, digest)
    except OSError as error:
        raise PasswordError(
            f"CITY_BREACHED_PASSWORDS = {where}: cannot be read ({error.strerror}); tell an administrator / "
            "泄露密码名单无法读取，请告知管理员"
        ) from error


def _has_line(path: Path, wanted: str) -> bool:
    """Whether a line of a sorted file begins with ``wanted`` and a colon; by halving, some forty looks in 40 GB."""
    key = wanted.encode()
    with path.open("rb") as file:
        low, high = 0, file.seek(0, os.SEEK_END)
        while low < high:  # low and high: offsets between which the wanted line may begin
            middle = (low + high) // 2
            file.seek(middle)
            if middle:
                file.seek(middle - 1)
                file.readline()  # to the next beginning of a line
            at = file.tell()
            line = file.readline()
            found = line.split(b":")[0].strip().upper()
            if found == key:
                return True
            if not line or found > key:
                high = middle
            else:
                low = at + len(line)
    return False
