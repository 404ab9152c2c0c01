"""How fast, what first, and what is put together on the way to the city; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

LARGE = 2_000  # readings in a batch that need not be merged with others


@dataclass(slots=True)
class Pace:
    """At most ``rate`` readings a second over any few seconds; ``room`` is what may be sent now.

    What is sent in one piece may overdraw it: the next piece then waits for longer.
    """

    rate: float
    room: float = 0.0
    looked: float | None = None  # seconds of a monotonic clock

    def may_send(self, now: float) -> bool:
        """Whether the next piece may go."""
        if self.looked is None:
            self.room = self.rate
        else:
            self.room = min(self.rate, self.room + (now - self.looked) * self.rate)
        self.looked = now
        return self.room > 0

    def sent(self, size: int) -> None:
        """So many went."""
        self.room -= size

    @property
    def piece(self) -> int:
        """Readings in one piece: half a second's, so that a new alarm or the node's own word never waits for longer."""
        return int(max(10, min(LARGE, self.rate / 2)))


def runs(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring batches to make one of, as (first, last), from (id, size) in order; the newest stays alone."""
    found: list[tuple[int, int]] = []
    begin: int | None = None
    last = together = 0
    for batch, size in sizes[:-1]:
        if begin is not None and together + size <= LARGE:
            last, together = batch, together + size
            continue
        if begin is not None and last != begin:
            found.append((begin, last))
        begin, last, together = batch, batch, size
    if begin is not None and last != begin:
        found.append((begin, last))
    return found


@dataclass(slots=True)
class Ahead:
    """Devices in alarm, whose readings go before everybody's: how far each was told."""

    told: dict[int, int]  # device -> newest batch of which the city has its readings

    def plan(self, devices: Sequence[int], newest: int) -> dict[int, list[int]]:
        """Devices to tell of, by the batch behind which to begin; one that is new begins at the beginning.

        Those that are no longer in alarm are forgotten: should they alarm again, what waits of them is told again.
        """
        self.told = {device: self.told[device] for device in devices if device in self.told}
        found: dict[int, list[int]] = {}
        for device in devices:
            after = self.told.get(device, 0)
            if after < newest:
                found.setdefault(after, []).append(device)
        return found

    def reached(self, devices: Sequence[int], newest: int) -> None:
        """The city has what these devices said up to there."""
        self.told.update(dict.fromkeys(devices, newest))
