"""The numbered log that screens follow: last-write-wins values, events that are never coalesced.

Pure: it reads no clock and sends nothing. What is staged becomes visible to snapshots and deltas only at
``commit``, since an event that leaked into a snapshot before its number would be shown twice.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

Values = dict[str, dict[str, msgspec.Raw]]
_GONE = msgspec.Raw(b"null")


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """What happened after ``start`` up to and including ``seq``; ``values`` null = the key is gone."""

    start: int
    seq: int
    values: Values
    events: tuple[msgspec.Raw, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    seq: int
    at: float
    values: Values
    events: tuple[msgspec.Raw, ...]
    weight: int


@dataclass(kw_only=True, slots=True)
class _Pending:
    values: Values = field(default_factory=dict)
    events: list[msgspec.Raw] = field(default_factory=list)


class ScreenLog:
    """State and recent history under one epoch.

    ``keep_s`` is how far back a screen may resume; ``max_weight`` bounds the history's bytes, so that a storm
    shortens what can be resumed instead of filling memory. Values are encoded once, when staged.
    """

    def __init__(self, epoch: str, *, keep_s: float = 300.0, max_weight: int = 32 * 1024 * 1024) -> None:
        self.epoch = epoch
        self.seq = 0
        self._keep_s = keep_s
        self._max_weight = max_weight
        self._weight = 0
        self._state: Values = {}
        self._pending = _Pending()
        self._entries: deque[_Entry] = deque()

    def stage(self, topic: str, key: str, value: object | None) -> None:
        """Set a key, or remove it with None; a value equal to what screens have is no change."""
        encoded = _GONE if value is None else msgspec.Raw(msgspec.json.encode(value))
        committed = self._state.get(topic, {}).get(key, _GONE)
        pending = self._pending.values.setdefault(topic, {})
        if bytes(committed) == bytes(encoded):
            pending.pop(key, None)
        else:
            pending[key] = encoded

    def stage_topic(self, topic: str, values: Mapping[str, object]) -> None:
        """Make ``values`` the whole topic: keys that are not in it are removed."""
        for key, value in values.items():
            self.stage(topic, key, value)
        for key in [key for key in self.staged_keys(topic) if key not in values]:
            self.stage(topic, key, None)

    def staged_keys(self, topic: str) -> set[str]:
        """Keys of a topic, committed or staged; a staged removal still counts as a key."""
        return set(self._state.get(topic, ())) | set(self._pending.values.get(topic, ()))

    def stage_event(self, event: Mapping[str, object]) -> None:
        """An event for the next commit; every one is delivered, in order."""
        self._pending.events.append(msgspec.Raw(msgspec.json.encode(event)))

    def commit(self, now: float) -> bool:
        """Give what is staged the next number; False when nothing was. ``now`` is monotonic seconds."""
        values = {topic: keys for topic, keys in self._pending.values.items() if keys}
        events = tuple(self._pending.events)
        self._pending = _Pending()
        self._prune(now)
        if not values and not events:
            return False
        self.seq += 1
        for topic, keys in values.items():
            self._merge(topic, keys)
        weight = sum(len(bytes(raw)) + len(key) for keys in values.values() for key, raw in keys.items())
        weight += sum(len(bytes(event)) for event in events)
        self._entries.append(_Entry(seq=self.seq, at=now, values=values, events=events, weight=weight))
        self._weight += weight
        return True

    def since(self, seq: int) -> Delta | None:
        """Everything after ``seq`` as one delta; None when the log does not reach back so far."""
        if seq > self.seq or seq < self._reaches_back_to():
            return None
        values: Values = {}
        events: list[msgspec.Raw] = []
        for entry in self._entries_after(seq):
            for topic, keys in entry.values.items():
                values.setdefault(topic, {}).update(keys)
            events.extend(entry.events)
        return Delta(start=seq, seq=self.seq, values=values, events=tuple(events))

    def snapshot(self) -> Values:
        """The whole committed state; the caller encodes it at once and changes nothing."""
        return self._state

    def _merge(self, topic: str, keys: dict[str, msgspec.Raw]) -> None:
        held = self._state.setdefault(topic, {})
        for key, raw in keys.items():
            if raw is _GONE:
                held.pop(key, None)
            else:
                held[key] = raw

    def _reaches_back_to(self) -> int:
        return self._entries[0].seq - 1 if self._entries else self.seq

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
