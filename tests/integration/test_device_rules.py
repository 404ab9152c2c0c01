"""Which rule rings for a device: asked over HTTP, and decided the same way by ingest."""

from collections.abc import Iterator

import pytest
from psycopg.types.json import Jsonb

from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

GENERAL = {
    "type": "threshold",
    "name": "烟雾",
    "name_en": "Smoke",
    "kind": "smoke",
    "metric": "smoke",
    "raise_at": 70,
    "category": "fire.smoke",
    "level": "red",
}


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One for all tests here; they only look."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        for rule_id, definition in (
            ("smoke-high", GENERAL),
            (
                "kitchen-smoke",
                GENERAL | {"raise_at": 90, "family": "smoke-high", "scope": {"tags": ["kitchen"]}},
            ),
        ):
            made.execute(
                "INSERT INTO rules (id, version, definition, active) VALUES (%s, 1, %s, true)",
                rule_id,
                Jsonb(definition),
            )
        made.execute("UPDATE devices SET tags = '{kitchen,school}' WHERE code = 'D2'")
        yield made


def of(centre: Centre, code: str) -> list[tuple[str, bool, str | None]]:
    answer = centre.client.get(f"/api/devices/{code}/rules")
    assert answer.status_code == 200, answer.text
    return [(item["rule"], item["in_force"], item["beaten_by"]) for item in answer.json()["items"]]


def test_the_most_specific_rule_of_a_family_is_in_force_and_the_other_says_so(centre: Centre) -> None:
    assert of(centre, "D1") == [("smoke-high", True, None)]
    assert of(centre, "D2") == [("kitchen-smoke", True, None), ("smoke-high", False, "kitchen-smoke")]
    assert of(centre, "W1") == []


def test_the_reason_is_in_both_languages(centre: Centre) -> None:
    first, second = centre.client.get("/api/devices/D2/rules").json()["items"]
    assert "kitchen" in first["why"]
    assert "kitchen" in first["why_en"]
    assert "kitchen-smoke" in second["why"]
    assert "kitchen-smoke" in second["why_en"]


def test_nobody_asks_without_log_in_or_about_nothing(centre: Centre) -> None:
    assert centre.stranger.get("/api/devices/D1/rules").status_code == 401
    assert centre.client.get("/api/devices/nothing/rules").status_code == 404
