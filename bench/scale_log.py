"""What bench/scale.py compares: the log itself, what one pipeline makes of it, and when each message was stored."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import psycopg
from rstream import schema
from rstream.client import Client
from rstream.exceptions import StreamNotAvailable

from bench.scale_load import Key
from city.partitions import UNROUTED, stream_of
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from ingest.sources.stream_message import read
from tests.servers.rabbitmq import PASSWORD, USER, RabbitNode

PATIENCE_S = 120
BATCH = 500
FRAME_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One of the log's."""

    at_ms: int  # the broker's clock
    partition: int
    offset: int
    topic: bytes
    payload: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One message as it was stored."""

    partition: int
    due_at: float  # seconds since 1970
    stored_at: float  # of the commit, by PostgreSQL


def whole_log(node: RabbitNode, ends: dict[int, int]) -> list[Record]:
    """Every record below ``ends`` (partition -> offset) in the order of the broker's clock."""

    async def taken() -> list[Record]:
        found: list[Record] = []
        for partition, end in ends.items():
            if end:
                found += await _patiently(node, partition, end)
        return found

    return sorted(asyncio.run(taken()), key=lambda one: (one.at_ms, one.partition, one.offset))


async def _patiently(node: RabbitNode, partition: int, end: int) -> list[Record]:
    """Right after a fault a node may have no copy that runs."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await _stream(node, partition, end)
        except StreamNotAvailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


async def _stream(node: RabbitNode, partition: int, end: int) -> list[Record]:
    """A connection for each: rstream's way to end one subscription of several is not to be had quietly."""
    client = Client(
        node.host, node.stream, frame_max=FRAME_MAX, heartbeat=60, connection_closed_handler=lambda _: None
    )
    await client.start()
    await client.authenticate("/", USER, PASSWORD)
    found: list[Record] = []
    over = asyncio.Event()

    async def deliver(frame: schema.Deliver) -> None:
        for position, record in enumerate(frame.get_messages()):
            topic, payload = read(bytes(record))
            offset = frame.chunk_first_offset + position
            found.append(
                Record(
                    at_ms=frame.timestamp, partition=partition, offset=offset, topic=topic, payload=payload
                )
            )
        if found[-1].offset >= end - 1:
            over.set()
        else:
            await client.credit(0, 1)

    client.add_handler(schema.Deliver, deliver, name="0")
    await client.run_queue_listener_task(0, deliver)
    await client.subscribe(stream_of(partition), 0, initial_credit=5)  # from the first
    await asyncio.wait_for(over.wait(), PATIENCE_S)
    await client.close()
    return [record for record in found if record.offset < end]


def overtaken(log: Iterable[Record]) -> set[str]:
    """Devices of which a message stands in the log behind a newer one: it was sent again after a fault. Pure."""
    newest: dict[str, int] = {}
    known: set[Key] = set()
    found: set[str] = set()
    for record in log:
        device, number = record.topic.decode().rsplit("/", 1)[-1], json.loads(record.payload)["seq"]
        if (device, number) not in known and number < newest.get(device, -1):
            found.add(device)
        known.add((device, number))
        newest[device] = max(number, newest.get(device, -1))
    return found


def feed(url: str, records: Iterable[Record]) -> None:
    """One machine's pipeline, in the log's order."""
    with psycopg.connect(url, autocommit=True) as connection:
        pipeline = Pipeline(connection, max_unclaimed=100_000, retention_days=30)
        left = iter(records)
        while part := list(islice(left, BATCH)):
            pipeline.process(
                [
                    Delivery(
                        topics=[one.topic for one in chunk],
                        payloads=[one.payload for one in chunk],
                        packet_ids=[0] * len(chunk),
                        received_us=chunk[0].at_ms * 1000,
                        generation=0,
                    )
                    for chunk in ([*group] for _, group in groupby(part, key=lambda one: one.at_ms))
                ]
            )


def outcome(url: str) -> tuple[list[Any], list[Any]]:
    """All rule state, and alarms of what devices said, by devices' codes."""
    with psycopg.connect(url) as connection:
        states = connection.execute(
            "SELECT s.rule_id, d.code, s.state FROM rule_states s JOIN devices d ON d.id = s.device_id ORDER BY 1, 2"
        ).fetchall()
        alarms = connection.execute(
            "SELECT a.rule_id, d.code, a.raised_at, a.cleared_at FROM alarms a JOIN devices d ON d.id = a.device_id"
            " WHERE a.rule_id NOT LIKE '%silent%' ORDER BY 1, 2, 3"
        ).fetchall()
    return states, alarms


def stored(url: str) -> list[tuple[int, str, int, float]]:
    """(partition, device, sequence number, commit in seconds since 1970) of every observation."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT p.partition, d.code, o.seq, extract(epoch FROM pg_xact_commit_timestamp(o.xmin))::float8"
            " FROM observations o JOIN devices d ON d.id = o.device_id JOIN device_partitions p ON p.device_id = d.id"
        ).fetchall()


def ends(url: str) -> dict[int, int]:
    """Up to where each partition is stored."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT partition, next_offset FROM partition_state").fetchall()
    return {partition: offset for partition, offset in rows if partition != UNROUTED}


def gaps(rows: Iterable[Row]) -> list[tuple[float, float, int]]:
    """(begin, seconds, partition) of every time between two commits in which a message was due and not stored. Pure."""
    found = []
    ordered = sorted(rows, key=lambda row: (row.partition, row.stored_at))
    for partition, group in groupby(ordered, key=lambda row: row.partition):
        own = list(group)
        oldest_after = [0.0] * len(own)  # of all that is stored then or later, when the first was due
        oldest = float("inf")
        for at in range(len(own) - 1, -1, -1):
            oldest = min(oldest, own[at].due_at)
            oldest_after[at] = oldest
        last = float("-inf")
        for at, row in enumerate(own):
            if row.stored_at > last:
                begin = max(last, oldest_after[at])
                found.append((begin, row.stored_at - begin, partition))
                last = row.stored_at
    return found


def percentile(values: list[float], share: float) -> float:
    """Of values in seconds, in milliseconds."""
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0


def by_fault(
    began: list[tuple[float, str]], sent: dict[Key, float], found: list[tuple[int, str, int, float]]
) -> dict[str, dict[str, float]]:
    """For each fault its longest gap, and how long what was due after it waited for its commit."""
    rows = [
        Row(partition=partition, due_at=sent[code, seq], stored_at=at) for partition, code, seq, at in found
    ]
    still = gaps(rows)
    told: dict[str, dict[str, float]] = {}
    times: Counter[str] = Counter()
    for (begin, fault), (end, _) in zip(began, [*began[1:], (float("inf"), "")], strict=True):
        times[fault] += 1
        name = fault if times[fault] == 1 else f"{fault} ({times[fault]})"
        longest, where = max(
            ((seconds, partition) for at, seconds, partition in still if begin - 1 <= at < end),
            default=(0.0, -1),
        )
        over = {partition for at, seconds, partition in still if begin <= at < end and seconds > 1}
        waits = [row.stored_at - row.due_at for row in rows if begin <= row.due_at < end]
        told[name] = {
            "longest_gap_s": round(longest, 2),
            "in_partition": where,
            "partitions_over_1_s": len(over),
            "messages": len(waits),
            "p50_ms": percentile(waits, 0.5),
            "p99_ms": percentile(waits, 0.99),
        }
    return told
