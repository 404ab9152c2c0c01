"""The broker as compose runs it, its paths below a folder of the test, and a client that remembers what happened."""

import getpass
import os
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from tests.servers.mosquitto import mosquitto_binary, mosquitto_passwd_binary
from tests.servers.processes import ServerProcess, free_port, listening

ROOT = Path(__file__).parents[2]
SECRETS = {
    "MQTT_INGEST_PASSWORD": "read-secret",
    "MQTT_CENTRE_PASSWORD": "centre-secret",
    "MQTT_DEVICES_PASSWORD": "write-secret",
}


class DeployedBroker:
    """deploy/mosquitto as in the container, with its paths under a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.data = folder / "data"
        self.data.mkdir()
        self.tls = folder / "tls"  # certificates; empty = no TLS
        self.tls_port, self.certificate_port = free_port(), free_port()
        self.register = folder / "register"  # where the centre writes what devices may do
        shutil.copytree(ROOT / "deploy/mosquitto", folder / "config")
        conf = folder / "config/mosquitto.conf"
        text = conf.read_text().replace("/mosquitto/", f"{folder}/")
        text = text.replace("listener 1883\n", f"listener {self.port} 127.0.0.1\nuser {getpass.getuser()}\n")
        conf.write_text(text)
        self.process: ServerProcess | None = None

    def start(self, secrets: dict[str, str]) -> None:
        path = f"{mosquitto_binary().parent}:{mosquitto_passwd_binary().parent}:{os.environ['PATH']}"
        env = {"PATH": path, "MOSQUITTO_DATA": str(self.data), **secrets}
        env["MOSQUITTO_CONF"] = str(self.folder / "config/mosquitto.conf")
        env |= {"MOSQUITTO_REGISTER": str(self.register), "MOSQUITTO_LOOK": "0.1"}
        env |= {
            "MOSQUITTO_TLS": str(self.tls),
            "MOSQUITTO_TLS_LISTENER": f"{self.tls_port} 127.0.0.1",
            "MOSQUITTO_CERTIFICATE_LISTENER": f"{self.certificate_port} 127.0.0.1",
        }
        script = self.folder / "config/start.sh"
        self.process = ServerProcess(["/bin/sh", str(script)], self.folder / "log", env=env)
        self.process.wait_ready(lambda: listening(self.port), 15)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
            while listening(self.port):  # else the next start would meet what its shell left for a moment
                time.sleep(0.02)


class Talker:
    """A client that remembers what happened to it."""

    def __init__(
        self,
        port: int,
        user: str | None,
        password: str,
        *,
        session: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.refused: ReasonCode | None = None
        self.lost = 0  # connections that the broker closed
        self.heard: list[str] = []
        self.granted: list[int] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=session, clean_session=not session)
        if user is not None:
            client.username_pw_set(user, password)
        if tls is not None:
            client.tls_set_context(tls)
        client.reconnect_delay_set(1, 1)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = lambda _c, _d, message: self.heard.append(message.topic)
        client.on_subscribe = lambda _c, _d, _m, codes, _p: self.granted.extend(code.value for code in codes)
        client.connect("localhost" if tls else "127.0.0.1", port)
        client.loop_start()
        self.client = client
        self.until(lambda: client.is_connected() or self.refused is not None)

    def _connected(
        self, _client: object, _data: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            self.refused = code

    def _disconnected(self, *_: object) -> None:
        self.lost += 1

    def until(self, done: Callable[[], bool]) -> None:
        for _ in range(6000):
            if done():
                return
            self.client._thread.join(0.01)  # type: ignore[union-attr]  # loop_start has made the thread
        raise AssertionError("nothing happened within 60 s")

    def subscribe(self, topic: str) -> None:
        before = len(self.granted)
        self.client.subscribe(topic, 1)
        self.until(lambda: len(self.granted) > before)

    def publish(self, topic: str) -> None:
        self.client.publish(topic, b'{"value": 1}', qos=1).wait_for_publish(60)

    def expect(self, topics: list[str]) -> None:
        self.until(lambda: len(self.heard) >= len(topics))
        assert self.heard == topics

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
