"""A database seen at one instant, to be copied and compared; scratch databases; what a restore puts right.

Synchronous, but for the two questions that the centre asks.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection, Connection, IsolationLevel, errors, sql

from city.backups import Chains, Content, Manifest, Server, Table
from city.storage import audit
from city.storage.database import connect, translated

# Numbers that the lost time may have given out, on paper and on the telephone: left out, so that none is given twice.
NUMBERS_LEFT_OUT = 5_000

_TABLES = r"""
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^(pg_|_?timescaledb)'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2
"""
_OTHERS = r"""
    SELECT g.rolname AS role, format('%s %s %s', c.oid::regclass, g.rolname, a.privilege_type) AS said
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a JOIN pg_roles g ON g.oid = a.grantee
        JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE a.grantee <> c.relowner AND n.nspname <> 'information_schema' AND n.nspname !~ '^(pg_|_?timescaledb)'
    UNION ALL
    SELECT g.rolname, format('schema %s %s %s', n.nspname, g.rolname, a.privilege_type)
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a JOIN pg_roles g ON g.oid = a.grantee
    WHERE a.grantee <> n.nspowner AND n.nspname <> 'information_schema' AND n.nspname !~ '^(pg_|_?timescaledb)'
    UNION ALL
    SELECT r.role,
           format('policy %s.%s %s %s %s %s %s', schemaname, tablename, policyname, r.role, cmd, qual, with_check)
    FROM pg_policies CROSS JOIN LATERAL unnest(roles) r (role) WHERE r.role <> 'public'
    UNION ALL
    SELECT NULL, format('rows of %s are guarded', oid::regclass) FROM pg_class
    WHERE relrowsecurity AND relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT g.rolname, format('default %s %s %s', d.defaclobjtype, g.rolname, a.privilege_type)
    FROM pg_default_acl d CROSS JOIN LATERAL aclexplode(d.defaclacl) a JOIN pg_roles g ON g.oid = a.grantee
    WHERE a.grantee <> d.defaclrole
    ORDER BY 2
"""
_DEFAULTS = """
    SELECT format('ALTER DEFAULT PRIVILEGES%s GRANT %s ON %s TO %I',
                  CASE WHEN n.nspname IS NULL THEN '' ELSE format(' IN SCHEMA %I', n.nspname) END,
                  string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
                  CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                       WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END,
                  g.rolname)
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
        CROSS JOIN LATERAL aclexplode(d.defaclacl) a JOIN pg_roles g ON g.oid = a.grantee
    WHERE a.grantee <> d.defaclrole GROUP BY n.nspname, d.defaclobjtype, g.rolname ORDER BY 1
"""
_SIZES = """
    SELECT pg_database_size(current_database()),
           (SELECT coalesce(sum(pg_table_size(oid)), 0) FROM pg_class WHERE relkind = 'r')::bigint
"""
_NEWEST = "SELECT max(snapshot_at) FROM backups"
_BORN = "SELECT min(applied_at_utc) AT TIME ZONE 'UTC' FROM _yoyo_migration"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """An instant that others may share while ``connection`` stays open. Sizes in bytes, tables without indexes."""

    connection: "Connection[tuple[Any, ...]]"
    id: str
    at: datetime
    database_bytes: int
    table_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What was put right after a restore, to be told to people."""

    sessions_ended: int
    held_back: int  # messages that may have been sent since
    incidents: tuple[str, ...]  # whose orders are among them
    first_number: str  # of the next incident


@contextmanager
def snapshot(url: str) -> Iterator[Snapshot]:
    """Hold one instant still; raises DatabaseError."""
    with translated(), connect(url, application="city backup") as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        _unbounded(connection)
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # ingest needs the other core
        row = _one(connection, "SELECT pg_export_snapshot(), clock_timestamp()")
        sizes = _one(connection, _SIZES)
        yield Snapshot(
            connection=connection, id=row[0], at=row[1], database_bytes=sizes[0], table_bytes=sizes[1]
        )


def _one(connection: "Connection[tuple[Any, ...]]", query: LiteralString) -> tuple[Any, ...]:
    """The row of a statement that always has one."""
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - narrows the type
    return row


def _unbounded(connection: "Connection[tuple[Any, ...]]") -> None:
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute("SET LOCAL lock_timeout = '60s'")  # a migration may hold a table for seconds
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def content(connection: "Connection[tuple[Any, ...]]") -> Content:
    """Rows, digests and ends of chains in this transaction's instant; reads every row once."""
    extension = connection.execute(
        "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchone()
    tables = connection.execute(_TABLES).fetchall()
    done = connection.execute("SELECT migration_id FROM _yoyo_migration ORDER BY 1").fetchall()
    others = connection.execute(_OTHERS).fetchall()
    return Content(
        postgres=connection.info.server_version,
        timescaledb=extension[0] if extension else None,
        migrations=tuple(row[0] for row in done),
        tables={f"{schema}.{table}": table_digest(connection, schema, table) for schema, table in tables},
        chains=_chains(connection),
        roles=tuple(sorted({row[0] for row in others if row[0] is not None})),
        default_privileges=tuple(row[0] for row in connection.execute(_DEFAULTS)),
        grants=hashlib.sha256("\n".join(row[1] for row in others).encode()).hexdigest(),
    )


def restored_content(url: str) -> Content:
    """The same of a database that nobody changes."""
    with translated(), connect(url, application="city restore") as connection:
        _unbounded(connection)
        return content(connection)


def table_digest(connection: "Connection[tuple[Any, ...]]", schema: str, table: str) -> Table:
    """Rows of a table and the exclusive or of their hashes, in this transaction's instant."""
    query = sql.SQL("SELECT count(*), coalesce(bit_xor({}), 0) FROM {} AS row_")
    name = sql.Identifier(schema, table)
    try:
        with connection.transaction():  # a savepoint: a column's type may have no hash (json)
            found = connection.execute(
                query.format(sql.SQL("hash_record_extended(row_, 0)"), name)
            ).fetchone()
    except errors.UndefinedFunction:
        of_text = sql.SQL("hashtextextended(row_::text, 0)")
        found = connection.execute(query.format(of_text, name)).fetchone()
    assert found is not None  # noqa: S101 - an aggregate
    return Table(rows=found[0], digest=found[1])


def _chains(connection: "Connection[tuple[Any, ...]]") -> Chains:
    digest, incidents, events = hashlib.sha256(), 0, 0
    with connection.cursor("city_heads") as cursor:  # at the server: a million heads are not held here
        cursor.itersize = 10_000
        cursor.execute("SELECT id, last_seq, head FROM incidents ORDER BY id")
        for incident, last_seq, head in cursor:
            incidents, events = incidents + 1, events + last_seq
            digest.update(f"{incident}:{last_seq}:{bytes(head).hex()}\n".encode())
    anchor = connection.execute("SELECT id, digest FROM anchors ORDER BY id DESC LIMIT 1").fetchone()
    end = _one(connection, "SELECT seq, hash FROM audit_head")
    return Chains(
        incidents=incidents,
        events=events,
        heads=digest.hexdigest(),
        anchor=anchor[0] if anchor else 0,
        anchor_digest=bytes(anchor[1]).hex() if anchor else "",
        audit=end[0],
        audit_hash=bytes(end[1]).hex(),
    )


def named_files(connection: "Connection[tuple[Any, ...]]") -> tuple[set[bytes], set[bytes]]:
    """Digests of the photos and of the documents that the database names."""
    photos = {bytes(row[0]) for row in connection.execute("SELECT digest FROM photos")}
    return photos, {bytes(row[0]) for row in connection.execute("SELECT DISTINCT digest FROM documents")}


def series(connection: "Connection[tuple[Any, ...]]") -> tuple[str, str]:
    """What this database's lines are known by in anchors.log and in audit.log; empty = it has none yet."""
    anchor = connection.execute("SELECT previous FROM anchors ORDER BY id LIMIT 1").fetchone()
    entry = connection.execute("SELECT hash FROM audit WHERE seq = 1").fetchone()
    return bytes(anchor[0]).hex() if anchor else "", bytes(entry[0]).hex() if entry else ""


# ── where it is restored ─────────────────────────────────────────────────────────────────────────────


def server(url: str) -> Server:
    """What could be restored into this server."""
    with translated(), connect(url, application="city restore") as connection:
        available = connection.execute(
            "SELECT version FROM pg_available_extension_versions WHERE name = 'timescaledb'"
            " AND current_setting('shared_preload_libraries') LIKE '%timescaledb%' ORDER BY 1"
        ).fetchall()
        return Server(
            postgres=connection.info.server_version, timescaledb=tuple(str(row[0]) for row in available)
        )


def is_empty(url: str) -> bool:
    """Whether a database has no table of anybody's; an extension's own do not count."""
    with translated(), connect(url, application="city restore") as connection:
        return connection.execute(_TABLES).fetchone() is None


def create(url: str, name: str) -> None:
    """Make an empty database beside the one of ``url``; raises DatabaseError when it exists or we may not."""
    _administer(url, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))


def drop(url: str, name: str) -> None:
    """Remove a scratch database and whoever is connected to it."""
    _administer(url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _administer(url: str, statement: sql.Composed) -> None:
    with translated(), connect(url, application="city backup", autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        connection.execute(statement)


def forgotten_scratch(url: str, prefix: str) -> list[str]:
    """Scratch databases that an interrupted check left, with nobody connected."""
    with translated(), connect(url, application="city backup") as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database d WHERE starts_with(datname, %s)"
            " AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)",
            (prefix,),
        ).fetchall()
    return [str(row[0]) for row in rows]


@contextmanager
def restoring(url: str, timescaledb: str | None) -> Iterator[None]:
    """Around pg_restore: TimescaleDB takes its own catalogue only between its two functions, in its own version."""
    if timescaledb is None:
        yield
        return
    with translated(), connect(url, application="city restore", autocommit=True) as connection:
        present = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
        ).fetchone()
        if present is not None and present[0] != timescaledb:
            connection.execute("DROP EXTENSION timescaledb")
            present = None
    if present is None:  # its first statement in a session, else the library of another version is loaded
        with translated(), connect(url, application="city restore", autocommit=True) as connection:
            statement = sql.SQL("CREATE EXTENSION timescaledb VERSION {}").format(sql.Literal(timescaledb))
            connection.execute(statement)
    with translated(), connect(url, application="city restore", autocommit=True) as connection:
        connection.execute("SELECT timescaledb_pre_restore()")
    yield
    with translated(), connect(url, application="city restore", autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SELECT timescaledb_post_restore()")


def make_roles(url: str, roles: Sequence[str]) -> None:
    """Make those that this server lacks, without a log-in: grants and policies name them."""
    with translated(), connect(url, application="city restore", autocommit=True) as connection:
        there = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for role in roles:
            if role not in there:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))


def set_default_privileges(url: str, statements: Sequence[str]) -> None:
    """What tables to come are granted, for the account that restores: the dump names the one that dumped."""
    with translated(), connect(url, application="city restore") as connection:
        for statement in statements:
            connection.execute(statement.encode())


def analyze(url: str) -> None:
    """Give the planner its figures again: a dump carries none."""
    with translated(), connect(url, application="city restore", autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        connection.execute("ANALYZE")


def settle(
    url: str, *, today: date, now: datetime, snapshot_at: datetime | None, send_waiting: bool
) -> Settled:
    """Put right what the time after the backup has made wrong, in one transaction, and leave a row in ``audit``.

    Sessions end. Messages that were due are not sent again unless ``send_waiting``: the lost time most likely sent
    them. Numbers of today's incidents go on behind a gap, on record, so that none is given twice.
    """
    with translated(), connect(url, application="city restore") as connection:
        ended = connection.execute("DELETE FROM sessions").rowcount
        held: Sequence[tuple[Any, ...]] = []
        if not send_waiting:
            held = connection.execute(
                """
                WITH held AS (
                    UPDATE notifications SET state = 'failed',
                        last_error = 'not sent again: the database was restored, it may have been sent before'
                    WHERE state = 'waiting' AND next_attempt_at <= %s RETURNING incident_id
                )
                SELECT i.number FROM held h LEFT JOIN incidents i ON i.id = h.incident_id
                """,
                (now,),
            ).fetchall()
        first: tuple[Any, ...] | None = connection.execute(
            """
            WITH gap AS (
                INSERT INTO incident_numbers AS n (day, last) VALUES (%(day)s, %(left_out)s)
                ON CONFLICT (day) DO UPDATE SET last = n.last + %(left_out)s RETURNING last
            )
            INSERT INTO incident_number_gaps (day, first, last)
            SELECT %(day)s, last - %(left_out)s + 1, last FROM gap RETURNING last
            """,
            {"day": today, "left_out": NUMBERS_LEFT_OUT},
        ).fetchone()
        assert first is not None  # noqa: S101 - it inserts one row
        settled = Settled(
            sessions_ended=ended,
            held_back=len(held),
            incidents=tuple(sorted({row[0] for row in held if row[0] is not None})),
            first_number=f"{today:%Y%m%d}-{first[0] + 1:04d}",
        )
        detail = {
            "snapshot_at": snapshot_at.isoformat() if snapshot_at else None,
            "sessions_ended": ended,
            "held_back": len(held),
            "first_number": settled.first_number,
        }
        audit.record(
            connection, actor="command-line", action="backup.restored", subject="database", detail=detail
        )
        return settled


# ── what is known of backups ─────────────────────────────────────────────────────────────────────────


def record(url: str, manifest: Manifest, *, finished_at: datetime, place: str, digest: str) -> None:
    """Remember a good backup in the database it is of, and who can be asked where it is."""
    checked = manifest.check is not None
    with translated(), connect(url, application="city backup") as connection:
        connection.execute(
            "INSERT INTO backups (snapshot_at, finished_at, bytes, checked, place, product, manifest)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (manifest.snapshot_at, finished_at, manifest.bytes, checked, place, manifest.product, digest),
        )
        audit.record(
            connection,
            actor="command-line",
            action="backup.made",
            subject="database",
            detail={"place": place, "bytes": manifest.bytes, "checked": checked, "manifest": digest},
        )


def newest(url: str) -> tuple[datetime | None, datetime | None]:
    """When the newest good backup was taken, and when the database was born; None = unknown."""
    with translated(), connect(url, application="city doctor") as connection:
        return _one(connection, _NEWEST)[0], _one(connection, _BORN)[0]


async def protected_since(connection: AsyncConnection[Any]) -> tuple[datetime | None, datetime | None]:
    """The same, asked by the centre."""
    taken = await (await connection.execute(_NEWEST)).fetchone()
    born = await (await connection.execute(_BORN)).fetchone()
    return taken[0] if taken else None, born[0] if born else None
