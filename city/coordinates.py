"""Chinese map coordinates into WGS 84: GCJ-02 of every licensed map, and BD-09 of Baidu on top of it.

A position does not tell which it is; 50 to 700 m lie between them, so whoever sends coordinates has to say it.
GCJ-02 is secret by law; the offset here is the formula that has been public since 2010 ("China Map Deviation as a
Regression Problem" and what followed it), which meets the licensed converters within centimetres. It goes one way, so
the other way is found by iteration: what is subtracted is the offset at the place that is being looked for. Arrays of
degrees, WGS 84 outside of China by definition.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Crs = Literal["wgs84", "gcj02", "bd09"]
CRS: tuple[Crs, ...] = get_args(Crs)
Degrees = NDArray[np.float64]

_AXIS_M = 6_378_245.0  # of Krasovsky's ellipsoid
_ECCENTRICITY_SQUARED = 0.00669342162296594323
_BAIDU = np.pi * 3000.0 / 180.0
_WEST, _EAST, _SOUTH, _NORTH = 72.004, 137.8347, 0.8293, 55.8271  # where the offset is applied
_CLOSE_ENOUGH = 1e-9  # degrees, a tenth of a millimetre
_MOST_STEPS = 30


def to_wgs84(crs: Crs, longitude: ArrayLike, latitude: ArrayLike) -> tuple[Degrees, Degrees]:
    """Positions declared as ``crs`` in WGS 84, within a metre of where they are meant; NaN stays NaN."""
    x, y = np.asarray(longitude, float), np.asarray(latitude, float)
    if crs == "bd09":
        x, y = _without_baidu(x, y)
    return _undone(x, y) if crs != "wgs84" else (x, y)


def from_wgs84(crs: Crs, longitude: ArrayLike, latitude: ArrayLike) -> tuple[Degrees, Degrees]:
    """The other way: as a map of that kind draws it."""
    x, y = np.asarray(longitude, float), np.asarray(latitude, float)
    if crs == "wgs84":
        return x, y
    east, north = _offset(x, y)
    x, y = x + east, y + north
    return _with_baidu(x, y) if crs == "bd09" else (x, y)


def _undone(x: Degrees, y: Degrees) -> tuple[Degrees, Degrees]:
    """The place whose offset leads here; the offset changes so slowly that each step gains three digits."""
    at_x, at_y = x, y
    for _ in range(_MOST_STEPS):
        east, north = _offset(at_x, at_y)
        next_x, next_y = x - east, y - north
        step = np.nanmax(np.abs(np.concatenate([np.ravel(next_x - at_x), np.ravel(next_y - at_y), [0.0]])))
        at_x, at_y = next_x, next_y
        if step < _CLOSE_ENOUGH:
            break
    return at_x, at_y


def _offset(longitude: Degrees, latitude: Degrees) -> tuple[Degrees, Degrees]:
    x, y = longitude - 105.0, latitude - 35.0
    root = np.sqrt(np.abs(x))
    # Both coordinates share the short waves along the longitude.
    waves = (20.0 * np.sin(6.0 * np.pi * x) + 20.0 * np.sin(2.0 * np.pi * x)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + waves
    north += (20.0 * np.sin(np.pi * y) + 40.0 * np.sin(np.pi * y / 3.0)) * 2.0 / 3.0
    north += (160.0 * np.sin(np.pi * y / 12.0) + 320.0 * np.sin(np.pi * y / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + waves
    east += (20.0 * np.sin(np.pi * x) + 40.0 * np.sin(np.pi * x / 3.0)) * 2.0 / 3.0
    east += (150.0 * np.sin(np.pi * x / 12.0) + 300.0 * np.sin(np.pi * x / 30.0)) * 2.0 / 3.0
    angle = np.radians(latitude)
    flat = 1.0 - _ECCENTRICITY_SQUARED * np.sin(angle) ** 2
    meridian = np.radians(_AXIS_M * (1.0 - _ECCENTRICITY_SQUARED) / flat**1.5)  # metres a degree of latitude
    parallel = np.radians(_AXIS_M / np.sqrt(flat) * np.cos(angle))
    inside = (longitude >= _WEST) & (longitude <= _EAST) & (latitude >= _SOUTH) & (latitude <= _NORTH)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inside, east / parallel, 0.0), np.where(inside, north / meridian, 0.0)


def _with_baidu(x: Degrees, y: Degrees) -> tuple[Degrees, Degrees]:
    distance = np.hypot(x, y) + 0.00002 * np.sin(y * _BAIDU)
    angle = np.arctan2(y, x) + 0.000003 * np.cos(x * _BAIDU)
    return distance * np.cos(angle) + 0.0065, distance * np.sin(angle) + 0.006


def _without_baidu(x: Degrees, y: Degrees) -> tuple[Degrees, Degrees]:
    """Baidu's own way back leaves centimetres; two corrections leave none."""
    near_x, near_y = x - 0.0065, y - 0.006
    distance = np.hypot(near_x, near_y) - 0.00002 * np.sin(near_y * _BAIDU)
    angle = np.arctan2(near_y, near_x) - 0.000003 * np.cos(near_x * _BAIDU)
    at_x, at_y = distance * np.cos(angle), distance * np.sin(angle)
    for _ in range(3):
        again_x, again_y = _with_baidu(at_x, at_y)
        at_x, at_y = at_x + (x - again_x), at_y + (y - again_y)
    return at_x, at_y
