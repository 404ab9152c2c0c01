"""Profiles: which one speaks for a device, whose codec reads its bytes, and what a faulty file is told."""

import textwrap
from pathlib import Path

import pytest

from city.device_profiles import Profile, built_in, check, choose, codec_of, parse_files
from city.district import built_in_files
from city.district_files import parse_kinds
from city.district_source import Faults
from city.payload_codecs import decode

_METRICS, _KINDS = parse_kinds("kinds.toml", built_in_files()["kinds.toml"].decode(), Faults())
UNITS = {metric.code: metric.unit for metric in _METRICS}
KINDS = {kind.code for kind in _KINDS}

OWN = """
[codec.house]
order = "little"
fields = [{ key = "level", type = "u16", unit = "mm" }]

[profile.weir]
family = "chirpstack"
models = ["*weir*"]
kind = "water"
codec = "house"

[profile.weir-of-another-network]
family = "things_stack"
models = ["*weir*"]
kind = "water"
[profile.weir-of-another-network.codec]
extends = "house"
ports = [3]
"""


def profiles(*own: str) -> list[Profile]:
    faults = Faults()
    found = parse_files([(f"profiles/{n}.toml", text) for n, text in enumerate(own)], UNITS, faults)
    faults.raise_if_any()
    return found


def told(text: str) -> list[str]:
    faults = Faults()
    check([("profiles/own.toml", text)], UNITS, KINDS, faults)
    return [f"{one.where}: {one.what}; {one.remedy}" for one in faults.entries]


def test_what_comes_with_the_product_is_sound() -> None:
    files = built_in()
    assert {"any.toml", "chirpstack.toml", "things_stack.toml", "milesight.toml", "cayenne_lpp.toml"} <= {
        name for name, _ in files
    }
    faults = Faults()
    check(files, UNITS, KINDS, faults)
    # A metric that only a payload names has no name for people, but readings; a district's own file has to list it.
    said = [
        (one.where, one.what)
        for one in faults.entries
        if not one.remedy.startswith("there is no such metric")
    ]
    assert said == []


def test_a_model_goes_before_a_key_and_a_key_before_the_family() -> None:
    known = profiles()

    def chosen(model: str, *keys: str, wanted: str | None = None) -> str | None:
        found = choose(known, "chirpstack", model, set(keys), wanted)
        return found.code if found is not None else None

    assert chosen("Milesight EM500-SWL (v2)") == "em500-swl"
    assert chosen("em500-swl", "smoke") == "em500-swl"
    assert chosen("anything", "smoke", "battery") == "chirpstack-smoke"
    assert chosen("anything", "temperature") == "chirpstack"
    assert chosen("anything", wanted="gs301") == "gs301"
    assert chosen("anything", wanted="no such profile") is None
    assert choose(known, "some_family", "", {"x"}) is None, "a profile for any family has to say what of it"


def test_whose_codec_reads_the_bytes() -> None:
    known = profiles(OWN)

    def read_by(family: str, model: str, port: int, wanted: str | None = None) -> tuple[str, str] | None:
        found = codec_of(known, family, model, port, wanted)
        return (found[0].code, found[1].code) if found is not None else None

    assert read_by("chirpstack", "old weir", 1) == ("weir", "house")
    assert read_by("things_stack", "old weir", 3) == ("weir-of-another-network", "weir-of-another-network")
    assert read_by("chirpstack", "a default profile", 85) == ("milesight", "milesight")
    assert read_by("chirpstack", "a default profile", 1) is None
    assert read_by("chirpstack", "EM310-TILT", 85) == ("em310-tilt", "milesight")
    assert read_by("chirpstack", "EM310-TILT", 1, "weir") == ("weir", "house")
    assert read_by("chirpstack", "EM310-TILT", 1, "chirpstack") is None, "a person's choice has no codec"


def test_the_districts_own_stand_before_the_built_in_ones() -> None:
    own = '[profile.gs301]\nfamily = "*"\nmodels = ["*gs301*"]\nkind = "gas"\n'
    chosen = choose(profiles(own), "chirpstack", "GS301", set())
    assert chosen is not None
    assert chosen.kind == "gas"
    codec = '[codec.milesight]\nports = [86]\nfields = [{ key = "x", type = "u8" }]\n'
    assert codec_of(profiles(codec), "chirpstack", "", 86) is not None


def test_faults_name_file_profile_and_key() -> None:
    assert told(OWN) == []
    assert told("[profile") == [
        "profiles/own.toml: is not TOML (Expected ']' at the end of a table declaration (at end of document));"
        " correct the line it names"
    ]
    assert told("[colour.x]")[0].startswith("profiles/own.toml: unknown table 'colour'")
    said = told(
        """
        [profile.a]
        family = "chirpstack"
        kind = "spaceship"
        models = "x"
        colour = 1
        metrics.h = { metric = "no_such_metric" }
        metrics.t = { metric = "temperature", unit = "V" }
        metrics.u = { metric = "level", factor = 0 }
        [profile.b]
        kind = "water"
        family = "*"
        codec = "nobodys"
        [profile.c]
        kind = "water"
        family = "*"
        [profile.c.codec]
        fields = [{ key = "level", type = "u8", unit = "V" }]
        """
    )
    for words in (
        "profiles/own.toml profile.a: kind = 'spaceship'; there is no such kind",
        "profiles/own.toml profile.a: models = 'x'; write a list of texts",
        "profiles/own.toml profile.a: unknown key 'colour'",
        "profiles/own.toml profile.a metrics.h: metric = 'no_such_metric'; there is no such metric",
        "profiles/own.toml profile.a metrics.t: unit = 'V'; does not convert into °C of metric temperature",
        "profiles/own.toml profile.a metrics.u: factor = 0; write a number other than 0",
        "profiles/own.toml profile.b: codec = 'nobodys'; write a table, or the name of a codec (cayenne_lpp",
        "profiles/own.toml profile.c codec level: unit = 'V'; does not convert into m of metric level",
    ):
        assert any(one.startswith(words) for one in said), (words, said)
    assert len(said) == 8


def test_two_files_do_not_share_a_name() -> None:
    faults = Faults()
    one = '[profile.a]\nfamily = "chirpstack"\nkind = "water"\n'
    check([("profiles/a.toml", one), ("profiles/b.toml", one)], UNITS, KINDS, faults)
    assert [one.where for one in faults.entries] == ["profiles/b.toml profile.a"]


def test_the_guides_example_does_what_it_says() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text("utf-8")
    text = textwrap.dedent("   " + guide.partition("```toml\n")[2].partition("```")[0].lstrip())
    (profile,) = [one for one in profiles(text) if one.code == "weir-gauge"]
    assert profile.codec is not None
    (reading,) = decode(profile.codec, bytes.fromhex("5fdc05"), 2).readings
    assert reading.values == {"battery": 95.0, "distance": 1500.0}
    line = profile.metrics["distance"].line(UNITS["level"], "mm")
    assert line is not None
    assert reading.values["distance"] * line.factor + line.offset == pytest.approx(2.7)
