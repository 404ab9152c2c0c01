"""Profiles: what a model of a foreign sender reports, in the district's own metrics and units.

``profiles/*.toml``, built in and the district's own (docs/profiles.md); the district's stand first. Pure, but for the
files that come with the product.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

from city.district_source import Faults, TomlTable, parsed_toml
from city.measures import Conversion, conversion
from city.payload_codec_files import parse_codec
from city.payload_codecs import Codec

ANY = "*"  # a profile for whatever family


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """Where one key of a sender goes; an empty metric = left out on purpose.

    ``stored = converted(sent) * factor + offset``, converted from ``unit`` (unless the message says another) into the
    metric's own; ``offset`` is in the metric's unit.
    """

    metric: str
    unit: str = ""
    factor: float = 1.0
    offset: float = 0.0

    def line(self, metric_unit: str, stated: str = "") -> Conversion | None:
        """The whole way as one line; None when the message's unit does not lead to the metric's."""
        found = conversion(stated or self.unit, metric_unit)
        if found is None:
            return None
        return Conversion(found.factor * self.factor, found.offset * self.factor + self.offset)


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """How to read one model, or everything of a family. ``models`` are patterns such as ``EM500-*``; empty = any.

    ``codec`` is for devices whose network sends their bytes as they are.
    """

    code: str
    family: str
    kind: str
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()  # all of them are in what the device reports
    vendor: str = ""
    expected_interval_s: int | None = None
    metrics: Mapping[str, Mapped] = field(default_factory=dict)
    codec: Codec | None = None

    def fits(self, family: str, model: str, keys: Collection[str]) -> bool:
        """Whether it may speak for such a device; one for any family has to name models or keys."""
        return (
            self.family in (family, ANY)
            and bool(self.models or self.keys or self.family != ANY)
            and (not self.models or any(fnmatchcase(model.lower(), one.lower()) for one in self.models))
            and all(key in keys for key in self.keys)
        )


def choose(
    profiles: Sequence[Profile], family: str, model: str, keys: Collection[str], wanted: str | None = None
) -> Profile | None:
    """The one a person named, else the most particular: model before keys before family, more keys before fewer."""
    if wanted is not None:
        return next((one for one in profiles if one.code == wanted), None)
    fitting = [one for one in profiles if one.fits(family, model, keys)]
    return max(
        fitting, key=lambda one: (bool(one.models), len(one.keys), one.family != ANY), default=None
    )  # the first of equals


def codec_of(
    profiles: Sequence[Profile], family: str, model: str, port: int, wanted: str | None = None
) -> tuple[Profile, Codec] | None:
    """Whose codec reads such bytes: a person's choice, else that of the model, else one that is known by its port."""
    if wanted is not None:
        fitting = [one for one in profiles if one.code == wanted]
    else:
        named = [one for one in profiles if one.models and one.codec and one.fits(family, model, ())]
        fitting = named or [
            one
            for one in profiles
            if one.codec and not one.models and port in one.codec.ports and one.family in (family, ANY)
        ]
    return next(((one, one.codec) for one in fitting if one.codec is not None), None)


def built_in() -> list[tuple[str, str]]:
    """The profiles that come with the product: file names and texts, by name."""
    folder = resources.files("city") / "defaults" / "profiles"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return sorted((entry.name, entry.read_text("utf-8")) for entry in files)


def check(
    own: Sequence[tuple[str, str]], units: Mapping[str, str], kinds: Collection[str], faults: Faults
) -> None:
    """Note what is wrong with a district's own files; ``units`` are all metrics there are, ``kinds`` all kinds."""
    origin: dict[str, str] = {}
    codecs: dict[str, Codec] = {}
    for name, text in built_in():
        _take_codecs(name, text, codecs, Faults())
    for name, text in own:
        _take_codecs(name, text, codecs, faults)
    for name, text in own:
        for profile in parse_profiles(name, text, units, faults, codecs):
            where = f"{name} profile.{profile.code}"
            if origin.setdefault(profile.code, name) != name:
                faults.add(where, f"{origin[profile.code]} has it already", "give each profile its own name")
            if profile.kind and profile.kind not in kinds:
                faults.value(
                    where, "kind", profile.kind, "there is no such kind; correct it or add it to kinds.toml"
                )
            for key, mapped in profile.metrics.items():
                if mapped.metric and mapped.metric not in units:
                    remedy = "there is no such metric; correct it or add it to kinds.toml"
                    faults.value(f"{where} metrics.{key}", "metric", mapped.metric, remedy)


def parse_files(own: Sequence[tuple[str, str]], units: Mapping[str, str], faults: Faults) -> list[Profile]:
    """The district's ``own`` files (names, texts), then the built-in ones: of two profiles of one name the first.

    A codec of the district's own stands in for a built-in one of its name, in built-in profiles too.
    """
    codecs: dict[str, Codec] = {}
    usual = built_in()
    for name, text in (*usual, *own):
        _take_codecs(name, text, codecs, faults)
    profiles: dict[str, Profile] = {}
    for name, text in (*own, *usual):
        for profile in parse_profiles(name, text, units, faults, codecs):
            profiles.setdefault(profile.code, profile)
    return list(profiles.values())


def _take_codecs(name: str, text: str, known: dict[str, Codec], faults: Faults) -> None:
    """Tables ``[codec.NAME]``, which profiles of any file may name; one may build on those that are ``known``."""
    found = (parsed_toml(name, text, Faults()) or {}).get(
        "codec", {}
    )  # the second reading names a broken file
    if not isinstance(found, dict):
        faults.value(name, "codec", found, "write tables such as [codec.milesight]")
        return
    for code, entry in found.items():
        known[code] = parse_codec(f"{name} codec.{code}", code, entry, faults, known)


def parse_profiles(
    name: str, text: str, units: Mapping[str, str], faults: Faults, codecs: Mapping[str, Codec] | None = None
) -> list[Profile]:
    """One file: tables ``[profile.CODE]``; ``units`` are the known metrics with their units."""
    values = parsed_toml(name, text, faults) or {}
    for key in values.keys() - {"profile", "codec"}:
        faults.add(name, f"unknown table {key!r}", "known are profile and codec, as in [profile.em500-udl]")
    found = values.get("profile", {})
    if not isinstance(found, dict):
        faults.value(name, "profile", found, "write tables such as [profile.em500-udl]")
        return []
    known = codecs or {}
    return [
        _profile(f"{name} profile.{code}", code, entry, units, known, faults) for code, entry in found.items()
    ]


_KNOWN = ("family", "kind", "models", "keys", "vendor", "expected_interval_s", "metrics", "codec")


def _profile(
    where: str,
    code: str,
    entry: Any,
    units: Mapping[str, str],
    codecs: Mapping[str, Codec],
    faults: Faults,
) -> Profile:
    table = TomlTable(where, entry, _KNOWN, faults)
    values = entry if isinstance(entry, dict) else {}
    metrics = values.get("metrics", {})
    if not isinstance(metrics, dict):
        faults.value(where, "metrics", metrics, 'write a table such as { distance = "level" }')
        metrics = {}
    mapped = {key: _mapped(f"{where} metrics.{key}", said, units, faults) for key, said in metrics.items()}
    codec = _codec(where, code, values.get("codec"), codecs, faults)
    if codec is not None:
        _check_units(where, codec, mapped, units, faults)
    return Profile(
        code=code,
        family=table.text("family"),
        kind=table.text("kind"),
        models=_words(where, "models", values.get("models"), faults),
        keys=_words(where, "keys", values.get("keys"), faults),
        vendor=table.text("vendor", required=False),
        expected_interval_s=table.positive("expected_interval_s"),
        metrics=mapped,
        codec=codec,
    )


def _codec(where: str, code: str, said: Any, codecs: Mapping[str, Codec], faults: Faults) -> Codec | None:
    """A codec by name, or described on the spot."""
    if said is None or isinstance(said, dict):
        return parse_codec(f"{where} codec", code, said, faults, codecs) if said is not None else None
    if not isinstance(said, str) or said not in codecs:
        known = ", ".join(sorted(codecs)) or "none"
        faults.value(where, "codec", said, f"write a table, or the name of a codec ({known})")
        return None
    return codecs[said]


def _check_units(
    where: str, codec: Codec, mapped: Mapping[str, Mapped], units: Mapping[str, str], faults: Faults
) -> None:
    """What the codec states has to lead to the metric it goes to, or every message would be refused."""
    for key, unit in codec.units.items():
        target = mapped.get(key) or Mapped(metric=key)
        if unit and target.metric in units and conversion(unit, units[target.metric]) is None:
            remedy = f"does not convert into {units[target.metric]} of metric {target.metric}"
            faults.value(f"{where} codec {key}", "unit", unit, remedy)


def _mapped(where: str, said: Any, units: Mapping[str, str], faults: Faults) -> Mapped:
    """``"level"``, ``""`` (left out), or ``{ metric = "level", unit = "mm", factor = -1, offset = 4.2 }``."""
    if isinstance(said, str):
        said = {"metric": said}
    table = TomlTable(where, said, ("metric", "unit", "factor", "offset"), faults)
    values = said if isinstance(said, dict) else {}
    metric, unit = table.text("metric", required=False), table.text("unit", required=False)
    numbers = {}
    for key, usual in (("factor", 1.0), ("offset", 0.0)):
        number = values.get(key, usual)
        if (
            isinstance(number, bool)
            or not isinstance(number, int | float)
            or (key == "factor" and not number)
        ):
            faults.value(
                where, key, number, "write a number other than 0" if key == "factor" else "write a number"
            )
            number = usual
        numbers[key] = float(number)
    if conversion(unit, units.get(metric, "")) is None:
        faults.value(where, "unit", unit, f"does not convert into {units.get(metric, '')} of metric {metric}")
        unit = ""
    return Mapped(metric=metric, unit=unit, factor=numbers["factor"], offset=numbers["offset"])


def _words(where: str, key: str, said: Any, faults: Faults) -> tuple[str, ...]:
    if said is None:
        return ()
    if not isinstance(said, list) or not all(isinstance(one, str) and one for one in said):
        faults.value(where, key, said, 'write a list of texts such as ["smoke"]')
        return ()
    return tuple(said)
