"""An hour without ingest, or without a database, as fast as the messages go; then everything must be there.

`python bench/outage.py` publishes 3,600,000 readings (1,000 a second for an hour) at QoS 1 while what is `--away` is
away, says what the broker and ingest take in memory and on disk, brings it back and checks every (device, seq).
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # run as a file, with the repository's packages

from bench import district, procfs
from bench.brokers import EmbeddedNats, LogBroker, deployed_mosquitto
from bench.frames import Fleet
from bench.load import Load, publish
from bench.product import Product
from tests.acceptance.checker import Verdict, check
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer

FLEET = Fleet(devices=1000, cells=100)
Broker = MosquittoServer | NatsServer | LogBroker
BROKERS: dict[str, Callable[[], Broker]] = {
    "mosquitto": deployed_mosquitto,
    "nats": EmbeddedNats,
    "log": LogBroker,
}
AWAY = ("ingest", "database", "frozen database")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What it took and what the checker says."""

    broker: str
    away: str
    messages: int
    verdict: Verdict
    published_a_second: int
    outage_s: float
    broker_mb: float  # resident at the end of the outage
    broker_disk_mb: float
    ingest_mb: float  # resident before the outage and its most during it; 0 when it was away itself
    ingest_most_mb: float
    ingest_cpu_s: float  # spent during the outage
    caught_up_s: float
    stored_a_second: int


class Outage:
    """The product on a broker as deployed; one part of it goes and comes back."""

    def __init__(self, server: PostgresServer, broker: Broker, folder: Path) -> None:
        """``server`` and ``broker`` are started; ``folder`` is for logs."""
        self.server, self.broker, self.folder = server, broker, folder
        self._database = server.create_database()
        log = broker.settings if isinstance(broker, LogBroker) else {}
        self.product = Product(folder / "product", server.url(self._database), broker.url, **log)
        district.write(folder / "district", FLEET)
        self.product.prepare(folder / "district")
        if log:
            self.product.command("scale", "init", "--partitions", "4", "--replicas", "1")

    def run(self, away: str, messages: int, *, name: str, patience_s: float) -> Outcome:
        """Raises StartError when not everything is stored in time."""
        self.product.start_ingest()
        self.product.wait_listening()
        ingest = self.product.ingest
        assert ingest is not None
        before, spent = procfs.rss_mb(ingest.pid), procfs.cpu_seconds(ingest.pid)
        self._leave(away)
        began, most = time.monotonic(), before
        load = Load(fleet=FLEET, total=messages, window=2000)
        publisher = publish(self.broker.port, load, self.folder / "published.npz")
        while publisher.running():
            time.sleep(0.2)
            most = max(most, procfs.rss_mb(ingest.pid) if ingest.running() else 0.0)
        sent = publisher.result(10)
        outage_s = time.monotonic() - began
        burnt = procfs.cpu_seconds(ingest.pid) - spent if ingest.running() else 0.0
        broker_mb, disk_mb = procfs.rss_mb(self.broker.pid), size_mb(self.broker.folder)
        came_back = time.monotonic()
        self._return(away)
        stored_at = self.product.wait_stored(load, patience_s)
        return Outcome(
            broker=name,
            away=away,
            messages=messages,
            verdict=check(self.folder / "published.npz", self.server.url(self._database)),
            published_a_second=round(messages / sent["seconds"]),
            outage_s=round(outage_s, 1),
            broker_mb=round(broker_mb),
            broker_disk_mb=round(disk_mb),
            ingest_mb=0 if away == "ingest" else round(before),
            ingest_most_mb=0 if away == "ingest" else round(most),
            ingest_cpu_s=round(burnt, 1),
            caught_up_s=round(stored_at - came_back, 1),
            stored_a_second=round(messages / max(0.1, stored_at - came_back)),
        )

    def _leave(self, away: str) -> None:
        if away == "ingest":
            assert self.product.ingest is not None
            self.product.ingest.stop()
        elif away == "database":
            self.server.stop()
        else:
            self._freeze(signal.SIGSTOP)

    def _return(self, away: str) -> None:
        if away == "ingest":
            self.product.start_ingest()
        elif away == "database":
            self.server.start()
        else:
            self._freeze(signal.SIGCONT)

    def _freeze(self, number: signal.Signals) -> None:
        for pid in procfs.tree(self.server.pid):
            os.kill(pid, number)

    def close(self) -> None:
        """Stop the product; the servers are the caller's."""
        self.product.stop()
        self.server.drop_database(self._database)


def size_mb(folder: Path) -> float:
    """Bytes of all files below, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def run(
    server: PostgresServer, folder: Path, *, broker: str, away: str, messages: int, patience_s: float
) -> Outcome:
    """One outage on a started database server, with a broker of its own."""
    made = BROKERS[broker]()
    made.start()
    try:
        outage = Outage(server, made, folder)
        try:
            return outage.run(away, messages, name=broker, patience_s=patience_s)
        finally:
            outage.close()
    finally:
        made.close()


def main() -> int:
    """Command line: see --help; exit code 1 when the checker finds a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=tuple(BROKERS), default="mosquitto")
    parser.add_argument("--away", choices=AWAY, default="ingest")
    parser.add_argument("--messages", type=int, default=3_600_000)
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL instead of TimescaleDB")
    given = parser.parse_args()
    from bench.database import started_server  # noqa: PLC0415 - only the command line chooses a server

    folder = Path(tempfile.mkdtemp(prefix="city-outage-"))
    try:
        with started_server(plain=given.plain) as server:
            outcome = run(
                server,
                folder,
                broker=given.broker,
                away=given.away,
                messages=given.messages,
                patience_s=60 + given.messages / 2000,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Console().print_json(json.dumps(asdict(outcome)))
    return 0 if outcome.verdict.faultless else 1


if __name__ == "__main__":
    raise SystemExit(main())
