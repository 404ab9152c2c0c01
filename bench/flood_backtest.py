"""The whole table of docs/forecast.md with one command: recorded rivers, then rivers that never were.

    .venv/bin/python -m bench.flood_backtest [--shared ../shared] [--only recorded|synthetic] [--seasons 2012 2013]

Prints Markdown; writes nothing. Minutes on two cores.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.synthetic_rivers import rivers
from command_centre.flood import backtest
from command_centre.flood.forecast.series import DAY_US, Flags, Series, Times
from runtime import flood_files

HORIZONS_S = (3600, 10800, 21600)
STATIONS = {"cheongdam": ("kr-1018662-cheongdam", (6.0, 7.0)), "haengju": ("kr-1019630-haengju", (5.0, 5.5))}
HEAD = (
    "river | part | level m | h | RMSE ratio | at events | POD | FAR | CSI | events | missed | lead min | "
    "false/30 d | band | band at events | s"
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("CITY_SHARED") or root.parent / "shared")
    )
    parser.add_argument("--only", choices=("recorded", "wear", "synthetic"))
    parser.add_argument("--seasons", type=int, nargs="*", default=[2012, 2013, 2014, 2015])
    given = parser.parse_args()
    print(f"| {HEAD} |\n|{'---|' * len(HEAD.split('|'))}", flush=True)
    water = given.shared / "data" / "water"
    if given.only in {None, "recorded"}:
        recorded(water, given.seasons)
    if given.only in {None, "wear"}:
        wear(water)
    if given.only in {None, "synthetic"}:
        synthetic()


def recorded(water: Path, seasons: list[int]) -> None:
    """Both stations of the Han, each season held out in turn, with and without context."""
    for name, (station, thresholds) in STATIONS.items():
        for context in (water / "han_context_2012_2015.csv.gz", None):
            record = flood_files.read(water / f"han_{name}_2012_2015.csv.gz", station, context)
            for year in seasons:
                start, end = (
                    int(datetime(one, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 for one in (year, year + 1)
                )
                split = backtest.held_out(start, end)
                label = f"{name}{' + context' if context else ''}"
                show(label, str(year), record.level, record.others, thresholds, split)


def wear(water: Path) -> None:
    """The five stations of the Wear: four weeks, no event; trained on 18 days."""
    path = water / "wear_levels_2022.csv.gz"
    for place in (
        "chester-le-street",
        "durham-new-elvet-bridge",
        "stanhope",
        "sunderland-bridge",
        "witton-park",
    ):
        record = flood_files.read(path, f"uk-wear-{place}", None)
        until = int(datetime(2022, 11, 5, tzinfo=UTC).timestamp()) * 1_000_000
        show(f"wear {place}", "from 5 Nov", record.level, record.others, (99.0,), backtest.after(until))
        show(f"wear {place}, alone", "from 5 Nov", record.level, (), (99.0,), backtest.after(until))


def synthetic() -> None:
    """Rivers of other kinds, scored on their last part."""
    for river in rivers():
        until = int(river.level.time_us[-1] - river.scored_days * DAY_US)
        show(river.name, "last part", river.level, river.others, (river.threshold_m,), backtest.after(until))


def show(
    label: str,
    part: str,
    level: Series,
    others: tuple[Series, ...],
    thresholds: tuple[float, ...],
    split: tuple[Callable[[Times], Flags], Callable[[Times], Flags]],
) -> None:
    """One row for each threshold and horizon; the seconds are those of training and forecasting together."""
    model = None
    for threshold in thresholds:
        began = time.perf_counter()
        result = backtest.run(
            level,
            others,
            threshold_m=threshold,
            horizons_s=HORIZONS_S,
            learn=split[0],
            score=split[1],
            model=model,
        )
        seconds, model = time.perf_counter() - began, result.model
        for horizon_s, one in result.horizons.items():
            cells = [label, part, f"{threshold:g}", f"{horizon_s // 3600}", *_cells(one), f"{seconds:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def _cells(one: backtest.HorizonResult) -> Iterator[str]:
    yield _ratio(one.rmse_m, one.rmse_persistence_m)
    yield _ratio(one.event_rmse_m, one.event_rmse_persistence_m)
    for share in (one.pod, one.far, one.csi):
        yield "–" if share is None else f"{share:.2f}"
    yield str(one.events)
    yield str(one.missed)
    yield "–" if one.median_lead_min is None else f"{one.median_lead_min:.0f}"
    yield "–" if one.false_episodes_per_30d is None else f"{one.false_episodes_per_30d:.2f}"
    for share in (one.band_coverage, one.event_band_coverage):
        yield "–" if share is None else f"{share:.2f}"


def _ratio(part: float | None, whole: float | None) -> str:
    return f"{part / whole:.3f}" if part is not None and whole else "–"


if __name__ == "__main__":
    main()
