"""devices.csv: the district's own list of what transmits, read and written (docs/district-files.md)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, cast

from city.coordinates import Crs
from city.district_source import Faults, Row, csv_rows
from city.register_rows import CODE, day, declared, on_wgs84, once, position

LifeState = Literal["planned", "installed", "in_service", "faulty", "in_maintenance", "retired"]
# What a list may say; who leaves it is retired.
LISTED_STATES: tuple[LifeState, ...] = ("planned", "installed", "in_service", "faulty", "in_maintenance")
LIFE_STATES: tuple[LifeState, ...] = (*LISTED_STATES, "retired")

FILE = "devices.csv"
COLUMNS = (
    *("code", "kind", "name", "cell", "lon", "lat", "model", "owner_unit", "maintainer_unit", "gateway"),
    *("expected_interval_s", "address", "tags", "names", "vendor", "profile", "life", "installed_on"),
    *("calibrated_on", "calibration_due", "building", "facility"),
)
_OPTIONAL = (*COLUMNS[2:], "crs")
# An empty cell leaves these as they are: ingest learns names and vendors by itself, and people lead a device's life.
KEPT_WHEN_EMPTY = frozenset({"names", "vendor", "profile", "life"})
MOST_NAMES = 20  # of one device

_TAG = re.compile(r"[^\s;,]{1,64}")
NAME = re.compile(r"[a-z0-9_]{1,32}:[^\x00-\x1f\x7f\u2028\u2029\ufeff]{1,200}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedDevice:
    """A line of devices.csv; ``cell``, ``gateway``, ``building`` and ``facility`` are codes or None.

    ``names`` are ``family:name`` in order; they, ``vendor``, ``profile`` and ``life`` empty = as they stand.
    """

    where: str
    code: str
    kind: str
    name: str
    cell: str | None
    longitude: float | None
    latitude: float | None
    model: str
    owner_unit: str
    maintainer_unit: str
    gateway: str | None
    expected_interval_s: int | None
    address: str
    tags: str  # free words, ";" between them, in order, each once
    names: tuple[str, ...] = field(default=())
    vendor: str = ""
    profile: str = ""
    life: LifeState | Literal[""] = ""
    installed_on: date | None = None
    calibrated_on: date | None = None
    calibration_due: date | None = None
    building: str | None = None
    facility: str | None = None


def parse_devices(text: str, faults: Faults, usual: Crs = "wgs84") -> list[ListedDevice]:
    """The lines of the file; ``usual`` is the kind of map that positions without a ``crs`` are of."""
    seen: set[str] = set()
    named: dict[str, str] = {}
    devices: list[ListedDevice] = []
    kinds: list[Crs] = []
    for row in csv_rows(FILE, text, COLUMNS[:2], _OPTIONAL, faults) if text else ():
        device = _device(row, seen)
        for name in device.names:
            if (earlier := named.setdefault(name, device.code)) != device.code:
                row.fault("names", f"{earlier} has {name} too; a name means one device")
        devices.append(device)
        kinds.append(declared(row, usual))
    return on_wgs84(devices, kinds)


def _device(row: Row, seen: set[str]) -> ListedDevice:
    # One look at all cells, and a reader only where something stands: the list may have 200,000 lines.
    (code, kind, name, cell, lon, lat, model, owner, maintainer, gateway, interval, address, tags, names, vendor,
     profile, life, installed, calibrated, due, building, facility) = row.texts(COLUMNS)  # fmt: skip
    if row.required("code") and not CODE.fullmatch(code):
        row.fault(
            "code", "use at most 128 characters without spaces and without / + # (it stands in a topic)"
        )
    once(row, "code", code, seen)
    longitude, latitude = position(row) if lon or lat else (None, None)
    calibrated_on = day(row, "calibrated_on") if calibrated else None
    due_on = day(row, "calibration_due") if due else None
    if calibrated_on is not None and due_on is not None and due_on < calibrated_on:
        row.fault("calibration_due", "it lies before the calibration; correct one of them")
    return ListedDevice(
        where=row.where,
        code=code,
        kind=kind or row.required("kind"),
        name=name,
        cell=cell or None,
        longitude=longitude,
        latitude=latitude,
        model=model,
        owner_unit=owner,
        maintainer_unit=maintainer,
        gateway=gateway or None,
        expected_interval_s=row.whole("expected_interval_s", 1) if interval else None,
        address=address,
        tags=_tags(row) if tags else "",
        names=_names(row) if names else (),
        vendor=vendor,
        profile=profile,
        life=_life(row) if life else "",
        installed_on=day(row, "installed_on") if installed else None,
        calibrated_on=calibrated_on,
        calibration_due=due_on,
        building=building or None,
        facility=facility or None,
    )


def _life(row: Row) -> LifeState | Literal[""]:
    if row.text("life") == "retired":
        row.fault("life", "leave the line out: what the list holds no more is retired")
        return ""
    return cast(LifeState, row.one_of("life", LISTED_STATES) or "")


def _tags(row: Row) -> str:
    tags = sorted({tag.strip() for tag in row.text("tags").split(";")} - {""})
    for tag in tags:
        if not _TAG.fullmatch(tag):
            row.fault("tags", 'write words without spaces, ";" between them, at most 64 characters each')
    return ";".join(tags)


def _names(row: Row) -> tuple[str, ...]:
    """A name may hold a semicolon, written as %3B, and a per cent sign, written as %25."""
    parts = (part.strip().replace("%3B", ";").replace("%25", "%") for part in row.text("names").split(";"))
    names = sorted({part for part in parts if part})
    if len(names) > MOST_NAMES:
        row.fault("names", f"write at most {MOST_NAMES}")
    for name in names:
        if not NAME.fullmatch(name):
            row.fault("names", 'write family:name such as zigbee2mqtt:Hall, ";" between several')
    return tuple(names)


def cells(device: ListedDevice) -> Sequence[Any]:
    """The line as the file holds it, in the order of ``COLUMNS``."""
    names = ";".join(name.replace("%", "%25").replace(";", "%3B") for name in device.names)
    return (
        *(
            device.code,
            device.kind,
            device.name,
            device.cell,
            device.longitude,
            device.latitude,
            device.model,
        ),
        *(device.owner_unit, device.maintainer_unit, device.gateway, device.expected_interval_s),
        *(device.address, device.tags, names, device.vendor, device.profile, device.life),
        *(
            device.installed_on,
            device.calibrated_on,
            device.calibration_due,
            device.building,
            device.facility,
        ),
    )
