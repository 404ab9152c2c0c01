"""GCJ-02 and BD-09 against recorded pairs, known points, and their own way back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.areas import rings_of
from city.coordinates import CRS, Crs, from_wgs84, to_wgs84

METRES = 111_320.0


def metres(one: Any, other: Any) -> float:
    """The largest distance between two lists of positions."""
    x, y = np.asarray(one[0]) - np.asarray(other[0]), np.asarray(one[1]) - np.asarray(other[1])
    return float(np.max(np.hypot(x * np.cos(np.radians(np.asarray(one[1]))), y)) * METRES)


def positions(path: Path) -> tuple[list[float], list[float]]:
    features = json.loads(path.read_text("utf-8"))["features"]
    points = [point for one in features for ring in rings_of(one["geometry"]) for point in ring]
    return [point[0] for point in points], [point[1] for point in points]


def test_recorded_outlines_fall_on_their_pairs(shared_data: Path) -> None:
    gcj, wgs = (
        positions(shared_data / "data" / "geo" / f"districts_{name}.geojson") for name in ("gcj02", "wgs84")
    )
    assert len(gcj[0]) == len(wgs[0]) > 1000
    assert metres(gcj, wgs) > 400  # what a position that is taken for the other kind is off by
    assert metres(to_wgs84("gcj02", *gcj), wgs) < 5  # the recording was converted without iteration
    assert metres(from_wgs84("gcj02", *wgs), gcj) < 5


# The centre of Beijing and what converters that many use answer for it.
CENTRE = (116.404, 39.915)
DRAWN = {"gcj02": (116.41024449916938, 39.91640428150164), "wgs84": CENTRE}
BAIDU_OF_GCJ = (116.41036949371029, 39.92133699351021)


@pytest.mark.parametrize("crs", ["gcj02", "wgs84"])
def test_a_known_place(crs: Crs) -> None:
    assert metres(from_wgs84(crs, *([value] for value in CENTRE)), [[value] for value in DRAWN[crs]]) < 0.001


def test_baidu_lies_over_the_licensed_map() -> None:
    licensed = to_wgs84("gcj02", *([value] for value in CENTRE))
    assert metres(to_wgs84("bd09", *([value] for value in BAIDU_OF_GCJ)), licensed) < 0.001


@given(
    crs=st.sampled_from(CRS),
    longitude=st.floats(73.6, 135.0),
    latitude=st.floats(18.0, 53.5),
)
def test_there_and_back_is_the_same_place(crs: Crs, longitude: float, latitude: float) -> None:
    there = from_wgs84(crs, [longitude], [latitude])
    assert metres(to_wgs84(crs, *there), ([longitude], [latitude])) < 0.01


def test_outside_of_china_and_without_a_position_nothing_moves() -> None:
    x, y = to_wgs84("gcj02", [-0.1276, np.nan, 0.0], [51.5072, np.nan, 89.9])
    assert (x[0], y[0]) == (-0.1276, 51.5072)
    assert np.isnan([x[1], y[1]]).all()
    assert (x[2], y[2]) == (0.0, 89.9)
