"""`make bench`: the product beside the broker's ceiling and a stock client, in one run on this machine.

Everything is loopback and bounded: under six minutes, with `--quick` about one. Writes bench/results/*.json.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
from rich.console import Console
from rich.table import Table

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # run as a file, with the repository's packages

from bench import district
from bench.database import started_server
from bench.frames import Fleet, Template
from bench.load import ROOT, Load, Running, publish
from bench.procfs import cpu_seconds, rss_mb
from bench.product import Product
from bench.screen import Screen
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer
from tests.servers.processes import StartError

FLEET = Fleet(devices=1000, cells=100, water=100)
CROSSING = 997  # one reading in so many is above its limit; a different device each time
PAGED_RATE = 10_000  # messages a second, for latency and cost
HOLDS_WITHIN_S = 1.0  # a rate holds when all is stored this long after the last acknowledgement

Figures = dict[str, float | int | str | None]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """CPU seconds of the product's processes and of the database server."""

    ingest: float
    centre: float
    database: float

    def since(self, before: "Costs", messages: int) -> Figures:
        """What was spent since `before`, for each 100,000 messages."""
        each = 100_000 / messages
        application = self.ingest - before.ingest + self.centre - before.centre
        return {
            "ingest_cpu_s_per_100k": round((self.ingest - before.ingest) * each, 2),
            "application_cpu_s_per_100k": round(application * each, 2),
            "database_cpu_s_per_100k": round((self.database - before.database) * each, 2),
        }


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything."""

    flood: int  # messages
    paced_s: float
    packs: int
    crowd: int  # devices, for memory
    tries: int  # rates tried for the sustained one


FULL = Size(flood=600_000, paced_s=20, packs=10_000, crowd=100_000, tries=6)
QUICK = Size(flood=100_000, paced_s=6, packs=1_500, crowd=100_000, tries=2)


class Bench:
    """One run: a database server and what was found so far."""

    def __init__(self, server: PostgresServer, folder: Path, size: Size, console: Console) -> None:
        """`folder` takes logs and districts."""
        self.server, self.folder, self.size, self.console = server, folder, size, console
        self.figures: dict[str, Figures] = {}
        self.machine = _machine()

    def run(self, chosen: list[str]) -> None:
        """The cases in order; one that fails is named and does not stop the others."""
        cases: dict[str, Callable[[], Figures]] = {
            "raw": lambda: self.subscriber("raw"),
            "paho": lambda: self.subscriber("paho"),
            "flood": self.flood,
            "sustained": self.sustained,
            "paced": self.paced,
            "packs": self.packs,
            "crowd": self.crowd,
        }
        for name, case in cases.items():
            if chosen and name not in chosen:
                continue
            with self.console.status(name):
                try:
                    self.figures[name] = case()
                except (StartError, RuntimeError, OSError, psycopg.Error) as error:
                    self.figures[name] = {"failed": str(error)}
                    self.console.print(f"{name}: {error}")

    def subscriber(self, kind: str) -> Figures:
        """Publisher flooding through mosquitto to a subscriber that only acknowledges."""
        total = self.size.flood // (1 if kind == "raw" else 3)
        template = Template(Fleet(devices=1, cells=1))
        with _broker() as broker:
            reader = Running(
                "bench.subscribers",
                kind,
                *("--port", str(broker.port), "--total", str(total)),
                *("--frame-length", str(template.frames.shape[1]), "--id-at", str(template.packet_id_at)),
            )
            reader.wait_line()
            publisher = publish(broker.port, Load(fleet=FLEET, total=total))
            publisher.result(120)
            result = reader.result(120)
        return {"messages": total, "per_second": round(result["received"] / result["seconds"])}

    @contextmanager
    def product(self, fleet: Fleet, *, centre: bool = False) -> Iterator[tuple[Product, MosquittoServer]]:
        """The product on a new database and a new broker, listening."""
        name = self.server.create_database()
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        district.write(folder / "district", fleet)
        with _broker() as broker:
            product = Product(folder, self.server.url(name), broker.url)
            try:
                product.prepare(folder / "district")
                product.start_ingest()
                if centre:
                    product.start_centre()
                product.wait_listening()
                yield product, broker
            finally:
                product.stop()
                self.server.drop_database(name)

    def flood(self) -> Figures:
        """As fast as the broker takes it: from the first publish until the last is stored and decided."""
        total = self.size.flood
        with self.product(FLEET) as (product, broker):
            before = self._costs(product)
            began = time.monotonic()
            load = Load(fleet=FLEET, total=total, crossing_every=CROSSING)
            publish(broker.port, load).result(120)
            published = time.monotonic() - began
            seconds = product.wait_stored(load, 180) - began
            spent = self._costs(product).since(before, total)
            return {
                "messages": total,
                "per_second": round(total / seconds),
                "publishing_s": round(published, 1),
                **spent,
                "ingest_rss_mb": round(_ingest_rss(product)),
                "alarms": product.alarms(),
            }

    def sustained(self) -> Figures:
        """The highest steady rate tried at which everything is stored within a second of its publication."""
        flood = self.figures.get("flood", {}).get("per_second")
        if not isinstance(flood, int):
            raise RuntimeError("needs the flood's figure first")
        rate = flood * 1.15
        tried = {}
        for _ in range(self.size.tries):
            behind = self._behind(rate)
            tried[str(round(rate))] = round(behind, 2)
            if behind <= HOLDS_WITHIN_S:
                return {"per_second": round(rate), "behind_s": round(behind, 2), "tried": json.dumps(tried)}
            rate *= 0.85
        return {"per_second": None, "tried": json.dumps(tried)}

    def _behind(self, rate: float) -> float:
        """Seconds from the last acknowledgement to the publisher until everything is stored."""
        total = int(rate * min(self.size.paced_s, 8))
        with self.product(FLEET) as (product, broker):
            load = Load(fleet=FLEET, total=total, rate=rate, crossing_every=CROSSING)
            result = publish(broker.port, load).result(120)
            ended = time.monotonic()
            late = max(0.0, result["seconds"] - total / rate)  # the publisher itself did not keep up
            return product.wait_stored(load, 120) - ended + late

    def paced(self) -> Figures:
        """Latency to a screen, and cost, at a steady 10,000 messages a second."""
        total = int(PAGED_RATE * self.size.paced_s)
        with self.product(FLEET, centre=True) as (product, broker):
            screen = Screen(product.http_port)
            before = self._costs(product)
            load = Load(fleet=FLEET, total=total, rate=PAGED_RATE, crossing_every=CROSSING)
            publish(broker.port, load).result(120)
            product.wait_stored(load, 60)
            spent = self._costs(product).since(before, total)
            time.sleep(2)
            screen.close()
            figures: Figures = {
                "messages": total,
                "per_second": PAGED_RATE,
                **spent,
                "ingest_rss_mb": round(_ingest_rss(product)),
            }
            figures.update(self._latencies(product, screen))
            return figures

    @staticmethod
    def _latencies(product: Product, screen: Screen) -> Figures:
        """Milliseconds from a reading's own time until its alarm reached the screen, all and class A."""
        arrived = {key: at for kind, key, at in reversed(screen.arrivals) if kind == "alarm.raised"}
        all_ms, first_class, unseen = [], [], 0
        for alarm, raised_at, is_first in product.raised():
            if str(alarm) not in arrived:
                unseen += 1
                continue
            milliseconds = (arrived[str(alarm)] - raised_at) * 1000
            all_ms.append(milliseconds)
            if is_first:
                first_class.append(milliseconds)
        figures: Figures = {"alarms": len(all_ms) + unseen, "alarms_unseen_on_screen": unseen}
        for name, values in (("all", all_ms), ("class_a", first_class)):
            figures[f"{name}_p50_ms"] = round(float(np.percentile(values, 50)), 1) if values else None
            figures[f"{name}_p99_ms"] = round(float(np.percentile(values, 99)), 1) if values else None
        return figures

    def packs(self) -> Figures:
        """Messages of 100 readings each."""
        readings = self.size.packs * 100
        with self.product(FLEET) as (product, broker):
            before = self._costs(product)
            began = time.monotonic()
            load = Load(fleet=FLEET, total=self.size.packs, pack=100, window=400)
            publish(broker.port, load).result(120)
            seconds = product.wait_stored(load, 120) - began
            spent = self._costs(product).since(before, readings)
            return {
                "readings": readings,
                "per_second": round(readings / seconds),
                **spent,
                "ingest_rss_mb": round(_ingest_rss(product)),
            }

    def crowd(self) -> Figures:
        """Memory of ingest after two readings from each of 100,000 registered devices."""
        fleet = Fleet(devices=self.size.crowd, cells=2000)
        total = fleet.devices * 2
        with self.product(fleet) as (product, broker):
            load = Load(fleet=fleet, total=total, rate=15_000)
            publish(broker.port, load).result(120)
            product.wait_stored(load, 120)
            return {"devices": fleet.devices, "messages": total, "ingest_rss_mb": round(_ingest_rss(product))}

    def _costs(self, product: Product) -> Costs:
        """CPU seconds so far."""
        return Costs(
            ingest=cpu_seconds(product.ingest.pid) if product.ingest else 0.0,
            centre=cpu_seconds(product.centre.pid) if product.centre else 0.0,
            database=cpu_seconds(self.server.pid),
        )

    def report(self) -> Path:
        """Print the tables and write the JSON; returns its path."""
        ceiling, stock = (self.figures.get(name, {}).get("per_second") for name in ("raw", "paho"))
        rates = Table(
            "case", "messages/s", "of raw", "of paho", "CPU s: ingest/application/database", "RSS MB", "more"
        )
        for name, figures in self.figures.items():
            rate = figures.get("per_second")
            spent = [str(value) for key, value in figures.items() if key.endswith("_per_100k")]
            shown = ("per_second", "messages", "readings", "ingest_rss_mb")
            rest = [
                f"{key} {value}"
                for key, value in figures.items()
                if key not in shown and not key.endswith("_per_100k") and value is not None
            ]
            rates.add_row(
                name,
                f"{rate:,}" if isinstance(rate, int) else "",
                _ratio(rate, ceiling),
                _ratio(rate, stock),
                " / ".join(spent),
                str(figures.get("ingest_rss_mb", "")),
                "\n".join(rest),
            )
        self.console.print(rates)
        self.console.print(
            "CPU seconds are for 100,000 messages; load before the run: ", self.machine["load_before"]
        )
        results = ROOT / "bench" / "results"
        results.mkdir(exist_ok=True)
        path = results / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        path.write_text(json.dumps({"machine": self.machine, "figures": self.figures}, indent=1) + "\n")
        return path


def _ratio(rate: object, base: object) -> str:
    return f"{rate / base:.2f}" if isinstance(rate, int) and isinstance(base, int) else ""


def _machine() -> Figures:
    """What the figures belong to; the load, taken before the first case, says whether it had other work."""
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def _ingest_rss(product: Product) -> float:
    assert product.ingest is not None
    return rss_mb(product.ingest.pid)


@contextmanager
def _broker() -> Iterator[MosquittoServer]:
    broker = MosquittoServer()
    broker.start()
    try:
        yield broker
    finally:
        broker.close()


def main() -> int:
    """Command line: see --help; exit code 1 when a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, for a first look")
    parser.add_argument("--only", nargs="*", default=[], help="names of cases")
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL instead of TimescaleDB")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    given = parser.parse_args()
    console = Console(stderr=given.json, width=None if sys.stdout.isatty() else 130)
    folder = Path(tempfile.mkdtemp(prefix="city-bench-"))
    try:
        with started_server(plain=given.plain) as server:
            bench = Bench(server, folder, QUICK if given.quick else FULL, console)
            bench.run(given.only)
        path = bench.report()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(path.read_text())
    else:
        console.print(f"written to {path.relative_to(ROOT)}")
    return 1 if any("failed" in figures for figures in bench.figures.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
