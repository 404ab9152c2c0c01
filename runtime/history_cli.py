"""``city history``: readings of past days in files, out of the database and back."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for pyarrow

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from city import settings
from city.errors import CityError

app = typer.Typer(
    name="history",
    help="历史 · Move readings of past days into compressed files, and back.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]


@app.callback()
def history() -> None:
    """历史 · Move readings of past days into compressed files, and back."""


@app.command()
def archive(
    most: Annotated[int, typer.Option(min=1, help="Days at one run.")] = 400, as_json: AsJson = False
) -> None:
    """归档 · Days older than CITY_HOT_DAYS, each into a file that was read back before its readings go."""
    from runtime import connections
    from runtime import history_archive as room

    chosen = settings.load()
    before = datetime.now(UTC).date() - timedelta(days=chosen.hot_days)
    console = Console()
    made = []
    with connections.database(chosen) as url:
        for one in room.archive(url, chosen.data_dir / room.FOLDER, before=before, most=most):
            made.append(one)
            if not as_json:
                each = one.bytes / one.readings if one.readings else 0
                console.print(
                    f"{one.day}  {one.readings:,} readings, {one.bytes:,} bytes, {each:.1f} a reading",
                    highlight=False,
                )
    _say(console, as_json, {"days": [asdict(one) for one in made]}, f"{len(made)} days archived")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """清单 · Which days are in files."""
    from contextlib import closing

    from city.storage import history_archive as stored
    from city.storage.database import translated
    from runtime import connections

    with (
        connections.database(settings.load()) as url,
        translated(),
        closing(stored.opened(url)) as connection,
    ):
        known = stored.archived(connection)
    also = {True: "", False: ", in the database as well"}
    lines = [
        f"{one.day}  {one.readings:,} readings, {one.bytes:,} bytes{also[one.restored_at is None]}"
        for one in known
    ]
    _say(Console(), as_json, {"days": [asdict(one) for one in known]}, "\n".join(lines or ["none"]))


@app.command()
def check(as_json: AsJson = False) -> None:
    """核对 · Hash every file again; exit code 1 when one is missing or not what was written."""
    from runtime import connections
    from runtime import history_archive as room

    chosen = settings.load()
    with connections.database(chosen) as url:
        found = room.check(url, chosen.data_dir / room.FOLDER)
    faults = [one for one in found if one.fault]
    lines = [str(one.fault) for one in faults] or [f"{len(found)} files are as they were written"]
    _say(
        Console(), as_json, {"files": len(found), "faults": [asdict(one) for one in faults]}, "\n".join(lines)
    )
    raise typer.Exit(int(bool(faults)))


@app.command()
def restore(day: Annotated[str, typer.Argument(help="2026-05-01, in UTC.")], as_json: AsJson = False) -> None:
    """取回 · Put a day's readings into the database again, until the next `city history archive`."""
    from runtime import connections
    from runtime import history_archive as room

    chosen = settings.load()
    with connections.database(chosen) as url:
        readings, back = room.restore(url, chosen.data_dir / room.FOLDER, _day("DAY", day))
    _say(
        Console(),
        as_json,
        {"day": day, "readings": readings, "stored": back},
        f"{back:,} of {readings:,} put back",
    )


@app.command()
def read(
    code: Annotated[str, typer.Argument(metavar="CODE", help="Of the device.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv or .parquet; must not exist.")],
    start: Annotated[str, typer.Option("--from", help="First day, UTC.")],
    end: Annotated[str, typer.Option("--to", help="Last day, UTC.")],
) -> None:
    """读取 · What files hold of one device, without the database's help."""
    import pyarrow as pa

    from runtime import connections, history_files
    from runtime import history_archive as room

    if file.suffix not in (".csv", ".parquet") or file.exists():
        raise CityError(f"{file}: name a new file that ends in .csv or .parquet")
    chosen = settings.load()
    with connections.database(chosen) as url:
        paths = room.files_between(
            url, chosen.data_dir / room.FOLDER, _day("--from", start), _day("--to", end)
        )
    parts = [history_files.of_device(path, code) for path in paths]
    table = pa.concat_tables(parts).unify_dictionaries() if parts else history_files.SCHEMA.empty_table()
    _writer(file)(table)
    typer.echo(f"wrote {table.num_rows:,} readings of {len(paths)} days to {file}")


def _writer(file: Path) -> "Callable[[object], None]":
    import pyarrow.csv
    import pyarrow.parquet

    def write(table: object) -> None:
        if file.suffix == ".parquet":
            pyarrow.parquet.write_table(table, file, compression="zstd")
        else:
            pyarrow.csv.write_csv(table, file)

    return write


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CityError(f"{option} = {text!r}: write a day such as 2026-05-01") from error


def _say(console: Console, as_json: bool, result: object, text: str) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False, default=str))  # noqa: T201 - a script reads this
    else:
        console.print(text, highlight=False, soft_wrap=True)
