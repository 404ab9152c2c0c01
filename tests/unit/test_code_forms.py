"""Codes of components and grids: opaque text in segments, several forms at once, zeros kept."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.code_forms import CodeFault, CodeParts, Form, Segment, from_plain, parse_forms, read_code, to_plain
from city.district_source import DistrictFilesError, Faults

TOML = """
[[code_forms.component]]
name = "16a"
segments = [{ name = "county", length = 6 }, { name = "major", length = 2 }, { name = "minor", length = 2 },
            { name = "number", length = 6 }]
[[code_forms.component]]
name = "16b"
segments = [{ name = "county", length = 6 }, { name = "major", length = 2 },
            { name = "minor", length = 3, digits = false }, { name = "number", length = 5 }]
[[code_forms.component]]
name = "18"
segments = [{ name = "county", length = 6 }, { name = "major", length = 2 }, { name = "middle", length = 2 },
            { name = "minor", length = 2 }, { name = "number", length = 6 }]
[[code_forms.component]]
name = "19"
segments = [{ name = "code", length = 19 }]
[code_forms.cell]
segments = [{ name = "county", length = 6 }, { name = "street", length = 3 }, { name = "community", length = 3 },
            { name = "grid", length = 3 }]
"""


def forms(text: str = TOML) -> dict[str, tuple[Form, ...]]:
    faults = Faults()
    found = parse_forms("district.toml", tomllib.loads(text).get("code_forms"), faults)
    faults.raise_if_any()
    return found


def fault_lines(text: str) -> str:
    faults = Faults()
    parse_forms("district.toml", tomllib.loads(text).get("code_forms"), faults)
    with pytest.raises(DistrictFilesError) as caught:
        faults.raise_if_any()
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "form", "first", "last"),
    [
        ("0106010103000017", "16a", "010601", "000017"),
        ("01060101A0300017", "16b", "010601", "00017"),
        ("010601010203000017", "18", "010601", "000017"),
        ("0000000000000000000", "19", "0000000000000000000", "0000000000000000000"),
    ],
)
def test_codes_of_every_form_are_taken_apart_with_their_zeros(
    code: str, form: str, first: str, last: str
) -> None:
    found = read_code(code, forms()["component"])
    assert isinstance(found, CodeParts)
    assert found.form == form
    assert "".join(found.parts.values()) == code
    parts = list(found.parts.values())
    assert (parts[0], parts[-1]) == (first, last)


def test_a_grid_has_its_own_form() -> None:
    found = read_code("110113001002003", forms()["cell"])
    assert isinstance(found, CodeParts)
    assert found.parts == {"county": "110113", "street": "001", "community": "002", "grid": "003"}


@pytest.mark.parametrize(
    "code",
    [
        "",
        "12345",
        "01060101030000171234",
        "010601 1030000179",
        "٠١٠٦٠١٠١٠٣٠٠٠٠١٧",
        "0106010103000017\n",
        "x" * 65,
    ],
)
def test_what_fits_no_form_is_refused_in_both_languages(code: str) -> None:
    found = read_code(code, forms()["component"])
    assert isinstance(found, CodeFault)
    assert found.reason
    assert found.reason_en


def test_the_refusal_names_the_forms_of_that_length() -> None:
    found = read_code("x106010103000017", forms()["component"])
    assert isinstance(found, CodeFault)
    assert "16a (16 = county 6 + major 2 + minor 2 + number 6)" in found.reason_en
    assert "18" not in found.reason_en


@given(st.text(min_size=1, max_size=70))
def test_without_a_form_any_printable_text_will_do(text: str) -> None:
    fits = text.isprintable() and text == text.strip() and len(text) <= 64
    assert isinstance(read_code(text, ()), CodeParts) is fits


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
    st.text("0123456789Xx-", min_size=1, max_size=54),
)
def test_the_parts_are_the_code(cut: list[tuple[int, bool]], text: str) -> None:
    form = Form(
        name="f",
        segments=tuple(
            Segment(name=str(n), length=size, digits=digits) for n, (size, digits) in enumerate(cut)
        ),
    )
    found = read_code(text, (form,))
    if isinstance(found, CodeParts):
        assert "".join(found.parts.values()) == text
        assert [len(part) for part in found.parts.values()] == [size for size, _ in cut]
    else:
        assert len(text) != form.length or not text.isdigit()


def test_forms_come_back_from_the_database_as_they_were() -> None:
    assert from_plain(to_plain(forms())) == forms()
    assert to_plain({}) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("code_forms = 1\n", "code_forms = 1"),
        ("[code_forms.bridge]\nsegments = []\n", "unknown table"),
        ("[code_forms.cell]\nname = 'x'\n", "segments is missing"),
        ("[code_forms.cell]\nsegments = [{ name = 'a', length = 0 }]\n", "length = 0"),
        ("[code_forms.cell]\nsegments = [{ length = 3 }]\n", "name is missing"),
        (
            "[code_forms.cell]\nsegments = [{ name = 'a', length = 3 }, { name = 'a', length = 3 }]\n",
            "of its own",
        ),
        ("[code_forms.cell]\nsegments = [{ name = 'a', length = 65 }]\n", "at most 64"),
        ("[code_forms.cell]\nsegments = [{ name = 'a', length = 6, digits = 'no' }]\n", "digits"),
        ("[code_forms.cell]\nsegments = ['a']\n", "is no table"),
    ],
)
def test_faults_of_forms(text: str, words: str) -> None:
    assert words in fault_lines(text)
