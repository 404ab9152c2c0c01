"""Ground: overlapping layers of areas, and the geometry that says which cells share an edge.

Positions are WGS84 longitude and latitude in degrees; a ring is a closed list of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

Ring = list[list[float]]  # [[lon, lat], …], first point repeated at the end
Geometry = Mapping[str, object]  # GeoJSON Polygon or MultiPolygon

METRES_PER_DEGREE = 111_320.0  # of latitude; of longitude at the equator
EDGE_TOLERANCE_M = 0.5  # drawings of two offices differ by so much along one and the same edge
SHARED_EDGE_M = 2.0  # shorter contact is a corner, not an edge


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """One piece of ground of one layer; ``parent_id`` and ``geometry`` may be unknown."""

    id: int
    layer: str
    code: str
    name: str
    name_en: str
    parent_id: int | None
    geometry: Geometry | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MapArea:
    """An outline to draw, holes included as further rings."""

    code: str
    name: str
    name_en: str
    street: str
    community: str
    rings: list[Ring]


@dataclass(frozen=True, kw_only=True, slots=True)
class DistrictMap:
    """What a screen draws once; ``bbox`` is west, south, east, north, None when nothing has an outline."""

    code: str
    name: str
    name_en: str
    bbox: tuple[float, float, float, float] | None
    streets: list[MapArea]
    communities: list[MapArea]  # by name only: their outlines are those of their cells
    cells: list[MapArea]


def rings_of(geometry: Geometry | None) -> list[Ring]:
    """Every ring of a Polygon or MultiPolygon, outer ones and holes; none for no geometry."""
    if geometry is None:
        return []
    coordinates = geometry["coordinates"]
    polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
    return [ring for polygon in polygons for ring in polygon]  # type: ignore[attr-defined]  # GeoJSON, validated on import


def layers_above(area: Area, by_id: Mapping[int, Area]) -> dict[str, Area]:
    """The area itself and those above it by layer, the nearest one of each; a loop of parents ends it."""
    chain = [area]
    while (above := by_id.get(chain[-1].parent_id or 0)) is not None and above not in chain:
        chain.append(above)
    return {link.layer: link for link in reversed(chain)}


def bounding_box(geometries: Sequence[Geometry]) -> tuple[float, float, float, float] | None:
    """West, south, east, north around all of them."""
    points = [point for geometry in geometries for ring in rings_of(geometry) for point in ring]
    if not points:
        return None
    longitudes, latitudes = [point[0] for point in points], [point[1] for point in points]
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def neighbour_pairs(geometries: Sequence[Geometry | None]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of areas that share an edge; touching in a corner is not enough.

    Works in metres on a local plane (a district is small against the globe). Two drawings of one edge may
    lie ``EDGE_TOLERANCE_M`` apart and need not share their vertices. Broken outlines are repaired for this.
    """
    present = [index for index, geometry in enumerate(geometries) if geometry is not None]
    if len(present) < 2:
        return []
    shapes = _on_local_plane([geometries[index] for index in present])
    first, second = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=EDGE_TOLERANCE_M)
    once = first < second
    first, second = first[once], second[once]
    band = shapely.buffer(shapely.boundary(shapes), EDGE_TOLERANCE_M, quad_segs=1)
    contact = shapely.length(shapely.intersection(shapely.boundary(shapes[first]), band[second]))
    touching = contact >= SHARED_EDGE_M + 4 * EDGE_TOLERANCE_M
    return [(present[i], present[j]) for i, j in zip(first[touching], second[touching], strict=True)]


def cell_of_points(
    geometries: Sequence[Geometry | None], longitudes: Sequence[float], latitudes: Sequence[float]
) -> list[int | None]:
    """For each point the index of the area it lies in; on a shared edge the first one."""
    present = [index for index, geometry in enumerate(geometries) if geometry is not None]
    if not present or not longitudes:
        return [None] * len(longitudes)
    shapes = shapely.make_valid(np.array([shape(geometries[index]) for index in present], dtype=object))
    points = shapely.points(np.asarray(longitudes, float), np.asarray(latitudes, float))
    which, inside = shapely.STRtree(shapes).query(points, predicate="intersects")
    first = np.full(len(longitudes), len(present))
    np.minimum.at(first, which, inside)
    return [present[index] if index < len(present) else None for index in first.tolist()]


def invalid_outlines(geometries: Sequence[Geometry | None]) -> list[tuple[int, str]]:
    """Index and cause of every outline that crosses itself."""
    faults = []
    for index, geometry in enumerate(geometries):
        if geometry is None:
            continue
        drawn = shape(geometry)
        if not shapely.is_valid(drawn):
            faults.append((index, str(shapely.is_valid_reason(drawn))))
    return faults


def _on_local_plane(geometries: Sequence[Geometry | None]) -> NDArray[np.object_]:
    shapes = shapely.make_valid(np.array([shape(geometry) for geometry in geometries], dtype=object))
    _, south, _, north = shapely.total_bounds(shapes)
    scale = METRES_PER_DEGREE * np.array([math.cos(math.radians((south + north) / 2)), 1.0])
    moved: NDArray[np.object_] = shapely.transform(shapes, lambda points: points * scale)
    return moved
