"""Days into files and back, on both kinds of server: nothing lost, nothing that came meanwhile, charts go on."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import Connection

from city.observations import NO_SEQ, Quality, Readings
from city.storage import history_archive as stored
from city.storage import maintenance, migrate, observations, series
from city.storage.changes import open_connection
from command_centre import upkeep
from runtime import history_archive, history_files
from runtime.history_files import ArchiveError
from tests.integration.small_town import rows
from tests.servers.postgres import PostgresServer

FIRST = date(2026, 3, 1)
DAYS, EACH = 3, 24 * 4  # readings of a device in a day, a quarter of an hour apart
CODES = ("smoke-1", "smoke-2", "river-1")


@pytest.fixture(scope="module", params=["postgres", "timescale"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue(f"{request.param}_server")
    name = server.create_database(template=request.getfixturevalue(f"{request.param}_template"))
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO device_kinds (code, name, name_en) VALUES ('smoke', 's', 's'), ('water', 'w', 'w')"
        )
        connection.execute("INSERT INTO metrics (code) VALUES ('value')")
        connection.execute(
            "INSERT INTO devices (code, kind) SELECT c, CASE WHEN c = 'river-1' THEN 'water' ELSE 'smoke' END"
            " FROM unnest(%s::text[]) c",
            [list(CODES)],
        )
        connection.execute(
            "INSERT INTO stations (device_id, station_kind) SELECT id, 'river' FROM devices WHERE kind = 'water'"
        )
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def connection(url: str) -> Iterator[Connection[Any]]:
    """With three days of three devices, rolled up."""
    with psycopg.connect(url, autocommit=True) as made:
        made.execute("TRUNCATE observations, rollups, rollup_progress, history_archive")
        for code in CODES:
            observations.copy_new(made, of(made, code, FIRST, DAYS * EACH))
        asyncio.run(rolled_up(url))
        yield made


async def rolled_up(url: str) -> None:
    async with await open_connection(url, "test", autocommit=True) as connection:
        now = datetime(2026, 3, 6, 12, tzinfo=UTC)
        await upkeep.roll_up(connection, now, asyncio.Event())


def of(
    connection: Connection[Any], code: str, day: date, count: int, quality: Quality = Quality.GOOD
) -> Readings:
    """A reading every quarter of an hour from the day's midnight on; every third has a number."""
    row = connection.execute(
        "SELECT (SELECT id FROM devices WHERE code = %s), (SELECT id FROM metrics WHERE code = 'value')",
        [code],
    ).fetchone()
    assert row is not None
    begin_us = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    place = np.arange(count)
    observed = begin_us + place * 900_000_000
    return Readings(
        device=np.full(count, row[0], np.int32),
        metric=np.full(count, row[1], np.int16),
        observed_us=observed,
        received_us=observed + 1_234_567,
        value=20.0 + place % 7,
        seq=np.where(place % 3 == 0, place, NO_SEQ),
        quality=np.full(count, int(quality), np.int16),
    )


def whole(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "SELECT * FROM observations ORDER BY device_id, metric_id, observed_at")


def archive(url: str, folder: Path, before: date) -> list[stored.Archived]:
    return list(history_archive.archive(url, folder, before=before, most=99))


def test_days_go_into_files_and_come_back_as_they_were(
    url: str, connection: Connection[Any], tmp_path: Path
) -> None:
    before = whole(url)
    made = archive(url, tmp_path, FIRST + timedelta(days=2))
    assert [(one.day, one.readings) for one in made] == [
        (FIRST, 2 * EACH),
        (FIRST + timedelta(days=1), 2 * EACH),
    ]
    left = rows(
        url,
        "SELECT d.code, min((o.observed_at AT TIME ZONE 'UTC')::date) FROM observations o"
        " JOIN devices d ON d.id = o.device_id GROUP BY 1 ORDER BY 1",
    )
    assert left == [("river-1", FIRST), ("smoke-1", date(2026, 3, 3)), ("smoke-2", date(2026, 3, 3))]
    assert [one.fault for one in history_archive.check(url, tmp_path)] == [None, None]
    assert archive(url, tmp_path, FIRST + timedelta(days=2)) == []
    table = history_files.of_device(tmp_path / made[0].file, "smoke-2")
    assert table.num_rows == EACH
    assert table["seq"].null_count == EACH * 2 // 3

    assert history_archive.restore(url, tmp_path, FIRST) == (2 * EACH, 2 * EACH)
    assert history_archive.restore(url, tmp_path, FIRST) == (2 * EACH, 0)
    assert history_archive.restore(url, tmp_path, made[1].day) == (2 * EACH, 2 * EACH)
    assert whole(url) == before
    again = archive(url, tmp_path, FIRST)  # what was put back by hand goes again
    assert [(one.day, one.readings) for one in again] == [(one.day, one.readings) for one in made]


def test_charts_go_on_from_hourly_values_and_late_readings_do_not_spoil_them(
    url: str, connection: Connection[Any], tmp_path: Path
) -> None:
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)

    def chart(code: str, step_h: int) -> list[Any]:
        return series.read_series(
            connection, code, metric="value", start=start, end=end, step=timedelta(hours=step_h)
        )

    before = {code: chart(code, 1) for code in CODES}
    assert len(before["smoke-1"]) == 72
    archive(url, tmp_path, FIRST + timedelta(days=2))
    assert {code: chart(code, 1) for code in CODES} == before
    fine = series.read_series(
        connection, "smoke-1", metric="value", start=start, end=end, step=timedelta(minutes=15)
    )
    assert len(fine) == 48 + EACH  # of the archived days an hour each, of the last day every reading

    late = of(connection, "smoke-1", FIRST, 1, Quality.LATE)
    observations.copy_new(connection, late)
    connection.execute("UPDATE observations SET received_at = now() WHERE quality & 2 <> 0")
    connection.execute("UPDATE rollup_progress SET looked_at = now() - interval '1 hour'")

    async def looked() -> list[date]:
        async with await open_connection(url, "test", autocommit=True) as opened:
            return await maintenance.late_days(
                opened,
                datetime(2026, 1, 1, tzinfo=UTC),
                datetime.now(UTC) + timedelta(hours=1),
                date(2026, 3, 4),
            )

    assert asyncio.run(looked()) == []
    assert chart("smoke-1", 1) == before["smoke-1"]


def test_a_file_that_changed_is_found_and_not_restored(
    url: str, connection: Connection[Any], tmp_path: Path
) -> None:
    made = archive(url, tmp_path, FIRST + timedelta(days=1))[0]
    path = tmp_path / made.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "is not what was written" in str(history_archive.check(url, tmp_path)[0].fault)
    with pytest.raises(ArchiveError, match="bring it from its copy"):
        history_archive.restore(url, tmp_path, FIRST)
    path.unlink()
    assert "is not there" in str(history_archive.check(url, tmp_path)[0].fault)


def test_what_is_read_back_otherwise_removes_nothing(
    url: str, connection: Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole(url)
    real = pq.ParquetWriter.write_table

    def spoilt(self: Any, table: Any, *args: Any, **kwargs: Any) -> None:
        real(self, table.slice(1), *args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", spoilt)
    with pytest.raises(ArchiveError, match="nothing was removed"):
        archive(url, tmp_path, FIRST + timedelta(days=1))
    assert whole(url) == before
    assert rows(url, "SELECT count(*) FROM history_archive") == [(0,)]


def test_a_reading_that_comes_while_its_day_is_read_stays(
    url: str, connection: Connection[Any], tmp_path: Path
) -> None:
    """Without chunks it is beside the snapshot; a chunk is not dropped with it but read again."""
    with closing(stored.opened(url)) as archiving:
        leaving = stored.Leaving(archiving, FIRST)
        with archiving.transaction():
            archiving.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert sum(len(block) for block in leaving.read()) == 2 * EACH
            late = of(connection, "smoke-1", FIRST, 1, Quality.LATE)
            late.observed_us[:] += 1
            observations.copy_new(connection, late)
            if leaving.one_snapshot:
                assert leaving.remove()
        if not leaving.one_snapshot:
            with archiving.transaction():
                assert not leaving.remove()
    assert rows(url, "SELECT count(*) FROM observations WHERE quality & 2 <> 0") == [(1,)]


def test_an_edition_gets_what_it_has(url: str, connection: Connection[Any]) -> None:
    """The Apache edition has chunks and no compression, plain PostgreSQL neither; both are migrated again unharmed."""
    assert migrate.apply(url) == []
    kind = migrate.edition(connection).timescale
    assert kind in (None, "apache")
    if kind is None:
        assert rows(url, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == [(0,)]
        return
    hours = "SELECT extract(epoch FROM time_interval)::integer / 3600 FROM timescaledb_information.dimensions"
    assert rows(url, "SELECT compression_enabled FROM timescaledb_information.hypertables") == [(False,)]
    assert rows(
        url, "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_name = 'observations'"
    ) == [(0,)]
    assert rows(url, hours) == [(24,)]
    migrate.apply(url, chunk_h=6)
    migrate.apply(url)  # by the size of the register it would be a day: what was set is not undone
    assert rows(url, hours) == [(6,)]
    migrate.apply(url, chunk_h=24)
    assert rows(url, hours) == [(24,)]
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="apache"):
        connection.execute(migrate._sql("timescale_full.sql"))
