"""`city backtest flood` as a person or a script calls it."""

import gzip
import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from command_centre.flood.forecast import Series
from runtime import cli
from tests.unit.forecast_rivers import river

KEYS = {
    "rmse_m",
    "rmse_persistence_m",
    "event_rmse_m",
    "event_rmse_persistence_m",
    "pod",
    "far",
    "csi",
    "events",
    "missed",
    "median_lead_min",
    "false_episodes_per_30d",
    "band_coverage",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Levels of two stations with all that goes wrong in life, and a context with odd columns."""
    folder = tmp_path_factory.mktemp("flood")
    level, (above, rain) = river(days=36, seed=4)
    random = np.random.default_rng(1)
    lines = ["time,station,level_m,rain_mm"]
    for index, when in enumerate(_iso(level)):
        if 2000 < index < 2300:
            continue  # two days without power
        text = {300: "-990", 301: "", 302: "--"}.get(index, f"{level.value[index]:.3f}")
        lines.append(f"{when},main,{text},{rain.value[index]:.1f}")
        if index == 700:
            lines.append(lines[-1])
        if random.random() < 0.95:
            lines.append(f"{when},upper,{above.value[index]:.3f},{rain.value[index]:.1f}")
    levels = folder / "levels.csv.gz"
    with gzip.open(levels, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    rows = ["time,release,remark,constant,odd"]
    rows += [
        f"{when},{'-990' if index % 500 == 7 else round(above.value[index] * 100, 1)},fine,25,{index % 7}"
        for index, when in enumerate(_iso(level))
        if index % 3 == 0
    ]
    context = folder / "context.csv"
    context.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return levels, context


def test_prints_one_object_for_scripts(files: tuple[Path, Path]) -> None:
    levels, context = files
    done = _run(levels, "--context", str(context), "--horizon", "1h", "--horizon", "180min", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert (answer["station"], answer["threshold_m"], answer["train_until"]) == ("main", 1.6, "1970-01-26")
    assert answer["rows"] == 36 * 144 - 299 + 1
    assert list(answer["horizons"]) == ["1h", "180min"]
    for one in answer["horizons"].values():
        assert set(one) >= KEYS
        assert one["rmse_m"] < one["rmse_persistence_m"]
        assert one["events"] == len(answer["events"]) > 0
    assert {"upper level_m", "rain_mm", "release", "odd"} <= set(answer["series"])
    assert any("remark" in note for note in answer["notes"])
    assert any("'--'" not in note for note in answer["notes"])


def test_prints_a_table_for_people(files: tuple[Path, Path]) -> None:
    done = _run(files[0], "--horizon", "3h")
    assert done.returncode == 0, done.stderr
    assert "rmse_persistence_m" in done.stdout
    assert "3h" in done.stdout
    assert "━" not in done.stderr


def test_later_rows_change_no_earlier_forecast(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The same part scored from a file that goes on and from one that ends: the same figures."""
    levels, context = files
    text = gzip.decompress(levels.read_bytes()).decode()
    header, *lines = text.splitlines()
    short = [line for line in lines if line < "1970-02-01T00:00:01Z"]
    spoiled = [line if line < "1970-02-01T00:00:01Z" else _raised(line) for line in lines]
    first = _one_after_another(header, short, tmp_path / "short.csv", context)
    second = _one_after_another(header, spoiled, tmp_path / "long.csv", context)
    assert first == second


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"levels": "no-such.csv"}, "no such file"),
        ({"station": "nowhere"}, "main, upper"),
        ({"train_until": "yesterday"}, "--train-until = yesterday"),
        ({"train_until": "1980-01-01"}, "nothing is left to score"),
        ({"train_until": "1960-01-01"}, "nothing is left to learn"),
        ({"horizon": "3 fortnights"}, "--horizon = 3 fortnights"),
        ({"text": "time,station,level\n1970-01-01T00:00:00Z,main,1\n"}, "column level_m is missing"),
        ({"text": "time,station,level_m\nnoon,main,1\n"}, "row 2, column time = 'noon'"),
        (
            {"text": "time,station,level_m\n1970-01-01T00:00:00Z,main,high\n"},
            "row 2, column level_m = 'high'",
        ),
        ({"text": "time,station,level_m\n"}, "no rows"),
        ({"text": ""}, "cannot be read as CSV"),
    ],
)
def test_says_in_one_line_what_is_wrong(
    files: tuple[Path, Path], tmp_path: Path, change: dict[str, str], named: str
) -> None:
    levels = files[0]
    if "text" in change:
        levels = tmp_path / "levels.csv"
        levels.write_text(change["text"], encoding="utf-8")
    done = _run(
        Path(change.get("levels", str(levels))),
        "--horizon",
        change.get("horizon", "3h"),
        station=change.get("station", "main"),
        train_until=change.get("train_until", "1970-01-26"),
    )
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def _run(
    levels: Path, *more: str, station: str = "main", train_until: str = "1970-01-26"
) -> subprocess.CompletedProcess[str]:
    """In this process: sixteen starts of Python with numpy would take longer than what is tested."""
    command = ["city", "backtest", "flood", "--levels", str(levels)]
    command += ["--station", station, "--threshold", "1.6", "--train-until", train_until, *more]
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", command):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def _one_after_another(header: str, lines: list[str], path: Path, context: Path) -> object:
    """Scores up to the end of January: the truth after it is cut away, the forecasts are made from the whole file."""
    from command_centre.flood.forecast import predict, train
    from runtime import flood_files

    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    record = flood_files.read(path, "main", context)
    until_us = int(datetime(1970, 1, 26, tzinfo=UTC).timestamp() * 1_000_000)
    model = train(record.level, record.others, horizons_s=(3600, 10800), until_us=until_us)
    hours = range(0, 6 * 24, 5)
    return [predict(model, record.level, record.others, until_us + hour * 3_600_000_000) for hour in hours]


def _raised(line: str) -> str:
    time, station, level, rain = line.split(",")
    return f"{time},{station},{float(level) + 3 if level not in {'', '--'} else level},{rain}"


def _iso(series: Series) -> list[str]:
    return [
        datetime.fromtimestamp(int(one) / 1e6, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for one in series.time_us
    ]
