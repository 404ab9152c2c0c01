"""Cells beside each other over the log: what their devices say together makes the incident that one machine makes."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import psycopg
import pytest

from city.district import import_defaults
from city.settings import Settings
from city.storage.changes import open_connection
from command_centre.known_directory import KnownDirectory
from command_centre.triage_loop import triage_batch
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from ingest.shards import Shards
from rules.definitions import to_rows
from tests.integration.small_town import NOW, build, rows
from tests.servers.postgres import PostgresServer

SPEAKING = ("c03-s1", "c04-s1", "c04-s2", "c05-s1")  # c03 and c04 are of one community, c05 is of the next
ONE, BY_COMMUNITY = dict.fromkeys(("c03", "c04", "c05"), 0), {"c03": 1, "c04": 1, "c05": 2}


def smoke(devices: Sequence[str], partition: int, offset: int) -> Delivery:
    at = NOW + timedelta(seconds=10 * offset)
    payload = {"ts": int(at.timestamp() * 1000), "value": 85}
    return Delivery(
        topics=[f"city/{device[:3]}/smoke/{device}".encode() for device in devices],
        payloads=[json.dumps(payload).encode()] * len(devices),
        packet_ids=[0] * len(devices),
        received_us=int(at.timestamp() * 1_000_000),
        generation=1,
        partition=partition,
        offset=offset * len(devices),
    )


def incidents(url: str) -> list[tuple[object, ...]]:
    """What triage made of the alarms: class and devices."""

    async def triaged() -> None:
        async with await open_connection(url, "test", autocommit=True) as connection:
            await triage_batch(
                connection, KnownDirectory(Settings().zone), NOW + timedelta(minutes=1), mail=False, limit=100
            )

    asyncio.run(triaged())
    return rows(
        url,
        "SELECT i.class, (SELECT array_agg(d.code ORDER BY d.code) FROM alarms a JOIN devices d ON d.id = a.device_id"
        " WHERE a.incident_id = i.id) FROM incidents i ORDER BY i.id",
    )


def over_the_log(url: str, partition_of: dict[str, int]) -> None:
    """A worker for each partition, each with its own cells' devices."""
    for partition in sorted(set(partition_of.values())):
        own = [device for device in SPEAKING if partition_of[device[:3]] == partition]
        with psycopg.connect(url, autocommit=True) as connection:
            shards = Shards(
                connection,
                owner=f"worker {partition}",
                lost=lambda partition: pytest.fail(f"nobody else is there to take {partition}"),
                max_unclaimed=100,
                retention_days=30,
            )
            shards.acquire(partition, 1)
            shards.process([smoke(own, partition, offset) for offset in range(3)])


def test_cells_of_one_community_and_of_two_fuse_over_the_log_as_on_one_machine(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    found = []
    for partition_of in (None, ONE, BY_COMMUNITY):
        name = postgres_server.create_database(template=postgres_template)
        url = postgres_server.url(name)
        import_defaults(url, parse_rules=to_rows)
        build(url)
        with psycopg.connect(url) as connection:
            connection.execute(
                "UPDATE categories SET class = 'B' WHERE code = 'fire.smoke'"
            )  # room to be raised
        if partition_of is None:
            with psycopg.connect(url, autocommit=True) as connection:
                alone = Pipeline(connection, max_unclaimed=100, retention_days=30)
                alone.process([smoke(SPEAKING, 0, offset) for offset in range(3)])
        else:
            over_the_log(url, partition_of)
        found.append(incidents(url))
        postgres_server.drop_database(name)
    alone_found, together, apart = found
    assert alone_found == [("A", list(SPEAKING))]  # they agree: a class above their category's
    assert together == alone_found
    assert apart == alone_found
