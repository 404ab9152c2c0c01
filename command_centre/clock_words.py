"""A clock as people read it: how much is left, and what comes next, in words."""

from collections.abc import Mapping
from datetime import datetime

from city.clocks import Clock
from city.directory import Directory
from city.incidents import Incident
from city.urging import Purpose, Told
from command_centre import clocks

_PURPOSES: Mapping[Purpose, tuple[str, str]] = {
    "remind": ("提醒", "remind"),
    "overdue": ("超时通知", "say that it is overdue to"),
    "urge": ("催办", "urge"),
    "escalate": ("提级催办", "escalate to"),
}
_TOLD: Mapping[Told, tuple[str, str]] = {
    "handler": ("处置单位", "the unit"),
    "unit_lead": ("单位负责人", "the unit's lead"),
    "parent_lead": ("上级单位负责人", "the lead of the unit above"),
    "district": ("区中心", "the district centre"),
    "supervisor": ("督查", "the supervisor"),
}


def shown(clock: Clock, incident: Incident, directory: Directory, now: datetime) -> dict[str, object]:
    """What the API answers; ``left_minutes`` runs in the clock's own time, ``next`` is None when nothing follows."""
    unit = directory.units.get(clock.unit_id) if clock.unit_id is not None else None
    running = clock.ended_at is None
    return {
        "id": clock.id,
        "stage": clock.stage,
        "unit": unit.code if unit is not None else None,
        "limit": str(clock.limit),
        "started_at": clock.started_at,
        "due_at": clock.due_at,
        "left_minutes": clocks.left_minutes(clock, directory, now) if running else None,
        "overdue": running and clock.paused_at is None and clock.due_at <= now,
        "paused": running and clock.paused_at is not None,
        "ended_at": clock.ended_at,
        "outcome": clock.outcome,
        "provisional": clock.provisional,
        "said": clock.said,
        "next": upcoming(clock, incident, directory),
    }


def upcoming(clock: Clock, incident: Incident, directory: Directory) -> dict[str, object] | None:
    """The next step of a running clock: when, what for, who, and the same in a sentence of each language."""
    if clock.ended_at is not None or clock.paused_at is not None:
        return None
    steps = clocks.ladder_of(clock, incident, directory)
    for number, instant in enumerate(clocks.instants(clock, steps, directory)):
        if number < clock.said or instant is None:
            continue
        step = steps[number]
        zh, en = _PURPOSES[step.purpose]
        at = instant.astimezone(directory.zone)
        who_zh = "、".join(_TOLD[told][0] for told in step.tell)
        who_en = " and ".join(_TOLD[told][1] for told in step.tell)
        return {
            "at": instant,
            "purpose": step.purpose,
            "tell": step.tell,
            "words": f"{at:%m-%d %H:%M} {zh}{who_zh}",
            "words_en": f"{at:%Y-%m-%d %H:%M} {en} {who_en}",
        }
    return None
