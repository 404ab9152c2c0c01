"""Numbers for the devices of a part of the district: consecutive, so that columns by number have no gaps.

Database ids are dense over the whole district, and columns by id are the fastest there are. Who knows one partition
of 32 would have 31 empty rows for each of its own.
"""

import numpy as np
from numpy.typing import NDArray

NOBODY = 0  # the number of ids that have none, and of the id 0


class Numbers:
    """A number for each id that was ever given one, from 1 in the order of their coming; 12 bytes a device."""

    def __init__(self) -> None:
        self._ids: NDArray[np.int32] = np.zeros(1, dtype=np.int32)  # by number
        self._sorted: NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # the same ids in order
        self._number: NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # of each of those

    def __len__(self) -> int:
        """How long a column by number is."""
        return len(self._ids)

    @property
    def ids(self) -> NDArray[np.int32]:
        """The id of each number; 0 for NOBODY."""
        return self._ids

    def of(self, ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """The number of each id, NOBODY for one without."""
        if not len(self._sorted):
            return np.zeros(len(ids), dtype=np.int32)
        ids = ids.astype(
            np.int32, copy=False
        )  # of another type the whole column would be converted at each search
        place = np.searchsorted(self._sorted, ids)
        place[place == len(self._sorted)] = 0
        number = self._number[place]
        number[self._sorted[place] != ids] = NOBODY
        return number

    def give(self, ids: NDArray[np.integer]) -> None:
        """Numbers for those of these ids that have none; 0 gets none."""
        wanted = np.unique(ids[ids > 0]).astype(np.int32)
        new = wanted[self.of(wanted) == NOBODY]
        if not len(new):
            return
        number = np.arange(len(self), len(self) + len(new), dtype=np.int32)
        place = np.searchsorted(self._sorted, new)
        self._sorted = np.insert(self._sorted, place, new)
        self._number = np.insert(self._number, place, number)
        self._ids = np.concatenate([self._ids, new])
