"""What must hold before a CAP message is issued; every fault names its element, its value and the remedy."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

import shapely

from command_centre.flood.cap import (
    Alert,
    Area,
    CapError,
    Category,
    Certainty,
    Info,
    MessageType,
    Named,
    Point,
    Polygon,
    Response,
    Scope,
    Severity,
    Status,
    Urgency,
    clean,
    polygon_fault,
    write_instant,
    write_polygon,
)

LONGEST_NAME = 200  # identifier, sender, one parameter's name
LONGEST_HEADLINE = 160  # the standard's own advice: a headline must fit a short message
LONGEST_TEXT = 8_000
MOST_POINTS = 500  # of one polygon: receivers draw it on telephones
MOST_AREAS = 200
MOST_INFOS = 20
MOST_REFERENCES = 200
_NAME = re.compile(r"[^\s,<&]+")  # the standard: no spaces, commas, "<" or "&" in identifier and sender
_LANGUAGE = re.compile(r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What keeps a message from being issued, in both languages."""

    field: str
    value: str
    remedy: str
    remedy_zh: str


def faults(alert: Alert) -> list[Fault]:
    """Everything that keeps this message from being issued; none means that it may go out."""
    return [
        *_of_envelope(alert),
        *(fault for place, info in _placed(alert) for fault in _of_info(alert, info, place)),
    ]


def _placed(alert: Alert) -> Iterator[tuple[str, Info]]:
    for index, info in enumerate(alert.infos):
        yield f"info[{info.language or index}]", info


def _of_envelope(alert: Alert) -> Iterator[Fault]:
    for field, value in (("identifier", alert.identifier), ("sender", alert.sender)):
        if not _NAME.fullmatch(value) or clean(value) != value or len(value) > LONGEST_NAME:
            remedy = "use 1 to 200 characters without spaces, commas, < and &"
            yield _fault(field, value, remedy, "1至200个字符，不含空格、逗号、<和&")
    yield from _instant_faults("sent", alert.sent)
    yield from _known_faults("status", alert.status, Status)
    yield from _known_faults("msgType", alert.message_type, MessageType)
    yield from _known_faults("scope", alert.scope, Scope)
    if alert.scope == "Restricted" and not alert.restriction.strip():
        yield _fault("restriction", "", "say to whom a Restricted message goes", "限制发布时须写明范围")
    if alert.scope == "Private" and not alert.addresses:
        yield _fault("addresses", "", "say to whom a Private message goes", "定向发布时须写明接收方")
    if alert.message_type in ("Alert", "Update") and not alert.infos:
        yield _fault("info", "", "say what happens, in one language at least", "至少需要一种语言的内容")
    if len(alert.infos) > MOST_INFOS:
        yield _fault("info", len(alert.infos), f"at most {MOST_INFOS} in one message", f"最多{MOST_INFOS}段")
    texts = {"source": alert.source, "restriction": alert.restriction, "note": alert.note}
    yield from _text_faults("", texts)
    yield from _names_faults(alert)
    yield from _reference_faults(alert)


def _names_faults(alert: Alert) -> Iterator[Fault]:
    every = {"addresses": alert.addresses, "incidents": alert.incidents, "code": alert.codes}
    for field, names in every.items():
        if any(not name.strip() or '"' in name or clean(name) != name for name in names):
            yield _fault(field, names, "holds an empty name or one with a quotation mark", "含空名称或引号")


def _reference_faults(alert: Alert) -> Iterator[Fault]:
    if alert.message_type in ("Update", "Cancel") and not alert.references:
        remedy = f"{alert.message_type} must name the messages before it"
        yield _fault("references", "", remedy, "更新和解除须引用原预警")
    if len(alert.references) > MOST_REFERENCES:
        yield _fault(
            "references", len(alert.references), f"at most {MOST_REFERENCES}", f"最多{MOST_REFERENCES}条"
        )
    for one in alert.references:
        yield from _instant_faults("references", one.sent)
        if not (_NAME.fullmatch(one.sender) and _NAME.fullmatch(one.identifier)):
            yield _fault(
                "references", one.identifier, "holds a name that no message can have", "引用的标识无效"
            )


def _of_info(alert: Alert, info: Info, place: str) -> Iterator[Fault]:
    if info.language and not _LANGUAGE.fullmatch(info.language):
        yield _fault(f"{place}.language", info.language, "use a tag such as zh-CN", "使用 zh-CN 等语言标签")
    yield from _word_faults(info, place)
    yield from _said_faults(info, place)
    yield from _times_faults(alert, info, place)
    for named in (*info.parameters, *info.event_codes):
        yield from _named_faults(f"{place}.parameter", named)
    for resource in info.resources:
        if not resource.description.strip() or "/" not in resource.mime_type:
            yield _fault(
                f"{place}.resource", resource.mime_type, "needs words and a media type", "需要说明和媒体类型"
            )
    if len(info.areas) > MOST_AREAS:
        remedy = f"has more than {MOST_AREAS}: name streets"
        yield _fault(f"{place}.area", len(info.areas), remedy, "区域过多，请用街道")
    if alert.message_type in ("Alert", "Update") and not info.areas:
        yield _fault(f"{place}.area", "", "say where: cells, streets or the district", "请指明区域")
    for area in info.areas:
        yield from _of_area(area, place)


def _word_faults(info: Info, place: str) -> Iterator[Fault]:
    if not info.categories:
        yield _fault(f"{place}.category", "", "give at least one", "至少一个类别")
    for field, values, known in (
        ("category", info.categories, Category),
        ("responseType", info.responses, Response),
        ("urgency", (info.urgency,), Urgency),
        ("severity", (info.severity,), Severity),
        ("certainty", (info.certainty,), Certainty),
    ):
        for value in values:
            yield from _known_faults(f"{place}.{field}", value, known)


def _said_faults(info: Info, place: str) -> Iterator[Fault]:
    for field, text in (("event", info.event), ("headline", info.headline)):
        if not text.strip():
            yield _fault(f"{place}.{field}", text, "must not be empty", "不能为空")
    texts = {
        "event": info.event,
        "audience": info.audience,
        "senderName": info.sender_name,
        "headline": info.headline,
        "description": info.description,
        "instruction": info.instruction,
        "web": info.web,
        "contact": info.contact,
    }
    yield from _text_faults(place, texts)
    if info.web and not re.fullmatch(r"https?://[^\s<>\"{}|\\^`]+", info.web):
        yield _fault(f"{place}.web", info.web, "is no web address", "不是网址")


def _times_faults(alert: Alert, info: Info, place: str) -> Iterator[Fault]:
    for field, at in (("effective", info.effective), ("onset", info.onset), ("expires", info.expires)):
        if at is not None:
            yield from _instant_faults(f"{place}.{field}", at)
    if info.expires is None:
        yield _fault(f"{place}.expires", "", "say until when it holds", "请给出有效期")
        return
    aware = [
        at for at in (alert.sent, info.effective, info.onset) if at is not None and at.utcoffset() is not None
    ]
    late = info.expires.utcoffset() is not None and any(info.expires <= at for at in aware)
    if late and alert.message_type != "Cancel":
        yield _fault(f"{place}.expires", info.expires.isoformat(), "must come after sent, effective and onset",
                     "应晚于发布、生效和开始时间")  # fmt: skip


def _of_area(area: Area, place: str) -> Iterator[Fault]:
    if not area.description.strip():
        yield _fault(f"{place}.areaDesc", area.description, "say where in words", "请用文字说明区域")
    yield from _text_faults(place, {"areaDesc": area.description})
    for polygon in area.polygons:
        yield from _polygon_faults(polygon, place)
    for circle in area.circles:
        if not _on_globe(circle.centre) or not math.isfinite(circle.radius_km) or circle.radius_km < 0:
            yield _fault(f"{place}.circle", circle.centre, "is not on the globe", "坐标超出范围")
    for named in area.geocodes:
        yield from _named_faults(f"{place}.geocode", named)
    if area.ceiling is not None and area.altitude is None:
        yield _fault(f"{place}.ceiling", area.ceiling, "goes only with altitude", "须同时给出 altitude")


def _polygon_faults(polygon: Polygon, place: str) -> Iterator[Fault]:
    shown = write_polygon(polygon[:3]) if all(map(_on_globe, polygon[:3])) else polygon[:3]
    if (wrong := polygon_fault(polygon)) is not None:
        yield _fault(f"{place}.polygon", shown, *wrong)
    elif not all(map(_on_globe, polygon)):
        yield _fault(
            f"{place}.polygon", shown, "leaves the globe: latitude comes first", "坐标超出范围：纬度在前"
        )
    elif len(polygon) > MOST_POINTS:
        yield _fault(
            f"{place}.polygon", shown, f"has over {MOST_POINTS} points: simplify it", "点数过多，请简化"
        )
    elif not shapely.is_valid(shapely.Polygon([(lon, lat) for lat, lon in polygon])):
        yield _fault(f"{place}.polygon", shown, "crosses itself", "边界自相交")


def _on_globe(point: Point) -> bool:
    return abs(point[0]) <= 90 and abs(point[1]) <= 180


def _named_faults(field: str, named: Named) -> Iterator[Fault]:
    if not named.name.strip() or len(named.name) > LONGEST_NAME:
        yield _fault(field, named.name, "needs a name of 1 to 200 characters", "名称为1至200个字符")
    yield from _text_faults(field, {"valueName": named.name, "value": named.value})


def _text_faults(place: str, texts: dict[str, str]) -> Iterator[Fault]:
    for name, text in texts.items():
        field = f"{place}.{name}" if place else name
        longest = LONGEST_HEADLINE if name == "headline" else LONGEST_TEXT
        if len(text) > longest:
            yield _fault(
                field, text, f"has {len(text)} characters; {longest} are possible", f"最多{longest}字"
            )
        if clean(text) != text:
            yield _fault(field, text, "holds control characters; take them out", "含有控制字符，请删除")


def _instant_faults(field: str, at: datetime) -> Iterator[Fault]:
    try:
        write_instant(at)
    except CapError as error:
        yield _fault(field, at, error.remedy, "时间须带整分钟的时区偏移")
    if at.microsecond:
        yield _fault(field, at, "holds a fraction of a second", "不能含小数秒")
    if not 1970 <= at.year < 10_000:
        yield _fault(field, at, "lies before 1970", "早于1970年")


def _known_faults(field: str, value: str, known: object) -> Iterator[Fault]:
    if value not in get_args(known):
        listed = ", ".join(get_args(known))
        yield _fault(field, value, f"use one of {listed}", f"可用：{listed}")


def _fault(field: str, value: object, remedy: str, remedy_zh: str) -> Fault:
    return Fault(field=field, value=str(value)[:100], remedy=remedy, remedy_zh=remedy_zh)
