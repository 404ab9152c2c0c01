"""What a broker loses of what it acknowledged, when it is killed with -9 while its subscriber is away.

`python bench/broker_loss.py` prints a table for docs/operations.md. Each row: a subscriber with a persistent
session goes away, readings are published at QoS 1 and all acknowledged, the broker is killed and started,
the subscriber comes back and counts.
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
    acknowledged: int
    lost: int
    per_second: int  # publishes acknowledged while the subscriber is away


def cases(autosave_s: int) -> list[tuple[str, str, Callable[[], Broker], float, bool]]:
    """(broker, setting, how to make it, rate or 0 for as fast as it goes, whether it is killed)."""
    short = (*UNLIMITED, *PERSISTENCE)
    saving = (*short, f"autosave_interval {autosave_s}")
    every = (*short, "autosave_on_changes true", "autosave_interval 1")
    return [
        (
            "mosquitto",
            "defaults (20 in flight, 1,000 queued), not killed",
            lambda: MosquittoServer(PERSISTENCE),
            0,
            False,
        ),
        ("mosquitto", "default autosave (1,800 s)", lambda: MosquittoServer(short), 0, True),
        ("mosquitto", f"autosave_interval {autosave_s}", lambda: MosquittoServer(saving), 400, True),
        ("mosquitto", "autosave_on_changes, each change", lambda: MosquittoServer(every), 0, True),
        ("NATS", "default sync_interval (2 min)", NatsServer, 0, True),
        ("NATS", "sync_interval always", lambda: NatsServer(sync_interval="always"), 0, True),
    ]


def measure(broker: Broker, messages: int, rate: float, *, kill: bool) -> tuple[int, int, float]:
    """(acknowledged, received after the return, seconds of publishing)."""
    away = _Subscriber(broker.port)
    away.close()
    load = Load(fleet=FLEET, total=messages, rate=rate, window=500)
    sent = publish(broker.port, load).result(120)
    if kill:
        broker.kill()
        broker.start()
    back = _Subscriber(broker.port)
    received = back.count(messages, quiet_s=12 if isinstance(broker, NatsServer) else 3)
    back.close()
    return int(sent["acknowledged"]), received, sent["seconds"]


class _Subscriber:
    """A persistent session on `city/#`, acknowledging everything."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), 10)
        self._link.sendall(connect("loss", clean=False, keepalive_s=0))
        self._rest = self._link.recv(4)[4:]
        self._link.sendall(subscribe("city/#", 1))
        self._link.settimeout(3)
        self._seen: set[bytes] = set()
        while not self._granted:
            self._take(self._link.recv(1 << 16))

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
    parser.add_argument(
        "--autosave", type=int, default=5, help="seconds, for the row with an interval of ours"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for name, setting, make, rate, kill in cases(given.autosave):
        broker = make()
        broker.start()
        try:
            acknowledged, received, seconds = measure(broker, given.messages, rate, kill=kill)
        finally:
            broker.close()
        lost = acknowledged - received
        rows.append(
            Row(
                broker=name,
                setting=setting,
                acknowledged=acknowledged,
                lost=lost,
                per_second=round(acknowledged / seconds),
            )
        )
    console = Console()
    if given.json:
        console.print_json(json.dumps([asdict(row) for row in rows]))
        return 0
    table = Table("broker", "setting", "acknowledged", "lost", "publishes/s")
    for row in rows:
        table.add_row(row.broker, row.setting, str(row.acknowledged), str(row.lost), str(row.per_second))
    console.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
