"""Partitions without a broker: offset and effects together, one owner at a time, the same alarms whoever reads."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection

from city.district import import_defaults
from city.partitions import UNROUTED
from city.storage import health, partitions
from city.storage.partitions import FencedError
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from ingest.shards import Shards
from ingest.worker import Worker
from rules.definitions import to_rows
from tests.servers.postgres import PostgresServer

Rows = list[tuple[Any, ...]]
TABLES = "alarms, alarm_events, rule_states, observations, devices, partition_state, quarantine, presence"


@cache
def start_ms() -> int:
    """Half a minute before the first test that asks."""
    return time.time_ns() // 1_000_000 - 30_000


@pytest.fixture(scope="module")
def prepared(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    import_defaults(postgres_server.url(name), parse_rules=to_rows)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def connection(prepared: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(prepared, autocommit=True) as made:
        made.execute(f"TRUNCATE {TABLES} CASCADE".encode())
        yield made


class Lot:
    """A worker's shards on a connection of its own, and whether it was told that it lost something."""

    def __init__(self, url: str, name: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.told: list[str] = []
        self.shards = Shards(
            self.connection,
            owner=name,
            lost=lambda _partition: self.told.append(name),
            max_unclaimed=100,
            retention_days=30,
        )


@pytest.fixture
def lots(prepared: str, connection: Connection[Any]) -> Iterator[dict[str, Lot]]:
    """Two workers."""
    made = {name: Lot(prepared, name) for name in ("one", "two")}
    yield made
    for lot in made.values():
        lot.connection.close()


def records(
    values: list[float], *, device: str = "s1", cell: str = "c1", partition: int = 3, offset: int = 0
) -> Delivery:
    """A chunk of readings a second apart, each at the time of its offset."""
    payloads = [
        json.dumps({"ts": start_ms() + (offset + at) * 1000, "value": value, "seq": offset + at}).encode()
        for at, value in enumerate(values)
    ]
    return Delivery(
        topics=[f"city/{cell}/smoke/{device}".encode()] * len(values),
        payloads=payloads,
        packet_ids=[0] * len(values),
        received_us=(start_ms() + offset * 1000) * 1000,
        generation=1,
        partition=partition,
        offset=offset,
    )


def stored(connection: Connection[Any]) -> Rows:
    return connection.execute("SELECT seq, value FROM observations ORDER BY seq").fetchall()


def outcome(connection: Connection[Any]) -> tuple[Rows, Rows]:
    """Alarms and rule state, by device codes."""
    alarms = connection.execute(
        "SELECT a.rule_id, d.code, a.raised_at, a.cleared_at, a.level, a.repeats FROM alarms a JOIN devices d"
        " ON d.id = a.device_id ORDER BY 1, 2, 3"
    ).fetchall()
    states = connection.execute(
        "SELECT s.rule_id, d.code, s.state FROM rule_states s JOIN devices d ON d.id = s.device_id ORDER BY 1, 2"
    ).fetchall()
    return alarms, states


def test_offset_and_effects_are_one_and_what_comes_again_is_skipped(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one = lots["one"].shards
    assert one.acquire(3, 1) == 0
    one.process([records([20, 75, 76])])
    one.process([records([20, 75, 76, 40], offset=0)])  # the chunk again, grown
    assert stored(connection) == [(0, 20.0), (1, 75.0), (2, 76.0), (3, 40.0)]
    claim = partitions.acquire(connection, 3, "looker")
    assert (claim.epoch, claim.next_offset) == (2, 4)
    assert connection.execute("SELECT partition FROM device_partitions").fetchall() == [(3,)]


def test_a_reading_without_a_clock_has_the_same_arrival_at_every_reading(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    whole = Delivery(
        topics=[b"city/c1/smoke/s1"] * 4,
        payloads=[b'{"value": 20}'] * 4,
        packet_ids=[0] * 4,
        received_us=start_ms() * 1000,
        generation=1,
        partition=3,
        offset=0,
    )
    lots["one"].shards.acquire(3, 1)
    lots["one"].shards.process([whole.part(0, 2)])
    lots["two"].shards.acquire(3, 1)
    lots["two"].shards.process([whole])
    times = connection.execute("SELECT received_at FROM observations ORDER BY received_at").fetchall()
    assert [round(row[0].timestamp() * 1e6) - start_ms() * 1000 for row in times] == [0, 1, 2, 3]


def test_who_lost_a_partition_writes_nothing_more_and_is_told(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one, two = lots["one"], lots["two"]
    one.shards.acquire(3, 1)
    one.shards.process([records([20, 75])])
    assert two.shards.acquire(3, 1) == 2
    one.shards.process([records([99], offset=2)])
    assert stored(connection) == [(0, 20.0), (1, 75.0)]
    assert one.told == ["one"]
    assert one.shards.held == []
    two.shards.process([records([40], offset=2)])
    assert stored(connection)[-1] == (2, 40.0)
    assert connection.execute("SELECT count(*) FROM alarms WHERE cleared_at IS NOT NULL").fetchone() == (1,)


def test_deliveries_of_an_earlier_activation_are_another_s_to_read(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one = lots["one"].shards
    one.acquire(3, 1)
    one.release(3)
    one.process([records([20])])
    one.acquire(3, 2)
    one.process([records([75], offset=5)])  # of activation 1: what lies between was not read
    assert stored(connection) == []


def test_an_owner_that_stands_still_in_a_transaction_does_not_block_its_successor(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one = lots["one"]
    one.shards.acquire(3, 1)
    claim = partitions.acquire(connection, 3, "stopped")
    with psycopg.connect(connection.info.dsn, password=connection.info.password) as stopped:
        partitions.advance(stopped, claim, next_offset=9, received_us=1)
        assert (
            lots["two"].shards.acquire(3, 1) == 0
        )  # waits until the server ends the other one's transaction
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            stopped.execute("SELECT 1")
    with pytest.raises(FencedError):
        partitions.advance(connection, claim, next_offset=9, received_us=1)


def test_a_device_that_speaks_by_another_partition_takes_its_rule_state_along(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one, two = lots["one"].shards, lots["two"].shards
    one.acquire(3, 1)
    two.acquire(4, 1)
    one.process([records([20, 75])])
    two.process([records([40], partition=4, cell="c9", offset=2)])  # the same device, now in another cell
    assert connection.execute("SELECT cleared_at IS NULL FROM alarms").fetchall() == [(False,)]
    one.process([records([20], device="s2", offset=2)])  # under an epoch that is over, and yet its own
    assert lots["one"].told == []
    assert one.held == [3]
    assert connection.execute(
        "SELECT d.code, p.partition FROM device_partitions p JOIN devices d ON d.id = p.device_id ORDER BY 1"
    ).fetchall() == [("s1", 4), ("s2", 3)]


def test_a_record_that_cannot_be_stored_is_kept_apart_and_counts_as_read(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one = lots["one"].shards
    one.acquire(UNROUTED, 1)
    delivery = records([20, 30, 40], partition=UNROUTED)
    one.process([delivery.part(0, 1)])
    one.refuse(delivery, 1, "refused")
    one.process([delivery])
    assert [row[0] for row in stored(connection)] == [0, 2]
    assert connection.execute("SELECT reason FROM quarantine").fetchall() == [("unstorable",)]
    assert one.counters["log_lost"] == 0


def test_what_is_replayed_from_quarantine_neither_moves_the_offset_nor_is_skipped_by_it(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one = lots["one"].shards
    one.acquire(UNROUTED, 1)
    good = records([20, 30, 40], partition=UNROUTED)
    one.process([replace(good, payloads=[b"rubbish", b"rubbish", good.payloads[2]])])
    connection.execute("UPDATE quarantine SET replay_requested_at = now()")
    connection.execute(
        "UPDATE quarantine SET payload = %s WHERE id = (SELECT max(id) FROM quarantine)", (good.payloads[1],)
    )
    assert one.replay() == 2
    assert connection.execute(
        "SELECT outcome FROM quarantine WHERE replayed_at IS NOT NULL ORDER BY id"
    ).fetchall() == [("again not_json",), ("taken",)]
    assert one.claims[UNROUTED].next_offset == 3
    one.process([records([50], partition=UNROUTED, offset=3)])
    assert [row[0] for row in stored(connection)] == [1, 2, 3]


def test_what_the_log_no_longer_has_is_counted(connection: Connection[Any], lots: dict[str, Lot]) -> None:
    one = lots["one"].shards
    one.acquire(3, 1)
    one.process([records([20])])
    one.process([records([30], offset=8)])
    assert one.counters["log_lost"] == 7
    assert connection.execute(
        "SELECT lost, lost_at > now() - interval '1 minute' FROM partition_state"
    ).fetchall() == [(7, True)]


def test_the_record_that_the_log_keeps_for_itself_at_a_segments_head_is_not_lost(
    connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one = lots["one"].shards
    one.acquire(3, 1)
    one.process([records([20])])
    one.process([records([30], offset=2)])
    assert one.claims[3].next_offset == 3
    assert one.counters["log_lost"] == 0
    assert connection.execute("SELECT lost FROM partition_state").fetchall() == [(0,)]


def figures(url: str) -> dict[str, dict[str, Any]]:
    async def asked() -> tuple[list[health.Row], health.Row]:
        async with await AsyncConnection.connect(url) as connection:
            return await health.log_partitions(connection), await health.details(connection)

    partitions_, details = asyncio.run(asked())
    return {**{row["partition"]: row for row in partitions_}, "all": details}


def test_how_far_a_partition_is_behind_is_what_its_owner_saw(
    prepared: str, connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    one, two = lots["one"].shards, lots["two"].shards
    one.acquire(3, 1)
    one.acquire(4, 1)
    first = figures(prepared)
    assert (first[3]["look_age_s"], first["all"]["log_unread"]) == (None, 2)
    epochs = {partition: claim.epoch for partition, claim in one.claims.items()}
    partitions.look(connection, {3: (epochs[3], 0), 4: (epochs[4], 0)})
    one.process([records([20, 30])])
    partitions.look(
        connection, {3: (epochs[3], 12), 4: (epochs[4] - 1, 900)}
    )  # of 4 an owner that is none any more
    seen = figures(prepared)
    assert (seen[3]["lag_records"], seen[4]["lag_records"], seen["all"]["log_lag_records"]) == (10, 0, 10)
    assert 0 < seen[3]["lag_s"] < 60  # since it was level, not since its last record's clock
    assert (seen[3]["owner"], seen["all"]["log_unread"], seen["all"]["log_partitions"]) == ("one", 0, 2)
    partitions.serve(connection, [4])  # 3 is another database's: nobody here waits for it
    assert [row for row in figures(prepared) if row != "all"] == [4]
    connection.execute("TRUNCATE served_partitions")
    two.acquire(3, 1)
    two.acquire(3, 1)  # its own: no takeover
    one.acquire(4, 1)
    two.process([records([75], partition=3, offset=2, device="s7")])
    one.process([records([40], partition=4, cell="c9", device="s7", offset=5)])
    later = figures(prepared)
    assert [(later[at]["takeovers"], later[at]["moved"], later[at]["lost"]) for at in (3, 4)] == [
        (1, 0, 0),
        (0, 1, 0),
    ]


def town() -> list[list[float]]:
    """Four detectors: rising and falling over the limit, at different times."""
    return [[75.0 if (at + number) % 7 < 3 else 20.0 for at in range(40)] for number in range(4)]


def test_a_partition_that_changes_hands_at_every_chunk_ends_as_if_one_had_read_it(
    prepared: str, connection: Connection[Any], lots: dict[str, Lot]
) -> None:
    series = town()
    alone = Pipeline(connection, max_unclaimed=100, retention_days=30)
    for begin in range(0, 40, 5):
        for number, values in enumerate(series):
            alone.process([records(values[begin : begin + 5], device=f"s{number}", offset=begin)])
    expected = outcome(connection)
    assert len(expected[0]) > 15
    connection.execute(f"TRUNCATE {TABLES} CASCADE".encode())

    for turn, begin in enumerate(range(0, 40, 5)):
        owner = lots["one" if turn % 2 else "two"].shards
        for number, values in enumerate(series):
            assert owner.acquire(number, 1) == begin
            part = records(values[begin : begin + 5], device=f"s{number}", partition=number, offset=begin)
            owner.process([part])
    assert outcome(connection) == expected


def test_the_loop_needs_nothing_of_a_log_that_is_not_divided() -> None:
    assert Worker._asked.fget is not None
    assert Worker._asked.fget(None) is False
