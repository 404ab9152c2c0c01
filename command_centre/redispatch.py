"""An order that nobody acknowledged goes to the unit that stands in, once."""

from dataclasses import replace
from datetime import datetime

from city.clocks import Start
from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.units import Unit
from command_centre import dispatch
from command_centre.choosing import fallbacks, first_choice, obstacle
from command_centre.responsibility import ranked


def consider(incident: Incident, directory: Directory, now: datetime) -> Change | None:
    """The incident with the fallback of its unit; None where it stays.

    Asked after the last step of the ladder for acknowledging. Only the unit that the list itself names is relieved,
    by the first of its fallbacks that can take it: who stands in already keeps it, so that it moves once. Whatever a
    person must dispatch, a person sends on. The time to handle runs on. Class A stays with the first unit too.
    """
    if incident.state != "dispatched" or incident.acknowledged_at is not None or incident.unit_id is None:
        return None
    matter = dispatch.matter_of(incident)
    if not dispatch.decide(matter, directory, now).automatic:
        return None
    places = directory.places.get(incident.area_id, ()) if incident.area_id is not None else ()
    entries = ranked(incident.category, places, directory.responsibilities, now)
    named = first_choice(matter, entries, directory, now)
    if named is None or named[0].id != incident.unit_id:
        return None
    silent, entry = named
    urgent = incident.incident_class == "A"
    relief = next(
        (
            other
            for other in fallbacks(silent, directory)
            if other is not None and obstacle(other, matter, directory, now, urgent=urgent) is None
        ),
        None,
    )
    if relief is None:
        return None
    beside = [unit_id for unit_id in entry.co_unit_ids if unit_id in directory.active]
    return _relieved(incident, silent, relief, beside, now)


def _relieved(incident: Incident, silent: Unit, relief: Unit, beside: list[int], now: datetime) -> Change:
    stays = incident.incident_class == "A"
    reason = f"{silent.name}逾时未签收，改派替补单位{relief.name}"
    reason_en = f"{_en(silent)} did not acknowledge in time: {_en(relief)} stands in"
    if stays:
        reason += f"；A类，{silent.name}继续协办"
        reason_en += f"; class A: {_en(silent)} goes on beside it"
    moved = replace(
        incident,
        unit_id=relief.id,
        reason=reason,
        reason_en=reason_en,
        steps=dispatch.steps_of(relief),
        dispatched_at=now,
        told_at=now,
        awaiting_since=now,
        urged_at=None,
        urged_level=0,
        version=incident.version + 1,
    )
    detail: dict[str, object] = {
        "unit": relief.code,
        "from_unit": silent.code,
        "due_at": incident.due_at.isoformat() if incident.due_at else None,
        "reason_en": reason_en,
    }
    co_units = tuple(dict.fromkeys(one for one in [*beside, silent.id] if one != relief.id))
    return Change(
        incident=moved,
        happenings=(Happening(kind="redispatched", reason=reason, detail=detail),),
        tells=(Tell(purpose="order"), Tell(purpose="co_order" if stays else "decided", unit_id=silent.id)),
        effects=(Start(stage="acknowledge"),),
        co_units=co_units if stays else None,
    )


def _en(unit: Unit) -> str:
    return unit.name_en or unit.name
