"""Figures of the line to the city for Prometheus; none where a district reports to nobody."""

from collections.abc import Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from city.uplink import line_of


def of_uplink(row: Mapping[str, Any] | None) -> list[Metric]:
    """From the row that ``storage.uplink.line`` gives."""
    if row is None:
        return []
    oldest = row["oldest_at"]
    waits_s = (row["alive_at"] - oldest).total_seconds() + row["silent_s"] if oldest is not None else 0.0
    gauges = (
        ("up", "city uplink has a connection to the city's broker", float(line_of(row) in ("up", "behind"))),
        ("waiting", "readings that the city does not have yet", row["waiting"]),
        ("waiting_age_seconds", "the longest such wait", max(0.0, waits_s)),
        ("silent_seconds", "since city uplink said how it is", row["silent_s"]),
    )
    counters = (
        ("sent", "readings that the city's broker acknowledged", row["sent"]),
        ("refused", "messages that the city's broker does not take from this node", row["refused"]),
        ("expired", "readings given up after CITY_UPLINK_DAYS", row["expired"]),
    )
    return [
        *(GaugeMetricFamily(f"city_uplink_{name}", words, value) for name, words, value in gauges),
        *(CounterMetricFamily(f"city_uplink_{name}", words, value) for name, words, value in counters),
    ]
