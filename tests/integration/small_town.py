"""A small town in a migrated database: a row of cells in two communities, detectors, units, responsibilities.

Cells c00…c09 lie in a row, each beside the next; c00-c04 belong to community m1, the rest to m2, both in street s1.
Cell d00 lies alone in street s2. Every cell has two smoke detectors and a camera.
"""

import json
from datetime import UTC, datetime

import psycopg

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # noon of the district

_GROUND = """
INSERT INTO district (code, name, name_en, timezone) VALUES ('440399', '小镇', 'Small Town', 'Asia/Shanghai');
INSERT INTO areas (layer, code, name, name_en) VALUES ('district', '440399', '小镇', 'Small Town');
INSERT INTO areas (layer, code, name, name_en, parent_id)
    SELECT 'street', code, name, name_en, (SELECT id FROM areas WHERE code = '440399')
    FROM (VALUES ('s1', '东街', 'East Street'), ('s2', '西街', 'West Street')) v (code, name, name_en);
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'community', v.code, v.code, s.id
    FROM (VALUES ('m1', 's1'), ('m2', 's1'), ('m3', 's2')) v (code, street) JOIN areas s ON s.code = v.street;
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'cell', format('c%s', lpad(n::text, 2, '0')), format('网格%s', n), m.id
    FROM generate_series(0, 9) n JOIN areas m ON m.code = CASE WHEN n < 5 THEN 'm1' ELSE 'm2' END;
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'cell', 'd00', '远格', id FROM areas WHERE code = 'm3';
INSERT INTO area_neighbours (area_id, neighbour_id)
    SELECT a.id, b.id FROM areas a JOIN areas b
    ON a.layer = 'cell' AND b.layer = 'cell' AND a.code LIKE 'c%' AND b.code LIKE 'c%'
    AND abs(substr(a.code, 2)::int - substr(b.code, 2)::int) = 1;
"""
_DEVICES = """
INSERT INTO device_kinds (code, name, main_metric) VALUES ('smoke', '烟感', 'smoke'), ('camera', '摄像机', NULL)
    ON CONFLICT DO NOTHING;
INSERT INTO devices (code, kind, cell_id, longitude, latitude, gateway)
    SELECT format('%s-%s', a.code, k.suffix), k.kind, a.id, 114.25, 22.75, 'gw-' || left(a.code, 1)
    FROM areas a, (VALUES ('s1', 'smoke'), ('s2', 'smoke'), ('k1', 'camera')) k (suffix, kind) WHERE a.layer = 'cell';
"""
_PEOPLE = """
INSERT INTO categories (code, parent, name, name_en, class, limit_minutes, clock) VALUES
    ('fire', NULL, '火情', 'Fire', 'A', 30, 'natural'),
    ('fire.smoke', 'fire', '烟雾报警', 'Smoke alarm', 'B', 30, 'natural'),
    ('fire.detection', 'fire', '视频火情', 'Fire seen by camera', 'B', 30, 'natural'),
    ('public.person', NULL, '人员闯入', 'Person detected', 'C', 120, 'working'),
    ('device.silent', NULL, '设备失联', 'Device silent', 'C', 1440, 'working'),
    ('system.ingest', NULL, '采集中断', 'Ingest down', 'B', 60, 'natural')
    ON CONFLICT DO NOTHING;
INSERT INTO units (code, name, name_en, kind, parent, phone, lead_phone) VALUES
    ('fire-hq', '消防大队', 'Fire headquarters', 'fire', NULL, '119', '119'),
    ('fire-east', '东街消防站', 'East fire station', 'fire', 'fire-hq', '0755-1', '0755-2');
INSERT INTO responsibilities (category, area_id, unit_id)
    SELECT 'fire', a.id, u.id FROM areas a, units u WHERE a.code = 's1' AND u.code = 'fire-east';
"""


def build(url: str) -> None:
    """Fill a freshly migrated database."""
    with psycopg.connect(url) as connection:
        for part in (_GROUND, _DEVICES, _PEOPLE):
            connection.execute(part.encode())


def raise_alarm(
    url: str,
    device: str,
    *,
    rule: str = "smoke-high",
    category: str = "fire.smoke",
    at: datetime = NOW,
    cleared_at: datetime | None = None,
    late: bool = False,
    page_after: datetime | None = None,
    exercise: bool = False,
) -> int:
    """Commit one alarm as ingest does, with its change and its nudge; the alarm's id."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            """
            INSERT INTO alarms (rule_id, rule_version, device_id, cell_id, category, level, raised_at, cleared_at, late,
                                page_after, exercise, evidence)
            SELECT %s, 1, id, cell_id, %s, 'red', %s, %s, %s, coalesce(%s::timestamptz, '-infinity'), %s, %s
            FROM devices WHERE code = %s RETURNING id
            """,
            (rule, category, at, cleared_at, late, page_after, exercise, json.dumps({"value": 88}), device),
        ).fetchone()
        assert row is not None, f"no device {device}"
        connection.execute("INSERT INTO changes (kind, object) VALUES ('alarm.raised', %s)", (str(row[0]),))
        connection.execute("NOTIFY changed")
        return int(row[0])


def clear_alarm(url: str, alarm_id: int, at: datetime) -> None:
    """Clear one alarm as ingest does."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alarms SET cleared_at = %s WHERE id = %s", (at, alarm_id))


def rows(url: str, query: str, *parameters: object) -> list[tuple[object, ...]]:
    """What a query answers, on a connection of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()
