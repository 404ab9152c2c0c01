"""How much one, two and three workers store from the log in partitions, and what each process costs meanwhile.

    .venv/bin/python bench/scale_rate.py                         replay and live, about five minutes
    .venv/bin/python bench/scale_rate.py --only replay --messages 100000 --workers 1 2

*Replay*: a log already full, a new database for each number of workers. *Live*: a publisher as fast as RabbitMQ takes
it. The cores are shared with publisher, RabbitMQ and PostgreSQL, so beside messages a second stand the seconds of
processor of each for 10,000 messages: what a machine of its own would have to give. Two ceilings of the same run:
reading the streams and throwing everything away, and one pipeline that commits the same messages without any broker.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.frames import Fleet
from bench.load import Load, publish
from bench.procfs import cpu_seconds
from city.district import import_defaults
from city.partitions import UNROUTED, stream_of
from city.storage import migrate
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from ingest.sources.stream_line import ChunkFrame, LogClient
from ingest.sources.stream_message import read
from rules.definitions import to_rows
from tests.servers.city_process import city_environment, start_city
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import ServerProcess
from tests.servers.rabbitmq import PASSWORD, USER, RabbitCluster

PATIENCE_S = 300
CREDITS = 50
KEPT = 50_000  # messages that the pipeline alone is given
PORTION = 5_000  # in a transaction, as CITY_BATCH_SIZE has it


@dataclass(frozen=True, kw_only=True)
class Run:
    """So many messages stored in so many seconds, and processor seconds by process."""

    messages: int
    seconds: float
    cpu: dict[str, float]

    def figures(self) -> dict[str, Any]:
        """As printed."""
        return {
            "messages": self.messages,
            "per_second": round(self.messages / self.seconds),
            "cpu_s_per_10k": {name: round(s / self.messages * 10_000, 3) for name, s in self.cpu.items()},
            "cores_used": round(sum(self.cpu.values()) / self.seconds, 2),
        }


class Ground:
    """RabbitMQ with the declared log, a database server, and the load's cells."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.fleet = Fleet(devices=options.devices, cells=options.cells)
        self.postgres = PostgresServer(wheel_binaries())
        self.cluster = RabbitCluster(options.nodes)
        self.partitions = [*range(options.partitions), UNROUTED]

    def start(self) -> None:
        """Both servers, and the streams."""
        self.postgres.start()
        self.cluster.start()
        self.template = self._template()
        url = self.database()
        made = subprocess.run(
            [
                *(sys.executable, "-m", "runtime.cli", "scale", "init"),
                *("--partitions", str(self.options.partitions), "--replicas", str(self.options.nodes)),
            ],
            env=city_environment(database_url=url, stream_admin_url=self.cluster.nodes[0].admin_url),
            check=False,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr

    def stop(self) -> None:
        """Everything."""
        self.cluster.close()
        self.postgres.close()

    def database(self, ends: dict[int, int] | None = None) -> str:
        """A new one where the devices are registered; read on from ``ends`` where they are given."""
        url = self.postgres.url(self.postgres.create_database(template=self.template))
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO partition_state (partition, next_offset) VALUES (%s, %s)",
                list((ends or {}).items()),
            )
        return url

    def _template(self) -> str:
        name = self.postgres.create_database()
        url = self.postgres.url(name)
        migrate.apply(url)
        import_defaults(url, parse_rules=to_rows)
        fleet = self.fleet
        cells = sorted({fleet.cell(number) for number in range(fleet.devices)})
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO areas (layer, code, name) VALUES ('cell', %s, 'cell')",
                [(cell,) for cell in cells],
            )
            cursor.executemany(
                "INSERT INTO devices (code, kind, cell_id) SELECT %s, 'smoke', id FROM areas WHERE code = %s",
                [(fleet.code(number), fleet.cell(number)) for number in range(fleet.devices)],
            )
        self.postgres.freeze(name)
        return name

    async def ends(self) -> dict[int, int]:
        """Where each partition ends."""
        client = await opened(self.cluster.nodes[0].stream)
        found = {partition: await client.end_of(stream_of(partition)) for partition in self.partitions}
        await client.close()
        return found

    def processes(self, workers: list[ServerProcess]) -> dict[str, int]:
        """Names of ours and their ids."""
        nodes = {f"rabbitmq {number}": node.pid for number, node in enumerate(self.cluster.nodes, 1)}
        ours = {f"worker {number}": worker.pid for number, worker in enumerate(workers, 1)}
        return {**nodes, **ours, "database": self.postgres.pid}


async def opened(port: int) -> LogClient:
    """A connection to a node."""
    client = LogClient("127.0.0.1", port, frame_max=4 * 1024 * 1024, heartbeat=60)
    await client.start()
    await client.authenticate("/", USER, PASSWORD)
    return client


async def raw_read(ground: Ground, total: int) -> tuple[Run, list[bytes]]:
    """The ceiling of reading: every chunk of every stream, nothing done with it. And some of the records."""
    client = await opened(ground.cluster.nodes[0].stream)
    kept: list[bytes] = []
    seen = 0
    done = asyncio.Event()

    async def take(frame: ChunkFrame) -> None:
        nonlocal seen
        seen += len(frame.records)
        if len(kept) < KEPT:
            kept.extend(frame.records)
        await client.credit(frame.subscription_id, 1)
        if seen >= total:
            done.set()

    client.add_handler(ChunkFrame, take, name="0")
    began, cpu = time.monotonic(), time.process_time()
    for number, partition in enumerate(ground.partitions):
        await client.subscribe(stream_of(partition), number, initial_credit=CREDITS)  # from its first record
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    run = Run(messages=seen, seconds=time.monotonic() - began, cpu={"reader": time.process_time() - cpu})
    await client.close()
    return run, kept[:KEPT]


def pipeline_alone(ground: Ground, records: list[bytes]) -> Run:
    """The ceiling of storing: one machine's pipeline, given these records without a broker."""
    with psycopg.connect(ground.database(), autocommit=True) as connection:
        pipeline = Pipeline(connection, max_unclaimed=100, retention_days=30)
        processes = {"pipeline": os.getpid(), "database": ground.postgres.pid}
        began = time.monotonic()
        before = {"pipeline": time.process_time(), "database": cpu_seconds(processes["database"])}
        for begin in range(0, len(records), PORTION):
            pairs = [read(record) for record in records[begin : begin + PORTION]]
            pipeline.process(
                [
                    Delivery(
                        topics=[topic for topic, _ in pairs],
                        payloads=[payload for _, payload in pairs],
                        packet_ids=[0] * len(pairs),
                        received_us=time.time_ns() // 1000,
                        generation=0,
                    )
                ]
            )
        after = {"pipeline": time.process_time(), "database": cpu_seconds(processes["database"])}
        seconds = time.monotonic() - began
    return Run(
        messages=len(records), seconds=seconds, cpu={name: after[name] - before[name] for name in before}
    )


def stored(connection: "psycopg.Connection[tuple[Any, ...]]") -> int:
    """Records behind the stored offsets."""
    row = connection.execute("SELECT coalesce(sum(next_offset), 0)::bigint FROM partition_state").fetchone()
    assert row is not None
    return int(row[0])


def measured(ground: Ground, url: str, workers: int, target: int, load: Callable[[], Any] | None) -> Run:
    """From the first commit (with ``load``: from its start) to the last; ``load`` begins when all is owned."""
    started = [
        start_city("ingest", database_url=url, stream_url=ground.cluster.stream_url) for _ in range(workers)
    ]
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            begin = stored(connection)
            if load is None:
                wait(lambda: stored(connection) > begin, started)
            else:
                sql = "SELECT count(*) FROM partition_state WHERE epoch > 0"
                wait(lambda: connection.execute(sql).fetchall()[0][0] == len(ground.partitions), started)
            processes = ground.processes(started)
            running = load() if load is not None else None
            if running is not None:
                processes["publisher"] = running.pid
            first, began = stored(connection), time.monotonic()
            before = {name: cpu_seconds(pid) for name, pid in processes.items()}
            after = before
            seen = first
            while seen < target:
                assert time.monotonic() - began < PATIENCE_S, f"stored {seen} of {target}"
                time.sleep(0.05)
                seen = stored(connection)
                now = {name: cpu_seconds(pid) for name, pid in processes.items() if alive(pid)}
                after = {**after, **now}
            seconds = time.monotonic() - began
            if running is not None:
                running.result(PATIENCE_S)
        return Run(
            messages=seen - first,
            seconds=seconds,
            cpu={name: after[name] - before[name] for name in processes},
        )
    finally:
        for worker in started:
            worker.kill()


def alive(pid: int) -> bool:
    """Whether it has not ended yet."""
    return Path(f"/proc/{pid}").exists()


def wait(until: Callable[[], bool], workers: list[ServerProcess]) -> None:
    """Until it holds, while all workers run."""
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline, [worker.log_tail() for worker in workers]
        assert all(worker.running() for worker in workers), [worker.log_tail() for worker in workers]
        time.sleep(0.02)


def main() -> None:
    """Prints and keeps the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=300_000, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--only", choices=["replay", "live"], default=None)
    options = parser.parse_args()
    ground = Ground(options)
    figures: dict[str, Any] = {"options": vars(options), "load_before": os.getloadavg()}
    try:
        ground.start()
        load = Load(fleet=ground.fleet, total=options.messages, connections=options.connections)
        port = urlsplit(ground.cluster.url).port
        assert port is not None
        began = time.monotonic()
        publish(port, load).result(PATIENCE_S)
        figures["fill_per_second"] = round(options.messages / (time.monotonic() - began))
        raw, records = asyncio.run(raw_read(ground, options.messages))
        show(figures, "read and thrown away", raw)
        show(figures, "one pipeline without a broker", pipeline_alone(ground, records))
        for workers in options.workers if options.only != "live" else ():
            run = measured(ground, ground.database(), workers, options.messages, None)
            show(figures, f"replay, {workers} workers", run)
        for workers in options.workers if options.only != "replay" else ():
            ends = asyncio.run(ground.ends())
            target = sum(ends.values()) + options.messages
            url = ground.database(ends)
            run = measured(ground, url, workers, target, lambda: publish(port, load))
            show(figures, f"live, {workers} workers", run)
    finally:
        ground.stop()
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "scale_rate.json").write_text(json.dumps(figures, indent=2) + "\n")


def show(figures: dict[str, Any], name: str, run: Run) -> None:
    """Keep it and print it."""
    figures[name] = run.figures()
    print(f"{name}: {json.dumps(figures[name])}", flush=True)


if __name__ == "__main__":
    main()
