"""Who answers for what: units, categories of incidents, and the responsibilities that join them to places."""

from dataclasses import dataclass
from typing import Literal

IncidentClass = Literal["A", "B", "C"]
Clock = Literal["natural", "working"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitLoad:
    """A unit with the number of incidents it has open now."""

    unit: Unit
    open_incidents: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """A kind of incident; dotted ``code``, limit in minutes on the ``clock``."""

    code: str
    parent: str | None
    name: str
    name_en: str
    incident_class: IncidentClass
    limit_minutes: int
    clock: Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Responsibility:
    """The lead unit for a category (or a prefix of one) in a place; ``area_id`` None is the whole district.

    None in the last three means: as the category says.
    """

    category: str
    area_id: int | None
    unit_id: int
    incident_class: IncidentClass | None
    limit_minutes: int | None
    clock: Clock | None
