"""What kind and place an unclaimed device probably has."""

import pytest

from city.register import OTHER_KIND, Heard, propose_place


@pytest.mark.parametrize(
    ("kind", "cell", "heard", "expected"),
    [
        (
            OTHER_KIND,
            None,
            Heard(kinds=["smoke"], cells=["C1", "C1", "C2"]),
            [("kind", "smoke"), ("cell", "C1")],
        ),
        ("water", None, Heard(kinds=["smoke"], cells=["C1"]), [("cell", "C1")]),  # its sender's profile knew
        (OTHER_KIND, "C9", Heard(kinds=["smoke", "water"], cells=["C1"]), []),  # two fit, and it has a cell
        (OTHER_KIND, None, Heard(cells=["C1", "C2", "C3"]), []),  # no cell has half of them
    ],
)
def test_kind_by_what_it_reports_and_cell_by_its_gateway(
    kind: str, cell: str | None, heard: Heard, expected: list[tuple[str, str]]
) -> None:
    assert [(one.field, one.value) for one in propose_place(kind, cell, heard)] == expected
