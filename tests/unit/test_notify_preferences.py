"""Who is told, by which way and when: whatever people wish, class A is never silenced and orders reach somebody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.contacts import PURPOSES, Contact, ContactError, read_quiet
from command_centre.notify import digest
from command_centre.notify.preferences import NEVER_NOBODY, chosen, is_urgent, quiet_until, send_at

ZONE = ZoneInfo("Asia/Shanghai")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
QUIET = st.just("") | st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1]).map("-".join)
INSTANTS = st.integers(0, 366 * 86_400).map(lambda seconds: NEW_YEAR + timedelta(seconds=seconds))
CONTACTS = st.builds(
    Contact,
    channel=st.sampled_from(["webhook", "smtp", "apprise"]),
    address=st.just("x@example.org"),
    lead=st.none() | st.booleans(),
    active=st.booleans(),
    purposes=st.lists(st.sampled_from(PURPOSES), max_size=3).map(tuple),
    quiet=QUIET,
    digest=st.booleans(),
)
PURPOSE = st.sampled_from(PURPOSES)


def local(clock: str, day: int = 21) -> datetime:
    return datetime.fromisoformat(f"2026-11-{day}T{clock}:00").replace(tzinfo=ZONE).astimezone(UTC)


@given(st.lists(CONTACTS, max_size=5), PURPOSE, st.booleans(), INSTANTS, st.sampled_from([1, 2, 3, 4]))
def test_class_a_is_never_silenced(
    contacts: list[Contact], purpose: str, to_lead: bool, now: datetime, level: int
) -> None:
    assert is_urgent("A", level)
    told = chosen(contacts, purpose=purpose, to_lead=to_lead, urgent=True)
    meant = [one for one in contacts if one.active and (one.lead is None or one.lead == to_lead)]
    assert all(one in told for one in meant)
    assert bool(told) == any(one.active for one in contacts)
    assert all(send_at(one, urgent=True, now=now, zone=ZONE) == now for one in told)


@given(st.lists(CONTACTS, max_size=5), PURPOSE, st.booleans())
def test_wishes_thin_out_and_never_lose_an_order(
    contacts: list[Contact], purpose: str, to_lead: bool
) -> None:
    told = chosen(contacts, purpose=purpose, to_lead=to_lead, urgent=False)
    assert all(one.active for one in told)
    if purpose in NEVER_NOBODY:
        assert bool(told) == any(one.active for one in contacts)
    else:
        assert all(not one.purposes or purpose in one.purposes for one in told)


@given(QUIET, INSTANTS)
def test_quiet_hours_end_within_a_day_and_outside_of_themselves(quiet: str, now: datetime) -> None:
    until = quiet_until(quiet, now, ZONE)
    if until is None:
        return
    assert now < until <= now + timedelta(days=1)
    assert quiet_until(quiet, until, ZONE) is None
    assert quiet_until(quiet, until - timedelta(seconds=1), ZONE) == until


@pytest.mark.parametrize(
    ("quiet", "at", "until"),
    [
        ("22:00-07:00", local("21:59"), None),
        ("22:00-07:00", local("22:00"), local("07:00", 22)),
        ("22:00-07:00", local("23:30"), local("07:00", 22)),
        ("22:00-07:00", local("06:59"), local("07:00")),
        ("22:00-07:00", local("07:00"), None),
        ("12:00-14:00", local("13:00"), local("14:00")),
        ("12:00-14:00", local("14:00"), None),
        ("", local("03:00"), None),
    ],
)
def test_quiet_hours_are_local_and_may_pass_midnight(
    quiet: str, at: datetime, until: datetime | None
) -> None:
    assert quiet_until(quiet, at, ZONE) == until


@pytest.mark.parametrize(
    "written", ["22-07", "22:00-22:00", "24:00-07:00", "22:60-07:00", "22:00–07:00", "x"]
)
def test_quiet_hours_that_cannot_be_read_say_how(written: str) -> None:
    with pytest.raises(ContactError, match=r"22:00-07:00") as caught:
        read_quiet(written)
    assert caught.value.field == "quiet"


def test_levels_one_and_two_break_quiet_hours_and_others_wait() -> None:
    contact = Contact(channel="smtp", address="a@example.org", quiet="22:00-07:00")
    night = local("23:00")
    assert [is_urgent("B", level) for level in (1, 2, 3, 4)] == [True, True, False, False]
    assert send_at(contact, urgent=False, now=night, zone=ZONE) == local("07:00", 22)
    assert send_at(replace(contact, quiet=""), urgent=False, now=night, zone=ZONE) == night


def test_a_lead_is_reached_at_the_unit_and_the_unit_at_its_lead() -> None:
    unit = Contact(channel="smtp", address="unit@example.org", lead=False)
    lead = replace(unit, address="lead@example.org", lead=True)
    assert chosen([unit, lead], purpose="urge", to_lead=True, urgent=False) == [lead]
    assert chosen([unit], purpose="urge", to_lead=True, urgent=False) == [unit]
    assert chosen([lead], purpose="order", to_lead=False, urgent=False) == [lead]


def test_a_digest_lists_each_matter_once_by_class_and_deadline() -> None:
    def body(number: int, incident_class: str, due: str, purpose: str = "order") -> dict[str, object]:
        return {
            "incident": number,
            "number": f"n{number}",
            "class": incident_class,
            "due_at": due,
            "purpose": purpose,
            "exercise": False,
            "reason": "left out",
        }

    made = digest.compose([body(1, "C", "09"), body(2, "B", "10"), body(3, "B", "08"), body(3, "B", "08")])
    items = made["items"]
    assert isinstance(items, list)
    assert made["count"] == 4
    assert [item["number"] for item in items] == ["n3", "n2", "n1"]
    assert "reason" not in items[0]
