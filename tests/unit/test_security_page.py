"""docs/security.md: each requirement has a verdict, what is met names where, and the figures are the tables'."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
# Requirements of levels 1 and 2 in ASVS 5.0.0, by chapter.
ASKED = {
    1: 27, 2: 11, 3: 19, 4: 10, 5: 9, 6: 35, 7: 18, 8: 7, 9: 7, 10: 29, 11: 14, 12: 9, 13: 13, 14: 9, 15: 13,
    16: 16, 17: 7,
}  # fmt: skip
TREES = ("command_centre/", "city/", "ingest/", "rules/", "runtime/", "tests/", "deploy/", "docs/", ".ci/")
SETTINGS = "".join(
    (ROOT / page).read_text(encoding="utf-8")
    for page in ("docs/operations.md", "docs/deploy-tls.md", ".env.example")
)


def named(where: str) -> list[str]:
    return re.findall(r"`([^`]+)`", where)


def is_path(name: str) -> bool:
    return name.startswith(TREES) or (ROOT / name).is_file()


def test_each_requirement_stands_once_with_a_verdict() -> None:
    numbers = [row[0] for row in ROWS]
    assert Counter(int(number.split(".")[0]) for number in numbers) == ASKED
    assert len(set(numbers)) == len(numbers) == 253
    assert {row[2] for row in ROWS} == {"met", "n.a.", "open"}
    assert numbers == sorted(numbers, key=lambda number: [int(part) for part in number.split(".")])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_named_is_there_and_what_is_met_names_it(row: tuple[str, str, str, str]) -> None:
    _, _, verdict, where = row
    names = named(where)
    settings = [name for name in names if re.fullmatch(r"CITY_[A-Z0-9_]+", name)]
    paths = [name for name in names if is_path(name)]
    assert [name for name in paths if not (ROOT / name).exists()] == []
    assert [name for name in settings if name not in SETTINGS] == []
    assert verdict != "met" or paths or settings


def test_the_figures_at_the_top_are_the_tables() -> None:
    counted = Counter(row[2] for row in ROWS)
    for words, verdict in (("met", "met"), ("not applicable", "n.a."), ("open", "open")):
        assert f"| {words} | {counted[verdict]} |" in PAGE
    assert f"all {len(ROWS)} requirements" in PAGE


def test_what_is_open_is_said_at_the_top_and_nothing_else() -> None:
    told = PAGE.partition("## Open, and what it means")[2].partition("\n## ")[0]
    listed = re.findall(r"\d+\.\d+\.\d+", " ".join(re.findall(r"^\| ([\d., ]+) \|", told, re.MULTILINE)))
    assert sorted(listed) == sorted(row[0] for row in ROWS if row[2] == "open")
