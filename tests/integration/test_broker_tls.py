"""TLS at the deployed broker: its certificate, client certificates, revocation and rotation without a restart."""

import shutil
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from city.broker_accounts import Account, access_file, hashed, password_file
from city.settings import Settings, SettingsError
from command_centre import certificate_alarm
from ingest.delivery import Delivery
from ingest.sources.mqtt import BrokerSource
from runtime import certificates
from tests.conftest import lacking
from tests.servers.deployed import SECRETS, DeployedBroker, Talker
from tests.servers.processes import UnavailableError


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ca")
    certificates.init(folder, "Test CA", None, datetime.now(UTC))
    return folder


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[DeployedBroker]:
    made = DeployedBroker(tmp_path_factory.mktemp("broker"))
    made.tls.mkdir()
    serve(made, authority)
    for name in ("ca.pem", "crl.pem"):
        shutil.copy(authority / name, made.tls / name)
    told(made, [Account(name="D1", secret_hash=hashed("one"))])
    try:
        made.start(SECRETS)
    except UnavailableError as missing:
        lacking(missing)
    yield made
    made.stop()


def serve(broker: DeployedBroker, authority: Path) -> int:
    """A fresh certificate for the broker; its serial."""
    made = certificates.issue(authority, "server", "localhost", ["127.0.0.1"], None, datetime.now(UTC))
    put(made.key, broker.tls / "server.key")
    put(made.certificate, broker.tls / "server.pem")
    return made.serial


def put(source: Path, target: Path) -> None:
    fresh = target.with_suffix(".new")
    shutil.copy(source, fresh)
    fresh.replace(target)


def told(broker: DeployedBroker, accounts: list[Account]) -> None:
    """As the centre writes it."""
    broker.register.mkdir(exist_ok=True)
    for name, text in (("acl", access_file(accounts)), ("passwords", password_file(accounts))):
        (broker.register / f"{name}.new").write_text(text)
        (broker.register / f"{name}.new").replace(broker.register / name)


def trusting(authority: Path, *, shown: certificates.Issued | None = None) -> ssl.SSLContext:
    """As the settings make it."""
    settings = Settings(
        mqtt_url="mqtts://localhost",
        mqtt_ca_file=authority / "ca.pem",
        mqtt_cert_file=shown.certificate if shown else None,
        mqtt_key_file=shown.key if shown else None,
        _env_file=None,
    )
    context = settings.tls_of_broker()
    assert context is not None
    return context


def gets_in(broker: DeployedBroker, context: ssl.SSLContext) -> bool:
    """Whether a client certificate is accepted now: with TLS 1.3 a refusal comes after the handshake."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.tls_set_context(context)
    answered: list[bool] = []
    client.on_connect = lambda _c, _d, _f, code, _p: answered.append(not code.is_failure)
    client.on_connect_fail = lambda *_: answered.append(False)
    client.on_disconnect = lambda *_: answered.append(False)
    try:
        client.connect("localhost", broker.certificate_port)
    except (ssl.SSLError, OSError):
        return False
    client.loop_start()
    deadline = time.monotonic() + 60
    while not answered and time.monotonic() < deadline:
        time.sleep(0.01)
    client.on_disconnect = None
    client.loop_stop()
    client.disconnect()
    return answered[0]


def test_ingest_reads_over_tls_and_only_from_whom_it_trusts(broker: DeployedBroker, authority: Path) -> None:
    heard: list[Delivery] = []
    secret = SECRETS["MQTT_INGEST_PASSWORD"]
    source = BrokerSource(
        f"mqtts://ingest:{secret}@localhost:{broker.tls_port}",
        client_id="tls-ingest",
        topics=["city/#"],
        take=heard.append,
        may_read=lambda: True,
        tls=trusting(authority),
    )
    source.start()
    device = Talker(broker.tls_port, "D1", "one", tls=trusting(authority))
    device.until(lambda: source.connected)
    device.until(lambda: (device.publish("city/c/smoke/D1"), bool(heard))[1])
    assert heard[0].topics[0] == b"city/c/smoke/D1"
    watched = Settings(
        mqtt_url=f"mqtts://localhost:{broker.tls_port}", mqtt_ca_file=authority / "ca.pem", _env_file=None
    )
    until = certificate_alarm.ends(watched, datetime.now(UTC))
    assert set(until) == {"broker", "CITY_MQTT_CA_FILE"}
    assert 395 < (until["broker"] - datetime.now(UTC)).days < 398
    source.stop()
    with pytest.raises(ssl.SSLCertVerificationError):
        Talker(broker.tls_port, "D1", "one", tls=ssl.create_default_context())
    wrong = Talker(broker.tls_port, "D1", "two", tls=trusting(authority))
    assert wrong.refused is not None
    for talker in (device, wrong):
        talker.close()


def test_a_certificate_is_its_devices_account(broker: DeployedBroker, authority: Path) -> None:
    reader = Talker(broker.port, "ingest", SECRETS["MQTT_INGEST_PASSWORD"])
    reader.subscribe("city/#")
    shown = certificates.issue(authority, "device", "D7", [], None, datetime.now(UTC))
    device = Talker(broker.certificate_port, None, "", tls=trusting(authority, shown=shown))
    device.publish("city/c/smoke/D8")
    device.publish("city/c/smoke/D7")
    reader.expect(["city/c/smoke/D7"])
    assert not gets_in(broker, trusting(authority))  # none shown
    other = authority.parent / "other-ca"
    certificates.init(other, "Test CA", None, datetime.now(UTC))  # the same name, another key
    forged = certificates.issue(other, "device", "D7", [], None, datetime.now(UTC))
    assert not gets_in(broker, trusting(authority, shown=forged))
    server = certificates.issue(authority, "server", "ingest", [], None, datetime.now(UTC))
    assert not gets_in(broker, trusting(authority, shown=server))  # a server's is not for logging in

    # Denied by the register: at once, on the open connection too.
    told(broker, [Account(name="D1", secret_hash=hashed("one")), Account(name="D7", denied=True)])
    mark = Talker(broker.port, "devices", SECRETS["MQTT_DEVICES_PASSWORD"])

    def silent() -> bool:
        before = len(reader.heard)
        device.publish("city/c/smoke/D7")
        mark.publish("city/c/smoke/mark")
        reader.until(lambda: "city/c/smoke/mark" in reader.heard[before:])
        return "city/c/smoke/D7" not in reader.heard[before:]

    reader.until(silent)
    for talker in (reader, device, mark):
        talker.close()


def test_a_revoked_certificate_is_refused_without_a_restart(broker: DeployedBroker, authority: Path) -> None:
    shown = certificates.issue(authority, "device", "D9", [], None, datetime.now(UTC))
    other = certificates.issue(authority, "device", "D10", [], None, datetime.now(UTC))
    open_one = Talker(broker.certificate_port, None, "", tls=trusting(authority, shown=other))
    assert gets_in(broker, trusting(authority, shown=shown))
    certificates.revoke(authority, "D9", None, datetime.now(UTC))
    put(authority / "crl.pem", broker.tls / "crl.pem")
    open_one.until(lambda: not gets_in(broker, trusting(authority, shown=shown)))
    assert gets_in(broker, trusting(authority, shown=other))
    assert open_one.lost == 0
    open_one.close()


def test_the_brokers_certificate_is_replaced_without_a_restart(
    broker: DeployedBroker, authority: Path
) -> None:
    device = Talker(broker.tls_port, "D1", "one", tls=trusting(authority))
    serial = serve(broker, authority)

    def served() -> int:
        text = ssl.get_server_certificate(("127.0.0.1", broker.tls_port))
        (broker.folder / "served.pem").write_text(text)
        return certificates.read(broker.folder / "served.pem").serial_number

    device.until(lambda: served() == serial)
    assert device.lost == 0
    device.close()


def test_a_setting_that_is_no_certificate_is_said(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    for more in ({"mqtt_ca_file": wrong}, {"mqtt_ca_file": tmp_path / "none"}, {"mqtt_cert_file": wrong}):
        settings = Settings(mqtt_url="mqtts://localhost", _env_file=None, **more)  # type: ignore[arg-type]  # one at a time
        with pytest.raises(SettingsError, match="CITY_MQTT_C"):
            settings.tls_of_broker()
    assert Settings(mqtt_url="mqtt://localhost", mqtt_ca_file=wrong, _env_file=None).tls_of_broker() is None
