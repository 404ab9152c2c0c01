"""The made-up messages of the benches are what their families' decoders understand, calm and in alarm."""

import shlex

import pytest

from bench.foreign_samples import FAMILIES, ZONE
from bench.foreign_senders import command, rounds
from ingest.decoders.said import Arrival, Rejected, Seen
from ingest.routing import installed, matches

NOW = 1_763_750_400.25
INSTALLED = installed()


@pytest.mark.parametrize("family", sorted(INSTALLED))
@pytest.mark.parametrize("alarm", [False, True], ids=["calm", "alarm"])
def test_every_installed_decoder_understands_its_sample(family: str, alarm: bool) -> None:
    decoder = INSTALLED[family]
    assert family in FAMILIES, "make up a message of this family in bench/foreign_samples.py"
    samples = FAMILIES[family](NOW, alarm)
    for number, sample in enumerate(samples):
        assert any(matches(one, sample.topic) for one in decoder.filters)
        said = decoder.decode(sample.topic, sample.payload, Arrival(int(NOW * 1e6), ZONE))
        assert not isinstance(said, Rejected), said
        assert not [one for one in said if isinstance(one, Rejected)]
        quiet = (
            decoder.family == "frigate" and number == 0 and not alarm
        )  # a camera that sees nothing to report
        assert bool(said) is not quiet
        assert not any(isinstance(one, Seen) for one in said) or alarm


def test_a_shell_publishes_the_same() -> None:
    said = [sample for _, sample in rounds(["zigbee2mqtt", "sl651"], NOW, alarm=True)]
    assert len(said) == 3  # a frame of TCP is no MQTT message
    line = shlex.split(command("broker", 1884, said[1]))
    assert line[:8] == ["mosquitto_pub", "-h", "broker", "-p", "1884", "-q", "1", "-r"]
    assert line[-3:] == [said[1].topic, "-m", said[1].payload.decode()]
