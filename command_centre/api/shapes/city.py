"""What a city's own centre answers about its districts."""

from datetime import datetime
from typing import Literal

from typing_extensions import TypedDict


class CityClass(TypedDict):
    open: int
    unacknowledged: int
    overdue: int


class CityFigures(TypedDict):
    """Now; ``devices`` without those retired or out of service, ``stations`` those with a warning level."""

    devices: int
    online: int
    alarms: int
    stations: int
    above_warning: int
    classes: dict[str, CityClass]


class CitySum(CityFigures):
    """Of the ``answering`` ones among ``districts``."""

    districts: int
    answering: int


class DistrictStanding(TypedDict):
    """``figures`` null: it is silent, since ``silent_since`` (null: since this centre started)."""

    code: str
    name: str
    name_en: str
    url: str
    state: Literal["answers", "silent"]
    silent_since: datetime | None
    why: str
    why_zh: str
    response_level: str | None
    figures: CityFigures | None


class CityResponse(TypedDict):
    """``level`` null: none is in force where it is known. ``unknown`` districts are silent: theirs may be higher."""

    level: str | None
    centre: bool  # this centre's own is that high
    districts: list[str]  # codes of those where it is in force
    unknown: int


class CityOverview(TypedDict):
    sum: CitySum
    response: CityResponse
    items: list[DistrictStanding]


class DistrictOutline(TypedDict):
    """``rings``: outer rings of [longitude, latitude], WGS 84."""

    code: str
    rings: list[list[tuple[float, float]]]


class CityMap(TypedDict):
    items: list[DistrictOutline]


CityIncident = TypedDict(
    "CityIncident",
    {
        "district": str,
        "id": int,
        "number": str,
        "state": str,
        "class": str,
        "category": str,
        "category_name": str,
        "category_name_en": str,
        "cell": str | None,
        "cell_name": str,
        "cell_name_en": str,
        "unit_name": str | None,
        "unit_name_en": str | None,
        "opened_at": datetime,
        "due_at": datetime | None,
        "acknowledged_at": datetime | None,
        "closed_at": datetime | None,
        "exercise": bool,
    },
)


class CityDistrictName(TypedDict):
    """``url``: of its own centre, where people act; empty = none is known here."""

    code: str
    name: str
    name_en: str
    url: str


class DistrictMissing(TypedDict):
    """``silent_since``: its last answer (null: none since this centre started)."""

    code: str
    silent_since: datetime | None
    why: str
    why_zh: str


class CityIncidents(TypedDict):
    """``missing``: districts whose incidents are not in this page, since they did not answer."""

    items: list[CityIncident]
    districts: list[CityDistrictName]
    missing: list[DistrictMissing]
    next: str | None
