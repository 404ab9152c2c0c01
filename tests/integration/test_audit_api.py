"""Who saw and did what, from a call to a proved row: recorded, chained, published, searched, exported, meddled with."""

import csv
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from command_centre import sealing
from runtime.cli import app
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_who_takes_the_register_out_is_recorded_under_the_calls_id(centre: Centre) -> None:
    answer = centre.client.get("/api/register/export/devices.csv", headers={"X-Request-Id": "edge-00042"})
    assert answer.status_code == 200
    assert answer.headers["X-Request-Id"] == "edge-00042"
    rows = centre.client.get("/api/audit", params={"action": "register.exported"}).json()["items"]
    assert [(row["actor"], row["object"], row["request"]) for row in rows] == [
        ("api-token", "/api/register/export/devices.csv", "edge-00042")
    ]


def test_a_shelf_a_roster_and_an_import_are_recorded_under_the_calls_id(centre: Centre) -> None:
    alarm = raise_alarm(centre, "D1")
    body = {"until": (datetime.now(UTC) + timedelta(hours=1)).isoformat(), "reason": "being cleaned"}
    devices = centre.client.get("/api/register/export/devices.csv").text
    done = [
        centre.client.post(f"/api/alarms/{alarm}/shelve", json=body, headers={"X-Request-Id": "edge-shelf"}),
        centre.client.put(
            "/api/units/U2/roster",
            json={"people": [], "shifts": []},
            headers={"If-Match": "*", "X-Request-Id": "edge-roster"},
        ),
        centre.client.post(
            "/api/register/import",
            params={"reason": "renamed"},
            files=[("files", ("devices.csv", devices.encode()))],
            headers={"X-Request-Id": "edge-import"},
        ),
    ]
    assert [one.status_code for one in done] == [200, 200, 200], [one.text for one in done]
    for request, action in {
        "edge-shelf": "alarm.shelved",
        "edge-roster": "unit.roster",
        "edge-import": "register.imported",
    }.items():
        assert (action,) in centre.execute("SELECT action FROM audit WHERE request = %s", request)


def test_what_was_refused_was_not_seen(centre: Centre) -> None:
    assert centre.stranger.get("/api/register/export/devices.csv").status_code == 401
    assert centre.client.get("/api/register/export/nothing.csv").status_code in {404, 422}
    assert centre.execute("SELECT 1 FROM audit WHERE strpos(object, 'nothing') > 0 OR actor = ''") == []


def test_nothing_leaves_that_cannot_be_recorded(centre: Centre) -> None:
    centre.execute("ALTER TABLE audit ADD CONSTRAINT full_disk CHECK (action <> 'contacts.read') NOT VALID")
    try:
        answer = centre.client.get("/api/units/U1/contacts")
        assert answer.status_code == 503
        assert "items" not in answer.json()
    finally:
        centre.execute("ALTER TABLE audit DROP CONSTRAINT full_disk")
    assert centre.client.get("/api/units/U1/contacts").status_code == 200


def test_pages_follow_one_another_and_the_file_holds_them_all(centre: Centre) -> None:
    for number in range(5):
        centre.execute(
            "INSERT INTO audit (actor, action, object, reason, detail) VALUES ('user:1', 'test.paged', %s, %s, %s)",
            f"thing:{number}",
            "=HYPERLINK(1)",
            '{"before": 1}',
        )
    wanted = {"action": "test.paged", "limit": "2"}
    first = centre.client.get("/api/audit", params=wanted).json()
    second = centre.client.get("/api/audit", params={**wanted, "cursor": first["next"]}).json()
    third = centre.client.get("/api/audit", params={**wanted, "cursor": second["next"]}).json()
    objects = [row["object"] for page in (first, second, third) for row in page["items"]]
    assert objects == [f"thing:{number}" for number in (4, 3, 2, 1, 0)]
    assert third["next"] is None
    answer = centre.client.get("/api/audit.csv", params={"action": "test.paged"})
    lines = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [line["object"] for line in lines] == objects
    assert lines[0]["reason"] == "'=HYPERLINK(1)"


def test_a_span_that_ends_before_it_begins_is_refused(centre: Centre) -> None:
    span = {"from": "2026-02-02T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    assert centre.client.get("/api/audit", params=span).status_code == 422


def test_the_chain_keeps_up_is_published_and_names_what_was_meddled_with(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    centre.client.get("/api/register/export/devices.csv")
    until(lambda: centre.client.get("/api/audit/state").json()["waiting"] == 0)
    published = Path(centre.folder.name) / sealing.FILE
    until(published.exists)
    line = json.loads(published.read_text(encoding="utf-8").splitlines()[-1])
    (stored,) = centre.execute("SELECT encode(hash, 'hex') FROM audit WHERE seq = %s", line["seq"])
    assert stored == (line["hash"],)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITY_DATABASE_URL", centre.url)
    monkeypatch.setenv("CITY_DATA_DIR", centre.folder.name)
    whole = CliRunner().invoke(app, ["audit", "verify", "--json"])
    assert whole.exit_code == 0, whole.output
    assert json.loads(whole.stdout)["entries"] >= 1
    assert "\ncity_audit_faults 0.0\n" in centre.stranger.get("/metrics").text
    proved = re.search(
        r"\ncity_audit_proved_age_seconds ([0-9.e+-]+)\n", centre.stranger.get("/metrics").text
    )
    assert proved is not None

    with psycopg.connect(centre.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE audit SET actor = 'user:99' WHERE seq = 1")
    broken = CliRunner().invoke(app, ["audit", "verify"])
    assert broken.exit_code == 1
    assert "audit #1" in broken.stdout
    told = centre.stranger.get("/metrics").text
    assert "\ncity_audit_faults 1.0\n" in told
    older = re.search(r"\ncity_audit_proved_age_seconds ([0-9.e+-]+)\n", told)
    assert older is not None
    assert float(older[1]) >= float(proved[1]), "a proof that found a fault does not count as one"


def test_a_chain_written_anew_agrees_with_itself_and_not_with_the_file(centre: Centre) -> None:
    lines = [{"series": "00" * 32, "seq": 1, "at": "2026-01-01T00:00:00+00:00", "hash": "00" * 32}]
    import asyncio

    from city.storage.changes import open_connection

    async def held() -> object:
        async with await open_connection(centre.url, "test", autocommit=True) as connection:
            return await sealing.against(connection, lines)

    fault = asyncio.run(held())
    assert fault is not None
    assert fault.what == "published"  # type: ignore[attr-defined]  # said above
