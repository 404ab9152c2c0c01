"""A district and its city, each with database, broker and ingest of its own, and the line between them."""

import threading
from typing import Any

import psycopg

from city.settings import Settings
from ingest.uplink import Uplink
from tests.servers.accounts import services_url

NODE = "D-NODE"

READINGS = """
    SELECT d.code, m.code, o.observed_at, o.value, o.seq, o.quality & ~2
    FROM observations o JOIN devices d ON d.id = o.device_id JOIN metrics m ON m.id = o.metric_id
    WHERE d.kind <> 'district_node' ORDER BY 1, 2, 3
"""  # without the mark of lateness, which is of each place's own arrival
EVENTS = """
    SELECT d.code, e.label, e.event_key, e.state, e.observed_at, e.score, e.zone
    FROM detections e JOIN devices d ON d.id = e.device_id ORDER BY 1, 2, 3, 4, 5
"""
ALARMS = """
    SELECT a.rule_id, d.code, a.level, a.raised_at, a.cleared_at, a.repeats, a.evidence - 'late'
    FROM alarms a JOIN devices d ON d.id = a.device_id
    WHERE d.kind <> 'district_node' AND a.category <> 'device.silent' ORDER BY 1, 2, 4
"""
STATES = """
    SELECT s.rule_id, d.code, s.state FROM rule_states s JOIN devices d ON d.id = s.device_id
    WHERE d.kind <> 'district_node' AND s.rule_id NOT LIKE '%silen%' AND s.state <> '{}' ORDER BY 1, 2
"""


class Upwards:
    """The uplink in a thread of the test, to the city's broker through a line that can be cut."""

    def __init__(self, district: str, port: int, **settings: Any) -> None:
        self.settings = Settings(
            _env_file=None,
            **{
                "database_url": services_url(district),
                "uplink_url": f"mqtt://{NODE}@127.0.0.1:{port}",
                "uplink_cell": "c1",
                "uplink_rate": 20_000,
                **settings,
            },
        )
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            Uplink(self.settings, self._stop).run()
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        """In order."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def ended(self) -> BaseException | None:
        """What ended it by itself."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.failure


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """What a place holds of the same devices, comparable with another's."""
    return {
        name: rows(url, query)
        for name, query in (
            ("readings", READINGS),
            ("events", EVENTS),
            ("alarms", ALARMS),
            ("states", STATES),
        )
    }
