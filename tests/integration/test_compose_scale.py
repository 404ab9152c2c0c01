"""The deployment of several machines without a container engine: what its files say, and that its scripts are shell."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from ingest.sources.feed_plan import FAMILIES
from tests.conftest import lacking, running
from tests.servers.balancer import balancer_programs
from tests.servers.deployed import ROOT
from tests.servers.processes import UnavailableError
from tests.servers.rabbitmq import RabbitCluster

FOLDER = ROOT / "deploy/scale"
ONCE = {"broker-accounts", "migrate", "topology"}


@pytest.fixture(scope="module")
def scale() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.scale.yml").read_text())
    return document


def test_three_brokers_two_centres_two_databases_and_workers_in_number(scale: dict[str, Any]) -> None:
    services = scale["services"]
    nodes = {name for name in services if name.startswith("rabbitmq-")}
    assert nodes == {"rabbitmq-1", "rabbitmq-2", "rabbitmq-3"}
    assert all(services[name]["hostname"] == name for name in nodes)  # Erlang names nodes by their host
    assert len({services[name]["volumes"][-1] for name in nodes}) == 3
    conf = (FOLDER / "rabbitmq.conf").read_text()
    assert set(re.findall(r"= rabbit@(\S+)$", conf, re.MULTILINE)) == nodes
    assert services["centre"]["deploy"]["replicas"] == "${CITY_CENTRES_BEHIND:-2}"
    assert services["ingest"]["deploy"]["replicas"] == "${CITY_INGEST_WORKERS:-3}"
    assert "synchronous_standby_names = 'FIRST 1 (replica)'" in (FOLDER / "primary.sh").read_text()
    assert "application_name=replica" in (FOLDER / "replica.sh").read_text()


def test_every_service_is_bounded_watched_and_restarted(scale: dict[str, Any]) -> None:
    for name, service in scale["services"].items():
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert service["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), name
        assert service["restart"] == ("on-failure:5" if name in ONCE else "unless-stopped"), name
        assert name in ONCE or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_images_are_those_of_the_single_machine_where_it_has_them(scale: dict[str, Any]) -> None:
    single = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, twin in (
        ("timescaledb", "timescaledb"),
        ("timescaledb-replica", "timescaledb"),
        ("centre", "centre"),
    ):
        assert scale["services"][name]["image"] == single[twin]["image"]


def test_only_balancer_and_gateway_have_ports_and_only_here(scale: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in scale["services"].items() if "ports" in service}
    assert set(ports) == {"balancer", "gateway"}
    assert scale["services"]["gateway"]["profiles"] == ["stations"]
    assert all(mapping.split("}:")[0].endswith(":-127.0.0.1") for one in ports.values() for mapping in one)


def test_secrets_are_files_that_are_given_to_who_reads_them(scale: dict[str, Any]) -> None:
    scripts = {path.name: path.read_text() for path in FOLDER.iterdir()}
    for name, service in scale["services"].items():
        given = set(service.get("secrets", []))
        assert given <= set(scale["secrets"]), name
        parts = ("environment", "command", "entrypoint", "healthcheck")
        told = str([service.get(part) for part in parts])
        # only the script that it starts or is handed, not all that lie in the folder
        mounted = (
            [str(service.get("entrypoint", ""))] + [str(volume) for volume in service["volumes"]]
            if "volumes" in service
            else []
        )
        told += "".join(text for script, text in scripts.items() if any(script in one for one in mounted))
        assert set(re.findall(r"/run/secrets/(\w+)", told)) <= given, name
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|TOKEN|SECRET", variable) or variable.endswith("_FILE"), (
                name,
                value,
            )


def test_mounted_files_and_named_services_exist(scale: dict[str, Any]) -> None:
    services = scale["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for volume in service.get("volumes", []):
            here = volume.partition(":")[0]
            assert here.startswith("$") or here in scale["volumes"] or (ROOT / here).exists(), volume
    named = set(
        re.findall(r"\bserver(?:-template)? \S+(?: \d+)? ([\w-]+):\d+", (FOLDER / "haproxy.cfg").read_text())
    )
    assert named == {"rabbitmq-1", "rabbitmq-2", "rabbitmq-3", "centre"}
    assert "host=timescaledb" in (FOLDER / "pgbouncer.ini").read_text()


def test_every_node_finds_its_guard(scale: dict[str, Any]) -> None:
    conf = (FOLDER / "rabbitmq-env.conf").read_text()
    done = subprocess.run(  # as rabbitmq-server does: read by its shell, then taken apart at spaces
        [
            "/bin/sh",
            "-ec",
            f'. {FOLDER}/rabbitmq-env.conf\nprintf "%s\\n" $RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS',
        ],
        env={"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1"},
        capture_output=True,
        text=True,
        check=True,
    )
    *kept, option, guard = done.stdout.splitlines()
    assert (kept, option) == (["+S", "1:1"], "-eval"), conf
    (path,) = re.findall(r'^ok=file:eval\("/etc/city/(\S+)"\)$', guard)
    assert (FOLDER / path).is_file()
    for number in (1, 2, 3):
        volumes = scale["services"][f"rabbitmq-{number}"]["volumes"]
        assert "./deploy/scale:/etc/city:ro" in volumes
        assert "./deploy/scale/rabbitmq-env.conf:/etc/rabbitmq/rabbitmq-env.conf:ro" in volumes


def test_nothing_a_device_sends_can_vanish_for_want_of_a_binding() -> None:
    """MQTT goes where `city scale init` puts the alternate exchange, and a device may write there."""
    assert "mqtt.exchange = city.in\n" in (FOLDER / "rabbitmq.conf").read_text()
    accounts = (FOLDER / "accounts.sh").read_text()
    assert re.search(r"^account devices \S+ \S+ '\^\(city\\\.in\|", accounts, re.MULTILINE)
    assert "set_topic_permissions devices city.in '^city\\.' '^$'" in accounts
    (families,) = re.findall(r"permissions gateway city\.in '\^\((\S+)\)\\\.' '\^\$'", accounts)
    assert set(families.split("|")) == {"sl651", "gb26875", "hj212", *FAMILIES}


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.sh")))
def test_scripts_are_shell(script: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-n", str(FOLDER / script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "set -eu" in (FOLDER / script).read_text()


def test_the_primarys_script_is_run_and_not_read_into_the_images_own() -> None:
    assert (FOLDER / "primary.sh").stat().st_mode & 0o111


def test_haproxy_itself_accepts_it() -> None:
    try:
        haproxy = balancer_programs() / "haproxy"
    except UnavailableError as missing:
        lacking(missing)
    done = subprocess.run(
        [str(haproxy), "-c", "-f", str(FOLDER / "haproxy.cfg")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr


@pytest.mark.slow  # a node of RabbitMQ
def test_rabbitmq_itself_takes_every_line() -> None:
    """It does not start with a line that it does not know; addresses and the other nodes are the test's own."""
    apart = ("cluster_formation.", "mqtt.listeners.", "stream.listeners.", "management.", "log.", "disk_free")
    lines = [
        line
        for line in (FOLDER / "rabbitmq.conf").read_text().splitlines()
        if line and not line.startswith(("#", *apart))
    ]
    assert {"net_ticktime = 2", "raft.adaptive_failure_detector.poll_interval = 500"} <= set(lines)
    with running(RabbitCluster(1, lines)):
        pass  # it takes MQTT and streams
