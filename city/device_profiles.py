"""Profiles: what a model of a foreign sender reports, in the district's own metrics and units.

Pure. ``profiles/*.toml``, built in and the district's own (docs/senders.md); the district's stand first.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from city.district_source import Faults, TomlTable, parsed_toml
from city.measures import Conversion, conversion

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
    """How to read one model, or everything of a family. ``models`` are patterns such as ``EM500-*``; empty = any."""

    code: str
    family: str
    kind: str
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()  # all of them are in what the device reports
    vendor: str = ""
    expected_interval_s: int | None = None
    metrics: Mapping[str, Mapped] = field(default_factory=dict)

    def fits(self, family: str, model: str, keys: Collection[str]) -> bool:
        """Whether it may speak for such a device."""
        return (
            self.family in (family, ANY)
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


def parse_profiles(name: str, text: str, units: Mapping[str, str], faults: Faults) -> list[Profile]:
    """One file: tables ``[profile.CODE]``; ``units`` are the known metrics with their units."""
    values = parsed_toml(name, text, faults) or {}
    for key in values.keys() - {"profile"}:
        faults.add(name, f"unknown table {key!r}", "known is profile, as in [profile.em500-udl]")
    found = values.get("profile", {})
    if not isinstance(found, dict):
        faults.value(name, "profile", found, "write tables such as [profile.em500-udl]")
        return []
    return [_profile(f"{name} profile.{code}", code, entry, units, faults) for code, entry in found.items()]


_KNOWN = ("family", "kind", "models", "keys", "vendor", "expected_interval_s", "metrics")


def _profile(where: str, code: str, entry: Any, units: Mapping[str, str], faults: Faults) -> Profile:
    table = TomlTable(where, entry, _KNOWN, faults)
    values = entry if isinstance(entry, dict) else {}
    metrics = values.get("metrics", {})
    if not isinstance(metrics, dict):
        faults.value(where, "metrics", metrics, 'write a table such as { distance = "level" }')
        metrics = {}
    return Profile(
        code=code,
        family=table.text("family"),
        kind=table.text("kind"),
        models=_words(where, "models", values.get("models"), faults),
        keys=_words(where, "keys", values.get("keys"), faults),
        vendor=table.text("vendor", required=False),
        expected_interval_s=table.positive("expected_interval_s"),
        metrics={
            key: _mapped(f"{where} metrics.{key}", said, units, faults) for key, said in metrics.items()
        },
    )


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
