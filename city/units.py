"""Who answers for what: units, categories of incidents, and the responsibilities that join them to places."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from city.clocks import Limits

IncidentClass = Literal["A", "B", "C"]
Clock = Literal["natural", "working"]
Nature = Literal["complaint", "consultation", "suggestion", "request", "alarm"]
Tier = Literal["district", "street", "community"]
Automatic = Literal["all", "alarms", "none"]  # what of a category is dispatched without a person


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """An office that is sent; ``id`` is 0 while it is only in a file. ``parent`` is a unit's code."""

    id: int = 0
    code: str
    name: str
    name_en: str
    kind: str
    parent: str | None
    lead: str
    phone: str
    lead_phone: str
    email: str
    lead_email: str
    webhook_url: str
    tier: Tier = "district"  # street and community: five steps; district: six, with verification
    capacity: int | None = None  # open incidents it can work on at once; None = not limited
    fallback: str | None = None  # the unit that has its matters while it cannot take them
    hours: str = ""  # its working windows, "09:00-12:00,14:00-18:00"; empty = the district's
    longitude: float | None = None  # its base, WGS 84
    latitude: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitLoad:
    """A unit with the number of incidents it has open now."""

    unit: Unit
    open_incidents: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """A kind of incident; dotted ``code``, limit in minutes on the ``clock``.

    ``incident_class`` follows from importance x urgency (``class_of_matrix``). ``limits`` are those of stages,
    ``class_limits`` the time to handle where an incident's class differs from the category's.
    """

    code: str
    parent: str | None
    name: str
    name_en: str
    incident_class: IncidentClass
    limit_minutes: int
    clock: Clock
    nature: Nature = "alarm"
    importance: Literal[1, 2, 3] | None = None  # 3 is high
    urgency: Literal[1, 2, 3] | None = None
    event_level: Literal[1, 2, 3, 4] = 4
    limits: Limits = field(default_factory=dict)
    class_limits: Mapping[IncidentClass, str] = field(default_factory=dict)
    plan: str = ""  # the plan (预案) it brings, by code
    automatic: Automatic = "alarms"
    active: bool = True  # a removed one stays for incidents that name it


@dataclass(frozen=True, kw_only=True, slots=True)
class Responsibility:
    """The lead unit for a category (or a prefix of one) in a place; ``area_id`` None is the whole district.

    None in class, limit and clock means: as the category says. ``co_unit_ids`` handle beside the lead.
    """

    category: str
    area_id: int | None
    unit_id: int
    incident_class: IncidentClass | None
    limit_minutes: int | None
    clock: Clock | None
    id: int = 0
    co_unit_ids: tuple[int, ...] = ()
    limits: Limits = field(default_factory=dict)
    automatic: Automatic | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
