"""Back-tests over stored history: the engine's own answer, over HTTP, and nothing written."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from city.district import import_defaults
from city.observations import NO_SEQ, Readings
from city.storage import observations
from command_centre import accounts
from command_centre.api import backtest as api
from rules.definitions import to_rows
from runtime.cli import app
from tests.integration.running_centre import NO_TLS, Centre, lay_ground, running
from tests.servers.postgres import PostgresServer

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
BEGIN_US = int(BEGIN.timestamp()) * 1_000_000
MINUTE = 60_000_000
TOML = """
[[rule]]
id = "smoke-high"
type = "threshold"
name = "烟雾浓度过高"
name_en = "Smoke"
kind = "smoke"
metric = "smoke"
raise_at = {limit}
clear_at = 40
category = "fire.smoke"
level = "red"
"""
STORED = ("alarms", "alarm_events", "rule_states", "changes", "rules", "rule_history", "audit")


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One for all: a back-test writes nothing, which the first of these tests proves."""
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    import_defaults(url, parse_rules=to_rows)
    with psycopg.connect(url) as connection:
        _store(connection, hours=24)
    with running(url) as made:
        yield made
    postgres_server.drop_database(name)


def _store(connection: psycopg.Connection[Any], *, hours: int) -> None:
    """Ten detectors, a reading a minute; D1 crosses 70 at minute 100 and 50 at minute 300, for ten minutes each."""
    minute = np.repeat(np.arange(hours * 60), 10)
    device = np.tile(np.arange(1, 11), hours * 60)
    ids = dict(connection.execute("SELECT code, id FROM devices WHERE kind = 'smoke'").fetchall())
    metric = connection.execute("SELECT id FROM metrics WHERE code = 'smoke'").fetchone()
    assert metric is not None
    value = np.full(len(minute), 12.0)
    value[(device == 1) & (minute >= 100) & (minute < 110)] = 85.0
    value[(device == 1) & (minute >= 300) & (minute < 310)] = 55.0
    observed = BEGIN_US + minute * MINUTE + device * 1000
    observations.copy_new(
        connection,
        Readings(
            device=np.array([ids[f"D{number}"] for number in device.tolist()], dtype=np.int32),
            metric=np.full(len(minute), metric[0], dtype=np.int16),
            observed_us=observed,
            received_us=observed + 200_000,
            value=value,
            seq=np.full(len(minute), NO_SEQ),
            quality=np.zeros(len(minute), dtype=np.int16),
        ),
    )


def question(limit: float = 50, **more: object) -> dict[str, object]:
    asked: dict[str, object] = {
        "toml": TOML.format(limit=limit),
        "from": BEGIN.isoformat(),
        "to": (BEGIN + timedelta(days=1)).isoformat(),
    }
    return asked | more


def ask(centre: Centre, body: dict[str, object]) -> dict[str, Any]:
    """The report, however long it takes."""
    answer = centre.client.post("/api/rules/backtest", json=body)
    assert answer.status_code in (200, 202), answer.text
    said: dict[str, Any] = answer.json()
    deadline = time.monotonic() + 60
    while said["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
        said = centre.client.get(f"/api/rules/backtest/{said['id']}").json()
    assert said["state"] == "done", said
    report: dict[str, Any] = said["report"]
    return report


def _contents(url: str) -> dict[str, list[Any]]:
    with psycopg.connect(url) as connection:
        return {
            table: connection.execute(f"SELECT md5(t::text) FROM {table} t ORDER BY 1".encode()).fetchall()
            for table in STORED
        }


def test_a_report_against_marks_and_against_what_is_in_force(centre: Centre) -> None:
    before = _contents(centre.url)
    at = [(BEGIN + timedelta(minutes=minute)).isoformat() for minute in (98, 112, 700, 710)]
    marks = [
        {"device": "D1", "onset": at[0], "end": at[1], "label": "pan"},
        {"device": "D2", "onset": at[2], "end": at[3]},
    ]
    report = ask(centre, question(marks=marks, before_h=0, compare_with_active=True))
    assert [(e["device"], e["raised_at"], e["cleared_at"], e["peak"]) for e in report["episodes"]] == [
        ("D1", "2026-10-01T01:40:00.001000Z", "2026-10-01T01:50:00.001000Z", 85.0),
        ("D1", "2026-10-01T05:00:00.001000Z", "2026-10-01T05:10:00.001000Z", 55.0),
    ]
    said = report["marks"]
    assert (said["hits"], said["missed"], said["false"], said["pod"], said["far"]) == (1, 1, 1, 0.5, 0.5)
    assert report["difference"]["kept"] == 1
    assert [e["peak"] for e in report["difference"]["gained_episodes"]] == [55.0]
    assert report["difference"]["lost"] == 0
    assert report["readings"] == 14_400
    assert _contents(centre.url) == before


def test_rules_come_as_definitions_or_by_id(centre: Centre) -> None:
    (definition,) = [d for rule_id, d in to_rows(TOML.format(limit=50), "test") if rule_id == "smoke-high"]
    body = question(rules=[{"id": "smoke-high", **definition}], devices=["D1"])
    del body["toml"]
    report = ask(centre, body)
    assert (len(report["episodes"]), report["readings"]) == (2, 1440)
    body = question(rule_ids=["smoke-high"])
    del body["toml"]
    assert len(ask(centre, body)["episodes"]) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"toml": TOML.format(limit='"high"')}, "raise_at"),
        ({"toml": TOML.format(limit=50).replace('"smoke"\nraise', '"smok"\nraise')}, "smok"),
        ({"toml": None}, "give one of rules, toml, rule_ids"),
        ({"toml": None, "rule_ids": ["nobody"]}, "nobody"),
        ({"toml": None, "rules": [{"type": "threshold"}]}, "rules.0.id"),
        ({"to": "2026-09-01T00:00:00Z"}, "lies before from"),
        ({"devices": ["D1", "D99"]}, "D99"),
        (
            {"marks": [{"device": "X", "onset": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}]},
            "marks",
        ),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_a_remedy(
    centre: Centre, change: dict[str, object], said: str
) -> None:
    body = {key: value for key, value in (question() | change).items() if value is not None}
    answer = centre.client.post("/api/rules/backtest", json=body)
    state = answer.json()
    deadline = time.monotonic() + 60
    while answer.status_code in (200, 202) and time.monotonic() < deadline:
        time.sleep(0.1)
        answer = centre.client.get(f"/api/rules/backtest/{state['id']}")
    assert answer.status_code == 422, answer.text
    assert said in answer.text
    assert answer.json()["detail_zh"]


def test_cameras_alone_and_beside_silence(centre: Centre) -> None:
    """Two sightings in three minutes, the second a while on its way; a word of a camera ends its silence."""
    rows = [(0, 0), (60, 75), (3600, 3600)]
    with psycopg.connect(centre.url) as connection:
        connection.execute(
            "INSERT INTO devices (code, kind, expected_interval_s) VALUES ('K1', 'camera', 600)"
        )
        connection.execute("UPDATE devices SET registered_at = %s", (BEGIN - timedelta(days=1),))
        for seen, came in rows:
            connection.execute(
                "INSERT INTO detections (device_id, event_key, state, label, observed_at, received_at, score, zone)"
                " SELECT id, %s, 'new', 'person', %s, %s, 0.9, 'gate' FROM devices WHERE code = 'K1'",
                (f"k{seen}", BEGIN + timedelta(seconds=seen), BEGIN + timedelta(seconds=came)),
            )
    body = question(
        rule_ids=["camera-person"], to=(BEGIN + timedelta(hours=2)).isoformat(), listening="always"
    )
    del body["toml"]
    report = ask(centre, body)
    assert (report["readings"], report["detections"]) == (0, 3)
    assert [(e["raised_at"], e["cleared_at"], e["repeats"]) for e in report["episodes"]] == [
        ("2026-10-01T00:00:00Z", "2026-10-01T00:03:00Z", 1),
        ("2026-10-01T01:00:00Z", "2026-10-01T01:02:00Z", 0),
    ]
    silent = ask(centre, body | {"rule_ids": ["device-silent"], "devices": ["K1", "D1"]})
    assert [(e["device"], e["raised_at"], e["cleared_at"]) for e in silent["episodes"]] == [
        ("K1", "2026-10-01T00:31:15Z", "2026-10-01T01:00:00Z"),
        ("K1", "2026-10-01T01:30:00Z", None),
    ]


def test_the_command_takes_rules_of_the_database(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CITY_DATABASE_URL", centre.url)
    arguments = ["--from", BEGIN.isoformat(), "--to", (BEGIN + timedelta(days=1)).isoformat(), "--json"]
    (tmp_path / "rule.toml").write_text(TOML.format(limit=50), encoding="utf-8")
    chart = tmp_path / "chart.html"
    for rules, gained in (
        (["--rule", "smoke-high@1"], 0),
        ([str(tmp_path / "rule.toml"), "--device", "D1", "--chart", str(chart)], 1),
    ):
        done = CliRunner().invoke(app, ["backtest", "rule", *rules, "--against-active", *arguments])
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert (report["difference"]["kept"], report["difference"]["gained"]) == (1, gained)
    assert chart.read_text("utf-8").count("<polyline") == 1
    refused = CliRunner().invoke(app, ["backtest", "rule", "--rule", "smoke-high@99", *arguments])
    assert "smoke-high@99" in str(refused.exception)


def test_one_at_a_time_for_each_person_and_it_can_be_cancelled(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "ANSWER_WITHIN_S", 0.0)
    first = centre.client.post("/api/rules/backtest", json=question())
    assert first.status_code == 202
    place = first.headers["Location"]
    second = centre.client.post("/api/rules/backtest", json=question())
    assert second.status_code == 429
    assert second.json()["running"] == first.json()["id"]
    assert int(second.headers["Retry-After"]) > 0
    assert centre.client.delete(place).json()["state"] == "cancelled"
    assert centre.client.get(place).json()["state"] == "cancelled"
    third = centre.client.post("/api/rules/backtest", json=question())
    assert third.status_code == 202
    centre.client.delete(third.headers["Location"])


def test_another_centre_of_the_same_address_knows_it_and_may_cancel_it(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "ANSWER_WITHIN_S", 0.0)
    with running(centre.url) as other:
        long = question(rule_ids=["smoke-high", "device-silent"], tick_s=1, listening="always")
        del long["toml"]
        place = centre.client.post("/api/rules/backtest", json=long).headers["Location"]
        assert other.client.post("/api/rules/backtest", json=question()).status_code == 429
        while (said := other.client.get(place).json())["state"] == "running":
            time.sleep(0.05)
        assert said["state"] == "done", said
        assert said["report"] == centre.client.get(place).json()["report"]
        place = centre.client.post("/api/rules/backtest", json=long).headers["Location"]
        assert other.client.delete(place).json()["state"] == "cancelled"
        while centre.client.get(place).json()["state"] == "running":
            time.sleep(0.05)
        assert centre.client.get(place).json()["state"] == "cancelled"


def test_who_goes_away_is_not_worked_for(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "ANSWER_WITHIN_S", 60.0)
    body = question(rule_ids=["smoke-high", "device-silent"], tick_s=1, listening="always")
    del body["toml"]
    with pytest.raises(httpx.ReadTimeout):
        centre.client.post("/api/rules/backtest", json=body, timeout=0.2)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        again = centre.client.post("/api/rules/backtest", json=question())
        if again.status_code != 429:
            break
        time.sleep(0.1)
    assert again.status_code == 200


def test_a_viewer_may_not_and_sees_nobody_elses(centre: Centre) -> None:
    assert centre.stranger.post("/api/rules/backtest", json=question()).status_code == 401
    key = centre.client.post("/api/rules/backtest", json=question()).json()["id"]
    for name, role, status in (("v1", "viewer", 403), ("d1", "dispatcher", 404)):
        secret = accounts.reset(centre.url, name, actor="test", create=True, role=role).secret
        with httpx.Client(base_url=centre.base, timeout=60, verify=NO_TLS) as person:
            person.post("/api/session", json={"name": name, "password": secret})
            change = {"current": secret, "new": "a long enough password"}
            assert person.post("/api/session/password", json=change).status_code in (200, 204)
            assert person.get(f"/api/rules/backtest/{key}").status_code == status
    assert json.dumps(centre.client.get(f"/api/rules/backtest/{key}").json())
