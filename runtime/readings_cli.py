"""``city readings``: what one device has read, as CSV or Parquet, into a file."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for pyarrow

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from city import settings
from city.errors import CityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from city.storage.exports import Reading, Series


def readings(
    code: Annotated[str, typer.Argument(metavar="CODE", help="Of the device.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv or .parquet; must not exist.")],
    start: Annotated[str, typer.Option("--from", help="With offset, included; a day before --to.")] = "",
    end: Annotated[str, typer.Option("--to", help="With offset, excluded; now.")] = "",
    metrics: Annotated[str, typer.Option(help="Codes with commas; all.")] = "",
) -> None:
    """读数 · One device's readings of a period, with units and quality."""
    from city.storage.database import connect, translated
    from city.storage.exports import block
    from command_centre import exports
    from runtime import connections

    form: exports.Format = "parquet" if file.suffix == ".parquet" else "csv"
    if file.suffix not in (".csv", ".parquet") or file.exists():
        raise CityError(f"{file}: name a new file that ends in .csv or .parquet")
    until = _instant("--to", end) if end else datetime.now(UTC)
    since = _instant("--from", start) if start else until - timedelta(days=1)
    given = settings.load()
    with (
        connections.database(given) as url,
        translated(),
        connect(url, application="city export", autocommit=True) as connection,
    ):
        names = [name.strip() for name in metrics.split(",") if name.strip()]
        wanted = exports.plan(connection, code, start=since, end=until, metrics=names, zone=given.zone)

        def following(series: "Series", after: datetime | None) -> "Sequence[Reading]":
            return block(connection, series, wanted.start, wanted.end, after)

        with file.open("xb") as opened:
            for piece in exports.write(wanted, form, following):
                opened.write(piece)
    typer.echo(f"wrote {file}")


def _instant(option: str, text: str) -> datetime:
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise CityError(f"{option} = {text!r}: write a time such as 2026-05-01T00:00:00+08:00") from error
    if read.tzinfo is None:
        raise CityError(f"{option} = {text!r}: has no offset; add +08:00 or Z")
    return read
