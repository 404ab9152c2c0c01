"""Figures, rules and pages against the real tools: promtool, amtool, and a Prometheus that scrapes the centre."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from prometheus_client.exposition import generate_latest

from ingest.measures import Measures
from tests.conftest import lacking
from tests.integration.running_centre import NO_TLS, TOKEN, Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer
from tests.servers.processes import UnavailableError, free_port
from tests.servers.prometheus import prometheus_tools

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus"
PATIENCE_S = 60.0
# Named by rules and panels, and not there before it has happened once.
LATER = {
    "city_audit_proved_age_seconds",
    "city_backup_age_seconds",
    "city_notifications",
    "city_http_requests_total",
    "city_incidents_unassigned",
}


@pytest.fixture(scope="module")
def tools() -> Path:
    try:
        return prometheus_tools()
    except UnavailableError as missing:
        lacking(missing)


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        made.execute(
            "INSERT INTO ingest_sessions (client_id, listening, listening_from, alive_at, figures)"
            " VALUES ('worker-1', true, now(), now(), %s)",
            json.dumps({"received": 10, "pending": 2, "lag_ms": 100, "broker_connected": True}),
        )
        made.execute(
            "INSERT INTO partition_state (partition, owner, next_offset, end_offset, looked_at, received_us)"
            " VALUES (3, 'worker-1', 10, 12, now(), 1)"
        )
        made.execute(
            "INSERT INTO uplink_state (node, alive_at, up, since) VALUES ('D07', now(), true, now())"
        )
        yield made


def run(*command: object, given: str = "") -> str:
    done = subprocess.run(
        [str(part) for part in command], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def page_of_ingest() -> str:
    return generate_latest(Measures(dict).registry).decode()


def test_rules_are_well_and_each_alert_fires_when_it_should(tools: Path) -> None:
    run(tools / "promtool", "check", "rules", *sorted(RULES.glob("*.rules.yml")))
    run(tools / "promtool", "test", "rules", RULES / "alerts.test.yml")


def test_configurations_are_well(tools: Path) -> None:
    run(tools / "promtool", "check", "config", "--syntax-only", RULES / "prometheus.yml")
    run(tools / "amtool", "check-config", RULES / "alertmanager.yml")


def test_figures_are_named_as_prometheus_names_things(tools: Path, centre: Centre) -> None:
    run(tools / "promtool", "check", "metrics", given=centre.stranger.get("/metrics").text)
    run(tools / "promtool", "check", "metrics", given=page_of_ingest())


def test_rules_and_panels_ask_for_figures_that_are_there(centre: Centre) -> None:
    centre.client.get("/api/units")
    text = centre.stranger.get("/metrics").text + page_of_ingest()
    there = set(re.findall(r"^(?:# TYPE )?([a-z_]+)[ {]", text, re.MULTILINE))
    asked = [
        rule["expr"]
        for file in RULES.glob("*.rules.yml")
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    board = json.loads((ROOT / "deploy/grafana/dashboards/operations.json").read_text(encoding="utf-8"))
    asked += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for one in asked for name in re.findall(r"\b((?:city|process)_[a-z_]+)\b", one)}
    assert named - there - LATER == set()


def test_a_page_of_figures_names_nobody_and_no_device(centre: Centre) -> None:
    text = centre.stranger.get("/metrics").text
    assert "city_database_up 1.0" in text
    assert 'city_worker_pending{worker="worker-1"} 2.0' in text
    assert "city_ingest_lag_ms" not in text
    assert 'city_log_lag_records{partition="events-3"} 2.0' in text
    labels = set(re.findall(r"[{,]([a-z]+)=", text))
    assert labels <= {
        "channel", "class", "kind", "le", "level", "loop", "method", "reason", "route", "state", "status", "version",
        "what", "worker", "partition",
    }  # fmt: skip


def test_figures_are_told_while_the_database_does_not_answer(centre: Centre) -> None:
    with psycopg.connect(centre.url, autocommit=True) as blocking:
        blocking.execute("ALTER TABLE quarantine_counts RENAME TO elsewhere")
        try:
            text = centre.stranger.get("/metrics").text
        finally:
            blocking.execute("ALTER TABLE elsewhere RENAME TO quarantine_counts")
    assert "city_database_up 0.0" in text
    assert "city_screens_connected" in text


def test_a_real_prometheus_scrapes_the_centre_with_its_own_configuration(
    tools: Path, centre: Centre, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    text = (RULES / "prometheus.yml").read_text(encoding="utf-8")
    text = re.sub(r"credentials_file: \S+api_token", f"credentials_file: {token}", text).replace(
        "centre:8000", centre.base.removeprefix("http://")
    )
    text = text.replace("15s", "1s")
    (tmp_path / "prometheus.yml").write_text(text)
    for rules in RULES.glob("*.rules.yml"):
        (tmp_path / rules.name).write_text(rules.read_text(encoding="utf-8"))
    port = free_port()
    process = subprocess.Popen(
        [
            tools / "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "log").open("w"),
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=NO_TLS) as client:
            found = scraped(client, process)
            rules_found = client.get("/api/v1/rules").json()["data"]["groups"]
        assert found == [("1", "worker-1")]
        assert {rule["health"] for group in rules_found for rule in group["rules"]} <= {"ok", "unknown"}
    finally:
        process.terminate()
        process.wait(timeout=60)


def scraped(client: httpx.Client, process: "subprocess.Popen[Any]") -> list[tuple[str, str]]:
    """(value, worker) once the first scrape is stored."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            answer = client.get("/api/v1/query", params={"query": "city_worker_broker_connected"}).json()
            if answer["data"]["result"]:
                return [(one["value"][1], one["metric"]["worker"]) for one in answer["data"]["result"]]
        except (httpx.TransportError, ValueError):
            pass
        time.sleep(0.2)
    raise AssertionError("nothing was scraped")
