"""Units of measurement: how a number in a sender's unit becomes one in the metric's own. Asked at configuration time.

Conversions are straight lines (factor and offset), so that a reading costs one multiplication. pint knows the units;
the spellings below are what senders write for them (RFC 8428 table 1, Zigbee, national protocols).
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pint import UnitRegistry

_SPELLINGS = {
    "": "dimensionless",
    "%": "percent",
    "/": "dimensionless",
    "%RH": "percent",
    "%EL": "percent",
    "%LEL": "percent",
    "Cel": "degC",
    "℃": "degC",
    "°C": "degC",
    "°F": "degF",
    "deg": "degree",
    "°": "degree",
    "µg/m³": "microgram/meter**3",
    "ug/m3": "microgram/meter**3",
    "m3": "meter**3",
    "m³": "meter**3",
    "m3/s": "meter**3/second",
    "m³/s": "meter**3/second",
    "m2": "meter**2",
    "lx": "lux",
    "dB": "dimensionless",  # a level, never converted into something else
    "dBm": "dimensionless",
    "dBW": "dimensionless",
    "ppm": "ppm",
    "mH2O": "meter_H2O",
    "cmH2O": "cm_H2O",
}
_LEVELS = frozenset({"dB", "dBm", "dBW", "%LEL", "%RH", "%EL"})


class Conversion(NamedTuple):
    """``stored = sent * factor + offset``."""

    factor: float
    offset: float


SAME = Conversion(1.0, 0.0)


@lru_cache(maxsize=4096)
def conversion(sent: str, stored: str) -> Conversion | None:
    """From the sender's unit into the metric's; None when there is no way from one to the other.

    An unknown metric has no unit: it takes what comes. A level (dB) only becomes itself or a bare number.
    """
    if sent == stored or not sent or not stored:
        return SAME
    if (sent in _LEVELS or stored in _LEVELS) and {sent, stored} - _LEVELS - {"%"}:
        return None
    registry = _registry()
    try:
        begin = (
            registry.Quantity(0.0, _SPELLINGS.get(sent, sent)).to(_SPELLINGS.get(stored, stored)).magnitude
        )
        end = registry.Quantity(1.0, _SPELLINGS.get(sent, sent)).to(_SPELLINGS.get(stored, stored)).magnitude
    except Exception:  # pint has no common ancestor for what it raises about a stranger's text
        return None
    factor, offset = round(float(end - begin), 12), round(float(begin), 12)
    return Conversion(factor, offset) if math.isfinite(factor) and factor else None


@lru_cache(maxsize=1)
def _registry() -> "UnitRegistry[float]":
    from pint import UnitRegistry  # noqa: PLC0415 - half a second to load, for processes that convert nothing

    registry: UnitRegistry[float] = UnitRegistry(autoconvert_offset_to_baseunit=True)
    return registry
