"""What the lists of devices, facilities and buildings write alike: codes, days, positions with the map they are of."""

import dataclasses
import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol, TypeVar, cast

from city.areas import Geometry
from city.coordinates import CRS, Crs, to_wgs84
from city.district_source import Faults, Row

CODE = re.compile(r"[^\s/+#\x00-\x1f\x7f]{1,128}")  # stands in a topic: no level separator, no wildcard
_DECIMALS = 7  # of a degree: a centimetre


class Placed(Protocol):
    """An entry with a position."""

    @property
    def longitude(self) -> float | None:
        """Degrees."""

    @property
    def latitude(self) -> float | None:
        """Degrees."""


P = TypeVar("P", bound=Placed)


def once(row: Row, column: str, code: str, seen: set[str]) -> None:
    """Note a code that stands in an earlier line."""
    if code in seen:
        row.fault(column, "it stands in an earlier line; keep one of them")
    if code:
        seen.add(code)


def position(row: Row) -> tuple[float | None, float | None]:
    """Both degrees, or neither."""
    if bool(row.text("lon")) != bool(row.text("lat")):
        row.fault("lon" if row.text("lat") else "lat", "give both lon and lat, or neither")
    return row.number("lon", -180, 180), row.number("lat", -90, 90)


def declared(row: Row, usual: Crs) -> Crs:
    """Which kind of map the line's position is of; what is not said is ``usual``, never a guess."""
    text = row.text("crs").lower().replace("-", "")
    if text and text not in CRS:
        row.fault("crs", f"write one of {', '.join(CRS)}")
        return usual
    return cast(Crs, text) or usual


def day(row: Row, column: str) -> date | None:
    """A calendar day such as 2026-03-01."""
    text = row.text(column)
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10] if text[10:] in ("", "T00:00:00", " 00:00:00") else text)
    except ValueError:
        row.fault(column, "write a day such as 2026-03-01")
        return None


def on_wgs84(entries: list[P], kinds: Sequence[Crs]) -> list[P]:
    """The same entries with positions in WGS 84; ``kinds`` says of which map each was."""
    for crs in CRS[1:]:
        there = [n for n, kind in enumerate(kinds) if kind == crs and entries[n].longitude is not None]
        if there:
            x, y = to_wgs84(
                crs, [entries[n].longitude or 0.0 for n in there], [entries[n].latitude or 0.0 for n in there]
            )
            for n, longitude, latitude in zip(there, x.tolist(), y.tolist(), strict=True):
                moved = {"longitude": round(longitude, _DECIMALS), "latitude": round(latitude, _DECIMALS)}
                entries[n] = cast(P, dataclasses.replace(cast(Any, entries[n]), **moved))
    return entries


def outline_on_wgs84(crs: Crs, geometry: Geometry | None) -> Geometry | None:
    """An outline whose corners were of another map."""
    if geometry is None or crs == "wgs84":
        return geometry
    return {**geometry, "coordinates": _moved(crs, geometry["coordinates"])}


def _moved(crs: Crs, coordinates: Any) -> list[Any]:
    if isinstance(coordinates[0][0], int | float):
        x, y = to_wgs84(crs, [point[0] for point in coordinates], [point[1] for point in coordinates])
        pairs = zip(x.tolist(), y.tolist(), strict=True)
        return [[round(one, _DECIMALS), round(other, _DECIMALS)] for one, other in pairs]
    return [_moved(crs, part) for part in coordinates]


def said_crs(where: str, text: object, usual: Crs, faults: Faults) -> Crs:
    """The same declaration as a property of a drawn feature."""
    word = str(text or "").lower().replace("-", "")
    if word and word not in CRS:
        faults.value(where, "crs", text, f"write one of {', '.join(CRS)}")
        return usual
    return cast(Crs, word) or usual
