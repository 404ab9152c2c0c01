"""A rule changed again and again under load: when ingest follows, and whether anything is lost, doubled or misjudged.

`python -m bench.rule_change` publishes 10,000 messages a second at QoS 1 for a minute through mosquitto into
`city ingest` on TimescaleDB, a crossing among every hundred, and puts another version of `smoke-high` in force every
ten seconds: its limit is by turns beyond and within reach of the crossings. Then: acknowledged = stored, nothing
twice; each crossing has exactly one alarm of the version in force, or none where the limit was out of reach. Between
activation and uptake either version may have decided; that time is the uptake.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

from bench import district
from bench.database import started_server
from bench.frames import Fleet
from bench.load import Load, Running, publish
from bench.product import Product
from city.storage import rules
from tests.acceptance.checker import Verdict, check
from tests.servers.mosquitto import UNLIMITED, MosquittoServer
from tests.servers.postgres import PostgresServer

FLEET = Fleet(devices=1000, cells=100)
RULE = "smoke-high"
WITHIN_REACH, BEYOND = 70.0, 95.0  # the load's crossings are at 90.0
CROSSING_EVERY = 97
UPTAKE_S = 5.0  # what is promised


@dataclass(frozen=True, kw_only=True)
class Change:
    """A version put in force. ``uptake_s`` None = never seen to decide."""

    version: int
    raise_at: float
    at: float  # seconds since 1970
    uptake_s: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Counts of what must be nothing, and of what they are taken from; ``seconds`` is the load's own time."""

    messages: int
    seconds: float
    acknowledged: int
    stored: int
    lost: int
    foreign: int
    twice: int
    crossings: int
    alarms: int
    doubled: int  # further alarms of one crossing
    without_crossing: int
    misjudged: int  # not as the version in force says, outside the uptakes
    standing: int  # not cleared, though a calm reading followed
    changes: list[Change]

    @property
    def faultless(self) -> bool:
        """Every count of faults is zero, and every change was followed in time."""
        faults = (self.lost, self.foreign, self.twice, self.doubled, self.without_crossing, self.misjudged)
        in_time = all(one.uptake_s is not None and one.uptake_s < UPTAKE_S for one in self.changes)
        return in_time and not any((*faults, self.standing))


def put_in_force(url: str, raise_at: float) -> tuple[int, float]:
    """Another version with this limit; its number, and when it was activated (before the commit)."""
    with psycopg.connect(url) as connection:
        rules.lock(connection)
        current = rules.current(connection, RULE)
        assert current is not None
        definition = {**current.definition, "raise_at": raise_at}
        draft = rules.insert_draft(
            connection, RULE, definition, author="bench", reason="under load", based_on=current.version
        )
        begun = time.time()
        rules.put_in_force(
            connection, RULE, draft.version, action="activate", actor="bench", reason="under load"
        )
    return draft.version, begun


def change_while(publisher: Running, url: str, first: int, every_s: float, count: int) -> list[Change]:
    """Change the limit ``count`` times, beginning out of reach; returns versions with their times."""
    changes = [Change(version=first, raise_at=WITHIN_REACH, at=0.0, uptake_s=0.0)]
    for number in range(count):
        deadline = time.monotonic() + every_s
        while time.monotonic() < deadline and publisher.running():
            time.sleep(0.05)
        raise_at = BEYOND if number % 2 == 0 else WITHIN_REACH
        version, at = put_in_force(url, raise_at)
        changes.append(Change(version=version, raise_at=raise_at, at=at, uptake_s=None))
    return changes


# ── the judgement ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """Stored crossings in order of arrival: seconds since 1970, number of alarms, version of the first (0 = none)."""

    received: NDArray[np.float64]
    alarms: NDArray[np.int64]
    version: NDArray[np.int64]


def crossings(url: str) -> Crossings:
    """Readings of the load's devices at 90, with the alarms raised at their very time."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM o.received_at)::float8, count(a.id), coalesce(min(a.rule_version), 0)"
            " FROM observations o JOIN devices d ON d.id = o.device_id"
            " LEFT JOIN alarms a ON a.device_id = o.device_id AND a.raised_at = o.observed_at AND a.rule_id = %s"
            " WHERE o.value >= 90 AND d.code ~ '^b[0-9]{6}$' GROUP BY o.device_id, o.observed_at, o.received_at"
            " ORDER BY o.received_at",
            (RULE,),
        ).fetchall()
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return Crossings(
        received=table[:, 0], alarms=table[:, 1].astype(np.int64), version=table[:, 2].astype(np.int64)
    )


def with_uptakes(changes: list[Change], seen: Crossings) -> list[Change]:
    """When each version first decided: its own first alarm, or, out of reach, after the last of the one before."""
    told = [changes[0]]
    for before, change in pairwise(changes):
        after = seen.received >= change.at
        if change.raise_at == WITHIN_REACH:
            first = seen.received[after & (seen.version == change.version)]
            uptake = float(first[0]) - change.at if len(first) else None
        else:
            last = seen.received[after & (seen.version == before.version)]
            uptake = float(last[-1]) - change.at if len(last) else 0.0
        told.append(Change(version=change.version, raise_at=change.raise_at, at=change.at, uptake_s=uptake))
    return told


def misjudged(changes: list[Change], seen: Crossings) -> int:
    """Crossings that were not decided by the version in force, outside the uptakes."""
    faults = 0
    ends = [*(change.at for change in changes[1:]), float("inf")]
    for change, end in zip(changes, ends, strict=True):
        begin = change.at + (change.uptake_s if change.uptake_s is not None else UPTAKE_S)
        inside = (seen.received > begin) & (seen.received < end)
        wanted = change.version if change.raise_at == WITHIN_REACH else 0
        faults += int((seen.version[inside] != wanted).sum())
    return faults


def judge(url: str, log: Path, load: Load, seconds: float, changes: list[Change]) -> Outcome:
    """The checker's verdict on messages, ours on alarms."""
    verdict: Verdict = check(log, url)
    seen = crossings(url)
    told = with_uptakes(changes, seen)
    return Outcome(
        messages=load.total,
        seconds=round(seconds, 1),
        acknowledged=verdict.acknowledged,
        stored=verdict.stored,
        lost=verdict.lost,
        foreign=verdict.foreign,
        twice=verdict.twice,
        crossings=len(seen.received),
        alarms=int(seen.alarms.sum()),
        doubled=int(np.maximum(seen.alarms - 1, 0).sum()),
        without_crossing=verdict.alarms - int(seen.alarms.sum()),
        misjudged=misjudged(told, seen),
        standing=verdict.alarms_standing,
        changes=told[1:],
    )


# ── the run ──────────────────────────────────────────────────────────────────────────────────────────


def run(server: PostgresServer, folder: Path, *, rate: float, seconds: float, changes: int) -> Outcome:
    """One run on a started database server, with a broker of its own."""
    broker = MosquittoServer(UNLIMITED)
    broker.start()
    product = Product(folder / "product", server.url(server.create_database()), broker.url)
    try:
        district.write(folder / "district", FLEET)
        product.prepare(folder / "district")
        product.start_ingest()
        product.wait_listening()
        first, _ = put_in_force(product.database_url, WITHIN_REACH)
        time.sleep(UPTAKE_S)
        load = Load(fleet=FLEET, total=int(rate * seconds), rate=rate, crossing_every=CROSSING_EVERY)
        publisher = publish(broker.port, load, folder / "published.npz")
        try:
            every_s = seconds / (changes + 1)
            done = change_while(publisher, product.database_url, first, every_s, changes)
            took = publisher.result(seconds * 3 + 60)["seconds"]
        finally:
            if publisher.running():
                publisher.kill()
        product.wait_stored(load, 120)
        return judge(product.database_url, folder / "published.npz", load, took, done)
    finally:
        product.stop()
        broker.close()


def main() -> int:
    """Command line: see --help; exit code 1 when there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=10_000, help="messages a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--changes", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL instead of TimescaleDB")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="city-rules-") as folder,
        started_server(plain=given.plain) as server,
    ):
        outcome = run(server, Path(folder), rate=given.rate, seconds=given.seconds, changes=given.changes)
    print(json.dumps(asdict(outcome), indent=2))
    return 0 if outcome.faultless else 1


if __name__ == "__main__":
    sys.exit(main())
