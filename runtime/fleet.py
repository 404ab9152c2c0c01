"""``city simulate fleet``: what each device more costs ingest, from ten thousand to a million of them.

The same ``Pipeline`` that ``city ingest`` runs, or the same ``Shards`` that a worker of several machines does, on a
database of its own; only the source differs: it makes the bytes that a broker would hand over (``fleet_load``). It
stands in ``runtime`` because it joins rooms: ``simulators`` speak with us over MQTT only, so that a decoder's mistake
cannot hide there, and ``bench`` is no part of the package.
"""

import multiprocessing
import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from city import district, logs
from city.errors import CityError
from city.storage import fleets, migrate
from city.storage import partitions as partition_storage
from city.storage.database import connect
from rules.definitions import to_rows
from runtime import fleet_load
from runtime.fleet_load import Load, Log
from runtime.scratch_database import scratch

if TYPE_CHECKING:
    from psycopg import Connection

    from ingest.pipeline import Pipeline
    from ingest.shards import Shards

SCRATCH = "city_fleet_"
INSTEAD = "leave CITY_DATABASE_URL empty"
INTERVAL_S = 300  # between two readings of a device, in event time
BATCH = 5_000  # readings in one transaction
_ENROLLED_AT_ONCE = 50_000
_RETENTION_DAYS = 400
_TICK_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is driven: each device ``rounds`` times, the first of which is not measured (it fills memory)."""

    devices: int
    rounds: int
    partitions: int = 0  # that one worker owns, all there are; 0 = one pipeline, no log in partitions
    interval_s: int = INTERVAL_S
    batch: int = BATCH


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one size. ``…_ns`` are processor time per reading of this process, ``database_ns`` of its server process.

    Memory is resident bytes per device over what an empty process of this kind takes; ``peak_bytes`` while it loaded.
    """

    devices: int
    partitions: int  # 0 = one pipeline
    readings: int  # measured ones
    stored: int  # all of them
    transitions: int
    decode_ns: int
    rules_ns: int
    commit_ns: int
    commit_wall_ns: int
    database_ns: int | None  # None = the server is on another machine
    bytes_loaded: int
    bytes_peak: int
    bytes_held: int
    rounds_mb: list[float]  # resident memory after each round
    load_s: float  # processor time of reading the register at start
    restart_s: float  # an owner that takes over: register, states and what rules look back at, on the clock
    restart_cpu_s: float  # of this process
    tick_ms: float
    presence_us: float  # a last arrival written, per device
    disk_bytes: float  # a reading, indexes included
    index_bytes: float  # of that, the primary key
    wal_bytes: float  # a reading
    register_bytes: float  # a device
    presence_bytes: float
    state_bytes: float
    state_rows: int


def measure(url: str, sizes: list[int], wanted: Wanted, say: Callable[[str], None]) -> Iterator[Cost]:
    """Each size on a database of its own beside the one of ``url``, in a process of its own; smallest first."""
    for devices in sorted(sizes):
        with scratch(url, SCRATCH, purpose="the fleet", instead=INSTEAD) as address:
            say(f"{devices:,} devices are put into a register")
            prepare(address, devices, wanted.partitions)
            one = replace(wanted, devices=devices)
            say(f"{devices:,} devices report {wanted.rounds} times")
            # A fresh interpreter for each: memory that an earlier size freed would hide what this one takes.
            with ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=logs.configure,  # else it logs to standard output, among the JSON
                initargs=("simulate", "warning"),
            ) as fresh:
                yield fresh.submit(drive, address, one).result()


def prepare(url: str, devices: int, partitions: int = 0) -> None:
    """Schema, built-in kinds and rules, and so many devices of ``fleet_load`` in the register.

    Where there are ``partitions``, each device has its cell's, as ``city scale init`` leaves it.
    """
    migrate.apply(url)
    district.import_defaults(url, parse_rules=to_rows)
    with connect(url, application="city simulate", autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        for begin in range(0, devices, _ENROLLED_AT_ONCE):
            numbers = range(begin, min(begin + _ENROLLED_AT_ONCE, devices))
            with connection.transaction():
                fleets.enrol(
                    connection,
                    [fleet_load.code(n) for n in numbers],
                    [fleet_load.kind(n) for n in numbers],
                    [fleet_load.cell(n) for n in numbers],
                )
        if partitions:
            cells = {fleet_load.cell(n) for n in range(0, devices, fleet_load.CELL_DEVICES)}
            given = {cell: fleet_load.partition(cell, partitions) for cell in cells}
            partition_storage.assign(connection, given, otherwise=0)
        fleets.analyze(connection)


def drive(url: str, wanted: Wanted) -> Cost:
    """One size in this process."""
    load = Load(
        devices=wanted.devices,
        rounds=wanted.rounds,
        interval_s=wanted.interval_s,
        end_us=time.time_ns() // 1000 - 5_000_000,
        batch=wanted.batch,
    )
    from ingest import shards as _  # noqa: PLC0415, F401 - what is imported is not what devices cost

    with connect(url, application="city ingest", autocommit=True) as connection:
        server = connection.info.backend_pid if _is_here(url) else None
        empty = _resident()
        _forget_peak()
        pipeline, load_s, _restart_s = _begun(connection, wanted.partitions)
        figures: dict[str, Any] = {
            "load_s": round(load_s, 2),
            "bytes_loaded": round((_resident() - empty) / wanted.devices),
            "bytes_peak": round((_resident("VmHWM") - empty) / wanted.devices),
        }
        figures |= _reported(connection, pipeline, load, Log(wanted.partitions), server)
        figures["bytes_held"] = round((_resident() - empty) / wanted.devices)
        figures |= _afterwards(connection, pipeline, load, wanted.partitions, server)
    counted = pipeline.counters
    return Cost(
        devices=wanted.devices,
        partitions=wanted.partitions,
        stored=counted["stored"],
        transitions=counted["transitions"],
        **figures,
    )


def _begun(connection: "Connection[Any]", partitions: int) -> "tuple[Pipeline | Shards, float, float]":
    """A pipeline that read everything it remembers, or a worker that took over so many partitions.

    Processor seconds of this process, and seconds on the clock.
    """
    from ingest.pipeline import Pipeline  # noqa: PLC0415 - as in drive
    from ingest.shards import Shards  # noqa: PLC0415 - as in drive

    cpu, clock = time.process_time(), time.monotonic()
    pipeline: Pipeline | Shards
    max_unclaimed, zone = 1_000, ZoneInfo("Asia/Shanghai")
    if partitions:
        pipeline = Shards(
            connection,
            owner=secrets.token_hex(4),
            lost=_lost,
            max_unclaimed=max_unclaimed,
            retention_days=_RETENTION_DAYS,
            zone=zone,
        )
        for partition in range(partitions):
            pipeline.acquire(partition, Log.generation)
    else:
        pipeline = Pipeline(
            connection, max_unclaimed=max_unclaimed, retention_days=_RETENTION_DAYS, zone=zone
        )
    return pipeline, time.process_time() - cpu, time.monotonic() - clock


def _lost(partition: int) -> None:
    raise CityError(f"somebody else claimed partition {partition} in the fleet's own database; measure again")


def _reported(
    connection: "Connection[Any]", pipeline: "Pipeline | Shards", load: Load, log: Log, server: int | None
) -> dict[str, Any]:
    """All rounds; what a reading cost in all but the first."""
    rounds = [_round(pipeline, load, log, 0)]
    before, laps, spent = fleets.weigh(connection), _laps(pipeline), _server_ns(server)
    rounds += [_round(pipeline, load, log, turn) for turn in range(1, load.rounds)]
    spent = _server_ns(server) - spent
    after = fleets.weigh(connection)
    readings = (load.rounds - 1) * load.devices
    spent_ns = {name: round((ns - laps[name]) / readings) for name, ns in _laps(pipeline).items()}
    return {
        "readings": readings,
        "rounds_mb": [round(one / 1e6, 1) for one in rounds],
        "database_ns": round(spent / readings) if server is not None else None,
        **{f"{name}_ns": ns for name, ns in spent_ns.items()},
        "disk_bytes": round((after.observations - before.observations) / readings, 1),
        "index_bytes": round((after.observations_indexes - before.observations_indexes) / readings, 1),
        "wal_bytes": round((after.wal_bytes - before.wal_bytes) / readings, 1),
        "register_bytes": round(after.register / load.devices, 1),
        "state_bytes": round(after.rule_states / load.devices, 2),
        "state_rows": after.rule_states_rows,
    }


def _afterwards(
    connection: "Connection[Any]",
    pipeline: "Pipeline | Shards",
    load: Load,
    partitions: int,
    server: int | None,
) -> dict[str, Any]:
    """What time calls for once all were heard: a tick, last arrivals, and another start from the database."""
    import numpy as np  # noqa: PLC0415 - as in runtime.cli

    from city.storage import ingest_sessions  # noqa: PLC0415 - as above
    from rules.listening import Listening  # noqa: PLC0415 - as above

    ticked = time.process_time_ns()
    # Listened no longer than they spoke: on a machine slower than life nobody may seem to have gone silent.
    pipeline.tick(Listening([(load.end_us - 3_600_000_000, load.end_us + 10_000_000)]))
    ticked = time.process_time_ns() - ticked
    heard_us = pipeline.heard_us
    heard = np.flatnonzero(heard_us)
    for again in (0, 1):  # the first also says that a device was heard at all, once in its life
        written = _server_ns(server)
        for begin in range(0, len(heard), 2_000):
            part = heard[begin : begin + 2_000]
            with connection.transaction():
                ingest_sessions.write_presence(connection, part.astype(np.int32), heard_us[part] + again)
        written = _server_ns(server) - written
    _again, restart_cpu_s, restart_s = _begun(connection, partitions)
    return {
        "tick_ms": round(ticked / 1e6, 1),
        "presence_us": round(written / 1000 / max(1, len(heard)), 1),
        "presence_bytes": round(fleets.weigh(connection).presence / load.devices, 1),
        "restart_s": round(restart_s, 2),
        "restart_cpu_s": round(restart_cpu_s, 2),
    }


def _round(pipeline: "Pipeline | Shards", load: Load, log: Log, turn: int) -> int:
    """Every device once; what is resident afterwards, in bytes."""
    for delivery in load.deliveries(turn):
        pipeline.process(log.chunks(delivery))
    return _resident()


def _laps(pipeline: "Pipeline | Shards") -> dict[str, int]:
    return {**pipeline.laps.cpu_ns, "commit_wall": pipeline.laps.wall_ns["commit"]}


def _resident(what: str = "VmRSS") -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise CityError("this machine has no /proc; measure on Linux")


def _forget_peak() -> None:
    """Let VmHWM begin again (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def _server_ns(pid: int | None) -> int:
    """Processor time of the server's process that works for us."""
    if pid is None:
        return 0
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0  # in a container: its numbers are not ours
    return (int(fields[11]) + int(fields[12])) * (1_000_000_000 // _TICK_S)
