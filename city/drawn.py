"""Outlines as GeoJSON writes them: held against what a polygon must be."""

from city.areas import Geometry
from city.district_source import Faults, shown

_POLYGONS = {"Polygon": 1, "MultiPolygon": 2}


def outline(where: str, geometry: object, faults: Faults) -> Geometry | None:
    """A Polygon or MultiPolygon in degrees; None where there is none, or where it was faulty."""
    if geometry is None:
        return None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or not isinstance(kind, str) or kind not in _POLYGONS:
        faults.value(where, "geometry", kind, "draw a Polygon or a MultiPolygon")
        return None
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if (
        not isinstance(polygons, list)
        or not polygons
        or not all(isinstance(part, list) and part for part in polygons)
    ):
        faults.add(where, "geometry has no rings", "draw it again")
        return None
    rings = [ring for part in polygons for ring in part]
    cause = next((cause for ring in rings if (cause := _ring_fault(ring))), None)
    if cause is not None:
        faults.add(where, f"geometry: {cause[0]}", cause[1])
        return None
    return {"type": kind, "coordinates": coordinates}


def _ring_fault(ring: object) -> tuple[str, str] | None:
    if not isinstance(ring, list) or len(ring) < 4:
        return (
            "a ring has fewer than four points",
            "draw at least a triangle, first point repeated at the end",
        )
    for point in ring:
        if not isinstance(point, list) or len(point) < 2:
            return f"{shown(point)} is no position", "write [longitude, latitude]"
        longitude, latitude = point[0], point[1]
        if not _degrees(longitude, 180) or not _degrees(latitude, 90):
            return (
                f"position {shown(point)} is not in degrees",
                "export in WGS84 (EPSG:4326) as [longitude, latitude], not in metres of a projection",
            )
    if ring[0][:2] != ring[-1][:2]:
        return "a ring is not closed", "repeat the first point at the end"
    return None


def _degrees(value: object, limit: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -limit <= value <= limit
