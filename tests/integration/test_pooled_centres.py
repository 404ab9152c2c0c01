"""Two centres behind the deployment's haproxy and pgbouncer: what people see, and which pooling our code bears."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from city.storage.database import connect
from tests.conftest import lacking
from tests.integration.following_screen import Screen, until
from tests.integration.running_centre import NO_TLS, TOKEN, lay_ground, raise_alarm
from tests.servers.accounts import services_url
from tests.servers.balancer import Haproxy, Pgbouncer
from tests.servers.city_process import start_city
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerProcess, UnavailableError, free_port

pytestmark = pytest.mark.slow  # two processes of the product, two servers in front of them

PATIENCE_S = 90.0


Pool = Callable[..., str]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Puts a pgbouncer before a database and gives the address that goes through it."""
    made: list[Pgbouncer] = []

    def start(url: str, mode: str = "session") -> str:
        account = urlsplit(url)
        try:
            made.append(
                Pgbouncer(
                    account.port or 5432, account.username or "", account.password or "", pool_mode=mode
                )
            )
        except UnavailableError as missing:
            lacking(missing)
        return url.replace(f":{account.port}/", f":{made[-1].port}/")

    yield start
    for one in made:
        one.close()


@dataclass(frozen=True)
class Door:
    """What ``Screen`` and ``raise_alarm`` need of a centre: here it is the balancer's address."""

    url: str
    base: str
    seats: tuple[ServerProcess, ServerProcess]
    ports: tuple[int, int]

    @property
    def screens(self) -> str:
        return self.base.replace("http", "ws") + "/ws/screen"

    def until(self, seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            assert time.monotonic() < deadline, [seat.log_tail() for seat in self.seats]
            time.sleep(0.05)

    def answers(self, base: str) -> bool:
        try:
            return httpx.get(f"{base}/readyz?own=true", verify=NO_TLS, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def door(
    postgres_server: PostgresServer,
    postgres_template: str,
    pool: Pool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Door]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    pooled = pool(services_url(url))
    data = tmp_path_factory.mktemp("data")
    ports = (free_port(), free_port())
    with ExitStack() as stack:
        stack.callback(postgres_server.drop_database, name)
        seats = tuple(
            start_city(
                "centre", database_url=pooled, http_port=str(port), data_dir=str(data), api_token=TOKEN
            )
            for port in ports
        )
        for seat in seats:
            stack.callback(seat.kill)
        try:
            front = Haproxy(list(ports))
        except UnavailableError as missing:
            lacking(missing)
        stack.callback(front.close)
        made = Door(url, f"http://127.0.0.1:{front.port}", (seats[0], seats[1]), ports)
        for port in ports:
            made.until(lambda port=port: made.answers(f"http://127.0.0.1:{port}"))  # type: ignore[misc]  # a lambda's default has no type
        made.until(lambda: made.answers(made.base))
        yield made


def _logged_in(door: Door) -> httpx.Client:
    client = httpx.Client(base_url=door.base, timeout=PATIENCE_S, verify=NO_TLS)
    admin = {"Authorization": f"Bearer {TOKEN}"}
    made = client.post("/api/users", json={"name": "dispatcher-1", "role": "dispatcher"}, headers=admin)
    assert made.status_code == 201
    once = made.json()["one_time_secret"]
    assert client.post("/api/session", json={"name": "dispatcher-1", "password": once}).status_code == 200
    changed = client.post(
        "/api/session/password", json={"current": once, "new": "forty herons over the weir"}
    )
    assert changed.status_code == 204
    return client


def test_people_and_walls_go_on_when_a_centre_is_killed(door: Door) -> None:
    """Logged in by the balancer, a live wall by it, no ingest anywhere; the centre that the wall hangs on dies."""
    with closing(_logged_in(door)) as person:
        for _ in range(6):  # by turns on both
            assert person.get("/api/session").status_code == 200

        async def watched() -> tuple[int, float]:
            screen = Screen(door)  # type: ignore[arg-type]  # it asks for `screens` alone
            async with screen.connect() as line:
                await until(screen, line, lambda: screen.seq >= 0)
                raise_alarm(door, "D1")  # type: ignore[arg-type]  # and this for `url`
                await until(screen, line, lambda: screen.count("alarm.raised") == 1)
                killed = _holder(door)
                os.kill(door.seats[killed].pid, signal.SIGKILL)
                at = time.monotonic()
                with suppress(ConnectionClosed):  # the balancer's end of it
                    await until(screen, line, lambda: False)
            raise_alarm(door, "D2")  # type: ignore[arg-type]  # as above
            deadline = time.monotonic() + PATIENCE_S
            while screen.count("alarm.raised") < 2:
                assert time.monotonic() < deadline
                try:
                    async with screen.connect() as line:
                        await until(screen, line, lambda: screen.count("alarm.raised") == 2)
                except (OSError, ConnectionClosed, TimeoutError):
                    await asyncio.sleep(0.1)
            return screen.doubled, time.monotonic() - at

        doubled, seconds = asyncio.run(watched())
        assert doubled == 0
        logging.getLogger(__name__).info("the wall was whole again after %.2f s", seconds)
        door.until(lambda: person.get("/api/session").status_code == 200)
        for _ in range(6):
            assert person.get("/api/session").status_code == 200


def _holder(door: Door) -> int:
    """Which of the centres holds the screen."""
    for number, port in enumerate(door.ports):
        held = httpx.get(
            f"http://127.0.0.1:{port}/metrics", verify=NO_TLS, headers={"Authorization": f"Bearer {TOKEN}"}
        ).text
        if "\ncity_screens_connected 1" in held:
            return number
    raise AssertionError("no centre holds the screen")


def test_a_session_pool_passes_on_what_our_code_lives_on(
    postgres_server: PostgresServer, postgres_template: str, pool: Pool
) -> None:
    """Notifications, advisory locks of a session, temporary tables, prepared statements."""
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    try:
        said = _tried(url, pool(url))
        assert said == {"heard": True, "held": True, "table": True, "prepared": True}
    finally:
        postgres_server.drop_database(name)


def test_a_transaction_pool_would_lose_notifications_and_locks(
    postgres_server: PostgresServer, postgres_template: str, pool: Pool
) -> None:
    """Why pool_mode is session: without a word nobody is woken, and a lock is left to whoever comes next."""
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    try:
        said = _tried(url, pool(url, "transaction"))
        assert (said["heard"], said["held"], said["table"]) == (False, False, False)
        assert said["prepared"] is True  # pgbouncer >= 1.21 keeps those apart
    finally:
        postgres_server.drop_database(name)


def _tried(direct: str, pooled: str) -> dict[str, bool]:
    """Each need of our code over a pool, while others use the same server connections by turns."""
    found: dict[str, bool] = {}
    with psycopg.connect(direct, autocommit=True) as other:
        ours = connect(pooled, application="city centre", autocommit=True)
        ours.execute("LISTEN changed")
        ours.execute("SELECT pg_advisory_lock(77)")
        ours.execute("CREATE TEMP TABLE ours (n integer)")
        for _ in range(8):
            ours.execute("SELECT %s::integer", (1,))
        stranger = connect(pooled, application="city centre", autocommit=True)
        found["held"] = stranger.execute("SELECT pg_try_advisory_lock(77)").fetchone() == (False,)
        holder = connect(pooled, application="city centre")
        holder.execute(
            "SELECT 1"
        )  # in a transaction: it keeps the server connection that was ours, where it is shared
        found["table"] = _works(lambda: ours.execute("SELECT count(*) FROM ours"))
        found["prepared"] = _works(lambda: ours.execute("SELECT %s::integer", (1,), prepare=True))
        other.execute("NOTIFY changed")
        found["heard"] = bool(list(ours.notifies(timeout=5, stop_after=1)))
        for one in (stranger, holder, ours):
            one.close()
    return found


def _works(statement: Callable[[], object]) -> bool:
    try:
        statement()
    except psycopg.Error:
        return False
    return True
