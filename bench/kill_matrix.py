"""Kills under load, then the checker: nothing acknowledged may be lost, nothing stored twice.

`python bench/kill_matrix.py` runs the full matrix in about two and a half minutes: 5,000 messages a second at
QoS 1; ingest killed with -9 ten times, the broker restarted twice, PostgreSQL killed with -9 twice.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # run as a file, with the repository's packages

from bench import district
from bench.frames import Fleet
from bench.load import Load, Running, publish
from bench.product import Product
from tests.acceptance.checker import Verdict, check
from tests.servers.mosquitto import UNLIMITED, MosquittoServer
from tests.servers.postgres import PostgresServer

FLEET = Fleet(devices=1000, cells=100)
PERSISTENT = (*UNLIMITED, "persistence true", "persistence_location {folder}/")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long at which rate, and what happens on the way."""

    rate: float
    seconds: float
    ingest_kills: int
    broker_restarts: int
    database_kills: int

    def events(self) -> list[tuple[float, str]]:
        """(seconds after the start, what), evenly mixed over the run and ending before the load does."""
        names = ["ingest"] * self.ingest_kills
        for name, count in (("broker", self.broker_restarts), ("database", self.database_kills)):
            for i in range(count):
                names.insert((2 * i + 1) * len(names) // (2 * count), name)
        step = self.seconds * 0.85 / len(names)
        return [(step * (i + 0.7), name) for i, name in enumerate(names)]


FULL = Plan(rate=5000, seconds=120, ingest_kills=10, broker_restarts=2, database_kills=2)
SHORT = Plan(rate=2000, seconds=16, ingest_kills=1, broker_restarts=0, database_kills=1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened and what the checker says."""

    verdict: Verdict
    happened: dict[str, int]
    ingest_ended_by_itself: int  # it should outlive broker and database
    caught_up_s: float  # from the end of the load until everything is stored
    log_tail: str


class Matrix:
    """The product on servers that go away, and a publisher that does not give up."""

    def __init__(self, plan: Plan, server: PostgresServer, broker: MosquittoServer, folder: Path) -> None:
        """`server` and `broker` are started; `folder` is for logs."""
        self.plan, self.server, self.broker = plan, server, broker
        self.log = folder / "published.npz"
        self.database = server.create_database()
        self.product = Product(folder / "product", server.url(self.database), broker.url)
        self.ended_by_itself = 0
        district.write(folder / "district", FLEET)
        self.product.prepare(folder / "district")

    def run(self) -> Outcome:
        """Publish, kill, wait until all is stored, check."""
        self.product.start_ingest()
        self.product.wait_listening()
        total = int(self.plan.rate * self.plan.seconds)
        load = Load(fleet=FLEET, total=total, rate=self.plan.rate, crossing_every=997, survive=True)
        publisher = publish(self.broker.port, load, self.log)
        began = time.monotonic()
        happened = {"ingest": 0, "broker": 0, "database": 0}
        try:
            for at, name in self.plan.events():
                self._keep_running_until(began + at, publisher)
                getattr(self, f"_{name}")()
                happened[name] += 1
            while publisher.running():
                self._keep_running_until(time.monotonic() + 0.2, publisher)
            publisher.result(10)
        finally:
            if publisher.running():
                publisher.kill()
        ended = time.monotonic()
        stored_at = self._wait_stored(total, ended + 60)
        verdict = check(self.log, self.server.url(self.database))
        assert self.product.ingest is not None
        return Outcome(
            verdict=verdict,
            happened=happened,
            ingest_ended_by_itself=self.ended_by_itself,
            caught_up_s=round(stored_at - ended, 1),
            log_tail=self.product.ingest.log_tail(),
        )

    def _wait_stored(self, total: int, deadline: float) -> float:
        """Until everything is stored, or time is up: the checker says then what is missing."""
        while self.product.stored() < total and time.monotonic() < deadline:
            self._restart_if_ended()
            time.sleep(0.5)
        return time.monotonic()

    def _keep_running_until(self, moment: float, publisher: Running) -> None:
        while time.monotonic() < moment and publisher.running():
            self._restart_if_ended()
            time.sleep(0.05)

    def _restart_if_ended(self) -> None:
        """What compose or systemd does."""
        assert self.product.ingest is not None
        if not self.product.ingest.running():
            self.ended_by_itself += 1
            time.sleep(0.5)
            self.product.start_ingest()

    def _ingest(self) -> None:
        assert self.product.ingest is not None
        self.product.ingest.kill()
        self.product.start_ingest()

    def _broker(self) -> None:
        self.broker.stop()
        time.sleep(0.5)
        self.broker.start()

    def _database(self) -> None:
        self.server.kill()
        time.sleep(0.5)
        self.server.start()

    def close(self) -> None:
        """Stop the product; the servers are the caller's."""
        self.product.stop()


def run(plan: Plan, server: PostgresServer, folder: Path) -> Outcome:
    """One matrix on a started database server, with a broker of its own."""
    broker = MosquittoServer(PERSISTENT)
    broker.start()
    try:
        matrix = Matrix(plan, server, broker, folder)
        try:
            return matrix.run()
        finally:
            matrix.close()
    finally:
        broker.close()


def main() -> int:
    """Command line: see --help; exit code 1 when the checker finds a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one kill of ingest and one of the database")
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL instead of TimescaleDB")
    parser.add_argument("--keep", action="store_true", help="keep logs and say where they are")
    given = parser.parse_args()
    from bench.database import started_server  # noqa: PLC0415 - only the command line chooses a server

    folder = Path(tempfile.mkdtemp(prefix="city-kill-"))
    console = Console()
    with started_server(plain=given.plain) as server:
        outcome = run(SHORT if given.quick else FULL, server, folder)
    console.print_json(json.dumps({k: v for k, v in asdict(outcome).items() if k != "log_tail"}))
    if given.keep:
        console.print(f"logs in {folder}")
    else:
        shutil.rmtree(folder)
    if not outcome.verdict.faultless:
        console.print(outcome.log_tail)
    return 0 if outcome.verdict.faultless else 1


if __name__ == "__main__":
    raise SystemExit(main())
