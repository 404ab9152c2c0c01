"""People to move: counts that cannot go wrong by a slip, lists from streets, shifts, and a harmless table."""

import csv
import io
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.flood import Counts
from city.incidents import Change, Incident
from command_centre import acting, workflow
from command_centre.flood import duty_log, evacuation, headcounts
from command_centre.flood.defaults import Shift
from command_centre.flood.evacuation import Report, TaskError, report

CHINA = ZoneInfo("Asia/Shanghai")
SHIFTS = (
    Shift(name="白班", name_en="day", begins=time(8)),
    Shift(name="夜班", name_en="night", begins=time(20)),
)


def told(before: Counts, **given_: Any) -> evacuation.Progress:
    return report("evacuate", before, False, Report(**given_))


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────


def test_who_is_absent_need_not_be_moved_and_who_refuses_must() -> None:
    after = told(Counts(to_move=10), moved=6, absent=1, refused=2)
    assert (after.counts.remaining, after.done) == (3, False)
    assert told(after.counts, moved=9).done


def test_a_report_sent_twice_counts_once() -> None:
    once = told(Counts(to_move=10), moved=6)
    assert told(once.counts, moved=6) == once


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"moved": -1, "reason": "x"}, "moved"),
        ({"absent": -1}, "absent"),
        ({"moved": 4}, "moved"),
        ({"moved": 11}, "moved"),
        ({"absent": 6}, "moved"),
        ({"to_move": 11}, "to_move"),
        ({"refused": 6}, "refused"),
        ({"done": True}, "done"),
        ({"moved": 10**7, "reason": "x"}, "moved"),
    ],
)
def test_a_slip_is_refused_with_what_to_do(given_: dict[str, Any], field: str) -> None:
    with pytest.raises(TaskError) as caught:
        told(Counts(to_move=10, moved=5), **given_)
    assert caught.value.field == field
    assert caught.value.remedy
    assert caught.value.remedy_zh


def test_what_is_possible_but_rare_goes_with_a_reason() -> None:
    before = Counts(to_move=10, moved=5)
    assert told(before, moved=4, reason="重复登记一人").counts.remaining == 6
    assert told(before, moved=12, reason="有访客").counts.remaining == 0
    assert told(before, to_move=12, reason="新发现").counts.remaining == 7


def test_an_inspection_moves_nobody() -> None:
    nobody = Counts(to_move=0)
    with pytest.raises(TaskError):
        report("inspect", nobody, False, Report(moved=1))
    assert not report("inspect", nobody, False, Report()).done
    assert report("inspect", nobody, False, Report(done=True)).done
    assert report("inspect", nobody, True, Report()).done


numbers = st.none() | st.integers(-2, 30)
reports = st.builds(
    Report,
    moved=numbers,
    absent=numbers,
    refused=numbers,
    to_move=numbers,
    reason=st.sampled_from(["", "因为"]),
)


@given(st.integers(0, 20), st.lists(reports, max_size=8))
def test_people_are_never_lost_or_invented(to_move: int, said: list[Report]) -> None:
    counts, done = Counts(to_move=to_move), False
    for one in said:
        try:
            after = report("evacuate", counts, done, one)
        except TaskError:
            continue
        now = after.counts
        assert min(now.to_move, now.moved, now.absent, now.refused, now.remaining) >= 0
        assert after.done == (now.remaining == 0)
        if not one.reason:
            assert now.moved >= counts.moved
            assert now.to_move == counts.to_move
            assert now.moved + now.absent <= now.to_move
            assert now.moved + now.absent + now.remaining == now.to_move
        counts, done = now, after.done


def test_people_who_remain_hinder_the_archive_but_not_with_a_reason() -> None:
    noon = datetime(2026, 7, 22, tzinfo=UTC)
    handled = Incident(
        id=1,
        state="handled",
        incident_class="A",
        base_class="A",
        category="flood.evacuation",
        unit_id=3,
        reason="x",
        due_at=noon,
        opened_at=noon,
    )

    def archive(reason: str, unmoved: int) -> workflow.Refused | Change:
        wish = workflow.Act(action="archive", actor="user:1", role="dispatcher", reason=reason)
        return acting.apply(handled, wish, workflow.Facts(unmoved=unmoved), noon)

    refused = archive(" ", 5)
    assert isinstance(refused, workflow.Refused)
    assert (refused.code, refused.field) == ("conflict", "reason")
    assert "5人" in refused.reason
    assert isinstance(archive("水退", 5), Change)
    assert isinstance(archive("", 0), Change)


def test_totals_by_street() -> None:
    def task(street: str | None, moved: int, done: bool) -> dict[str, Any]:
        return {
            "street": street, "street_name": street, "done_at": "x" if done else None,
            "to_move": 10, "moved": moved, "absent": 0, "refused": 0, "remaining": 10 - moved,
        }  # fmt: skip

    rows = [task("S2", 10, True), task("S1", 4, False), task("S1", 1, False)]
    streets = evacuation.totals(rows, "street")
    shown = [(one["code"], one["tasks"], one["done"], one["remaining"]) for one in streets]
    assert shown == [("S1", 2, 0, 15), ("S2", 1, 1, 0)]
    (whole,) = evacuation.totals(rows, "district")
    assert (whole["to_move"], whole["moved"]) == (30, 15)


# ── headcounts ───────────────────────────────────────────────────────────────────────────────────────


def test_a_list_as_spreadsheets_write_it() -> None:
    found = headcounts.read('\ufeffcell,to_move,note\r\nC1,40,"老人, 一楼"\r\n C2 , 0 ,\r\n'.encode())
    assert [(one.cell, one.to_move, one.note) for one in found] == [("C1", 40, "老人, 一楼"), ("C2", 0, "")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cell,to_move\nC1,many\n", "line 2: to_move = 'many'"),
        ("cell,to_move\nC1,1.5\n", "line 2: to_move = '1.5'"),
        ("cell,to_move\nC1," + "9" * 5000 + "\n", "whole number"),
        ("cell,to_move\n,3\n", "line 2: cell is empty"),
        ("cell,to_move\nC1,3,x,y\n", "more values than columns"),
        ("cell,to_move\nC1\n", "whole number"),
        ("to_move\n3\n", "line 1"),
        ("", "line 1"),
        ('cell,to_move\n"C1,3\n', "is no CSV"),
        ("cell,to_move,note\nC1,3,a\x00b\n", "none of control"),
    ],
)
def test_a_wrong_list_names_its_line(text: str, said: str) -> None:
    with pytest.raises(headcounts.HeadcountsError) as caught:
        headcounts.read(text.encode())
    assert said in str(caught.value)


@given(st.binary(max_size=300))
def test_no_file_breaks_the_reader(content: bytes) -> None:
    try:
        found = headcounts.read(content)
    except headcounts.HeadcountsError:
        return
    assert all(one.cell and one.to_move >= 0 for one in found)


# ── duty log ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("local", "shift"),
    [
        ((22, 7, 59), "2026-07-21 夜班 night"),
        ((22, 8, 0), "2026-07-22 白班 day"),
        ((22, 19, 59), "2026-07-22 白班 day"),
        ((22, 20, 0), "2026-07-22 夜班 night"),
        ((23, 0, 30), "2026-07-22 夜班 night"),
    ],
)
def test_a_night_is_one_shift_across_midnight(local: tuple[int, int, int], shift: str) -> None:
    day, hour, minute = local
    at = datetime(2026, 7, day, hour, minute, tzinfo=CHINA).astimezone(UTC)
    assert duty_log.shift_of(at, SHIFTS, CHINA) == shift


@given(st.text(max_size=60))
def test_no_cell_of_the_table_is_a_formula(text: str) -> None:
    entry = dict.fromkeys(duty_log.COLUMNS, "x") | {"at": datetime(2026, 7, 22, tzinfo=UTC), "text": text}
    written = duty_log.as_csv([entry], CHINA)
    assert written.startswith(b"\xef\xbb\xbf")
    (_, row) = list(csv.reader(io.StringIO(written.decode("utf-8-sig"), newline="")))
    cell = row[duty_log.COLUMNS.index("text")]
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t"))
    assert cell.removeprefix("'").lstrip() == text.removeprefix("'").lstrip() or cell == text
