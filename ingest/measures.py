"""Figures of one ingest process for Prometheus, on a small page of its own: it answers while the database does not.

Read from another thread than the one that works: every figure is one number, and may be a batch old. Nothing here
is labelled by device. docs/metrics.md lists every name.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from city.errors import CityError

Figures = Callable[[], Mapping[str, object]]

BATCH_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
BATCH_MESSAGES = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000)
# What the worker counts, by the name it has here: (name, help).
_COUNTED = {
    "received": ("messages", "messages taken from the broker and committed"),
    "readings": ("readings", "readings in them"),
    "stored": ("readings_stored", "readings that were new"),
    "duplicates": ("readings_duplicate", "readings that were stored already"),
    "transitions": ("transitions", "alarms raised, changed and cleared"),
    "broker_reconnects": ("broker_reconnects", "connections to the broker made again"),
    "broker_dropped": ("broker_dropped", "messages the broker says it dropped"),
    "log_lost": ("log_lost", "records the log dropped before they were read, since this worker began"),
    "devices_moved": ("log_devices_moved", "devices that spoke by another partition before"),
    "batches": ("batches", "transactions"),
    "slow_batches": ("batches_checked", "of those, with rows that might be stored already"),
}
_GAUGES = {
    "pending": ("pending", "messages held and not committed"),
    "unclaimed": ("unclaimed_devices", "devices nobody has claimed"),
    "broker_connected": ("broker_connected", "the broker answers"),
    "partitions": ("log_partitions", "partitions of the log that this worker owns"),
    "log_unread": ("log_lag_records", "records of those that the log has and the database does not"),
}

log = structlog.get_logger()


class Measures:
    """What is counted as it happens; ``figures`` is asked for the rest at each scrape."""

    def __init__(self, figures: Figures) -> None:
        self.registry = CollectorRegistry()
        self._figures = figures
        self._batch_s = Histogram(
            "city_ingest_batch_seconds",
            "from taking a batch to its commit",
            buckets=BATCH_S,
            registry=self.registry,
        )
        self._batch_messages = Histogram(
            "city_ingest_batch_messages",
            "messages in a batch",
            buckets=BATCH_MESSAGES,
            registry=self.registry,
        )
        self.registry.register(_Worker(figures))
        ProcessCollector(registry=self.registry)
        self._server: tuple[WSGIServer, threading.Thread] | None = None

    def batch(self, messages: int, seconds: float) -> None:
        """A batch was committed."""
        self._batch_messages.observe(messages)
        self._batch_s.observe(seconds)

    def serve(self, host: str, port: int) -> None:
        """Answer on a thread of its own until ``close``; 0 = do not. Raises CityError when the port is taken."""
        if not port:
            return
        try:
            self._server = start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise CityError(
                f"CITY_METRICS_PORT = {port}: cannot listen on {host} ({error.strerror}); choose another, 0 = none"
            ) from error
        log.info("figures are served", host=host, port=port)

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None


class _Worker:
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """The worker's own counters, renamed as Prometheus names things."""
        told = self._figures()
        for name, (ours, words) in _COUNTED.items():
            yield CounterMetricFamily(f"city_ingest_{ours}", words, _number(told.get(name)))
        for name, (ours, words) in _GAUGES.items():
            yield GaugeMetricFamily(f"city_ingest_{ours}", words, _number(told.get(name)))
        yield GaugeMetricFamily(
            "city_ingest_lag_seconds",
            "how long the oldest held message waits",
            _number(told.get("lag_ms")) / 1000,
        )
        yield GaugeMetricFamily(
            "city_ingest_database_up", "the last attempt to store succeeded", _number(told.get("database_up"))
        )
        refused = CounterMetricFamily("city_ingest_quarantined", "messages refused", labels=["reason"])
        for name, count in sorted(told.items()):
            if name.startswith("quarantine_"):
                refused.add_metric([name.removeprefix("quarantine_")], _number(count))
        yield refused


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
