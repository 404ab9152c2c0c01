"""The chart without a cluster: helm itself lints and renders it, and every document is held against its schema."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from fastapi.routing import iter_route_contexts

from city.settings import Settings
from command_centre.api.app import routes
from tests.integration.rendered_chart import CHART, Document, helm, one_of, rendered
from tests.servers.deployed import ROOT
from tests.servers.helm import kubernetes_schema

VALUES = ("minimal", "city", "edge")


@pytest.fixture(scope="module", params=VALUES)
def named(request: pytest.FixtureRequest) -> tuple[str, list[Document]]:
    return request.param, rendered(request.param)


@pytest.fixture(scope="module")
def city(named: tuple[str, list[Document]]) -> list[Document]:
    """Each of the three; a test that needs the whole city asks for ``whole``."""
    return named[1]


@pytest.fixture(scope="module")
def whole() -> list[Document]:
    return rendered("city")


def _pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    for one in documents:
        if one["kind"] in ("Deployment", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_to_complain_of(values: str) -> None:
    done = helm("lint", str(CHART), "--strict", "-f", str(CHART / f"ci/{values}.yaml"))
    assert done.returncode == 0, done.stdout


def test_every_document_is_what_its_schema_says(named: tuple[str, list[Document]]) -> None:
    values, documents = named
    custom = yaml.safe_load((Path(__file__).with_name("custom_resources.yaml")).read_text())
    seen = set()
    for one in documents:
        where = f"{values}: {one['kind']} {one['metadata']['name']}"
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?", one["metadata"]["name"]), where
        identity = (one["kind"], one["metadata"]["name"])
        assert identity not in seen, f"{where}: twice"
        seen.add(identity)
        own = custom.get(f"{one['apiVersion']}/{one['kind']}")
        schema = kubernetes_schema(one["apiVersion"], one["kind"]) if own is None else own
        assert schema is not None, f"{where}: no schema"
        validator = jsonschema.Draft202012Validator(schema)
        faults = [f"{'/'.join(map(str, f.absolute_path))}: {f.message}" for f in validator.iter_errors(
            one if own is None else one["spec"]
        )]  # fmt: skip
        assert not faults, f"{where}: {faults}"


def test_every_setting_exists_and_no_secret_is_written_down(city: list[Document]) -> None:
    known = {f"CITY_{name.upper()}" for name in Settings.model_fields}
    for name, pod in _pods(city):
        (container,) = pod["containers"]
        environment = {one["name"]: one for one in container["env"]}
        assert len(environment) == len(container["env"]), f"{name}: a setting twice"
        assert {one for one in environment if one.startswith("CITY_")} <= known, name
        for variable, one in environment.items():
            if re.search("PASSWORD|TOKEN|SECRET|KEY", variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
            if "@" in one.get("value", ""):
                assert re.match(r"[\w-]+://(\$\(BROKER_USER\)|city|city_serving)@", one["value"]), variable
        assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert not [one for one in city if one["kind"] == "Secret"]


def test_no_value_is_a_password_and_settings_may_hold_none() -> None:
    told = (CHART / "values.yaml").read_text()
    assert not re.search(
        r"(?i)^\s*\w*(password|token):[ ]*\S*[^\s#]", told.replace("city-api-token", ""), re.M
    )
    done = helm("template", "city", str(CHART), "-f", str(CHART / "ci/minimal.yaml"),
                 "--set", "settings.CITY_API_TOKEN=told")  # fmt: skip
    assert done.returncode != 0
    assert "CITY_API_TOKEN" in done.stderr


@pytest.mark.parametrize(
    ("values", "unset", "said"),
    [
        ("city", "database.image=", "database.image"),
        ("city", "district.configMap=,gateway.ports.sl651=0,gateway.ports.hj212=0", "gateway.ports"),
        ("city", "ingest.autoscaling.prometheus=", "ingest.autoscaling.prometheus"),
        ("city", "centre.ingress.tlsSecret=", "centre.ingress.tlsSecret"),
        ("minimal", "database.host=", "database.host"),
        ("minimal", "database.secret=", "database.secret"),
        ("minimal", "log.adminSecret=", "log.adminSecret"),
        ("minimal", "log.hosts=null", "log.hosts"),
    ],
)
def test_what_is_missing_is_named(values: str, unset: str, said: str) -> None:
    done = helm("template", "city", str(CHART), "-f", str(CHART / f"ci/{values}.yaml"), "--set", unset)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_chart_is_the_projects_version_and_so_is_its_image(city: list[Document]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
    images = {pod["containers"][0]["image"] for _, pod in _pods(city)}
    single = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert images == {single["centre"]["image"]}
    scale = yaml.safe_load((ROOT / "docker-compose.scale.yml").read_text())["services"]
    for one in city:
        if one["kind"] == "RabbitmqCluster":
            assert one["spec"]["image"] == scale["rabbitmq-1"]["image"]


def test_pods_have_no_rights_and_bounds(city: list[Document]) -> None:
    for name, pod in _pods(city):
        assert pod["automountServiceAccountToken"] is False, name
        own = pod["securityContext"]
        assert own["runAsNonRoot"] is True, name
        assert own["runAsUser"] == 10001, name  # the image's account
        assert own["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
    assert "10001:10001" in (ROOT / "Dockerfile").read_text()


def test_a_drain_may_always_take_one_and_never_the_majority(named: tuple[str, list[Document]]) -> None:
    values, documents = named
    replicas = {}
    for one in documents:
        name, spec = one["metadata"]["name"], one.get("spec", {})
        if one["kind"] == "Deployment":
            replicas[name] = spec.get("replicas")
        elif one["kind"] == "RabbitmqCluster":
            replicas[name] = spec["replicas"]
        elif one["kind"] == "Pooler":
            replicas[name] = spec["instances"]
    for one in documents:  # who is scaled has at least so many
        if one["kind"] in ("ScaledObject", "HorizontalPodAutoscaler"):
            scaled = one["spec"]
            least = scaled["minReplicaCount"] if "minReplicaCount" in scaled else scaled["minReplicas"]
            assert replicas[scaled["scaleTargetRef"]["name"]] is None, "a number of its own would be set back"
            replicas[scaled["scaleTargetRef"]["name"]] = least
    guarded = {
        one["metadata"]["name"]: one["spec"] for one in documents if one["kind"] == "PodDisruptionBudget"
    }
    assert all(guarded[name]["maxUnavailable"] == 1 for name in guarded)
    assert all("minAvailable" not in guarded[name] for name in guarded)
    assert set(guarded) == {name for name, count in replicas.items() if count > 1}, values
    log = replicas.get("city-log", 0)
    assert log in (0, 1) or log - 1 > log // 2  # what is left is a majority of the log's nodes
    for one in documents:
        if one["kind"] == "Cluster" and one["spec"]["instances"] > 1:
            assert one["spec"]["enablePDB"]
            assert one["spec"]["postgresql"]["synchronous"]["number"] < one["spec"]["instances"] - 1


def test_probes_ask_what_is_answered(city: list[Document]) -> None:
    paths = {context.path for context in iter_route_contexts(routes().routes)}
    for name in ("city-centre", "city-ingest"):
        pod = one_of(city, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        ports = {one["name"]: one["containerPort"] for one in pod["ports"]}
        environment = {one["name"]: one.get("value") for one in pod["env"]}
        assert str(ports[pod["readinessProbe"]["httpGet"]["port"]]) in (
            environment.get("CITY_HTTP_PORT"),
            environment.get("CITY_METRICS_PORT"),
        )
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = pod[probe]["httpGet"]["path"].partition("?")[0]
            assert path in paths if name == "city-centre" else path == "/metrics"
    centre = one_of(city, "Deployment", "city-centre")["spec"]["template"]["spec"]
    drain = {one["name"]: one.get("value") for one in centre["containers"][0]["env"]}["CITY_DRAIN_S"]
    ready = centre["containers"][0]["readinessProbe"]
    assert centre["terminationGracePeriodSeconds"] > int(drain) + 20
    assert (
        int(drain) > ready["periodSeconds"] * ready["failureThreshold"]
    )  # nobody is sent to it when it ends


def test_the_logs_lines_are_those_of_the_other_deployment(whole: list[Document]) -> None:
    log = one_of(whole, "RabbitmqCluster", "city-log")["spec"]["rabbitmq"]
    given = log["additionalConfig"].splitlines()
    told = (ROOT / "deploy/scale/rabbitmq.conf").read_text().splitlines()
    compose = [line for line in told if line and not line.startswith("#")]
    apart = {line for line in compose if line not in given}  # the operator's own affair
    assert given == [line for line in compose if line not in apart]
    assert {re.split(r"[._]", line)[0] for line in apart} == {
        "cluster",
        "mqtt",
        "stream",
        "management",
        "log",
    }
    assert {line for line in apart if line[:4] == "mqtt"} == {"mqtt.listeners.tcp.default = 1883"}
    for key, name in (("advancedConfig", "advanced.config"), ("envConfig", "rabbitmq-env.conf")):
        assert log[key].strip() == (ROOT / "deploy/scale" / name).read_text().strip()
    plugins = (ROOT / "deploy/scale/enabled_plugins").read_text()
    assert all(plugin in plugins for plugin in log["additionalPlugins"])


def test_every_node_of_the_log_finds_its_guard(whole: list[Document]) -> None:
    spec = one_of(whole, "RabbitmqCluster", "city-log")["spec"]
    pod = spec["override"]["statefulSet"]["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    assert (container["name"], mount["name"]) == ("rabbitmq", volume["name"])
    (kept,) = one_of(whole, "ConfigMap", volume["configMap"]["name"])["data"].items()
    name, text = kept
    assert text.strip() == (ROOT / "deploy/scale/guard.erl").read_text().strip()
    assert f'-eval ok=file:eval(\\"{mount["mountPath"]}/{name}\\")"' in spec["rabbitmq"]["envConfig"]


def test_accounts_may_what_the_other_deployments_may(whole: list[Document]) -> None:
    script = (ROOT / "deploy/scale/accounts.sh").read_text()
    for name in ("devices", "ingest", "centre", "gateway"):
        rights = one_of(whole, "Permission", f"city-log-{name}")["spec"]["permissions"]
        told = f"'{rights['configure']}' '{rights['write']}' '{rights['read']}'"
        assert re.search(rf"^account {name} \S+ {re.escape(told)}$", script, re.M), name
        topics = [one["spec"]["permissions"] for one in whole
                  if (one["kind"], one["metadata"]["name"]) == ("TopicPermission", f"city-log-{name}")]  # fmt: skip
        for one in topics:
            assert f"{name} {one['exchange']} '{one['write']}' '{one['read']}'" in script
        assert bool(topics) == (f"set_topic_permissions {name} " in script)


def test_the_gateway_is_one_that_listens_where_its_service_sends_and_knows_no_database(
    whole: list[Document],
) -> None:
    deployment = one_of(whole, "Deployment", "city-gateway")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}  # two would ask each feed twice
    (container,) = deployment["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert not [name for name in environment if "DATABASE" in name]
    assert environment["CITY_SL651_PASSWORD_FILE"] == "/run/secrets/stations/password"
    service = one_of(whole, "Service", "city-gateway")["spec"]
    assert service["loadBalancerSourceRanges"] == ["10.30.0.0/16"]
    listened = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert {one["targetPort"]: one["port"] for one in service["ports"]} == listened
    assert listened == {"sl651": 5025, "hj212": 5212}
    asked = {f"CITY_{name.upper()}_PORT": str(port) for name, port in listened.items()}
    assert {name: value for name, value in environment.items() if name.endswith("_PORT")} == asked
    assert container["livenessProbe"]["tcpSocket"]["port"] in listened


def test_no_gateway_unless_it_is_asked_for() -> None:
    names = {(one["kind"], one["metadata"]["name"]) for one in rendered("edge")}
    assert not [name for _, name in names if name.endswith("gateway")]


def test_settings_of_history_are_those_of_the_other_deployments() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-settings"]
    told = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    for name in ("CITY_HOT_DAYS", "CITY_CHUNK_HOURS"):
        assert compose[name] == f"${{{name}:-{told[name]}}}"
        Settings(**{name.removeprefix("CITY_").lower(): told[name]})
    done = helm("template", "city", str(CHART), "-f", str(CHART / "ci/minimal.yaml"),
                 "--set-string", "settings.CITY_CHUNK_HOURS=5")  # fmt: skip
    assert done.returncode != 0
    assert "CITY_CHUNK_HOURS" in done.stderr


def test_alerts_are_the_files_of_the_other_deployment(whole: list[Document]) -> None:
    for name in ("alerts", "recording"):
        rendered = one_of(whole, "PrometheusRule", f"city-{name}")["spec"]
        assert rendered == yaml.safe_load((ROOT / f"deploy/prometheus/{name}.rules.yml").read_text())
        assert (CHART / f"files/{name}.rules.yml").is_symlink()
    jobs = {one_of(whole, "Service", f"city-{name}")["metadata"]["labels"]["app.kubernetes.io/name"]
            for name in ("centre", "ingest")}  # fmt: skip
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert jobs == {one["job_name"] for one in scraped}  # alerts ask by it
    assert {one["spec"]["jobLabel"] for one in whole if one["kind"] == "ServiceMonitor"} == {
        "app.kubernetes.io/name"
    }


def test_nobody_speaks_with_a_pod_unless_a_policy_says_so(whole: list[Document]) -> None:
    policies = [one for one in whole if one["kind"] == "NetworkPolicy"]
    refusing = one_of(whole, "NetworkPolicy", "city-nobody")["spec"]
    assert refusing["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "city"}
    assert set(refusing["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in refusing
    for one in whole:
        if one["kind"] in ("Deployment", "Job"):
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "city"
    anywhere = [(one["metadata"]["name"], rule["ports"]) for one in policies
                for rule in one["spec"].get("ingress", ()) if "from" not in rule]  # fmt: skip
    assert anywhere == [
        ("city-gateway", [{"protocol": "TCP", "port": 5212}, {"protocol": "TCP", "port": 5025}]),  # stations
        ("city-log", [{"protocol": "TCP", "port": 8883}]),  # devices, over TLS
    ]


def test_the_first_installation_and_an_upgrade_migrate_before_the_log_is_bound() -> None:
    first, later = rendered("city"), rendered("city", "--is-upgrade")
    for documents, hooks in ((first, [None, None]), (later, ["pre-upgrade", "post-upgrade"])):
        jobs = [one for one in documents if one["kind"] == "Job"]
        assert [one["metadata"].get("annotations", {}).get("helm.sh/hook") for one in jobs] == hooks
        assert "city migrate" in jobs[0]["spec"]["template"]["spec"]["containers"][0]["args"][0]
        assert jobs[1]["spec"]["template"]["spec"]["containers"][0]["args"][:2] == ["scale", "init"]
