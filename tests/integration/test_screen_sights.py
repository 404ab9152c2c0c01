"""Who sees what on the screens: scopes, units, strangers, topics."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from command_centre import accounts
from command_centre.api.screen import hub as hubs
from tests.integration.following_screen import Screen, until
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm, running
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """Shared by all: each test raises alarms of its own devices."""
    quick = pytest.MonkeyPatch()
    quick.setattr(
        hubs, "GUESTS_S", 0.2
    )  # those who may no longer look shall be sent away while the test waits
    with on_fresh_ground(postgres_server, postgres_template) as made:
        made.execute("INSERT INTO areas (layer, code, name) VALUES ('street', 'S2', '西街');")
        made.execute(
            "INSERT INTO areas (layer, code, name, parent_id)"
            " SELECT 'community', 'M2', '二社区', id FROM areas WHERE code = 'S2'"
        )
        made.execute(
            "UPDATE areas SET parent_id = (SELECT id FROM areas WHERE code = 'M2') WHERE code = 'C4'"
        )
        made.execute(
            "UPDATE devices SET cell_id = (SELECT id FROM areas WHERE code = 'C4') WHERE code = 'D20'"
        )
        with running(made.url) as second:  # the ground is read at the start
            yield second
    quick.undo()


def session(centre: Centre, role: str, unit: str | None = None) -> str:
    """A log-in made in the database: as a browser's cookie."""
    token = f"{role}-{unit}-token"
    centre.execute(
        "INSERT INTO users (name, display_name, password_hash, role, must_change, unit_id) VALUES"
        " (%s, '', 'x', %s, false, (SELECT id FROM units WHERE code = %s)) ON CONFLICT (name) DO NOTHING",
        f"{role}.{unit or 'none'}",
        role,
        unit,
    )
    centre.execute(
        "INSERT INTO sessions (token_digest, user_id, created_at, seen_at, expires_at)"
        " SELECT %s, id, now(), now(), now() + interval '1 hour' FROM users WHERE name = %s ON CONFLICT DO NOTHING",
        accounts.digest(token),
        f"{role}.{unit or 'none'}",
    )
    return f"city_session={token}"


async def closed(screen: Screen) -> tuple[int, str]:
    async with screen.connect() as socket_:
        try:
            while True:
                await asyncio.wait_for(socket_.recv(), 60)
        except ConnectionClosed:
            return socket_.close_code or 0, socket_.close_reason or ""


def incident_on(screen: Screen, device: str) -> dict[str, Any] | None:
    return next((row for row in screen.topics.get("incident", {}).values() if device in row["devices"]), None)


def test_a_scope_is_a_street_a_community_or_a_cell_with_counts_of_its_own(centre: Centre) -> None:
    async def look() -> None:
        street, cell, everything = (Screen(centre, scope="S2"), Screen(centre, scope="C2"), Screen(centre))
        for screen in (street, cell, everything):
            await screen.look()
        assert set(street.topics["cell"]) == {"C4"}
        assert street.topics["online"]["smoke"]["total"] == 1
        assert street.topics["station"] == {}
        assert set(cell.topics["cell"]) == {"C2"}
        assert cell.topics["online"]["smoke"]["total"] == 10
        assert everything.topics["online"]["smoke"]["total"] == 20
        before = {screen: screen.topics["counts"]["open"]["total"] for screen in (street, cell, everything)}
        async with street.connect() as one, cell.connect() as two, everything.connect() as three:
            await asyncio.to_thread(raise_alarm, centre, "D20")
            await until(street, one, lambda: incident_on(street, "D20"))
            await until(everything, three, lambda: incident_on(everything, "D20"))
            await asyncio.to_thread(raise_alarm, centre, "D1")
            await until(cell, two, lambda: incident_on(cell, "D1"))
            await until(everything, three, lambda: incident_on(everything, "D1"))
            await until(street, one, lambda: street.change >= cell.change)
        assert incident_on(cell, "D20") is None
        assert incident_on(street, "D1") is None
        assert street.count("alarm.raised") == cell.count("alarm.raised") == 1
        assert everything.count("alarm.raised") == 2
        after = {screen: screen.topics["counts"]["open"]["total"] for screen in before}
        assert [after[screen] - before[screen] for screen in before] == [1, 1, 2]

    asyncio.run(look())


def test_an_incident_that_leaves_the_scope_leaves_the_screen(centre: Centre) -> None:
    async def look() -> None:
        screen = Screen(centre, scope="C1")
        async with screen.connect() as socket_:
            await asyncio.to_thread(raise_alarm, centre, "D2")
            await until(screen, socket_, lambda: incident_on(screen, "D2"))
            number = (incident_on(screen, "D2") or {})["id"]
            centre.execute(
                "UPDATE incidents SET area_id = (SELECT id FROM areas WHERE code = 'C3') WHERE id = %s",
                number,
            )
            centre.execute("INSERT INTO changes (kind, object) VALUES ('incident.changed', %s)", str(number))
            await until(screen, socket_, lambda: incident_on(screen, "D2") is None)

    asyncio.run(look())


def test_another_scope_stands_nowhere_and_gets_a_snapshot(centre: Centre) -> None:
    async def look() -> Screen:
        screen = await Screen(centre, scope="S1").look()
        screen._asks["scope"] = "S2"
        return await screen.look()

    screen = asyncio.run(look())
    assert (screen.snapshots, set(screen.topics["cell"])) == (2, {"C4"})


@pytest.mark.parametrize(
    ("asks", "code"),
    [
        ({"scope": "nowhere"}, 4404), ({"scope": "C1' OR 1=1"}, 4404), ({"topics": "counts,secrets"}, 4422),
        ({"as": "staff"}, 4401),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused_with_a_code_that_a_page_can_read(
    centre: Centre, asks: dict[str, str], code: int
) -> None:
    assert asyncio.run(closed(Screen(centre, **asks)))[0] == code


def test_only_the_topics_asked_for(centre: Centre) -> None:
    screen = asyncio.run(Screen(centre, topics="counts,district").look())
    assert set(screen.topics) == {"district", "counts"}


def test_a_handler_sees_what_its_unit_leads_or_helps_with(centre: Centre) -> None:
    async def look() -> tuple[Screen, Screen]:
        mine = Screen(centre, session(centre, "handler", "U2"))
        everything = Screen(centre, session(centre, "dispatcher"))
        async with mine.connect() as one, everything.connect() as two:
            raised = await asyncio.to_thread(raise_alarm, centre, "D3")  # fire is U1's
            await until(everything, two, lambda: incident_on(everything, "D3"))
            number = (incident_on(everything, "D3") or {})["id"]
            await until(mine, one, lambda: mine.change >= everything.change)
            assert incident_on(mine, "D3") is None
            assert ("alarm.raised", raised) not in mine.events
            centre.execute("INSERT INTO incident_co_units SELECT %s, id FROM units WHERE code = 'U2'", number)
            centre.execute("INSERT INTO changes (kind, object) VALUES ('incident.changed', %s)", str(number))
            await until(mine, one, lambda: incident_on(mine, "D3"))
            return mine, everything

    mine, everything = asyncio.run(look())
    assert (incident_on(mine, "D3") or {})["co_units"] == ["U2"]
    assert mine.topics["counts"]["open"]["total"] == 1
    assert everything.topics["counts"]["open"]["total"] > 1


def test_strangers_read_no_reason_of_an_incident_that_is_somebodys(centre: Centre) -> None:
    async def look() -> tuple[Screen, Screen]:
        stranger, staff = Screen(centre), Screen(centre, session(centre, "dispatcher"))
        raise_alarm(centre, "D4")
        for screen in (stranger, staff):
            async with screen.connect() as socket_:
                await until(screen, socket_, lambda screen=screen: incident_on(screen, "D4"))
        return stranger, staff

    stranger, staff = asyncio.run(look())
    shown, known = incident_on(stranger, "D4"), incident_on(staff, "D4")
    assert shown is not None
    assert known is not None
    assert known["reason"]
    assert known == {**shown, "reason": known["reason"], "reason_en": known["reason_en"]}
    assert (shown["unit"], shown["reason"], shown["reason_en"]) == ("U1", "", "")


def test_strangers_hear_nothing_of_what_the_desk_only_prepares(centre: Centre) -> None:
    async def look() -> tuple[Screen, Screen]:
        stranger, staff = Screen(centre), Screen(centre, session(centre, "dispatcher"))
        async with stranger.connect() as one, staff.connect() as two:
            await until(stranger, one, lambda: stranger.seq >= 0)
            await until(staff, two, lambda: staff.seq >= 0)
            centre.execute("INSERT INTO changes (kind, object) VALUES ('flood.warning.drafted', '7')")
            centre.execute("INSERT INTO changes (kind, object) VALUES ('drill.noted', 'x')")
            await until(stranger, one, lambda: stranger.count("drill.noted"))
            await until(staff, two, lambda: staff.count("drill.noted"))
        return stranger, staff

    stranger, staff = asyncio.run(look())
    assert (stranger.count("flood.warning.drafted"), staff.count("flood.warning.drafted")) == (0, 1)


@contextmanager
def given_back(centre: Centre, query: str, undo: str) -> Iterator[None]:
    centre.execute(query)
    try:
        yield
    finally:
        centre.execute(undo)


@pytest.mark.parametrize(
    ("query", "undo", "code"),
    [
        ("UPDATE users SET disabled = true WHERE name = 'hotline.none'",
         "UPDATE users SET disabled = false WHERE name = 'hotline.none'", 4401),
        ("DELETE FROM sessions WHERE user_id = (SELECT id FROM users WHERE name = 'hotline.none')", "SELECT 1", 4401),
        ("UPDATE users SET role = 'viewer' WHERE name = 'hotline.none'",
         "UPDATE users SET role = 'hotline' WHERE name = 'hotline.none'", 4409),
    ],
)  # fmt: skip
def test_who_may_no_longer_look_is_sent_away(centre: Centre, query: str, undo: str, code: int) -> None:
    async def look() -> int:
        screen = Screen(centre, session(centre, "hotline"))
        async with screen.connect() as socket_:
            await until(screen, socket_, lambda: screen.seq >= 0)
            with given_back(centre, query, undo):
                try:
                    while True:
                        await screen.take(socket_)
                except ConnectionClosed:
                    return socket_.close_code or 0

    assert asyncio.run(look()) == code


def test_another_sites_page_gets_nothing_by_a_staff_members_cookie(centre: Centre) -> None:
    from websockets.asyncio.client import connect

    async def look() -> int:
        headers = {"Cookie": session(centre, "dispatcher"), "Origin": "https://elsewhere.example"}
        async with connect(f"{centre.screens}?as=staff", additional_headers=headers) as socket_:
            with pytest.raises(ConnectionClosed):
                await socket_.recv()
            return socket_.close_code or 0

    assert asyncio.run(look()) == 4401


def test_the_desk_follows_standing_alarms_when_it_asks(centre: Centre) -> None:
    async def look() -> None:
        desk = Screen(centre, session(centre, "dispatcher"), topics="counts,alarm")
        async with desk.connect() as socket_:
            await until(desk, socket_, lambda: desk.seq >= 0)
            number = str(await asyncio.to_thread(raise_alarm, centre, "D5"))
            await until(desk, socket_, lambda: desk.topics["alarm"].get(number, {}).get("incident"))
            row = desk.topics["alarm"][number]
            (listed,) = centre.client.get("/api/alarms?device=D5").json()["items"]
            for name, value in listed.items():
                if name != "evidence":
                    assert row[name] == value, name
            assert set(row) - set(listed) == {"device_name", "cell_name", "category_name", "category_name_en"}
            assert (row["state"], row["category_name_en"]) == ("UNACK", "Smoke")
            centre.client.post(f"/api/alarms/{number}/acknowledge").raise_for_status()
            await until(desk, socket_, lambda: desk.topics["alarm"][number]["state"] == "ACKED")
            centre.execute("UPDATE alarms SET cleared_at = now() WHERE id = %s", number)
            centre.execute("INSERT INTO changes (kind, object) VALUES ('alarm.cleared', %s)", number)
            await until(desk, socket_, lambda: number not in desk.topics["alarm"])
            assert desk.topics["counts"]["alarms"]["shown"] >= 0

    asyncio.run(look())


@pytest.mark.parametrize("cookie", ["", "handler"])
def test_alarms_are_not_listed_for_strangers_and_handlers(centre: Centre, cookie: str) -> None:
    who = session(centre, cookie, "U1") if cookie else ""
    screen = asyncio.run(Screen(centre, who, topics="counts,alarm").look())
    assert set(screen.topics) == {"counts"}


def test_one_process_encodes_once_for_all_screens_of_one_sight(centre: Centre) -> None:
    def snapshots() -> float:
        text = centre.stranger.get("/metrics").text
        return float(text.split('city_screens_total{what="snapshots"} ')[1].split()[0])

    async def look() -> None:
        screens = [Screen(centre, scope="M1", topics="cell,incident") for _ in range(8)]
        async with asyncio.TaskGroup() as group:
            for screen in screens:
                group.create_task(screen.look())
        assert len({screen.epoch for screen in screens}) == 1
        assert {json.dumps(screen.topics["cell"]) for screen in screens} == {
            json.dumps(screens[0].topics["cell"])
        }

    before = snapshots()
    asyncio.run(look())
    assert snapshots() - before < 8
