"""Past exceedances of a level, found in a series: when it was reached, how high it stood, how fast it had risen.

Pure. Exceedances less than 24 h apart are one event, so that the waves of one flood are not counted as floods.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOUR_US = 3_600_000_000
JOINED_US = 24 * HOUR_US
RISE_US = 3 * HOUR_US


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Instants in microseconds UTC, metres. ``end_us`` is the last reading at or above the level.

    ``rise_3h_m`` is what the water rose in the 3 h before the onset; None where it was not read then.
    """

    onset_us: int
    peak_us: int
    end_us: int
    peak_m: float
    rise_3h_m: float | None


def exceedances(time_us: NDArray[np.int64], value: NDArray[np.float64], level_m: float) -> list[Event]:
    """Every event of a series in time order, oldest first."""
    above = np.flatnonzero(value >= level_m)
    if not len(above):
        return []
    breaks = np.flatnonzero(np.diff(time_us[above]) >= JOINED_US) + 1
    return [_event(time_us, value, part) for part in np.split(above, breaks)]


def _event(time_us: NDArray[np.int64], value: NDArray[np.float64], part: NDArray[np.intp]) -> Event:
    peak = int(part[int(np.argmax(value[part]))])
    onset = int(part[0])
    return Event(
        onset_us=int(time_us[onset]),
        peak_us=int(time_us[peak]),
        end_us=int(time_us[part[-1]]),
        peak_m=float(value[peak]),
        rise_3h_m=_rise(time_us, value, onset),
    )


def _rise(time_us: NDArray[np.int64], value: NDArray[np.float64], onset: int) -> float | None:
    wanted = time_us[onset] - RISE_US
    before = int(np.searchsorted(time_us, wanted, side="right")) - 1
    if before < 0 or wanted - time_us[before] > HOUR_US:
        return None
    return float(value[onset] - value[before])
