"""A district goes to another database while readings arrive all the time, and somebody interrupts at every step."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from city.district import import_defaults
from city.storage import database
from city.storage.database import DatabaseError
from city.storage.district_copies import MoveError
from ingest.delivery import Delivery
from ingest.shards import Shards
from rules.definitions import to_rows
from runtime import district_cli, district_move
from tests.conftest import _database
from tests.servers.postgres import PostgresServer

PARTITION, CHUNK = 5, 20
PAST_DAYS = 3
# Something that is said behind every step, in their order; after the last one nothing is left to do.
STEPS = ("moving", "round 1", "nobody may", "ended", "row by row", "serves", "comparing", "everything")


class InterruptedHereError(Exception):
    """As Ctrl-C would."""


@dataclass
class Log:
    """What devices were told is kept: records by offset, and a worker that reads them into the database that serves."""

    urls: list[str]
    records: list[bytes] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    stored: list[int] = field(default_factory=list)  # offsets up to which each database was committed

    def write(self) -> None:
        """Acknowledge readings all the time; some of them are two days old."""
        began_ms = time.time_ns() // 1_000_000 - 1000
        while not self.stop.is_set():
            for _ in range(CHUNK):
                seq = len(self.records)
                late = PAST_DAYS * 43_200_000 if seq % 7 == 0 else 0
                stamp = began_ms + seq - late
                self.records.append(
                    json.dumps({"ts": stamp, "value": 90 if seq % 50 == 0 else 20, "seq": seq}).encode()
                )
            time.sleep(0.05)

    def read(self) -> None:
        """As city ingest does: from the stored offset, in whichever database takes it; again when it is away."""
        while not (self.stop.is_set() and self.caught_up):
            for number, url in enumerate(self.urls):
                try:
                    self._read_into(number, url)
                except (DatabaseError, psycopg.Error):
                    time.sleep(0.05)

    @property
    def caught_up(self) -> bool:
        return max(self.stored) >= len(self.records)

    def _read_into(self, number: int, url: str) -> None:
        with database.connect(url, application="city ingest", autocommit=True) as connection:
            shards = Shards(
                connection, owner="w", lost=lambda _partition: None, max_unclaimed=1000, retention_days=30
            )
            offset = shards.acquire(PARTITION, 1)
            while not (self.stop.is_set() and self.caught_up):
                part = self.records[offset : offset + 500]
                if not part:
                    time.sleep(0.005)
                    continue
                topics = [b"city/c1/smoke/s%d" % (at % 120) for at in range(offset, offset + len(part))]
                chunk = Delivery(
                    topics=topics,
                    payloads=part,
                    packet_ids=[0] * len(part),
                    received_us=time.time_ns() // 1000,
                    generation=1,
                    partition=PARTITION,
                    offset=offset,
                )
                shards.process([chunk])
                offset += len(part)
                self.stored[number] = offset


@pytest.fixture(params=["postgres", pytest.param("timescale", marks=pytest.mark.slow)])
def two(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A district's database with a past, and an empty one."""
    server: PostgresServer = request.getfixturevalue(f"{request.param}_server")
    template: str = request.getfixturevalue(f"{request.param}_template")
    with _database(server, template) as old, _database(server) as new:
        import_defaults(old, parse_rules=to_rows)
        with psycopg.connect(old, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO district (code, name, timezone) VALUES ('east', '东区', 'Asia/Shanghai')"
            )
            connection.execute(
                "INSERT INTO users (name, display_name, password_hash, role) VALUES ('w', 'W', 'x', 'viewer')"
            )
        yield old, new


def running(log: Log) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for work in (log.write, log.read)]
    for thread in threads:
        thread.start()
    return threads


def until_stored(log: Log, records: int) -> None:
    deadline = time.monotonic() + 60
    while max(log.stored) < records:
        assert time.monotonic() < deadline, "nothing is stored"
        time.sleep(0.01)


class Telling:
    """Takes lines, and interrupts after so many of them, or after one that says ``until``."""

    def __init__(self, *, last: int | None = None, until: str = "") -> None:
        self._left, self._until = last, until

    def __call__(self, line: str) -> None:
        if self._left == 0 or (self._until and self._until in line):
            raise InterruptedHereError(line)
        if self._left is not None:
            self._left -= 1


def observe(url: str, *, seconds_ago: list[int]) -> None:
    """Readings of a device that is there afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO devices (code, kind) SELECT 'o1', code FROM device_kinds LIMIT 1 ON CONFLICT DO NOTHING"
        )
        connection.execute(
            "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
            " SELECT d.id, 1, now() - make_interval(secs => ago), now(), 1"
            " FROM devices d, unnest(%s::int[]) AS ago WHERE d.code = 'o1'",
            [seconds_ago],
        )


def sequences(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT seq FROM observations ORDER BY seq")]


def test_every_acknowledged_reading_is_in_the_new_database_once(two: tuple[str, str]) -> None:
    old, new = two
    log = Log(urls=[old, new], stored=[0, 0])
    threads = running(log)
    try:
        until_stored(log, 200)
        for step in STEPS:
            with pytest.raises(InterruptedHereError, match=step):
                district_move.move(old, new, code="east", told=Telling(until=step), behind=timedelta(0))
        at_switch = log.stored[0]
        until_stored(log, at_switch + 100)
    finally:
        log.stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sequences(new) == list(range(len(log.records)))
    assert len(log.records) > at_switch
    assert sequences(old) == list(range(at_switch))  # nothing since
    with pytest.raises(DatabaseError, match="read-only"):
        database.connect(old, application="anybody")
    again = district_move.move(old, new, code="east", told=Telling())
    assert (again.rows, again.late) == (0, 0)


def test_the_past_the_books_and_what_came_late_are_there(two: tuple[str, str]) -> None:
    old, new = two
    observe(old, seconds_ago=[86_400, 7200, 3600])
    with pytest.raises(InterruptedHereError):
        district_move.move(
            old, new, code="east", told=Telling(last=1), behind=timedelta(0)
        )  # behind the first slice
    observe(old, seconds_ago=[90_000, 7201])  # came late: their slice is copied
    with database.connect(old, application="still serves"):
        pass
    with pytest.raises(DatabaseError, match="read-only"):
        database.connect(new, application="serves not yet")
    done = district_move.move(old, new, code="east", told=Telling(), behind=timedelta(0))
    assert done.late == 2
    with psycopg.connect(new, autocommit=True) as there, psycopg.connect(old) as here:
        for query in (
            "SELECT device_id, observed_at, value FROM observations ORDER BY 1, 2",
            "SELECT id, name FROM users", "SELECT id, code FROM devices ORDER BY 1", "SELECT * FROM rules ORDER BY 1",
        ):  # fmt: skip
            found = there.execute(query.encode()).fetchall()
            assert found
            assert found == here.execute(query.encode()).fetchall()
        # Numbers go on, what guards the books is on again, and the move is on the record.
        assert there.execute(
            "INSERT INTO users (name, display_name, password_hash, role) VALUES ('x', 'X', 'x', 'viewer') RETURNING id"
        ).fetchone() == (2,)
        assert there.execute("SELECT action, object FROM audit").fetchall()[-1] == (
            "district.moved",
            "district:east",
        )
        with pytest.raises(psycopg.errors.DatabaseError, match="audit"):
            there.execute("DELETE FROM audit")


@pytest.mark.slow
def test_a_move_is_given_up_before_the_switch_and_not_after(two: tuple[str, str]) -> None:
    old, new = two
    observe(old, seconds_ago=[7200])
    with pytest.raises(InterruptedHereError, match="row by row"):
        district_move.move(old, new, code="east", told=Telling(until="row by row"))
    with pytest.raises(DatabaseError, match="read-only"):
        database.connect(old, application="fenced")
    district_move.give_up(old, new)
    observe(old, seconds_ago=[60])
    district_move.move(old, new, code="east", told=Telling())
    assert len(sequences(new)) == 2
    with pytest.raises(MoveError, match="serves already"):
        district_move.give_up(old, new)


def test_two_districts_are_never_mixed(two: tuple[str, str], migrated_url: str) -> None:
    old, new = two
    with pytest.raises(MoveError, match="holds district east"):
        district_move.move(old, new, code="west", told=Telling())
    with pytest.raises(MoveError, match="same database"):
        district_move.move(old, old, code="east", told=Telling())
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO district (code, name, timezone) VALUES ('west', '西区', 'Asia/Shanghai')"
        )
    with pytest.raises(MoveError, match="holds a district"):
        district_move.move(old, migrated_url, code="east", told=Telling())
    with database.connect(old, application="serves as before"):
        pass


def test_the_command_moves_and_says_what_it_did(two: tuple[str, str], tmp_path: Path) -> None:
    old, new = two
    file = tmp_path / "to.dsn"
    file.write_text(f"{new}\n")
    wrong = CliRunner().invoke(
        district_cli.app, ["nowhere", "--to", str(file)], env={"CITY_DATABASE_URL": old}
    )
    assert isinstance(wrong.exception, MoveError)
    assert new not in str(wrong.exception)
    done = CliRunner().invoke(
        district_cli.app, ["east", "--to", str(file)], env={"CITY_DATABASE_OWNER_URL": old}
    )
    assert done.exit_code == 0, done.output
    assert "neither database took anything for" in " ".join(done.output.split())
    assert "postgresql://" not in done.output
