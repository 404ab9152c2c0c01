"""Every route as every role, in its own street and in the other: who is let in, who is told "not there", no leak."""

import asyncio
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from city.reach import Reach
from city.storage.reach import within
from command_centre import accounts
from command_centre.api.access import ROLES as MEETS
from command_centre.api.access import TABLE, Rule
from command_centre.api.reaching import changes, kind_of, named_by
from tests.conftest import PostgresServer, _database
from tests.integration.following_screen import Screen
from tests.integration.running_centre import NO_TLS, Centre, running
from tests.integration.two_streets import EAST, ROLES, WEST, Street, account, build, lay

AT_ONCE = 8
# Knock at every door; the others at those that should open to them. The refusals are one table's, read by one gate.
EVERYWHERE = ("viewer", "dispatcher", "integrator")
# These knock at all of their doors in every run, the others at a share each, and at all of them in the long one.
ALWAYS = ("viewer", "handler")
RULES = [Rule(method=method, path=path, needs=needs) for (method, path), needs in TABLE.items()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Town:
    centre: Centre
    east: Street
    west: Street


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Town]:
    with _database(postgres_server, postgres_template) as url, running(lay(url)) as centre:
        east, west = build(centre)
        yield Town(centre=centre, east=east, west=west)


def filled(path: str, street: Street) -> str:
    """The route's address with what this street has in it."""
    place = {
        "incident_id": "incidents", "alarm_id": "alarms", "tracking": "reports", "digest": "photos",
        "order_id": "orders", "task_id": "tasks", "notification_id": "notifications",
    }  # fmt: skip

    def one(match: re.Match[str]) -> str:
        name = match[1].partition(":")[0]
        if name == "code":
            before = path[: match.start()].strip("/").split("/")
            noun = {"stations": "devices", "device": "devices"}.get(before[-1], before[-1])
            noun = "devices" if noun.startswith("{") else noun
            return street.named.get(noun, street.cell if "areas" in before else "1")
        if name in ("thing", "sort"):
            return "device"
        if name == "layer":
            return "cell"
        return street.named.get(
            place.get(name, ""), {"form": "json", "n": "0", "action": "comment"}.get(name, "1")
        )

    return re.sub(r"{([^}]+)}", one, path)


def cookies_of(town: Town, role: str) -> dict[str, str]:
    """Somebody of the east: by place, a handler by unit too."""
    return account(
        town.centre, role, scope=town.east.code, unit=town.east.unit if role == "handler" else None
    )


async def asked(
    client: httpx.AsyncClient, rule: Rule, address: str, gate: asyncio.Semaphore
) -> tuple[Rule, str, httpx.Response]:
    async with gate:
        body = None if rule.method == "GET" else b'"no body of ours"'
        headers = {"Content-Type": "application/json"}
        return rule, address, await client.request(rule.method, address, content=body, headers=headers)


async def everything(
    town: Town, rules: list[Rule], street: Street, cookies: dict[str, str]
) -> list[tuple[Rule, str, httpx.Response]]:
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(
        base_url=town.centre.base, cookies=cookies, timeout=60, verify=NO_TLS
    ) as client:
        return await asyncio.gather(
            *(
                asked(client, rule, filled(rule.path, street), gate)
                for rule in rules
                if "session" not in rule.path  # they would end the one that asks
            )
        )


def allowed(rule: Rule, role: str) -> bool:
    """What the two tables say of somebody who reaches less than the district."""
    if rule.needs in ("public", "anyone", "wall", "loopback", "session"):
        return True
    kind = kind_of(rule)
    return role in MEETS[rule.needs] and kind != "whole" and not (kind == "district" and changes(rule))


def shares() -> Iterator[object]:
    """Each role with the part of its doors at which it knocks: every so many, from one on."""
    others = [role for role in ROLES if role not in ALWAYS]
    for role in ROLES:
        if role in ALWAYS:
            yield pytest.param(role, slice(None), id=role)
        else:
            yield pytest.param(role, slice(others.index(role), None, len(others)), id=f"{role}-share")
            yield pytest.param(role, slice(None), id=role, marks=pytest.mark.slow)


@pytest.mark.parametrize(("role", "share"), list(shares()))
def test_nobody_sees_or_touches_the_other_street(town: Town, role: str, share: slice) -> None:
    cookies = cookies_of(town, role)
    rules = [rule for rule in RULES if role in EVERYWHERE or allowed(rule, role)][share]
    away = [rule for rule in rules if named_by(rule) and kind_of(rule) not in ("open", "own")]
    east = asyncio.run(everything(town, rules, town.east, cookies))
    west = asyncio.run(everything(town, away, town.west, cookies))
    wrong = []
    for rule, address, answer in east:
        if (answer.status_code == 403) == allowed(rule, role) and not own_words(answer):
            wrong.append(f"{rule.method} {address} as {role}: {answer.status_code} {answer.text[:200]}")
    for rule, address, answer in west:
        if rule.needs == "wall":
            continue  # open to the room in this town
        expected = 404 if allowed(rule, role) else 403
        if answer.status_code != expected:
            wrong.append(f"{rule.method} {address} as {role}: {answer.status_code}, not {expected}")
    for rule, address, answer in [*east, *west]:
        if answer.status_code >= 500 and rule.path not in ("/readyz", "/"):
            wrong.append(f"{rule.method} {address} as {role}: {answer.status_code} {answer.text[:200]}")
        if kind_of(rule) != "open" and rule.needs != "wall" and WEST in leaked(answer, address):
            wrong.append(f"{rule.method} {address} as {role} tells of the other street: {answer.text[:300]}")
    assert not wrong, "\n".join(wrong)


def own_words(answer: httpx.Response) -> bool:
    """A 403 that the route itself says beyond the tables: the workflow's, the unit's own, a strange session."""
    return answer.status_code == 403 and not re.search("this needs the role|lies beyond", answer.text)


def leaked(answer: httpx.Response, address: str) -> str:
    """All that an answer says, but for the address that was asked for and comes back in a refusal."""
    return (
        (answer.text + str(answer.headers)).replace(address, "").replace(f"{WEST}-", "")
        if answer.status_code >= 400
        else answer.text + str(answer.headers)
    )


def test_who_has_the_whole_district_sees_both(town: Town) -> None:
    # Else the marks above would be missing for another reason.
    answers = asyncio.run(
        everything(
            town,
            [rule for rule in RULES if rule.method == "GET"],
            town.east,
            account(town.centre, "supervisor"),
        )
    )
    both = {rule.path for rule, _, answer in answers if EAST in answer.text and WEST in answer.text}
    assert both >= {
        "/api/devices", "/api/components", "/api/buildings", "/api/incidents", "/api/reports", "/api/alarms",
        "/api/quarantine", "/api/orders", "/api/flood/tasks", "/api/patrol/routes", "/api/flood/duty-log",
        "/api/devices.geojson",
    }  # fmt: skip


def test_a_stranger_is_told_to_log_in(town: Town) -> None:
    for rule, address, answer in asyncio.run(everything(town, RULES, town.east, {})):
        if rule.needs not in ("public", "anyone", "wall", "loopback"):
            assert answer.status_code == 401, (rule.method, address, answer.status_code)


def test_a_handler_without_an_area_sees_things_of_a_place_and_the_incidents_of_the_unit(town: Town) -> None:
    cookies = account(town.centre, "handler", unit=town.west.unit)
    with httpx.Client(base_url=town.centre.base, cookies=cookies, verify=NO_TLS, timeout=60) as client:
        assert {EAST, WEST} <= {one["code"][:8] for one in client.get("/api/devices").json()["items"]}
        assert {str(one["id"]) for one in client.get("/api/incidents").json()["items"]} >= {
            town.west.named["incidents"]
        }
        assert EAST not in client.get("/api/incidents").text + client.get("/api/alarms").text
        path = f"/api/incidents/{town.east.named['incidents']}"
        assert [client.get(path).status_code, client.post(f"{path}/comment", json={}).status_code] == [
            404,
            404,
        ]


def test_nobody_opens_or_orders_where_they_do_not_reach(town: Town) -> None:
    cookies = account(town.centre, "dispatcher", scope=town.east.code)
    new = {"category": "fire", "text": "x"}
    with httpx.Client(base_url=town.centre.base, cookies=cookies, verify=NO_TLS, timeout=60) as client:
        here = client.post("/api/incidents", json={**new, "cell": town.east.cell})
        there = client.post("/api/incidents", json={**new, "cell": town.west.cell})
        assert (here.status_code, there.status_code) == (201, 403), there.text
        assert "区域" in there.json()["detail_zh"]
        bulk = {"action": "comment", "ids": [int(town.west.named["incidents"])], "fields": {"comment": "x"}}
        (row,) = client.post("/api/incidents/bulk", json=bulk).json()["items"]
        assert (row["outcome"], row["state"]) == ("refused", "")
        into = {"into": int(town.west.named["incidents"]), "reason": "x"}
        merged = client.post(f"/api/incidents/{here.json()['id']}/merge", json=into)
        assert merged.status_code in (404, 409, 422)
        assert WEST not in merged.text


def test_the_unit_hands_an_incident_on_and_still_hears_what_became_of_it(town: Town) -> None:
    made = town.centre.client.post(
        "/api/incidents", json={"category": "fire", "cell": town.east.cell, "text": "x"}
    )
    path = f"/api/incidents/{made.json()['id']}"
    cookies = account(town.centre, "handler", unit=town.east.unit)
    with httpx.Client(base_url=town.centre.base, cookies=cookies, verify=NO_TLS, timeout=60) as client:
        assert client.post(f"{path}/acknowledge", json={}).status_code == 200
        asked = client.post(f"{path}/return", json={"reason": "not ours"})
        assert asked.status_code == 200, asked.text
        assert client.get(path).status_code == 200


def test_nothing_is_written_where_its_writer_could_not_see_it(town: Town) -> None:
    cookies = account(town.centre, "administrator", scope=town.east.code)
    with httpx.Client(base_url=town.centre.base, cookies=cookies, verify=NO_TLS, timeout=60) as client:
        for noun, more in (("components", {"kind": "井盖"}), ("buildings", {})):
            made = {"code": f"beyond-{noun}", "name": "beyond", "reason": "new", **more}
            away = client.post(f"/api/{noun}", json={**made, "cell": town.west.cell})
            assert (away.status_code, away.json()["detail"]) == (422, "there is no such cell")
            nowhere = client.post(f"/api/{noun}", json=made)
            assert nowhere.status_code == 403, nowhere.text
            assert "beyond the area or unit of your account" in nowhere.json()["detail"]
            assert town.centre.execute(f"SELECT FROM {noun} WHERE code LIKE 'beyond%%'") == []
            assert client.post(f"/api/{noun}", json={**made, "cell": town.east.cell}).status_code == 201


def test_ground_that_changes_is_seen_by_whoever_asked_before(town: Town) -> None:
    held = Reach(scope=town.east.code, actor="user:0")

    def seen(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        with connection.transaction():
            within(connection, held)
            row = connection.execute("SELECT FROM devices WHERE code = %s", (town.west.named["devices"],))
            return row.fetchone() is not None

    def moved(connection: psycopg.Connection[tuple[object, ...]], parent: str) -> None:
        connection.execute(
            "UPDATE areas SET parent_id = (SELECT id FROM areas WHERE code = %s) WHERE code = %s",
            (parent, town.west.cell),
        )

    with psycopg.connect(town.centre.url, autocommit=True) as connection:
        (community,) = connection.execute(
            "SELECT p.code FROM areas a JOIN areas p ON p.id = a.parent_id WHERE a.code = %s",
            (town.west.cell,),
        ).fetchone() or ("",)
        assert not seen(connection)
        moved(connection, town.east.code)
        assert seen(connection)
        moved(connection, str(community))
        assert not seen(connection)


# ── screens ───────────────────────────────────────────────────────────────────────────────────────────


async def shown(town: Town, cookies: dict[str, str], **asks: str) -> tuple[dict[str, object], int | None]:
    """Hello and the first state, and the code of the close when there was none."""
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    screen = Screen(town.centre, cookie, **asks)
    async with screen.connect() as socket_:
        try:
            while screen.snapshots == 0:
                await screen.take(socket_)
        except ConnectionClosed as closed:
            return screen.topics, closed.rcvd.code if closed.rcvd else None
    return screen.topics, None


def test_a_screen_shows_what_its_account_reaches_and_no_query_widens_it(town: Town) -> None:
    cookies = account(town.centre, "dispatcher", scope=town.east.code)
    topics, closed = asyncio.run(shown(town, cookies, topics="district,cell,incident,counts,alarm,station"))
    assert closed is None
    assert EAST in json.dumps(topics, ensure_ascii=False)
    assert WEST not in json.dumps(topics, ensure_ascii=False)
    assert asyncio.run(shown(town, cookies, scope=town.west.code)) == ({}, 4404)
    assert asyncio.run(shown(town, cookies, scope=town.east.cell))[1] is None
    assert asyncio.run(shown(town, {}, **{"as": "staff"})) == ({}, 4401)


def test_another_area_ends_the_screen(town: Town) -> None:
    cookies = account(town.centre, "dispatcher", scope=town.east.code)

    async def moved() -> int:
        screen = Screen(town.centre, f"city_session={cookies['city_session']}")
        async with screen.connect() as socket_:
            while screen.snapshots == 0:
                await screen.take(socket_)
            town.centre.execute("UPDATE user_scopes SET scope = 'm1' WHERE scope = 's1'")
            try:
                while True:
                    await screen.take(socket_)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0

    assert asyncio.run(moved()) == 4409


@pytest.fixture(scope="module")
def paired(postgres_server: PostgresServer, town: Town) -> Iterator[Centre]:
    """A second centre on the same town, whose walls show themselves to paired screens alone."""
    with running(town.centre.url, wall_access="paired") as centre:
        yield centre


def test_a_paired_screen_shows_its_area_over_http_too(paired: Centre, town: Town) -> None:
    def told(where: str | None) -> str:
        token = secrets.token_urlsafe(16)
        paired.execute(
            "INSERT INTO screens (name, area_id, renews, expires_at, token_digest, paired_at, created_by, created_at)"
            " VALUES (%s, (SELECT id FROM areas WHERE code = %s), false, now() + interval '1 hour', %s, now(), 'x',"
            " now())",
            token, where, accounts.digest(token),
        )  # fmt: skip
        with httpx.Client(
            base_url=paired.base, cookies={"city_screen": token}, verify=NO_TLS, timeout=60
        ) as client:
            one = client.get(f"/api/wall/incidents/{town.west.named['incidents']}").status_code
            return f"{client.get('/api/wall/sensing').text} {one}"

    everywhere, east = told(None), told(town.east.code)
    assert (EAST in everywhere, WEST in everywhere, everywhere[-3:]) == (True, True, "200")
    assert (EAST in east, WEST in east, east[-3:]) == (True, False, "404")
    assert paired.stranger.get("/api/wall/sensing").status_code == 401
