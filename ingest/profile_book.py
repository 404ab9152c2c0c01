"""All profiles of a district as one: how a device is read that reports this, is of that model, in this family."""

from collections.abc import Collection, Mapping, Sequence

import structlog

from city.device_profiles import ANY, Mapped, Profile, choose, codec_of, parse_files
from city.district_source import Faults
from city.measures import Conversion
from city.payload_codecs import Codec
from ingest.decoders.said import Raw, Rejected, Said
from ingest.unpacking import unpacked

log = structlog.get_logger()

Found = tuple[Profile, Codec]


class ProfileBook:
    """The district's own profiles and the built-in ones, with the units of the metrics they name."""

    def __init__(self, own: Sequence[tuple[str, str]] = (), units: Mapping[str, str] | None = None) -> None:
        """``own`` are file names and texts; an entry with a fault is said and left out."""
        self.units: Mapping[str, str] = units or {}
        faults = Faults()
        self._profiles = parse_files(own, self.units, faults)
        for fault in faults.entries:
            log.error("profile is faulty", where=fault.where, what=fault.what, remedy=fault.remedy)
        self._usual = {  # what a family's profile for any model says of keys that the model's own does not know
            one.family: one.metrics
            for one in reversed(self._profiles)
            if one.family != ANY and not one.models and not one.keys
        }

    def choose(
        self, family: str, model: str, keys: Collection[str], wanted: str | None = None
    ) -> Profile | None:
        """The profile a person named, else the most particular that fits."""
        return choose(self._profiles, family, model, keys, wanted)

    def mapped(self, family: str, profile: Profile | None, key: str) -> Mapped:
        """Where a key goes: by the profile, else as is usual in the family, else under its own name."""
        known = profile.metrics.get(key) if profile is not None else None
        return known or self._usual.get(family, {}).get(key) or Mapped(metric=key)

    def line(self, mapped: Mapped, stated: str) -> Conversion | None:
        """The way of a number into its metric's unit; ``stated`` is the unit in the message."""
        return mapped.line(self.units.get(mapped.metric, ""), stated)

    def codec(self, family: str, model: str, port: int, wanted: str | None = None) -> Found | None:
        """Whose codec reads such bytes."""
        return codec_of(self._profiles, family, model, port, wanted)

    def unpacked(
        self, raw: Raw, found: Found | None, received_us: int, wanted: str | None = None
    ) -> list[Said]:
        """Bytes made into reports. Those that nobody describes stay, and are refused when they are resolved."""
        if found is None:
            return [raw]
        said = unpacked(raw, found[1], received_us)
        by_its_port = wanted is None and not found[0].models
        if by_its_port and any(isinstance(one, Rejected) for one in said):
            return [raw]  # not all of it is what it seemed to be: probably another maker's
        return said
