"""A fleet for a measurement: many devices at once into an empty database, and what the tables then weigh."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

Db = Connection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """Bytes of tables with their indexes, and rows; ``wal_bytes`` is the log's position, to be subtracted."""

    observations: int
    observations_indexes: int  # of that
    register: int
    presence: int
    rule_states: int
    rule_states_rows: int
    alarms: int
    wal_bytes: int


def enrol(connection: Db, codes: Sequence[str], kinds: Sequence[str], cells: Sequence[str]) -> None:
    """Devices of the district's own list, by code, kind and cell; a water gauge has levels, as it would."""
    named = {"codes": list(codes), "kinds": list(kinds), "cells": list(cells)}
    connection.execute(
        """
        INSERT INTO areas (layer, code, name)
        SELECT DISTINCT 'cell', w.cell, w.cell FROM unnest(%(cells)s::text[]) w (cell)
        WHERE NOT EXISTS (SELECT FROM areas a WHERE a.layer = 'cell' AND a.code = w.cell AND a.valid_to IS NULL)
        """,
        named,
    )
    connection.execute(
        """
        WITH enrolled AS (
            INSERT INTO devices (code, kind, cell_id)
            SELECT w.code, w.kind, a.id
            FROM unnest(%(codes)s::text[], %(kinds)s::text[], %(cells)s::text[]) w (code, kind, cell)
            JOIN areas a ON a.layer = 'cell' AND a.code = w.cell AND a.valid_to IS NULL
            RETURNING id, kind
        )
        INSERT INTO stations (device_id, station_kind, warning_level_m, guaranteed_level_m, highest_level_m)
        SELECT id, 'river', 70, 95, 99 FROM enrolled WHERE kind = 'water'
        """,
        named,
    )


def analyze(connection: Db) -> None:
    """What autovacuum does within a minute of an import; plans are made for the size the tables have."""
    connection.execute("ANALYZE areas, devices, stations, device_partitions")


def weigh(connection: Db) -> Weight:
    """What is stored now; a hypertable's chunks are its children, as a partitioned table's are."""
    row = connection.execute(
        """
        WITH sized AS (
            SELECT t.name, pg_total_relation_size(t.name::regclass) + coalesce(c.bytes, 0) AS bytes,
                pg_indexes_size(t.name::regclass) + coalesce(c.indexes, 0) AS indexes
            FROM unnest(ARRAY['observations', 'devices', 'stations', 'device_partitions', 'presence', 'rule_states',
                              'alarms', 'alarm_events', 'changes']) t (name)
            CROSS JOIN LATERAL (
                SELECT sum(pg_total_relation_size(i.inhrelid)) AS bytes, sum(pg_indexes_size(i.inhrelid)) AS indexes
                FROM pg_inherits i WHERE i.inhparent = t.name::regclass
            ) c
        )
        SELECT sum(bytes) FILTER (WHERE name = 'observations')::bigint AS observations,
            sum(indexes) FILTER (WHERE name = 'observations')::bigint AS observations_indexes,
            sum(bytes) FILTER (WHERE name IN ('devices', 'stations', 'device_partitions'))::bigint AS register,
            sum(bytes) FILTER (WHERE name = 'presence')::bigint AS presence,
            sum(bytes) FILTER (WHERE name = 'rule_states')::bigint AS rule_states,
            (SELECT count(*) FROM rule_states) AS rule_states_rows,
            sum(bytes) FILTER (WHERE name IN ('alarms', 'alarm_events', 'changes'))::bigint AS alarms,
            pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS wal_bytes
        FROM sized
        """
    ).fetchone()
    assert row is not None  # noqa: S101 - aggregates return their row
    return Weight(**dict(zip(Weight.__slots__, row, strict=True)))
