"""The engine for a part of the district: ids outside, numbers inside, so that its columns have no gaps.

Everything that goes in or out by an id passes here; rules, windows and what a decision changes know numbers alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from city.observations import Detection, Readings
from rules.engine import Decision, Engine, Lookback
from rules.fleet import Fleet
from rules.listening import Listening
from rules.numbers import NOBODY, Numbers
from rules.rule import Rule
from rules.states import StateRow


class NumberedEngine(Engine):
    """As Engine, for the devices that ``numbers`` names; ``heard_us`` is by number."""

    def __init__(
        self,
        rules: Sequence[Rule],
        metrics: Mapping[str, int],
        zone: ZoneInfo | None = None,
        fleet: Fleet | None = None,
        *,
        numbers: Numbers,
    ) -> None:
        """``numbers`` outlives the engine: who follows this one goes on with the same."""
        super().__init__(rules, metrics, zone, fleet, numbers)
        self._numbers = numbers

    def load(self, states: Iterable[StateRow]) -> None:
        """As Engine's."""
        rows = list(states)
        ids = np.array([row.device_id for row in rows], dtype=np.int64)
        self._numbers.give(ids)
        super().load(
            replace(row, device_id=number)
            for row, number in zip(rows, self._numbers.of(ids).tolist(), strict=True)
        )

    def recall(
        self, device_ids: NDArray[np.int32], metric_ids: NDArray[np.int16], observed_us: NDArray[np.int64]
    ) -> None:
        """As Engine's; of devices that were not made known nothing is recalled."""
        number = self._numbers.of(device_ids)
        known = (number != NOBODY) & (number < self._fleet.size)
        super().recall(number[known], metric_ids[known], observed_us[known])

    def lookbacks(self) -> list[Lookback]:
        """As Engine's."""
        return [
            replace(lookback, device_ids=self._numbers.ids[lookback.device_ids])
            for lookback in super().lookbacks()
        ]

    def remember(self, lookback: Lookback, readings: Readings) -> None:
        """As Engine's."""
        super().remember(lookback, self._inside(readings))

    def decide(self, readings: Readings, detections: Sequence[Detection], *, now_us: int) -> Decision:
        """As Engine's."""
        number = self._numbers.of(np.array([one.device_id for one in detections], dtype=np.int64)).tolist()
        seen = [replace(one, device_id=number[place]) for place, one in enumerate(detections)]
        self._refuse_nobody(number, detections)
        return self._outside(super().decide(self._inside(readings), seen, now_us=now_us))

    def judge(self, readings: Readings) -> Readings:
        """As Engine's."""
        return replace(readings, quality=super().judge(self._inside(readings)).quality)

    def tick(self, *, now_us: int, listened: Listening) -> Decision:
        """As Engine's."""
        return self._outside(super().tick(now_us=now_us, listened=listened))

    def heard(self, device_ids: NDArray[np.int32], received_us: NDArray[np.int64]) -> None:
        """As Engine's; of devices that were not made known it is forgotten."""
        number = self._numbers.of(device_ids)
        known = (number != NOBODY) & (number < self._fleet.size)
        super().heard(number[known], received_us[known])

    def _inside(self, readings: Readings) -> Readings:
        number = self._numbers.of(readings.device)
        if len(number) and int(number.min()) == NOBODY:
            stranger = int(readings.device[number == NOBODY][0])
            raise ValueError(
                f"device id {stranger} was never made known to the rules; call know() before decide()"
            )
        return replace(readings, device=number)

    def _refuse_nobody(self, numbers: Sequence[int], detections: Sequence[Detection]) -> None:
        for number, detection in zip(numbers, detections, strict=True):
            if number == NOBODY:
                raise ValueError(f"device id {detection.device_id} was never made known to the rules")

    def _outside(self, decision: Decision) -> Decision:
        ids = self._numbers.ids
        return Decision(
            transitions=[replace(one, device_id=int(ids[one.device_id])) for one in decision.transitions],
            states=[replace(row, device_id=int(ids[row.device_id])) for row in decision.states],
            overlay=decision.overlay,
        )
