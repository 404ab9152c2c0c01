"""Screens on real sockets, a real database: nothing lost, nothing doubled, nobody waits for the slow."""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from command_centre.api.screen import sender
from tests.integration.following_screen import Screen
from tests.integration.running_centre import Centre, lay_ground, on_fresh_ground, raise_alarm, running
from tests.servers.postgres import PostgresServer


@pytest.fixture
def centre(migrated_url: str) -> Iterator[Centre]:
    lay_ground(migrated_url)
    with running(migrated_url) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One centre for the screens that only look, or talk nonsense."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


def test_a_screen_gets_hello_and_a_snapshot_of_every_topic(undisturbed: Centre) -> None:
    async def look() -> tuple[dict[str, Any], dict[str, Any]]:
        screen = Screen(undisturbed)
        async with screen.connect() as socket_:
            return await screen.take(socket_), await screen.take(socket_)

    hello, snapshot = asyncio.run(look())
    assert set(hello) == {"t", "epoch", "seq", "now"}
    assert (snapshot["t"], snapshot["epoch"]) == ("snap", hello["epoch"])
    topics = snapshot["set"]
    assert topics["district"]["info"]["name"] == "示范区"
    assert set(topics["cell"]) == {"C1", "C2", "C3", "C4"}
    cell = {"state": "blind", "class": None, "open": 0, "exercise": 0, "devices": 10, "online": 0}
    assert topics["cell"]["C1"] == cell
    assert topics["cell"]["C4"]["state"] == "unset"
    assert topics["counts"]["open"]["total"] == 0
    assert topics["counts"]["silent"] == {"SHLVD": 0, "DSUPR": 0, "OOSRV": 0}
    assert topics["station"]["W1"]["state"] == "silent"
    assert topics["online"]["smoke"]["never"] == 20
    assert topics["health"]["system"]["database"] == "ok"


def test_an_alarm_becomes_an_event_and_an_incident_on_the_screen(centre: Centre) -> None:
    async def look() -> Screen:
        screen = Screen(centre)
        async with screen.connect() as socket_:
            while screen.seq < 0:
                await screen.take(socket_)
            await asyncio.to_thread(raise_alarm, centre, "D1")
            while screen.count("incident.opened") < 1:
                await screen.take(socket_)
            return screen

    screen = asyncio.run(look())
    assert screen.count("alarm.raised") == 1
    (shown,) = screen.topics["incident"].values()
    assert (shown["class"], shown["unit"], shown["cell"], shown["devices"]) == ("A", "U1", "C2", ["D1"])
    assert not {key for key in shown if "phone" in key or "lead" in key}
    assert screen.topics["cell"]["C2"]["class"] == "A"
    assert screen.topics["counts"]["open"]["A"] == 1


@pytest.mark.parametrize(("many", "alarms"), [(8, 8), pytest.param(20, 16, marks=pytest.mark.slow)])
def test_many_screens_some_flapping_lose_and_double_nothing(centre: Centre, many: int, alarms: int) -> None:
    screens = [Screen(centre) for _ in range(many)]
    steadily = many * 3 // 5

    async def steady(screen: Screen) -> None:
        async with screen.connect() as socket_:
            while screen.count("alarm.raised") < alarms:
                await screen.take(socket_)

    async def flapping(screen: Screen, pause: float) -> None:
        while screen.count("alarm.raised") < alarms:
            async with screen.connect() as socket_:
                for _ in range(3):
                    await screen.take(socket_)
                    if screen.count("alarm.raised") >= alarms:
                        break
            await asyncio.sleep(pause)

    async def everything() -> None:
        for screen in screens:  # all stand somewhere before anything happens
            async with screen.connect() as socket_:
                while screen.seq < 0:
                    await screen.take(socket_)
        followers = [asyncio.create_task(steady(screen)) for screen in screens[:steadily]]
        followers += [
            asyncio.create_task(flapping(screen, 0.05 * n)) for n, screen in enumerate(screens[steadily:])
        ]
        dead = dead_reader(centre)
        for n in range(1, alarms + 1):
            await asyncio.to_thread(raise_alarm, centre, f"D{n}")
            await asyncio.sleep(0.05)
        await asyncio.gather(*followers)
        dead.close()

    asyncio.run(everything())
    for screen in screens:
        raised = {key: number for key, number in screen.events.items() if key[0] == "alarm.raised"}
        assert len(raised) == alarms
        assert set(raised.values()) == {1}
        assert screen.snapshots == 1


def dead_reader(centre: Centre) -> socket.socket:
    """Connects as a screen, then never reads again."""
    host, port = centre.base.removeprefix("http://").split(":")
    peer = socket.create_connection((host, int(port)))
    peer.sendall(
        b"GET /ws/screen HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b"101" in peer.recv(64)
    return peer


def test_a_screen_that_does_not_acknowledge_is_held_and_then_gets_one_merged_frame(centre: Centre) -> None:
    async def look() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        screen = Screen(centre)
        async with screen.connect() as socket_:
            silent: list[dict[str, Any]] = []
            quiet = False
            changes = 0
            while not quiet:  # change things until no more frames come
                changes += 1
                centre.execute("INSERT INTO changes (kind, object) VALUES ('drill.noted', %s)", str(changes))
                centre.execute("NOTIFY changed")
                try:
                    silent.append(json.loads(await asyncio.wait_for(socket_.recv(), 3)))
                except TimeoutError:
                    quiet = True
            await socket_.send(json.dumps({"t": "ack", "seq": silent[-1]["seq"]}))
            merged = [json.loads(await asyncio.wait_for(socket_.recv(), 60))]
            return silent, merged

    silent, merged = asyncio.run(look())
    assert len(silent) == 11  # hello, and ten unacknowledged
    assert merged[0]["from"] == silent[-1]["seq"]
    assert merged[0]["ev"]


def test_a_dead_reader_is_let_go(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "SILENT_S", 0.5)  # the server runs in this process
    peer = dead_reader(centre)
    while 'city_screens_total{what="let_go"} 1.0' not in centre.stranger.get("/metrics").text:
        centre.execute("INSERT INTO changes (kind, object) VALUES ('drill.noted', 'x')")
        time.sleep(0.1)
    while peer.recv(65536):  # what was on its way, then the end
        pass
    peer.close()
    assert "city_screens_connected 0.0" in centre.stranger.get("/metrics").text


def test_an_old_epoch_gets_a_snapshot(undisturbed: Centre) -> None:
    async def look() -> str:
        async with connect(f"{undisturbed.screens}?epoch=another&since=3", compression=None) as socket_:
            await socket_.recv()
            frame: dict[str, Any] = json.loads(await socket_.recv())
            return str(frame["t"])

    assert asyncio.run(look()) == "snap"


@pytest.mark.parametrize(
    "query", ["?since=x", "?epoch=&since=-1", "?epoch=%00&since=99999999999999999999", ""]
)
def test_odd_queries_get_a_snapshot(undisturbed: Centre, query: str) -> None:
    async def look() -> str:
        async with connect(undisturbed.screens + query, compression=None) as socket_:
            await socket_.recv()
            return str(json.loads(await socket_.recv())["t"])

    assert asyncio.run(look()) == "snap"


@pytest.mark.parametrize(
    "said", ["hello", "{}", '{"t":"ack"}', '{"t":"ack","seq":"x"}', '{"t":"drop","seq":1}']
)
def test_a_screen_that_talks_nonsense_is_let_go(undisturbed: Centre, said: str) -> None:
    async def look() -> int | None:
        async with connect(undisturbed.screens, compression=None) as socket_:
            await socket_.recv()
            await socket_.send(said)
            with suppress(ConnectionClosed):
                while True:
                    await asyncio.wait_for(socket_.recv(), 60)
            return socket_.close_code

    assert asyncio.run(look()) == 1008


def test_the_heartbeat_carries_the_clock(undisturbed: Centre) -> None:
    async def look() -> list[dict[str, Any]]:
        screen = Screen(undisturbed)
        async with screen.connect() as socket_:
            frames: list[dict[str, Any]] = []
            while not any(frame["t"] == "d" and not frame["set"] and not frame["ev"] for frame in frames):
                frames.append(await screen.take(socket_))
            return frames

    beat = asyncio.run(look())[-1]
    assert beat["from"] == beat["seq"]
    assert beat["now"].endswith("Z")


def test_an_id_that_commits_late_is_still_shown(centre: Centre) -> None:
    """Two transactions: the one that took its id first commits last."""
    import psycopg

    async def look() -> Counter[tuple[str, int]]:
        screen = Screen(centre)
        async with screen.connect() as socket_:
            while screen.seq < 0:
                await screen.take(socket_)
            with psycopg.connect(centre.url) as slow:
                slow.execute("INSERT INTO changes (kind, object) VALUES ('alarm.raised', '900001')")
                centre.execute("INSERT INTO changes (kind, object) VALUES ('alarm.raised', '900002')")
                while ("alarm.raised", 900002) not in screen.events:
                    await screen.take(socket_)
            while ("alarm.raised", 900001) not in screen.events:
                await screen.take(socket_)
            return screen.events

    assert set(asyncio.run(look()).values()) == {1}


def test_health_says_what_ingest_says(centre: Centre) -> None:
    async def look() -> dict[str, Any]:
        screen = Screen(centre)
        async with screen.connect() as socket_:
            while screen.topics.get("health", {}).get("system", {}).get("ingest") != "ok":
                await screen.take(socket_)
            health: dict[str, Any] = screen.topics["health"]["system"]
            return health

    centre.execute(
        "INSERT INTO ingest_sessions (client_id, listening_from, alive_at, figures)"
        """ VALUES ('t', now(), now(), '{"lag_ms": 12, "broker_connected": true, "broker_dropped": 3}')"""
    )
    health = asyncio.run(look())
    assert (health["broker"], health["broker_dropped"], health["lag_s"]) == ("ok", 3, 0.012)
    assert centre.stranger.get("/readyz").status_code == 200
