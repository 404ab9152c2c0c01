"""How many devices there are of each kind and state, for filters; asynchronous."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]

_MOST_UNITS = 500


async def counted(connection: Connection) -> dict[str, Any]:
    """total, kinds (each with its names, main metric and count), registrations, service_states, units."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT k.code, k.name, k.name_en, k.main_metric, coalesce(m.unit, '') AS unit, k.expected_interval_s,
                count(d.id) AS devices
            FROM device_kinds k LEFT JOIN metrics m ON m.code = k.main_metric
            LEFT JOIN devices d ON d.kind = k.code AND d.registration <> 'retired'
            GROUP BY k.code, m.unit ORDER BY k.code
            """
        )
        kinds = await cursor.fetchall()
    registrations = await _by(connection, "SELECT registration, count(*) FROM devices GROUP BY 1")
    return {
        "total": sum(registrations.values()),
        "kinds": kinds,
        "registrations": registrations,
        "service_states": await _by(
            connection,
            """
            SELECT CASE WHEN service_until <= now() THEN 'in_service' ELSE service_state END, count(*) FROM devices
            WHERE registration <> 'retired' GROUP BY 1
            """,
        ),
        "units": await _units(connection),
    }


async def _by(connection: Connection, query: str) -> dict[str, int]:
    cursor = await connection.execute(query.encode())
    return dict(await cursor.fetchall())


async def _units(connection: Connection) -> list[str]:
    """The texts that stand as owner or maintainer, those of most devices first."""
    cursor = await connection.execute(
        """
        SELECT unit FROM devices, LATERAL (VALUES (owner_unit), (maintainer_unit)) v (unit)
        WHERE unit <> '' AND registration <> 'retired' GROUP BY unit ORDER BY count(*) DESC, unit LIMIT %s
        """,
        (_MOST_UNITS,),
    )
    return [row[0] for row in await cursor.fetchall()]
