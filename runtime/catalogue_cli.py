"""``city catalogue``: take a sheet of categories in, look at what it would do, write the catalogue out again."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the readers of sheets

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from city import settings
from city.errors import CityError

if TYPE_CHECKING:
    from psycopg import Connection

    from city.catalogue_plan import Plan

ACTOR = "command-line"
MOST_SHOWN = 200  # rows; --json shows all

app = typer.Typer(
    name="catalogue", help="目录 · Categories of incidents: take in, look, write out.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV (UTF-8 or GB 18030) or XLSX.")],
    reason: Annotated[str, typer.Option(help="Why; kept for good.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would become of each row.")
    ] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Retire what the file leaves out.")] = False,
    as_json: AsJson = False,
) -> None:
    """导入 · Take a catalogue in, all rows or none; exit code 1 when a row is refused."""
    from command_centre import catalogue

    if not dry_run and not reason.strip():
        raise CityError("--reason = '': say why; it is kept for good")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CityError(f"{file} cannot be read ({error.strerror}); name a CSV or XLSX file") from error
    with _database() as connection:
        done = catalogue.take_in(
            connection, content, file.name, actor=ACTOR, reason=reason.strip(), dry_run=dry_run, whole=whole
        )
    if as_json:
        rows = [asdict(row) for row in done.plan.rows]
        header = [asdict(fault) for fault in done.plan.header_faults]
        _print({"written": done.written, "counts": done.plan.counts(), "header": header, "rows": rows})
    else:
        _show(done.plan)
        counts = ", ".join(f"{number} {fate}" for fate, number in done.plan.counts().items())
        _say(f"{counts}; {done.written} written" + (" (dry run)" if dry_run else ""))
    raise typer.Exit(1 if done.plan.refused else 0)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV to write; must not exist.")],
    english: Annotated[bool, typer.Option("--english", help="English headings.")] = False,
) -> None:
    """导出 · Write the whole catalogue as CSV that a spreadsheet opens and `import` reads."""
    from city.catalogue_columns import written
    from city.storage import categories

    if file.exists():
        raise CityError(f"{file} exists; name a new file")
    with _database() as connection:
        known = categories.load_categories(connection)
    file.write_text(written(known.values(), chinese=not english), encoding="utf-8-sig", newline="")
    _say(f"wrote {len(known)} categories to {file}")


@contextmanager
def _database() -> "Iterator[Connection[Any]]":
    """A connection whose work is committed at the end, on a database of this version."""
    from city.storage import migrate
    from city.storage.database import connect, translated
    from runtime import connections

    with connections.database(settings.load()) as url:
        if missing := migrate.missing(url):
            raise CityError(f"the database lacks {len(missing)} migrations; run `city migrate` first")
        with translated(), connect(url, application="city catalogue") as connection:
            yield connection


def _show(plan: "Plan") -> None:
    """What is not the same, refused rows first."""
    for fault in plan.header_faults:
        _say(f"refused: {fault.column}: {fault.remedy}\n  {fault.remedy_zh}")
    rows = sorted((row for row in plan.rows if row.fate != "same"), key=lambda row: row.fate != "refused")
    table = Table("row", "fate", "code", "what", box=None)
    for row in rows[:MOST_SHOWN]:
        changed = [
            f"{column}: {was or '-'} → {becomes or '-'}" for column, (was, becomes) in row.changes.items()
        ]
        wrong = [f"{one.column} = {one.value}: {one.remedy} {one.remedy_zh}" for one in row.faults]
        what = "\n".join([*wrong, *changed, row.note_en]).strip()
        table.add_row(
            str(row.row or ""), row.fate, Text(row.code), Text(what)
        )  # what people typed is no markup
    if rows:
        Console().print(table, highlight=False)
    if len(rows) > MOST_SHOWN:
        _say(f"… and {len(rows) - MOST_SHOWN} more; --json shows all")


def _say(text: str) -> None:
    Console().print(text, highlight=False, soft_wrap=True, markup=False)


def _print(result: object) -> None:
    print(json.dumps(result, ensure_ascii=False, default=str))  # noqa: T201 - a script reads this
