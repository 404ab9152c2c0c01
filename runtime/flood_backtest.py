"""`city backtest flood`: a record read, a forecast trained on one part and scored on the rest, the answer printed."""

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from city.errors import CityError
from command_centre.flood import backtest as scoring
from command_centre.flood.forecast.series import Series
from runtime import flood_files

UNITS_S = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
STEPS = {"read": "读取 read", "train": "训练 train", "forecast": "预报 forecast", "score": "评分 score"}


def run(
    *,
    levels: Path,
    station: str,
    threshold_m: float,
    horizons: Sequence[str],
    context: Path | None,
    train_until: str | None,
    holdout_season: int | None,
    as_json: bool,
) -> None:
    """Print one JSON object or a table; CityError for what cannot be done as told."""
    named = {_seconds(one): one.strip() for one in horizons}
    until_us = _moment(train_until) if train_until is not None else None
    if until_us is None and holdout_season is None:
        raise CityError("--train-until is missing: give the date to learn up to, or --holdout-season YEAR")
    learn, score = _split(until_us, holdout_season)
    with _progress(as_json) as progress:
        task = progress.add_task(STEPS["read"], total=len(STEPS))

        def on_step(name: str) -> None:
            progress.update(task, description=STEPS[name], advance=1)

        record = flood_files.read(levels, station, context)
        _check_split(record.level, levels, learn(record.level.time_us), score(record.level.time_us))
        result = scoring.run(
            record.level,
            record.others,
            threshold_m=threshold_m,
            horizons_s=sorted(named),
            learn=learn,
            score=score,
            on_step=on_step,
        )
    answer = _answer(result, record, station, threshold_m, train_until, holdout_season, named)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))  # noqa: T201 - a script reads this
    else:
        _print(answer, result)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*", text)
    if not found or not 60 <= float(found[1]) * UNITS_S[found[2]] <= 7 * 86400:
        raise CityError(
            f"--horizon = {text}: write a number and a unit from one minute to 7 d, such as 3h or 90min"
        )
    return round(float(found[1]) * UNITS_S[found[2]])


def _moment(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise CityError(
            f"--train-until = {text}: write a date as 2013-12-31 or a time as 2013-12-31T18:00:00Z"
        ) from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp() * 1_000_000)


def _split(until_us: int | None, year: int | None) -> Any:
    if year is None:
        assert until_us is not None  # noqa: S101 - the caller has refused this already
        return scoring.after(until_us)
    if not 1900 <= year <= 2200:
        raise CityError(f"--holdout-season = {year}: give a year with four digits")
    start = datetime(year, 1, 1, tzinfo=UTC)
    end = datetime(year + 1, 1, 1, tzinfo=UTC)
    return scoring.held_out(int(start.timestamp() * 1_000_000), int(end.timestamp() * 1_000_000))


def _check_split(level: Series, source: Path, learned: Any, scored: Any) -> None:
    first, last = (np.datetime64(int(one), "us") for one in (level.time_us.min(), level.time_us.max()))
    span = f"the record runs from {first} to {last} UTC"
    if not np.any(scored):
        raise CityError(f"{source}: nothing is left to score; {span}: move --train-until or --holdout-season")
    if not np.any(learned):
        raise CityError(f"{source}: nothing is left to learn from; {span}: move --train-until")


def _progress(as_json: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=as_json or not sys.stderr.isatty(),
    )


def _answer(
    result: scoring.Result,
    record: flood_files.Record,
    station: str,
    threshold: float,
    train_until: str | None,
    holdout_season: int | None,
    horizons: dict[int, str],
) -> dict[str, Any]:
    return {
        "station": station,
        "threshold_m": threshold,
        "rows": result.rows,
        "train_until": train_until,
        "holdout_season": holdout_season,
        "scored": result.scored,
        "days": round(result.days, 2),
        "model": result.model.kind,
        "tidal": result.model.layout.tidal,
        "series": list(result.model.series),
        "notes": list(record.notes),
        "events": [
            {
                "onset": _text(event.onset_us),
                "end": _text(event.end_us),
                "peak_time": _text(event.peak_us),
                "peak_m": round(event.peak_m, 3),
            }
            for event in result.events
        ],
        "horizons": {horizons[horizon_s]: scoring.as_dict(one) for horizon_s, one in result.horizons.items()},
    }


def _text(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print(answer: dict[str, Any], result: scoring.Result) -> None:
    console = Console()
    for note in answer["notes"]:
        console.print(f"· {note}", highlight=False)
    title = (
        f"{answer['station']} ≥ {answer['threshold_m']:g} m, {answer['model']}, {answer['scored']} decisions"
    )
    table = Table(title=f"{title}, {answer['days']:g} days")
    columns = list(answer["horizons"])
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for key in next(iter(answer["horizons"].values())):
        shown = [answer["horizons"][name][key] for name in columns]
        table.add_row(key, *("–" if value is None else f"{value:g}" for value in shown))
    console.print(table)
    for event in answer["events"]:
        console.print(f"{event['onset']} – {event['end']}  {event['peak_m']:g} m", highlight=False)
    used = ", ".join(result.model.series) or "its own history only"
    console.print(f"uses: {used}{', tidal periods' if result.model.layout.tidal else ''}", highlight=False)
