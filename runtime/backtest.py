"""`city backtest`: how rules and forecasts would have done on a record."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for numpy

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="backtest",
    help="回测 · Play a record through a rule or a forecast and count how it would have done.",
    no_args_is_help=True,
)


@app.callback()
def backtest() -> None:
    """回测 · Play a record through a rule or a forecast and count how it would have done."""


@app.command()
def flood(
    levels: Annotated[Path, typer.Option(metavar="CSV", help="time, station, level_m, rain_mm; may be .gz.")],
    station: Annotated[str, typer.Option(help="The station to forecast; others in the file help.")],
    threshold: Annotated[float, typer.Option(help="Level in metres to warn of.")],
    horizon: Annotated[list[str], typer.Option(help="1h, 90min, …; once for each horizon.")],
    context: Annotated[
        Path | None, typer.Option(metavar="CSV", help="time and any numeric columns: rain, release, tide.")
    ] = None,
    train_until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Learn up to here, score after; no offset means UTC.")
    ] = None,
    holdout_season: Annotated[
        int | None, typer.Option(metavar="YEAR", help="Learn from all other years, score this one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")] = False,
) -> None:
    """洪水 · Train a station's forecast on one part of its record and score it on the rest."""
    # Before numpy comes in: two threads that wait for each other are slower than one on a machine that is busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from runtime import flood_backtest

    flood_backtest.run(
        levels=levels,
        station=station,
        threshold_m=threshold,
        horizons=horizon,
        context=context,
        train_until=train_until,
        holdout_season=holdout_season,
        as_json=as_json,
    )
