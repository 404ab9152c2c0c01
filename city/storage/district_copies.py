"""A district's database copied into another one: its past in slices while it serves, its books while nobody writes.

Synchronous. The past (observations and what is made of them) only grows; books are everything else. Of both, counts and
digests are taken in the instant that is copied and again where they arrive.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Any

import psycopg
from psycopg import Connection, IsolationLevel, sql

from city.backups import Table
from city.errors import CityError
from city.storage.backups import table_digest

Db = Connection[tuple[Any, ...]]

# Tables of the past with their time; rows are found by device first.
PAST: Mapping[str, str] = {"observations": "observed_at", "detections": "observed_at", "rollups": "bucket"}
# This database's own, whoever's district it holds.
OWN = frozenset(
    {"_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock", "district_moves", "district_move_slices"}
)
BLOCK = 100  # devices of one slice


class MoveError(CityError):
    """A move cannot go on; one line with the remedy. What is copied stays, and is not copied again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Rows of a block of devices from ``since`` (None = ever) until before ``until`` (None = ever)."""

    table: str
    first_device: int
    since: datetime | None
    until: datetime | None
    devices: int | None = BLOCK  # None = all from the first on

    def where(self) -> sql.Composed:
        """The condition, complete with its values: COPY takes no parameters."""
        time = sql.Identifier(PAST[self.table])
        parts: list[sql.Composable] = [sql.SQL("device_id >= {}").format(self.first_device)]
        if self.devices is not None:
            parts.append(sql.SQL("device_id < {}").format(self.first_device + self.devices))
        if self.table == "rollups":
            parts.append(sql.SQL("step_s IN (60, 3600)"))  # its key begins with it
        if self.since is not None:
            parts.append(sql.SQL("{} >= {}").format(time, self.since))
        if self.until is not None:
            parts.append(sql.SQL("{} < {}").format(time, self.until))
        return sql.SQL(" AND ").join(parts)


# ── the past ─────────────────────────────────────────────────────────────────────────────────────────


def blocks(source: Db) -> list[int]:
    """First devices of the blocks that there are."""
    (highest,) = source.execute("SELECT coalesce(max(id), 0) FROM devices").fetchone() or (0,)
    return list(range(0, highest + 1, BLOCK))


def copied(target: Db, until: datetime) -> set[tuple[str, int]]:
    """Tables and blocks of this round that are there."""
    rows = target.execute("SELECT of_table, first_device FROM district_move_slices WHERE to_at = %s", [until])
    return {(row[0], row[1]) for row in rows}


def copy_slice(source: Db, target: Db, part: Slice) -> Table:
    """Copy it and note that it is there; raises MoveError when what arrived is not what left.

    The target's transaction is one: after an interruption the slice is there and noted, or neither.
    """
    with _instant(source), target.transaction():
        left = slice_digest(source, part)
        _pour(source, target, part.table, part.where())
        arrived = slice_digest(target, part)
        if left != arrived:
            raise MoveError(
                f"{part.table} from device {part.first_device}: {arrived.rows} of {left.rows} arrived"
            )
        target.execute(
            "INSERT INTO district_move_slices (of_table, first_device, to_at, counted, digest)"
            " VALUES (%s, %s, coalesce(%s::timestamptz, 'infinity'), %s, %s)",
            [part.table, part.first_device, part.until, left.rows, left.digest],
        )
    return left


def slice_digest(connection: Db, part: Slice) -> Table:
    """Rows and digest of a slice."""
    query = sql.SQL(
        "SELECT count(*), coalesce(bit_xor(hash_record_extended(row_, 0)), 0) FROM {} AS row_ WHERE {}"
    )
    row = connection.execute(query.format(sql.Identifier(part.table), part.where())).fetchone()
    assert row is not None  # noqa: S101  # an aggregate
    return Table(rows=row[0], digest=row[1])


def noted(target: Db, part: Slice) -> Table:
    """What was copied of a block in all rounds but the last, which nobody could add to."""
    row = target.execute(
        "SELECT coalesce(sum(counted), 0)::bigint, coalesce(bit_xor(digest), 0) FROM district_move_slices"
        " WHERE of_table = %s AND first_device = %s AND to_at < 'infinity'",
        [part.table, part.first_device],
    ).fetchone()
    assert row is not None  # noqa: S101  # an aggregate
    return Table(rows=row[0], digest=row[1])


def forget_last(target: Db, since: datetime | None) -> None:
    """Remove what was copied under the fence by a try that was interrupted before the switch: it may grow again."""
    with target.transaction():
        if target.execute("DELETE FROM district_move_slices WHERE to_at = 'infinity'").rowcount:
            for name in PAST:
                last = Slice(table=name, first_device=0, since=since, until=None, devices=None)
                target.execute(sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(name), last.where()))


def add_missing(source: Db, target: Db, part: Slice) -> int:
    """Copy what of a slice is not there, beside what came meanwhile; how many rows that were."""
    name, columns = sql.Identifier(part.table), _columns(source, part.table)
    with _instant(source), target.transaction():
        target.execute(
            sql.SQL("CREATE TEMP TABLE late_ ON COMMIT DROP AS SELECT {} FROM {} WHERE false").format(
                columns, name
            )
        )
        _pour(source, target, part.table, part.where(), into="late_")
        return target.execute(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM late_ ON CONFLICT DO NOTHING").format(
                name, columns, columns
            )
        ).rowcount


# ── books ────────────────────────────────────────────────────────────────────────────────────────────


def books(connection: Db) -> list[str]:
    """Every other table, those that others refer to first."""
    names = {
        row[0]
        for row in connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace = 'public'::regnamespace"
        )
    } - {*PAST, *OWN}
    order: TopologicalSorter[str] = TopologicalSorter({name: set() for name in sorted(names)})
    for child, parent in connection.execute(
        "SELECT c.relname, p.relname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid"
        " JOIN pg_class p ON p.oid = f.confrelid WHERE f.contype = 'f' AND f.conrelid <> f.confrelid"
    ):
        if child in names and parent in names:
            order.add(child, parent)
    return list(order.static_order())


def copy_books(source: Db, target: Db, until: datetime | None) -> dict[str, Table]:
    """All books and what was observed since ``until``, as of one instant of a fenced source; what there is of each.

    Books that an interrupted try left are replaced. Raises MoveError when what arrived is not what left.
    """
    tables = books(source)
    made: dict[str, Table] = {}
    with _instant(source), target.transaction():
        every = sql.SQL(", ").join(map(sql.Identifier, tables))
        for name in tables:
            target.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(name)))
        target.execute(sql.SQL("TRUNCATE {}").format(every))
        for name in tables:
            _pour(source, target, name, None)
        for name in tables:
            target.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(sql.Identifier(name)))
        _sequences(source, target)
        for name in tables:
            left, made[name] = table_digest(source, "public", name), table_digest(target, "public", name)
            if left != made[name]:
                raise MoveError(f"{name}: {made[name].rows} of {left.rows} rows arrived, or not as they were")
        for name in PAST:
            last = Slice(table=name, first_device=0, since=until, until=None, devices=None)
            made[name] = copy_slice(source, target, last)
    return made


def _sequences(source: Db, target: Db) -> None:
    """Numbers go on where they are."""
    names = source.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    for (name,) in names:
        row = source.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(name))
        ).fetchone()
        assert row is not None  # noqa: S101  # a sequence has one
        target.execute("SELECT setval(%s::regclass, %s, %s)", [f'public."{name}"', *row])


def _pour(source: Db, target: Db, table: str, where: sql.Composable | None, into: str = "") -> None:
    columns = _columns(source, table)
    out = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT (FORMAT binary)").format(
        columns, sql.Identifier(table), where or sql.SQL("true")
    )
    taken = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(into or table), columns)
    with (
        source.cursor() as reading,
        target.cursor() as writing,
        reading.copy(out) as leaving,
        writing.copy(taken) as arriving,
    ):
        for block in leaving:
            arriving.write(block)


def _columns(connection: Db, table: str) -> sql.Composed:
    """Those that are written; a generated one is made again."""
    rows: Sequence[tuple[Any, ...]] = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        [f'public."{table}"'],
    ).fetchall()
    return sql.SQL(", ").join(sql.Identifier(row[0]) for row in rows)


@contextmanager
def _instant(source: Db) -> Iterator[None]:
    """A transaction of the source that sees one instant and writes nothing; within another it is that one's."""
    if source.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        yield
        return
    source.isolation_level, source.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with source.transaction():
            yield
    finally:
        source.isolation_level, source.read_only = None, None
