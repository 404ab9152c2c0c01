"""Where a warning holds, as outlines a telephone can draw: areas joined, smoothed outwards, on a grid of a metre."""

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry import shape

from city.flood import Place
from command_centre.flood.cap import Polygon
from command_centre.flood.cap_check import MOST_POINTS

GRID_DEGREES = 1e-5  # about a metre; finer would pretend to know more than the drawings do
FIRST_SMOOTHING = 1e-4  # about 11 m; doubled until the outline has few enough points
MOST_POLYGONS = 50


def polygons(places: Sequence[Place]) -> tuple[Polygon, ...]:
    """Closed outlines (latitude, longitude) that cover all places which have a geometry; holes are filled.

    Smoothing never leaves out ground that was inside: whoever lives at the edge is warned too.
    """
    drawn = [shape(place.geometry) for place in places if place.geometry is not None]
    if not drawn:
        return ()
    whole = shapely.union_all(shapely.make_valid(np.array(drawn, dtype=object)))
    smoothing = FIRST_SMOOTHING
    parts = _exteriors(shapely.set_precision(whole, GRID_DEGREES))
    while _too_many(parts) and smoothing < 1.0:
        # Widened first by more than simplifying may then cut away.
        widened = shapely.simplify(shapely.buffer(whole, smoothing, quad_segs=4), 0.9 * smoothing)
        parts = _exteriors(shapely.set_precision(widened, GRID_DEGREES))
        smoothing *= 2
    return tuple(tuple((round(lat, 5), round(lon, 5)) for lon, lat in part.exterior.coords) for part in parts)


def _too_many(parts: Sequence[shapely.Polygon]) -> bool:
    return len(parts) > MOST_POLYGONS or any(len(part.exterior.coords) > MOST_POINTS for part in parts)


def _exteriors(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons of a geometry without their holes; lines and points, which have no ground, are left out."""
    found = [
        part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon" and not part.is_empty
    ]
    return [shapely.Polygon(part.exterior) for part in found]
