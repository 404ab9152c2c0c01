"""Reports as the intake desk lists them."""

from typing_extensions import TypedDict


class Report(TypedDict):
    id: int
    tracking: str
    channel: str
    received_at: str
    category: str | None
    nature: str
    text: str
    place: str
    address: str
    component: str
    lon: float | None
    lat: float | None
    language: str
    exercise: bool
    joined: bool
    fixed_on_spot: bool
    erased_at: str | None
    reopened_at: str | None
    version: int
    actor: str
    cell: str | None
    cell_name: str
    incident: int | None
    number: str | None
    state: str | None
    has_contact: bool
    call_back: bool
    photos: list[str]


class Reports(TypedDict):
    items: list[Report]
    next: str | None


class CallDue(TypedDict):
    id: int
    tracking: str
    received_at: str
    category: str | None
    number: str
    state: str
    incident: int
    answered_at: str | None
    tried: int
    last_at: str | None


class CallsDue(TypedDict):
    items: list[CallDue]
    next: str | None
