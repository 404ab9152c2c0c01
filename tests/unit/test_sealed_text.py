"""Sealed text opens in its own place only, is found by its number, and follows the keys' file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city import key_files, sealed_text, sealing
from city.sealing import SealingError

PLACE = "report_contacts.phone:7"


@pytest.fixture
def file(tmp_path: Path) -> key_files.KeyFile:
    return key_files.KeyFile(tmp_path / "keys" / "data.keys")


def test_a_sealed_number_shows_nothing_and_opens_in_its_place(file: key_files.KeyFile) -> None:
    ring = file.ring()
    stored = sealed_text.seal(ring, "13800001111", PLACE)
    assert "1380" not in stored
    assert stored != sealed_text.seal(ring, "13800001111", PLACE)
    assert sealed_text.unseal(ring, stored, PLACE) == "13800001111"
    with pytest.raises(SealingError):
        sealed_text.unseal(ring, stored, "report_contacts.phone:8")
    with pytest.raises(SealingError):
        sealed_text.unseal(ring, stored[:-6] + "!" * 6, PLACE)


@given(st.text(min_size=1))
def test_any_text_comes_back(text: str) -> None:
    ring = sealing.KeyRing(newest=b"abcd", keys={b"abcd": bytes(32)})
    stored = sealed_text.seal(ring, text.encode("utf-8", "ignore").decode(), "x")
    assert sealed_text.unseal(ring, stored, "x") == text.encode("utf-8", "ignore").decode()
    assert " " not in stored


def test_nothing_stays_nothing_and_what_was_plain_comes_as_it_is(file: key_files.KeyFile) -> None:
    ring = file.ring()
    assert sealed_text.seal(ring, "", PLACE) == ""
    assert not sealed_text.needs_sealing(ring, "")
    assert sealed_text.unseal(ring, "139", PLACE) == "139"
    assert sealed_text.needs_sealing(ring, "139")
    assert not sealed_text.needs_sealing(ring, sealed_text.seal(ring, "139", PLACE))


def test_a_fresh_key_seals_at_once_and_the_older_one_still_opens_and_finds(file: key_files.KeyFile) -> None:
    beside = key_files.KeyFile(file.path)  # another process
    old = beside.ring()
    before, found_by = sealed_text.seal(old, "139", PLACE), sealed_text.digest(old, "139")
    file.add()
    new = beside.ring()
    assert new.newest != old.newest
    assert sealed_text.unseal(new, before, PLACE) == "139"
    assert sealed_text.needs_sealing(new, before)
    assert sealed_text.digest(new, "139") != found_by
    assert set(sealed_text.digests(new, "139")) == {found_by, sealed_text.digest(new, "139")}


def test_a_file_that_goes_missing_meanwhile_is_not_made_anew(file: key_files.KeyFile) -> None:
    ring = file.ring()
    file.path.unlink()
    assert file.ring() is ring
    assert not file.there()


def test_the_file_is_its_owners_alone(file: key_files.KeyFile) -> None:
    file.ring()
    assert os.stat(file.path).st_mode & 0o777 == 0o600
