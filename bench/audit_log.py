"""What the audit's chain costs: writing a row beside a sealing loop, sealing what waits, and proving all of it.

python -m bench.audit_log --rows 100000
"""

import argparse
import asyncio
import json
import time
from typing import Any

import psycopg
from psycopg import AsyncConnection

from bench.database import started_server
from city.storage import audit, migrate
from city.storage.changes import open_connection
from command_centre import sealing

SINGLY = 500  # rows written one by one, each in a transaction of its own


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with started_server() as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO audit (actor, action, object, reason, detail)"
                " SELECT 'user:' || n %% 50, 'device.changed', 'device:D' || n, '因检修更换',"
                " jsonb_build_object('before', n, 'after', n + 1) FROM generate_series(1, %s) AS n",
                (rows,),
            )
        print(json.dumps({"rows": rows, **asyncio.run(_measured(url))}))


async def _measured(url: str) -> dict[str, float]:
    async with await open_connection(url, "bench", autocommit=True) as connection:
        sealed = asyncio.create_task(_sealed(connection))
        longest = await asyncio.to_thread(_written_meanwhile, url)
        count, sealing_s = await sealed
        await sealing.seal(connection)
        began = time.perf_counter()
        proved, fault = await audit.prove(connection, waits_s=3600)
        proving_s = time.perf_counter() - began
        assert fault is None, fault
    return {
        "sealed_per_s": round(count / sealing_s),
        "proved": proved,
        "proved_per_s": round(proved / proving_s),
        **longest,
    }


async def _sealed(connection: AsyncConnection[Any]) -> tuple[int, float]:
    began = time.perf_counter()
    count = await sealing.seal(connection)
    return count, time.perf_counter() - began


def _written_meanwhile(url: str) -> dict[str, float]:
    """How long single writers wait while the chain grows beside them."""
    took = []
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(SINGLY):
            began = time.perf_counter()
            audit.record(connection, actor="user:1", action="session.opened", subject=f"user:{number}")
            took.append(time.perf_counter() - began)
    took.sort()
    return {
        "write_ms_p50": round(took[SINGLY // 2] * 1000, 2),
        "write_ms_p99": round(took[-SINGLY // 100] * 1000, 2),
    }


if __name__ == "__main__":
    main()
