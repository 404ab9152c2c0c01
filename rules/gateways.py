"""Devices behind gateways: whose silence is the gateway's, and whose is their own.

A gateway that dies silences every device behind it within one interval of theirs. That is one fault at one place.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_CHILDREN = 3  # two devices that fall silent together prove nothing


class Children:
    """Devices by gateway; made anew when the register changes."""

    def __init__(self, gateway: NDArray[np.int32]) -> None:
        behind = np.flatnonzero(gateway)
        order = behind[np.argsort(gateway[behind], kind="stable")]
        self._order = order
        self._gateways, self._begins = np.unique(gateway[order], return_index=True)
        self._ends = np.append(self._begins[1:], len(order))

    @property
    def gateways(self) -> NDArray[np.int32]:
        """Ids that devices name as their gateway."""
        return self._gateways

    def of(self, gateway_id: int) -> NDArray[np.intp]:
        place = int(np.searchsorted(self._gateways, gateway_id))
        if place >= len(self._gateways) or self._gateways[place] != gateway_id:
            return np.empty(0, dtype=np.intp)
        return self._order[self._begins[place] : self._ends[place]]

    def with_any(self, chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Gateways with a chosen device behind them."""
        if not len(self._gateways):
            return self._gateways
        result: NDArray[np.int32] = self._gateways[np.logical_or.reduceat(chosen[self._order], self._begins)]
        return result


@dataclass(frozen=True, slots=True)
class Family:
    """The devices behind one gateway from which a word is owed, as columns. Instants are microseconds."""

    device: NDArray[np.intp]
    since_us: NDArray[np.int64]  # last word
    silent_us: NDArray[np.int64]  # listening time since
    limit_us: NDArray[np.int64]
    interval_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.device)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``dead_since_us`` None = the gateway works, or it is too early; ``alone``: whose silence is their own."""

    dead_since_us: int | None
    alone: NDArray[np.intp]
    silent: int = 0  # how many fell silent together


def judge(family: Family, share: float, horizon_us: int) -> Verdict:
    """Whether so many fell silent within one interval that it is the gateway.

    A device waits one interval more than its limit for the others, unless enough of them have spoken since.
    """
    silent = family.silent_us >= family.limit_us
    latest_us = family.since_us[silent].max(initial=0)
    together = silent & (family.since_us >= latest_us - family.interval_us.max(initial=0))
    counted = int(np.count_nonzero(together | ~silent))  # those that fell silent long ago say nothing of it
    if counted < LEAST_CHILDREN:
        return Verdict(None, family.device[silent])
    needed = math.ceil(share * counted)
    if int(np.count_nonzero(together)) >= needed:
        raised_us = horizon_us - (family.silent_us[together] - family.limit_us[together])
        silent_together = int(np.count_nonzero(together))
        return Verdict(int(np.sort(raised_us)[needed - 1]), family.device[:0], silent_together)
    until_us = (family.since_us + family.interval_us)[silent]
    spoke_since = len(family) - np.searchsorted(np.sort(family.since_us), until_us, side="right")
    waited = family.silent_us[silent] >= (family.limit_us + family.interval_us)[silent]
    return Verdict(None, family.device[silent][waited | (spoke_since > counted - needed)])
