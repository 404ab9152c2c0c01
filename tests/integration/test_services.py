"""What the serving processes sign in as: they read and write rows, and the schema stays as it is."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import errors

from city.errors import CityError
from city.storage import services
from tests.servers.accounts import services_url
from tests.servers.postgres import PostgresServer


@pytest.fixture
def serving(migrated_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(services_url(migrated_url), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "DROP TABLE incidents",
        "TRUNCATE incident_events",
        "CREATE TABLE mine (id integer)",
        "CREATE ROLE mine",
        "ALTER TABLE incidents DISABLE ROW LEVEL SECURITY",
        "DROP POLICY reach ON incidents",
        "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', '9999_mine')",
        "COPY areas FROM PROGRAM 'true'",
        "SELECT pg_read_file('/etc/hostname')",
        "SET session_replication_role = replica",
    ],
)
def test_the_schema_is_not_theirs(serving: psycopg.Connection, statement: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedTable)) as refused:
        serving.execute(statement.encode())
    assert isinstance(refused.value, errors.InsufficientPrivilege), "the test names what is not there"


def test_they_see_every_row_and_can_be_held_to_an_area(serving: psycopg.Connection) -> None:
    without = serving.execute(
        "SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relrowsecurity"
        " AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'services')"
    ).fetchall()
    assert without == [], "tables whose rows the loops would not see"
    unreadable = serving.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND relname NOT LIKE '%yoyo%' AND NOT has_table_privilege(oid, 'SELECT')"
    ).fetchall()
    assert unreadable == []
    with serving.transaction():
        assert serving.execute("SELECT set_config('role', 'city_within', true)").fetchone() == (
            "city_within",
        )


def test_an_account_is_made_once_and_takes_a_new_password(
    postgres_server: PostgresServer, migrated_url: str
) -> None:
    parts = urlsplit(migrated_url)
    place = parts.netloc.rpartition("@")[2]
    try:
        for password in ("first, then another", "another / with : signs"):
            quoted = password.replace(" ", "%20").replace("/", "%2F").replace(":", "%3A").replace(",", "%2C")
            address = parts._replace(netloc=f"made_here:{quoted}@{place}").geturl()
            assert services.ensure(migrated_url, address)
            assert not services.owns_schema(address)
        assert services.owns_schema(migrated_url)
        assert not services.ensure(migrated_url, migrated_url), "one account for both stays as it is"
        with pytest.raises(CityError, match="has no password"):
            services.ensure(migrated_url, parts._replace(netloc=f"made_here@{place}").geturl())
    finally:
        with psycopg.connect(migrated_url, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS made_here")
