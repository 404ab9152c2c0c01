"""``city backtest rule`` on recorded series, without a database."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from city.errors import CityError
from runtime.backtest_rule import read_marks
from runtime.cli import app

RULE = """
[[rule]]
id = "water-high"
type = "threshold"
name = "水位超警戒"
name_en = "Water high"
kind = "water"
metric = "level"
raise_at = {limit}
{keys}
category = "flood.level"
level = "yellow"
"""


def rule_file(folder: Path, limit: object = 6.0, keys: str = "") -> Path:
    path = folder / "rule.toml"
    path.write_text(RULE.format(limit=json.dumps(limit), keys=keys), encoding="utf-8")
    return path


def series(folder: Path, *rows: str) -> Path:
    path = folder / "levels.csv"
    path.write_text("\n".join(["time,station,level_m", *rows, ""]), encoding="utf-8")
    return path


def backtest(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["backtest", "rule", *(str(one) for one in arguments), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    return series(
        tmp_path,
        "2013-07-15T00:00:00Z,a,5.0",
        "2013-07-15T00:10:00Z,a,6.1",
        "2013-07-15T00:20:00Z,a,6.4",
        "2013-07-15T00:20:00Z,a,9.9",
        "2013-07-15T00:30:00Z,a,5.0",
        "2013-07-15T00:00:00Z,b,5.0",
        "2013-07-15T00:40:00Z,b,7.0",
        "2013-07-15T00:50:00Z,b,",
    )


def test_episodes_of_a_series(tmp_path: Path, levels: Path) -> None:
    report = backtest(rule_file(tmp_path), "--levels", levels)
    assert [(e["device"], e["raised_at"], e["cleared_at"], e["peak"]) for e in report["episodes"]] == [
        ("a", "2013-07-15T00:10:00Z", "2013-07-15T00:30:00Z", 6.4),  # of two values at one time the first
        ("b", "2013-07-15T00:40:00Z", None, 7.0),
    ]
    assert (report["readings"], report["totals"]["standing"]) == (6, 1)
    assert report["rules"] == [
        {"id": "water-high", "version": 1, "type": "threshold", "name": "水位超警戒", "name_en": "Water high"}
    ]


def test_span_and_device_narrow_it(tmp_path: Path, levels: Path) -> None:
    report = backtest(
        rule_file(tmp_path), "--levels", levels, "--device", "a", "--to", "2013-07-15T00:20:00Z"
    )
    assert [(e["device"], e["cleared_at"]) for e in report["episodes"]] == [("a", None)]
    assert report["readings"] == 2


def test_station_levels_of_a_series_are_given(tmp_path: Path, levels: Path) -> None:
    rules = rule_file(tmp_path, "station.warning")
    assert backtest(rules, "--levels", levels)["episodes"] == []
    report = backtest(rules, "--levels", levels, "--station-level", "warning=6.2")
    assert [e["raised_at"] for e in report["episodes"]] == ["2013-07-15T00:20:00Z", "2013-07-15T00:40:00Z"]


def test_marks_are_counted(tmp_path: Path, levels: Path) -> None:
    marks = tmp_path / "marks.csv"
    marks.write_text(
        "device,onset,end,label\na,2013-07-15T00:05:00Z,2013-07-15T00:25:00Z,wave\n"
        "b,2013-07-15T00:00:00Z,2013-07-15T00:10:00Z,\n",
        encoding="utf-8",
    )
    said = backtest(rule_file(tmp_path), "--levels", levels, "--marks", marks, "--before", 0)["marks"]
    assert (said["events"], said["hits"], said["missed"], said["false"], said["late"]) == (2, 1, 1, 1, 0)
    assert said["findings"][0] | {"onset": "", "end": ""} == {
        "device": "a", "label": "wave", "found": True, "late": False, "lead_min": -5.0, "onset": "", "end": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device,onset\n", "column end is missing"),
        ("device,onset,end\na,yesterday,2013-07-15\n", "line 2: onset = yesterday"),
        ("device,onset,end\na,2013-07-16,2013-07-15\n", "line 2: end = 2013-07-15: lies before onset"),
        ("device,onset,end\n,2013-07-15,2013-07-16\n", "line 2: device is empty"),
    ],
)
def test_a_bad_mark_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "marks.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CityError, match=re.escape(said)):
        read_marks(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2013-07-15T00:00:00Z,a,high", "level_m = 'high'"),
        ("noon,a,6.0", "time = 'noon'"),
    ],
)
def test_a_bad_row_of_a_series_is_named(tmp_path: Path, row: str, said: str) -> None:
    path = series(tmp_path, "2013-07-15T00:00:00Z,a,5.0", row)
    with pytest.raises(CityError, match=re.escape(said)) as caught:
        backtest(rule_file(tmp_path), "--levels", path)
    assert "line 3" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "zz"], "device = 'zz'"),
        (["--from", "2014-01-01", "--to", "2013-01-01"], "lies before from"),
        (["--station-level", "flood=3"], "--station-level = flood=3"),
        (["--rule", "water-high"], "--levels beside --rule"),
        (["--chart", "x.png"], ".html or .svg"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    tmp_path: Path, levels: Path, arguments: list[str], said: str
) -> None:
    with pytest.raises(CityError, match=re.escape(said)):
        backtest(rule_file(tmp_path), "--levels", levels, *arguments)


def test_the_chart_asks_nobody_for_anything_and_speaks_both_languages(tmp_path: Path, levels: Path) -> None:
    for name in ("chart.html", "chart.svg"):
        chart = tmp_path / name
        backtest(rule_file(tmp_path), "--levels", levels, "--chart", chart)
        text = chart.read_text("utf-8")
        assert "限值 limit 6" in text
        assert "polyline" in text
        assert not re.search(r"(src|href)=|url\(|@import", text)
    assert text.startswith("<svg")


def test_recorded_rivers_give_the_episodes_that_were_counted(shared_data: Path, tmp_path: Path) -> None:
    """The crossings of the 6 m level that the data's own list has, each in an episode; none elsewhere."""
    water = shared_data / "data" / "water"
    lines = (water / "events.csv").read_text("utf-8").splitlines()[1:]
    rows = [line.split(",") for line in lines]
    events = [row for row in rows if row[0] == "kr-1018662-cheongdam" and float(row[2]) == 6.0]
    marks = tmp_path / "marks.csv"
    marks.write_text(
        "device,onset,end\n" + "".join(f"{row[0]},{row[4]},{row[5]}\n" for row in events), encoding="utf-8"
    )
    file = water / "han_cheongdam_2012_2015.csv.gz"
    report = backtest(rule_file(tmp_path), "--levels", file, "--marks", marks, "--before", 0)
    assert report["totals"]["episodes"] == sum(int(row[8]) for row in events)
    assert (report["marks"]["hits"], report["marks"]["missed"], report["marks"]["false"]) == (
        len(events),
        0,
        0,
    )
    assert {finding["lead_min"] for finding in report["marks"]["findings"]} == {0.0}
    peaks = [max(e["peak"] for e in report["episodes"] if _within(e, row)) for row in events]
    assert peaks == [float(row[7]) for row in events]


def _within(episode: dict[str, Any], row: list[str]) -> bool:
    return row[4] <= str(episode["raised_at"]) <= row[5]
