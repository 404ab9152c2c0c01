"""What the engine asks of each kind of rule: a book, which remembers every device's state under one rule.

A book changes nothing while it decides. It answers transitions and *changes*, a value of its own making that the
engine hands back to ``rows`` (what to store) and, once the transaction is committed, to ``accept``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from city.alarms import Transition
from city.observations import Detection, Readings
from rules.fleet import Fleet
from rules.listening import Listening
from rules.rows import MetricRows
from rules.rule import Rule
from rules.states import StateRow
from rules.windows import Memories


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Newly stored observations. ``newest_us``: by metric, the newest reading folded before, by device; 0 = none."""

    readings: Readings  # all of them, also those that no rule may believe
    rows: Mapping[int, MetricRows] = field(
        default_factory=dict
    )  # by metric id; metrics without rows are absent
    newest_us: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    detections: Sequence[Detection] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A tick of the clock. ``clock_us``: all that was sent up to then is known."""

    now_us: int
    clock_us: int
    listened: Listening


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a book is made with."""

    fleet: Fleet
    metrics: Mapping[str, int]  # code to database id
    zone: ZoneInfo  # the district's own, for schedules
    memories: Memories  # readings that rules look back at


Outcome = tuple[list[Transition], Any]  # transitions, each device's in order of time, and the book's changes


@runtime_checkable
class Reviewer(Protocol):
    """A book that may hold back what other rules raise, once all of them have decided."""

    def review(self, transitions: list[Transition], changes: Any) -> Outcome:
        """All transitions of a decision as they shall be; ``changes`` are the book's own, None = it had none."""


@runtime_checkable
class Recaller(Protocol):
    """A book that may have to know at start when each metric of a device was read last."""

    @property
    def recalls(self) -> bool:
        """Whether it does."""

    def recall(
        self, device_ids: NDArray[np.int32], metric_ids: NDArray[np.int16], observed_us: NDArray[np.int64]
    ) -> None:
        """The newest stored readings, as columns."""


class Book(Protocol):
    """All states of one rule."""

    @property
    def rule(self) -> Rule: ...

    def grow(self, size: int) -> None:
        """Make room for device ids below ``size``."""

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule: rules are rewritten under their id."""

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        """A stored state, at start."""

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        """The register said something new of these devices, which may end their alarms at the next tick."""

    def decide(self, batch: Batch) -> Outcome | None:
        """What new observations change; None = not of this book's concern."""

    def tick(self, moment: Moment) -> Outcome:
        """What the clock alone changes."""

    def accept(self, changes: Any) -> None:
        """Take over what was committed."""

    def rows(self, changes: Any) -> Iterator[StateRow]:
        """What to store of the changes."""


@runtime_checkable
class Judge(Protocol):
    """A book that also marks readings before they are stored."""

    order: int  # lower ones are asked first; what they mark as unbelievable the others do not see
    only_marks: bool  # it never decides

    @property
    def metric_id(self) -> int: ...

    def marks(self, rows: MetricRows) -> NDArray[np.int16]:
        """Bits of ``Quality`` for each row. Changes nothing."""
