"""``city person``: everything about one reporter as a file, and taking it away."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

import asyncio
import os
import sys
import zipfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from city import settings
from city.errors import CityError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from command_centre.persons import Asked

app = typer.Typer(
    name="person",
    help="个人信息 · Everything about one reporter: give it out, take it away.",
    no_args_is_help=True,
)
ACTOR = "system:cli"
Done = TypeVar("Done")
Tracking = Annotated[str, typer.Option(help="Number of one of the person's reports.")]
PhoneFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the telephone number; - reads it from standard input. Arguments are seen by others."
    ),
]
Reason = Annotated[str, typer.Option(help="Who asked for it and why; goes on the record.")]


@app.callback()
def person() -> None:
    """个人信息 · Everything about one reporter: give it out, take it away."""


@app.command()
def export(
    out: Annotated[
        Path, typer.Argument(help="ZIP to write: person.json and the photos; must not be there yet.")
    ],
    reason: Reason,
    tracking: Tracking = "",
    phone_file: PhoneFile = None,
) -> None:
    """导出 · Reports with contact, texts, photos, notices and who looked at them; exit code 1 when there are none."""
    import msgspec

    from command_centre import persons, photos

    asked, chosen = _asked(tracking, phone_file), settings.load()

    async def work(connection: "AsyncConnection[Any]") -> list[dict[str, Any]]:
        return await persons.export(connection, chosen.keys.ring(), asked, actor=ACTOR, reason=reason)

    kept = _in_transaction(chosen, work)
    content = msgspec.json.format(msgspec.json.encode({"at": datetime.now(UTC), "reports": kept}), indent=2)
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CityError(
            f"{out}: cannot be written ({error.strerror}); name a file that is not there yet"
        ) from error
    with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("person.json", content)
        for digest in sorted({one for row in kept for one in row["photos"]}):
            picture = photos.path(chosen.photo_folder, bytes.fromhex(digest))
            if picture.exists():
                archive.write(picture, f"photos/{digest}.jpg")
    Console(soft_wrap=True).print(f"{out}: {len(kept)} reports")
    raise typer.Exit(int(not kept))


@app.command()
def erase(
    reason: Reason,
    tracking: Tracking = "",
    phone_file: PhoneFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say how many reports.")] = False,
) -> None:
    """删除 · Contact, address, photos and texts of all the person's reports. That there were reports stays."""
    from command_centre import persons

    asked, chosen = _asked(tracking, phone_file), settings.load()

    async def work(connection: "AsyncConnection[Any]") -> int:
        ring = chosen.keys.ring()
        if not yes:
            return len(await persons.found(connection, ring, asked))
        return await persons.erase(connection, ring, asked, actor=ACTOR, reason=reason, now=datetime.now(UTC))

    count = _in_transaction(chosen, work)
    Console(soft_wrap=True).print(
        f"{count} reports erased; backups from before still hold them"
        if yes
        else f"{count} reports; add --yes to erase"
    )
    raise typer.Exit(int(not count))


def _asked(tracking: str, phone_file: Path | None) -> "Asked":
    from command_centre.persons import Asked

    if bool(tracking) == (phone_file is not None):
        raise CityError("--tracking, --phone-file: give one of them")
    if phone_file is None:
        return Asked(tracking=tracking)
    try:
        said = sys.stdin.read(100) if str(phone_file) == "-" else phone_file.read_text(encoding="utf-8")
        return Asked(phone=said.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CityError(f"--phone-file {phone_file}: cannot be read") from error


def _in_transaction(
    chosen: settings.Settings, work: "Callable[[AsyncConnection[Any]], Awaitable[Done]]"
) -> Done:
    from city.storage.changes import open_connection
    from city.storage.database import translated
    from runtime import connections

    async def inside(url: str) -> Done:
        async with await open_connection(url, "city person", autocommit=True) as connection:
            with translated():
                async with connection.transaction():
                    return await work(connection)

    with connections.database(chosen) as url:
        return asyncio.run(inside(url))
