"""``city uplink-again``: owe the city once more what is stored here."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console

from city import settings
from city.errors import CityError
from city.storage import database, uplink
from runtime import connections

AT_ONCE = timedelta(hours=6)
_FORMS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"]


def again(
    since: Annotated[
        datetime, typer.Option(formats=_FORMS, help="First instant, with offset; naive is UTC.")
    ],
    until: Annotated[datetime, typer.Option(formats=_FORMS, help="Behind the last instant.")],
) -> None:
    """补报 · Owe the city once more what is stored of a time: from before the uplink, refused, or given up."""
    first, behind = (
        moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC) for moment in (since, until)
    )
    if first >= behind:
        raise CityError(f"--since {first.isoformat()}: is not before --until {behind.isoformat()}")
    chosen = settings.load()
    now = datetime.now(UTC)
    first = max(first, now - timedelta(days=chosen.retention_days))
    behind = min(behind, now + timedelta(days=1))
    owed = 0
    with (
        connections.database(chosen) as url,
        database.translated(),
        database.connect(url, application="city uplink again", autocommit=True) as connection,
    ):
        while first < behind:  # a day of a district is more than the server does in one statement
            until_then = min(first + AT_ONCE, behind)
            owed += uplink.stored_again(connection, since=first, until=until_then)
            first = until_then
    Console().print(f"{owed} readings wait for the city; what it has already it ignores", highlight=False)
