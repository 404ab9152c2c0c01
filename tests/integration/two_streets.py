"""A town in two streets with the same things in each, so that what one street's people see of the other shows.

Everything in a street carries its mark in names and texts: ``EAST`` in s1 (cell c00, unit fire-east), ``WEST`` in s2
(cell d00, unit fire-west). An answer to an account of the east with the mark of the west in it is a leak.
"""

import io
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from PIL import Image

from city.reports import read_tracking
from command_centre import accounts
from tests.integration import small_town
from tests.integration.running_centre import Centre

EAST, WEST = "ZQEASTZQ", "ZQWESTZQ"
ROLES = (
    "viewer", "handler", "grid_worker", "hotline", "dispatcher", "flood_officer", "supervisor", "administrator",
    "integrator",
)  # fmt: skip
_UNITS = """
INSERT INTO units (code, name, name_en, kind, phone) VALUES ('fire-west', '西街消防站', 'West', 'fire', '0755-3');
INSERT INTO responsibilities (category, area_id, unit_id)
    SELECT 'fire', a.id, u.id FROM areas a, units u WHERE a.code = 's2' AND u.code = 'fire-west';
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Street:
    """``named`` says for every parameter of a path what of this street fits it, by the noun it stands behind."""

    mark: str
    code: str
    cell: str
    unit: str
    named: dict[str, str] = field(default_factory=dict)


def _ok(answer: Any) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json()


def lay(url: str) -> str:
    """The ground of a migrated database, before a centre runs on it; the same address."""
    small_town.build(url)
    with psycopg.connect(url) as connection:
        connection.execute(_UNITS.encode())
    return url


def build(centre: Centre) -> tuple[Street, Street]:
    """What is in the streets of a town that is laid, mostly through the centre's own routes."""
    east = Street(mark=EAST, code="s1", cell="c00", unit="fire-east")
    west = Street(mark=WEST, code="s2", cell="d00", unit="fire-west")
    for street in (east, west):
        _furnish(centre, street)
    return east, west


def _furnish(centre: Centre, street: Street) -> None:
    mark, cell, named = street.mark, street.cell, street.named
    why = {"reason": mark, "cell": cell}
    for noun, more in (("devices", {"kind": "smoke"}), ("components", {"kind": "井盖"}), ("buildings", {})):
        made = {"code": f"{mark}-{noun}", "name": f"{mark} {noun}", "address": mark, **why, **more}
        _ok(centre.client.post(f"/api/{noun}", json=made))
        named[noun] = str(made["code"])
    centre.execute(
        "INSERT INTO stations (device_id, station_kind, warning_level_m)"
        " SELECT id, 'river', 3 FROM devices WHERE code = %s",
        named["devices"],
    )
    opened = _ok(centre.client.post("/api/incidents", json={"category": "fire", "cell": cell, "text": mark}))
    named["incidents"] = str(opened["id"])
    centre.execute("UPDATE incidents SET title = %s, reason = %s WHERE id = %s", mark, mark, opened["id"])
    alarm = small_town.raise_alarm(centre.url, named["devices"])
    centre.execute("UPDATE alarms SET incident_id = %s, triage = 'done' WHERE id = %s", opened["id"], alarm)
    named["alarms"] = str(alarm)
    _orders(centre, street)
    _reports(centre, street)
    _books(centre, street)


def _run(centre: Centre, query: str, given: dict[str, str]) -> None:
    with psycopg.connect(centre.url, autocommit=True) as connection:
        connection.execute(query.encode(), given)


def _books(centre: Centre, street: Street) -> None:
    _run(
        centre,
        "INSERT INTO quarantine (received_at, topic, topic_bytes, payload, size, reason, detail)"
        " VALUES (now(), %(topic)s, convert_to(%(topic)s, 'UTF8'), '', 0, 'not_json', %(mark)s)",
        {"topic": f"city/{street.cell}/smoke/{street.mark}", "mark": street.mark},
    )
    _run(
        centre,
        "INSERT INTO flood_duty_log (at, shift, kind, text, text_en, actor)"
        " VALUES (now(), '2026-11-21 day', 'note', %(mark)s, %(mark)s, 'user:0')",
        {"mark": street.mark},
    )
    if street.mark == WEST:  # one at a time waits to be taken
        _run(
            centre,
            "INSERT INTO handovers (began_at, written_at, written_by, notes, figures)"
            " VALUES (now() - interval '1 hour', now(), 'user:0', %(mark)s, '{}')",
            {"mark": street.mark},
        )


def _orders(centre: Centre, street: Street) -> None:
    mark, named = street.mark, street.named
    soon = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    ordered = {
        "what": mark,
        "units": [street.unit],
        "by": soon,
        "cell": street.cell,
        "place": mark,
        "category": "fire",
    }
    named["orders"] = str(_ok(centre.client.post("/api/orders", json=ordered))["id"])
    tasks = {"kind": "inspect", "cells": [street.cell], "reason": mark, "note": mark}
    made = _ok(centre.client.post("/api/flood/tasks", json=tasks))
    named["tasks"] = str(made["items"][0]["id"])
    points = [{"code": "p1", "name": mark, "cell": street.cell, "checklist": "fire_exits"}]
    named["routes"] = f"{mark}-r"
    _ok(centre.client.put(f"/api/patrol/routes/{mark}-r", json={"name": mark, "points": points}))
    named["units"] = street.unit
    people = {"people": [], "shifts": []}
    _ok(centre.client.put(f"/api/units/{street.unit}/roster", json=people, headers={"If-Match": "*"}))
    (found,) = centre.execute(
        "INSERT INTO notifications (incident_id, unit_id, purpose, channel, body, state)"
        " SELECT id, unit_id, 'order', 'webhook', '{}', 'failed' FROM incidents WHERE id = %s RETURNING id",
        named["incidents"],
    )
    named["notifications"] = str(found[0])


def _reports(centre: Centre, street: Street) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (40, 40), (250, 0, 0) if street.mark == EAST else (0, 0, 250)).save(picture, "JPEG")
    sent = _ok(
        centre.client.post("/api/photos", files={"photos": ("a.jpg", picture.getvalue(), "image/jpeg")})
    )
    digest = sent["photos"][0]
    report = {
        "text": f"{street.mark} 冒烟",
        "cell": street.cell,
        "contact": {"name": street.mark, "phone": "13800000000"},
    }
    tracking = _ok(centre.client.post("/api/reports", json={**report, "photos": [digest]}))["tracking"]
    street.named["photos"], street.named["reports"] = digest, tracking
    centre.execute(
        "UPDATE reports SET area_id = (SELECT id FROM areas WHERE code = %s) WHERE tracking = %s",
        street.cell,
        read_tracking(tracking),
    )


def account(
    centre: Centre, role: str, *, scope: str | None = None, unit: str | None = None
) -> dict[str, str]:
    """The cookie of somebody's session, made in the database: hashing a password takes longer than a test."""
    token = secrets.token_urlsafe(16)
    (row,) = centre.execute(
        "INSERT INTO users (name, display_name, password_hash, role, must_change, unit_id)"
        " VALUES (%s, '', 'x', %s, false, (SELECT id FROM units WHERE code = %s)) RETURNING id",
        f"{role}-{secrets.token_hex(4)}", role, unit,
    )  # fmt: skip
    if scope is not None:
        centre.execute("INSERT INTO user_scopes (user_id, scope) VALUES (%s, %s)", row[0], scope)
    centre.execute(
        "INSERT INTO sessions (token_digest, user_id, created_at, seen_at, expires_at)"
        " VALUES (%s, %s, now(), now(), now() + interval '1 hour')",
        accounts.digest(token),
        row[0],
    )
    return {"city_session": token}
