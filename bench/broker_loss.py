"""What a broker loses of what it acknowledged, when it is killed with -9 while its subscriber is away.

`python bench/broker_loss.py` prints a table for docs/operations.md. Each row: a subscriber with a persistent
session goes away, readings are published at QoS 1 and all acknowledged, the broker is killed (or stopped in order) and
started, the subscriber comes back and counts. `--only deployed` runs the rows of what is deployed.
"""

import argparse
import json
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # run as a file, with the repository's packages

from bench.brokers import EmbeddedNats, deployed_mosquitto
from bench.frames import DISCONNECT, Fleet, connect, subscribe
from bench.load import Load, publish
from tests.servers.mosquitto import UNLIMITED, MosquittoServer
from tests.servers.nats import NatsServer

Broker = MosquittoServer | NatsServer
FLEET = Fleet(devices=200, cells=20)
PERSISTENCE = ("persistence true", "persistence_location {folder}/")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One broker with one setting."""

    broker: str
    setting: str
    ended: str
    acknowledged: int
    lost: int
    per_second: int  # publishes acknowledged while the subscriber is away


@dataclass(frozen=True, kw_only=True)
class Case:
    """``messages`` at ``rate`` a second, 0 = as fast as they go; ``ended``: killed, stopped, or left running."""

    broker: str
    setting: str
    make: Callable[[], Broker]
    messages: int
    rate: float = 0
    ended: str = "killed"


def cases(messages: int, paced: float, autosave_s: int) -> list[Case]:
    """Every row; those with an interval publish for a third longer than it, so that one save falls into them."""
    short = (*UNLIMITED, *PERSISTENCE)
    saving = (*short, f"autosave_interval {autosave_s}")
    every = (*short, "autosave_on_changes true", "autosave_interval 1")
    deployed, synced = "deployed (autosave_interval 30)", "deployed (sync_interval 5 s)"
    rows: list[tuple[str, str, Callable[[], Broker], str, float]] = [  # the last: seconds of a paced load
        (
            "mosquitto",
            "defaults (20 in flight, 1,000 queued)",
            lambda: MosquittoServer(PERSISTENCE),
            "left running",
            0,
        ),
        ("mosquitto", "default autosave (1,800 s)", lambda: MosquittoServer(short), "killed", 0),
        (
            "mosquitto",
            f"autosave_interval {autosave_s}",
            lambda: MosquittoServer(saving),
            "killed",
            autosave_s * 4 / 3,
        ),
        ("mosquitto", "autosave_on_changes, each change", lambda: MosquittoServer(every), "killed", 0),
        ("mosquitto", deployed, deployed_mosquitto, "killed", 40),
        ("mosquitto", deployed, deployed_mosquitto, "stopped", 0),
        ("NATS", "default sync_interval (2 min)", NatsServer, "killed", 0),
        ("NATS", synced, EmbeddedNats, "killed", 0),
        ("NATS", synced, EmbeddedNats, "stopped", 0),
        ("NATS", "sync_interval always", lambda: NatsServer(sync_interval="always"), "killed", 0),
    ]
    return [
        Case(
            broker=broker,
            setting=setting,
            make=make,
            messages=int(paced * seconds) if seconds else messages,
            rate=paced if seconds else 0,
            ended=ended,
        )
        for broker, setting, make, ended, seconds in rows
    ]


def measure(broker: Broker, case: Case) -> Row:
    """Publish while the subscriber is away, end the broker, count what the subscriber gets when it is back."""
    away = Subscriber(broker.port)
    away.close()
    load = Load(fleet=FLEET, total=case.messages, rate=case.rate, window=500)
    sent = publish(broker.port, load).result(120 + case.messages / 100)
    if case.ended == "killed":
        broker.kill()
    elif case.ended == "stopped":
        broker.stop()
    if case.ended != "left running":
        broker.start()
    back = Subscriber(broker.port)
    received = back.count(case.messages, quiet_s=25 if isinstance(broker, NatsServer) else 5)
    back.close()
    acknowledged = int(sent["acknowledged"])
    return Row(
        broker=case.broker,
        setting=case.setting,
        ended=case.ended,
        acknowledged=acknowledged,
        lost=acknowledged - received,
        per_second=round(acknowledged / sent["seconds"]),
    )


class Subscriber:
    """A persistent session on `city/#`, acknowledging everything."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), 10)
        self._link.sendall(connect("loss", clean=False, keepalive_s=0))
        self._rest = self._link.recv(4)[4:]
        self._link.sendall(subscribe("city/#", 1))
        self._link.settimeout(3)
        self._seen: set[bytes] = set()
        while not self._granted:
            said = self._link.recv(1 << 16)
            if not said:
                self._link.close()
                raise ConnectionError("the broker ended the connection before it granted anything")
            self._take(said)

    _granted = False

    def _take(self, data: bytes) -> None:
        """Walk whole packets: note PUBLISH payloads, acknowledge them, keep the rest for later."""
        data = self._rest + data
        at = 0
        while len(data) - at >= 2:
            length, shift, head = 0, 0, at + 1
            while head < len(data):
                length |= (data[head] & 127) << shift
                shift, head = shift + 7, head + 1
                if not data[head - 1] & 128:
                    break
            if head + length > len(data):
                break
            body = data[head : head + length]
            if data[at] >> 4 == 3:
                topic = int.from_bytes(body[:2], "big")
                self._seen.add(body[: topic + 2] + body[topic + 4 :])
                self._link.sendall(b"\x40\x02" + body[topic + 2 : topic + 4])
            elif data[at] >> 4 == 9:
                self._granted = True
            at = head + length
        self._rest = data[at:]

    def count(self, wanted: int, quiet_s: float) -> int:
        """Different messages received until `wanted`, or until nothing came for `quiet_s`."""
        self._link.settimeout(quiet_s)
        try:
            while len(self._seen) < wanted:
                data = self._link.recv(1 << 16)
                if not data:
                    break
                self._take(data)
        except TimeoutError:
            pass
        return len(self._seen)

    def close(self) -> None:
        self._link.sendall(DISCONNECT)
        time.sleep(0.3)
        self._link.close()


def main() -> int:
    """Command line: see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--paced", type=float, default=400, help="a second, in the rows with an interval")
    parser.add_argument(
        "--autosave", type=int, default=5, help="seconds, for the row with an interval of ours"
    )
    parser.add_argument("--only", default="", help="rows whose setting or broker contains this")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for case in cases(given.messages, given.paced, given.autosave):
        if given.only not in f"{case.broker} {case.setting} {case.ended}":
            continue
        broker = case.make()
        broker.start()
        try:
            rows.append(measure(broker, case))
        finally:
            broker.close()
    console = Console()
    if given.json:
        console.print_json(json.dumps([asdict(row) for row in rows]))
        return 0
    table = Table("broker", "setting", "ended", "acknowledged", "lost", "publishes/s")
    for row in rows:
        table.add_row(
            row.broker, row.setting, row.ended, str(row.acknowledged), str(row.lost), str(row.per_second)
        )
    console.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
