"""The district's own rule files beside what people changed: neither side overwrites the other without a word."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from city import district
from city.district_source import DistrictFilesError
from city.district_taking import ImportReport
from city.storage import migrate, rules
from city.storage.database import connect
from command_centre import rule_changes
from rules.definitions import to_rows
from rules.writing import to_toml
from simulators.district import generate
from tests.integration.test_import import folder, import_, replace

__all__ = ["folder"]  # the fixture

State = dict[str, tuple[int, object]]


def in_force(url: str) -> State:
    """Version and raise limit of each rule in force."""
    with connect(url, application="test") as connection:
        return {one.rule_id: (one.version, one.definition["raise_at"]) for one in rules.active(connection)}


def states(url: str) -> list[tuple[int, str, str]]:
    with connect(url, application="test") as connection:
        return [(one.version, one.state, one.author) for one in rules.versions(connection, "smoke-high")]


def edit(url: str, limit: int, rule_id: str = "smoke-high") -> None:
    """What a person does: a version of their own, put in force."""
    with connect(url, application="test") as connection:
        rules.lock(connection)
        current = rules.current(connection, rule_id)
        known = rules.newest(connection)["smoke-high"]
        written = rules.insert_draft(
            connection,
            rule_id,
            {**known.definition, "raise_at": limit},
            author="user:1",
            reason="calmer",
            source=current.source if current else "",
            based_on=current.version if current else None,
        )
        rules.put_in_force(
            connection, rule_id, written.version, action="activate", actor="user:1", reason="calmer"
        )


def retire(url: str, actor: str) -> None:
    with connect(url, application="test") as connection:
        rules.put_in_force(connection, "smoke-high", None, action="retire", actor=actor, reason="")


def touch(folder: Path) -> None:
    """Another file changes, so that the folder is read again."""
    replace(folder, "devices.csv", "甲", "戊")


def test_a_rule_file_that_did_not_change_leaves_a_persons_rule_alone(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    edit(migrated_url, 75)
    touch(folder)
    report = import_(migrated_url, folder)
    assert (report.rules_changed, report.rules_drafted) == (0, [])
    assert in_force(migrated_url) == {"smoke-high": (2, 75)}
    assert states(migrated_url) == [(2, "active", "user:1"), (1, "retired", "import")]


def test_a_changed_file_against_a_persons_rule_becomes_a_draft_and_says_so(
    migrated_url: str, folder: Path
) -> None:
    import_(migrated_url, folder)
    edit(migrated_url, 75)
    replace(folder, "rules/own.toml", "raise_at = 70", "raise_at = 72")
    report = import_(migrated_url, folder)
    assert (report.rules_changed, report.rules_drafted) == (0, ["smoke-high"])
    assert any("smoke-high" in line and "draft" in line for line in report.warnings)
    assert in_force(migrated_url) == {"smoke-high": (2, 75)}
    assert states(migrated_url)[0] == (3, "draft", "import")
    touch(folder)
    assert import_(migrated_url, folder).rules_drafted == [], "said once"
    assert len(states(migrated_url)) == 3
    with connect(migrated_url, application="test") as connection:
        rules.put_in_force(connection, "smoke-high", 3, action="activate", actor="user:1", reason="agreed")
    replace(folder, "rules/own.toml", "raise_at = 72", "raise_at = 73")
    assert import_(migrated_url, folder).rules_changed == 1, "file and person agreed, so the file leads again"
    assert in_force(migrated_url) == {"smoke-high": (4, 73)}


def test_what_a_person_retired_stays_retired(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    retire(migrated_url, "user:1")
    touch(folder)
    import_(migrated_url, folder)
    assert in_force(migrated_url) == {}
    replace(folder, "rules/own.toml", "raise_at = 70", "raise_at = 72")
    assert import_(migrated_url, folder).rules_drafted == ["smoke-high"]
    assert in_force(migrated_url) == {}


def test_a_persons_own_rule_stays_though_no_file_names_it(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    edit(migrated_url, 80, rule_id="smoke-late")
    replace(folder, "rules/own.toml", 'id = "smoke-high"', 'id = "smoke-other"')
    report = import_(migrated_url, folder)
    assert (report.rules_changed, report.rules_ended, report.rules_kept) == (1, 1, ["smoke-late"])
    assert any("smoke-late" in line for line in report.warnings)
    assert in_force(migrated_url) == {"smoke-late": (1, 80), "smoke-other": (1, 70)}


def test_a_rolled_back_rule_is_a_persons_decision(migrated_url: str, folder: Path) -> None:
    import_(migrated_url, folder)
    replace(folder, "rules/own.toml", "raise_at = 70", "raise_at = 72")
    import_(migrated_url, folder)
    with connect(migrated_url, application="test") as connection:
        rules.put_in_force(connection, "smoke-high", 1, action="rollback", actor="user:1", reason="worse")
    touch(folder)
    import_(migrated_url, folder)
    assert in_force(migrated_url) == {"smoke-high": (1, 70)}


def test_an_upgrade_renews_the_built_in_rules_except_those_a_person_changed(migrated_url: str) -> None:
    district.import_defaults(migrated_url, parse_rules=to_rows)
    edit(migrated_url, 75)

    def newer(text: str, source: str) -> list[tuple[str, dict[str, object]]]:
        changed = text.replace("raise_at = 70", "raise_at = 71").replace(
            "off_delay_s = 600", "off_delay_s = 900"
        )
        return to_rows(changed, source)

    district.import_defaults(migrated_url, parse_rules=newer)
    with connect(migrated_url, application="test") as connection:
        found = {one.rule_id: one for one in rules.active(connection)}
    assert found["smoke-high"].definition["raise_at"] == 75
    assert found["water-warning"].definition["off_delay_s"] == 900
    assert states(migrated_url)[0] == (3, "draft", "import")


def test_an_upgrade_brings_no_built_in_rule_back_into_a_district_with_its_own(
    migrated_url: str, folder: Path
) -> None:
    import_(migrated_url, folder)
    retire(migrated_url, "user:1")
    district.import_defaults(migrated_url, parse_rules=to_rows)
    assert in_force(migrated_url) == {}


@pytest.mark.parametrize("own", [True, False])
def test_an_export_holds_every_rule_once_a_person_changed_one(
    migrated_url: str, folder: Path, tmp_path: Path, own: bool
) -> None:
    if not own:
        (folder / "rules" / "own.toml").unlink()
    import_(migrated_url, folder)

    def exported(name: str) -> dict[str, str]:
        district.export_folder(migrated_url, tmp_path / name, write_rules=to_toml)
        place = tmp_path / name / "rules"
        return {path.name: path.read_text("utf-8") for path in sorted(place.glob("*.toml"))}

    assert list(exported("before")) == (["own.toml"] if own else [])
    edit(migrated_url, 75)
    edit(migrated_url, 80, rule_id="smoke-late")
    after = exported("after")
    assert "raise_at = 75" in after["own.toml" if own else "fire.toml"]
    assert "smoke-late" in after["own.toml"]
    with connect(migrated_url, application="test") as connection:
        listed = {one.rule_id: one.definition for one in rules.active(connection)}
    read = [row for name, text in after.items() for row in to_rows(text, name)]
    assert dict(read) == listed


def test_rule_counts_of_an_import_are_json(migrated_url: str, folder: Path) -> None:
    report: ImportReport = import_(migrated_url, folder)
    assert report.as_dict()["rules_changed"] == 1
    assert report.as_dict()["rules_kept"] == []


def checked_import(url: str, folder: Path) -> ImportReport:
    return district.import_folder(url, folder, parse_rules=to_rows, check_rules=rule_changes.check_imported)


def test_an_import_holds_the_districts_own_rules_against_its_own_ground(
    migrated_url: str, folder: Path
) -> None:
    replace(folder, "rules/own.toml", "raise_at = 70", "raise_at = 170")
    with pytest.raises(
        DistrictFilesError, match=r"rules/own\.toml: rule smoke-high: raise_at = 170: can never"
    ):
        checked_import(migrated_url, folder)
    assert in_force(migrated_url) == {}
    replace(folder, "rules/own.toml", "raise_at = 170", "raise_at = 70")
    replace(folder, "rules/own.toml", 'level = "red"', 'level = "red"\nscope = { models = ["X-9"] }')
    report = checked_import(migrated_url, folder)
    assert any("rules/own.toml: rule smoke-high: scope.models = X-9" in line for line in report.warnings)
    assert in_force(migrated_url) == {"smoke-high": (1, 70)}


def test_the_rules_of_the_demonstration_district_stand_their_own_checks(
    migrated_url: str, tmp_path: Path
) -> None:
    generate(tmp_path, cells=60, communities=6, streets=2, smoke=300, cameras=20, stations=12)
    assert checked_import(migrated_url, tmp_path).warnings == []
    with connect(migrated_url, application="test") as connection:
        rows = [(one.rule_id, one.definition) for one in rules.active(connection)]
        problems = rule_changes.validate(connection, rows, now=datetime.now(UTC))
    assert len(rows) > 5
    # It has no devices of some kinds that rules come for, and none that says of itself what only some do.
    said_by_some = {
        f"{what}-alarm" for what in ("gas", "carbon-monoxide", "smoke-carbon-monoxide", "gas-carbon-monoxide")
    }
    assert [
        problem.line()
        for problem in problems
        if (problem.severity, problem.key) != ("warning", "scope")
        and (problem.severity, problem.key, problem.rule_id in said_by_some) != ("warning", "metric", True)
    ] == []


def test_rules_from_before_they_had_a_history_get_one(postgres_url: str) -> None:
    files = sorted(migrate.migrations_folder().glob("[0-9]*.sql"))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for file in files:
            if file.name.startswith("0007"):
                break
            connection.execute(file.read_bytes())
        connection.execute(
            "INSERT INTO rules (id, version, definition, active) VALUES ('r', 1, '{\"a\": 1}', false),"
            " ('r', 2, '{\"a\": 2}', true)"
        )
        connection.execute(file.read_bytes())
        assert connection.execute(
            "SELECT version, state, digest = encode(sha256(convert_to(definition::text, 'UTF8')), 'hex')"
            " FROM rules ORDER BY version"
        ).fetchall() == [(1, "retired", True), (2, "active", True)]
        assert connection.execute(
            "SELECT action, actor, from_version, to_version FROM rule_history"
        ).fetchall() == [("activate", "import", None, 2)]
