"""A district for screens to look at, written straight into an empty database."""

import psycopg

_GROUND = (
    "INSERT INTO district (code, name, name_en, timezone) VALUES ('900001', '压测区', 'Bench', 'Asia/Shanghai')",
    "INSERT INTO areas (layer, code, name) SELECT 'street', 'S' || n, '街' || n FROM generate_series(1, 5) n",
    """INSERT INTO areas (layer, code, name, parent_id)
       SELECT 'community', 'M' || n, '社区' || n, (SELECT id FROM areas WHERE code = 'S' || (1 + n %% 5))
       FROM generate_series(1, 50) n""",
    """INSERT INTO areas (layer, code, name, parent_id)
       SELECT 'cell', 'C' || n, '网格' || n, (SELECT id FROM areas WHERE code = 'M' || (1 + n %% 50))
       FROM generate_series(1, %(cells)s) n""",
    "INSERT INTO metrics (code) VALUES ('smoke') ON CONFLICT DO NOTHING",
    """INSERT INTO device_kinds (code, name, name_en, main_metric, expected_interval_s)
       VALUES ('smoke', '烟感', 'Smoke detector', 'smoke', 60) ON CONFLICT DO NOTHING""",
    """INSERT INTO devices (code, kind, cell_id)
       SELECT 'D' || n, 'smoke', (SELECT min(id) FROM areas WHERE layer = 'cell') + n %% %(cells)s
       FROM generate_series(1, %(devices)s) n""",
    "INSERT INTO presence (device_id, last_heard_at) SELECT id, now() FROM devices",
    "INSERT INTO categories (code, name, name_en, class, limit_minutes) VALUES ('bench', '压测', 'Bench', 'B', 600)",
    "INSERT INTO units (code, name, name_en, phone) VALUES ('U1', '一队', 'Crew 1', '1')",
    """INSERT INTO incidents (number, state, class, base_class, category, area_id, unit_id, reason, source, due_at,
                              opened_at, dispatched_at)
       SELECT 'B-' || n, 'dispatched', chr(65 + n %% 3), 'B', 'bench',
              (SELECT min(id) FROM areas WHERE layer = 'cell') + n %% %(cells)s, (SELECT min(id) FROM units), '压测',
              'alarm', now() + interval '10 hours', now(), now()
       FROM generate_series(1, 300) n""",
)


def lay_ground(url: str, *, devices: int, cells: int) -> None:
    """A district with devices that were all heard just now, and 300 open incidents."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _GROUND:
            connection.execute(statement, {"devices": devices, "cells": cells})
        connection.execute("ANALYZE")
