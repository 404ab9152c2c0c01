"""The compose deployment without a container engine.

The file against the published schema and against its parts; the broker's real configuration in a real broker.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from city.settings import Settings
from ingest.routing import Router, chosen
from tests.servers.deployed import ROOT, SECRETS, DeployedBroker, Talker
from tests.servers.mosquitto import MosquittoServer, mosquitto_passwd_binary


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


SCALE = "docker-compose.scale.yml"
UPLINK = "deploy/uplink/uplink.compose.yml"
FILES = (
    "docker-compose.yml",
    "deploy/mosquitto/tls.compose.yml",
    "deploy/proxy/tls.compose.yml",
    UPLINK,
    SCALE,
)


@pytest.mark.parametrize("name", FILES)
def test_the_file_follows_the_compose_specification(name: str, tmp_path: Path) -> None:
    plain = tmp_path / "compose.yml"
    plain.write_text((ROOT / name).read_text().replace("!reset ", ""))  # the schema's reader knows no tags
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(plain)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_stands_in_the_example() -> None:
    named = {
        found for name in FILES for found in re.findall(r"(?<!\$)\$\{([A-Z_]+)", (ROOT / name).read_text())
    }
    offered = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named == offered


def test_secrets_are_files_and_stand_in_no_environment(compose: dict[str, Any], tmp_path: Path) -> None:
    """Each that is used is made by the script, once; none is in .env, an environment or an argument."""
    script = ROOT / "deploy/secrets.sh"
    for _ in range(2):
        subprocess.run(["/bin/sh", str(script), str(tmp_path / "secrets")], check=True, capture_output=True)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    scale = yaml.safe_load((ROOT / SCALE).read_text())
    assert set(compose["secrets"]) | set(scale["secrets"]) == set(made)
    assert all(re.fullmatch("[0-9a-f]{48}", secret) for secret in made.values())
    assert len(set(made.values())) == len(made)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    for name, service in compose["services"].items():
        given = set(service.get("secrets", []))
        assert given <= set(made), name
        told = str([service.get(part) for part in ("environment", "command", "entrypoint", "healthcheck")])
        assert set(re.findall(r"/run/secrets/(\w+)", told)) <= given, name
        for variable in service.get("environment", {}):
            secret = re.search(r"PASSWORD|TOKEN|SECRET", variable)
            assert not secret or re.search(r"_FILE$", variable), (name, variable)
    example = (ROOT / ".env.example").read_text()
    assert not re.search(r"^\w*(PASSWORD|TOKEN|SECRET)=", example, re.MULTILINE)


def test_every_service_is_bounded_watched_and_restarted(compose: dict[str, Any]) -> None:
    always = {"mosquitto", "timescaledb", "migrate", "ingest", "centre"}
    assert {name for name, service in compose["services"].items() if "profiles" not in service} == always
    others = {"grafana", "grafana-role", "prometheus", "alertmanager", "backup"}
    assert set(compose["services"]) == always | others
    for name, service in compose["services"].items():
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert service["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if name == "backup":
            assert service["restart"] == "no"
        elif name in ("migrate", "grafana-role"):
            assert service["restart"] == "on-failure:5"
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_only_people_and_devices_have_a_port_and_only_here(compose: dict[str, Any]) -> None:
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}
    assert {name for name, mapped in ports.items() if mapped} == {
        "mosquitto",
        "centre",
        "grafana",
        "prometheus",
    }
    assert all(
        mapping.split("}:")[0].endswith(":-127.0.0.1") for mapped in ports.values() for mapping in mapped
    )


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in images), images


def test_work_begins_only_on_a_migrated_database(compose: dict[str, Any]) -> None:
    for name in ("ingest", "centre"):
        assert (
            compose["services"][name]["depends_on"]["migrate"]["condition"]
            == "service_completed_successfully"
        )
    assert compose["services"]["migrate"]["depends_on"]["timescaledb"]["condition"] == "service_healthy"


def test_what_is_kept_outside_the_database_outlives_a_container(compose: dict[str, Any]) -> None:
    """Photos, documents and the published heads; the backup reads them where the centre writes them."""
    for name in ("centre", "backup"):
        service = compose["services"][name]
        assert "centre-data:/var/lib/city" in service["volumes"]
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - of the container
    assert "centre-data" in compose["volumes"]


def test_the_image_runs_without_root() -> None:
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    assert len(stages) == 3  # a head of comments, the build, the runtime
    assert re.search(r"^USER 10001:10001$", stages[-1], re.MULTILINE)
    assert "install" not in stages[-1].replace("install -d", "")


def test_mounted_files_exist(compose: dict[str, Any]) -> None:
    for name in ("mosquitto.conf", "acl", "start.sh"):
        assert (ROOT / "deploy/mosquitto" / name).is_file()
    assert "./deploy/mosquitto:/mosquitto/config:ro" in compose["services"]["mosquitto"]["volumes"]
    assert (ROOT / "deploy/district").is_dir()
    for name in ("grafana", "grafana-role"):
        for volume in compose["services"][name]["volumes"]:
            here = volume.partition(":")[0]
            assert here == "grafana-data" or (ROOT / here).exists(), volume


def test_behind_the_proxy_the_centre_has_no_port_of_its_own() -> None:
    text = (ROOT / "deploy/proxy/tls.compose.yml").read_text()
    assert "ports: !reset []" in text
    overlay = yaml.safe_load(text.replace("!reset ", ""))
    proxy, centre = overlay["services"]["proxy"], overlay["services"]["centre"]
    assert centre["ports"] == []
    assert centre["environment"]["CITY_TRUSTED_PROXIES"] == "${CITY_PROXY_SUBNET:-172.31.251.0/28}"
    assert overlay["networks"]["front"]["ipam"]["config"] == [
        {"subnet": "${CITY_PROXY_SUBNET:-172.31.251.0/28}"}
    ]
    assert proxy["networks"] == ["front"]
    assert proxy["read_only"]
    assert proxy["cap_drop"] == ["ALL"]
    assert (ROOT / "deploy/proxy/Caddyfile").is_file()


def test_a_district_that_reports_owes_what_ingest_stores() -> None:
    overlay = yaml.safe_load((ROOT / UPLINK).read_text())["services"]
    own = overlay["uplink"]
    assert overlay["ingest"]["environment"]["CITY_UPLINK_URL"] == own["environment"]["CITY_UPLINK_URL"]
    known = {f"CITY_{name.upper()}" for name in Settings.model_fields}
    assert set(own["environment"]) <= known
    assert own["read_only"]
    assert own["cap_drop"] == ["ALL"]
    assert set(own["secrets"]) == {"serving_password", "uplink_password"}


def test_docker_compose_itself_accepts_it(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    version = docker and subprocess.run([docker, "compose", "version"], check=False, capture_output=True)
    if not version or version.returncode != 0:
        pytest.skip("no docker compose on this machine; the schema test above stands in for it")
    filled = (ROOT / ".env.example").read_text()
    env_file = tmp_path / "env"
    env_file.write_text(filled)
    command = [
        docker,
        "compose",
        "-f",
        str(ROOT / "docker-compose.yml"),
        "--env-file",
        str(env_file),
        "config",
        "-q",
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def deployed(tmp_path: Path, start_mosquitto: Callable[..., MosquittoServer]) -> Iterator[DeployedBroker]:
    start_mosquitto().close()  # only to skip (or fail) where no broker can be had
    broker = DeployedBroker(tmp_path)
    files = {}
    for name, secret in SECRETS.items():  # as compose hands them over; starting again, the environment's
        files[f"{name}_FILE"] = str(tmp_path / name)
        (tmp_path / name).write_text(secret)
    broker.start(files)
    yield broker
    broker.stop()


def test_nobody_gets_in_without_the_right_password(deployed: DeployedBroker) -> None:
    for user, password in ((None, ""), ("devices", "guess"), ("ingest", SECRETS["MQTT_DEVICES_PASSWORD"])):
        talker = Talker(deployed.port, user, password)
        assert talker.refused is not None
        talker.close()


def test_the_acl_lets_devices_write_and_ingest_read(deployed: DeployedBroker) -> None:
    added = subprocess.run(
        [str(mosquitto_passwd_binary()), "-b", str(deployed.data / "passwords"), "smoke-1", "own"], check=True
    )
    assert added.returncode == 0
    deployed.stop()
    deployed.start(SECRETS)  # and the accounts people added are still there
    reader = Talker(deployed.port, "ingest", SECRETS["MQTT_INGEST_PASSWORD"])
    reader.subscribe("city/#")
    eavesdropper = Talker(deployed.port, "devices", SECRETS["MQTT_DEVICES_PASSWORD"])
    eavesdropper.subscribe("city/#")
    own = Talker(deployed.port, "smoke-1", "own")
    own.publish("city/c1/smoke/smoke-2")  # not its own: dropped by the broker
    own.publish("city/c1/smoke/smoke-1")
    own.publish("city/c1/smoke/smoke-1/status")
    reader.publish("city/c1/smoke/from-ingest")  # a reader writes nothing
    eavesdropper.publish("elsewhere/topic")
    eavesdropper.publish("city/c9/water/any")
    reader.expect(["city/c1/smoke/smoke-1", "city/c1/smoke/smoke-1/status", "city/c9/water/any"])
    assert eavesdropper.heard == []
    for talker in (reader, eavesdropper, own):
        talker.close()


def test_only_the_centre_sounds_sirens(deployed: DeployedBroker) -> None:
    passwords = deployed.data / "passwords"
    subprocess.run([str(mosquitto_passwd_binary()), "-b", str(passwords), "signs", "listen"], check=True)
    deployed.stop()
    deployed.start(SECRETS)
    siren = Talker(deployed.port, "signs", "listen")
    siren.subscribe("out/#")
    siren.subscribe("city/#")  # granted, and nothing comes
    for user, password in (("devices", "write-secret"), ("signs", "listen"), ("ingest", "read-secret")):
        forger = Talker(deployed.port, user, password)
        forger.publish("out/alarms/forged")
        forger.publish("city/c1/smoke/s1")
        forger.close()
    centre = Talker(deployed.port, "centre", SECRETS["MQTT_CENTRE_PASSWORD"])
    centre.publish("city/c1/smoke/from-centre")
    centre.publish("out/alarms/c1")
    siren.expect(["out/alarms/c1"])
    for talker in (siren, centre):
        talker.close()


def test_foreign_senders_are_heard_where_they_speak(deployed: DeployedBroker) -> None:
    """Every filter of every decoder that begins with a word: adapters may write there, ingest may read there."""
    filters = Router(chosen("all")).filters
    assert filters
    topics = list(dict.fromkeys(re.sub(r"[+#]", "x", one) for one in filters if one[0] not in "+#"))
    reader = Talker(deployed.port, "ingest", SECRETS["MQTT_INGEST_PASSWORD"])
    for one in filters:
        reader.subscribe(one)
    assert set(reader.granted) == {1}
    reader.client.unsubscribe(filters)  # else overlapping filters would hear a topic more than once
    reader.subscribe("#")
    adapter = Talker(deployed.port, "devices", SECRETS["MQTT_DEVICES_PASSWORD"])
    for topic in topics:
        adapter.publish(topic)
    reader.expect(topics)
    for talker in (reader, adapter):
        talker.close()


def test_what_is_queued_for_ingest_survives_a_restart(deployed: DeployedBroker) -> None:
    secret = SECRETS["MQTT_INGEST_PASSWORD"]
    session = Talker(deployed.port, "ingest", secret, session="city-ingest")
    session.subscribe("city/#")
    session.close()
    device = Talker(deployed.port, "devices", SECRETS["MQTT_DEVICES_PASSWORD"])
    topics = [f"city/c1/smoke/s{n}" for n in range(1500)]  # more than the default queue of 1,000
    for topic in topics:
        device.client.publish(topic, b'{"value": 1}', qos=1)
    device.publish("city/c1/smoke/last")
    device.close()
    deployed.stop()
    assert (deployed.data / "mosquitto.db").exists()
    deployed.start(SECRETS)
    again = Talker(deployed.port, "ingest", secret, session="city-ingest")
    again.expect([*topics, "city/c1/smoke/last"])
    again.close()


def test_an_oversize_packet_ends_the_connection_and_nothing_else(deployed: DeployedBroker) -> None:
    reader = Talker(deployed.port, "ingest", SECRETS["MQTT_INGEST_PASSWORD"])
    reader.subscribe("city/#")
    for size in (300 * 1024, 1200 * 1024):  # the first is ingest's to refuse, the second the broker's
        sender = Talker(deployed.port, "devices", SECRETS["MQTT_DEVICES_PASSWORD"])
        sender.client.publish(f"city/c1/smoke/size-{size}", b"x" * size, qos=0)
        sender.close()
    sender = Talker(deployed.port, "devices", SECRETS["MQTT_DEVICES_PASSWORD"])
    sender.publish("city/c1/smoke/end")
    sender.close()
    reader.expect(["city/c1/smoke/size-307200", "city/c1/smoke/end"])
    reader.close()


def test_the_broker_refuses_to_start_without_secrets(tmp_path: Path) -> None:
    script = str(ROOT / "deploy/mosquitto/start.sh")
    for lacking in SECRETS:
        others = {name: secret for name, secret in SECRETS.items() if name != lacking}
        env = {"PATH": os.environ["PATH"], "MOSQUITTO_DATA": str(tmp_path), **others}
        done = subprocess.run(["/bin/sh", script], env=env, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert lacking in done.stderr
