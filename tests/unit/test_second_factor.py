"""Codes by time: the vectors of RFC 6238, what is taken around now, and how a code looks."""

from datetime import UTC, datetime, timedelta

import pytest

from command_centre import second_factor

SECRET = b"12345678901234567890"  # RFC 6238, appendix B
VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]


@pytest.mark.parametrize(("seconds", "eight"), VECTORS)
def test_the_vectors_of_the_standard(seconds: int, eight: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert second_factor.step_of(SECRET, eight[-6:], at) == seconds // 30
    assert second_factor.step_of(SECRET, f"{(int(eight[-6:]) + 1) % 1_000_000:06}", at) is None


@pytest.mark.parametrize(("late_s", "taken"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_telephones_clock_may_be_half_a_minute_off(late_s: int, taken: bool) -> None:
    at = datetime.fromtimestamp(1111111110, UTC)
    found = second_factor.step_of(SECRET, "050471", at + timedelta(seconds=late_s))
    assert (found is not None) is taken


def test_the_address_is_what_apps_read() -> None:
    address = second_factor.address(SECRET, "wang", "示范区")
    assert address.startswith("otpauth://totp/")
    assert "secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" in address
    assert second_factor.picture(address).startswith("<svg")


def test_recovery_codes_are_typed_with_or_without_their_dash() -> None:
    codes = second_factor.recovery_codes()
    assert len(set(codes)) == 10
    assert second_factor.code_digest(7, codes[0]) == second_factor.code_digest(7, codes[0].replace("-", ""))
    assert second_factor.code_digest(7, codes[0]) != second_factor.code_digest(8, codes[0])


def test_a_recovery_code_cannot_be_found_from_its_digest() -> None:
    """ASVS 5.0, 6.5.2: what has 112 bits may be kept by a plain hash."""
    assert all(len(code.replace("-", "")) * 4.95 >= 112 for code in second_factor.recovery_codes())
