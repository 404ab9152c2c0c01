"""Public facilities (部件): manhole covers, street lights, benches; each with code, place and who answers for it."""

from dataclasses import dataclass
from typing import Literal

ComponentState = Literal["in_use", "under_repair", "out_of_use", "removed"]
STATES: tuple[ComponentState, ...] = ("in_use", "under_repair", "out_of_use", "removed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """``cell`` and ``building`` are codes or None; position in WGS 84 degrees. The two units are words."""

    code: str
    kind: str
    category: str | None = None
    name: str = ""
    owner_unit: str = ""
    maintainer_unit: str = ""
    cell: str | None = None
    address: str = ""
    longitude: float | None = None
    latitude: float | None = None
    state: ComponentState = "in_use"
    building: str | None = None
