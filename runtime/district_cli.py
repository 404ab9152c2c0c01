"""``city district``: a district's database goes elsewhere."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from city import settings
from city.errors import CityError

app = typer.Typer(name="district", help="区数据库 · The database of a district.", no_args_is_help=True)


@app.command()
def move(
    name: Annotated[
        str, typer.Argument(help="Code of the district that the database of the settings holds.")
    ],
    to: Annotated[
        Path, typer.Option(help="File with the new database's address as its owner, postgresql://…")
    ],
    back: Annotated[
        bool, typer.Option("--back", help="Before the switch: give up, the old database serves on.")
    ] = False,
) -> None:
    """迁移数据库 · Move the district's database with its past while readings arrive; run again when interrupted."""
    from runtime import district_move

    chosen = settings.load()
    source = chosen.database_owner_url or chosen.database_url
    if not source:
        raise CityError(
            "CITY_DATABASE_URL: the embedded database cannot be moved; use city backup and city restore"
        )
    try:
        target = to.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CityError(f"--to {to}: cannot be read") from error
    if not target.startswith(("postgresql://", "postgres://")):
        raise CityError(f"--to {to}: must hold an address that begins with postgresql://")
    console = Console()
    if back:
        district_move.give_up(source, target)
        console.print("the old database takes everything again", highlight=False)
        return
    done = district_move.move(
        source, target, code=name, told=lambda line: console.print(line, highlight=False)
    )
    console.print(
        f"{done.rows:,} rows of the past in {done.slices} slices and {done.books} tables; neither database took"
        f" anything for {done.stood_s:.1f} s; {done.late} rows came late",
        highlight=False,
    )
