"""Figures of the log in partitions as Prometheus reads them."""

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from city.partitions import UNROUTED
from command_centre.api.metrics_log import of_log

ROW = {
    "partition": 7, "owner": "ingest-a-1-f00", "takeovers": 2, "moved": 1, "lost": 0,
    "lag_records": 120, "lag_s": 1.5, "look_age_s": 3.0,
}  # fmt: skip


class Found:
    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        return self._found


def test_each_partition_has_its_figures_and_what_nobody_looked_at_has_no_age() -> None:
    registry = CollectorRegistry()
    registry.register(Found(of_log([ROW, {**ROW, "partition": UNROUTED, "owner": "", "look_age_s": None}])))
    text = generate_latest(registry).decode()
    for line in (
        'city_log_lag_records{partition="events-7"} 120.0',
        'city_log_lag_records{partition="events-unrouted"} 120.0',
        'city_log_lag_seconds{partition="events-7"} 1.5',
        'city_log_look_age_seconds{partition="events-7"} 3.0',
        'city_log_takeovers_total{partition="events-7"} 2.0',
        'city_log_devices_moved_total{partition="events-7"} 1.0',
        'city_log_lost_total{partition="events-7"} 0.0',
        'city_log_owner{partition="events-7",worker="ingest-a-1-f00"} 1.0',
    ):
        assert line in text
    assert 'city_log_look_age_seconds{partition="events-unrouted"}' not in text
    assert 'city_log_owner{partition="events-unrouted"' not in text


def test_one_machine_has_none() -> None:
    assert of_log([]) == []
