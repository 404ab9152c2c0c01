"""The ladder of urging: read with the directory, replaced as a whole; asynchronous."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from city.storage import audit
from city.urging import Ladder, UrgingStep

Connection = AsyncConnection[Any]


async def ladder(connection: Connection) -> Ladder:
    """All steps, set by set."""
    async with connection.cursor(row_factory=kwargs_row(_step)) as cursor:
        await cursor.execute(
            "SELECT event_level, class AS incident_class, stage, step, at, purpose, tell FROM urging_steps"
            " ORDER BY stage, event_level, class, step"
        )
        return Ladder(tuple(await cursor.fetchall()))


def _step(**columns: Any) -> UrgingStep:
    return UrgingStep(**{**columns, "tell": tuple(columns["tell"])})


async def lock(connection: Connection) -> None:
    """Nobody else changes the ladder until the transaction ends."""
    await connection.execute("LOCK TABLE urging_steps IN SHARE ROW EXCLUSIVE MODE")


async def replace_all(
    connection: Connection, steps: Sequence[UrgingStep], *, actor: str, reason: str, now: datetime
) -> None:
    """Make the ladder this one; what it was stands in the audit with the reason. Call ``lock`` first."""
    before = await ladder(connection)
    await connection.execute("DELETE FROM urging_steps")
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO urging_steps (event_level, class, stage, step, at, purpose, tell)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (s.event_level, s.incident_class, s.stage, s.step, s.at, s.purpose, list(s.tell))
                for s in steps
            ],
        )
    await audit.record(
        connection,
        actor=actor,
        action="urging.changed",
        subject="urging",
        reason=reason,
        detail={"before": _listed(before.steps), "after": _listed(steps)},
        at=now,
    )


def _listed(steps: Sequence[UrgingStep]) -> list[str]:
    return [
        f"{s.event_level or '*'}/{s.incident_class or '*'}/{s.stage}/{s.step}: {s.at} {s.purpose} -> {','.join(s.tell)}"
        for s in steps
    ]
