"""Being told to stop: in order, within five seconds, whatever the process is waiting for.

What is committed is safe and what is not was not acknowledged, so a process that cannot end in order may end without.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import structlog

from city.storage.lines import hang_up

SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANG_UP_S = 1.5  # by then who waits for the database waits in vain
LAST_RESORT_S = 4.0
SAME_S = 0.5  # a second signal within it is the first one, passed on by a terminal, by make or by npm
AT_ONCE = 130  # exit code

log = structlog.get_logger(__name__)


def on_signals(ask: Callable[[], None], *, drain_s: float = 0) -> None:
    """Call ``ask`` at the first SIGTERM or SIGINT; 4 s after ``drain_s`` the process ends without further ado.

    A second signal ends the draining (``ask`` is called again), or the process. ``ask`` runs in the main thread between
    two of its steps: it sets an event and no more.
    """
    heard: list[float] = []
    hurry = threading.Event()

    def told(_number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if heard and now - heard[-1] <= SAME_S:
            return
        heard.append(now)
        if len(heard) == 1:
            threading.Thread(target=_insist, args=(hurry, drain_s), name="stopping", daemon=True).start()
            ask()
        elif len(heard) == 2 and now - heard[0] < drain_s:
            hurry.set()
            ask()
        else:
            os._exit(AT_ONCE)

    for number in SIGNALS:
        signal.signal(number, told)


def _insist(hurry: threading.Event, drain_s: float) -> None:
    hurry.wait(drain_s)
    time.sleep(HANG_UP_S)
    hang_up()
    time.sleep(LAST_RESORT_S - HANG_UP_S)
    log.error("still busy after being told to stop; ending now", seconds=LAST_RESORT_S)
    os._exit(0)


def leave(code: int) -> NoReturn:
    """End a process whose work has ended in order: taking the interpreter apart costs seconds on a busy machine."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
