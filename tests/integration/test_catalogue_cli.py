"""``city catalogue`` as an operator and a script use it: what it prints, what it writes, and its exit codes."""

import json
import os
import sys
from pathlib import Path

import pytest

from runtime import cli
from tests.integration.running_centre import lay_ground
from tests.integration.small_town import rows


def run(*arguments: str) -> int:
    sys.argv = ["city", "catalogue", *arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_out_into_a_spreadsheet_and_in_again(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lay_ground(migrated_url)
    for name in [name for name in os.environ if name.startswith("CITY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CITY_DATABASE_URL", migrated_url)
    monkeypatch.setenv("CITY_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.chdir(tmp_path)
    assert run("export", "out.csv") == 0
    assert run("export", "out.csv") == 2, "what stands there is not written over"
    lines = Path("out.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("编码,上级,名称")
    assert len(lines) == 7
    Path("in.csv").write_text(
        "编码,名称,等级,性质\nheat,[red]热力,B,投诉\nheat.a.b,漏,Z,投诉\n", encoding="gb18030"
    )
    capfd.readouterr()
    assert run("import", "in.csv", "--dry-run") == 1
    said = capfd.readouterr().out
    assert "write one of A, B, C" in said
    assert "1 new" in said
    assert run("import", "in.csv") == 2, "without a reason"
    assert run("import", "in.csv", "--reason", "x", "--json") == 1
    assert json.loads(capfd.readouterr().out)["counts"]["refused"] == 1
    Path("in.csv").write_text("编码,名称,等级,性质\nheat,热力,B,投诉\n", encoding="gb18030")
    assert run("import", "in.csv", "--reason", "winter") == 0
    assert run("import", "nowhere.csv", "--reason", "x") == 2
    Path("rubbish.xlsx").write_bytes(b"PK\x03\x04")
    assert run("import", "rubbish.xlsx", "--reason", "x") == 2
    assert rows(migrated_url, "SELECT name, nature FROM categories WHERE code LIKE 'heat%'") == [
        ("热力", "complaint")
    ]
    assert rows(migrated_url, "SELECT actor, reason FROM audit") == [("command-line", "winter")]
