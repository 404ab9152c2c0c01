"""Two real centre processes on one database: any screen on any of them, everything told once, also when one dies."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from command_centre import accounts
from tests.integration.following_screen import Screen, until
from tests.integration.running_centre import NO_TLS, TOKEN, lay_ground, raise_alarm
from tests.servers.city_process import start_city
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerProcess, free_port

PATIENCE_S = 60.0
PASSWORD = "thirty-two geese by the lock"


@dataclass
class Receiver:
    """Where orders go; while ``hanging`` is set it takes them and says nothing."""

    hanging: threading.Event = field(default_factory=threading.Event)
    keys: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)  # of who sent
    server: ThreadingHTTPServer | None = None

    def start(self) -> str:
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.ports.append(self.client_address[1])
                receiver.keys.append(self.headers["Idempotency-Key"])
                while receiver.hanging.is_set():
                    time.sleep(0.05)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/orders"


@dataclass
class Seat:
    """One of the centres, as ``Screen`` and a browser need it."""

    url: str
    base: str
    process: ServerProcess

    @property
    def screens(self) -> str:
        return self.base.replace("http", "ws") + "/ws/screen"

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.base, timeout=PATIENCE_S, verify=NO_TLS)

    def sends_from(self, port: int) -> bool:
        """Whether a connection from this local port is this process's."""
        wanted = f":{port:04X}"
        tables = Path(f"/proc/{self.process.pid}/net/tcp").read_text().splitlines()[1:]
        inodes = {line.split()[9] for line in tables if line.split()[1].endswith(wanted)}
        held = Path(f"/proc/{self.process.pid}/fd").iterdir()
        return any(str(one.readlink()) in {f"socket:[{inode}]" for inode in inodes} for one in held)


@dataclass
class Town:
    url: str
    seats: tuple[Seat, Seat]
    receiver: Receiver

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def until(self, seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            assert time.monotonic() < deadline, self.rows(
                "SELECT state, attempts, last_error FROM notifications"
            )
            time.sleep(0.05)


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    receiver = Receiver()
    shared = tmp_path_factory.mktemp("shared")
    with ExitStack() as ends:
        ends.callback(postgres_server.drop_database, name)
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE units SET webhook_url = %s WHERE code = 'U1'", (receiver.start(),))
            connection.execute(  # each order is of a cell of its own: those of one become one incident
                "UPDATE devices SET cell_id = (SELECT id FROM areas WHERE code = 'C4') WHERE code = 'D11'"
            )
        assert receiver.server is not None
        ends.callback(receiver.server.shutdown)
        ends.callback(receiver.hanging.clear)
        settings = {
            "database_url": url,
            "mqtt_url": "mqtt://127.0.0.1:1",
            "data_dir": str(shared),
            "api_token": TOKEN,
        }
        settings |= {"simulate": "", "disk_warn_gb": "0", "disk_stop_gb": "0", "log_format": "json"}
        seats = []
        for _ in range(2):
            port = free_port()
            process = start_city("centre", http_port=str(port), **settings)
            ends.callback(process.stop)
            seats.append(Seat(url, f"http://127.0.0.1:{port}", process))
        for seat in seats:
            seat.process.wait_ready(
                lambda log=seat.process.log: b"screens are ready" in log.read_bytes(), PATIENCE_S
            )
        yield Town(url, (seats[0], seats[1]), receiver)


def logged_in(town: Town, at: Seat) -> str:
    """A supervisor's log-in at one of the centres, as the browser's cookie."""
    with at.browser() as browser:
        made = browser.post(
            "/api/users",
            json={"name": "super", "role": "supervisor"},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert made.status_code == 201, made.text
        hashed = accounts.hash_password(PASSWORD)
        town.rows("UPDATE users SET password_hash = %s, must_change = false WHERE name = 'super'", hashed)
        opened = browser.post("/api/session", json={"name": "super", "password": PASSWORD})
        assert opened.status_code == 200, opened.text
        return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def test_a_session_and_a_screen_of_one_centre_are_the_others_too(town: Town) -> None:
    first, second = town.seats
    cookie = logged_in(town, first)

    async def look() -> tuple[Screen, list[int], int]:
        screen = Screen(second, cookie, **{"as": "staff"})  # type: ignore[arg-type]  # a Seat is what it uses of a Centre, here and below
        raised = [await asyncio.to_thread(raise_alarm, first, "D1", "public.person")]  # type: ignore[arg-type]
        async with screen.connect() as there:
            await until(screen, there, lambda: screen.topics.get("incident"))
            (incident,) = [int(one) for one in screen.topics["incident"]]
            with first.browser() as browser:  # done at one, seen at the other
                done = await asyncio.to_thread(
                    browser.post,
                    f"/api/incidents/{incident}/comment",
                    json={"comment": "looked at"},
                    headers={"Cookie": cookie},
                )
                assert done.status_code == 200, done.text
            await until(screen, there, lambda: ("incident.changed", incident) in screen.events)
        for turn, seat in enumerate((first, second)):  # it lands on another, and comes back
            raised.append(await asyncio.to_thread(raise_alarm, first, f"D{2 + turn}", "public.person"))  # type: ignore[arg-type]
            screen.address = seat.screens
            async with screen.connect() as there:
                await until(screen, there, lambda: ("alarm.raised", raised[-1]) in screen.events)
        async with screen.connect() as there:
            with first.browser() as browser:
                gone = await asyncio.to_thread(browser.delete, "/api/session", headers={"Cookie": cookie})
                assert gone.status_code == 204, gone.text
            with pytest.raises(ConnectionClosed):
                await until(screen, there, lambda: False)
        return screen, raised, there.close_code or 0

    screen, raised, code = asyncio.run(look())
    shown = {number: times for (kind, number), times in screen.events.items() if kind == "alarm.raised"}
    assert set(raised[1:]) <= set(shown)
    assert set(shown.values()) == {1}
    assert code == 4401
    with second.browser() as browser:
        assert browser.get("/api/session", headers={"Cookie": cookie}).status_code == 401


def ordered(town: Town, device: str) -> Seat:
    """An order that its receiver has taken and not answered; returns who sent it."""
    before = len(town.receiver.ports)
    town.receiver.hanging.set()
    raise_alarm(town.seats[0], device)  # type: ignore[arg-type]
    town.until(lambda: len(town.receiver.ports) > before)
    (holder,) = [seat for seat in town.seats if seat.sends_from(town.receiver.ports[before])]
    return holder


def sent(town: Town) -> int:
    return int(town.rows("SELECT count(*) FROM notifications WHERE state = 'sent'")[0][0])


@pytest.mark.slow  # a lease has to end
def test_who_stands_still_with_an_order_and_goes_on_tells_its_end_to_nobody(town: Town) -> None:
    """Before the other tests of orders: both centres are needed afterwards."""
    before = sent(town), len(town.receiver.keys)
    holder = ordered(town, "D11")
    os.kill(holder.process.pid, signal.SIGSTOP)
    try:
        town.receiver.hanging.clear()
        town.until(lambda: sent(town) == before[0] + 1)
    finally:
        os.kill(holder.process.pid, signal.SIGCONT)
    with holder.browser() as browser:
        town.until(lambda: browser.get("/readyz?own=true").status_code == 200)
    keys = town.receiver.keys[before[1] :]
    assert keys == keys[:1] * 2  # its bytes had left
    assert town.rows(
        "SELECT n.attempts, count(*) FROM notifications n JOIN incident_events e USING (incident_id)"
        " WHERE n.id = (SELECT max(id) FROM notifications) AND e.kind = 'receipt' GROUP BY n.id"
    ) == [(2, 1)]


def test_an_order_goes_once_and_still_goes_when_who_had_it_is_killed(town: Town) -> None:
    receiver, before = town.receiver, len(town.receiver.keys)
    done = sent(town)
    raise_alarm(town.seats[0], "D5")  # type: ignore[arg-type]
    town.until(lambda: sent(town) == done + 1)
    assert len(receiver.keys) == before + 1
    holder = ordered(town, "D8")  # another cell: an incident of its own
    (other,) = [seat for seat in town.seats if seat is not holder]
    holder.process.kill()
    receiver.hanging.clear()
    town.until(lambda: sent(town) == done + 2)
    assert (
        receiver.keys[before + 1 :] == [receiver.keys[before + 1]] * 2
    )  # the second time under the same key
    assert town.rows("SELECT attempts FROM notifications ORDER BY id DESC LIMIT 2") == [(2,), (1,)]
    with other.browser() as browser:
        ready = browser.get("/readyz?own=true")
        assert (ready.status_code, ready.json()["checks"]["database"]) == (200, "ok")
        assert browser.get("/readyz").status_code == 503  # there is no ingest; no other centre would have one
    assert json.loads(holder.process.log.read_bytes().splitlines()[-1])  # it said nothing of an end
