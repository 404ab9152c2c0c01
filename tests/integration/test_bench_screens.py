"""The bench of many screens in short: two centres on one port, one ended and started again, nobody misses anything."""

import time

from bench import screens
from bench.screen_ground import lay_ground
from tests.integration.running_centre import Centre


class House:
    """Two centres of this process on one port."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.centres = [Centre(url, centres=2)]
        self.centres[0].start()
        self._another()
        self.port = int(self.centres[0].base.rpartition(":")[2])

    def end_one_and_start_it_again(self) -> None:
        self.centres.pop(0).close()
        self._another()

    def _another(self) -> None:
        self.centres.append(Centre(self._url, centres=2, beside=self.centres[0]))
        self.centres[-1].start()

    def cpu_seconds(self) -> float:
        return time.process_time()

    def rss_mb(self) -> float:
        return 0.0

    def close(self) -> None:
        for centre in self.centres:
            centre.close()


def test_twenty_screens_on_two_centres_of_which_one_ends_lose_and_double_nothing(migrated_url: str) -> None:
    lay_ground(migrated_url, devices=600, cells=60)
    house = House(migrated_url)
    try:
        outcome = screens.measure(
            house, migrated_url, screens=20, flapping=10, seconds=2, devices=600, end_one=True
        )
    finally:
        house.close()
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.events > 20
    assert outcome.connections > 25  # half of them come and go
    assert outcome.snapshots > 20  # and land now here, now there
