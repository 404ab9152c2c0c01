"""What can be done to a part, and how it is undone: the rows of `bench/chaos/matrix.py` are made here.

A row's ``strike`` does it and ``undo`` takes it back after ``lasts`` seconds. What must hold after each row is the same
for all and stands in docs/reliability.md; ``may`` names what a row is allowed beyond it.
"""

import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.chaos.ground import Group, ImpossibleError, Namespace
from bench.chaos.skew import skewed
from bench.chaos.stand import Stand

Step = Callable[[Stand], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``group`` is kill, term, pause, starve, network, disk or clock; ``kills`` how many processes are killed."""

    name: str
    group: str
    does: str
    strike: Step
    undo: Step = lambda _stand: None
    lasts: float = 0.0  # seconds
    kills: int = 0
    shows: bool = True  # whether who was killed is started again by us, so that it can be seen
    broker_kill: bool = False  # what the broker loses by its own setting is counted apart
    may_end: tuple[str, ...] = ()  # parts that may end by themselves during it


def _signal(stand: Stand, name: str, number: signal.Signals) -> None:
    for pid in stand.pids(name):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(*names: str) -> Step:
    """SIGKILL to the process alone: what it has started finds out by itself."""

    def strike(stand: Stand) -> None:
        for name in names:
            stand.parts[name].expected = True
            with suppress(ProcessLookupError):
                os.kill(stand.parts[name].pid, signal.SIGKILL)

    return strike


def term(*names: str, number: signal.Signals = signal.SIGTERM) -> Step:
    def strike(stand: Stand) -> None:
        for name in names:
            stand.parts[name].expected = True
            with suppress(ProcessLookupError):
                os.kill(stand.parts[name].pid, number)

    return strike


def backend(stand: Stand) -> None:
    """SIGKILL to the server process that serves ingest: PostgreSQL then starts all of them anew."""
    with psycopg.connect(stand.database, connect_timeout=5) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'city ingest'"
        ).fetchall()
    if not rows:
        raise ImpossibleError("ingest had no connection at that moment")
    for (pid,) in rows:
        os.kill(pid, signal.SIGKILL)


def pause(name: str, seconds: float) -> Fault:
    def strike(stand: Stand) -> None:
        stand.parts[name].held = True
        _signal(stand, name, signal.SIGSTOP)

    def undo(stand: Stand) -> None:
        _signal(stand, name, signal.SIGCONT)
        stand.parts[name].held = False

    return Fault(
        name=f"pause {name}",
        group="pause",
        does=f"SIGSTOP, {seconds:.0f} s",
        strike=strike,
        undo=undo,
        lasts=seconds,
    )


def lose_backlog(seconds: float) -> Fault:
    """The broker is killed while it holds what ingest has not taken; a paused ingest would still be sent it."""

    def strike(stand: Stand) -> None:
        stand.parts["ingest"].held = True
        kill("ingest")(stand)

    def undo(stand: Stand) -> None:
        kill("broker")(stand)
        stand.parts["ingest"].held = False

    return Fault(
        name="kill broker with a backlog",
        group="broker kill",
        does=f"SIGKILL after ingest was away for {seconds:.0f} s",
        strike=strike,
        undo=undo,
        lasts=seconds,
        broker_kill=True,
    )


def starve(name: str, share: float, seconds: float) -> Fault:
    """Bandwidth of the processor; by cpu control group."""
    groups: list[Group] = []

    def strike(stand: Stand) -> None:
        group = Group("cpu")
        groups.append(group)
        group.processor(share)
        group.take(stand.pids(name))

    return Fault(
        name=f"starve {name}",
        group="starve",
        does=f"{share:.0%} of one core, {seconds:.0f} s",
        strike=strike,
        undo=lambda _stand: groups.pop().close(),
        lasts=seconds,
    )


def squeeze(name: str, seconds: float) -> Fault:
    """Every request for memory is refused; a process that ends of it is started again without the limit."""
    squeezed: list[int] = []

    def strike(stand: Stand) -> None:
        pid = stand.parts[name].pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
        squeezed.append(pid)

    def undo(_stand: Stand) -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(
                squeezed.pop(), resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )

    return Fault(
        name=f"no memory for {name}",
        group="starve",
        does=f"no further byte of address space (RLIMIT_AS), {seconds:.0f} s",
        strike=strike,
        undo=undo,
        lasts=seconds,
        may_end=(name,),
    )


def wire(wire: str, mode: str, seconds: float, **how: float) -> Fault:
    def strike(stand: Stand) -> None:
        stand.wires.set(wire, mode, seconds=how.get("delay_s", 0.0), rate=int(how.get("rate", 0)))

    told = {"delay": f"by {how.get('delay_s', 0):.1f} s", "trickle": f"{how.get('rate', 0) / 1000:.0f} kB/s"}
    return Fault(
        name=f"{mode} {wire}",
        group="network",
        does=" ".join(filter(None, (f"relay: {mode}", told.get(mode, ""), f"{seconds:.0f} s"))),
        strike=strike,
        undo=lambda stand: stand.wires.set(wire, "open"),
        lasts=seconds,
    )


def _network(stand: Stand, name: str) -> Namespace:
    if name not in stand.networks:
        raise ImpossibleError(stand.lacking.get("network", "this run has no networks of its own"))
    return stand.networks[name]


def partition(name: str, seconds: float) -> Fault:
    return Fault(
        name=f"partition {name}",
        group="network",
        does=f"cable of its network namespace pulled, {seconds:.0f} s",
        strike=lambda stand: _network(stand, name).pull(),
        undo=lambda stand: _network(stand, name).plug(),
        lasts=seconds,
    )


def loss(name: str, percent: int, seconds: float) -> Fault:
    return Fault(
        name=f"packet loss {name}",
        group="network",
        does=f"{percent} % of arriving packets dropped, {seconds:.0f} s",
        strike=lambda stand: _network(stand, name).lose(percent),
        undo=lambda stand: _network(stand, name).lose_nothing(),
        lasts=seconds,
    )


def full(name: str, seconds: float) -> Fault:
    def strike(stand: Stand) -> None:
        if name not in stand.disks:
            raise ImpossibleError(stand.lacking.get("disk", "this run has no disks of its own"))
        stand.parts[name].expected = True
        stand.disks[name].fill()

    def undo(stand: Stand) -> None:
        stand.disks[name].empty()
        stand.parts[name].expected = False

    return Fault(
        name=f"full disk {name}",
        group="disk",
        does=f"no block free, {seconds:.0f} s",
        strike=strike,
        undo=undo,
        lasts=seconds,
        may_end=("database", "broker"),
    )


def slow(name: str, rate: int, seconds: float) -> Fault:
    groups: list[Group] = []

    def strike(stand: Stand) -> None:
        if name not in stand.disks:
            raise ImpossibleError(stand.lacking.get("disk", "this run has no disks of its own"))
        group = Group("blkio")
        groups.append(group)
        group.writing(stand.disks[name].number, rate)
        group.take(stand.pids(name))

    return Fault(
        name=f"slow disk {name}",
        group="disk",
        does=f"{rate / 1000:.0f} kB/s written, {seconds:.0f} s",
        strike=strike,
        undo=lambda _stand: groups.pop().close(),
        lasts=seconds,
    )


def skew(name: str, by: float, seconds: float) -> Fault:
    def restart(stand: Stand) -> None:
        stand.parts[name].expected = True
        with suppress(ProcessLookupError):
            os.kill(stand.parts[name].pid, signal.SIGTERM)

    def strike(stand: Stand) -> None:
        stand.parts[name].env = skewed(by)
        restart(stand)

    def undo(stand: Stand) -> None:
        stand.parts[name].env = {}
        restart(stand)

    return Fault(
        name=f"clock {name} {by:+.0f} s",
        group="clock",
        does=f"restarted with a clock {abs(by):.0f} s {'ahead' if by > 0 else 'behind'}, {seconds:.0f} s",
        strike=strike,
        undo=undo,
        lasts=seconds,
    )
