"""The nouns of the flood desk: colours, response levels and what proposes them, warnings, tasks, duty log.

Terms: 预警 a warning, blue to red; 应急响应 the response level, IV (lowest) to I; 转移 moving people; 值班日志.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from city.stations import StationForecast, StationState

Colour = Literal["blue", "yellow", "orange", "red"]
ResponseLevel = Literal["I", "II", "III", "IV"]
TriggerKind = Literal["stations", "forecast", "rain", "incidents", "warnings"]
TaskKind = Literal["evacuate", "inspect"]
Hazard = Literal["flood", "waterlogging", "landslide"]
WarningState = Literal["draft", "issued", "cancelled", "expired"]
MessageType = Literal["Alert", "Update", "Cancel"]
EntryKind = Literal["note", "correction", "response", "warning", "station", "task"]

COLOURS: tuple[Colour, ...] = ("blue", "yellow", "orange", "red")
LEVELS: tuple[ResponseLevel, ...] = ("IV", "III", "II", "I")  # the lowest first
COLOUR_NAMES: Mapping[Colour, tuple[str, str]] = {
    "blue": ("蓝色", "Blue"),
    "yellow": ("黄色", "Yellow"),
    "orange": ("橙色", "Orange"),
    "red": ("红色", "Red"),
}
LEVEL_NAMES: Mapping[ResponseLevel, tuple[str, str]] = {
    "IV": ("Ⅳ级", "level IV"),
    "III": ("Ⅲ级", "level III"),
    "II": ("Ⅱ级", "level II"),
    "I": ("Ⅰ级", "level I"),
}
STATE_NAMES: Mapping[StationState, tuple[str, str]] = {
    "normal": ("警戒以下", "below the warning level"),
    "warning": ("警戒水位", "warning level"),
    "guaranteed": ("保证水位", "guaranteed level"),
    "record": ("历史最高水位", "highest recorded level"),
    "unset": ("未设水位", "no levels set"),
    "silent": ("无数据", "no data"),
}


def rank(level: ResponseLevel | None) -> int:
    """0 for none, 1 for IV … 4 for I: a higher rank is more severe."""
    return 0 if level is None else LEVELS.index(level) + 1


# ── what a proposal rests on ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class StationFact:
    """A station now; levels in metres above its datum. ``forecast`` None: there is none that is fresh."""

    code: str
    name: str
    state: StationState
    level_m: float | None = None
    observed_at: datetime | None = None
    warning_m: float | None = None
    guaranteed_m: float | None = None
    highest_m: float | None = None
    forecast: StationForecast | None = None

    def limit(self, state: StationState) -> float | None:
        """The station's level that goes by this name."""
        limits = {"warning": self.warning_m, "guaranteed": self.guaranteed_m, "record": self.highest_m}
        return limits.get(state)


@dataclass(frozen=True, kw_only=True, slots=True)
class RainFact:
    """A gauge's rain, mm, summed over the last 1, 3 and 24 hours."""

    code: str
    name: str
    mm: Mapping[int, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known now, exercises left out.

    ``incidents`` counts open ones by (category, class); ``warnings`` counts those in force by colour.
    """

    stations: tuple[StationFact, ...] = ()
    rain: tuple[RainFact, ...] = ()
    incidents: Mapping[tuple[str, str], int] = field(default_factory=dict)
    warnings: Mapping[Colour, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """A condition that speaks for a level. Which limits count depends on ``kind`` (docs/flood.md).

    ``count`` is how many stations, gauges, incidents or warnings it takes.
    """

    id: str
    level: ResponseLevel
    kind: TriggerKind
    name: str
    name_en: str
    source: str  # why this limit, and from where
    enabled: bool = True
    count: int = 1
    state: StationState | None = None  # stations, forecast: the level that is reached
    within_h: float | None = None  # forecast
    quantile: Literal["q10", "q50", "q90"] = "q50"  # forecast: which edge of the band must reach it
    hours: int | None = None  # rain: 1, 3 or 24
    mm: float | None = None  # rain
    category: str = ""  # incidents: this category and those under it
    incident_class: Literal["A", "B", "C"] = "C"  # incidents: this class or more urgent
    colour: Colour | None = None  # warnings: this colour or more severe


@dataclass(frozen=True, kw_only=True, slots=True)
class Fired:
    """A trigger that fires, with what was seen and what it was held against, both as people read them."""

    trigger: Trigger
    seen: tuple[Mapping[str, object], ...]
    words: str
    words_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The level in force, since when, and when triggers of each level last fired."""

    level: ResponseLevel | None = None
    since: datetime | None = None
    last_fired: Mapping[ResponseLevel, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """The level proposed (None: no response), what fired, and why in words.

    ``held_until`` is set when it would be lower but for the time that must pass first.
    """

    level: ResponseLevel | None
    fired: tuple[Fired, ...]
    words: str
    words_en: str
    held_until: datetime | None = None


# ── warnings ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a warning says. Empty texts are written from the colour, the place and the stations."""

    colour: Colour
    hazard: Hazard = "flood"
    headline: str = ""
    headline_en: str = ""
    description: str = ""
    description_en: str = ""
    instruction: str = ""
    instruction_en: str = ""
    areas: tuple[str, ...] = ()  # codes of cells, communities, streets; none = the whole district
    stations: tuple[str, ...] = ()
    onset: datetime | None = None
    expires: datetime
    certainty: Literal["Observed", "Likely", "Possible"] | None = None  # None = by colour and stations


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A message that went out, byte for byte."""

    identifier: str
    warning_id: int
    message_type: MessageType
    exercise: bool
    colour: Colour
    sender: str
    sent: datetime
    headline: str
    headline_en: str
    xml: bytes
    sha256: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An area that a warning names; ``geometry`` is GeoJSON in WGS84, or None."""

    layer: str
    code: str
    name: str
    name_en: str
    geometry: Mapping[str, object] | None


# ── tasks ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """A task's people: ``moved``, ``absent`` (not there, checked) and ``refused`` so far, of ``to_move``."""

    to_move: int
    moved: int = 0
    absent: int = 0
    refused: int = 0

    @property
    def remaining(self) -> int:
        """Who must still be moved; those who refuse are among them."""
        return max(0, self.to_move - self.moved - self.absent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An entry of the duty log about to be appended."""

    at: datetime
    shift: str
    kind: EntryKind
    text: str
    text_en: str = ""
    actor: str = "system"
    object: str = ""
    exercise: bool = False
    refers_to: int | None = None
