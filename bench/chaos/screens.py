"""The screens' side of the stand: each screen is a process, asked through a pipe and never waited for long."""

import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from bench.load import ROOT


class Watching:
    """One life of a screen: `bench.chaos.watching` as a child; ends when its standard input does."""

    def __init__(self, address: str, token: str) -> None:
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "bench.chaos.watching", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "CITY_API_TOKEN": token},
            cwd=ROOT,
            start_new_session=True,
        )
        self._rest = b""
        self._owed = 0  # answers to questions that were given up

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def kill(self) -> int:
        """SIGKILL and reap; returns its exit status."""
        self._child.kill()
        return self._child.wait()

    def ask(self, question: str, seconds: float) -> dict[str, Any] | None:
        """Its answer, or None when it gives none in time: it is paused, has just begun, or has ended."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(question.encode() + b"\n")
            self._child.stdin.flush()
        except OSError:
            return None
        self._owed += 1
        until = time.monotonic() + seconds
        while self._owed:
            line = self._line(until)
            if line is None:
                return None
            self._owed -= 1
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _line(self, until: float) -> bytes | None:
        assert self._child.stdout is not None
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._child.stdout], [], [], left)[0]:
                return None
            data = os.read(self._child.stdout.fileno(), 1 << 18)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


class Screen:
    """A wall that is set up again when it ends; counts over all its lives."""

    def __init__(self, address: str, token: str, number: int) -> None:
        self.name = f"screen-{number}"
        self._address, self._token = address, token
        self._life: Watching | None = None
        self._before = {"doubled": 0, "gaps": 0}
        self._now = dict(self._before)

    def launch(self) -> Watching:
        """A new life."""
        self._before = self.faults()
        self._now = dict.fromkeys(self._now, 0)
        self._life = Watching(self._address, self._token)
        return self._life

    def ask(self, question: str = "where", seconds: float = 2.0) -> dict[str, Any] | None:
        """Where it stands, or with "whole" all it shows."""
        answer = self._life.ask(question, seconds) if self._life is not None else None
        if answer is not None:
            self._now = {name: answer[name] for name in self._now}
        return answer

    def faults(self) -> dict[str, int]:
        """Events that one connection told twice, and deltas that did not fit."""
        return {name: self._before[name] + self._now[name] for name in self._before}
