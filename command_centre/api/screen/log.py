"""The numbered log that screens follow: last-write-wins values, events that are never coalesced.

Pure: it reads no clock and sends nothing. What is staged becomes visible to snapshots and deltas only at
``commit``, since an event that leaked into a snapshot before its number would be shown twice. One log serves every
kind of screen: each value carries the mark by which ``views`` decides who sees it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from command_centre.api.screen.sight import GENERAL, Mark

Raws = dict[str, dict[str, msgspec.Raw]]
_GONE = msgspec.Raw(b"null")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A value encoded once; ``public`` is what strangers get instead, where that differs."""

    raw: msgspec.Raw
    mark: Mark
    public: msgspec.Raw | None = None

    def same(self, other: "Item | None") -> bool:
        """Whether every screen would see no difference."""
        return other is not None and bytes(self.raw) == bytes(other.raw) and self.mark == other.mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What became of a key: ``item`` None = gone. ``before`` are the marks it had, for who must take it away."""

    item: Item | None
    before: tuple[Mark, ...] = ()


Steps = dict[str, dict[str, Step]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened. ``change`` is its id in the database's list of changes, the same in every centre."""

    raw: msgspec.Raw
    kind: str
    change: int
    mark: Mark = GENERAL
    urgent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """What happened after ``start`` up to and including ``seq``."""

    start: int
    seq: int
    values: Steps
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    seq: int
    at: float
    values: Steps
    events: tuple[Event, ...]
    weight: int


@dataclass(kw_only=True, slots=True)
class _Pending:
    values: dict[str, dict[str, Item | None]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class ScreenLog:
    """State and recent history under one epoch.

    ``keep_s`` is how far back a screen may resume; ``max_weight`` bounds the history's bytes, so that a storm
    shortens what can be resumed instead of filling memory. ``change`` is the id up to which every change is in the
    committed state.
    """

    def __init__(self, epoch: str, *, keep_s: float = 300.0, max_weight: int = 32 * 1024 * 1024) -> None:
        self.epoch = epoch
        self.seq = 0
        self.change = 0
        self._keep_s = keep_s
        self._max_weight = max_weight
        self._weight = 0
        self._state: dict[str, dict[str, Item]] = {}
        self._pending = _Pending()
        self._entries: deque[_Entry] = deque()
        self._before: tuple[Event, ...] = ()

    def stage(
        self,
        topic: str,
        key: str,
        value: object | None,
        mark: Mark = GENERAL,
        *,
        public: object | None = None,
    ) -> None:
        """Set a key, or remove it with None; a value equal to what screens have is no change."""
        item = None
        if value is not None:
            # For a value that strangers see as it is nothing is kept twice.
            other = None if public is None or public == value else _encoded(public)
            item = Item(raw=_encoded(value), mark=mark, public=other)
        committed = self._state.get(topic, {}).get(key)
        pending = self._pending.values.setdefault(topic, {})
        if committed is None if item is None else item.same(committed):
            pending.pop(key, None)
        else:
            pending[key] = item

    def stage_topic(
        self, topic: str, values: Mapping[str, object], marks: Mapping[str, Mark] | None = None
    ) -> None:
        """Make ``values`` the whole topic: keys that are not in it are removed."""
        for key, value in values.items():
            self.stage(topic, key, value, marks.get(key, GENERAL) if marks else GENERAL)
        for key in [key for key in self.staged_keys(topic) if key not in values]:
            self.stage(topic, key, None)

    def staged_keys(self, topic: str) -> set[str]:
        """Keys of a topic, committed or staged; a staged removal still counts as a key."""
        return set(self._state.get(topic, ())) | set(self._pending.values.get(topic, ()))

    def add_event(self, event: Event) -> None:
        """An event for the next commit; every one is delivered, in order."""
        self._pending.events.append(event)

    def remember(self, events: Iterable[Event]) -> None:
        """What happened before this log began, for screens that come from another centre."""
        self._before = tuple(events)

    def forget(self, topic: str) -> None:
        """Drop a topic that no screen follows any more, without telling anybody."""
        self._state.pop(topic, None)
        self._pending.values.pop(topic, None)

    def commit(self, now: float, change: int = 0) -> bool:
        """Give what is staged the next number; False when nothing was. ``now`` is monotonic seconds."""
        pending, self._pending = self._pending, _Pending()
        self.change = max(self.change, change)
        self._prune(now)
        values = {topic: self._merge(topic, keys) for topic, keys in pending.values.items() if keys}
        events = tuple(pending.events)
        if not values and not events:
            return False
        self.seq += 1
        weight = sum(_weight(step) + len(key) for keys in values.values() for key, step in keys.items())
        weight += sum(len(bytes(event.raw)) for event in events)
        self._entries.append(_Entry(seq=self.seq, at=now, values=values, events=events, weight=weight))
        self._weight += weight
        return True

    def reaches(self, seq: int) -> bool:
        """Whether a screen that stands at ``seq`` can go on from there."""
        oldest = self._entries[0].seq - 1 if self._entries else self.seq
        return oldest <= seq <= self.seq

    def since(self, seq: int) -> Delta | None:
        """Everything after ``seq`` as one delta; None when the log does not reach back so far."""
        if not self.reaches(seq):
            return None
        values: Steps = {}
        events: list[Event] = []
        for entry in self._entries_after(seq):
            for topic, keys in entry.values.items():
                held = values.setdefault(topic, {})
                for key, step in keys.items():
                    first = held.get(key)
                    held[key] = (
                        step if first is None else Step(item=step.item, before=first.before + step.before)
                    )
            events.extend(entry.events)
        return Delta(start=seq, seq=self.seq, values=values, events=tuple(events))

    def happened_since(self, change: int) -> Iterator[Event]:
        """Committed events whose change id lies above ``change``, as far back as is remembered."""
        for event in self._before:
            if event.change > change:
                yield event
        for entry in self._entries:
            for event in entry.events:
                if event.change > change:
                    yield event

    def items(self) -> Mapping[str, Mapping[str, Item]]:
        """The whole committed state with its marks; the caller uses it at once and changes nothing."""
        return self._state

    def topic(self, name: str) -> dict[str, msgspec.Raw]:
        """One topic's committed values as the staff sees them."""
        held = dict(self._state.get(name, ()))  # routes ask from their own threads
        return {key: item.raw for key, item in held.items()}

    def snapshot(self) -> Raws:
        """The whole committed state as the staff sees it."""
        return {name: self.topic(name) for name in list(self._state)}

    def _merge(self, topic: str, keys: dict[str, Item | None]) -> dict[str, Step]:
        held = self._state.setdefault(topic, {})
        steps: dict[str, Step] = {}
        for key, item in keys.items():
            before = held.pop(key, None) if item is None else held.get(key)
            if item is not None:
                held[key] = item
            steps[key] = Step(item=item, before=() if before is None else (before.mark,))
        return steps

    def _entries_after(self, seq: int) -> list[_Entry]:
        newest: list[_Entry] = []
        for entry in reversed(self._entries):
            if entry.seq <= seq:
                break
            newest.append(entry)
        return newest[::-1]

    def _prune(self, now: float) -> None:
        while self._entries and (self._entries[0].at < now - self._keep_s or self._weight > self._max_weight):
            self._weight -= self._entries.popleft().weight


def _encoded(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _weight(step: Step) -> int:
    if step.item is None:
        return len(bytes(_GONE))
    return len(bytes(step.item.raw)) + (len(bytes(step.item.public)) if step.item.public is not None else 0)
