"""Telling reporters of each step, by the way they chose; and one row for each time that they were told."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.incidents import Incident
from city.reports import NewReport, spoken

Connection = AsyncConnection[Any]


def link(tracking: str) -> str:
    """Where a reporter looks, below the centre's public address."""
    return f"/track/{spoken(tracking)}"


async def received(
    connection: Connection,
    report_id: int,
    tracking: str,
    report: NewReport,
    incident: Incident,
    now: datetime,
) -> None:
    """The first notice: it is here, and this is its number."""


async def after_change(connection: Connection, before: str, incident: Incident, now: datetime) -> None:
    """Tell everybody who follows an incident of a new state; ``before`` is the one it had.

    Called in the transaction of the change, for incidents that somebody waits for.
    """
