"""Where the time of a batch goes: decode, rules, commit, as sums since the start."""

import time
from collections import Counter


class Laps:
    """Sums by stage, in nanoseconds: ``wall_ns`` on the clock, ``cpu_ns`` of this thread (commit mostly waits)."""

    def __init__(self) -> None:
        self.wall_ns: Counter[str] = Counter()
        self.cpu_ns: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        """A batch begins; what went by since the last lap is nobody's."""
        self._wall, self._cpu = time.perf_counter_ns(), time.thread_time_ns()

    def lap(self, stage: str) -> None:
        """What went by since ``begin`` or the last lap was this stage's."""
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        self.wall_ns[stage] += wall - self._wall
        self.cpu_ns[stage] += cpu - self._cpu
        self._wall, self._cpu = wall, cpu
