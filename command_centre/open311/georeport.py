"""GeoReport v2 as decisions: what a request must hold, and how a service, a request and an error look from outside.

Values go out in the order and under the names of the specification; codes are always strings, since a code such as
``001`` is no number in JSON. https://wiki.open311.org/GeoReport_v2/
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from city.incidents import FINAL

Row = dict[str, object]
Form = Sequence[tuple[str, str]]

COMPONENT = "COMPONENT"  # the one attribute of our services: code of the public facility
TECHNICAL = ("device", "system")  # families that only machines report
SPAN = timedelta(days=90)  # the specification's longest search
MOST_REQUESTS = 1000
MOST_TEXT = 4000  # characters of a description, by the specification
MOST_SHORT = 500  # of any other value
STATUSES = ("open", "closed")
_ATTRIBUTE = re.compile(r"attribute\[([^\[\]]{1,60})\](\[\])?")
_CONTACT_LIKE = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.-]+|(?<![\w.])(?!\d{4}-\d\d?-\d\d?\b)\+?\d(?:[ -]?\d){6,17}[\dXx]?(?!\w)"
)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2}))?")

# What is told of a state: a person's words, nothing of who works on it.
_NOTES: Mapping[str, tuple[str, str]] = {
    "registered": ("已登记", "registered"),
    "filed": ("已受理，正在确定承办单位", "accepted, a unit is being found"),
    "returned": ("正在重新确定承办单位", "another unit is being found"),
    "dispatched": ("已派单", "given to the unit in charge"),
    "acknowledged": ("处理中", "being worked on"),
    "arrived": ("处理中，已到场", "being worked on, on site"),
    "rework": ("正在重新处理", "being worked on again"),
    "suspended": ("暂时挂起", "on hold"),
    "handled": ("已处置，待核查反馈", "handled, waiting for the check"),
    "verified": ("已处置，已核查", "handled and checked"),
    "fed_back": ("已反馈", "answered"),
    "archived": ("已办结", "closed"),
    "voided": ("经核实不予受理", "looked into and not taken up"),
}


class GeoReportError(Exception):
    """A request that is refused: 400, 403, 404 or 429 with one line (English, Chinese) for each fault."""

    def __init__(self, status: int, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.status = status
        self.faults = faults


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A leaf of the catalogue as a service; names are Chinese and English, ``group`` is its top category."""

    code: str
    name: str
    name_en: str
    group: str
    group_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Filed:
    """A POST that may be registered. Positions are WGS 84 degrees; ``extra`` are attributes that nobody defined."""

    service_code: str
    description: str
    longitude: float | None
    latitude: float | None
    address: str
    address_id: str
    component: str
    name: str
    phone: str
    email: str
    account_id: str
    media_url: str
    extra: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The description, and under it what has no place of its own."""
        lines = [self.description, *(f"{code}: {value}" for code, value in self.extra)]
        if self.media_url:
            lines.append(self.media_url)
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A request as it stands; ``state`` is its incident's, None for what needed no incident."""

    id: str
    service_code: str
    service_name: str
    service_name_en: str
    description: str
    state: str | None
    unit: str
    unit_en: str
    requested_at: datetime
    updated_at: datetime
    due_at: datetime | None
    address: str
    address_id: str
    longitude: float | None
    latitude: float | None
    media_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What GET requests asks for; ``ids`` given, the rest is not looked at."""

    ids: tuple[str, ...]
    services: tuple[str, ...]
    statuses: tuple[str, ...]
    start: datetime
    end: datetime


# ── in ────────────────────────────────────────────────────────────────────────────────────────────────


def filed(form: Form) -> Filed:
    """A POST's fields; raises GeoReportError 400 that names every fault at once."""
    given = {name: value.strip() for name, value in form}
    faults = [
        f"{name} is too long: at most {most} characters"
        for name, value in given.items()
        if len(value) > (most := MOST_TEXT if name == "description" else MOST_SHORT)
    ]
    faults += [f"{name} holds control characters" for name, value in given.items() if not _printable(value)]
    code = given.get("service_code", "")
    if not code:
        faults.append("service_code was not provided")
    address, address_id = given.get("address_string", ""), given.get("address_id", "")
    position = None
    if given.get("lat") or given.get("long"):
        position = _position(given.get("lat", ""), given.get("long", ""), faults)
    elif not (address or address_id):
        faults.append("a location is missing: give lat and long, address_string or address_id")
    media_url = given.get("media_url", "")
    if media_url and not _is_web(media_url):
        faults.append("media_url must begin with http:// or https://")
    attributes = _attributes(form)
    if faults:
        raise GeoReportError(400, *faults)
    return Filed(
        service_code=code,
        description=given.get("description", ""),
        longitude=position[0] if position else None,
        latitude=position[1] if position else None,
        address=address,
        address_id=address_id,
        component=attributes.get(COMPONENT, ""),
        name=_full_name(given.get("first_name", ""), given.get("last_name", "")),
        phone=given.get("phone", ""),
        email=given.get("email", ""),
        account_id=given.get("account_id", ""),
        media_url=media_url,
        extra=tuple((name, value) for name, value in attributes.items() if name != COMPONENT),
    )


def _printable(value: str) -> bool:
    return all(part.isprintable() or part in "\n\r\t\u3000\xa0" for part in value)


def _position(lat: str, long: str, faults: list[str]) -> tuple[float, float] | None:
    try:
        latitude, longitude = float(lat), float(long)
    except ValueError:
        faults.append(f"lat = {lat[:40]!r}, long = {long[:40]!r}: give both, in degrees of WGS 84")
        return None
    if not (math.isfinite(latitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        faults.append(f"lat = {lat[:40]}, long = {long[:40]}: no place on Earth; WGS 84 degrees are meant")
        return None
    return longitude, latitude


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _attributes(form: Form) -> dict[str, str]:
    """``attribute[CODE]=v``, several of ``attribute[CODE][]=v`` joined by commas."""
    found: dict[str, str] = {}
    for name, value in form:
        match = _ATTRIBUTE.fullmatch(name)
        if match and value.strip():
            code = match[1]
            found[code] = f"{found[code]}, {value.strip()}" if code in found else value.strip()
    return found


def _full_name(first: str, last: str) -> str:
    if not (first + last).isascii():
        return last + first
    return f"{first} {last}".strip()


def search(asked: Mapping[str, str], now: datetime) -> Search:
    """The filters of GET requests; raises GeoReportError 400. Without dates: the last 90 days."""
    statuses = _listed(asked.get("status", ""))
    faults = [f"status = {one[:40]!r}: use open, closed" for one in statuses if one not in STATUSES]
    start = _instant("start_date", asked.get("start_date", ""), faults)
    end = _instant("end_date", asked.get("end_date", ""), faults)
    if start is None:
        start = (end or now) - SPAN
    if end is None:
        end = min(now, start + SPAN) if asked.get("start_date") else now
    if end < start:
        faults.append("end_date lies before start_date")
    if end - start > SPAN:
        faults.append(f"start_date to end_date may span {SPAN.days} days")
    ids = _listed(asked.get("service_request_id", ""))
    if len(ids) > MOST_REQUESTS:
        faults.append(f"service_request_id: at most {MOST_REQUESTS} at once")
    if faults:
        raise GeoReportError(400, *faults)
    return Search(
        ids=ids,
        services=_listed(asked.get("service_code", "")),
        statuses=statuses or STATUSES,
        start=start,
        end=end,
    )


def _listed(written: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in written.split(",") if part.strip())


def _instant(name: str, written: str, faults: list[str]) -> datetime | None:
    if not written:
        return None
    text = written.strip().replace(" ", "+")  # an unescaped plus arrives as a blank
    try:
        if not _INSTANT.fullmatch(text):
            raise ValueError(text)
        found = datetime.fromisoformat(text if "T" in text else text + "T00:00:00Z")
    except ValueError:
        faults.append(
            f"{name} = {written[:40]!r}: use a W3C date with zone, such as 2026-11-22T08:00:00+08:00"
        )
        return None
    return found


# ── out ───────────────────────────────────────────────────────────────────────────────────────────────


def service_row(service: Service) -> Row:
    """An entry of the list of services."""
    name, group = _both(service.name, service.name_en), _both(service.group, service.group_en)
    return {
        "service_code": service.code,
        "service_name": name,
        "description": f"{group}: {name}",
        "metadata": has_metadata(service.code),
        "type": "realtime",
        "keywords": ", ".join(
            dict.fromkeys(
                word for word in (service.name, service.name_en, service.group, service.group_en) if word
            )
        ),
        "group": group,
    }


def has_metadata(code: str) -> bool:
    """Whether a service asks for attributes: facilities ask for their component's code."""
    return code.partition(".")[0] == "facility"


def definition_row(code: str) -> Row:
    """What a service asks for beside place and words."""
    attributes: list[Row] = []
    if has_metadata(code):
        attributes.append(
            {
                "variable": True,
                "code": COMPONENT,
                "datatype": "string",
                "required": False,
                "datatype_description": "部件编码，见设施铭牌 / the code on the facility's plate",
                "order": 1,
                "description": "部件编码 / Component code",
                "values": [],
            }
        )
    return {"service_code": code, "attributes": attributes}


def request_row(stored: Stored, zone: ZoneInfo) -> Row:
    """A request as everybody may see it: contacts that somebody typed into its text are blotted out."""
    notes = _NOTES.get(stored.state or "", ("已当场处置", "put right on the spot"))
    return {
        "service_request_id": stored.id,
        "status": status_of(stored.state),
        "status_notes": " / ".join(notes),
        "service_name": _both(stored.service_name, stored.service_name_en),
        "service_code": stored.service_code,
        "description": blotted(stored.description) or None,
        "agency_responsible": _both(stored.unit, stored.unit_en) or None,
        "service_notice": None,
        "requested_datetime": _written(stored.requested_at, zone),
        "updated_datetime": _written(stored.updated_at, zone),
        "expected_datetime": _written(stored.due_at, zone) if stored.due_at else None,
        "address": stored.address or None,
        "address_id": stored.address_id or None,
        "zipcode": None,
        "lat": stored.latitude,
        "long": stored.longitude,
        "media_url": stored.media_url or None,
    }


def status_of(state: str | None) -> str:
    """``closed`` when nothing more is done about it; merged ones are asked for by their root."""
    return "closed" if state is None or state in FINAL else "open"


def filed_row(request_id: str, tracking: str, account_id: str) -> Row:
    """The answer to a POST. The tracking number is for the reporter alone: it rates and reopens."""
    return {
        "service_request_id": request_id,
        "service_notice": f"查询编号 {tracking}，请告知报告人 / tracking number {tracking}, for the reporter alone",
        "account_id": account_id or None,
    }


def error_rows(status: int, faults: Sequence[str]) -> list[Row]:
    """One entry for each fault; the code is the HTTP status, as a string like every code."""
    return [{"code": str(status), "description": fault} for fault in faults]


def discovery_row(base: str, contact: str, changed: datetime, zone: ZoneInfo) -> Row:
    """Where the endpoints are; ``base`` is the address of /open311/v2."""
    at = _written(changed, zone)
    endpoint: Row = {
        "specification": "http://wiki.open311.org/GeoReport_v2",
        "url": base,
        "changeset": at,
        "type": "production",
        "formats": ["text/xml", "application/json"],
    }
    return {
        "changeset": at,
        "contact": contact,
        "key_service": "API keys are given by the command centre's administrator / 接口密钥由指挥中心管理员发放",
        "endpoints": [endpoint],
    }


def blotted(text: str) -> str:
    """A text without mail addresses and long numbers (telephones, identity cards), for everybody to read."""
    return _CONTACT_LIKE.sub("＊＊＊", text)


def _both(name: str, name_en: str) -> str:
    return f"{name} / {name_en}" if name_en and name_en != name else name


def _written(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds")
