"""No cell of an export runs, and what is exported and taken in again is as it was."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.district_source import Faults, csv_rows
from city.district_writing import csv_of
from city.sheet_cells import RUNS, guarded, unguarded


@given(st.text())
def test_what_is_guarded_comes_back(text: str) -> None:
    assert unguarded(str(guarded(text))) == text
    assert not str(guarded(text)).startswith(RUNS) or text.strip("+-.0123456789eE_infatyINFATY \t\r") == ""


@pytest.mark.parametrize(
    "text", ["=1+1", "+86 755 1234", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "  =1", "＝1"]
)
def test_what_runs_is_text(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize(
    "value", ["-3.25", "+4", -3.25, None, 7, True, "烟感", "O'Brien", "a=b", "2026-11-22"]
)
def test_what_does_not_run_stays(value: object) -> None:
    assert guarded(value) == value


def test_a_district_goes_out_and_comes_in_again() -> None:
    rows = [["=HYPERLINK(1)", "+86 755", "-3.5"], ["'=x", "plain", "''"]]
    text = csv_of(["name", "phone", "lon"], rows)
    assert next(csv.reader(io.StringIO(text.splitlines()[1])))[0] == "'=HYPERLINK(1)"
    faults = Faults()
    read = list(csv_rows("x.csv", text, ["name"], ["phone", "lon"], faults))
    assert [[row.text(column) for column in ("name", "phone", "lon")] for row in read] == rows
