"""Units of measurement: how a number in a sender's unit becomes one in the metric's own. Asked at configuration time.

Conversions are straight lines (factor and offset), so that a reading costs one multiplication. pint knows the units;
the spellings below are what senders write for them (RFC 8428 table 1, Zigbee, national protocols).
"""

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pint import UnitRegistry

_SPELLINGS = {
    "": "dimensionless",
    "/": "dimensionless",
    "/100": "percent",
    "/1000": "permille",
    "count": "count",
    "percent": "percent",
    "百分比": "percent",
    "deg": "degree",
    "°": "degree",
    "lat": "degree",
    "lon": "degree",
    "度": "degree",
    "Ohm": "ohm",
    "lx": "lux",
    "PSI": "psi",
    "EL": "second",  # RFC 8428: how long a battery still lasts
    "cfs": "foot**3/second",
    "kcfs": "kcfs",
    "gpm": "gallon/minute",
    "VAh": "volt*ampere*hour",
    "kVAh": "kilovolt*ampere*hour",
    "varh": "var*hour",
    "kvarh": "kilovar*hour",
    "mmH2O": "millimeter_H2O",
    "cmH2O": "cm_H2O",
    "mH2O": "meter_H2O",
    "毫米水柱": "millimeter_H2O",
    "米水柱": "meter_H2O",
    "毫米汞柱": "mmHg",
    "毫米": "mm", "厘米": "cm", "分米": "dm", "米": "m", "公里": "km", "千米": "km",
    "伏": "V", "伏特": "V", "毫伏": "mV", "千伏": "kV",
    "安": "A", "安培": "A", "毫安": "mA",
    "瓦": "W", "瓦特": "W", "千瓦": "kW", "千瓦时": "kWh", "欧姆": "ohm", "赫兹": "Hz",
    "帕": "Pa", "百帕": "hPa", "千帕": "kPa", "兆帕": "MPa", "巴": "bar",
    "米/秒": "m/s", "毫米/秒": "mm/s", "千米/小时": "km/h", "公里/小时": "km/h", "毫米/小时": "mm/h",
    "立方米": "m**3", "升": "liter", "立方米/秒": "m**3/s", "立方米/小时": "m**3/hour", "升/秒": "liter/second",
    "微克/立方米": "ug/m**3", "毫克/立方米": "mg/m**3", "毫克/升": "mg/liter",
    "克": "gram", "千克": "kg", "公斤": "kg", "勒克斯": "lux",
    "毫秒": "ms", "秒": "second", "分": "minute", "分钟": "minute", "小时": "hour", "天": "day",
}  # fmt: skip
# Temperatures by any name; in SenML and pint C and F alone are coulomb and farad, in Tasmota degrees, so the metric
# decides which is meant.
_CELSIUS = frozenset({"°C", "℃", "Cel", "degC", "摄氏度", "celsius", "Celsius"})
_FAHRENHEIT = frozenset({"°F", "℉", "degF", "华氏度", "fahrenheit", "Fahrenheit"})
_IN_SHORT = {"C": "degC", "F": "degF", "度": "degC"}
# Shares of a whole that are not each other's: humid air, an explosive limit, a battery.
_SHARES = {
    "%": "%",
    "％": "%",
    "%RH": "%RH",
    "%LEL": "%LEL",
    "%EL": "%EL",
    "百分比": "%",
    "percent": "%",
    "/100": "%",
}
# Levels are logarithms over some reference: never converted, only written in other ways.
_LEVELS = {"dB": "dB", "dBA": "dB", "dB(A)": "dB", "db": "dB", "分贝": "dB", "dBm": "dBm", "dBW": "dBW"}
_POWER = re.compile(r"(?<![A-Za-z0-9])([A-Za-zµμ]{1,3})([23])(?![A-Za-z0-9])")  # m3, s2; not the 2 of H2O
_PART = r"°?[^\W\d]{1,24}(?:(?:\*\*|\^)?-?[1-4]|[²³])?"
_SAFE = re.compile(rf"(?:1|{_PART})(?:[ */·]{_PART}){{0,5}}|[%％℃℉]|%RH|°")


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
    if sent in _LEVELS or stored in _LEVELS:
        return SAME if _LEVELS.get(sent) == _LEVELS.get(stored) else None
    if sent in _SHARES and stored in _SHARES:
        alike = {_SHARES[sent], _SHARES[stored]}
        return SAME if len(alike) == 1 or "%" in alike else None
    if {_SHARES.get(sent), _SHARES.get(stored)} - {"%", None} or not (_known(sent) and _known(stored)):
        return None
    try:
        registry = _registry()
        begin = registry.Quantity(0.0, _spelled(sent, stored)).to(_spelled(stored, sent)).magnitude
        end = registry.Quantity(1.0, _spelled(sent, stored)).to(_spelled(stored, sent)).magnitude
    except Exception:  # pint has no common ancestor for what it raises about a stranger's text
        return None
    factor, offset = _exact(float(end - begin)), _exact(float(begin))
    return Conversion(factor, offset) if math.isfinite(factor) and factor else None


def _known(unit: str) -> bool:
    """Whether pint may be asked: what a stranger wrote must not make it reckon powers of powers."""
    return unit in _SPELLINGS or (len(unit) <= 48 and _SAFE.fullmatch(unit) is not None)


def _spelled(unit: str, other: str) -> str:
    """The unit as pint spells it."""
    if unit in _CELSIUS:
        return "degC"
    if unit in _FAHRENHEIT:
        return "degF"
    if unit in _IN_SHORT and other in _CELSIUS | _FAHRENHEIT | {"K"}:
        return _IN_SHORT[unit]
    if unit in _SHARES:
        return "percent"
    return _SPELLINGS.get(unit) or _POWER.sub(r"\1**\2", unit)


def _exact(number: float) -> float:
    """Without what binary fractions add behind the twelfth digit."""
    return float(f"{number:.12g}") if abs(number) > 1e-11 else 0.0


@lru_cache(maxsize=1)
def _registry() -> "UnitRegistry[float]":
    from pint import UnitRegistry  # noqa: PLC0415 - half a second to load, for processes that convert nothing

    registry: UnitRegistry[float] = UnitRegistry(autoconvert_offset_to_baseunit=True)
    for line in ("ppb = 1e-9", "kcfs = 1000 * foot ** 3 / second", "var = volt * ampere"):
        registry.define(line)
    return registry
