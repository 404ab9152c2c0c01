"""The readings of one metric in a batch, as columns: what rules are handed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from city.observations import Quality, Readings

UNDECIDABLE = int(Quality.CLOCK_AHEAD | Quality.RETAINED | Quality.OUT_OF_RANGE | Quality.SPIKE)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRows:
    """Readings of one metric, in any order; in a ``Batch`` those that rules may believe."""

    device: NDArray[np.int32]
    observed_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    value: NDArray[np.float64]
    late: NDArray[np.bool_]
    backfill: NDArray[np.bool_]  # not newer than what was already folded for this device

    def __len__(self) -> int:
        return len(self.device)

    def take(self, index: NDArray[np.intp]) -> "MetricRows":
        return MetricRows(
            device=self.device[index],
            observed_us=self.observed_us[index],
            received_us=self.received_us[index],
            value=self.value[index],
            late=self.late[index],
            backfill=self.backfill[index],
        )


def of_metric(readings: Readings, index: NDArray[np.intp], newest_us: NDArray[np.int64]) -> MetricRows:
    """The readings at ``index``, all of one metric; ``newest_us``: newest folded before, by device."""
    device, observed_us = readings.device[index], readings.observed_us[index]
    return MetricRows(
        device=device,
        observed_us=observed_us,
        received_us=readings.received_us[index],
        value=readings.value[index],
        late=(readings.quality[index] & int(Quality.LATE)) != 0,
        backfill=observed_us <= newest_us[device],
    )


NO_ROWS = MetricRows(
    device=np.empty(0, np.int32),
    observed_us=np.empty(0, np.int64),
    received_us=np.empty(0, np.int64),
    value=np.empty(0, np.float64),
    late=np.empty(0, np.bool_),
    backfill=np.empty(0, np.bool_),
)
