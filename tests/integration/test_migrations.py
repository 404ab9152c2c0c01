"""Migrations beside whoever works: they wait briefly and make room, are never half done, and never go back."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from city.storage import migrate
from city.storage.database import DatabaseError
from tests.integration.small_town import rows
from tests.servers.postgres import PostgresServer

LATER = "0990_later"


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def later(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of migrations with one more than there are; nothing of it is left afterwards."""
    for path in migrate.migrations_folder().glob("[0-9]*.sql"):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setattr(migrate, "migrations_folder", lambda: tmp_path)
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "50ms")
    yield tmp_path / f"{LATER}.sql"
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE units DROP COLUMN IF EXISTS later")
        connection.execute("DROP INDEX IF EXISTS units_later")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id LIKE '099%'")
        connection.execute("UPDATE schema_release SET oldest_reader = '0027_grafana'")


ADD = "ALTER TABLE units ADD COLUMN later text;"


def test_one_that_waits_for_a_lock_lets_others_pass(url: str, later: Path) -> None:
    later.write_text(ADD)
    done: list[list[str]] = []
    waiting = threading.Thread(target=lambda: done.append(migrate.apply(url, patience_s=60)))
    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM units")  # holds its lock until the end of the block
        waiting.start()
        while not rows(url, "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"):
            assert waiting.is_alive()
        for _ in range(5):  # each would wait for ever behind a migration that waits for ever
            with psycopg.connect(url, options="-c lock_timeout=30s") as other:
                other.execute("SELECT count(*) FROM units")
        assert migrate.missing(url) == [LATER]
    waiting.join(60)
    assert done == [[LATER]]
    assert migrate.missing(url) == []


def test_one_that_gets_no_lock_says_who_has_it_and_leaves_nothing(url: str, later: Path) -> None:
    later.write_text("CREATE INDEX units_later ON units (code);" + ADD)
    with psycopg.connect(url, application_name="somebody's report") as reader:
        reader.execute("SELECT count(*) FROM units")
        with pytest.raises(DatabaseError, match="the oldest transaction is of somebody's report") as raised:
            migrate.apply(url, patience_s=0.1)
        assert raised.value.retry
    assert rows(url, "SELECT 1 FROM pg_class WHERE relname = 'units_later'") == []
    assert migrate.apply(url) == [LATER]


def test_one_that_fails_leaves_nothing_and_its_note_comes_with_it(url: str, later: Path) -> None:
    later.write_text(ADD + "SELECT 1 / 0;")
    with pytest.raises(DatabaseError, match="division by zero"):
        migrate.apply(url)
    assert migrate.missing(url) == [LATER]
    later.write_text(ADD)
    with psycopg.connect(url) as connection:  # as somebody leaves it who is killed in yoyo's own upgrade
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    assert migrate.apply(url) == [LATER]


def test_two_that_start_together_migrate_once(url: str, later: Path) -> None:
    later.write_text(ADD)
    done: list[list[str]] = []
    both = [threading.Thread(target=lambda: done.append(migrate.apply(url))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert sorted(done) == [[], [LATER]]


def test_an_index_may_be_built_beside_writers(url: str, later: Path) -> None:
    later.write_text(
        "-- transactional: false\n"
        "DROP INDEX CONCURRENTLY IF EXISTS units_later;\n"
        "CREATE INDEX CONCURRENTLY units_later ON units (code);\n"
    )
    assert migrate.apply(url) == [LATER]
    assert rows(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'units_later'::regclass") == [
        (True,)
    ]


def test_a_schema_of_a_later_release_is_worked_on_and_never_brought_back(url: str, later: Path) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO _yoyo_migration VALUES ('x', '0991_of_the_next_release', now())")
    assert migrate.missing(url) == []
    with pytest.raises(
        DatabaseError, match=r"0991_of_the_next_release.* is newer than this program"
    ) as raised:
        migrate.apply(url)
    assert not raised.value.retry
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE schema_release SET oldest_reader = '0991_of_the_next_release'")
    with pytest.raises(DatabaseError, match="needs a program that knows 0991_of_the_next_release") as raised:
        migrate.missing(url)
    assert not raised.value.retry
