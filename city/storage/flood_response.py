"""Triggers, proposals and the response level in force, with their history; asynchronous."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from city.flood import ResponseLevel, Standing
from city.storage import audit

Connection = AsyncConnection[Any]
Row = dict[str, Any]
_ALONE = 7235_0050  # advisory: of several centres one looks after the flood desk
_LEVEL = 7235_0051  # advisory: one person changes the level at a time


async def try_alone(connection: Connection) -> bool:
    """Whether this transaction looks after the desk now; the right ends with it."""
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_ALONE,))
    row = await cursor.fetchone()
    return bool(row and row[0])


# ── triggers ─────────────────────────────────────────────────────────────────────────────────────────


async def triggers(connection: Connection) -> list[Row]:
    """Every trigger in its order: id, level, enabled, definition, version, changed_by, changed_at."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT t.id, t.level, t.enabled, t.definition, t.version, t.changed_at,
                   coalesce(nullif(u.display_name, ''), u.name, t.changed_by) AS changed_by
            FROM flood_triggers t LEFT JOIN users u ON t.changed_by = 'user:' || u.id ORDER BY t.place, t.id
            """
        )
        return await cursor.fetchall()


async def seed(connection: Connection, defaults: Sequence[tuple[str, str, bool, Mapping[str, Any]]]) -> bool:
    """Write (id, level, enabled, definition) where there is none yet; True when it was done."""
    await connection.execute("LOCK TABLE flood_triggers IN SHARE ROW EXCLUSIVE MODE")
    cursor = await connection.execute("SELECT 1 FROM flood_triggers LIMIT 1")
    if await cursor.fetchone() is not None:
        return False
    await _insert(connection, defaults, "import")
    return True


async def replace_triggers(
    connection: Connection,
    wanted: Sequence[tuple[str, str, bool, Mapping[str, Any]]],
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Make the set this one; unchanged ones keep their version, what changed stands in the audit with its reason."""
    before = {
        row["id"]: (row["level"], row["enabled"], row["definition"]) for row in await triggers(connection)
    }
    after = {one[0]: (one[1], one[2], dict(one[3])) for one in wanted}
    gone = [name for name in before if name not in after]
    changed = [name for name in after if name in before and after[name] != before[name]]
    await connection.execute("DELETE FROM flood_triggers WHERE id = ANY(%s)", (gone,))
    await _insert(connection, wanted, actor)
    for name in changed:
        level, enabled, definition = after[name]
        await connection.execute(
            "UPDATE flood_triggers SET level = %s, enabled = %s, definition = %s, version = version + 1,"
            " changed_by = %s, changed_at = %s WHERE id = %s",
            (level, enabled, Jsonb(definition), actor, now, name),
        )
    detail = {
        "added": [name for name in after if name not in before],
        "removed": gone,
        "changed": {name: {"before": before[name], "after": after[name]} for name in changed},
    }
    await audit.record(
        connection,
        actor=actor,
        action="flood.triggers",
        subject="flood_triggers",
        reason=reason,
        detail=detail,
        at=now,
    )


async def _insert(
    connection: Connection, listed: Sequence[tuple[str, str, bool, Mapping[str, Any]]], actor: str
) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO flood_triggers AS known (id, level, place, enabled, definition, changed_by)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET place = excluded.place",
            [
                (name, level, place, enabled, Jsonb(dict(definition)), actor)
                for place, (name, level, enabled, definition) in enumerate(listed)
            ],
        )


# ── the level in force ───────────────────────────────────────────────────────────────────────────────


async def lock_level(connection: Connection) -> None:
    """One change of the level at a time, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LEVEL,))


async def standing(connection: Connection) -> Standing:
    """The level in force, since when, and when triggers of each level last fired."""
    fired = await connection.execute("SELECT level, at FROM flood_level_fired")
    last: dict[ResponseLevel, datetime] = dict(await fired.fetchall())
    cursor = await connection.execute(
        "SELECT d.response_level, r.at FROM district d LEFT JOIN LATERAL ("
        "SELECT at FROM flood_responses ORDER BY id DESC LIMIT 1) r ON true"
    )
    row = await cursor.fetchone()
    return Standing(level=row[0] if row else None, since=row[1] if row else None, last_fired=last)


async def note_fired(connection: Connection, levels: Mapping[ResponseLevel, datetime]) -> None:
    """Remember when triggers of these levels last fired."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO flood_level_fired (level, at) VALUES (%s, %s)"
            " ON CONFLICT (level) DO UPDATE SET at = greatest(flood_level_fired.at, excluded.at)",
            list(levels.items()),
        )


async def change_level(  # a row of the history
    connection: Connection,
    *,
    level: ResponseLevel | None,
    previous: ResponseLevel | None,
    action: str,
    proposal_id: int | None,
    actor: str,
    reason: str,
    now: datetime,
) -> int:
    """Write the level and its history; returns the id of the new row, which is the version people see."""
    await connection.execute("UPDATE district SET response_level = %s", (level,))
    cursor = await connection.execute(
        """
        INSERT INTO flood_responses (at, level, previous, action, proposal_id, actor, reason)
        VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (now, level, previous, action, proposal_id, actor, reason),
    )
    row = await cursor.fetchone()
    await connection.execute(
        "UPDATE flood_proposals SET answered_at = %s, answered_by = %s"
        " WHERE answered_at IS NULL AND id = (SELECT max(id) FROM flood_proposals)",
        (now, actor),
    )
    return int(row[0]) if row else 0


async def history(connection: Connection, limit: int) -> list[Row]:
    """Changes of the level, newest first: id, at, level, previous, action, proposal_id, actor, reason."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT r.id, r.at, r.level, r.previous, r.action, r.proposal_id,
                   coalesce(nullif(u.display_name, ''), u.name, r.actor) AS actor, r.reason
            FROM flood_responses r LEFT JOIN users u ON r.actor = 'user:' || u.id
            ORDER BY r.id DESC LIMIT %s
            """,
            (limit,),
        )
        return await cursor.fetchall()


# ── proposals ────────────────────────────────────────────────────────────────────────────────────────

_PROPOSAL = """
    SELECT p.id, p.at, p.level, p.current, p.fired, p.words, p.words_en, p.answered_at,
           coalesce(nullif(u.display_name, ''), u.name, p.answered_by) AS answered_by
    FROM flood_proposals p LEFT JOIN users u ON p.answered_by = 'user:' || u.id
"""


async def newest_proposal(connection: Connection) -> Row | None:
    """The newest proposal, answered or not; None when there never was one."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_PROPOSAL + " ORDER BY p.id DESC LIMIT 1")
        return await cursor.fetchone()


async def store_proposal(  # a row
    connection: Connection,
    *,
    now: datetime,
    level: ResponseLevel | None,
    current: ResponseLevel | None,
    fired: Sequence[Mapping[str, Any]],
    words: str,
    words_en: str,
) -> int:
    """Keep a proposal; returns its id."""
    cursor = await connection.execute(
        """
        INSERT INTO flood_proposals (at, level, current, fired, words, words_en)
        VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (now, level, current, Jsonb(list(fired)), words, words_en),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


# ── crossings ────────────────────────────────────────────────────────────────────────────────────────


async def bands(connection: Connection) -> dict[str, str]:
    """The band in which each station was last seen, by code."""
    cursor = await connection.execute(
        "SELECT d.code, b.state FROM flood_station_bands b JOIN devices d ON d.id = b.device_id"
    )
    return dict(await cursor.fetchall())


async def note_bands(connection: Connection, found: Mapping[str, str], now: datetime) -> None:
    """Remember the bands of these stations."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO flood_station_bands (device_id, state, since)
            SELECT id, %s, %s FROM devices WHERE code = %s
            ON CONFLICT (device_id) DO UPDATE SET state = excluded.state, since = excluded.since
            """,
            [(state, now, code) for code, state in found.items()],
        )
