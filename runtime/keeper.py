"""Keeps one process running: starts it again when it ends, each time a little later."""

import time
from collections.abc import Callable

from city.errors import CityError
from runtime.log_files import trouble
from runtime.process import Process

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
SETTLED_S = 60.0  # having run so long, it is forgiven its earlier ends
SHOWN_PER_MINUTE = 5  # lines of trouble of one process on the screen; all of them are in its log


class Keeper:
    """One process by name, restarted as long as ``tick`` is called."""

    def __init__(
        self, name: str, process: Process, start: Callable[[], Process], report: Callable[[str], None]
    ) -> None:
        self.name = name
        self.process = process
        self.ends = 0
        self._start = start
        self._report = report
        self._again_at: float | None = None
        self._shown: list[float] = []
        self._hidden = 0

    def tick(self) -> None:
        """Look once: tell what is wrong, and start it again when its time has come."""
        now = time.monotonic()
        for line in self.process.log.new_lines():
            self._tell(trouble(line), now)
        if self._again_at is not None:
            if now >= self._again_at:
                self._restart(now)
            return
        code = self.process.exit_code()
        if code is None:
            return
        if now - self.process.started > SETTLED_S:
            self.ends = 0
        last = (self.process.log.last_lines(1) or [""])[0]
        self._plan(now, f"{self.name} ended ({_how(code)}){': ' + shown(last) if last else ''}")

    def _plan(self, now: float, what: str) -> None:
        delay = min(FIRST_DELAY_S * 2**self.ends, LONGEST_DELAY_S)
        self.ends += 1
        self._again_at = now + delay
        self._report(f"{what}; starting it again in {delay:g} s (log: {self.process.log.path})")

    def _restart(self, now: float) -> None:
        try:
            self.process = self._start()
        except CityError as error:
            self._plan(now, f"{self.name} cannot start: {error}")
            return
        self._again_at = None
        self._report(f"{self.name} started again (pid {self.process.pid})")

    def _tell(self, text: str | None, now: float) -> None:
        if text is None:
            return
        self._shown = [at for at in self._shown if now - at < 60]
        if len(self._shown) >= SHOWN_PER_MINUTE:
            self._hidden += 1
            return
        self._shown.append(now)
        more = f" (and {self._hidden} more in {self.process.log.path})" if self._hidden else ""
        self._hidden = 0
        self._report(f"{self.name}: {text}{more}")


def shown(line: str, longest: int = 200) -> str:
    """A log line for the screen: of a JSON one its event, and no longer than a person reads."""
    return (trouble(line) or line)[:longest]


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
