"""Whether a figure grows, and what of a broker's configuration is measured."""

import pytest

from bench.broker_loss import cases
from bench.brokers import CONFIGURATION, EmbeddedNats, deployed_lines
from bench.slope import grows, growth, settled, slope

FLAT = [(float(n), 100.0 + n % 2) for n in range(30)]
LEAK = [(float(n), 100.0 + 2.0 * n) for n in range(30)]


def test_a_leak_is_found_and_a_flat_line_with_a_peak_is_not() -> None:
    peaked = [*FLAT[:20], (20.0, 900.0), *FLAT[21:]]
    assert grows(LEAK, least=10, share=0.05)
    assert not grows(FLAT, least=10, share=0.05)
    assert not grows(peaked, least=10, share=0.05)


def test_what_fills_at_the_beginning_is_no_leak() -> None:
    warming = [(float(n), min(200.0, 100.0 + 20 * n)) for n in range(30)]
    assert growth(warming) == 0
    assert len(settled(warming)) == 20


def test_growth_is_counted_from_the_first_settled_sample_to_the_last() -> None:
    assert growth(LEAK) == 38
    assert slope(LEAK) == 2


def test_what_is_small_beside_the_whole_is_no_growth() -> None:
    assert not grows([(n, 1000 + n) for n in range(30)], least=10, share=0.05)
    assert grows([(n, 1000 + 4 * n) for n in range(30)], least=10, share=0.05)


@pytest.mark.parametrize("samples", [[], [(0.0, 1.0)], [(0.0, 1.0), (0.0, 9.0)]])
def test_too_little_to_say_anything(samples: list[tuple[float, float]]) -> None:
    assert not grows(samples, least=0, share=0)


def test_all_that_decides_what_is_lost_is_taken_from_what_is_deployed() -> None:
    lines = deployed_lines(CONFIGURATION.read_text(encoding="utf-8"))
    names = {line.split()[0] for line in lines}
    assert {"max_queued_messages", "max_queued_bytes", "max_inflight_messages", "autosave_interval"} <= names
    assert {"persistence", "autosave_on_changes", "persistent_client_expiration"} <= names
    assert not {"listener", "password_file", "acl_file"} & names
    assert [line for line in lines if line.startswith("persistence_location")] == [
        "persistence_location {folder}/"
    ]


def test_a_setting_that_the_embedded_broker_does_not_have_is_said() -> None:
    with pytest.raises(ValueError, match="no_such_thing"):
        EmbeddedNats(no_such_thing="1").start()


def test_a_row_with_an_interval_publishes_for_longer_than_it() -> None:
    for case in cases(4000, 400, 5):
        if case.rate:
            seconds = case.messages / case.rate
            assert seconds > (30 if "30" in case.setting else 5)
