"""The figures of an ingest process: named as Prometheus names things, served on a port, bounded in labels."""

import urllib.request

import pytest
from prometheus_client.exposition import generate_latest

from city.errors import CityError
from ingest.measures import Measures
from tests.servers.processes import free_port

FIGURES = {
    "received": 12, "stored": 10, "duplicates": 2, "pending": 3, "lag_ms": 1500, "broker_connected": True,
    "broker_refusal": "not authorised", "quarantine_not_json": 4, "database_up": False,
}  # fmt: skip


def page(measures: Measures) -> str:
    return generate_latest(measures.registry).decode()


def test_figures_are_named_in_base_units() -> None:
    measures = Measures(lambda: FIGURES)
    measures.batch(250, 0.003)
    text = page(measures)
    for line in (
        "city_ingest_messages_total 12.0",
        "city_ingest_readings_stored_total 10.0",
        "city_ingest_pending 3.0",
        "city_ingest_lag_seconds 1.5",
        "city_ingest_broker_connected 1.0",
        "city_ingest_database_up 0.0",
        'city_ingest_quarantined_total{reason="not_json"} 4.0',
        'city_ingest_batch_seconds_bucket{le="0.005"} 1.0',
        'city_ingest_batch_messages_bucket{le="500.0"} 1.0',
    ):
        assert line in text
    assert "not authorised" not in text


def test_they_are_served_while_wanted_and_a_taken_port_is_said() -> None:
    measures, other = Measures(lambda: FIGURES), Measures(lambda: FIGURES)
    port = free_port()
    measures.serve("127.0.0.1", port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert b"city_ingest_messages_total" in answer.read()
        with pytest.raises(CityError, match=f"CITY_METRICS_PORT = {port}"):
            other.serve("127.0.0.1", port)
    finally:
        measures.close()
    other.serve("127.0.0.1", port)
    other.close()
