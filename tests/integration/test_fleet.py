"""A fleet through decode, rules and commit: all of it stored, only what changed written, and found again at a start."""

import gc
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from city.storage import devices, fleets, observations
from ingest.shards import Shards
from ingest.worker import in_turn
from runtime import fleet
from tests.integration.small_town import rows
from tests.servers.postgres import PostgresServer
from tests.unit.test_runtime_cli import process

DEVICES = 1_200
ROUNDS = 3


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def cost(url: str) -> fleet.Cost:
    fleet.prepare(url, DEVICES)
    return fleet.drive(url, fleet.Wanted(devices=DEVICES, rounds=ROUNDS))


def test_every_reading_is_stored_and_the_cost_of_each_stage_is_said(url: str, cost: fleet.Cost) -> None:
    assert cost.stored == DEVICES * ROUNDS
    assert rows(url, "SELECT count(*), count(DISTINCT device_id) FROM observations") == [
        (cost.stored, DEVICES)
    ]
    assert cost.readings == DEVICES * (ROUNDS - 1)
    assert min(cost.decode_ns, cost.rules_ns, cost.commit_ns) > 0
    assert cost.disk_bytes > 40  # a row has 24 bytes of header and 34 of values


def test_a_worker_of_four_partitions_stores_every_reading_once_and_under_its_claims(
    any_migrated_url: str,
) -> None:
    devices_, partitions = 3_000, 4  # six cells, of which each partition has one at least
    fleet.prepare(any_migrated_url, devices_, partitions)
    cost = fleet.drive(any_migrated_url, fleet.Wanted(devices=devices_, rounds=ROUNDS, partitions=partitions))
    assert (cost.partitions, cost.stored) == (partitions, devices_ * ROUNDS)
    assert rows(any_migrated_url, "SELECT count(*), count(DISTINCT (device_id, seq)) FROM observations") == [
        (cost.stored, cost.stored)
    ]
    state = rows(
        any_migrated_url,
        # two owners: the one that is measured, and the one that takes over from it afterwards
        "SELECT p.next_offset, count(*) * %s, p.epoch, p.lost, p.moved, p.takeovers FROM partition_state p"
        " JOIN device_partitions USING (partition) GROUP BY partition",
        ROUNDS,
    )
    assert len(state) == partitions
    assert all(row == (row[1], row[1], 2, 0, 0, 1) for row in state)
    assert min(cost.decode_ns, cost.rules_ns, cost.commit_ns, cost.restart_s) > 0
    assert cost.transitions > 0


def test_a_partition_more_does_not_take_the_districts_cells_once_more(migrated_url: str) -> None:
    fleet.prepare(migrated_url, 20)
    cells = [f"x{number:04d}" for number in range(2_000)]
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        fleets.enrol(connection, cells, ["smoke"] * len(cells), cells)
        shards = Shards(connection, owner="one", lost=lambda _: None, max_unclaimed=100, retention_days=30)
        tracemalloc.start()  # now, so that it sees what is given back as well
        try:
            shards.acquire(0, 1)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            shards.acquire(1, 1)  # nobody speaks by it
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    taken = after - before
    assert taken < 200 * len(cells)  # their places alone are twice that


def test_only_states_that_changed_are_in_the_database(url: str, cost: fleet.Cost) -> None:
    """Those of devices that crossed a limit; thousands of readings beside them wrote none."""
    assert cost.transitions > 0
    crossed = rows(url, "SELECT DISTINCT rule_id, device_id FROM alarms ORDER BY 1, 2")
    assert rows(url, "SELECT rule_id, device_id FROM rule_states ORDER BY 1, 2") == crossed
    assert cost.state_rows == len(crossed) < 10


def test_a_register_of_many_slices_is_the_register(
    url: str, cost: fleet.Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(url) as connection:
        whole, newest = devices.load_register(connection), observations.newest(connection, days=2)
        monkeypatch.setattr(devices, "_SLICE", 500)
        monkeypatch.setattr(observations, "_NEWEST_AT_ONCE", 400)  # of 1,200: the last slice is full
        parts = list(devices.register_slices(connection))
        again = observations.newest(connection, days=2)
    assert [len(part) for part in parts] == [500, 500, 200]
    assert [code for part in parts for code in part.code] == whole.code
    assert {part.version for part in parts} == {whole.version}
    assert len(newest[0]) == DEVICES
    assert all(np.array_equal(one, other) for one, other in zip(newest, again, strict=True))


def test_a_first_sign_of_life_does_not_change_the_register_and_another_kind_does(
    url: str, cost: fleet.Cost
) -> None:
    with psycopg.connect(url) as connection:
        before = devices.register_version(connection)
        connection.execute("UPDATE devices SET first_heard_at = now()")
        assert devices.register_version(connection) == before
        connection.execute("UPDATE devices SET tags = '{x}' WHERE id = (SELECT min(id) FROM devices)")
        assert devices.register_version(connection) > before
        connection.rollback()


def test_what_is_stored_has_a_weight(url: str, cost: fleet.Cost) -> None:
    with psycopg.connect(url) as connection:
        weight = fleets.weigh(connection)
    assert weight.observations > DEVICES * ROUNDS * 40
    assert min(weight.register, weight.presence, weight.rule_states, weight.alarms, weight.wal_bytes) > 0


def test_everybody_has_a_turn_where_more_speak_than_are_written() -> None:
    speaking = np.array([3, 5, 8, 9, 12])
    begin, written = 0, []
    for _ in range(5):
        turn = in_turn(speaking, begin, 2)
        written += turn.tolist()
        begin = int(turn[-1]) + 1
    assert written == [3, 5, 8, 9, 12, 3, 5, 8, 9, 12]


def test_the_command_measures_in_a_database_of_its_own_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    done = process(  # the processes of the sizes write to its standard output as well
        "simulate", "fleet", "--devices", "40", "--devices", "20", "--rounds", "2", "--partitions", "2", "--json",
        folder=tmp_path, CITY_DATABASE_URL=url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["devices"], one["partitions"], one["stored"]) for one in said] == [(20, 2, 40), (40, 2, 80)]
    assert (
        min(one["bytes_held"] for one in said) > 0
    )  # in this process another test's memory may be used again
    assert rows(url, "SELECT datname FROM pg_database WHERE starts_with(datname, 'city_fleet_')") == []
