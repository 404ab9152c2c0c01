"""``city audit``: the timelines proved from the command line."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from city import settings
from city.errors import CityError

app = typer.Typer(
    name="audit",
    help="审计 · Prove that timelines are as they were written; erase what one row says.",
    no_args_is_help=True,
)


@app.callback()
def audit() -> None:
    """审计 · Prove that timelines are as they were written; erase what one row says."""


@app.command()
def verify(
    incident: Annotated[str | None, typer.Option(help="Only the incident of this number.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only incidents with an event since then (UTC); each is proved whole."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")] = False,
) -> None:
    """验证 · Hash every timeline again; exit code 1 and the first broken link of each that is not as it was written."""
    from rich.progress import Progress

    from city.storage import migrate
    from city.storage.database import translated
    from command_centre import anchoring
    from runtime import audit, connections

    chosen = settings.load()
    console = Console()
    with connections.database(chosen) as url:
        if missing := migrate.missing(url):
            raise CityError(f"the database lacks {len(missing)} migrations; run `city migrate` first")
        hidden = as_json or not console.is_terminal
        with translated(), Progress(console=console, transient=True, disable=hidden) as progress:
            task = progress.add_task("incidents", total=None)
            report = asyncio.run(
                audit.examined(
                    url,
                    chosen.data_dir / anchoring.FILE,
                    number=incident,
                    since=since.replace(tzinfo=UTC) if since else None,
                    told=lambda done, total: progress.update(task, completed=done, total=total),
                )
            )
        if incident is None and since is None:
            asyncio.run(audit.note(url, report))
    audit.show(console, report, as_json=as_json)
    raise typer.Exit(int(bool(report.broken) or report.fault is not None))


@app.command()
def erase(
    entry: Annotated[
        int, typer.Argument(metavar="ID", min=1, help="The row's number, as /api/audit lists it.")
    ],
    reason: Annotated[str, typer.Option(help="Why, without personal data: it is on the record.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """删去 · Take away what one row of the audit says, such as a name typed by mistake; the chain still proves."""
    from city.storage import audit as stored
    from city.storage.changes import open_connection
    from city.storage.database import translated
    from runtime import connections

    async def erased(url: str) -> bool:
        with translated():
            async with await open_connection(url, "city audit erase") as connection:
                return await stored.erase(connection, entry, actor="command-line", reason=reason)

    if not reason.strip():
        raise CityError("--reason: say why, without personal data")
    if not yes:
        typer.confirm(f"erase what row {entry} says? it cannot be brought back", abort=True, err=True)
    with connections.database(settings.load()) as url:
        if not asyncio.run(erased(url)):
            raise CityError(
                f"ID = {entry}: there is no such row, it is erased already, or it was written in the last seconds and "
                "is not chained yet"
            )
    Console().print(f"row {entry} says nothing any more; that it was erased is on the record")
