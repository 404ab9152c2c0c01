"""Frames for one kind of screen: what of the log it sees, encoded once a tick for all that stand at one number.

A view is what screens with the same sight share. It has an epoch of its own, so that a screen which comes back with
another scope, another user or other topics stands nowhere and gets a snapshot.
"""

import secrets
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from command_centre.api.screen.log import Event, Item, ScreenLog, Step
from command_centre.api.screen.sight import EVERYTHING, Lens, Sight, cells_within, public_event

Raws = dict[str, dict[str, msgspec.Raw]]
_GONE = msgspec.Raw(b"null")


class View:
    """What one ``sight`` shows. ``tally`` names the counts it reads; ``ready`` once those are in the log."""

    def __init__(self, log: ScreenLog, sight: Sight, lens: Lens, tally: str, counted: Counter[str]) -> None:
        self.sight = sight
        self.lens = lens
        self.tally = tally
        self.ready = not tally
        self.epoch = f"{log.epoch}-{secrets.token_hex(4)}"
        self.screens = 0
        self.left_at = 0.0
        self._log = log
        self._counted = counted
        self._public = sight.audience == "public"
        named = {"counts": f"counts {tally}", "online": f"online {tally}"} if tally else {}
        # In the log, then on the screen; a desk that lists alarms also counts them.
        self._topics = [(named.get(topic, topic), topic) for topic in sight.topics]
        if "alarm" in sight.topics:
            self._topics.append(("counts of alarms", "counts"))
        self._frames: dict[int | None, str] = {}

    def fresh(self) -> None:
        """Something was committed: what was encoded is old."""
        self._frames.clear()

    def frame(self, since: int | None) -> str:
        """What brings a screen that has ``since`` up to date; a snapshot for None or when too far behind."""
        if since not in self._frames:
            delta = None if since is None else self._log.since(since)
            if delta is None:
                self._frames[since] = self._snapshot()
            else:
                self._frames[since] = _text(
                    {
                        "t": "d",
                        "from": delta.start,
                        "seq": delta.seq,
                        "change": self._log.change,
                        "now": datetime.now(UTC),
                        "set": self._changed(delta.values),
                        "ev": self._shown(delta.events),
                    }
                )
        return self._frames[since]

    def resumable(self, since: int | None) -> bool:
        """Whether ``frame`` will answer a delta."""
        return since is not None and self._log.reaches(since)

    def hand_over(self, change: int, *, reset: bool) -> str:
        """A snapshot with the events since ``change``, for a screen that comes from another centre.

        ``reset``: the change it names is of another database, so its numbers mean nothing here.
        """
        happened = () if reset else self._log.happened_since(change)
        more = {"ev": self._shown(happened), "reset": reset}
        return f"{self.frame(None)[:-1]},{_text(more)[1:]}"

    def _snapshot(self) -> str:
        self._counted["snapshots"] += 1
        shown: Raws = {}
        state = self._log.items()
        for inner, topic in self._topics:
            sees = self.lens.sees
            shown.setdefault(topic, {}).update(
                {key: self._raw(item) for key, item in state.get(inner, {}).items() if sees(item.mark)}
            )
        return _text(
            {
                "t": "snap",
                "epoch": self.epoch,
                "seq": self._log.seq,
                "change": self._log.change,
                "now": datetime.now(UTC),
                "set": shown,
            }
        )

    def _changed(self, values: dict[str, dict[str, Step]]) -> Raws:
        changed: Raws = {}
        for inner, topic in self._topics:
            for key, step in values.get(inner, {}).items():
                if step.item is not None and self.lens.sees(step.item.mark):
                    changed.setdefault(topic, {})[key] = self._raw(step.item)
                elif any(self.lens.sees(mark) for mark in step.before):
                    changed.setdefault(topic, {})[key] = _GONE
        return changed

    def _shown(self, events: Iterable[Event]) -> list[msgspec.Raw]:
        return [
            event.raw
            for event in events
            if self.lens.sees(event.mark) and (not self._public or public_event(event.kind))
        ]

    def _raw(self, item: Item) -> msgspec.Raw:
        return item.public if self._public and item.public is not None else item.raw


def lens_of(sight: Sight, parents: dict[str, tuple[str, ...]]) -> Lens | None:
    """The sight with its cells looked up; None when its scope is no area of ours."""
    if not sight.narrowed():
        return EVERYTHING
    if sight.scope is None:
        return Lens(unit=sight.unit, cells=None)
    cells = cells_within(sight.scope, parents)
    return None if cells is None else Lens(unit=sight.unit, cells=cells)


def _text(frame: dict[str, object]) -> str:
    return msgspec.json.encode(frame).decode()
