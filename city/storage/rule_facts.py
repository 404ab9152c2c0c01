"""What rules are checked against before they come into force: read in one go, as far as the rules ask for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from city.device_profiles import parse_files
from city.district_source import Faults
from city.storage import senders

SEEN_WITHIN = timedelta(days=2)  # a device that sends a metric at all sends it within that
LOOKED_AT = 50  # devices of a kind among which a sender of a metric is looked for

Db = Connection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """A metric with its unit."""

    code: str
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KindRow:
    """A kind with its expected interval in seconds."""

    code: str
    main_metric: str | None
    interval_s: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundRow:
    """Devices that differ in nothing that a scope looks at; with ``code`` a single one: asked for, or a station.

    Levels are metres above the station's datum, None = unset.
    """

    code: str | None
    kind: str
    model: str
    tags: list[str]
    cell: str | None
    community: str | None
    street: str | None
    devices: int
    interval_s: int | None
    station: bool
    warning_m: float | None
    guaranteed_m: float | None
    highest_m: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleFacts:
    """``seen``: the pairs (kind, metric) asked for that at least one device sent of late, or that a profile makes."""

    metrics: list[MetricRow]
    kinds: list[KindRow]
    categories: list[str]
    areas: dict[str, list[str]]
    ground: list[GroundRow]
    seen: list[tuple[str, str]]


def load(
    connection: Db, *, devices: Sequence[str], pairs: Sequence[tuple[str, str]], now: datetime
) -> RuleFacts:
    """``devices``: codes that scopes name; ``pairs``: (kind, metric) to look for in what devices sent."""
    areas: dict[str, list[str]] = {"cell": [], "community": [], "street": []}
    for layer, code in connection.execute(
        "SELECT layer, code FROM areas WHERE valid_to IS NULL AND layer IN ('cell', 'community', 'street')"
    ):
        areas[layer].append(code)
    return RuleFacts(
        metrics=connection.cursor(row_factory=class_row(MetricRow))
        .execute("SELECT code, unit FROM metrics")
        .fetchall(),
        kinds=connection.cursor(row_factory=class_row(KindRow))
        .execute("SELECT code, main_metric, expected_interval_s AS interval_s FROM device_kinds")
        .fetchall(),
        categories=[str(row[0]) for row in connection.execute("SELECT code FROM categories")],
        areas=areas,
        ground=_ground(connection, devices),
        seen=_seen(connection, pairs, now),
    )


def _seen(connection: Db, pairs: Sequence[tuple[str, str]], now: datetime) -> list[tuple[str, str]]:
    """A profile says what devices of its kind can send before the first of them has sent it."""
    if not pairs:
        return []
    profiles = parse_files(senders.profile_files(connection), {}, Faults())
    made = {(one.kind, mapped.metric) for one in profiles for mapped in one.metrics.values()}
    return [pair for pair in pairs if pair in made or _is_sent(connection, *pair, now=now)]


def _ground(connection: Db, codes: Sequence[str]) -> list[GroundRow]:
    return (
        connection.cursor(row_factory=class_row(GroundRow))
        .execute(
            """
            SELECT CASE WHEN d.code = ANY(%(codes)s) OR t.device_id IS NOT NULL THEN d.code END AS code,
                d.kind, d.model, d.tags, c.code AS cell, m.code AS community, s.code AS street,
                coalesce(d.expected_interval_s, k.expected_interval_s) AS interval_s, count(*) AS devices,
                t.device_id IS NOT NULL AS station, t.warning_level_m AS warning_m,
                t.guaranteed_level_m AS guaranteed_m, t.highest_level_m AS highest_m
            FROM devices d
            JOIN device_kinds k ON k.code = d.kind
            LEFT JOIN stations t ON t.device_id = d.id
            LEFT JOIN areas c ON c.id = d.cell_id
            LEFT JOIN areas m ON m.id = c.parent_id AND m.layer = 'community'
            LEFT JOIN areas s ON s.layer = 'street' AND s.id = coalesce(m.parent_id, c.parent_id)
            WHERE d.registration <> 'retired'
            GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, t.device_id
            """,
            {"codes": list(codes)},
        )
        .fetchall()
    )


def _is_sent(connection: Db, kind: str, metric: str, *, now: datetime) -> bool:
    """Whether one of the devices of the kind that were heard last sent the metric of late."""
    row = connection.execute(
        """
        SELECT EXISTS (
            SELECT FROM (
                SELECT p.device_id FROM presence p JOIN devices d ON d.id = p.device_id
                WHERE d.kind = %(kind)s ORDER BY p.last_heard_at DESC LIMIT %(most)s
            ) heard
            JOIN metrics m ON m.code = %(metric)s
            JOIN LATERAL (
                SELECT FROM observations o WHERE o.device_id = heard.device_id AND o.metric_id = m.id
                    AND o.observed_at > %(since)s LIMIT 1
            ) found ON true
        )
        """,
        {"kind": kind, "metric": metric, "most": LOOKED_AT, "since": now - SEEN_WITHIN},
    ).fetchone()
    return row is not None and bool(row[0])


# ── words for people ─────────────────────────────────────────────────────────────────────────────────


def metrics(connection: Db) -> list[dict[str, Any]]:
    """Every metric by code: unit, name, name_en."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT code, unit, name, name_en FROM metrics ORDER BY code").fetchall()


def device_kinds(connection: Db) -> list[dict[str, Any]]:
    """Every kind of device by code: name, name_en, main_metric (None = events only)."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT code, name, name_en, main_metric FROM device_kinds ORDER BY code"
        ).fetchall()
