"""Two districts on one log of a real RabbitMQ: each partition is read into its own district's database."""

import json
import time
from pathlib import Path

import psycopg
import pytest

from tests.conftest import _database
from tests.integration.test_stream_log import District, import_ground
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitCluster

pytestmark = pytest.mark.slow  # the node alone costs five seconds of processor

CELLS = {"east": ["c0", "c1", "c2", "c3", "c4"], "west": ["w0", "w1"]}


def prepare(url: str, code: str) -> None:
    import_ground(url)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO district (code, name, timezone) VALUES (%s, %s, 'Asia/Shanghai')", [code, code]
        )
        if code == "west":
            connection.execute("DELETE FROM areas WHERE layer = 'cell'")
            connection.execute(
                "INSERT INTO areas (layer, code, name, parent_id)"
                " SELECT 'cell', c, c, (SELECT id FROM areas WHERE code = 'm0') FROM unnest(%s::text[]) AS c",
                [CELLS["west"]],
            )


def test_each_districts_readings_are_in_its_own_database_alone(
    rabbit: RabbitCluster, postgres_server: PostgresServer, postgres_template: str, tmp_path: Path
) -> None:
    with (
        _database(postgres_server, postgres_template) as east_url,
        _database(postgres_server, postgres_template) as west_url,
    ):
        file = tmp_path / "districts.toml"
        file.write_text(
            f'[[district]]\ncode = "east"\nname = "东"\ndatabase = "{east_url}"\npartitions = "0-2"\n'
            f'unrouted = true\n[[district]]\ncode = "west"\nname = "西"\ndatabase = "{west_url}"\npartitions = "3"\n'
        )
        districts = {}
        start_ms = time.time_ns() // 1_000_000 - 60_000
        for code, url in (("east", east_url), ("west", west_url)):
            prepare(url, code)
            districts[code] = District(url, rabbit)
            districts[code]._settings["districts"] = str(file)
        try:
            for code, district in districts.items():
                made = district.city("scale", "init", "--partitions", "4", "--replicas", "1")
                assert made.returncode == 0, made.stderr
                assert f"{len(CELLS[code])} cells bound" in made.stdout
                district.work()
            for number in range(20):
                for cells in CELLS.values():
                    for cell in cells:
                        payload = json.dumps({"value": 20, "seq": number, "ts": start_ms + number * 1000})
                        districts["east"].publish([(f"city/{cell}/smoke/of-{cell}", payload.encode())])
            for code, district in districts.items():
                district.until("SELECT count(*) FROM observations", 20 * len(CELLS[code]))
                assert district.rows("SELECT string_agg(code, ' ' ORDER BY code) FROM devices") == [
                    (" ".join(f"of-{cell}" for cell in CELLS[code]),)
                ]
            served = districts["west"].rows("SELECT partition FROM partition_state WHERE next_offset > 0")
            assert served == [(3,)]
            # A cell of the east that the west takes for its own is refused, not read into both.
            with psycopg.connect(west_url) as connection:
                connection.execute("INSERT INTO areas (layer, code, name) VALUES ('cell', 'c1', 'c1')")
            refused = districts["west"].city("scale", "init", "--partitions", "4", "--replicas", "1")
            assert refused.returncode == 2
            assert "another district (c1)" in refused.stderr
        finally:
            for district in districts.values():
                district.close()
