"""The fault matrix: every row, by name."""

import signal
from collections.abc import Iterator

from bench.chaos.faults import (
    Fault,
    backend,
    full,
    kill,
    lose_backlog,
    loss,
    partition,
    pause,
    skew,
    slow,
    squeeze,
    starve,
    term,
    wire,
)
from bench.chaos.parts import CENTRES


def _ends() -> Iterator[Fault]:
    for name in ("ingest", "database", *CENTRES, "screen-0", "screen-1"):
        yield Fault(name=f"kill {name}", group="kill", does="SIGKILL", strike=kill(name), kills=1)
    yield Fault(name="kill both centres", group="kill", does="SIGKILL", strike=kill(*CENTRES), kills=2)
    everything = ("ingest", *CENTRES, "database")
    yield Fault(
        name="kill ingest and database",
        group="kill",
        does="SIGKILL at once",
        strike=kill("ingest", "database"),
        kills=2,
    )
    yield Fault(
        name="kill everything but the broker",
        group="kill",
        does="SIGKILL at once",
        strike=kill(*everything),
        kills=4,
    )
    yield Fault(
        name="kill ingest's backend",
        group="kill",
        does="SIGKILL: PostgreSQL restarts all of its own",
        strike=backend,
        kills=1,
        shows=False,
    )
    yield Fault(
        name="kill broker", group="broker kill", does="SIGKILL", strike=kill("broker"), broker_kill=True
    )
    yield lose_backlog(3)
    for name in ("ingest", "centre-a", "broker"):
        yield Fault(name=f"term {name}", group="term", does="SIGTERM, started again", strike=term(name))
    yield Fault(
        name="term database",
        group="term",
        does="SIGINT (fast shutdown), started again",
        strike=term("database", number=signal.SIGINT),
    )


def _halts() -> Iterator[Fault]:
    for name in ("ingest", "database", "broker", "centre-a", "screen-0"):
        yield pause(name, 4)
    for name in ("ingest", "database", "broker", "centre-a"):
        yield starve(name, 0.1, 5)
    yield squeeze("ingest", 3)


def _networks() -> Iterator[Fault]:
    yield from (partition(name, 5) for name in ("ingest", "centre-b"))
    yield from (loss(name, 20, 5) for name in ("ingest", "centre-a"))
    for name in (
        "ingest-broker",
        "ingest-database",
        "centre-a-database",
        "screens-centres",
        "devices-broker",
    ):
        yield wire(name, "cut", 2)
    for name in (
        "ingest-broker",
        "ingest-database",
        "centre-b-database",
        "screens-centres",
        "devices-broker",
    ):
        yield wire(name, "freeze", 4)
    yield wire("ingest-broker", "half-open", 4)
    yield wire("ingest-database", "half-open", 4)
    yield wire("ingest-broker", "delay", 5, delay_s=0.4)
    yield wire("ingest-database", "delay", 5, delay_s=0.2)
    yield wire("centre-a-database", "delay", 5, delay_s=0.2)
    yield wire("screens-centres", "trickle", 5, rate=4000)


def _disks_and_clocks() -> Iterator[Fault]:
    yield slow("database", 200_000, 6)
    yield slow("broker", 50_000, 6)
    yield full("database", 4)
    yield full("broker", 4)
    for name, by in (("ingest", 60), ("ingest", -60), ("centre-a", 60), ("centre-b", -60)):
        yield skew(name, by, 5)


TABLE = {fault.name: fault for fault in (*_ends(), *_halts(), *_networks(), *_disks_and_clocks())}
