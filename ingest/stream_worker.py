"""The same loop over a log in partitions: what a worker owns changes as others come and go."""

import os
import secrets
import socket
from collections.abc import Callable
from typing import Any

from psycopg import Connection

from city.settings import Settings, SettingsError
from city.storage import partitions
from city.storage.partitions import Claim
from ingest.delivery import Source
from ingest.shards import Shards
from ingest.sources.stream_log import StreamLog
from ingest.worker import Worker


class StreamWorker(Worker):
    """One of several ingest processes that share RabbitMQ's streams."""

    def __init__(self, settings: Settings, *, watched: Callable[[], None] = lambda: None) -> None:
        """As Worker's. Raises SettingsError when it would listen to something that is not in the log."""
        super().__init__(settings, "", watched=watched)
        if len(self._sources) > 1:
            raise SettingsError(
                "CITY_STREAM_URL: listeners and feeds are not shared by workers; unset CITY_SL651_PORT,"
                " CITY_GB26875_PORT, CITY_HJ212_PORT and feeds.toml here, and run city gateway (docs/scale.md)"
            )

    def _log_source(self, mqtt_url: str) -> Source:
        settings = self._settings
        self.name = f"{settings.mqtt_client_id}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._log = StreamLog(
            settings.stream_url,
            name=self.name,
            take=self._inbox.put,
            may_read=self._inbox.has_room,
            wake=self._inbox.wake,
            tls=settings.tls_of_log(),
        )
        return self._log

    def _pipeline_on(self, connection: Connection[Any]) -> Shards:
        shards = Shards(
            connection,
            owner=self.name,
            lost=self._log.ask_again,
            max_unclaimed=self._settings.max_unclaimed_devices,
            retention_days=self._settings.retention_days,
            router=self._router,
            zone=self._settings.zone,
        )
        served = partitions.served(connection)
        self._log.serve(served)
        for partition, generation in self._log.active.items():
            if served is None or partition in served:
                shards.acquire(partition, generation)
        return shards

    def figures(self) -> dict[str, object]:
        """As Worker's; ``log_unread`` counts records of our partitions that the log has and the database does not."""
        claims, ends = self._claims(), self._log.ends
        unread = sum(max(0, end - claims[at].next_offset) for at, end in ends.items() if at in claims)
        return {**super().figures(), "log_unread": unread}

    def _say_alive(self) -> None:
        super()._say_alive()
        claims, ends = self._claims(), self._log.ends
        seen = {at: (claims[at].epoch, end) for at, end in ends.items() if at in claims}
        with self._connection.transaction():
            partitions.look(self._connection, seen)

    def _claims(self) -> dict[int, Claim]:
        return self._opened[1].claims if self._opened and isinstance(self._opened[1], Shards) else {}

    def _chores(self) -> None:
        self._log.serve(partitions.served(self._connection))
        super()._chores()

    @property
    def _asked(self) -> bool:
        return self._log.waiting

    def _attend(self) -> None:
        shards = self._pipeline
        assert isinstance(shards, Shards)  # noqa: S101  # made above
        self._log.attend(shards)
