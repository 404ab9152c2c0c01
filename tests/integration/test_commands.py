"""Commands of an operator against a database that is there: accounts, and what doctor finds in the record."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.running_commands import Run, commands
from tests.integration.small_town import rows


@pytest.fixture
def city(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    return commands(monkeypatch, capfd, migrated_url, tmp_path)


def test_the_first_account_where_no_city_up_runs(city: Run, migrated_url: str) -> None:
    assert city("migrate").returncode == 0
    assert rows(migrated_url, "SELECT count(*) FROM users") == [(0,)]
    missing = city("password", "admin")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "--create" in missing.stderr
    made = city("password", "admin", "--create", "--role", "administrator", "--json")
    answer = json.loads(made.stdout)
    assert (answer["name"], answer["role"]) == ("admin", "administrator")
    again = city("password", "admin")
    assert again.returncode == 0
    assert again.stdout.startswith("admin (administrator): ")
    assert answer["one_time_secret"] not in again.stdout
    assert rows(migrated_url, "SELECT actor, action FROM audit ORDER BY id") == [
        ("command-line", "user.created"),
        ("command-line", "user.reset"),
    ]


def test_doctor_names_the_first_event_that_was_changed(city: Run, migrated_url: str) -> None:
    def timelines() -> dict[str, str]:
        found = json.loads(city("doctor", "--json").stdout)["findings"]
        wanted: dict[str, str] = next(one for one in found if one["check"] == "timelines")
        return wanted

    assert timelines()["state"] == "ok"
    with psycopg.connect(migrated_url) as connection:
        connection.execute(
            "INSERT INTO incidents (number, state, class, category, reason, opened_at, head, last_seq)"
            " VALUES ('20261121-0001', 'filed', 'B', 'fire', 'test', now(), %s, 1)",
            (b"\x01" * 32,),
        )
    found = timelines()
    assert found["state"] == "fail"
    assert "incident 20261121-0001 is not as it was written from event 1 on" in found["text"]
