"""What the register's routes answer, as OpenAPI and the screens' types know it."""

from typing import Any, Literal

from typing_extensions import TypedDict

LifeState = Literal["planned", "installed", "in_service", "faulty", "in_maintenance", "retired"]


class DeviceDetail(TypedDict):
    """An entry of the list of devices. ``expected_interval_s`` null = its kind's, ``usual_interval_s``."""

    code: str
    kind: str
    name: str
    cell: str | None
    lon: float | None
    lat: float | None
    model: str
    owner_unit: str
    maintainer_unit: str
    gateway: str | None
    address: str
    expected_interval_s: int | None
    usual_interval_s: int | None
    tags: list[str]
    registration: Literal["registered", "unclaimed", "retired"]
    origin: Literal["import", "topic", "person"]
    version: int
    edited_at: str | None
    edited_by: str | None
    vendor: str
    profile: str | None
    life_state: LifeState
    installed_on: str | None
    calibrated_on: str | None
    calibration_due: str | None
    building: str | None
    facility: str | None
    names: list[str]
    owner: str | None
    maintainer: str | None


class LifeStep(TypedDict):
    at: str
    was: LifeState
    state: LifeState
    by: str
    reason: str


class DeviceLife(TypedDict):
    items: list[LifeStep]
    next: str | None


PlaceState = Literal["in_use", "under_repair", "out_of_use", "removed"]


class FacilityDetail(TypedDict):
    """A public facility. ``parts`` are its code's segments in the district's form; ``devices`` stand in it."""

    code: str
    kind: str
    category: str | None
    name: str
    owner_unit: str
    maintainer_unit: str
    cell: str | None
    address: str
    lon: float | None
    lat: float | None
    state: PlaceState
    building: str | None
    devices: list[str]
    form: str
    parts: dict[str, str]
    version: int
    edited_at: str | None
    edited_by: str | None


class BuildingDetail(TypedDict):
    """A building; devices and facilities by their codes, 200 of each at most."""

    code: str
    name: str
    kind: str
    owner_unit: str
    maintainer_unit: str
    cell: str | None
    address: str
    lon: float | None
    lat: float | None
    floors: int | None
    floors_below: int | None
    outline: dict[str, Any] | None
    state: PlaceState
    devices: list[str]
    components: list[str]
    form: str
    parts: dict[str, str]
    version: int
    edited_at: str | None
    edited_by: str | None


class BuildingDetails(TypedDict):
    items: list[BuildingDetail]
    next: str | None


class Document(TypedDict):
    """``kind`` by its content: pdf, docx, xlsx, pptx or text."""

    id: int
    name: str
    kind: str
    bytes: int
    at: str
    by: str


class Papers(TypedDict):
    """``photos`` are digests for `/api/photos/{digest}`."""

    photos: list[str]
    documents: list[Document]


class LabelledThing(TypedDict):
    """What anybody who scans a label is told: no names of people or homes, and of a device only kind and cell."""

    sort: Literal["device", "component", "building"]
    code: str
    name: str
    kind: str
    kind_name: str
    kind_name_en: str
    category: str | None
    address: str
    cell: str | None
    cell_name: str | None
    lon: float | None
    lat: float | None
    state: str


class RegisterChange(TypedDict):
    """One change; ``detail`` holds before and after by field."""

    id: int
    at: str
    action: str
    by: str
    reason: str
    detail: dict[str, Any]


class RegisterChanges(TypedDict):
    items: list[RegisterChange]
    next: str | None


class DeviceProposal(TypedDict):
    """``because``: cell, prefix, kind, heard, gateway or metric; ``votes`` of ``of`` siblings say so."""

    field: str
    value: str | int
    votes: int
    of: int
    because: Literal["cell", "prefix", "kind", "heard", "gateway", "metric"]


class DeviceProposals(TypedDict):
    items: list[DeviceProposal]
    next: str | None


class KindCount(TypedDict):
    code: str
    name: str
    name_en: str
    main_metric: str | None
    unit: str
    expected_interval_s: int | None
    devices: int


class DeviceChoices(TypedDict):
    """What devices can be filtered by, with how many there are of each."""

    total: int
    kinds: list[KindCount]
    registrations: dict[str, int]
    service_states: dict[str, int]
    units: list[str]


class UnitDetail(TypedDict):
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
    tier: Literal["district", "street", "community"]
    capacity: int | None
    fallback: str | None
    hours: str
    lon: float | None
    lat: float | None
    active: bool
    version: int
    edited_at: str | None
    edited_by: str | None


class UnitDetails(TypedDict):
    items: list[UnitDetail]
    next: str | None


class AreaDetail(TypedDict):
    layer: str
    code: str
    name: str
    name_en: str
    parent: str | None
    parent_layer: str | None
    geometry: dict[str, Any] | None
    square_metres: int
    origin: Literal["import", "topic", "person"]
    version: int
    drawn_at: str
    edited_at: str | None
    edited_by: str | None


class AreaDetails(TypedDict):
    items: list[AreaDetail]
    next: str | None


class AreaVersion(TypedDict):
    """How it was drawn and named between two instants; ``valid_to`` null = now."""

    valid_from: str
    valid_to: str | None
    name: str
    name_en: str
    parent: str | None
    square_metres: int
    geometry: dict[str, Any] | None


class AreaHistory(TypedDict):
    items: list[AreaVersion]
    changes: list[RegisterChange]
    next: str | None


class OutlineFinding(TypedDict):
    """``fault``: it must not be saved like this. ``geometry`` is the ground it is about."""

    what: str
    fault: bool
    other: str
    square_metres: int
    lon: float | None
    lat: float | None
    geometry: dict[str, Any] | None
    words: str
    words_en: str


class AreaFate(TypedDict):
    """``fate``: new, changed, same or ended."""

    layer: str
    code: str
    name: str
    name_en: str
    fate: Literal["new", "changed", "same", "ended"]
    square_metres: int
    square_metres_before: int
    findings: list[OutlineFinding]


class DeviceMove(TypedDict):
    """``to`` null: no cell holds it any more; it stays listed in ``from_cell``."""

    code: str
    name: str
    kind: str
    from_cell: str | None
    to_cell: str | None


class IncidentMove(TypedDict):
    id: int
    number: str
    title: str
    from_cell: str | None
    to_cell: str | None


class GroundPreview(TypedDict):
    """``token`` names exactly this; sent back as If-Match it is saved only if it still holds."""

    saved: bool
    refused: bool
    token: str
    areas: list[AreaFate]
    devices_moved: int
    devices: list[DeviceMove]
    incidents_moved: int
    incidents: list[IncidentMove]
