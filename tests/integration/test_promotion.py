"""The primary dies under load and its synchronous replica is promoted: workers go on, nothing acknowledged is lost."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from city.storage import migrate
from tests.integration.test_stream_log import CELLS, PARTITIONS, District, import_ground
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.rabbitmq import RabbitCluster

pytestmark = pytest.mark.slow  # RabbitMQ, two servers of PostgreSQL, two workers

ROUNDS = 200
DEVICES = 20
BEFORE = 1000  # readings stored when the primary dies
_STATEMENT = "SELECT partition, next_offset FROM partition_state"


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer, str]]:
    """Primary, its replica that every commit waits for, and the name of a database with ground on it."""
    primary = PostgresServer(wheel_binaries(), settings={"wal_keep_size": "512MB"})
    replica = None
    try:
        primary.start()
        name = primary.create_database()
        migrate.apply(primary.url(name))
        import_ground(primary.url(name))
        primary.stop()
        replica = primary.standby()
        primary.start()
        replica.start()
        with psycopg.connect(primary.url("postgres"), autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (replica)'")
            admin.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + 60
            while admin.execute("SELECT sync_state FROM pg_stat_replication").fetchone() != ("sync",):
                assert time.monotonic() < deadline, replica.folder
                time.sleep(0.05)
        yield primary, replica, name
    finally:
        primary.close()
        if replica is not None:
            replica.close()


def _publish(district: District, sent: list[int]) -> None:
    start_ms = int(time.time() * 1000) - ROUNDS * 1000
    for second in range(ROUNDS):
        district.publish(
            [
                (
                    f"city/{CELLS[number % len(CELLS)][0]}/smoke/s{number}",
                    f'{{"ts": {start_ms + second * 1000}, "value": 20, "seq": {second}}}'.encode(),
                )
                for number in range(DEVICES)
            ]
        )
        sent.append(DEVICES)


def test_a_promoted_replica_has_everything(
    pair: tuple[PostgresServer, PostgresServer, str], rabbit: RabbitCluster
) -> None:
    primary, replica, name = pair
    place = f"127.0.0.1:{primary.port}"
    both = primary.url(name).replace(place, f"{place},127.0.0.1:{replica.port}")
    assert migrate.apply(both) == []  # `city migrate` takes the same address
    district = District(both, rabbit)
    try:
        made = district.city("scale", "init", "--partitions", str(PARTITIONS), "--replicas", "1")
        assert made.returncode == 0, made.stderr
        for _ in range(2):
            district.work()
        sent: list[int] = []
        publisher = threading.Thread(target=_publish, args=(district, sent))
        publisher.start()
        district.until(f"SELECT count(*) >= {BEFORE} FROM observations", True)
        before = dict(district.rows(_STATEMENT))
        os.kill(primary.pid, signal.SIGKILL)
        at = time.monotonic()
        with psycopg.connect(replica.url("postgres"), autocommit=True) as admin:
            assert admin.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)
        promoted = time.monotonic() - at
        after = dict(district.rows(_STATEMENT))
        assert all(after[partition] >= offset for partition, offset in before.items())
        stored = district.rows("SELECT count(*) FROM observations")[0][0]
        district.until(f"SELECT count(*) > {stored} FROM observations", True)
        again = time.monotonic() - at
        publisher.join(120)
        assert sum(sent) == ROUNDS * DEVICES
        district.until("SELECT count(*) FROM observations", ROUNDS * DEVICES)
        assert district.rows("SELECT count(DISTINCT (device_id, observed_at)) FROM observations") == [
            (ROUNDS * DEVICES,)
        ]
        logging.getLogger(__name__).info("promoted after %.2f s, stored again after %.2f s", promoted, again)
    finally:
        district.close()
