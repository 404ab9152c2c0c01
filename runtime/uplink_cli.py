"""``city uplink-again``: owe the city once more what is stored here."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from city import settings
from city.errors import CityError
from city.storage import database, uplink
from runtime import connections


def again(
    since: Annotated[datetime, typer.Option(help="First instant, with offset; naive is UTC.")],
    until: Annotated[datetime, typer.Option(help="Behind the last instant.")],
) -> None:
    """补报 · Owe the city once more what is stored of a time: from before the uplink, refused, or given up."""
    first, behind = (
        moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC) for moment in (since, until)
    )
    if first >= behind:
        raise CityError(f"--since {first.isoformat()}: is not before --until {behind.isoformat()}")
    with (
        connections.database(settings.load()) as url,
        database.translated(),
        database.connect(url, application="city uplink again") as connection,
    ):
        owed = uplink.stored_again(connection, since=first, until=behind)
    Console().print(f"{owed} readings wait for the city; what it has already it ignores", highlight=False)
