"""Everything about one reporter, as it is given out."""

from typing import Any

from typing_extensions import TypedDict


class PersonContact(TypedDict):
    name: str
    phone: str
    email: str
    told_by: str
    call_back: bool


class PersonReport(TypedDict):
    id: int
    tracking: str
    channel: str
    received_at: str
    category: str | None
    nature: str
    text: str
    address: str
    longitude: float | None
    latitude: float | None
    component: str
    language: str
    actor: str
    external_id: str
    erased_at: str | None
    incident: str | None
    state: str | None
    photos: list[str]
    contact: PersonContact | None
    additions: list[dict[str, Any]]
    ratings: list[dict[str, Any]]
    callbacks: list[dict[str, Any]]
    notices: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    looked_at: list[dict[str, Any]]
    timeline: list[dict[str, Any]]


class Person(TypedDict):
    at: str
    reports: list[PersonReport]


class Erased(TypedDict):
    reports: int
