"""Walls without a person: admitted by an administrator, paired once, renewed in use, ended by date or by hand."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from command_centre.api.screen import hub as hubs
from tests.integration.following_screen import Screen
from tests.integration.running_centre import NO_TLS, Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One that shows itself to paired screens only."""
    quick = pytest.MonkeyPatch()
    quick.setattr(hubs, "GUESTS_S", 0.2)
    with on_fresh_ground(postgres_server, postgres_template, wall_access="paired") as made:
        yield made
    quick.undo()


def admitted(centre: Centre, name: str, **more: Any) -> dict[str, Any]:
    answer = centre.client.post("/api/screens", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def secret_of(made: dict[str, Any]) -> str:
    address: str = made["pairing"]["address"]
    return address.partition("/wall#pair=")[2]


class Machine:
    """The browser behind a wall: keeps its cookie."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self.http = httpx.Client(base_url=centre.base, verify=NO_TLS)

    def pair(self, secret: str) -> httpx.Response:
        return self.http.post("/api/screens/pair", json={"secret": secret})

    def screen(self, **asks: str) -> Screen:
        token = self.http.cookies.get("city_screen")
        return Screen(self._centre, f"city_screen={token}" if token else "", **asks)


def paired(centre: Centre, name: str, **more: Any) -> tuple[Machine, dict[str, Any]]:
    made = admitted(centre, name, **more)
    machine = Machine(centre)
    machine.pair(secret_of(made)).raise_for_status()
    row: dict[str, Any] = made["screen"]
    return machine, row


async def sent_away(screen: Screen, before: Any = lambda: None) -> int:
    """The code with which a screen is closed, after ``before`` was done to one that is looking."""
    async with screen.connect() as socket_:
        try:
            await screen.take(socket_)
            await asyncio.to_thread(before)
            while True:
                await screen.take(socket_)
        except ConnectionClosed:
            return socket_.close_code or 0


def test_without_pairing_nothing_is_shown_but_the_page(centre: Centre) -> None:
    assert asyncio.run(sent_away(Screen(centre))) == 4403
    assert asyncio.run(sent_away(Screen(centre, "city_screen=forged"))) == 4403
    assert centre.stranger.get("/wall").status_code in (200, 503)  # 503: not built here


def test_what_the_wall_asks_over_http_is_for_paired_screens_and_people(centre: Centre) -> None:
    machine, row = paired(centre, "右厅")
    for path in ("/api/wall/sensing", "/api/wall/flood"):
        assert centre.stranger.get(path).status_code == 401
        assert machine.http.get(path).status_code == 200
        assert centre.client.get(path).status_code == 200
    centre.client.post(f"/api/screens/{row['id']}/revoke").raise_for_status()
    assert machine.http.get("/api/wall/sensing").status_code == 401
    assert centre.stranger.get("/api/wall/map").status_code == 200


def test_a_pairing_address_works_once_and_the_cookie_is_no_scripts(centre: Centre) -> None:
    made = admitted(centre, "大厅")
    assert made["screen"]["state"] == "waiting"
    machine = Machine(centre)
    answer = machine.pair(secret_of(made))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"name": "大厅", "scope": None, "expires_at": answer.json()["expires_at"]}
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert secret_of(made) not in cookie
    again = Machine(centre).pair(secret_of(made))
    assert (again.status_code, again.headers["content-type"]) == (403, "application/problem+json")
    screen = asyncio.run(machine.screen().look())
    assert "incident" in screen.topics
    (row,) = [one for one in centre.client.get("/api/screens").json()["items"] if one["name"] == "大厅"]
    assert (row["state"], row["paired_at"] is None) == ("active", False)
    stored = centre.execute("SELECT s::text FROM screens s WHERE name = '大厅'")[0][0]
    assert machine.http.cookies["city_screen"] not in str(stored)


def test_the_first_frame_says_which_screen_it_is(centre: Centre) -> None:
    machine, row = paired(centre, "东厅", scope="M1")

    async def look() -> dict[str, Any]:
        screen = machine.screen()
        async with screen.connect() as socket_:
            return await screen.take(socket_)

    hello = asyncio.run(look())
    assert hello["screen"]["name"] == "东厅"
    assert hello["screen"]["scope"] == "M1"
    assert datetime.fromisoformat(hello["screen"]["expires_at"]) >= datetime.fromisoformat(row["expires_at"])


def test_a_screen_of_a_scope_sees_nothing_beyond_it(centre: Centre) -> None:
    machine, _ = paired(centre, "二格", scope="C2")
    assert set(asyncio.run(machine.screen().look()).topics["cell"]) == {"C2"}
    assert asyncio.run(sent_away(machine.screen(scope="C1"))) == 4404
    assert asyncio.run(sent_away(machine.screen(scope="S1"))) == 4404


def test_access_that_ends_in_the_night_is_said_and_goes_on_when_it_is_extended(centre: Centre) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    machine, row = paired(centre, "借用", expires_at=soon)
    screen = machine.screen()

    def ends() -> None:
        centre.execute("UPDATE screens SET expires_at = now() - interval '1 second' WHERE id = %s", row["id"])

    assert asyncio.run(sent_away(screen, ends)) == 4410
    refused = machine.http.post("/api/screens/renew")
    assert (refused.status_code, "期限" in refused.json()["detail_zh"]) == (401, True)
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    stale = centre.client.patch(
        f"/api/screens/{row['id']}", json={"expires_at": later}, headers={"If-Match": '"7"'}
    )
    assert stale.status_code == 412
    extended = centre.client.patch(
        f"/api/screens/{row['id']}", json={"expires_at": later}, headers={"If-Match": '"1"'}
    )
    assert (extended.status_code, extended.headers["etag"]) == (200, '"2"')
    raised = raise_alarm(centre, "D1")

    async def resumes() -> None:
        async with screen.connect() as socket_:
            while ("alarm.raised", raised) not in screen.events:
                await screen.take(socket_)

    asyncio.run(resumes())
    assert screen.snapshots == 1  # it stood where it was


def test_in_use_it_gets_more_time_by_itself_unless_its_end_is_fixed(centre: Centre) -> None:
    machine, row = paired(centre, "自续")
    centre.execute("UPDATE screens SET expires_at = now() + interval '1 hour' WHERE id = %s", row["id"])
    until = datetime.fromisoformat(machine.http.post("/api/screens/renew").json()["expires_at"])
    assert until > datetime.now(UTC) + timedelta(days=29)
    fixed = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    lent, _ = paired(centre, "限期", expires_at=fixed.isoformat())
    assert datetime.fromisoformat(lent.http.post("/api/screens/renew").json()["expires_at"]) == fixed
    assert httpx.post(f"{centre.base}/api/screens/renew", verify=NO_TLS).status_code == 401


def test_a_revoked_screen_is_sent_away_for_good(centre: Centre) -> None:
    machine, row = paired(centre, "撤下")

    def revoke() -> None:
        centre.client.post(f"/api/screens/{row['id']}/revoke").raise_for_status()

    assert asyncio.run(sent_away(machine.screen(), revoke)) == 4411
    assert asyncio.run(sent_away(machine.screen())) == 4411
    for path in ("revoke", "pairing"):
        assert centre.client.post(f"/api/screens/{row['id']}/{path}").status_code == 409
    assert centre.client.patch(f"/api/screens/{row['id']}", json={"name": "x"}).status_code == 409


def test_another_pairing_takes_the_access_from_the_machine_before(centre: Centre) -> None:
    machine, row = paired(centre, "换机")
    offered = centre.client.post(f"/api/screens/{row['id']}/pairing").json()
    fresh = Machine(centre)
    fresh.pair(secret_of(offered)).raise_for_status()
    assert asyncio.run(sent_away(machine.screen())) == 4403
    assert asyncio.run(fresh.screen().look()).seq >= 0


def test_a_screen_moved_to_another_scope_turns_to_it(centre: Centre) -> None:
    machine, row = paired(centre, "搬家", scope="C1")

    def move() -> None:
        centre.client.patch(f"/api/screens/{row['id']}", json={"scope": "C3"}).raise_for_status()

    screen = machine.screen()
    assert asyncio.run(sent_away(screen, move)) == 4409
    assert set(asyncio.run(screen.look()).topics["cell"]) == {"C3"}


def test_sent_twice_is_made_once_and_the_secret_is_answered_once(centre: Centre) -> None:
    body = {"name": "一次"}
    first, second = (
        centre.client.post("/api/screens", json=body, headers={"Idempotency-Key": "k-1"}) for _ in range(2)
    )
    assert first.json()["screen"]["id"] == second.json()["screen"]["id"]
    assert (first.json()["pairing"] is None, second.json()["pairing"]) == (False, None)
    kept = centre.execute("SELECT answer::text FROM idempotency_keys WHERE route = 'POST /api/screens'")
    assert secret_of(first.json()) not in str(kept)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x", "scope": "nowhere"}, "scope"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "expires_at": "2920-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "secret": "y"}, "secret"),
    ],
)
def test_what_is_wrong_is_said_by_field(centre: Centre, body: dict[str, Any], field: str) -> None:
    answer = centre.client.post("/api/screens", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert answer.json()["detail_zh"]


def test_screens_are_the_administrators(centre: Centre) -> None:
    assert centre.stranger.get("/api/screens").status_code == 401
    assert centre.stranger.post("/api/screens", json={"name": "x"}).status_code == 401
    assert centre.client.post("/api/screens/999/revoke").status_code == 404
    assert centre.client.patch("/api/screens/999", json={"name": "x"}).status_code == 404
    assert centre.client.patch("/api/screens/999", json={}).status_code == 422
