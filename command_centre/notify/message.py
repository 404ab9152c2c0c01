"""What an order says: place, deadline and reason, so that nobody has to call back. Both languages."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from city.directory import Directory
from city.incidents import Incident, Purpose
from city.units import Unit

Body = Mapping[str, object]

_PURPOSES: Mapping[str, tuple[str, str]] = {
    "order": ("派遣", "New order"),
    "again": ("再次通报", "Told again"),
    "urge": ("催办：尚未签收", "Urging: not acknowledged"),
    "overdue": ("超时", "Overdue"),
}


def compose(
    incident: Incident,
    directory: Directory,
    unit: Unit,
    purpose: Purpose,
    position: tuple[float, float] | None,
) -> dict[str, object]:
    """The body as it is stored and sent; instants are RFC 3339 with the district's offset."""
    category = directory.category(incident.category)
    name = category.name if category else incident.category
    places = {place.layer: place for place in directory.places.get(incident.area_id or 0, ())}
    cell = places.get("cell")
    return {
        "incident": incident.id,
        "number": incident.number,
        "purpose": purpose,
        "class": incident.incident_class,
        "category": incident.category,
        "category_name": name,
        "category_name_en": (category.name_en if category else "") or name,
        "street": places["street"].name if "street" in places else "",
        "community": places["community"].name if "community" in places else "",
        "cell": cell.code if cell else None,
        "cell_name": cell.name if cell else "",
        "longitude": position[0] if position else None,
        "latitude": position[1] if position else None,
        "opened_at": _local(incident.opened_at, directory.zone),
        "due_at": _local(incident.due_at, directory.zone),
        "reason": incident.reason,
        "reason_en": incident.reason_en,
        "unit": unit.code,
        "unit_name": unit.name,
        "exercise": incident.exercise,
    }


def address(to_lead: bool, email: str, lead_email: str) -> str:
    """Where a mail goes: a lead without an address of their own is reached at the unit's."""
    return (lead_email or email) if to_lead else email


def subject(body: Body) -> str:
    """One line for a mail's head."""
    what, what_en = _PURPOSES.get(str(body.get("purpose")), ("通知", "Notice"))
    drill = "【演练】[EXERCISE] " if body.get("exercise") else ""
    return (
        f"{drill}[{body.get('class')}] {what} {body.get('number')} {body.get('category_name')} / "
        f"{what_en}: {body.get('category_name_en')}"
    )


def text(body: Body, link: str) -> str:
    """The whole order for a person to read; ``link`` opens the incident at the desk."""
    what, what_en = _PURPOSES.get(str(body.get("purpose")), ("通知", "Notice"))
    place = " ".join(str(body.get(part) or "") for part in ("street", "community", "cell_name")).strip()
    lines = []
    if body.get("exercise"):
        lines.append("【演练】这是演练，请按预案处置 / [EXERCISE] This is a drill: act as the plan says")
    lines += [
        f"{what} / {what_en}",
        f"编号 / Number: {body.get('number')}",
        f"等级 / Class: {body.get('class')}",
        f"类别 / Category: {body.get('category_name')} / {body.get('category_name_en')}",
        f"地点 / Place: {place or '未知 unknown'} {body.get('cell') or ''}".rstrip(),
    ]
    if body.get("longitude") is not None:
        lines.append(f"坐标 / Position: {body.get('longitude')}, {body.get('latitude')} (WGS 84)")
    lines += [
        f"时限 / Due: {body.get('due_at')}",
        f"理由 / Reason: {body.get('reason')}",
        f"  {body.get('reason_en')}",
        f"处置单位 / Unit: {body.get('unit_name')}",
        f"打开 / Open: {link}",
    ]
    return "\n".join(lines) + "\n"


def _local(at: datetime | None, zone: ZoneInfo) -> str | None:
    return at.astimezone(zone).isoformat(timespec="seconds") if at else None
