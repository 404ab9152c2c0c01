"""Three RabbitMQ nodes, three workers, one database, faults under load: what is lost, how long anything stands still.

    .venv/bin/python bench/scale.py                               the whole plan, about four minutes
    .venv/bin/python bench/scale.py --kills 22                    a worker every three seconds for a minute
    .venv/bin/python bench/scale.py --nodes 1 --workers 2 --partitions 4 --devices 40 --rate 100 --seconds 5

Each node is a machine of its own (a network namespace), whose cable can be pulled or which can be parted from the
other nodes alone. Acknowledged = stored is compared as sets of (device, seq); alarms and rule state with one pipeline's
that is given the same messages in the log's order. What was sent again and stands behind newer messages of its device
is history (docs/rules.md), whose episodes end with their batch: such alarms are compared and counted apart. A gap is
the time between two commits of a partition while a message of it was due. Needs root and what tests/servers/rabbitmq.py
needs.
"""

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import structlog

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.scale_load import CELLS, Key, Publisher
from bench.scale_log import by_fault, ends, feed, outcome, overtaken, stored, whole_log
from city.district import import_defaults
from city.storage import migrate
from rules.definitions import to_rows
from tests.servers.city_process import city_environment, start_city
from tests.servers.machines import Machines
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import ServerProcess, listening
from tests.servers.rabbitmq import RabbitCluster

DRAIN_S = 60
STOPPED_S = 10
KILL_EVERY_S = 3
RESULT = Path(__file__).parent / "results" / "scale.json"


class Plan:
    """The machines of a run, and the faults by name."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.postgres = PostgresServer(wheel_binaries(), settings={"track_commit_timestamp": "on"})
        self.machines = Machines(options.nodes)
        self.cluster = RabbitCluster(options.nodes, machines=self.machines)
        self.workers: list[ServerProcess] = []
        self.gone: list[ServerProcess] = []
        self.victim = 0  # the node that the last fault befell
        self.faults: dict[str, Callable[[], None]] = {
            "nothing": lambda: None,
            "worker killed": self.kill_worker,
            "worker added": self.work,
            "node killed": self.kill_node,
            "node back": lambda: self.cluster.launch(self.cluster.nodes[self.victim]),
            "node parted from nodes": lambda: self.machines.part(self.leader()),
            "node joined": lambda: self.machines.join(self.victim),
            "node's cable pulled": lambda: self.machines.pull(self.leader()),
            "node's cable in": lambda: self.machines.plug(self.victim),
            "worker stopped": lambda: os.kill(self.workers[0].pid, signal.SIGSTOP),
            "worker goes on": lambda: os.kill(self.workers[0].pid, signal.SIGCONT),
            "database crashed": self.crash_database,
        }

    def start(self) -> None:
        """Everything, up to workers that have their shares."""
        self.postgres.start()
        self.cluster.start()
        self.url = self.database()
        made = subprocess.run(
            [
                *(sys.executable, "-m", "runtime.cli", "scale", "init"),
                *("--partitions", str(self.options.partitions), "--replicas", str(self.options.nodes)),
            ],
            env=city_environment(database_url=self.url, stream_admin_url=self.cluster.nodes[0].admin_url),
            check=False,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        for _ in range(self.options.workers):
            self.work()
        wanted, deadline = self.options.partitions + 1, time.monotonic() + 2 * DRAIN_S
        while self.rows("SELECT count(*) FROM partition_state WHERE epoch > 0")[0][0] < wanted:
            assert time.monotonic() < deadline, f"workers own too little: {self.workers[0].log_tail()}"
            time.sleep(0.2)

    def close(self) -> None:
        """Everything."""
        for worker in self.workers:
            worker.kill()
        self.cluster.close()
        self.machines.close()
        self.postgres.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Asked of the run's database."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql.encode()).fetchall()

    def work(self) -> None:
        """One worker more."""
        self.workers.append(start_city("ingest", database_url=self.url, stream_url=self.cluster.stream_url))

    def leader(self) -> int:
        """The node that leads most partitions: the next victim."""
        for node in self.cluster.nodes:
            with suppress(httpx.HTTPError):
                queues = httpx.get(f"{node.admin_url}/api/queues?columns=name,leader", timeout=5).json()
                leads = Counter(str(queue.get("leader")) for queue in queues)
                print(dict(leads), flush=True)
                self.victim = max(
                    range(len(self.cluster.nodes)), key=lambda at: leads[self.cluster.nodes[at].name]
                )
                break
        return self.victim

    def kill_node(self) -> None:
        """The one that leads most."""
        self.cluster.nodes[self.leader()].kill()

    def kill_worker(self) -> None:
        """The one that has worked longest."""
        self.end(0)

    def end(self, at: int) -> None:
        """A worker's process, whose log stays."""
        self.gone.append(self.workers.pop(at))
        self.gone[-1].kill()

    def crash_database(self) -> None:
        """Killed, and started again."""
        self.postgres.kill()
        self.postgres.start()

    def database(self) -> str:
        """A new one with the default rules and the cells."""
        url = self.postgres.url(self.postgres.create_database())
        migrate.apply(url)
        import_defaults(url, parse_rules=to_rows)
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO areas (layer, code, name) SELECT 'cell', 'c' || n, 'c' || n FROM generate_series(0, %s) n",
                [CELLS - 1],
            )
        return url


def main() -> int:
    """0 when nothing is lost or doubled and the state is exact."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=32)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=400, help="messages a second")
    parser.add_argument(
        "--connections",
        type=int,
        default=32,
        help="MQTT connections that share the devices; 32: two cells each, 4: each speaks to every partition",
    )
    parser.add_argument("--seconds", type=float, default=12, help="between two faults")
    parser.add_argument(
        "--kills", type=int, default=0, help="kill so many workers, one every three seconds, instead"
    )
    parser.add_argument("--only", nargs="*", default=None, help="faults by name")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures go")
    parser.add_argument("--logs", type=Path, default=None, help="keep what nodes and workers wrote here")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("ended from outside")
    )  # machines are taken down then too
    plan = Plan(options)
    try:
        plan.start()
        return run(plan, options)
    finally:
        if options.logs:
            keep_logs(plan, options.logs)
        plan.close()


def run(plan: Plan, options: argparse.Namespace) -> int:
    """Load, faults, and the comparison."""
    publishers = [
        Publisher(
            plan.cluster.nodes,
            range(at, options.devices, options.connections),
            options.rate / options.connections,
        )
        for at in range(options.connections)
    ]
    for publisher in publishers:
        publisher.start()
    time.sleep(5)
    began = happen(plan, options)
    for publisher in publishers:
        publisher.ended.set()
    for publisher in publishers:
        publisher.join(DRAIN_S)
    print("published; waiting until all is stored", flush=True)
    sent = {key: at for publisher in publishers for key, at in publisher.due_at.items()}
    acknowledged = set().union(*(publisher.acknowledged for publisher in publishers))
    found, deadline = stored(plan.url), time.monotonic() + DRAIN_S
    while acknowledged - {(code, seq) for _, code, seq, _ in found} and time.monotonic() < deadline:
        time.sleep(1)
        found = stored(plan.url)
    figures = compared(plan, sent, acknowledged, found) | {
        "resent": sum(publisher.resent for publisher in publishers),
        "faults": by_fault(began, sent, found),
    }
    print(json.dumps(figures, indent=2))
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return int(
        bool(figures["lost"] or figures["doubled"] or figures["strange"] or not figures["state_exact"])
    )


def happen(plan: Plan, options: argparse.Namespace) -> list[tuple[float, str]]:
    """The faults one after the other; when each began."""
    began: list[tuple[float, str]] = []
    if options.kills:
        began.append((time.time(), f"{options.kills} kills"))
        for _ in range(options.kills):
            plan.work()
            plan.end(random.randrange(len(plan.workers) - 1))
            time.sleep(KILL_EVERY_S)
        return began
    for name in options.only or list(plan.faults):
        began.append((time.time(), name))
        plan.faults[name]()
        print(name, flush=True)
        time.sleep(STOPPED_S if name == "worker stopped" else options.seconds)
    return began


def compared(
    plan: Plan, sent: dict[Key, float], acknowledged: set[Key], found: list[tuple[int, str, int, float]]
) -> dict[str, Any]:
    """What is stored beside what was acknowledged, and what the rules made of it beside one pipeline's."""
    times = Counter((code, seq) for _, code, seq, _ in found)
    alive = next(node for node in plan.cluster.nodes if listening(node.stream, node.host))
    log = whole_log(alive, ends(plan.url))
    alone = plan.database()
    feed(alone, log)
    expected, here = outcome(alone), outcome(plan.url)
    late = overtaken(log)
    states, alarms = (differing(a, b) for a, b in zip(expected, here, strict=True))
    exact = [pair for pair in alarms if pair[1][1] not in late]
    return {
        "sent": len(sent),
        "acknowledged": len(acknowledged),
        "stored": len(times),
        "lost": len(acknowledged - times.keys()),
        "doubled": sum(count - 1 for count in times.values()),
        "strange": len(times.keys() - sent.keys()),
        "records": len(log),
        "state_exact": not states and not exact,
        "alarms": len(expected[1]),
        "overtaken_devices": len(late),
        "overtaken_alarms_different": len(alarms) - len(exact),
        "different": [str(pair)[:300] for pair in (*states, *exact, *alarms)][:10],
    }


def differing(expected: list[Any], here: list[Any]) -> list[tuple[str, Any]]:
    """What one has and the other has not."""
    return [("only alone", one) for one in expected if one not in here] + [
        ("only here", one) for one in here if one not in expected
    ]


def keep_logs(plan: Plan, folder: Path) -> None:
    """For whoever looks for the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    for process in [*plan.gone, *plan.workers]:
        (folder / f"worker-{process.pid}.log").write_bytes(process.log.read_bytes())
    for node in plan.cluster.nodes:
        (folder / f"{node.name}.log").write_bytes(node.log.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
