"""The bench of many screens in short: two centre processes on one port, one killed, and nobody misses anything."""

from bench import screens


def test_twenty_screens_on_two_centres_of_which_one_is_killed_lose_and_double_nothing(
    migrated_url: str,
) -> None:
    outcome = screens.measure(
        migrated_url, screens=20, seconds=4, centres=2, devices=600, cells=60, kill=True
    )
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.events > 20
    assert outcome.connections > 30  # half of them come and go
    assert outcome.snapshots > 20  # and land now here, now there
