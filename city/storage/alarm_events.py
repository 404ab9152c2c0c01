"""What happened to an alarm, in order: appended, never changed; asynchronous. Ingest notes the rule's part itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Connection = AsyncConnection[Any]
Row = dict[str, Any]
Kind = Literal["acknowledged", "shelved", "unshelved", "held", "released", "raised", "cleared"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """An event about to be appended."""

    alarm_id: int
    at: datetime
    kind: Kind
    actor: str = "system"
    reason: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)


async def append(connection: Connection, noted: Sequence[Noted]) -> None:
    """Append in this order."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO alarm_events (alarm_id, at, kind, actor, reason, evidence) VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (one.alarm_id, one.at, one.kind, one.actor, one.reason, Jsonb(dict(one.evidence)))
                for one in noted
            ],
        )


async def of_alarm(connection: Connection, alarm_id: int) -> list[Row]:
    """at, recorded_at, kind, actor (a person by name), reason and evidence, in the order they were written."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT e.at, e.recorded_at, e.kind, coalesce(nullif(u.display_name, ''), u.name, e.actor) AS actor,
                   e.reason, e.evidence
            FROM alarm_events e LEFT JOIN users u ON e.actor = 'user:' || u.id
            WHERE e.alarm_id = %s ORDER BY e.id
            """,
            (alarm_id,),
        )
        return await cursor.fetchall()
