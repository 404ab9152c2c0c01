"""How long each stage of an incident may take: the responsibility list's word, else the catalogue's, else practice."""

from collections.abc import Mapping
from functools import lru_cache

from city.alarms import IncidentClass
from city.clocks import Limit, LimitError, Limits, Stage, read_limit
from city.directory import Directory
from city.incidents import Nature
from city.units import Category, Responsibility
from command_centre.matters import Source, Words

# A category that nobody catalogued: an hour, and the reason says so; what a citizen asks for, three working days.
_UNKNOWN = Limit(amount=60, unit="natural")
_UNKNOWN_ASKED = Limit(amount=3, unit="working_day")
_WORDS: Mapping[str, Words] = {
    "natural": ("{n}分钟（自然时）", "{n} natural minutes"),
    "working": ("{n}分钟（工作时）", "{n} working minutes"),
    "working_day": ("{n}个工作日", "{n} working days"),
}


def limits_of(
    category: Category | None,
    entry: Responsibility | None,
    incident_class: IncidentClass,
    nature: Nature,
    source: Source,
    directory: Directory,
) -> Limits:
    """Every stage that has a limit; ``handle`` always has one. Arrival has one only where somebody wrote it."""
    limits: dict[Stage, Limit] = dict(_practice(incident_class, source, directory))
    limits["handle"] = _handle(category, incident_class, nature)
    if category is not None:
        limits |= {stage: limit for stage, limit in category.limits.items() if stage != "handle"}
    if entry is not None:
        if entry.limit_minutes is not None or entry.clock is not None:
            limits["handle"] = _old_form(
                entry.limit_minutes or (category.limit_minutes if category else _UNKNOWN.amount),
                entry.clock or (category.clock if category else "natural"),
            )
        limits |= entry.limits
    return limits


def said(limit: Limit) -> Words:
    """A limit as people read it."""
    zh, en = _WORDS[limit.unit]
    return zh.format(n=limit.amount), en.format(n=limit.amount)


def _handle(category: Category | None, incident_class: IncidentClass, nature: Nature) -> Limit:
    """By class where the catalogue says so and the class is not the category's own, or it says nothing else."""
    if category is None:
        return _UNKNOWN if nature == "alarm" else _UNKNOWN_ASKED
    own = category.limits.get("handle")
    by_class = _read(category.class_limits.get(incident_class, ""))
    if by_class is not None and (own is None or incident_class != category.incident_class):
        return by_class
    return own or _old_form(category.limit_minutes, category.clock)


def _practice(incident_class: IncidentClass, source: Source, directory: Directory) -> Limits:
    """What holds where neither list nor catalogue says otherwise (docs/dispatch.md)."""
    urge = max(1, round(directory.urge_after.total_seconds() / 60))
    urgent = incident_class == "A"
    limits: dict[Stage, Limit] = {
        "dispatch": Limit(amount=15, unit="natural") if urgent else Limit(amount=60, unit="working"),
        "acknowledge": Limit(amount=urge, unit="working" if incident_class == "C" else "natural"),
        "verify": Limit(amount=240, unit="working") if urgent else Limit(amount=1, unit="working_day"),
        "feedback": Limit(amount=1, unit="working_day"),
        "answer": Limit(amount=15, unit="natural") if urgent else Limit(amount=240, unit="working"),
    }
    if source == "report":
        limits["accept"] = Limit(amount=30, unit="working")
    return limits


def _old_form(minutes: int, clock: str) -> Limit:
    return Limit(amount=minutes, unit="natural" if clock == "natural" else "working")


@lru_cache(maxsize=4096)
def _read(written: str) -> Limit | None:
    """None for nothing, and for what cannot be read: it is refused where it is written."""
    try:
        return read_limit(written) if written else None
    except LimitError:
        return None
