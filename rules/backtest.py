"""What a back-test says: its episodes held against what people marked, against the rules in force, and in sums.

Instants are microseconds since 1970 UTC, spans of the report are seconds. Pure: the rows come from elsewhere.

An *event* is a span that a person marked for a device: something was the matter then. An episode *finds* an event
when it stands at any time from ``before_us`` ahead of the onset to the end; one that finds none is false. The event's
lead is onset minus the time the first of its episodes was raised, so a negative lead is a delay; found later than
``late_after_us`` after the onset it is found *late*.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from rules.episodes import Episode

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
BEFORE_US = (
    6 * 3600 * SECOND_US
)  # as the flood back-test counts: an alarm up to six hours ahead is of the event
LATE_AFTER_US = 5 * 60 * SECOND_US


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What a person marked."""

    device_id: int
    onset_us: int
    end_us: int
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What became of one event. ``lead_us`` None = missed."""

    event: Event
    lead_us: int | None
    late: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Episodes against events. ``false`` are the episodes that found none."""

    findings: tuple[Finding, ...]
    found_by: int  # episodes that found an event
    false: tuple[Episode, ...]

    @property
    def hits(self) -> int:
        """Events that were found, in time or late."""
        return sum(finding.lead_us is not None for finding in self.findings)

    @property
    def pod(self) -> float | None:
        """Probability of detection: found events of all; None without events."""
        return self.hits / len(self.findings) if self.findings else None

    @property
    def far(self) -> float | None:
        """False alarm ratio: false episodes of all; None without episodes."""
        episodes = self.found_by + len(self.false)
        return len(self.false) / episodes if episodes else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Against the rules in force: an episode of one side that meets none of the other, of the same device."""

    gained: tuple[Episode, ...]
    lost: tuple[Episode, ...]
    kept: int
    moved_s: tuple[float, ...]  # of those kept: how much earlier (positive) each is raised


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One device in the table of a report; times in seconds."""

    device_id: int
    readings: int
    episodes: int
    repeats: int
    late: int
    standing: int
    in_alarm_s: float
    longest_s: float
    peak: float | None
    hits: int
    missed: int
    false: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Sums over all devices; ``in_alarm_s`` counts an hour of two devices as two."""

    episodes: int
    devices: int  # with an episode
    per_day: float
    in_alarm_s: float
    longest_s: float
    median_s: float
    repeats: int
    late: int
    suppressed: int
    standing: int
    by_level: Mapping[str, int]
    by_rule: Mapping[str, int]


def lasted_us(episode: Episode, from_us: int, to_us: int) -> int:
    """How much of the span it stood; one that still stands counts to the end."""
    end_us = to_us if episode.cleared_us is None else min(episode.cleared_us, to_us)
    return max(0, end_us - max(episode.raised_us, from_us))


def within(episodes: Sequence[Episode], from_us: int, to_us: int) -> list[Episode]:
    """Those that stood at some time of the span: a replay begins earlier, so that windows are full."""
    return [
        episode
        for episode in episodes
        if episode.raised_us < to_us and (episode.cleared_us is None or episode.cleared_us >= from_us)
    ]


def totals(episodes: Sequence[Episode], from_us: int, to_us: int) -> Totals:
    """Sums of the episodes of the span."""
    lasted = [lasted_us(episode, from_us, to_us) / SECOND_US for episode in episodes]
    return Totals(
        episodes=len(episodes),
        devices=len({episode.device_id for episode in episodes}),
        per_day=len(episodes) * DAY_US / max(to_us - from_us, 1),
        in_alarm_s=sum(lasted),
        longest_s=max(lasted, default=0.0),
        median_s=median(lasted) if lasted else 0.0,
        repeats=sum(episode.repeats for episode in episodes),
        late=sum(episode.late for episode in episodes),
        suppressed=sum(episode.suppressed is not None for episode in episodes),
        standing=sum(episode.cleared_us is None for episode in episodes),
        by_level=dict(Counter(_worst(episode) for episode in episodes)),
        by_rule=dict(Counter(episode.rule_id for episode in episodes)),
    )


_ORDER = ("blue", "yellow", "orange", "red")


def _worst(episode: Episode) -> str:
    return max([episode.level, *(level for _, level in episode.levels)], key=_ORDER.index)


def table(
    episodes: Sequence[Episode], readings: Mapping[int, int], marks: Marks | None, *, from_us: int, to_us: int
) -> list[Line]:
    """One line a device that had readings, episodes or events; most episodes first."""
    of_device = _by_device(episodes)
    found: Counter[int] = Counter()
    missed: Counter[int] = Counter()
    for finding in marks.findings if marks else ():
        (missed if finding.lead_us is None else found)[finding.event.device_id] += 1
    false = Counter(episode.device_id for episode in marks.false) if marks else Counter[int]()
    lines = []
    for device_id in sorted(readings.keys() | of_device.keys() | found.keys() | missed.keys()):
        own = of_device.get(device_id, [])
        lasted = [lasted_us(episode, from_us, to_us) / SECOND_US for episode in own]
        lines.append(
            Line(
                device_id=device_id,
                readings=readings.get(device_id, 0),
                episodes=len(own),
                repeats=sum(episode.repeats for episode in own),
                late=sum(episode.late for episode in own),
                standing=sum(episode.cleared_us is None for episode in own),
                in_alarm_s=sum(lasted),
                longest_s=max(lasted, default=0.0),
                peak=_furthest(own),
                hits=found[device_id],
                missed=missed[device_id],
                false=false[device_id],
            )
        )
    return sorted(lines, key=lambda line: (-line.episodes, -line.readings, line.device_id))


def _furthest(episodes: Sequence[Episode]) -> float | None:
    peaks = [episode.peak for episode in episodes if episode.peak is not None]
    if not peaks:
        return None
    return max(peaks) if all(episode.upward for episode in episodes) else min(peaks)


# ── against what people marked ───────────────────────────────────────────────────────────────────────


def against(
    episodes: Sequence[Episode],
    events: Sequence[Event],
    *,
    to_us: int,
    before_us: int = BEFORE_US,
    late_after_us: int = LATE_AFTER_US,
) -> Marks:
    """Which events were found, when, and which episodes found none."""
    spans = {device_id: _Spans(own, to_us) for device_id, own in _by_device(episodes).items()}
    useful: set[int] = set()
    findings: list[Finding] = []
    for event in events:
        of_device = spans.get(event.device_id)
        own = of_device.meeting(event.onset_us - before_us, event.end_us) if of_device else []
        useful.update(id(episode) for episode in own)
        lead_us = event.onset_us - own[0].raised_us if own else None
        late = lead_us is not None and -lead_us > late_after_us
        findings.append(Finding(event=event, lead_us=lead_us, late=late))
    return Marks(
        findings=tuple(findings),
        found_by=len(useful),
        false=tuple(episode for episode in episodes if id(episode) not in useful),
    )


class _Spans:
    """Episodes of one device by the time they were raised, to be asked which stood within a span."""

    def __init__(self, episodes: Sequence[Episode], to_us: int) -> None:
        self._episodes = sorted(episodes, key=lambda episode: episode.raised_us)
        self._raised = [episode.raised_us for episode in self._episodes]
        ends = [to_us if episode.cleared_us is None else episode.cleared_us for episode in self._episodes]
        self._ends = ends
        self._latest_end = list(accumulate(ends, max))  # of this and all before it

    def meeting(self, from_us: int, to_us: int) -> list[Episode]:
        """Those that stood at some time of the span, in order."""
        first, beyond = bisect_left(self._latest_end, from_us), bisect_right(self._raised, to_us)
        return [self._episodes[place] for place in range(first, beyond) if self._ends[place] >= from_us]

    def first_meeting(self, from_us: int, to_us: int) -> Episode | None:
        """The first of them."""
        first = bisect_left(self._latest_end, from_us)  # itself the one whose end reaches that far
        met = first < len(self._raised) and self._raised[first] <= to_us
        return self._episodes[first] if met else None


def _by_device(episodes: Sequence[Episode]) -> dict[int, list[Episode]]:
    of_device: dict[int, list[Episode]] = defaultdict(list)
    for episode in episodes:
        of_device[episode.device_id].append(episode)
    return of_device


# ── against the rules in force ───────────────────────────────────────────────────────────────────────


def differ(new: Sequence[Episode], old: Sequence[Episode], *, to_us: int) -> Difference:
    """Episodes meet when they are of one rule and one device and stand at one time."""
    before, after = _by_rule(old, to_us), _by_rule(new, to_us)
    met = [(episode, _met(before, episode, to_us)) for episode in new]
    return Difference(
        gained=tuple(episode for episode, other in met if other is None),
        lost=tuple(episode for episode in old if _met(after, episode, to_us) is None),
        kept=sum(other is not None for _, other in met),
        moved_s=tuple(
            (other.raised_us - episode.raised_us) / SECOND_US for episode, other in met if other is not None
        ),
    )


_SpansByRule = Mapping[tuple[str, int], _Spans]


def _by_rule(episodes: Sequence[Episode], to_us: int) -> _SpansByRule:
    groups: dict[tuple[str, int], list[Episode]] = defaultdict(list)
    for episode in episodes:
        groups[episode.rule_id, episode.device_id].append(episode)
    return {key: _Spans(group, to_us) for key, group in groups.items()}


def _met(spans: _SpansByRule, episode: Episode, to_us: int) -> Episode | None:
    of_device = spans.get((episode.rule_id, episode.device_id))
    if of_device is None:
        return None
    end_us = to_us if episode.cleared_us is None else episode.cleared_us
    return of_device.first_meeting(episode.raised_us, end_us)
