"""``city scale``: the log of several machines at RabbitMQ, and which partition each device speaks by."""

from typing import Annotated

import typer
from psycopg import Connection
from rich.console import Console

from city import districts, settings
from city.districts import DistrictsError
from city.errors import CityError
from city.partitions import UNROUTED
from city.settings import Settings
from city.storage import database, partitions
from runtime.scale_topology import Topology

LATE_S = 10.0  # owners look every five

app = typer.Typer(
    name="scale", help="多机部署 · The partitioned log of several machines.", no_args_is_help=True
)


@app.command()
def init(
    partitions_: Annotated[
        int, typer.Option("--partitions", min=1, max=200, help="Settled for good at the first time.")
    ] = 32,
    replicas: Annotated[
        int, typer.Option(min=1, max=7, help="Nodes that hold each partition; no more than there are.")
    ] = 3,
) -> None:
    """建立分区 · Declare exchanges, streams and a binding for each cell; again after cells were added."""
    chosen = settings.load()
    with _connected(chosen) as connection, database.translated():
        own = _own(chosen, connection)
        topology = Topology(chosen.stream_admin_url, chosen.tls_of_log_admin())
        try:
            made = topology.declare(
                partitions.cells(connection),
                partitions=partitions_,
                replicas=replicas,
                days=chosen.stream_days,
                own=own,
            )
            bound = topology.cells()
        finally:
            topology.close()
        with connection.transaction():
            partitions.serve(connection, own or ())
            given = partitions.assign(
                connection,
                {cell: numbers[0] for cell, numbers in bound.items() if own is None or numbers[0] in own},
                otherwise=UNROUTED if own is None or UNROUTED in own else min(own),
            )
    Console().print(
        f"{made.partitions} partitions, {made.streams_added} streams made, {made.cells_bound} cells bound,"
        f" {given} devices given a partition",
        highlight=False,
    )


def faults(chosen: Settings) -> list[str]:
    """What ``city doctor`` has to say of the log; raises CityError when it cannot look."""
    with _connected(chosen) as connection, database.translated():
        cells = [cell for cell, _ in partitions.cells(connection)]
        own, read = _own(chosen, connection), partitions.served(connection)
        reading = reading_faults(partitions.behind(connection))
    topology = Topology(chosen.stream_admin_url, chosen.tls_of_log_admin())
    try:
        found = topology.faults(cells, own=own)
    finally:
        topology.close()
    if own != read:
        found.append(
            "the partitions read into this database are not those of CITY_DISTRICTS: run city scale init"
        )
    return found + reading


def _own(chosen: Settings, connection: "Connection[tuple[object, ...]]") -> frozenset[int] | None:
    """Partitions of this database's district where several districts share the log; None = all."""
    if chosen.districts is None:
        return None
    district = districts.read(chosen.districts).called(partitions.district_code(connection))
    if not district.partitions - {UNROUTED}:
        raise DistrictsError(f"{district.code}: partitions: it has none of the log; give it some, as 0-15")
    return district.partitions


def reading_faults(behind: partitions.Behind) -> list[str]:
    """What stands in the database of how the log is read; every remedy has its page under docs/runbooks."""
    found = []
    if behind.lost:
        found.append(f"{behind.lost} messages were lost unread within a day (LogLost)")
    if behind.unread:
        found.append(
            f"{behind.unread} of {behind.partitions} partitions are read by nobody: is city ingest running (LogUnread)?"
        )
    if behind.lag_s > LATE_S:
        found.append(
            f"{behind.lag_records} messages wait in the log, the oldest for {behind.lag_s:.0f} s (LogLagging)"
        )
    return found


def _connected(chosen: Settings) -> "Connection[tuple[object, ...]]":
    if not chosen.database_url:
        raise CityError("CITY_DATABASE_URL: several machines need a database that all of them reach; set it")
    return database.connect(chosen.database_url, application="city scale", autocommit=True)
