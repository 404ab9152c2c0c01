"""The built-in profiles: which one is meant for what a device reports."""

import tomllib
from functools import cache
from importlib import resources

import pytest

from city.device_profiles import Profile, choose, parse_files
from city.district_source import Faults
from city.measures import Conversion

_KINDS = tomllib.loads((resources.files("city") / "defaults" / "kinds.toml").read_text("utf-8"))
UNITS = {code: metric["unit"] for code, metric in _KINDS["metric"].items()}


@cache  # not at import: every worker imports every file
def built_in() -> list[Profile]:
    return parse_files((), UNITS, Faults())


@pytest.mark.parametrize(
    ("family", "keys", "code", "kind"),
    [
        ("senml", {"temp", "smoke", "battery"}, "senml-smoke", "smoke"),
        ("senml", {"water_level"}, "senml-water-level", "water"),
        ("senml", {"heat", "fan"}, "senml", "sensor"),
        ("thingsboard", {"temperature", "humidity"}, "thingsboard-temperature", "temperature"),
        ("thingsboard", {"firmware"}, "thingsboard", "sensor"),
        ("tasmota", {"POWER", "Wifi.RSSI"}, "tasmota", "sensor"),
        ("tasmota", {"AM2301.Temperature", "DS18B20.Temperature"}, "tasmota-am2301", "temperature"),
        ("tasmota", {"Fire", "LinkQuality"}, "tasmota-zigbee-smoke", "smoke"),
        ("homeassistant", {"smoke"}, "homeassistant-smoke", "smoke"),
    ],
)
def test_the_profile_of_what_a_device_reports(family: str, keys: set[str], code: str, kind: str) -> None:
    chosen = choose(built_in(), family, "", keys)
    assert chosen is not None
    assert (chosen.code, chosen.kind) == (code, kind)


def test_no_two_readings_of_a_device_become_one() -> None:
    """Within a profile of Tasmota each metric has one key: two at one time would be one reading and its revision."""
    for profile in built_in():
        if profile.family == "tasmota":
            metrics = [mapped.metric for mapped in profile.metrics.values()]
            assert len(metrics) == len(set(metrics)), profile.code


def test_an_alarm_as_a_switch_reaches_the_scale_that_raises() -> None:
    profiles = {one.code: one for one in built_in()}
    assert profiles["tasmota-zigbee-smoke"].metrics["Fire"].line("%") == Conversion(100.0, 0.0)
    assert profiles["senml-smoke"].metrics["smoke_level"].line("%", "/") == Conversion(100.0, 0.0)
