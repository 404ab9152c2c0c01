"""An ingest that really works: its own thread, a real broker and a real database; or its own process, as deployed."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from city.district import import_defaults
from city.settings import Settings
from ingest.worker import Worker
from rules.definitions import to_rows
from tests.servers.accounts import services_url
from tests.servers.city_process import start_city
from tests.servers.processes import ServerProcess

Rows = list[tuple[Any, ...]]


class Inside:
    """The worker in a thread of the test. A process of its own costs a second before it has read a message."""

    def __init__(self, **settings: str) -> None:
        settings["database_url"] = services_url(settings["database_url"])
        chosen = Settings.model_validate({"_env_file": None} | settings)
        self._worker = Worker(chosen, chosen.mqtt_url)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._worker.run(self._stop)
        except BaseException as error:
            self._failure = error

    def stop(self) -> None:
        """In order, as at SIGTERM."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def log_tail(self) -> str:
        """What it says of itself, or what ended it."""
        return repr(self._failure or self._worker.figures())


class Stand:
    """A running ingest with its database and broker, and hands to publish and to look."""

    def __init__(
        self, database: str, broker_url: str, broker_port: int, *, apart: bool = False, **settings: str
    ) -> None:
        """``apart``: in a process of its own, for tests that read its log or kill it."""
        self.database = database
        self._apart = apart
        self._settings = {"database_url": database, "mqtt_url": broker_url} | settings
        self.ingest: Inside | ServerProcess = self._begun()
        self._publisher = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._publisher.connect("127.0.0.1", broker_port)
        self._publisher.loop_start()
        client = settings.get("mqtt_client_id", "city-ingest")
        self.until(
            "SELECT count(*) FROM ingest_sessions WHERE listening AND figures ->> 'broker_connected' = 'true'"
            f" AND client_id LIKE '{client}%'",  # over the log each worker adds its number
            1,
            seconds=60,
        )

    def _begun(self) -> Inside | ServerProcess:
        return start_city("ingest", **self._settings) if self._apart else Inside(**self._settings)

    @property
    def process(self) -> ServerProcess:
        """Of one that runs apart."""
        assert isinstance(self.ingest, ServerProcess)
        return self.ingest

    def restart(self) -> None:
        self.ingest = self._begun()

    def publish(self, topic: str, payload: object, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until the broker has it."""
        body = payload if isinstance(payload, bytes | str) else json.dumps(payload)
        self._publisher.publish(topic, body, qos=1, retain=retain).wait_for_publish(60)

    def rows(self, sql: str) -> Rows:
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql.encode()).fetchall()

    def until(self, sql: str, at_least: int, seconds: float = 60) -> int:
        """Wait until a count is reached; fails with the log of ingest otherwise."""
        deadline = time.monotonic() + seconds
        with psycopg.connect(self.database, autocommit=True) as connection:
            while time.monotonic() < deadline:
                (count,) = connection.execute(sql.encode()).fetchone() or (0,)
                if count >= at_least:
                    return int(count)
                time.sleep(0.05)
        raise AssertionError(f"{sql}: {count} < {at_least}; {self.ingest.log_tail()}")

    def close(self) -> None:
        self._publisher.disconnect()
        self._publisher.loop_stop()
        self.ingest.stop()


@contextmanager
def stands(database: str, broker: Any, **how: Any) -> Iterator[Callable[..., Stand]]:
    """A function that starts ingest there, on the built-in rules; all are stopped afterwards."""
    import_defaults(database, parse_rules=to_rows)
    started: list[Stand] = []

    def make(**settings: Any) -> Stand:
        log = getattr(broker, "settings", None)  # RabbitMQ's, where ingest reads streams and not a queue
        over = {} if log is None else {"apart": True, **log}
        started.append(Stand(database, broker.url, broker.port, **{**how, **over, **settings}))
        return started[-1]

    yield make
    for stand in started:
        stand.close()
