"""What the broker's password and access files are made of, read whole; synchronous, since it may be 100,000 rows."""

from collections.abc import Sequence
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from city.broker_accounts import Account, covered_by_pattern
from city.device_topics import native, speaks_on, within

# A device speaks for itself and for the registered devices that name it as their gateway. An account that a person
# revoked, or whose device is retired, is denied by name for as long as a certificate of that name may be good; the
# old one of a rotation is not, since its certificate is the new one's too.
_ACCOUNTS: LiteralString = """
    SELECT c.account, c.secret_hash, c.families, c.topics, d.code, false AS denied,
           coalesce((SELECT array_agg(n.family || ':' || n.name ORDER BY n.family, n.name)
                     FROM device_names n WHERE n.device_id = d.id), '{}') AS names, d.id
    FROM device_credentials c JOIN devices d ON d.id = c.device_id
    WHERE c.ended_at IS NULL AND (c.ends_at IS NULL OR c.ends_at > now()) AND d.registration <> 'retired'
      AND (%(code)s::text IS NULL OR d.code = %(code)s)
    UNION ALL
    SELECT DISTINCT c.account, NULL, '{}'::text[], '{}'::text[], '', true, '{}'::text[], 0
    FROM device_credentials c
    WHERE %(code)s::text IS NULL AND c.ended_at > now() - interval '4 years' AND c.ended_by <> 'system:rotation'
      AND NOT EXISTS (SELECT FROM device_credentials l WHERE l.account = c.account AND l.ended_at IS NULL)
    ORDER BY 1
"""
_BELOW: LiteralString = """
    SELECT g.id, d.code,
           coalesce((SELECT array_agg(n.family || ':' || n.name ORDER BY n.family, n.name)
                     FROM device_names n WHERE n.device_id = d.id), '{}')
    FROM devices g JOIN devices d ON d.gateway = g.code
    WHERE d.registration = 'registered' AND d.id <> g.id AND g.kind <> 'district_node'
      AND (%(code)s::text IS NULL OR g.code = %(code)s)
      AND EXISTS (SELECT FROM device_credentials c WHERE c.device_id = g.id AND c.ended_at IS NULL)
    ORDER BY g.id, d.code
"""

# A district's node speaks in whole cells: line by line its devices would be a list that the broker walks through for
# each of its messages. They are those where it stands and where devices behind it are registered.
_CELLS: LiteralString = """
    SELECT DISTINCT n.id, a.code
    FROM devices n
    JOIN devices d ON d.id = n.id OR d.gateway = n.code AND d.registration = 'registered'
    JOIN areas a ON a.id = d.cell_id
    WHERE n.kind = 'district_node' AND n.registration = 'registered' AND (%(code)s::text IS NULL OR n.code = %(code)s)
    ORDER BY 1, 2
"""

Spoken = tuple[str, list[tuple[str, str]]]


def version(connection: Connection[TupleRow]) -> tuple[int, int]:
    """Grows when the files may have to be written anew: of the accounts, and of the register they follow."""
    row = connection.execute(
        """SELECT (SELECT version FROM device_credentials_version),
                  (SELECT coalesce(sum(version), 0)::bigint FROM register_versions WHERE slot >= 0)"""
    ).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM
    return int(row[0]), int(row[1])


def end_overdue(connection: Connection[TupleRow]) -> list[str]:
    """Accounts whose time has run out, or whose device is retired, end now; their names."""
    rows = connection.execute(
        """UPDATE device_credentials c SET ended_at = now(),
               ended_by = CASE WHEN c.ends_at <= now() THEN 'system:rotation' ELSE 'system:retired' END
           FROM devices d WHERE d.id = c.device_id AND c.ended_at IS NULL
               AND (c.ends_at <= now() OR d.registration = 'retired')
           RETURNING c.account"""
    )
    return [row[0] for row in rows.fetchall()]


def accounts(connection: Connection[TupleRow]) -> list[Account]:
    """Everybody whom the broker lets in, with what he may write beyond the pattern of his name; by name."""
    return _accounts(connection, None)


def may_write(connection: Connection[TupleRow], code: str) -> list[str]:
    """The filters that a device's accounts may publish on, those of the pattern too; none without an account."""
    found = _accounts(connection, code)
    beyond = [topic for one in found for topic in one.writes]
    return list(dict.fromkeys([*native(code), *beyond])) if found else []


def _accounts(connection: Connection[TupleRow], code: str | None) -> list[Account]:
    asked = {"code": code}
    below: dict[int, list[Spoken]] = {}
    for gateway_id, child, names in connection.execute(_BELOW, asked).fetchall():
        below.setdefault(gateway_id, []).append((child, _pairs(names)))
    cells: dict[int, list[str]] = {}
    for node_id, cell in connection.execute(_CELLS, asked).fetchall():
        cells.setdefault(node_id, []).extend(within(cell))
    found: list[Account] = []
    rows = connection.execute(_ACCOUNTS, asked).fetchall()
    for name, secret_hash, families, topics, of, denied, names, device_id in rows:
        if denied:
            found.append(Account(name=name, denied=True))
            continue
        own = "" if covered_by_pattern(name, of) else of
        spoken: list[Spoken] = [(own, _pairs(names)), *below.get(device_id, [])]
        writes = [*cells.get(device_id, []), *speaks_on(spoken, families, topics)]
        found.append(Account(name=name, secret_hash=secret_hash, writes=writes))
    return found


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(one.partition(":")[0], one.partition(":")[2]) for one in names]
