"""A scratch database: one at hand while it is needed, none afterwards, and a refusal that says what to do."""

from urllib.parse import urlsplit

import psycopg
import pytest

from city.errors import CityError
from city.storage import backups
from runtime.scratch_database import beside, scratch
from tests.integration.small_town import rows

PREFIX = "city_scratch_test_"
OURS = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{PREFIX}')"


def interrupted(url: str) -> None:
    with scratch(url, PREFIX, purpose="a test", instead="leave it") as address:
        name = urlsplit(address).path.removeprefix("/")
        assert rows(url, OURS) == [(name,)]
        assert rows(address, "SELECT current_database(), to_regclass('devices')") == [(name, None)]
        raise ZeroDivisionError


def test_it_is_gone_after_a_failure_and_so_is_one_that_an_interruption_left(migrated_url: str) -> None:
    backups.create(migrated_url, PREFIX + "left")
    with pytest.raises(ZeroDivisionError):
        interrupted(migrated_url)
    assert rows(migrated_url, OURS) == []


def test_an_account_that_may_not_make_one_is_told_what_to_do(migrated_url: str) -> None:
    account = "scratch_test_without_createdb"
    with psycopg.connect(migrated_url) as connection:
        connection.execute(f"CREATE ROLE {account} LOGIN PASSWORD 'of-a-test'")
    parts = urlsplit(migrated_url)
    url = parts._replace(netloc=f"{account}:of-a-test@{parts.hostname}:{parts.port}").geturl()
    try:
        with (
            pytest.raises(CityError, match=r"for a test \(.*denied.*\); give .* CREATEDB, or leave it"),
            scratch(url, PREFIX, purpose="a test", instead="leave it"),
        ):
            pytest.fail("the account could")
    finally:
        with psycopg.connect(migrated_url) as connection:
            connection.execute(f"DROP ROLE {account}")


def test_the_address_of_another_database_keeps_all_else() -> None:
    assert beside("postgresql://u:p%40@h:5/one?sslmode=require", "a/b") == (
        "postgresql://u:p%40@h:5/a%2Fb?sslmode=require"
    )
