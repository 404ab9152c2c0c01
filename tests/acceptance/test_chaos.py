"""The short form of `make chaos`: some of each kind of fault under load, on plain PostgreSQL and without privileges."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench.chaos import plan
from bench.chaos.parts import Shape
from bench.chaos.run import Run
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer

SMALL = Shape(rate=300, devices=200, crossing_every=197, capacity=1_000_000, plain=True, simple=True)


# What meets in one round what the others meet alone; a centre, a database and a broker that die by themselves stand in
# test_wall_outages as well.
BRIEF = ("kill ingest and database", "kill screen-0", "cut ingest-broker")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({name: plan.SHORT[name] for name in BRIEF}, id="brief"),
        pytest.param(plan.SHORT, id="short", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_lost_doubled_or_shown_wrongly_whatever_breaks(
    postgres_server: PostgresServer,
    start_mosquitto: Callable[..., MosquittoServer],
    tmp_path: Path,
    faults: Mapping[str, int],
) -> None:
    assert postgres_server.pid  # skips where this machine cannot run one, as the broker does; ours is another
    start_mosquitto().close()
    told: list[str] = []
    run = Run(SMALL, tmp_path, told.append)
    try:
        outcome = run.play(plan.rounds(faults, short=True))
    finally:
        run.close()
    story = "\n".join(told)
    assert outcome.faults == {}, story
    assert [one.fault for one in outcome.rounds if one.impossible] == []
    assert outcome.verdict.acknowledged > 0
    assert outcome.verdict.acknowledged == outcome.verdict.stored - outcome.verdict.twice, story
    assert outcome.aftermath.alarms == outcome.verdict.crossings > 10
    assert outcome.calls["answered"] > 0
    assert outcome.aftermath.steps >= 3 * 4 * len(outcome.rounds)
