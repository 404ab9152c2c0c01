"""A tracking number cannot be guessed, survives the telephone, and a slip of the tongue is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from city.reports import Contact, new_tracking, read_tracking, spoken, tracking_digest

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NUMBERS = st.builds(new_tracking)


@given(NUMBERS)
def test_it_is_read_however_it_is_written(tracking: str) -> None:
    assert len(tracking) == 17
    assert set(tracking) <= set(LETTERS)
    heard = tracking.replace("0", "O").replace("1", "l")
    for written in (
        spoken(tracking),
        tracking.lower(),
        f"  {spoken(tracking).lower()} ",
        heard,
        " ".join(tracking),
    ):
        assert read_tracking(written) == tracking


@given(NUMBERS, st.integers(0, 16), st.sampled_from(LETTERS))
def test_any_wrong_character_is_noticed(tracking: str, place: int, other: str) -> None:
    wrong = tracking[:place] + other + tracking[place + 1 :]
    assert read_tracking(wrong) == (tracking if wrong == tracking else None)


@given(NUMBERS, st.integers(0, 16), st.integers(0, 16))
def test_any_two_that_changed_places_are_noticed(tracking: str, one: int, other: int) -> None:
    swapped = list(tracking)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    wrong = "".join(swapped)
    assert read_tracking(wrong) == (tracking if wrong == tracking else None)


def test_a_number_that_an_earlier_release_gave_out_is_still_one() -> None:
    assert read_tracking("7k3q-m9xa-42tb5") == "7K3QM9XA42TB5"
    assert read_tracking("7K3Q-M9XA-42TB9") is None
    assert spoken("7K3QM9XA42TB5") == "7K3Q-M9XA-42TB5"
    assert [len(part) for part in spoken(new_tracking()).split("-")] == [4, 4, 4, 5]


@given(st.text(max_size=40))
def test_anything_else_is_none_or_a_number(text: str) -> None:
    found = read_tracking(text)
    assert found is None or read_tracking(found) == found


def test_numbers_do_not_repeat_and_their_digests_differ() -> None:
    many = {new_tracking() for _ in range(5000)}
    assert len(many) == 5000
    assert len({tracking_digest(one) for one in many}) == 5000
    assert {one[0] for one in many} == set(LETTERS)  # no place is fixed


def test_a_telephone_number_is_kept_as_it_is_dialled() -> None:
    assert Contact(phone="+86 (0755) 1234-5678").dialled().phone == "+8607551234" + "5678"
