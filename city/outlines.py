"""Outlines about to be redrawn: what is wrong with them, how large they are, and who stands on other ground then.

Geometry goes in as GeoJSON in WGS84; lengths and areas come out in metres of a local plane.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping, shape

from city.areas import EDGE_TOLERANCE_M, METRES_PER_DEGREE, Geometry, cell_of_points

LEAST_AREA_M2 = 1.0
_POSITION = re.compile(r"\[([-0-9.e]+) ([-0-9.e]+)\]")

What = Literal["crosses", "empty", "overlaps", "overlapped_before", "outside", "uncovered"]
FAULTS: frozenset[What] = frozenset({"crosses", "empty", "overlaps"})  # the others are told and may be


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """An area of one layer as it is to be, or was; ``parent`` is the outline around it, None when it has none."""

    code: str
    geometry: Geometry | None
    parent: Geometry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about the outline of ``code``. ``other`` is the area it meets, ``square_metres`` how much of it.

    ``position`` is a place to look at, longitude and latitude; ``geometry`` what to paint.
    """

    code: str
    what: What
    other: str = ""
    square_metres: float = 0.0
    position: tuple[float, float] | None = None
    geometry: Geometry | None = None

    @property
    def fault(self) -> bool:
        """Whether it must not be saved like this."""
        return self.what in FAULTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A thing with a position: a device or an incident, and the code of the cell it is listed in."""

    key: str
    longitude: float
    latitude: float
    cell: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """``to`` None: no outline holds it any more, so it stays listed where it was."""

    key: str
    cell: str | None
    to: str | None


def square_metres(geometry: Geometry | None) -> float:
    """The area of an outline; 0 without one."""
    if geometry is None:
        return 0.0
    return float(shapely.area(_plane(_shapes([geometry]), _latitude([geometry])))[0])


def check(
    changed: Sequence[Drawing], others: Sequence[Drawing], before: Mapping[str, Geometry | None]
) -> list[Finding]:
    """What is to be said of the ``changed`` outlines of one layer, beside ``others`` that stay as they are.

    ``before`` are the outlines of the changed ones until now, None where there was none. An overlap that was
    there already and did not grow is told, and no fault: whoever mends one corner need not mend the district.
    """
    crossing = [_crossing(one) for one in changed]
    found = [finding for finding in crossing if finding is not None]
    broken = {finding.code for finding in found}
    sound = [one for one in changed if one.geometry is not None and one.code not in broken]
    drawn = [one.geometry for one in [*changed, *others] if one.geometry is not None]
    if not drawn:
        return found
    latitude = _latitude(drawn)
    found += [
        Finding(code=one.code, what="empty") for one in sound if square_metres(one.geometry) < LEAST_AREA_M2
    ]
    found += _overlaps(sound, [other for other in others if other.geometry is not None], before, latitude)
    found += [finding for one in sound if (finding := _outside(one, latitude)) is not None]
    found += _uncovered(changed, others, before, latitude)
    return found


def moves(
    things: Sequence[Standing],
    before: Mapping[str, Geometry | None],
    after: Mapping[str, Geometry | None],
    *,
    moved_to: Mapping[str, tuple[float, float]] | None = None,
    ended: Collection[str] = (),
) -> list[Move]:
    """Who stands on the ground of another cell than before; ``moved_to`` are new positions of some.

    What is listed in another cell than it stands in, and stands as before, is left alone: somebody wanted it so,
    unless its cell is among those ``ended``.
    """
    new = moved_to or {}
    was = _cells(before, [(one.longitude, one.latitude) for one in things])
    becomes = _cells(after, [new.get(one.key, (one.longitude, one.latitude)) for one in things])
    return [
        Move(key=one.key, cell=one.cell, to=to)
        for one, stood, to in zip(things, was, becomes, strict=True)
        if to != one.cell and (stood != to or one.cell in ended)
    ]


def _cells(
    outlines: Mapping[str, Geometry | None], points: Sequence[tuple[float, float]]
) -> list[str | None]:
    codes = list(outlines)
    found = cell_of_points(
        [outlines[code] for code in codes], [point[0] for point in points], [point[1] for point in points]
    )
    return [None if index is None else codes[index] for index in found]


def _crossing(one: Drawing) -> Finding | None:
    if one.geometry is None:
        return None
    drawn = shape(one.geometry)
    if shapely.is_valid(drawn):
        return None
    place = _POSITION.search(str(shapely.is_valid_reason(drawn)))
    at = (float(place[1]), float(place[2])) if place else None
    return Finding(code=one.code, what="crosses", position=at)


def _overlaps(
    sound: Sequence[Drawing],
    others: Sequence[Drawing],
    before: Mapping[str, Geometry | None],
    latitude: float,
) -> list[Finding]:
    every = [*sound, *others]
    if not sound:
        return []
    shapes = _plane(_shapes([one.geometry for one in every]), latitude)
    first, second = shapely.STRtree(shapes).query(shapes[: len(sound)], predicate="intersects")
    found = []
    for one, other in sorted(zip(first.tolist(), second.tolist(), strict=True)):
        if one == other or (other < len(sound) and other < one):
            continue
        shared = shapely.intersection(shapes[one], shapes[other])
        if shapely.is_empty(shapely.buffer(shared, -EDGE_TOLERANCE_M / 2)):
            continue
        size, earlier = (
            float(shapely.area(shared)),
            _shared_before(every[one], every[other], before, latitude),
        )
        back = _from_plane(shared, latitude)
        found.append(
            Finding(
                code=every[one].code,
                what="overlaps" if size > earlier + LEAST_AREA_M2 else "overlapped_before",
                other=every[other].code,
                square_metres=size,
                position=_middle(back),
                geometry=mapping(back),
            )
        )
    return found


def _shared_before(
    one: Drawing, other: Drawing, before: Mapping[str, Geometry | None], latitude: float
) -> float:
    was = [before.get(one.code), before.get(other.code, other.geometry)]
    if was[0] is None or was[1] is None:
        return 0.0
    a, b = _plane(_shapes(was), latitude)
    return float(shapely.area(shapely.intersection(a, b)))


def _outside(one: Drawing, latitude: float) -> Finding | None:
    if one.geometry is None or one.parent is None:
        return None
    own, around = _plane(_shapes([one.geometry, one.parent]), latitude)
    return _said(one.code, "outside", shapely.difference(own, around), latitude)


def _uncovered(
    changed: Sequence[Drawing],
    others: Sequence[Drawing],
    before: Mapping[str, Geometry | None],
    latitude: float,
) -> list[Finding]:
    """Ground that the changed areas held between them and that is nobody's now."""
    was = [geometry for geometry in before.values() if geometry is not None]
    if not was:
        return []
    now = [one.geometry for one in [*changed, *others] if one.geometry is not None]
    held = shapely.union_all(_plane(_shapes(was), latitude))
    left = shapely.difference(held, shapely.union_all(_plane(_shapes(now), latitude)))
    finding = _said(changed[0].code, "uncovered", left, latitude)
    return [] if finding is None else [finding]


def _said(code: str, what: What, piece: shapely.Geometry, latitude: float) -> Finding | None:
    """A finding about a piece of ground, unless it is a sliver between two drawings of one edge."""
    if shapely.is_empty(shapely.buffer(piece, -EDGE_TOLERANCE_M / 2)):
        return None
    back = _from_plane(piece, latitude)
    size = float(shapely.area(piece))
    return Finding(code=code, what=what, square_metres=size, position=_middle(back), geometry=mapping(back))


def _shapes(geometries: Sequence[Geometry | None]) -> NDArray[np.object_]:
    made: NDArray[np.object_] = shapely.make_valid(
        np.array([shape(geometry) for geometry in geometries], dtype=object)
    )
    return made


def _latitude(geometries: Sequence[Geometry]) -> float:
    _, south, _, north = shapely.total_bounds(_shapes(geometries))
    return float((south + north) / 2)


def _scale(latitude: float) -> NDArray[np.float64]:
    return METRES_PER_DEGREE * np.array([np.cos(np.radians(latitude)), 1.0])


def _plane(shapes: NDArray[np.object_], latitude: float) -> NDArray[np.object_]:
    moved: NDArray[np.object_] = shapely.transform(shapes, lambda points: points * _scale(latitude))
    return moved


def _from_plane(piece: shapely.Geometry, latitude: float) -> shapely.Geometry:
    back: shapely.Geometry = shapely.transform(piece, lambda points: points / _scale(latitude))
    return back


def _middle(piece: shapely.Geometry) -> tuple[float, float]:
    point = shapely.point_on_surface(piece)
    return float(point.x), float(point.y)
