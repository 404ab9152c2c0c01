"""Cells for what stands somewhere and names none: the outline that holds its position."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from city.areas import cell_of_points
from city.buildings import Building
from city.components import Component
from city.device_files import ListedDevice
from city.district_files import DistrictFiles, DrawnArea

T = TypeVar("T", ListedDevice, Component, Building)


def fill_cells(files: DistrictFiles) -> None:
    """Give devices, facilities and buildings without a cell the one they stand in; outside of all they keep none."""
    drawn = [area for area in files.areas if area.layer == "cell" and area.geometry is not None]
    if not drawn:
        return
    files.devices = _placed(files.devices, drawn)
    files.components = _placed(files.components, drawn)
    files.buildings = _placed(files.buildings, drawn)


def _placed(things: list[T], drawn: Sequence[DrawnArea]) -> list[T]:
    asking = [n for n, one in enumerate(things) if one.cell is None and one.longitude is not None]
    if not asking:
        return things
    found = cell_of_points(
        [area.geometry for area in drawn],
        [things[n].longitude or 0.0 for n in asking],
        [things[n].latitude or 0.0 for n in asking],
    )
    placed: list[Any] = list(things)
    for n, index in zip(asking, found, strict=True):
        if index is not None:
            placed[n] = dataclasses.replace(placed[n], cell=drawn[index].code)
    return placed
