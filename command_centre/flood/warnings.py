"""Four-colour warnings: what each colour means in CAP's words, the message made of a draft, and its life cycle.

    draft ── issue ──▶ issued ── update ──▶ issued ── cancel ──▶ cancelled
                          └────── time ──────────────────────▶ expired

Pure: every message is a function of the content, the places, the stations and the moment.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from city.flood import (
    COLOUR_NAMES,
    STATE_NAMES,
    Colour,
    Content,
    Hazard,
    MessageType,
    Place,
    ResponseLevel,
    StationFact,
    WarningState,
)
from command_centre.flood import cap_check
from command_centre.flood.cap import (
    Alert,
    Area,
    Category,
    Certainty,
    Info,
    Named,
    Polygon,
    Reference,
    Response,
    Severity,
    Urgency,
    clean,
)
from command_centre.flood.cap_check import Fault
from command_centre.flood.defaults import Sender
from command_centre.flood.outlines import polygons

Action = Literal["issue", "update", "cancel"]
EXERCISE, EXERCISE_EN = "【演练】", "[EXERCISE] "
NAMED_AREAS = 3  # in a headline; the rest is counted


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourMeaning:
    """What a colour says in CAP; docs/flood.md gives the sources."""

    grade: ResponseLevel  # 预警级别
    severity: Severity
    urgency: Urgency
    certainty: Certainty
    responses: tuple[Response, ...]
    instruction: str
    instruction_en: str


MEANINGS: Mapping[Colour, ColourMeaning] = {
    "blue": ColourMeaning(
        grade="IV",
        severity="Minor",
        urgency="Future",
        certainty="Possible",
        responses=("Monitor",),
        instruction="请关注水情和后续预警，远离河道和低洼地带。",
        instruction_en="Follow the news of the water. Keep away from rivers and low ground.",
    ),
    "yellow": ColourMeaning(
        grade="III",
        severity="Moderate",
        urgency="Expected",
        certainty="Likely",
        responses=("Prepare", "Avoid"),
        instruction="请做好转移准备，车辆和贵重物品移至高处，不要进入下穿通道和地下空间。",
        instruction_en="Be ready to leave. Move vehicles and valuables up. Stay out of underpasses and basements.",
    ),
    "orange": ColourMeaning(
        grade="II",
        severity="Severe",
        urgency="Expected",
        certainty="Likely",
        responses=("Prepare", "Evacuate"),
        instruction="低洼地带人员请按网格员通知转移，切勿涉水行走或驾车通过积水路段。",
        instruction_en="Leave low ground when the grid worker calls. Do not walk or drive through water.",
    ),
    "red": ColourMeaning(
        grade="I",
        severity="Extreme",
        urgency="Immediate",
        certainty="Likely",
        responses=("Evacuate", "Shelter"),
        instruction="请立即转移到高处或安置点，服从现场人员指挥；被困时请拨打119。",
        instruction_en="Go to high ground or a shelter now and follow the crews there. If trapped, call 119.",
    ),
}
HAZARDS: Mapping[Hazard, tuple[str, str, tuple[Category, ...]]] = {
    "flood": ("洪水", "Flood", ("Met",)),
    "waterlogging": ("内涝", "Urban flooding", ("Met", "Infra")),
    "landslide": ("山体滑坡", "Landslide", ("Geo",)),
}
LIFE: Mapping[Action, tuple[WarningState, ...]] = {
    "issue": ("draft",),
    "update": ("issued",),
    "cancel": ("draft", "issued"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What a message is made of beside its content. ``now`` is in the district's zone, whole seconds.

    ``places`` are the areas that the content names, or the district when it names none.
    """

    district: str
    district_name: str
    district_name_en: str
    sender: Sender
    now: datetime
    places: Sequence[Place]
    stations: Sequence[StationFact] = ()
    response_level: ResponseLevel | None = None
    references: Sequence[Reference] = field(default_factory=tuple)
    exercise: bool = False
    web: str = ""


def identifier(district: str, warning_id: int, seq: int, now: datetime) -> str:
    """``440399-flood-20261122081500-7-1``: letters, digits and hyphens, no two alike; raises nothing."""
    return f"{plain(district)}-flood-{now:%Y%m%d%H%M%S}-{warning_id}-{seq}"


def message(content: Content, kind: MessageType, name: str, given: Circumstances) -> Alert:
    """The CAP message ``name``, in Chinese and English. ``faults`` says whether it may go out.

    Joining the outlines of a thousand cells takes a tenth of a second: not for an event loop.
    """
    outlines = polygons(given.places)
    return Alert(
        identifier=name,
        sender=given.sender.address.format(district=plain(given.district)),
        sent=given.now,
        status="Exercise" if given.exercise else "Actual",
        message_type=kind,
        scope="Public",
        note="演练，无需采取行动。Exercise: nothing needs to be done." if given.exercise else "",
        references=tuple(given.references),
        infos=tuple(_info(content, kind, given, outlines, zh=zh) for zh in (True, False)),
    )


def faults(
    content: Content,
    alert: Alert,
    longest: timedelta,
    missing: Sequence[str] = (),
    played: Sequence[str] = (),
) -> list[Fault]:
    """Everything that keeps it from being issued.

    ``missing`` are areas or stations that nobody knows, ``played`` stations whose levels a drill makes up.
    """
    found = [
        _fault("areas", code, "is no area or station of this district", "区域或站点不存在")
        for code in missing
    ]
    found += [
        _fault(
            "stations",
            code,
            "is in a drill, its level is played: draft an exercise",
            "正在演练，请按演练发布",
        )
        for code in played
    ]
    if alert.message_type != "Cancel" and content.expires - alert.sent > longest:
        hours = f"{longest.total_seconds() / 3600:g}"
        remedy = f"lies more than {hours} h ahead: issue a shorter one and update it"
        until = content.expires.isoformat()
        found.append(_fault("expires", until, remedy, f"超过{hours}小时，请缩短有效期并适时更新"))
    return found + cap_check.faults(alert)


def _fault(field_name: str, value: str, remedy: str, remedy_zh: str) -> Fault:
    return Fault(field=field_name, value=value, remedy=remedy, remedy_zh=remedy_zh)


def titles(content: Content, kind: MessageType, given: Circumstances) -> tuple[str, str]:
    """Headlines as they go out, Chinese and English."""
    own, own_en = clean(content.headline).strip(), clean(content.headline_en).strip()
    hazard, hazard_en, _ = HAZARDS[content.hazard]
    colour, colour_en = COLOUR_NAMES[content.colour]
    turn = {"Alert": "发布", "Update": "更新", "Cancel": "解除"}[kind]
    ended = " ended" if kind == "Cancel" else " updated" if kind == "Update" else ""
    title = f"{clean(given.district_name)[:40]}{turn}{hazard}{colour}预警{_where(given, zh=True)}"
    title_en = f"{colour_en} {hazard_en.lower()} warning{ended}: {_where(given, zh=False)}"
    if kind != "Cancel":
        title, title_en = own or title, own_en or title_en
    marked = EXERCISE if given.exercise else ""
    marked_en = EXERCISE_EN if given.exercise else ""
    return marked + title, marked_en + title_en


def _info(
    content: Content, kind: MessageType, given: Circumstances, outlines: tuple[Polygon, ...], *, zh: bool
) -> Info:
    meaning = MEANINGS[content.colour]
    hazard, hazard_en, categories = HAZARDS[content.hazard]
    title, title_en = titles(content, kind, given)
    said = clean(content.description if zh else content.description_en).strip()
    told = clean(content.instruction if zh else content.instruction_en).strip()
    over = kind == "Cancel"
    calm = "预警已解除，请继续留意水情。" if zh else "The warning has ended. Keep an eye on the water."
    return Info(
        language="zh-CN" if zh else "en",
        categories=categories,
        event=hazard if zh else hazard_en,
        responses=("AllClear",) if over else meaning.responses,
        urgency="Past" if over else meaning.urgency,
        severity=meaning.severity,
        certainty=_certainty(content, given, meaning),
        effective=given.now,
        onset=content.onset,
        expires=content.expires.astimezone(given.now.tzinfo),
        sender_name=_sender_name(given, zh=zh),
        headline=title if zh else title_en,
        description=said or _description(given, title if zh else title_en, zh=zh),
        instruction=calm if over else told or (meaning.instruction if zh else meaning.instruction_en),
        web=given.web,
        parameters=_parameters(content, given, meaning),
        areas=(_area(given, outlines, zh=zh),) if given.places else (),
    )


def _certainty(content: Content, given: Circumstances, meaning: ColourMeaning) -> Certainty:
    """As the duty officer says; else observed where a station named is over its warning level already."""
    if content.certainty is not None:
        return content.certainty
    over = any(station.state in ("warning", "guaranteed", "record") for station in given.stations)
    return "Observed" if over else meaning.certainty


def _parameters(content: Content, given: Circumstances, meaning: ColourMeaning) -> tuple[Named, ...]:
    """The colour has no element of its own in CAP: it travels as a parameter, and so do grade and levels."""
    found = [
        Named(name="colour", value=content.colour),
        Named(name="colour_zh", value=COLOUR_NAMES[content.colour][0]),
        Named(name="warning_grade", value=meaning.grade),
    ]
    if given.response_level is not None:
        found.append(Named(name="response_level", value=given.response_level))
    for station in given.stations:
        prefix = f"station.{station.code}"[:150]
        found.append(Named(name=f"{prefix}.name", value=clean(station.name)))
        for name, metres in (("level_m", station.level_m), ("warning_m", station.warning_m),
                             ("guaranteed_m", station.guaranteed_m)):  # fmt: skip
            if metres is not None:
                found.append(Named(name=f"{prefix}.{name}", value=f"{metres:.2f}"))
    return tuple(found)


def _area(given: Circumstances, outlines: tuple[Polygon, ...], *, zh: bool) -> Area:
    names = [clean(place.name if zh else place.name_en or place.name) for place in given.places]
    text = ("、" if zh else ", ").join(name for name in names if name.strip())
    longest = cap_check.LONGEST_TEXT
    return Area(
        description=(text if len(text) <= longest else text[: longest - 1] + "…") or given.district,
        polygons=outlines,
        geocodes=tuple(Named(name=_layer_name(place), value=clean(place.code)) for place in given.places),
    )


def _layer_name(place: Place) -> str:
    """Which list a code comes from; the district's is the national one of administrative divisions."""
    return "GB/T 2260" if place.layer == "district" else clean(f"city:{place.layer}")


def _where(given: Circumstances, *, zh: bool) -> str:
    """The areas for a headline, the first few by name; in Chinese in brackets, and nothing for the whole district."""
    if all(place.layer == "district" for place in given.places):
        return "" if zh else clean(given.district_name_en or given.district_name)[:90]
    names = [clean(place.name if zh else place.name_en or place.name) for place in given.places]
    shown = ("、" if zh else ", ").join(name[:30] for name in names[:NAMED_AREAS])
    if len(names) > NAMED_AREAS:
        shown += f"等{len(names)}处" if zh else f" and {len(names) - NAMED_AREAS} more"
    return f"（{shown}）" if zh else shown


def _description(given: Circumstances, title: str, *, zh: bool) -> str:
    """What the stations show; the headline again when none is named."""
    lines = []
    for station in given.stations:
        state = STATE_NAMES[station.state][0 if zh else 1]
        level = "" if station.level_m is None else f" {station.level_m:.2f} m"
        limit = "" if station.warning_m is None else (
            f"（警戒 {station.warning_m:.2f} m）" if zh else f" (warning level {station.warning_m:.2f} m)"
        )  # fmt: skip
        lines.append(
            f"{station.name}{level}{limit}：{state}" if zh else f"{station.name}{level}{limit}: {state}"
        )
    return clean(("；" if zh else "; ").join(lines)) or title


def _sender_name(given: Circumstances, *, zh: bool) -> str:
    name = given.district_name if zh else given.district_name_en or given.district_name
    template = given.sender.name if zh else given.sender.name_en
    return clean(template.format(district=name))


def plain(text: str) -> str:
    """A code as a part of an identifier or an address: letters, digits, dots and hyphens, 40 at most."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", text)[:40] or "district"
