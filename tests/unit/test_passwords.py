"""Which new passwords are taken."""

import hashlib
from pathlib import Path

import pytest

from command_centre import passwords

WORDS = ("zhang.wei", "张伟", "Nanshan")


@pytest.mark.parametrize(
    "password", ["five quiet herons", "今天天气不错我们去公园走走吧好吗", "x9$kQ-pp2vM.r8w_Z"]
)
def test_long_ones_are_taken_whatever_they_are_made_of(password: str) -> None:
    passwords.check(password, WORDS)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("x9$kQ-pp2vM.r8", "14 characters"),
        ("a" * 257, "at most"),
        ("passwordpassword", "too soon"),
        ("qwertyuiop12345", "too soon"),
        ("1234567890123456", "too soon"),
        ("Zhang.Wei-nanshan", "too soon"),
        ("ZhangWeiZhangWei7", "too soon"),
    ],
)
def test_what_is_guessed_first_is_refused(password: str, why: str) -> None:
    with pytest.raises(passwords.PasswordError, match=why) as refused:
        passwords.check(password, WORDS)
    assert password not in str(refused.value)


def _sha1(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def test_every_line_of_a_sorted_list_is_found_and_no_other(tmp_path: Path) -> None:
    stolen = [f"stolen word {number}" for number in range(300)]
    path = tmp_path / "stolen.txt"
    path.write_text("".join(f"{one}:{number}\r\n" for number, one in enumerate(sorted(map(_sha1, stolen)))))
    assert all(passwords.is_stolen(one, path) for one in stolen)
    assert not any(passwords.is_stolen(f"another word {number}", path) for number in range(300))
    with pytest.raises(passwords.PasswordError, match="stolen passwords"):
        passwords.check("stolen word 170", (), path)


def test_a_folder_of_ranges_does_as_well(tmp_path: Path) -> None:
    digest = _sha1("five quiet herons")
    (tmp_path / f"{digest[:5]}.txt").write_text(f"{digest[5:]}:3\n")
    assert passwords.is_stolen("five quiet herons", tmp_path)
    assert not passwords.is_stolen("six quiet herons", tmp_path)


def test_a_list_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(passwords.PasswordError, match="CITY_BREACHED_PASSWORDS"):
        passwords.check("five quiet herons", (), tmp_path / "nowhere")
