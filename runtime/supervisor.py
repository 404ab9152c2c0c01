"""`city up`: everything on one machine, started in order, kept running, stopped in order.

Broker and database first, then the schema, the district and the first account, then our own processes. All
are direct children tied to our life: after a kill -9 of this process nothing is left, and the next start
finds the data.
"""

import http.client
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from rich.console import Console

from city import district
from city.errors import CityError
from city.service_manager import SILENT, ServiceManager
from city.settings import Settings
from city.storage import migrate, services
from command_centre import accounts
from command_centre.rule_changes import check_imported
from ingest.routing import Router, chosen, subscriptions
from rules.definitions import to_rows
from runtime import data_dir, ports, simulators_there
from runtime.display import Display, address
from runtime.embedded_broker import EmbeddedBroker
from runtime.embedded_postgres import EmbeddedPostgres
from runtime.keeper import Keeper
from runtime.log_files import LogFile
from runtime.process import Process

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LEAVING_S = 5.0  # how long a killed predecessor's servers may hold their ports
READY_S = 90.0
OURS_STOP_S = 2.7  # then the servers have the rest of the five seconds
SERVERS_STOP_S = 1.8
TICK_S = 0.2
OWNERS = tuple(
    f"CITY_DATABASE_OWNER_{what}" for what in ("URL", "URL_FILE", "PASSWORD", "PASSWORD_FILE")
)  # settings of ours that no process we start needs
FAULTY_SETTINGS = 2  # exit code of our commands: a person must put something right, restarting does not help


def up(settings: Settings, console: Console, manager: ServiceManager = SILENT) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; returns the exit code. CityError when it cannot start."""
    folder = data_dir.prepare(settings.data_dir)
    with data_dir.hold(folder) as unclean, _signals_interrupt():
        house = House(settings, folder, Display(console, steps=7), patience_s=LEAVING_S if unclean else 0)
        try:
            house.set_up()
            manager.ready()
            house.keep_running(manager)
        except KeyboardInterrupt:
            manager.stopping()
            console.print("正在停止 · stopping")
        finally:
            _ignore_signals()
            house.stop()
    return 0


class House:
    """The processes of one installation, in the order they depend on each other."""

    def __init__(self, settings: Settings, folder: Path, display: Display, *, patience_s: float) -> None:
        self._settings = settings
        self._folder = folder
        self._display = display
        self._patience_s = patience_s
        self._broker: EmbeddedBroker | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._servers: list[Keeper] = []
        self._ours: list[Keeper] = []
        self._district = settings.config.absolute() if settings.config else folder / "district"
        self._urls = {"CITY_DATABASE_URL": settings.database_url, "CITY_MQTT_URL": settings.mqtt_url}
        self._owner_url = settings.database_owner_url or settings.database_url

    def set_up(self) -> None:
        """Start everything and return when the centre is ready; CityError naming what is in the way."""
        ports.require_free(
            "CITY_HTTP_PORT",
            self._settings.http_port,
            "set CITY_HTTP_PORT to a free one",
            host=self._settings.http_host,
            patience_s=self._patience_s,
        )
        show = self._display.step
        with show("消息总线", "message broker"):
            self._start_broker()
        with show("数据库", "database"):
            self._start_database()
        with show("数据结构", "schema"):
            self._migrate()
        with show("辖区", "district"):
            self._import_district()
        with show("账号", "accounts"):
            administrator = self._first_account()
        if administrator is not None:
            self._display.secret(*administrator)
        with show("采集与指挥", "ingest and centre"):
            self._start_ours(["ingest"])
            for number in range(1, self._settings.centres + 1):
                self._start_ours(["centre"], name="centre" if number == 1 else f"centre-{number}")
            if self._settings.uplink_url:
                self._start_ours(["uplink"])
        with show("就绪", "ready"):
            self._wait_until_ready()
        if self._settings.simulate:
            # Last: it would only slow the others' start.
            self._start_ours(["simulate", self._settings.simulate])
        self._display.way_in(
            self._settings, self._folder / "log", administrator[0] if administrator else None
        )

    def keep_running(self, manager: ServiceManager = SILENT) -> None:
        """Restart what ends, show what goes wrong, for ever."""
        while True:
            manager.watched()
            self._tick()
            time.sleep(TICK_S)

    def stop(self) -> None:
        """Stop all, in order, within five seconds: first those who write, then what they write to."""
        deadline = time.monotonic() + OURS_STOP_S
        for keeper in self._ours:
            keeper.process.ask_to_stop()
        for keeper in self._ours:
            if not keeper.process.end_by(deadline):
                self._display.report(
                    f"{keeper.name} did not stop in time and was killed; nothing is lost by that"
                )
        deadline = time.monotonic() + SERVERS_STOP_S
        for keeper in self._servers:
            keeper.process.ask_to_stop()  # both at once, then wait for each
        for server in (self._broker, self._postgres):
            if server is not None:
                server.stop(max(0.1, deadline - time.monotonic()))

    def _start_broker(self) -> None:
        if self._settings.mqtt_url:
            return
        filters = len(subscriptions(self._settings.mqtt_topics, Router(chosen(self._settings.senders))))
        broker = self._broker = EmbeddedBroker(
            self._folder, port=self._settings.mqtt_port, subscriptions=filters
        )
        broker.start(self._patience_s)
        broker.wait()
        self._urls["CITY_MQTT_URL"] = broker.url
        self._servers.append(Keeper("broker", broker.process, broker.start, self._display.report))

    def _start_database(self) -> None:
        if self._settings.database_url:
            return
        postgres = self._postgres = EmbeddedPostgres(self._folder)
        postgres.start()
        postgres.wait()
        self._owner_url = postgres.url
        self._urls["CITY_DATABASE_URL"] = postgres.services_url
        if not self._settings.disk_paths:  # its disk is one of ours: ingest stops before it is full
            self._urls["CITY_DISK_PATHS"] = str(postgres.place.data)
        self._servers.append(Keeper("postgres", postgres.process, postgres.restart, self._display.report))

    def _migrate(self) -> None:
        migrate.apply(self._owner_url, chunk_h=self._settings.chunk_hours)
        services.ensure(self._owner_url, self._urls["CITY_DATABASE_URL"])

    def _import_district(self) -> None:
        if self._settings.config is None:
            _generate_once(self._district)
        url = self._owner_url
        district.import_defaults(url, parse_rules=to_rows)
        report = district.import_folder(url, self._district, parse_rules=to_rows, check_rules=check_imported)
        for warning in report.warnings:
            self._display.report(warning)

    def _first_account(self) -> tuple[str, str] | None:
        secret = accounts.ensure_administrator(self._owner_url, self._settings.first_secret_lasts)
        return None if secret is None else (accounts.FIRST_ADMINISTRATOR, secret)

    def _start_ours(self, command: list[str], *, name: str = "") -> None:
        name = name or command[0]
        start = self._starter(command, name)
        self._ours.append(Keeper(name, start(), start, self._display.report))

    def _starter(self, command: list[str], name: str) -> Callable[[], Process]:
        """Starts one of our own commands, told where everything is."""
        environment = os.environ | {
            **dict.fromkeys(OWNERS, ""),  # whoever serves does not change the schema
            **self._urls,
            "CITY_DATA_DIR": str(self._folder),
            "CITY_CONFIG": str(self._district),
            "CITY_LOG_FORMAT": "json",
        }
        if self._settings.metrics_port:  # a door each: ingest has the port named, the centres those after it
            number = len(self._ours) if command[0] != "simulate" else 0
            environment["CITY_METRICS_PORT"] = str(self._settings.metrics_port + number)

        def start() -> Process:
            return Process(
                [sys.executable, "-P", "-m", "runtime.cli", *command],
                log=LogFile(self._folder / "log" / f"{name}.log"),
                environment=environment,
                stop_signal=signal.SIGTERM,
                parent_death=signal.SIGKILL,  # what is committed is safe; what is not was not acknowledged
            )

        return start

    def _tick(self) -> None:
        for keeper in (*self._servers, *self._ours):
            keeper.tick()

    def _wait_until_ready(self) -> None:
        """Return when /readyz answers 200; CityError when a process refuses its settings, or after 90 s."""
        deadline = time.monotonic() + READY_S
        while (answer := _not_ready(self._settings)) is not None:
            for keeper in self._ours:
                if keeper.process.exit_code() == FAULTY_SETTINGS:
                    said = (keeper.process.log.last_lines(1) or ["it said nothing"])[0]
                    raise CityError(f"{keeper.name}: {said.removeprefix('city: ')}")
            self._tick()
            if time.monotonic() > deadline:
                raise CityError(
                    f"not ready after {READY_S:g} s: {answer}; logs are in {self._folder / 'log'}"
                )
            time.sleep(0.1)


def _generate_once(folder: Path) -> None:
    """Write the demonstration district, whole or not at all."""
    if folder.exists():
        return
    with simulators_there.asked("the demonstration district (CITY_CONFIG is not set)"):
        from simulators import district as demonstration  # noqa: PLC0415  # left out of production's packages
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    demonstration.generate(fresh)
    fresh.rename(folder)


def _not_ready(settings: Settings) -> str | None:
    """None when /readyz answers 200, else what it says."""
    host = urlsplit(address(settings)).hostname or "127.0.0.1"
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(2000).decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"the centre does not answer ({error})"
    finally:
        connection.close()
    return None if answer.status == http.HTTPStatus.OK else f"/readyz says {answer.status}: {body}"


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Being asked to stop, by whatever signal, is one thing: KeyboardInterrupt in the main thread."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise KeyboardInterrupt

    earlier = {number: signal.signal(number, interrupt) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """While stopping, a second Ctrl-C (or the same one, passed on by make) must not leave half of it running."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
