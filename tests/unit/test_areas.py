"""Which cells share an edge, which cell a point lies in, and the names above a cell."""

import math
import random
import time

import pytest

from city.areas import (
    Area,
    Geometry,
    bounding_box,
    cell_of_points,
    invalid_outlines,
    layers_above,
    neighbour_pairs,
    rings_of,
)

STEP = 0.001  # degrees, about 100 m


def square(column: float, row: float, width: float = 1, height: float = 1) -> Geometry:
    west, south = 115 + column * STEP, 22 + row * STEP
    east, north = west + width * STEP, south + height * STEP
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def grid(columns: int, rows: int) -> list[Geometry | None]:
    return [square(column, row) for row in range(rows) for column in range(columns)]


def test_cells_that_share_an_edge_are_neighbours_and_corners_are_not() -> None:
    assert sorted(neighbour_pairs(grid(2, 2))) == [(0, 1), (0, 2), (1, 3), (2, 3)]


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (5, 1), (7, 4), (3, 9)])
def test_a_grid_has_as_many_pairs_as_inner_edges(columns: int, rows: int) -> None:
    pairs = neighbour_pairs(grid(columns, rows))
    assert len(pairs) == len(set(pairs)) == columns * (rows - 1) + rows * (columns - 1)


def test_a_large_cell_beside_two_small_ones() -> None:
    assert sorted(neighbour_pairs([square(0, 0, height=2), square(1, 0), square(1, 1)])) == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]


def test_drawings_that_differ_by_centimetres_still_touch() -> None:
    apart = 0.3 / 111_320 / STEP  # 30 cm, in steps
    assert neighbour_pairs([square(0, 0), square(0, 1 + apart)]) == [(0, 1)]
    assert neighbour_pairs([square(0, 0), square(0, 1 - apart)]) == [(0, 1)]


def test_a_street_between_two_cells_parts_them() -> None:
    apart = 5 / 111_320 / STEP  # 5 m
    assert neighbour_pairs([square(0, 0), square(0, 1 + apart)]) == []


def test_cells_without_an_outline_have_no_neighbours_and_shift_nobody() -> None:
    assert neighbour_pairs([None, square(0, 0), None, square(1, 0)]) == [(1, 3)]
    assert neighbour_pairs([None, None]) == []
    assert neighbour_pairs([]) == []


def test_several_pieces_and_holes() -> None:
    hole = square(1, 1)["coordinates"]
    around = square(0, 0, 3, 3)["coordinates"]
    ring = {"type": "Polygon", "coordinates": [around[0], hole[0]]}  # type: ignore[index]  # built just above
    far = {"type": "MultiPolygon", "coordinates": [square(9, 9)["coordinates"], square(3, 0)["coordinates"]]}
    assert neighbour_pairs([ring, square(1, 1), far]) == [(0, 1), (0, 2)]


def test_an_outline_that_crosses_itself_is_named_and_does_not_stop_the_rest() -> None:
    bow = {
        "type": "Polygon",
        "coordinates": [[[115, 22], [115.001, 22.001], [115.001, 22], [115, 22.001], [115, 22]]],
    }
    assert [index for index, _ in invalid_outlines([square(0, 0), None, bow])] == [2]
    assert (0, 1) in neighbour_pairs([square(5, 5), square(6, 5), bow])


def test_five_thousand_cells() -> None:
    began = time.perf_counter()
    pairs = neighbour_pairs(grid(100, 50))
    print(f"neighbours of 5,000 cells: {time.perf_counter() - began:.2f} s")  # noqa: T201 - a figure, not asserted
    assert len(pairs) == 100 * 49 + 50 * 99


def test_points_find_their_cells() -> None:
    cells = grid(20, 20)
    chance = random.Random(4)
    wanted = [chance.randrange(400) for _ in range(200)]
    longitudes = [115 + (index % 20 + chance.uniform(0.05, 0.95)) * STEP for index in wanted]
    latitudes = [22 + (index // 20 + chance.uniform(0.05, 0.95)) * STEP for index in wanted]
    assert cell_of_points(cells, longitudes, latitudes) == wanted
    assert cell_of_points([None, cells[0]], [115.0005, 0.0], [22.0005, 0.0]) == [1, None]
    assert cell_of_points([], [1.0], [1.0]) == [None]
    assert cell_of_points(cells, [], []) == []


def test_the_box_around_everything() -> None:
    box = bounding_box([square(0, 0), square(3, 4)])
    assert box is not None
    assert all(math.isclose(a, b) for a, b in zip(box, (115, 22, 115.004, 22.005), strict=True))
    assert bounding_box([]) is None


def test_rings_of_everything_drawn() -> None:
    assert rings_of(None) == []
    assert len(rings_of(square(0, 0))) == 1
    assert len(rings_of({"type": "MultiPolygon", "coordinates": [[[], []], [[]]]})) == 3


def area(number: int, layer: str, parent: int | None) -> Area:
    return Area(
        id=number,
        layer=layer,
        code=f"{layer}{number}",
        name=f"名{number}",
        name_en=f"Name {number}",
        parent_id=parent,
        geometry=None,
    )


def test_the_layers_above_a_cell() -> None:
    ground = [
        area(1, "district", None),
        area(2, "street", 1),
        area(3, "community", 2),
        area(4, "cell", 3),
        area(5, "cell", None),
        area(6, "cell", 99),
    ]
    by_id = {one.id: one for one in ground}
    found = {number: layers_above(by_id[number], by_id) for number in (4, 5, 6)}
    assert {layer: one.id for layer, one in found[4].items()} == {
        "cell": 4,
        "community": 3,
        "street": 2,
        "district": 1,
    }
    assert set(found[5]) == set(found[6]) == {"cell"}


def test_a_loop_among_parents_ends() -> None:
    by_id = {one.id: one for one in (area(1, "cell", 2), area(2, "street", 1))}
    assert set(layers_above(by_id[1], by_id)) == {"cell", "street"}
