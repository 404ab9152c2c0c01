"""A real centre with a week of readings, an administrator who can log in, and what the settings have to show."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
from playwright.sync_api import Page, expect

from city.observations import NO_SEQ, Readings
from city.storage import observations, users
from command_centre import accounts
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

PASSWORD = "a-long-password-of-tests"
DAYS = 7
RULE = {
    "type": "threshold", "name": "烟雾浓度过高", "name_en": "Smoke concentration high", "kind": "smoke",
    "metric": "smoke", "raise_at": 70, "deadband": 10, "category": "fire.smoke", "class": "A", "level": "red",
}  # fmt: skip


@contextmanager
def served(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as centre:
        centre.execute("UPDATE metrics SET unit = CASE code WHEN 'smoke' THEN '%%' ELSE 'm' END")
        with psycopg.connect(centre.url) as connection:
            _store(connection)
            _account(connection, "boss", "administrator")
        answer = centre.client.put("/api/rules/smoke-high", json={"definition": RULE, "reason": "首版"})
        assert answer.status_code == 201, answer.text
        active = {"version": 1, "reason": "启用", "accept_warnings": True}
        answer = centre.client.post("/api/rules/smoke-high/activate", json=active)
        assert answer.status_code == 200, answer.text
        centre.execute(
            """
            INSERT INTO quarantine (received_at, topic, payload, size, reason, detail)
            SELECT now(), 'city/440399/smoke/D' || (n %% 2), %s, 11, 'not_json', 'not JSON'
            FROM generate_series(1, 5) AS n
            """,
            b'{"value": \x01',
        )
        centre.execute("INSERT INTO quarantine_counts VALUES (date_trunc('hour', now()), 'not_json', 5)")
        yield centre


def _account(connection: psycopg.Connection[object], name: str, role: str) -> None:
    users.add(
        connection,
        name=name,
        display_name="",
        password_hash=accounts.hash_password(PASSWORD),
        role=role,
        must_change=False,
    )


def _store(connection: psycopg.Connection[object]) -> None:
    """D1, a reading every ten minutes for seven days: calm, with one peak of 85 and three of 65."""
    count = DAYS * 144
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    begin_us = int((end - timedelta(days=DAYS) + timedelta(minutes=30)).timestamp()) * 1_000_000
    (device,) = connection.execute("SELECT id FROM devices WHERE code = 'D1'").fetchone() or (0,)  # type: ignore[misc]  # here and below: a row of one number
    (metric,) = connection.execute("SELECT id FROM metrics WHERE code = 'smoke'").fetchone() or (0,)  # type: ignore[misc]
    value = 15 + 4 * np.sin(np.arange(count) / 40)
    for at, peak in ((200, 65.0), (420, 85.0), (600, 65.0), (820, 65.0)):
        value[at : at + 6] = peak
    observed = begin_us + np.arange(count) * 600_000_000 - 1_800_000_000
    observations.copy_new(
        connection,
        Readings(
            device=np.full(count, device, dtype=np.int32),
            metric=np.full(count, metric, dtype=np.int16),
            observed_us=observed,
            received_us=observed + 200_000,
            value=value,
            seq=np.full(count, NO_SEQ),
            quality=np.zeros(count, dtype=np.int16),
        ),
    )


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Through the page, in the language it is in."""
    page.locator("input[autocomplete=username]").fill(name)
    page.locator("input[type=password]").fill(password)
    page.locator("button.main").click()
    expect(page.locator(".staff > header")).to_be_visible()
