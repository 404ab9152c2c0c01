"""Who of the reachable is told, by which way, and when. Pure: what a person wished, and what no wish can silence.

Class A is never silenced: neither by purposes nor by quiet hours nor by a digest. Event levels one and two break
quiet hours too.
"""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from city.alarms import IncidentClass
from city.contacts import Contact, read_quiet

# A wish may thin these out, never end them: somebody of the unit is told.
NEVER_NOBODY = frozenset({"order", "co_order", "again", "asked"})


def is_urgent(incident_class: IncidentClass, event_level: int) -> bool:
    """What is sent at once and by itself, whatever the hour."""
    return incident_class == "A" or event_level <= 2


def chosen(contacts: Sequence[Contact], *, purpose: str, to_lead: bool, urgent: bool) -> list[Contact]:
    """The contacts that are told. A lead without an own address is reached at the unit's, and the reverse."""
    active = [one for one in contacts if one.active]
    meant = [one for one in active if one.lead is None or one.lead == to_lead] or active
    if urgent:
        return meant
    wanted = [one for one in meant if not one.purposes or purpose in one.purposes]
    return wanted or (meant if purpose in NEVER_NOBODY else [])


def send_at(contact: Contact, *, urgent: bool, now: datetime, zone: ZoneInfo) -> datetime:
    """``now``, or the end of the quiet hours that it falls into."""
    if urgent:
        return now
    return quiet_until(contact.quiet, now, zone) or now


def quiet_until(quiet: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the quiet hours end that ``now`` falls into; None outside of them."""
    hours = read_quiet(quiet)
    if hours is None:
        return None
    begin, end = hours
    local = now.astimezone(zone)
    over_midnight = end < begin
    inside = local.time() >= begin or local.time() < end if over_midnight else begin <= local.time() < end
    if not inside:
        return None
    day = local.date() + timedelta(days=1 if over_midnight and local.time() >= begin else 0)
    return datetime.combine(day, end, zone).astimezone(now.tzinfo)


_WORK_BEGINS, _WORK_ENDS = time(8), time(20)  # local


def by_day(now: datetime, zone: ZoneInfo) -> datetime:
    """``now`` by day, else the next morning: a battery that ends within a month wakes nobody."""
    local = now.astimezone(zone)
    if _WORK_BEGINS <= local.time() < _WORK_ENDS:
        return now
    day = local.date() + timedelta(days=0 if local.time() < _WORK_BEGINS else 1)
    return datetime.combine(day, _WORK_BEGINS, zone).astimezone(now.tzinfo)
