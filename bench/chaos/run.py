"""Plays a plan: fault by fault, each followed by an independent look at what was lost; then a last look at all."""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import psycopg

from bench.chaos.calling import Caller
from bench.chaos.faults import Fault
from bench.chaos.ground import ImpossibleError
from bench.chaos.matrix import TABLE
from bench.chaos.observing import Observer
from bench.chaos.outcome import Outcome, Played
from bench.chaos.parts import Shape
from bench.chaos.plan import Round
from bench.chaos.publishing import Log
from bench.chaos.stand import Stand
from bench.deadline_kill import STEPS
from tests.acceptance.checker import Stretch, check, check_stretch
from tests.acceptance.checker_incidents import Aftermath, look, open_incidents, reported

DUE_EACH_ROUND = 3  # incidents whose deadline strikes during a round
STEP_PATIENCE_S = 30.0  # after a deadline; longer than any fault lasts and takes to come back from
PATIENCE_S = 60.0
Tell = Callable[[str], None]
T = TypeVar("T")


class Run:
    """A stand under load, and the checkers beside it."""

    def __init__(self, shape: Shape, folder: Path, tell: Tell = lambda _line: None) -> None:
        """`folder` takes everything that is written; `tell` is given a line about each round."""
        self._folder, self._tell = folder, tell
        self.stand = Stand(shape, folder)
        try:
            self._observer = Observer(self.stand)
        except BaseException:
            self.stand.close()
            raise
        self._caller: Caller | None = None
        self._refused = 0
        self._from = 0  # messages below are checked
        self._lost_by_broker: list[int] = []

    def play(self, rounds: Sequence[Round], seconds: float = float("inf")) -> Outcome:
        """Play them one after another under load, then stop the load and look at everything.

        No round is begun after so many `seconds`.
        """
        began = time.time()
        log = self.stand.start()
        if self._observer.recovered(began) is None:
            tails = "\n".join(
                f"{file.name}: {file.read_text()[-1500:]}" for file in self._folder.glob("*.log")
            )
            raise RuntimeError(f"the stand never stood\n{tails}")
        self._caller = Caller(self.stand.screens_port, self.stand.token)
        self._caller.start()
        played = []
        for number, one in enumerate(rounds):
            if time.time() - began > seconds:
                break
            played.append(self._play(number, one, log))
            self._tell(_line(number, len(rounds), played[-1]))
        return self._end(log, played, time.time() - began)

    def _play(self, number: int, one: Round, log: Log) -> Played:
        fault = TABLE[one.fault]
        played = Played(fault=fault.name, group=fault.group, does=fault.does, kills=fault.kills)
        parts = self.stand.parts
        ended = {name: part.ended_by_itself for name, part in parts.items()}
        starts = {name: part.starts for name, part in parts.items()}
        self._observer.fall_due(number, DUE_EACH_ROUND)
        since = time.time()
        try:
            fault.strike(self.stand)
            if one.lasts:
                self.stand.stay(one.lasts)
                since = time.time()
        except ImpossibleError as error:
            played.impossible = str(error)
        finally:
            if not played.impossible:
                fault.undo(self.stand)
        if one.lasts and not played.impossible:
            since = time.time()
        played.recovery = self._observer.recovered(since)
        if played.recovery is None:
            played.faults["never whole again"] = 1
        self._check(played, fault, log)
        played.ended = [
            name
            for name, part in parts.items()
            if part.ended_by_itself > ended[name] and name not in (*fault.may_end, "database", "broker")
        ]
        again = {name: part.starts - starts[name] for name, part in parts.items()}
        played.started = {name: count for name, count in again.items() if count}
        if fault.shows and sum(again.values()) < fault.kills:
            played.faults["killed nobody"] = 1
        return played

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────

    def _check(self, played: Played, fault: Fault, log: Log) -> None:
        """What was sent since the last look; waits for what is on its way, and for nothing else."""
        until_message = log.sent(self._from)
        patience = PATIENCE_S / 6 if fault.broker_kill else PATIENCE_S
        stretch = self._waited(lambda: self._stretch(log, until_message), lambda one: one.complete, patience)
        played.acknowledged, played.crossings = stretch.acknowledged, stretch.crossings
        if fault.broker_kill:
            played.lost_by_broker = len(stretch.lost)
            self._lost_by_broker += stretch.lost.tolist()
        found = {
            "lost": 0 if fault.broker_kill else len(stretch.lost),
            "foreign": stretch.foreign,
            "twice": stretch.twice,
            "alarms_missing": stretch.alarms_missing,
            "alarms_extra": stretch.alarms_extra,
        }
        found |= self._waited(self._aftermath, lambda one: not one.faults(), PATIENCE_S).faults()
        found["wall_differs"] = len(self._wall())
        found |= self._calls()
        caller = self._caller
        assert caller is not None
        played.refused = caller.refused[self._refused :]
        found["calls refused"] = len(played.refused)
        self._refused += len(played.refused)
        played.faults |= {name: count for name, count in found.items() if count}
        self._from = until_message

    def _stretch(self, log: Log, until: int) -> Stretch:
        numbers = np.arange(self._from, until)
        return check_stretch(
            log.acked[self._from : until],
            log.ts_ms[self._from : until],
            numbers % log.crossing_every == log.crossing_every - 1,
            first=self._from,
            devices=log.devices,
            connection=self._observer.connection,
        )

    def _calls(self) -> dict[str, int]:
        """What the caller was answered and is not there, or is there more than once; what was refused."""
        assert self._caller is not None
        answered = list(self._caller.answered)
        there = self._waited(lambda: reported(self._observer.connection), lambda _one: True, PATIENCE_S)
        return {
            "calls lost": sum(text not in there for text in answered),
            "calls twice": sum(count - 1 for count in there.values()),
            "calls refused": len(self._caller.refused),
        }

    def _aftermath(self, after_s: float = STEP_PATIENCE_S) -> Aftermath:
        return look(self._observer.connection, steps=STEPS, after_s=after_s)

    def _wall(self) -> list[str]:
        """What is shown otherwise than it is stored, once the screens had time to be told."""
        before = self._waited(
            lambda: open_incidents(self._observer.connection), lambda _one: True, PATIENCE_S
        )
        return self._waited(lambda: self._observer.wall(before), lambda wrong: not wrong, PATIENCE_S)

    def _waited(self, ask: Callable[[], T], good: Callable[[T], bool], patience: float) -> T:
        """The first good answer, or the last one when time is up; the database may be away meanwhile."""
        until = time.monotonic() + patience
        while True:
            try:
                answer = ask()
                if good(answer) or time.monotonic() > until:
                    return answer
            except psycopg.Error:
                self._observer.drop()
                if time.monotonic() > until:
                    raise
            self.stand.stay(0.2)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────

    def _end(self, log: Log, played: list[Played], seconds: float) -> Outcome:
        caller = self._caller
        assert caller is not None
        caller.stop()
        self.stand.stop_load()
        path = self._folder / "published.npz"
        log.save(path)
        self._forgive(path)
        url = self.stand.database
        lost = len(self._lost_by_broker)
        verdict = self._waited(
            lambda: check(path, url),
            lambda one: one.lost <= lost and not one.alarms_missing and not one.alarms_standing,
            PATIENCE_S,
        )
        every = partial(self._aftermath, -PATIENCE_S)  # also of deadlines that are still to come
        aftermath = self._waited(every, lambda one: not one.faults(), PATIENCE_S)
        wall = self._wall()
        audit = json.loads(self.stand.city("audit", "verify", "--json", most=1))
        screens = {"doubled": 0, "gaps": 0}
        for screen in self.stand.screens:
            screens = {name: screens[name] + count for name, count in screen.faults().items()}
        return Outcome(
            rounds=played,
            verdict=verdict,
            aftermath=aftermath,
            audit=audit,
            lost_by_broker=lost,
            screen_faults=screens,
            wall_differs=len(wall),
            calls=self._calls() | {"answered": len(caller.answered), "attempts": caller.attempts},
            call_failures=dict(caller.failures),
            seconds=round(seconds, 1),
            rate=self.stand.shape.rate,
            broker=self.stand.shape.broker,
        )

    def _forgive(self, path: Path) -> None:
        """A crossing that a killed broker lost can raise no alarm; it stays among the lost."""
        with np.load(path) as kept:
            arrays = dict(kept)
        arrays["crossed"][[number for number in self._lost_by_broker if number < len(arrays["crossed"])]] = (
            False
        )
        np.savez(path, **arrays)

    def close(self) -> None:
        """End everything."""
        if self._caller is not None:
            self._caller.stop()
        self._observer.drop()
        self.stand.close()


def _line(number: int, of: int, played: Played) -> str:
    if played.impossible:
        return f"{number + 1}/{of} {played.fault}: not possible here: {played.impossible}"
    lost = f", broker lost {played.lost_by_broker}" if played.lost_by_broker else ""
    wrong = (
        f"  WRONG {played.faults} {played.ended} {played.refused}" if played.faults or played.ended else ""
    )
    more = f"{played.recovery}, started {played.started or 'nothing'}{lost}{wrong}"
    return f"{number + 1}/{of} {played.fault}: whole after {played.whole_s:.1f} s {more}"
