"""``city rules`` as an operator and a script use it: what it prints, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running_centre import lay_ground
from tests.integration.running_commands import Done, Run, commands
from tests.integration.small_town import rows

RULE = """[[rule]]
id = "smoke-high"
type = "threshold"
name = "烟雾"
name_en = "Smoke"
kind = "smoke"
metric = "smoke"
raise_at = 70
clear_at = 60
category = "fire.smoke"
level = "red"
"""


@pytest.fixture
def city(
    migrated_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    """``city rules …`` in this process, in a folder of its own, beside the rule file ``rules.toml``."""
    lay_ground(migrated_url)
    (tmp_path / "rules.toml").write_text(RULE, encoding="utf-8")
    return commands(monkeypatch, capfd, migrated_url, tmp_path, "rules")


def told(done: Done) -> Any:
    return json.loads(done.stdout)


def test_from_a_file_to_force_and_back(city: Run, tmp_path: Path, migrated_url: str) -> None:
    drafted = city("import", "rules.toml", "--reason", "first", "--json")
    assert drafted.returncode == 0, drafted.stderr
    assert [(one["rule_id"], one["state"]) for one in told(drafted)["items"]] == [("smoke-high", "draft")]
    assert told(city("list", "--json"))["items"] == []
    assert city("activate", "smoke-high", "1", "--reason", "go").returncode == 0
    file = tmp_path / "rules.toml"
    file.write_text(RULE.replace("70", "75"), encoding="utf-8")
    done = city("import", "rules.toml", "--reason", "calmer", "--activate")
    assert (done.returncode, done.stdout) == (0, "smoke-high: changed, version 2 active\n")
    assert city("export").stdout == file.read_text("utf-8").replace("\r", "")
    difference = city("diff", "smoke-high", "--from", "1", "--to", "2")
    assert (difference.returncode, "-raise_at = 70" in difference.stdout) == (1, True)
    assert city("diff", "smoke-high").returncode == 0
    back = city("rollback", "smoke-high", "1", "--reason", "worse", "--json")
    assert (told(back)["version"], told(back)["before"]) == (1, 2)
    shown = city("show", "smoke-high").stdout
    assert "raise_at = 70" in shown
    assert "rollback 2 → 1  command-line  worse" in shown
    assert "smoke-high" in city("list").stdout
    assert city("retire", "smoke-high", "--reason", "gone").returncode == 0
    assert rows(migrated_url, "SELECT count(*) FROM rules WHERE active") == [(0,)]
    assert rows(migrated_url, "SELECT DISTINCT actor FROM audit") == [("command-line",)]


def test_validate_says_what_is_wrong_and_writes_nothing(city: Run, migrated_url: str) -> None:
    assert city("validate", "rules.toml").returncode == 0
    never = city("validate", "-", "--json", typed=RULE.replace('"fire.smoke"', '"fire.nothing"'))
    assert (never.returncode, told(never)["problems"][0]["key"]) == (1, "category")
    broken = city("validate", "-", typed=RULE.replace("raise_at", "raise_att"))
    assert broken.returncode == 1
    assert "raise_at" in broken.stdout
    absent = city("validate", "nowhere.toml")
    assert (absent.returncode, absent.stdout) == (2, "")
    assert "nowhere.toml cannot be read" in absent.stderr
    assert rows(migrated_url, "SELECT count(*) FROM rules") == [(0,)]


def test_what_the_checks_refuse_exits_with_one_and_changes_nothing(city: Run, migrated_url: str) -> None:
    both = RULE + RULE.replace("smoke-high", "smoke-again")
    refused = city("import", "-", "--reason", "x", "--activate", typed=both)
    assert refused.returncode == 1
    assert "overlaps" in refused.stdout
    told_refused = city("import", "-", "--reason", "x", "--activate", "--json", typed=both)
    assert (told_refused.returncode, told(told_refused)["problems"][0]["severity"]) == (1, "error")
    assert rows(migrated_url, "SELECT count(*) FROM rules") == [(0,)]
    other = RULE.replace('level = "red"', 'level = "red"\nscope = { models = ["X"] }')
    assert city("import", "-", "--reason", "x", "--activate", typed=other).returncode == 1
    accepted = city("import", "-", "--reason", "x", "--activate", "--accept-warnings", typed=other)
    assert accepted.returncode == 0, accepted.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nothing"),
        ("activate", "nothing", "1", "--reason", "x"),
        ("retire", "nothing", "--reason", "x"),
        ("import", "rules.toml", "--reason", " "),
        ("activate", "smoke-high", "1"),
    ],
)
def test_calls_that_cannot_be_exit_with_two(city: Run, arguments: tuple[str, ...]) -> None:
    done = city(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
