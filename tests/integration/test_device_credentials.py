"""A device's account from the register to the broker and back: a real centre, the deployed mosquitto, real clients."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from city.broker_accounts import fits
from city.errors import CityError
from city.settings import Settings
from command_centre import broker_files, broker_watch
from ingest.city_line import CityLine, LineCutError
from ingest.upward import Upward
from runtime import credentials_cli
from tests.conftest import lacking
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.deployed import SECRETS, DeployedBroker, Talker
from tests.servers.postgres import PostgresServer
from tests.servers.processes import UnavailableError


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedBroker]:
    made = DeployedBroker(tmp_path_factory.mktemp("broker"))
    try:
        made.start(SECRETS)
    except UnavailableError as missing:
        lacking(missing)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def centre(
    postgres_server: PostgresServer, postgres_template: str, broker: DeployedBroker
) -> Iterator[Centre]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broker_files, "LEAST_BETWEEN_S", 0.0)
        patch.setattr(broker_files, "SWEEP_S", 0.0)
        patch.setattr(broker_watch, "FLUSH_S", 0.1)
        address = f"mqtt://centre:{SECRETS['MQTT_CENTRE_PASSWORD']}@127.0.0.1:{broker.port}"
        with on_fresh_ground(
            postgres_server, postgres_template, broker_files=broker.register, mqtt_url=address
        ) as made:
            yield made


@pytest.fixture
def ingest(broker: DeployedBroker) -> Iterator[Talker]:
    """Who hears everything, as ingest does."""
    talker = Talker(broker.port, "ingest", SECRETS["MQTT_INGEST_PASSWORD"])
    talker.subscribe("#")
    yield talker
    talker.close()


def issue(centre: Centre, code: str, **more: Any) -> dict[str, Any]:
    answer = centre.client.post(f"/api/devices/{code}/credentials", json={"reason": "new", **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def revoke(centre: Centre, code: str, account: str) -> httpx.Response:
    return centre.client.post(f"/api/devices/{code}/credentials/{account}/revoke", json={"reason": "lost"})


def good(centre: Centre, code: str) -> list[str]:
    items = centre.client.get(f"/api/devices/{code}/credentials").json()["items"]
    return [one["account"] for one in items if one["ended_at"] is None]


def log_in(broker: DeployedBroker, account: str, secret: str) -> Talker:
    """Until the broker has taken up what the register says."""
    deadline = time.monotonic() + 60
    while True:
        talker = Talker(broker.port, account, secret)
        if talker.refused is None:
            return talker
        talker.close()
        assert time.monotonic() < deadline, f"{account} is still refused"


def refused(broker: DeployedBroker, account: str, secret: str) -> bool:
    talker = Talker(broker.port, account, secret)
    talker.close()
    return talker.refused is not None


@pytest.fixture
def fresh(centre: Centre) -> Iterator[Callable[[str], None]]:
    """Ends what a test gave these devices."""
    codes: list[str] = []
    yield codes.append
    for code in codes:
        for account in good(centre, code):
            assert revoke(centre, code, account).status_code == 200


def test_a_device_speaks_for_itself_and_hears_nothing(
    centre: Centre, broker: DeployedBroker, ingest: Talker, fresh: Callable[[str], None]
) -> None:
    fresh("D1")
    made = issue(centre, "D1")
    assert (made["account"], made["old_account"]) == ("D1", None)
    assert made["writes"] == ["city/+/+/D1", "city/+/+/D1/status"]
    device = log_in(broker, "D1", made["secret"])
    device.subscribe("#")
    for topic in (
        "city/C1/smoke/D2",
        "city/C1/smoke/D1/other",
        "zigbee2mqtt/D1",
        "out/alarms/C1",
        "$SYS/broker/x",
    ):
        device.publish(topic)
    device.publish("city/C1/smoke/D1")
    device.publish("city/C1/smoke/D1/status")
    ingest.expect(["city/C1/smoke/D1", "city/C1/smoke/D1/status"])
    assert device.heard == []
    assert refused(broker, "D1", made["secret"] + "x")
    assert refused(broker, "D2", made["secret"])
    device.close()


def test_a_rotation_has_no_gap_and_ends_by_itself(
    centre: Centre, broker: DeployedBroker, ingest: Talker, fresh: Callable[[str], None]
) -> None:
    fresh("D1")
    first = issue(centre, "D1")
    old = log_in(broker, "D1", first["secret"])
    second = issue(centre, "D1", overlap_hours=1)
    assert (second["account"], second["old_account"]) == ("D1~2", "D1")
    new = log_in(broker, "D1~2", second["secret"])
    new.publish("city/C1/smoke/D2")
    new.publish("city/C1/smoke/D1")
    old.publish("city/C1/smoke/D1")
    ingest.expect(["city/C1/smoke/D1", "city/C1/smoke/D1"])
    assert (old.lost, new.lost) == (0, 0)  # taken up without a restart
    third = centre.client.post("/api/devices/D1/credentials", json={"reason": "again"})
    assert third.status_code == 409
    centre.execute("UPDATE device_credentials SET ends_at = now() WHERE account = 'D1' AND ended_at IS NULL")
    old.until(lambda: old.lost > 0)
    assert good(centre, "D1") == ["D1~2"]
    new.publish("city/C1/smoke/D1")
    ingest.expect(["city/C1/smoke/D1"] * 3)
    assert new.lost == 0
    assert issue(centre, "D1")["account"] == "D1"  # the next rotation goes back
    for talker in (old, new):
        talker.close()


def test_revoking_closes_the_connection(
    centre: Centre, broker: DeployedBroker, fresh: Callable[[str], None]
) -> None:
    fresh("D2")
    made = issue(centre, "D2")
    device = log_in(broker, "D2", made["secret"])
    assert revoke(centre, "D2", "D2").status_code == 200
    device.until(lambda: device.lost > 0 and device.refused is not None)
    assert revoke(centre, "D2", "D2").status_code == 404
    device.close()


def test_a_gateway_speaks_for_its_devices_only(
    centre: Centre, broker: DeployedBroker, ingest: Talker, fresh: Callable[[str], None]
) -> None:
    fresh("D1")
    centre.execute("UPDATE devices SET gateway = 'D1' WHERE code = 'D2'")
    centre.execute(
        "INSERT INTO device_names (family, name, device_id)"
        " SELECT 'tasmota', 'plug/1', id FROM devices WHERE code = 'D2'"
    )
    made = issue(centre, "D1", families=["frigate"], topics=["adapter/7/#"])
    gateway = log_in(broker, "D1", made["secret"])
    for topic in ("city/C1/smoke/D3", "tele/plug/2/STATE", "zigbee2mqtt/x"):
        gateway.publish(topic)
    allowed = ["city/C1/smoke/D1", "city/C1/smoke/D2", "tele/plug/1/STATE", "frigate/events", "adapter/7/a/b"]
    for topic in allowed:
        gateway.publish(topic)
    ingest.expect(allowed)
    assert {"city/+/+/D2", "tele/plug/1/+", "frigate/#", "adapter/7/#"} < set(made["writes"])
    centre.execute("UPDATE devices SET gateway = NULL WHERE code = 'D2'")
    gateway.close()


def test_a_districts_node_speaks_in_its_cells_and_hears_what_is_refused(
    centre: Centre, broker: DeployedBroker, ingest: Talker, fresh: Callable[[str], None]
) -> None:
    fresh("D1")
    centre.execute(
        "INSERT INTO device_kinds (code, name) VALUES ('district_node', 'n') ON CONFLICT DO NOTHING"
    )
    centre.execute("UPDATE devices SET kind = 'district_node' WHERE code = 'D1'")
    centre.execute("UPDATE devices SET gateway = 'D1' WHERE code = 'W1'")  # in C3; D1 stands in C2
    made = issue(centre, "D1")
    log_in(broker, "D1", made["secret"]).close()
    chosen = Settings(
        _env_file=None, uplink_url=f"mqtt://D1@127.0.0.1:{broker.port}", uplink_password=made["secret"]
    )
    line = CityLine(chosen, will="city/C2/district_node/D1/status", stopping=lambda: False)
    allowed = ["city/C2/district_node/D1", "city/C2/smoke/D19", "city/C3/water/W1/status"]
    said = [Upward(topic, b"online", 1) for topic in (*allowed, "city/C1/smoke/D2", "tele/x/STATE")]
    refused = line.send(said)
    line.close()
    ingest.expect(allowed)
    assert [one.topic for one in refused] == ["city/C1/smoke/D2", "tele/x/STATE"]
    with pytest.raises(LineCutError, match="refused"):
        CityLine(
            chosen.model_copy(update={"uplink_url": f"mqtt://D1:wrong@127.0.0.1:{broker.port}"}),
            will="city/C2/district_node/D1/status",
            stopping=lambda: False,
        )
    centre.execute("UPDATE devices SET gateway = NULL WHERE code = 'W1'")
    centre.execute("UPDATE devices SET kind = 'smoke' WHERE code = 'D1'")


def test_the_secret_is_kept_nowhere(
    centre: Centre, broker: DeployedBroker, fresh: Callable[[str], None]
) -> None:
    fresh("D1")
    secret = issue(centre, "D1")["secret"]
    log_in(broker, "D1", secret).close()
    files = [path.read_text() for path in Path(broker.folder).rglob("*") if path.is_file()]
    assert sum("D1:$7$" in text for text in files) >= 2
    assert not any(secret in text for text in files)
    tables = centre.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
    whole = " UNION ALL ".join(f"SELECT '{table}', t::text FROM \"{table}\" t" for (table,) in tables)
    assert centre.execute(f"SELECT * FROM ({whole}) a (name, row) WHERE row LIKE %s", f"%{secret}%") == []
    assert secret not in centre.client.get("/api/devices/D1/credentials").text
    changes = centre.client.get("/api/devices/D1/changes").json()["items"]
    assert changes[0]["action"] == "device.credential_made"


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        ({"families": ["no-such"]}, 422, "families"),
        ({"topics": ["#"]}, 422, "topics"),
        ({"topics": ["city/+/+/other"]}, 422, "topics"),
        ({"topics": ["a/b#"]}, 422, "topics"),
        ({"reason": " "}, 422, "reason"),
    ],
)
def test_what_cannot_be_granted_is_refused_with_its_field(
    centre: Centre, sent: dict[str, Any], status: int, field: str
) -> None:
    answer = centre.client.post("/api/devices/D3/credentials", json={"reason": "new", **sent})
    assert answer.status_code == status
    assert field in answer.text
    assert good(centre, "D3") == []


def test_only_administrators_see_accounts(centre: Centre) -> None:
    for path in ("/api/devices/D1/credentials", "/api/broker-accounts"):
        assert centre.stranger.get(path).status_code == 401
    assert centre.client.get("/api/devices/NONE/credentials").status_code == 404
    assert centre.client.post("/api/devices/NONE/credentials", json={"reason": "x"}).status_code == 404


def told(centre: Centre) -> dict[str, Any]:
    found: dict[str, Any] = centre.client.get("/api/broker-accounts").json()
    return found


def test_it_is_known_who_uses_an_account_who_shares_one_and_how_many_were_refused(
    centre: Centre, broker: DeployedBroker, fresh: Callable[[str], None]
) -> None:
    fresh("D1")
    centre.execute(
        "INSERT INTO presence (device_id, last_heard_at) SELECT id, now() FROM devices WHERE code IN ('D1', 'D2')"
        " ON CONFLICT (device_id) DO UPDATE SET last_heard_at = now()"
    )
    centre.execute("UPDATE devices SET registration = 'registered' WHERE code IN ('D1', 'D2')")
    made = issue(centre, "D1")
    before = told(centre)["refused_last_day"]
    alone = {one["code"]: one["why"] for one in told(centre)["unprotected"]}
    assert (alone.get("D1", "unused"), alone["D2"]) == ("unused", "none")  # heard before it had the account
    log_in(broker, "D1", made["secret"]).close()
    Talker(broker.port, "devices", SECRETS["MQTT_DEVICES_PASSWORD"], session="old-adapter").close()
    assert refused(broker, "devices", "guess")

    def known() -> bool:
        now = told(centre)
        items = centre.client.get("/api/devices/D1/credentials").json()["items"]
        return (
            items[0]["last_login_at"] is not None
            and ("devices", "old-adapter") in {(one["account"], one["client_id"]) for one in now["shared"]}
            and now["refused_last_day"] > before
        )

    deadline = time.monotonic() + 60
    while not known():
        assert time.monotonic() < deadline, told(centre)
        time.sleep(0.05)
    assert {one["account"] for one in told(centre)["shared"]} == {"devices"}
    assert {one["code"] for one in told(centre)["unprotected"]} == {"D2"}


def test_the_commands(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: Callable[[str], None]
) -> None:
    monkeypatch.setenv("CITY_DATABASE_URL", centre.url)
    monkeypatch.chdir(tmp_path)  # no .env of somebody's
    centre.execute("UPDATE devices SET registration = 'registered' WHERE code IN ('D1', 'D2')")
    fresh("D1")
    fresh("D2")

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(credentials_cli.app, [*arguments, "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout.splitlines()[-1])

    made = run("make", "D1", "--topic", "adapter/#")
    assert fits(made["secret"], str(centre.execute("SELECT secret_hash FROM device_credentials WHERE account = 'D1'"
                                                   " AND ended_at IS NULL")[0][0]))  # fmt: skip
    assert run("make", "D1", "--overlap-hours", "2")["old_account"] == "D1"
    assert [one["topics"] for one in run("list", "D1")["items"][:2]] == [["adapter/#"], ["adapter/#"]]
    secrets = tmp_path / "secrets.csv"
    assert run("make-missing", str(secrets))["made"] >= 1
    assert secrets.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(secrets.open()))
    assert "D2" in {row["device"] for row in rows}
    assert "D1" not in {row["device"] for row in rows}
    for row in rows:
        fresh(row["device"])
    again = CliRunner().invoke(credentials_cli.app, ["make-missing", str(secrets)])
    assert isinstance(again.exception, CityError)  # secrets are never written over
    assert run("write", str(tmp_path / "files"))["changed"] == ["acl", "passwords"]
    assert run("write", str(tmp_path / "files"))["changed"] == []
    assert "\nD2:$7$" in (tmp_path / "files/passwords").read_text()
    assert sorted(run("revoke", "D1")["revoked"]) == ["D1", "D1~2"]
    assert run("list")["good"] == len(rows)
