"""Ten million messages through broker, ingest and database with screens looking on: does anything grow?

`python bench/soak.py` (`make soak`) publishes in portions, each as fast as it is taken, and after each looks at every
process: resident memory, open files, threads, and at the database's connections. Readings are cut as they come in, as
retention does in years, so the disk stays where it is. Exit code 1 when something grows or is missing.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
from rich.console import Console

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # run as a file, with the repository's packages

from bench import district, procfs
from bench.brokers import deployed_mosquitto
from bench.frames import Fleet
from bench.load import Load, publish
from bench.product import Product
from bench.screen_clients import Flapping, Follower
from bench.slope import grows, growth
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer

FLEET = Fleet(devices=1000, cells=100)
ROWS_KEPT = 1_000_000  # then the readings are cut
# What counts as growth over a whole run: Python's own memory breathes, a pool opens a connection more.
LEAST = {"rss_mb": 10.0, "files": 3.0, "threads": 2.0, "connections": 3.0}
SHARE = {"rss_mb": 0.05}

Samples = dict[str, list[tuple[float, float]]]  # name of a figure -> (messages so far, value)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was stored, and each figure's first settled and last value; ``growing`` names those that grow."""

    messages: int
    stored: int
    seconds: float
    figures: dict[str, tuple[float, float]]
    growth: dict[str, float]
    growing: list[str] = field(default_factory=list)


class Soak:
    """The product on a broker as deployed, portion after portion."""

    def __init__(self, server: PostgresServer, broker: MosquittoServer, folder: Path) -> None:
        """``server`` and ``broker`` are started; ``folder`` is for logs."""
        self._server, self._broker = server, broker
        self._database = server.create_database()
        self._url = server.url(self._database)
        self.product = Product(folder / "product", self._url, broker.url)
        district.write(folder / "district", FLEET)
        self.product.prepare(folder / "district")
        self.samples: Samples = {}
        self._cut = 0

    def run(self, messages: int, portion: int, screens: int) -> Outcome:
        """Raises StartError when a portion is not stored in time."""
        self.product.start_ingest()
        self.product.start_centre()
        self.product.wait_listening()
        began, sent, in_table = time.monotonic(), 0, 0
        with looked_at(f"ws://127.0.0.1:{self.product.http_port}/ws/screen", screens):
            while sent < messages:
                load = Load(fleet=FLEET, total=min(portion, messages - sent))
                publish(self._broker.port, load).result(600)
                sent, in_table = sent + load.total, in_table + load.total
                self._wait(in_table, 600)
                self._sample(sent)
                if in_table >= ROWS_KEPT:
                    self._cut_readings()
                    in_table = 0
        return Outcome(
            messages=sent,
            stored=self._cut + self.product.stored(),
            seconds=round(time.monotonic() - began, 1),
            figures={name: (found[len(found) // 3][1], found[-1][1]) for name, found in self.samples.items()},
            growth={name: round(growth(found), 1) for name, found in self.samples.items()},
            growing=[name for name, found in self.samples.items() if self._grows(name, found)],
        )

    def _wait(self, rows: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (stored := self.product.stored()) < rows:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{stored} of {rows} stored after {seconds:.0f} s")
            time.sleep(0.2)

    def _cut_readings(self) -> None:
        """All but those of the probe would go one by one; a table is cut at once."""
        self._cut += self.product.stored()
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("TRUNCATE observations")

    def _sample(self, sent: int) -> None:
        assert self.product.ingest is not None
        assert self.product.centre is not None
        for name, pid in (
            ("ingest", self.product.ingest.pid),
            ("centre", self.product.centre.pid),
            ("broker", self._broker.pid),
        ):
            for figure, look in _LOOKS.items():
                self.samples.setdefault(f"{name} {figure}", []).append((sent, look(pid)))
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
        assert row is not None
        self.samples.setdefault("database connections", []).append((sent, float(row[0])))

    @staticmethod
    def _grows(name: str, found: list[tuple[float, float]]) -> bool:
        figure = name.partition(" ")[2]
        return grows(found, least=LEAST[figure], share=SHARE.get(figure, 0.0))

    def close(self) -> None:
        """Stop the product; the servers are the caller's."""
        self.product.stop()
        self._server.drop_database(self._database)


_LOOKS: dict[str, Callable[[int], float]] = {
    "rss_mb": procfs.rss_mb,
    "files": procfs.open_files,
    "threads": procfs.threads,
}


@contextmanager
def looked_at(address: str, screens: int) -> Iterator[None]:
    """So many screens meanwhile, half of which come and go all the time."""
    loop = asyncio.new_event_loop()
    every = [Flapping(address, n) if n % 2 else Follower(address) for n in range(screens)]

    async def sit() -> None:
        await asyncio.gather(*(one.run() for one in every))

    thread = threading.Thread(target=lambda: loop.run_until_complete(sit()), name="screens")
    thread.start()
    try:
        yield
    finally:
        for one in every:
            loop.call_soon_threadsafe(one.leave)
        thread.join()
        loop.close()


def run(server: PostgresServer, folder: Path, *, messages: int, portion: int, screens: int) -> Outcome:
    """One soak on a started database server, with a broker of its own."""
    broker = deployed_mosquitto()
    broker.start()
    try:
        soak = Soak(server, broker, folder)
        try:
            return soak.run(messages, portion, screens)
        finally:
            soak.close()
    finally:
        broker.close()


def main() -> int:
    """Command line: see --help; exit code 1 when something grows or is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000, help="50000000 on demand")
    parser.add_argument("--portion", type=int, default=250_000)
    parser.add_argument("--screens", type=int, default=20)
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL instead of TimescaleDB")
    given = parser.parse_args()
    from bench.database import started_server  # noqa: PLC0415 - only the command line chooses a server

    folder = Path(tempfile.mkdtemp(prefix="city-soak-"))
    try:
        with started_server(plain=given.plain) as server:
            outcome = run(
                server, folder, messages=given.messages, portion=given.portion, screens=given.screens
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Console().print_json(json.dumps(asdict(outcome)))
    return 1 if outcome.growing or outcome.stored != outcome.messages else 0


if __name__ == "__main__":
    raise SystemExit(main())
