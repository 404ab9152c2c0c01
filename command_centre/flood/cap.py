"""A warning as the rest of the world reads it: the nouns of CAP 1.2, and how its parts are written as text.

Element names and rules are those of OASIS Common Alerting Protocol 1.2 (urn:oasis:names:tc:emergency:cap:1.2).
Positions are WGS84 (latitude, longitude) in degrees, in this order; instants carry an explicit offset. ``cap_check``
says what must hold before a message goes out, ``cap_xml`` makes bytes of it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from city.errors import CityError

Status = Literal["Actual", "Exercise", "System", "Test", "Draft"]
MessageType = Literal["Alert", "Update", "Cancel", "Ack", "Error"]
Scope = Literal["Public", "Restricted", "Private"]
Category = Literal[
    "Geo",
    "Met",
    "Safety",
    "Security",
    "Rescue",
    "Fire",
    "Health",
    "Env",
    "Transport",
    "Infra",
    "CBRNE",
    "Other",
]
Response = Literal[
    "Shelter", "Evacuate", "Prepare", "Execute", "Avoid", "Monitor", "Assess", "AllClear", "None"
]
Urgency = Literal["Immediate", "Expected", "Future", "Past", "Unknown"]
Severity = Literal["Extreme", "Severe", "Moderate", "Minor", "Unknown"]
Certainty = Literal["Observed", "Likely", "Possible", "Unlikely", "Unknown"]
Point = tuple[float, float]  # latitude, longitude
Polygon = tuple[Point, ...]  # closed: first point repeated at the end

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_ADDRESS = re.compile(r'"([^"]*)"|(\S+)')
_FORBIDDEN = re.compile(r"[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class CapError(CityError):
    """A message, or a part of one, that is no CAP 1.2; ``field`` is its element."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field} = {str(value)[:100]!r}: {remedy}")
        self.field = field
        self.value = str(value)[:100]
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """A valueName with its value: a parameter, an eventCode or a geocode."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """An earlier message that this one updates or cancels."""

    sender: str
    identifier: str
    sent: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Circle:
    """``radius_km`` around the centre."""

    centre: Point
    radius_km: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """Where it holds: words always, outlines and codes where there are some. Heights are feet, as CAP has them."""

    description: str
    polygons: tuple[Polygon, ...] = ()
    circles: tuple[Circle, ...] = ()
    geocodes: tuple[Named, ...] = ()
    altitude: Decimal | None = None
    ceiling: Decimal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A picture or sound that goes with it; ``size`` is in bytes."""

    description: str
    mime_type: str
    size: int | None = None
    uri: str = ""
    deref_uri: str = ""
    digest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    """What is said in one language; an empty text is an element that is left out."""

    language: str = ""  # empty = en-US, as the standard has it
    categories: tuple[Category, ...]
    event: str
    responses: tuple[Response, ...] = ()
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    audience: str = ""
    event_codes: tuple[Named, ...] = ()
    effective: datetime | None = None
    onset: datetime | None = None
    expires: datetime | None = None
    sender_name: str = ""
    headline: str = ""
    description: str = ""
    instruction: str = ""
    web: str = ""
    contact: str = ""
    parameters: tuple[Named, ...] = ()
    resources: tuple[Resource, ...] = ()
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One message."""

    identifier: str
    sender: str
    sent: datetime
    status: Status
    message_type: MessageType
    source: str = ""
    scope: Scope
    restriction: str = ""
    addresses: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    note: str = ""
    references: tuple[Reference, ...] = ()
    incidents: tuple[str, ...] = ()
    infos: tuple[Info, ...] = ()


# ── parts as text, and back ──────────────────────────────────────────────────────────────────────────


def clean(text: str) -> str:
    """The text without what XML cannot carry or a receiver cannot show: control characters, halves of characters."""
    return _FORBIDDEN.sub("", text)


def write_instant(at: datetime) -> str:
    """``2026-11-22T08:15:00+08:00``; UTC is written ``-00:00``, since CAP knows no Z. Raises CapError."""
    offset = at.utcoffset()
    if offset is None:
        raise CapError("time", at, "give it an offset")
    if offset % timedelta(minutes=1) or abs(offset) > timedelta(hours=14):
        raise CapError("time", at, "use an offset of whole minutes, 14 hours at most")
    text = at.replace(microsecond=0).isoformat()
    return text if offset else text[:-6] + "-00:00"


def read_instant(text: str, field: str = "time") -> datetime:
    """The instant, with its own offset; raises CapError for Z, no offset, or fractions."""
    given = text.strip()
    if not _INSTANT.fullmatch(given):
        raise CapError(field, given, "write it as 2026-11-22T08:15:00+08:00, never with Z")
    try:
        at = datetime.fromisoformat(given)
    except ValueError as error:
        raise CapError(field, given, f"is no instant ({error})") from error
    return at


def write_polygon(polygon: Sequence[Point]) -> str:
    """``lat,lon lat,lon …``."""
    return " ".join(f"{_number(lat)},{_number(lon)}" for lat, lon in polygon)


def read_polygon(text: str) -> Polygon:
    """Raises CapError unless it is at least four points, closed, on the globe."""
    points = tuple(_point(pair, "polygon", text) for pair in text.split())
    if (fault := polygon_fault(points)) is not None:
        raise CapError("polygon", text, fault[0])
    return points


def write_circle(circle: Circle) -> str:
    """``lat,lon radius``."""
    return f"{write_polygon([circle.centre])} {_number(circle.radius_km)}"


def read_circle(text: str) -> Circle:
    """Raises CapError unless it is a point and a radius in kilometres."""
    parts = text.split()
    if len(parts) != 2:
        raise CapError("circle", text, "write it as latitude,longitude radius")
    centre = _point(parts[0], "circle", text)
    radius = _coordinate(parts[1], "circle", text)
    if radius < 0:
        raise CapError("circle", text, "the radius is 0 km or more")
    return Circle(centre=centre, radius_km=radius)


def write_references(references: Sequence[Reference]) -> str:
    """``sender,identifier,sent`` separated by spaces."""
    return " ".join(f"{one.sender},{one.identifier},{write_instant(one.sent)}" for one in references)


def read_references(text: str) -> tuple[Reference, ...]:
    """Raises CapError for none, or for one that is not sender,identifier,sent."""
    found = []
    for given in text.split():
        parts = given.split(",")
        if len(parts) != 3 or not all(parts):
            raise CapError("references", given, "write each as sender,identifier,sent")
        sent = read_instant(parts[2], "references")
        found.append(Reference(sender=parts[0], identifier=parts[1], sent=sent))
    if not found:
        raise CapError("references", text, "is empty; leave the element out or name a message")
    return tuple(found)


def write_listed(names: Sequence[str]) -> str:
    """Names separated by spaces; one with a space in it stands in quotation marks."""
    return " ".join(f'"{name}"' if re.search(r"\s", name) else name for name in names)


def read_listed(text: str, field: str) -> tuple[str, ...]:
    """Addresses or incidents; raises CapError for none."""
    found = tuple(quoted or bare for quoted, bare in _ADDRESS.findall(text) if quoted or bare)
    if not found:
        raise CapError(field, text, "is empty; leave the element out or name one")
    return found


def _number(value: float) -> str:
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _coordinate(text: str, field: str, whole: str) -> float:
    try:
        value = float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CapError(field, whole, f"{text!r} is no number in degrees or kilometres")
    return value


def _point(pair: str, field: str, whole: str) -> Point:
    parts = pair.split(",")
    if len(parts) != 2:
        raise CapError(field, whole, f"{pair!r} is no latitude,longitude")
    lat, lon = _coordinate(parts[0], field, whole), _coordinate(parts[1], field, whole)
    if abs(lat) > 90 or abs(lon) > 180:
        raise CapError(field, whole, f"{pair!r} is not on the globe: latitude comes first")
    return lat, lon


def polygon_fault(points: Polygon) -> tuple[str, str] | None:
    """What is wrong with its shape, English and Chinese; None for nothing."""
    if len(points) < 4:
        return "has fewer than four points", "少于四个点"
    if points[0] != points[-1]:
        return "is not closed: repeat the first point at the end", "未闭合：末点应与首点相同"
    return None
