"""Sealing: what opens, what does not, and the file of keys."""

from pathlib import Path

import pytest

from city import sealing


@pytest.fixture
def ring(tmp_path: Path) -> sealing.KeyRing:
    return sealing.read_or_make(tmp_path / "keys" / "data.keys")


def test_what_is_sealed_opens_in_its_own_row_only(ring: sealing.KeyRing) -> None:
    sealed = ring.seal(b"13800000000", b"reports.phone:7")
    assert b"13800000000" not in sealed
    assert ring.unseal(sealed, b"reports.phone:7") == b"13800000000"
    with pytest.raises(sealing.SealingError, match="another row"):
        ring.unseal(sealed, b"reports.phone:8")


def test_the_same_twice_looks_different(ring: sealing.KeyRing) -> None:
    assert ring.seal(b"x", b"") != ring.seal(b"x", b"")


@pytest.mark.parametrize("at", [0, 2, 8, -1], ids=["format", "key", "nonce", "tag"])
def test_a_changed_value_does_not_open(ring: sealing.KeyRing, at: int) -> None:
    sealed = bytearray(ring.seal(b"secret", b"row"))
    sealed[at] ^= 1
    with pytest.raises(sealing.SealingError) as refused:
        ring.unseal(bytes(sealed), b"row")
    assert "secret" not in str(refused.value)


def test_a_cut_value_does_not_open(ring: sealing.KeyRing) -> None:
    for length in range(39):
        with pytest.raises(sealing.SealingError):
            ring.unseal(ring.seal(b"secret", b"row")[:length], b"row")


def test_the_file_is_made_once_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "data.keys"
    first = sealing.read_or_make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert sealing.read_or_make(path).newest == first.newest
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.keys"]


def test_a_file_that_came_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "data.keys"
    path.write_text(sealing.new_line())
    before = path.read_text()
    sealing._put(path, sealing.new_line(), replace=False)
    assert path.read_text() == before


def test_an_added_key_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "data.keys"
    old = sealing.read_or_make(path)
    sealed = old.seal(b"x", b"")
    new = sealing.add_key(path)
    assert new.newest != old.newest
    assert new.unseal(sealed, b"") == b"x"
    assert sealing.key_of(new.seal(b"x", b"")) == new.newest
    with pytest.raises(sealing.SealingError, match=new.newest.hex()):
        old.unseal(new.seal(b"x", b""), b"")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "zz yy", "aabbccdd 00", "aabbccdd", "aabbccdd " + "0" * 64 + " 1"])
def test_a_wrong_file_is_named_and_its_keys_are_not(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.keys"
    path.write_text(text)
    with pytest.raises(sealing.SealingError, match="CITY_DATA_KEY_FILE") as refused:
        sealing.read(path)
    assert "0000" not in str(refused.value)


def test_a_ring_shows_no_key(ring: sealing.KeyRing) -> None:
    assert next(iter(ring.keys.values())).hex() not in repr(ring)
    assert repr(next(iter(ring.keys.values()))) not in repr(ring)
