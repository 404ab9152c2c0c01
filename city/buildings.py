"""Buildings: what devices and facilities stand in; each with code, place, floors and who answers for it."""

from dataclasses import dataclass

from city.areas import Geometry
from city.components import ComponentState


@dataclass(frozen=True, kw_only=True, slots=True)
class Building:
    """``cell`` is a code or None; position in WGS 84 degrees, ``outline`` where it was drawn. Units are words."""

    code: str
    name: str = ""
    kind: str = ""
    owner_unit: str = ""
    maintainer_unit: str = ""
    cell: str | None = None
    address: str = ""
    longitude: float | None = None
    latitude: float | None = None
    floors: int | None = None
    floors_below: int | None = None
    state: ComponentState = "in_use"
    outline: Geometry | None = None
