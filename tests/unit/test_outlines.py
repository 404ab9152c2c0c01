"""Outlines about to be redrawn: crossings, overlaps, gaps, and who stands in another cell afterwards."""

import pytest

from city import outlines
from city.areas import Geometry
from city.outlines import Drawing, Standing

HUNDREDTH = 0.001  # degrees: some 103 x 111 m at 22° north


def box(west: float, south: float, east: float, north: float) -> Geometry:
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    ring = [[114 + x * HUNDREDTH, 22 + y * HUNDREDTH] for x, y in corners]
    return {"type": "Polygon", "coordinates": [ring]}


A, B = box(0, 0, 1, 1), box(1, 0, 2, 1)


def said(
    changed: list[Drawing], others: list[Drawing], before: dict[str, Geometry | None]
) -> list[tuple[str, str, str]]:
    return [(one.code, one.what, one.other) for one in outlines.check(changed, others, before)]


def test_a_square_of_a_thousandth_of_a_degree_has_the_area_of_its_sides() -> None:
    assert outlines.square_metres(A) == pytest.approx(111.32 * 111.32 * 0.9272, rel=0.001)
    assert outlines.square_metres(None) == 0


def test_neighbours_that_share_an_edge_are_nothing_to_speak_of() -> None:
    assert said([Drawing(code="A", geometry=A)], [Drawing(code="B", geometry=B)], {"A": A}) == []


def test_an_outline_that_crosses_itself_is_a_fault_at_its_crossing() -> None:
    bow = [[114.0, 22.0], [114.002, 22.002], [114.002, 22.0], [114.0, 22.002], [114.0, 22.0]]
    (found,) = outlines.check(
        [Drawing(code="A", geometry={"type": "Polygon", "coordinates": [bow]})], [], {"A": None}
    )
    assert (found.what, found.fault) == ("crosses", True)
    assert found.position == pytest.approx((114.001, 22.001))


def test_a_sliver_is_no_area() -> None:
    assert said([Drawing(code="A", geometry=box(0, 0, 1, 0.000001))], [], {"A": None}) == [("A", "empty", "")]


def test_an_overlap_is_a_fault_that_names_the_neighbour_and_its_size() -> None:
    (found,) = outlines.check(
        [Drawing(code="A", geometry=box(0, 0, 1.5, 1))], [Drawing(code="B", geometry=B)], {"A": A}
    )
    assert (found.what, found.other, found.fault) == ("overlaps", "B", True)
    assert found.square_metres == pytest.approx(outlines.square_metres(A) / 2, rel=0.001)
    assert found.position is not None
    assert 114.001 < found.position[0] < 114.0015


def test_two_that_are_redrawn_together_are_held_against_each_other_once() -> None:
    changed = [Drawing(code="A", geometry=box(0, 0, 1.5, 1)), Drawing(code="B", geometry=box(1.4, 0, 2, 1))]
    assert said(changed, [], {"A": A, "B": B}) == [("A", "overlaps", "B")]
    changed[1] = Drawing(code="B", geometry=box(1.5, 0, 2, 1))
    assert said(changed, [], {"A": A, "B": B}) == []


def test_an_overlap_that_was_there_and_did_not_grow_is_told_and_no_fault() -> None:
    wide = box(0, 0, 1.2, 1)
    found = outlines.check(
        [Drawing(code="A", geometry=box(0, 0.1, 1.2, 1))], [Drawing(code="B", geometry=B)], {"A": wide}
    )
    assert [(one.what, one.fault) for one in found] == [("overlapped_before", False), ("uncovered", False)]


def test_a_drawing_that_lies_half_a_metre_off_is_the_same_edge() -> None:
    close = box(0, 0, 1 + 0.4 / 111.32, 1)
    assert said([Drawing(code="A", geometry=close)], [Drawing(code="B", geometry=B)], {"A": A}) == []


def test_ground_outside_the_area_above_is_told() -> None:
    drawing = Drawing(code="A", geometry=box(0, 0, 1, 1.5), parent=box(0, 0, 2, 1))
    assert said([drawing], [], {"A": A}) == [("A", "outside", "")]


def test_ground_that_becomes_nobodys_is_told() -> None:
    found = outlines.check(
        [Drawing(code="A", geometry=box(0, 0, 0.5, 1))], [Drawing(code="B", geometry=B)], {"A": A}
    )
    assert [(one.what, one.fault) for one in found] == [("uncovered", False)]
    assert found[0].square_metres == pytest.approx(outlines.square_metres(A) / 2, rel=0.001)


def test_who_stands_on_other_ground_moves_with_it() -> None:
    things = [
        Standing(key="stays", longitude=114.0002, latitude=22.0005, cell="A"),
        Standing(key="moves", longitude=114.0008, latitude=22.0005, cell="A"),
        Standing(key="listed elsewhere", longitude=114.0015, latitude=22.0005, cell="A"),
        Standing(key="falls out", longitude=114.0005, latitude=22.0099, cell="C"),
    ]
    before = {"A": A, "B": B, "C": box(0, 9, 1, 10)}
    after = {"A": box(0, 0, 0.5, 1), "B": box(0.5, 0, 2, 1), "C": None}
    assert [(one.key, one.cell, one.to) for one in outlines.moves(things, before, after)] == [
        ("moves", "A", "B"),
        ("falls out", "C", None),
    ]


def test_a_device_that_is_dragged_comes_into_the_cell_where_it_is_dropped() -> None:
    one = Standing(key="D1", longitude=114.0002, latitude=22.0005, cell="A")
    outline = {"A": A, "B": B}
    assert [
        move.to for move in outlines.moves([one], outline, outline, moved_to={"D1": (114.0015, 22.0005)})
    ] == ["B"]
    assert outlines.moves([one], outline, outline, moved_to={"D1": (114.0003, 22.0006)}) == []


def test_who_was_in_a_cell_that_ends_moves_wherever_it_stands() -> None:
    one = Standing(key="D1", longitude=114.0015, latitude=22.0005, cell="A")
    assert [move.to for move in outlines.moves([one], {"A": A, "B": B}, {"B": B}, ended={"A"})] == ["B"]
