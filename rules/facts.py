"""What a rule is checked against before it comes into force: the district, as far as a rule can be wrong about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rules.keys import StationLevel

Range = tuple[float, float]  # least and most a metric can be, both possible

_ANYTHING: Range = (float("-inf"), float("inf"))

# What a unit alone allows. A detector's own scale in % ends at 100; a level in metres may be anything.
POSSIBLE: Mapping[str, Range] = {
    "%": (0.0, 100.0),
    "%LEL": (0.0, 100.0),
    "°C": (-273.15, 5000.0),
    "ppm": (0.0, 1_000_000.0),
    "mm/s": (0.0, float("inf")),
    "m/s": (0.0, float("inf")),
    "m³/s": (float("-inf"), float("inf")),
    "dB": (-20.0, 250.0),
    "µg/m³": (0.0, float("inf")),
    "mA": (0.0, float("inf")),
    "°": (-360.0, 360.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricFact:
    """``possible`` None = by its unit."""

    unit: str
    possible: Range | None = None

    def range(self) -> Range:
        return self.possible or POSSIBLE.get(self.unit, _ANYTHING)


@dataclass(frozen=True, kw_only=True, slots=True)
class KindFact:
    """A kind of device. ``main_metric`` None = it sends events; ``interval_s`` None = nobody knows when to miss one."""

    main_metric: str | None
    interval_s: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """Devices that scopes cannot tell apart; one alone when it is a station, or when a scope names it (``code``).

    ``levels``: of a station, metres above its datum, None = unset.
    """

    kind: str
    devices: int = 1
    interval_s: int | None = (
        None  # expected between two readings; the kind's where a device has none of its own
    )
    code: str = ""
    model: str = ""
    tags: frozenset[str] = frozenset()
    places: Mapping[str, str] = field(default_factory=dict)  # codes by layer
    levels: Mapping[StationLevel, float | None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All codes are the district's."""

    metrics: Mapping[str, MetricFact]
    kinds: Mapping[str, KindFact]
    seen: frozenset[tuple[str, str]]  # (kind, metric) that devices have sent of late
    categories: frozenset[str]
    areas: Mapping[str, frozenset[str]]  # by layer
    ground: tuple[Ground, ...]
    # By (kind, metric), where a quality rule says what is out of range: such readings are never decided on.
    believed: Mapping[tuple[str, str], Range] = field(default_factory=dict)

    def range(self, kinds: Iterable[str], metric: str) -> Range:
        """What readings of a metric can be and are believed, of any of these kinds (none = of every kind)."""
        by_unit = self.metrics[metric].range() if metric in self.metrics else _ANYTHING
        ranges = [self.believed.get((kind, metric), by_unit) for kind in kinds or self.kinds]
        if not ranges:
            return by_unit
        return min(least for least, _ in ranges), max(most for _, most in ranges)
