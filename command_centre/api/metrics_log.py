"""Figures of the log in partitions (docs/scale.md), a sample for each partition; none on one machine. Pure."""

from collections.abc import Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from city.partitions import stream_of
from city.storage.health import Row

_GAUGES = {
    "lag_records": ("log_lag_records", "records the log has and the database does not"),
    "lag_s": ("log_lag_seconds", "how long the oldest of them waits"),
    "look_age_s": ("log_look_age_seconds", "since an owner looked where the partition ends"),
}
_COUNTERS = {
    "takeovers": ("log_takeovers", "times another worker became the owner"),
    "moved": ("log_devices_moved", "devices that spoke by another partition before"),
    "lost": ("log_lost", "records that the log dropped before they were read"),
}


def of_log(partitions: Sequence[Row]) -> list[Metric]:
    """``partition`` is the stream's name; ``worker`` names who owns it, so it changes with every takeover."""
    if not partitions:
        return []
    owners = GaugeMetricFamily("city_log_owner", "1 = this worker owns it", labels=["partition", "worker"])
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
        key: GaugeMetricFamily(f"city_{name}", words, labels=["partition"])
        for key, (name, words) in _GAUGES.items()
    }
    families |= {
        key: CounterMetricFamily(f"city_{name}", words, labels=["partition"])
        for key, (name, words) in _COUNTERS.items()
    }
    for row in partitions:
        stream = stream_of(row["partition"])
        if row["owner"]:
            owners.add_metric([stream, row["owner"]], 1)
        for key, family in families.items():
            if row[key] is not None:
                family.add_metric([stream], row[key])
    return [owners, *families.values()]
