"""Transitions gathered into episodes, as the alarms table would hold them, with the extreme value of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, Evidence, Level, LevelChanged, Raised, Repeated, Transition
from city.errors import CityError
from city.observations import Quality, Readings

MOST_EPISODES = 500_000  # a rule that raises more is wrong, and memory is not without end
_UNBELIEVED = int(Quality.CLOCK_AHEAD | Quality.RETAINED | Quality.OUT_OF_RANGE | Quality.SPIKE)
_EVER = 2**62
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class TooManyEpisodesError(CityError):
    """The rules raise so often that nobody could read the answer."""


@dataclass(kw_only=True, slots=True)
class Episode:
    """One alarm. Instants are event time in microseconds since 1970 UTC; ``peak`` is the metric's unit."""

    rule_id: str
    rule_version: int
    device_id: int
    metric_id: int | None
    raised_us: int
    began_us: int  # the reading that began the condition: on_delay before raised
    cleared_us: int | None  # None = standing at the end
    level: Level  # when raised
    late: bool
    suppressed: str | None
    evidence: Evidence
    repeats: int = 0
    levels: list[tuple[int, Level]] = field(default_factory=list)  # changes of level: when, to which
    peak: float | None = None  # the furthest value beyond the limit; None = not of a metric
    peak_us: int = 0

    @property
    def upward(self) -> bool:
        """Whether higher is worse."""
        return self.evidence.get("direction", "above") != "below"


class Episodes:
    """``over`` are in order of their end. A second open episode, or an end without one, is a mistake of the rule."""

    def __init__(self, *, size: int) -> None:
        """``size``: device ids are below it."""
        self.over: list[Episode] = []
        self.standing: dict[tuple[str, int, int | None], Episode] = {}
        self.readings = np.zeros(size, dtype=np.int64)  # by device, of what was measured
        self._size = size
        self._watched: dict[
            tuple[int, int], list[Episode]
        ] = {}  # by metric and device: standing, or just over
        self._columns: dict[int, NDArray[np.bool_]] = {}  # by metric: devices that are watched
        self._just_over: list[Episode] = []

    def all(self) -> list[Episode]:
        """In order of the time they were raised."""
        return sorted(
            [*self.over, *self.standing.values()], key=lambda episode: (episode.raised_us, episode.device_id)
        )

    def apply(self, transitions: Iterable[Transition]) -> None:
        """In the order in which the rules say them."""
        for transition in transitions:
            key = transition.rule_id, transition.device_id, transition.metric_id
            match transition:
                case Raised():
                    self._raise(key, transition)
                case Repeated():
                    self.standing[key].repeats += transition.count
                case LevelChanged():
                    self.standing[key].levels.append((transition.changed_us, transition.level))
                case Cleared():
                    self._end(self.standing.pop(key), transition.cleared_us)

    def _raise(self, key: tuple[str, int, int | None], raised: Raised) -> None:
        if len(self.over) + len(self.standing) >= MOST_EPISODES:
            raise TooManyEpisodesError(
                f"rule {raised.rule_id}: over {MOST_EPISODES} episodes; take a shorter span, fewer devices, or a wider"
                " deadband"
            )
        repeats = raised.evidence.get("repeats", 0)
        episode = Episode(
            rule_id=raised.rule_id,
            rule_version=raised.rule_version,
            device_id=raised.device_id,
            metric_id=raised.metric_id,
            raised_us=raised.raised_us,
            began_us=min(_observed_us(raised.evidence) or raised.raised_us, raised.raised_us),
            cleared_us=None,
            level=raised.level,
            late=raised.late,
            suppressed=raised.suppressed,
            evidence=raised.evidence,
            repeats=repeats if isinstance(repeats, int) else 0,
        )
        if raised.metric_id is not None:
            self._watch(raised.metric_id, episode)
        if raised.cleared_us is None:
            self.standing[key] = episode
        else:
            self._end(episode, raised.cleared_us)

    def _watch(self, metric_id: int, episode: Episode) -> None:
        value = episode.evidence.get("value")
        of_metric = "slope" not in episode.evidence  # else the value is of a slope
        if of_metric and isinstance(value, int | float):
            episode.peak, episode.peak_us = float(value), episode.began_us
        self._watched.setdefault((metric_id, episode.device_id), []).append(episode)
        column = self._columns.setdefault(metric_id, np.zeros(self._size, dtype=np.bool_))
        column[episode.device_id] = True

    def _end(self, episode: Episode, cleared_us: int) -> None:
        episode.cleared_us = cleared_us
        self.over.append(episode)
        if episode.metric_id is not None:
            self._just_over.append(episode)

    def measure(self, readings: Readings) -> None:
        """The values that the transitions applied since the last call rest on: counts, and extremes of episodes."""
        np.add.at(self.readings, readings.device, 1)
        for metric_id, column in self._columns.items():
            mask = column[readings.device] & (readings.metric == metric_id)
            index = np.flatnonzero(mask & ((readings.quality & _UNBELIEVED) == 0))
            if len(index):
                self._extremes(metric_id, readings, index)
        for episode in self._just_over:
            self._forget(episode)
        self._just_over.clear()

    def _extremes(self, metric_id: int, readings: Readings, index: NDArray[np.intp]) -> None:
        device = readings.device[index]
        order = np.argsort(device, kind="stable")
        index, device = index[order], device[order]
        bounds = [0, *(np.flatnonzero(np.diff(device)) + 1).tolist(), len(index)]
        for begin, end in pairwise(bounds):
            rows = index[begin:end]
            observed, value = readings.observed_us[rows], readings.value[rows]
            for episode in self._watched.get((metric_id, int(device[begin])), ()):
                _extreme(episode, observed, value)

    def _forget(self, episode: Episode) -> None:
        assert episode.metric_id is not None  # noqa: S101 - only those of a metric are watched
        key = episode.metric_id, episode.device_id
        rest = [other for other in self._watched.get(key, ()) if other is not episode]
        if rest:
            self._watched[key] = rest
        else:
            self._watched.pop(key, None)
            self._columns[episode.metric_id][episode.device_id] = False


def _extreme(episode: Episode, observed: NDArray[np.int64], value: NDArray[np.float64]) -> None:
    until_us = _EVER if episode.cleared_us is None else episode.cleared_us
    inside = np.flatnonzero((observed >= episode.began_us) & (observed <= until_us))
    if not len(inside):
        return
    values = value[inside]
    place = int(values.argmax() if episode.upward else values.argmin())
    found = float(values[place])
    beyond = episode.peak is None or (found > episode.peak if episode.upward else found < episode.peak)
    if beyond:
        episode.peak, episode.peak_us = found, int(observed[inside[place]])


def _observed_us(evidence: Evidence) -> int | None:
    """The event time that an evidence names, if it does."""
    said = evidence.get("observed_at")
    if not isinstance(said, str):
        return None
    try:
        since = datetime.fromisoformat(said) - _EPOCH
    except (ValueError, TypeError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
