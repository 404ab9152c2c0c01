"""Ingest and the database killed with -9 under load; the full matrix is `bench/kill_matrix.py`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.kill_matrix import FULL, SHORT, run
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer, wheel_binaries


@pytest.fixture
def own_server(postgres_server: PostgresServer) -> PostgresServer:
    """A server that may be killed; the shared one only says whether this machine can run one."""
    assert postgres_server.pid
    return PostgresServer(wheel_binaries())


def test_nothing_acknowledged_is_lost_and_nothing_comes_twice(
    own_server: PostgresServer, start_mosquitto: Callable[..., MosquittoServer], tmp_path: Path
) -> None:
    start_mosquitto().close()  # skips, or fails, where no broker can be had
    try:
        own_server.start()
        outcome = run(SHORT, own_server, tmp_path)
    finally:
        own_server.close()
    verdict = outcome.verdict
    assert outcome.happened == {"ingest": 1, "broker": 0, "database": 1}
    assert verdict.acknowledged == SHORT.rate * SHORT.seconds
    assert verdict.crossings > 20
    assert verdict.faultless, f"{verdict}\n{outcome.log_tail}"
    assert outcome.ingest_ended_by_itself == 0, outcome.log_tail


def test_the_full_matrix_mixes_its_kills_evenly() -> None:
    events = FULL.events()
    names = [name for _, name in events]
    assert {name: names.count(name) for name in names} == {"ingest": 10, "broker": 2, "database": 2}
    assert [at for at, _ in events] == sorted(at for at, _ in events)
    assert events[-1][0] < FULL.seconds
    assert names[0] == names[-1] == "ingest"
