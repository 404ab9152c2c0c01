"""What an order says: place, deadline and reason, so that nobody has to call back. In the receiver's languages."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from city.contacts import Language
from city.directory import Directory
from city.incidents import Incident, Purpose, Request
from city.units import Unit
from command_centre.notify import templates

Body = Mapping[str, Any]


def compose(
    incident: Incident,
    directory: Directory,
    unit: Unit | None,
    purpose: Purpose,
    position: tuple[float, float] | None,
    requests: Sequence[Request] = (),
) -> dict[str, object]:
    """The body as it is stored and sent; instants are RFC 3339 with the district's offset.

    ``unit`` is None for approvers, who are no unit; ``requests`` are what was asked or decided with it.
    """
    category = directory.category(incident.category)
    name = category.name if category else incident.category
    places = {place.layer: place for place in directory.places.get(incident.area_id or 0, ())}
    cell = places.get("cell")
    body: dict[str, object] = {
        "incident": incident.id,
        "number": incident.number,
        "purpose": purpose,
        "class": incident.incident_class,
        "event_level": incident.event_level,
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
        "unit": unit.code if unit else None,
        "unit_name": unit.name if unit else "",
        "exercise": incident.exercise,
    }
    if requests:
        body["requests"] = [
            {
                "ask": asked.ask,
                "state": asked.state,
                "limit": asked.limit,
                "unit": _code(directory, asked.unit_id),
                "to_unit": _code(directory, asked.to_unit_id),
            }
            for asked in requests
        ]
    return body


def subject(body: Body, language: Language = "both") -> str:
    """One line for a mail's head."""
    what, what_en = templates.word("purpose", str(body.get("purpose")))
    drill, drill_en = ("【演练】", "[EXERCISE] ") if body.get("exercise") else ("", "")
    if body.get("purpose") == "digest":
        zh, en = f"{what} {body.get('count')} 条", f"{what_en} of {body.get('count')} messages"
    elif body.get("purpose") == "test":
        zh, en = what, what_en
    elif language == "both":
        drill, drill_en = drill + drill_en, ""
        zh = f"[{body.get('class')}] {what} {body.get('number')} {body.get('category_name')}"
        en = f"{what_en}: {body.get('category_name_en')}"
    else:
        zh = f"[{body.get('class')}] {what} {body.get('number')} {body.get('category_name')}"
        en = f"[{body.get('class')}] {what_en} {body.get('number')} {body.get('category_name_en')}"
    return {"zh": drill + zh, "en": drill_en + en, "both": f"{drill}{zh} / {drill_en}{en}"}[language]


def text(body: Body, link: str, language: Language = "both") -> str:
    """The whole message for a person to read; ``link`` opens the incident at the desk."""
    lines = []
    if body.get("exercise"):
        drill = (
            "【演练】这是演练，请按预案处置",
            "[EXERCISE] This is a drill: act as the plan says",
        )
        lines.append(_pick(drill, language, " / "))
    if body.get("purpose") == "digest":
        lines += _digest(body, link, language)
    elif body.get("purpose") == "test":
        lines.append(
            _pick(
                ("这是测试消息，无需处理", "This is a test message: nothing is to be done"), language, " / "
            )
        )
    else:
        lines += _order(body, link, language)
    return "\n".join(lines) + "\n"


def _order(body: Body, link: str, language: Language) -> list[str]:
    place = " ".join(str(body.get(part) or "") for part in ("street", "community", "cell_name")).strip()
    unknown = {"zh": "未知", "en": "unknown", "both": "未知 unknown"}[language]
    category = (str(body.get("category_name")), str(body.get("category_name_en")))
    lines = [
        _pick(templates.word("purpose", str(body.get("purpose"))), language, " / "),
        _line(("编号", "Number"), body.get("number"), language),
        _line(("等级", "Class"), body.get("class"), language),
        _line(("类别", "Category"), _pick(category, language, " / "), language),
        _line(("地点", "Place"), f"{place or unknown} {body.get('cell') or ''}".rstrip(), language),
    ]
    if body.get("longitude") is not None:
        where = f"{body.get('longitude')}, {body.get('latitude')} (WGS 84)"
        lines.append(_line(("坐标", "Position"), where, language))
    lines += [_line(("申请", "Asked"), _asked(one, language), language) for one in body.get("requests", ())]
    lines.append(_line(("时限", "Due"), body.get("due_at"), language))
    reasons = (str(body.get("reason") or ""), str(body.get("reason_en") or ""))
    if language == "both":
        lines += [f"理由 / Reason: {reasons[0]}", f"  {reasons[1]}"]
    else:
        lines.append(_line(("理由", "Reason"), _pick(reasons, language, "") or reasons[0], language))
    if body.get("unit_name"):
        lines.append(_line(("处置单位", "Unit"), body.get("unit_name"), language))
    return [*lines, _line(("打开", "Open"), link, language)]


def _asked(asked: Mapping[str, object], language: Language) -> str:
    parts = [
        _pick(templates.word("ask", str(asked.get("ask"))), language, " "),
        str(asked.get("limit") or ""),
        f"{asked.get('unit') or ''} → {asked.get('to_unit')}" if asked.get("to_unit") else "",
        _pick(templates.word("asked", str(asked.get("state"))), language, " "),
    ]
    return ", ".join(part for part in parts if part)


def _digest(body: Body, link: str, language: Language) -> list[str]:
    lines = [
        _pick(
            (f"汇总：{body.get('count')} 条消息", f"Digest of {body.get('count')} messages"), language, " / "
        )
    ]
    for item in body.get("items", ()):
        what = _pick(templates.word("purpose", str(item.get("purpose"))), language, " / ")
        category = (str(item.get("category_name")), str(item.get("category_name_en")))
        due = _line(("时限", "due"), item.get("due_at") or "-", language)
        lines.append(
            f"[{item.get('class')}] {item.get('number')} {what} {_pick(category, language, ' / ')} "
            f"{item.get('street') or ''} {item.get('cell') or ''}".rstrip()
            + f"; {due}"
        )
    return [*lines, _line(("打开", "Open"), link, language)]


def _line(label: tuple[str, str], value: object, language: Language) -> str:
    return f"{_pick(label, language, ' / ')}: {value}"


def _pick(words: tuple[str, str], language: Language, between: str) -> str:
    return {"zh": words[0], "en": words[1], "both": between.join(words)}[language]


def _code(directory: Directory, unit_id: int | None) -> str | None:
    unit = directory.units.get(unit_id) if unit_id is not None else None
    return unit.code if unit else None


def _local(at: datetime | None, zone: ZoneInfo) -> str | None:
    return at.astimezone(zone).isoformat(timespec="seconds") if at else None
