"""The audit's chain as arithmetic: whatever is changed, taken away or put in is found, and the first of it named."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city import tracing
from city.audit_chain import WORDS, End, Entry, Sealed, chained, digest, first_fault, seal

STORAGE = Path(__file__).parents[2] / "city" / "storage"
AT = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def rows(count: int) -> list[Sealed]:
    entries = [
        Entry(
            id=10 + n,
            at=AT + timedelta(seconds=n),
            actor=f"user:{n}",
            action="session.opened",
            object=f"user:{n}",
            reason="",
            detail="{}",
            request="",
        )
        for n in range(count)
    ]
    links, end = seal(End(), entries, [bytes([n]) * 16 for n in range(count)])
    assert end.seq == count
    return [
        Sealed(entry=entry, seq=link.seq, salt=link.salt, said=link.said, hash=link.hash)
        for entry, link in zip(entries, links, strict=True)
    ]


def test_a_chain_that_nobody_touched_proves_to_its_end() -> None:
    chain = rows(5)
    fault, end = first_fault(End(), chain)
    assert fault is None
    assert end == End(seq=5, hash=chain[-1].hash)
    second_half, _ = first_fault(End(seq=2, hash=chain[1].hash), chain[2:])
    assert second_half is None


Touch = Callable[[Sealed], Sealed]


@pytest.mark.parametrize(
    ("touch", "what"),
    [
        (lambda row: replace(row, entry=replace(row.entry, actor="user:99")), "changed"),
        (lambda row: replace(row, entry=replace(row.entry, action="session.failed")), "changed"),
        (lambda row: replace(row, entry=replace(row.entry, at=AT)), "changed"),
        (lambda row: replace(row, entry=replace(row.entry, request="0123456789abcdef")), "changed"),
        (lambda row: replace(row, said=bytes(32)), "changed"),
        (lambda row: replace(row, entry=replace(row.entry, reason="another")), "words"),
        (lambda row: replace(row, entry=replace(row.entry, object="user:99")), "words"),
        (lambda row: replace(row, entry=replace(row.entry, detail='{"a": 1}')), "words"),
    ],
)
def test_a_changed_row_is_the_first_fault(touch: Touch, what: str) -> None:
    chain = rows(5)
    chain[2] = touch(chain[2])
    fault, end = first_fault(End(), chain)
    assert fault is not None
    assert (fault.seq, fault.what, fault.entry, end.seq) == (3, what, 12, 2)


def test_a_row_that_was_taken_out_is_missed_where_it_stood() -> None:
    chain = rows(5)
    fault, _ = first_fault(End(), chain[:1] + chain[2:])
    assert fault is not None
    assert (fault.seq, fault.what) == (2, "removed")


def test_rows_that_changed_places_are_found() -> None:
    chain = rows(5)
    one, two = chain[1], chain[2]
    chain[1], chain[2] = replace(two, seq=2), replace(one, seq=3)
    fault, _ = first_fault(End(), chain)
    assert fault is not None
    assert fault.seq == 2


def test_a_row_written_anew_with_a_hash_of_its_own_breaks_the_next() -> None:
    chain = rows(3)
    forged = replace(chain[1].entry, actor="user:99")
    said = digest(b"x" * 16, forged)
    chain[1] = Sealed(
        entry=forged, seq=2, salt=b"x" * 16, said=said, hash=chained(chain[0].hash, 2, forged, said)
    )
    fault, _ = first_fault(End(), chain)
    assert fault is not None
    assert fault.seq == 3


def test_what_a_row_says_can_be_erased_and_the_chain_still_proves() -> None:
    chain = rows(4)
    chain[1] = replace(chain[1], salt=None, entry=replace(chain[1].entry, object="", reason="", detail="{}"))
    fault, end = first_fault(End(), chain)
    assert fault is None
    assert end.seq == 4


def test_an_instant_is_hashed_as_an_instant_whatever_its_zone() -> None:
    one = rows(1)[0].entry
    there = replace(one, at=one.at.astimezone(timezone(timedelta(hours=8))))
    assert chained(bytes(32), 1, one, bytes(32)) == chained(bytes(32), 1, there, bytes(32))


def test_words_cannot_be_moved_between_the_fields_of_a_row() -> None:
    one = rows(1)[0].entry
    salt = bytes(16)
    assert digest(salt, replace(one, object="ab", reason="c")) != digest(
        salt, replace(one, object="a", reason="bc")
    )


def test_every_fault_has_words_in_both_languages() -> None:
    assert all(zh and en for zh, en in WORDS.values())


@given(st.text())
def test_a_request_id_is_taken_over_only_when_it_looks_like_one(given_id: str) -> None:
    taken = tracing.taken_over(given_id)
    assert tracing.REQUEST.fullmatch(taken)
    assert taken == given_id or not tracing.REQUEST.fullmatch(given_id)


def test_whoever_writes_a_row_writes_the_calls_id_into_it() -> None:
    written = [
        (path.name, columns)
        for path in sorted(STORAGE.glob("*.py"))
        for columns in re.findall(r"(?:INSERT INTO|COPY) audit \(([^)]*)\)", path.read_text(encoding="utf-8"))
    ]
    assert len(written) >= 6
    assert [name for name, columns in written if "request" not in columns] == []
