"""Which part of a SenML name is the device and which the quantity. RFC 8428 leaves it open; docs/senders-json.md.

A name means the same however a pack cuts it into base name and name wherever it can be told: device URNs (RFC 9039),
UUIDs, hardware and IPv6 addresses. Elsewhere the cut between base name and name is what the sender tells us.
"""

import re
from functools import lru_cache

LONGEST = 256  # characters of a resolved name; a base name of 200 kB would be copied into each of its records

_RESOLVED = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")  # RFC 8428, 4.5.1
_IDENTITY = re.compile(
    r"urn:dev:(?:mac|ow):[0-9a-f]+(?![0-9a-z\-])|urn:dev:[a-z]+:[0-9a-z.\-]+"
    r"|urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-z\-])",
    re.IGNORECASE,
)
_ADDRESS = re.compile(  # a MAC or EUI-64 with or without colons, an IPv6 address
    r"(?:[0-9a-f]{2}[:\-]){5,7}[0-9a-f]{2}|[0-9a-f]{12}|[0-9a-f]{16}"
    r"|(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|(?=[0-9a-f:.]*::)[0-9a-f][0-9a-f:.]*",
    re.IGNORECASE,
)
_SEPARATORS = ":/._-"
_SHORTEST = 12  # hexadecimal digits of a MAC; a 1-wire address and an EUI-64 have 16

# words that end a name and say what was measured
# fmt: off
_WORDS = frozenset({
    "altitude", "battery", "batt", "co", "co2", "current", "cover", "depth", "displacement", "distance",
    "door", "eco2", "energy", "fill", "flow", "frequency", "gas", "hum", "humidity", "illuminance", "lat",
    "latitude", "leakage_current", "level", "light", "lon", "longitude", "lux", "motion", "noise",
    "occupied", "open", "ph", "pm10", "pm2.5", "pm25", "power", "pressure", "rain", "rainfall", "rssi",
    "signal", "smoke", "snr", "speed", "status", "tamper", "temp", "temperature", "tilt", "vibration",
    "volt", "voltage", "volume", "water_level", "waterlevel", "wind_speed",
})
# fmt: on

BY_UNIT = {  # what is measured, where only the unit tells (RFC 8428, 12.1; RFC 8798, 3)
    "Cel": "temperature",
    "K": "temperature",
    "%RH": "humidity",
    "%EL": "battery",
    "EL": "battery_seconds",
    "lat": "latitude",
    "lon": "longitude",
    "V": "voltage",
    "mV": "voltage",
    "A": "current",
    "mA": "current",
    "W": "power",
    "kW": "power",
    "J": "energy",
    "Wh": "energy",
    "kWh": "energy",
    "lx": "illuminance",
    "Pa": "air_pressure",
    "hPa": "air_pressure",
    "m3/s": "flow",
    "l/s": "flow",
    "m3": "volume",
    "l": "volume",
    "m/s": "speed",
    "km/h": "speed",
    "m/s2": "acceleration",
    "Bspl": "noise",
    "pH": "ph",
    "Hz": "frequency",
    "deg": "angle",
    "rad": "angle",
    "ug/m3": "concentration",
    "ppm": "concentration",
    "dBm": "rssi",
    "mm/h": "rain_rate",
    "beat/min": "pulse",
    "count": "count",
}

_SUMS = {"W": "J", "A": "C", "l/s": "l", "m3/s": "m3", "m/s": "m", "1/s": "count", "kW": "kJ", "mA": "mC"}


def quantity(unit: str) -> str:
    """The key of a value whose name is all device: what its unit measures, else ``value``."""
    return BY_UNIT.get(unit, "value")


def sum_unit(unit: str) -> str:
    """The unit times a second (RFC 8428, 4.2: Sum), where that has a name; else unstated."""
    return _SUMS.get(unit, "")


def placed(base: str, name: str, topic: str) -> tuple[str, str] | str:
    """Device and quantity ("" = ask the unit) of base name and name, or what is wrong with them.

    ``topic`` is the device that the topic names, or "": it takes the names that are relative to it.
    """
    length = len(base) + len(name)
    if length > LONGEST:
        return f"name {base[:40] + name[:40]!r}… has {length} characters; send at most {LONGEST}"
    return _placed(base, name, topic if len(topic) <= LONGEST else "")


@lru_cache(maxsize=8192)  # devices say the same names all day; arguments are bounded by LONGEST
def _placed(base: str, name: str, topic: str) -> tuple[str, str] | str:
    whole = base + name
    if not whole:
        return "a record has neither a name nor a base name before it; send n or bn"
    if not _RESOLVED.fullmatch(whole):
        return f"name {whole[:60]!r} is not letters, digits and -:./_ with a letter or digit first; rename it"
    identity = _IDENTITY.match(whole)
    if identity is not None and not (identity.end() > len(base) and name[:1].isalpha() and _complete(base)):
        return _after(whole, identity.end())
    if _ADDRESS.fullmatch(whole):
        return whole, ""
    return _cut(base, name) if base and name else _alone(whole, "" if base else topic)


def _complete(base: str) -> bool:
    """Whether a base name is a whole identity; many senders forget the separator before the quantity."""
    if base[-1:] in _SEPARATORS or not _IDENTITY.fullmatch(base):
        return False
    return not base[8:12].lower().startswith(("mac:", "ow:")) or len(base) - base.rfind(":") > _SHORTEST


def _after(whole: str, end: int) -> tuple[str, str]:
    """What stands behind a device's identity: nothing, a quantity, or parts of the device and then a quantity."""
    cut = max(whole.rfind(":"), whole.rfind("/"))
    if cut < end:
        return whole[:end].rstrip(_SEPARATORS), whole[end:].strip(_SEPARATORS)
    return whole[:cut].rstrip(_SEPARATORS), whole[cut:].strip(_SEPARATORS)


def _cut(base: str, name: str) -> tuple[str, str]:
    """Base name and name: the last part of the name is the quantity, everything before it the device."""
    cut = max(name.rfind(":"), name.rfind("/"))
    fragment = base[-1] not in _SEPARATORS and name[0] not in _SEPARATORS and not name[0].isalpha()
    if cut < 0 and fragment:  # half a number in each
        return base + name, ""
    device = (base + name[: cut + 1]).rstrip(_SEPARATORS)
    return device, name[cut + 1 :].strip(_SEPARATORS)


def _alone(whole: str, topic: str) -> tuple[str, str]:
    """One name for both: a known word at its end is the quantity; a bare word belongs to the topic's device."""
    cut = max(whole.rfind(":"), whole.rfind("/"), whole.rfind("."))
    if cut > 0 and whole[cut + 1 :].lower() in _WORDS:
        return whole[:cut].rstrip(_SEPARATORS), whole[cut + 1 :]
    if topic and not whole.endswith(topic) and ":" not in whole and "/" not in whole:
        return topic, whole
    return whole.rstrip(_SEPARATORS), ""
