"""Stations and feeds of a city on several machines: what they say is published to the log, as devices publish.

A worker that shares the log cannot listen: what it heard would be of no partition. This process listens and stores
nothing: it publishes every frame at QoS 1 under its family's topic, and answers the station when the broker has
confirmed it, which RabbitMQ does when a majority of its nodes has it. No cell is named there, so the frames go to
``events-unrouted``, one partition, and through the same decoders and rules.
"""

import socket
import threading
from collections.abc import Callable

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from city.service_manager import SILENT, ServiceManager
from city.settings import Settings, SettingsError
from city.stopping import on_signals
from ingest.delivery import Delivery
from ingest.inbox import Inbox
from ingest.listeners import listeners
from ingest.sources.mqtt import configure

BATCH = 1000  # frames on their way to the broker at a time
GATHER_S = 0.01
LOOK_S = 0.5

log = structlog.get_logger()


class Gateway:
    """Listeners and feeds in, one MQTT connection out; a batch waits until all of it is confirmed."""

    def __init__(self, settings: Settings, *, watched: Callable[[], None] = lambda: None) -> None:
        """Raises SettingsError when there is nothing to listen to."""
        self._inbox = Inbox(limit=settings.pending_limit, batch=BATCH)
        self.sources = listeners(settings, self._inbox, first=0)
        if not self.sources:
            raise SettingsError(
                "city gateway: nothing to listen to; set CITY_SL651_PORT, CITY_GB26875_PORT, CITY_HJ212_PORT or write"
                " feeds.toml"
            )
        self._watched = watched
        name = f"{settings.mqtt_client_id}-gateway-{socket.gethostname()}"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        self._client.max_inflight_messages_set(BATCH)
        self._client.reconnect_delay_set(min_delay=1, max_delay=5)
        self._client.on_publish = lambda _c, _u, mid, _r, _p: self._told(mid)
        self._client.on_connect = lambda _c, _u, _f, code, _p: log.info(
            "connected to the broker", code=str(code)
        )
        self._client.on_disconnect = lambda *_: log.warning(
            "lost the broker; stations wait for their answers"
        )
        self._address = configure(self._client, settings.mqtt_url, settings.tls_of_broker())
        self._confirmed: set[int] = set()
        self._changed = threading.Condition()

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; what is not confirmed then is sent again by its station."""
        self._client.connect_async(*self._address)
        self._client.loop_start()
        for source in self.sources:
            source.start()
        while not stop.is_set():
            self._watched()
            deliveries = self._inbox.take(gather_s=GATHER_S, wait_s=LOOK_S)
            if deliveries and self._published(deliveries, stop):
                for delivery in deliveries:
                    self.sources[delivery.source].acknowledge(delivery.generation, delivery.packet_ids)
                self._inbox.done(deliveries)
        for source in self.sources:
            source.stop()
        self._client.disconnect()
        self._client.loop_stop()

    def _published(self, deliveries: list[Delivery], stop: threading.Event) -> bool:
        """Whether all of it is confirmed; paho sends it again after a lost connection."""
        with self._changed:
            self._confirmed.clear()
        wanted = {
            self._client.publish(topic.decode(), payload, qos=1).mid
            for delivery in deliveries
            for topic, payload in zip(delivery.topics, delivery.payloads, strict=True)
        }
        with self._changed:
            while not wanted <= self._confirmed and not stop.is_set():
                self._watched()
                self._changed.wait(LOOK_S)
            return wanted <= self._confirmed

    def _told(self, mid: int) -> None:
        with self._changed:
            self._confirmed.add(mid)
            self._changed.notify()


def run(settings: Settings, manager: ServiceManager = SILENT) -> int:
    """Work until SIGTERM or SIGINT; 0 on a clean stop. Raises CityError with one line when it cannot start."""
    if not settings.mqtt_url:
        raise SettingsError("CITY_MQTT_URL: city gateway publishes there; set it to the log's MQTT address")
    stop = threading.Event()
    on_signals(stop.set)
    gateway = Gateway(settings, watched=manager.watched)
    manager.ready()
    try:
        gateway.run(stop)
    finally:
        manager.stopping()
    return 0
