"""What the rules cost at 1,000 to 1,000,000 devices: CPU time of this process, memory. Prints only.

Run as a module from the repository: `python -m bench.rules_cost`. ``--rules twenty`` (the default) has twenty rules
of every kind that ingest evaluates; ``--rules built-in`` what a district without rules of its own has.
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

import city
from city.observations import NO_SEQ, Readings
from rules.definitions import Rule, parse
from rules.engine import DeviceFacts, Engine, Listening

T = TypeVar("T")
NOW_US = 1_763_750_400_000_000
STEP_US = 300_000_000  # each device reports every five minutes
LOADS = ((500, 0.0), (500, 0.01), (5_000, 0.0), (5_000, 0.01), (5_000, 0.5))  # readings a batch, share beyond


def rules_of(name: str) -> list[Rule]:
    if name == "twenty":
        path = Path(__file__).with_name("rules_twenty.toml")
        return parse(path.read_text("utf-8"), path.name)
    folder = Path(city.__file__).parent / "defaults" / "rules"
    return [
        rule for path in sorted(folder.glob("*.toml")) for rule in parse(path.read_text("utf-8"), path.name)
    ]


def metrics_of(rules: list[Rule]) -> dict[str, int]:
    codes = sorted({code for rule in rules for code in rule.metrics()})
    return {code: number for number, code in enumerate(codes, start=1)}


def facts(count: int) -> list[DeviceFacts]:
    """98 % smoke detectors, 2 % water stations, all heard a moment ago; one in ten in the north."""
    return [
        DeviceFacts(
            device_id=device,
            kind="water" if device % 50 == 0 else "smoke",
            expected_interval_s=300,
            in_service=True,
            warning_m=3.0,
            guaranteed_m=4.0,
            highest_m=5.0,
            known_from_us=NOW_US,
            last_heard_us=NOW_US,
            places={"street": "north" if device % 10 == 0 else "south"},
        )
        for device in range(1, count + 1)
    ]


class Feed:
    """Batches of a fleet that reports in turn, every device each five minutes; water rises and falls slowly."""

    def __init__(self, devices: int, rows: int, crossing: float, metrics: dict[str, int]) -> None:
        """``crossing``: share of the readings beyond their limit."""
        self._rng = np.random.default_rng(1)
        self._devices, self._rows, self._crossing, self._metrics = devices, rows, crossing, metrics
        self._told = 0

    def batch(self) -> Readings:
        turn = np.arange(self._told, self._told + self._rows)
        self._told += self._rows
        device = (turn % self._devices + 1).astype(np.int32)
        observed = NOW_US + turn * STEP_US // self._devices
        water = device % 50 == 0
        beyond = self._rng.random(self._rows) < self._crossing
        tide = 1.0 + 0.3 * np.sin(observed / 7.1e9 + device) + 0.01 * self._rng.integers(0, 2, self._rows)
        value = np.where(water, np.where(beyond, 3.5, tide), np.where(beyond, 80.0, 12.0))
        return Readings(
            device=device,
            metric=np.where(water, self._metrics["level"], self._metrics["smoke"]).astype(np.int16),
            observed_us=observed,
            received_us=observed,
            value=np.round(value, 2).astype(np.float64),
            seq=np.full(self._rows, NO_SEQ),
            quality=np.zeros(self._rows, dtype=np.int16),
        )


class Watch:
    """CPU seconds of this process by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], T]) -> T:
        begin = time.process_time()
        result = work()
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - begin
        return result


def memory_of(devices: int, rules: list[Rule]) -> int:
    """Bytes a device that the engine holds once every device has reported."""
    metrics = metrics_of(rules)
    engine = Engine(rules, metrics)
    register = facts(devices)
    feed = Feed(devices, min(devices, 5_000), 0.0, metrics)
    tracemalloc.start()
    engine.know(register)
    for _ in range(-(-devices // min(devices, 5_000))):
        readings = engine.judge(feed.batch())
        engine.accept(engine.decide(readings, [], now_us=NOW_US))
    del readings
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return round(held / devices)


def measure(devices: int, rows: int, crossing: float, batches: int, rules: list[Rule]) -> dict[str, float]:
    watch = Watch()
    metrics = metrics_of(rules)
    engine = Engine(rules, metrics)
    register = facts(devices)
    watch.time("know", lambda: engine.know(register))
    feed = Feed(devices, rows, crossing, metrics)
    transitions = 0
    for place in range(2 * batches):
        if place == batches:
            watch.spent = {"know": watch.spent["know"]}  # the first half fills the windows
        told = feed.batch()
        readings = watch.time("judge", lambda told=told: engine.judge(told))  # type: ignore[misc]  # bound now, called now; here and below
        decision = watch.time("decide", lambda readings=readings: engine.decide(readings, [], now_us=NOW_US))  # type: ignore[misc]
        watch.time("accept", lambda decision=decision: engine.accept(decision))  # type: ignore[misc]
        transitions += len(decision.transitions)
    now_us = int(readings.received_us[-1])
    listened = Listening([(NOW_US, None)])
    watch.time("tick", lambda: engine.tick(now_us=now_us, listened=listened))
    per_reading = {name: watch.spent[name] / (rows * batches) * 1e9 for name in ("judge", "decide", "accept")}
    return {
        "devices": devices,
        "rows": rows,
        "crossing": crossing,
        "ns_a_reading": round(sum(per_reading.values())),
        **{f"{name}_ns": round(value) for name, value in per_reading.items()},
        "tick_ms": round(watch.spent["tick"] * 1e3, 1),
        "know_s": round(watch.spent["know"], 2),
        "transitions": transitions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--rules", choices=["twenty", "built-in"], default="twenty")
    parser.add_argument("--devices", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    options = parser.parse_args()
    rules = rules_of(options.rules)
    results: list[dict[str, float]] = []
    for devices in options.devices:
        held = memory_of(devices, rules)
        for rows, share in LOADS:
            result = measure(devices, rows, share, options.batches, rules)
            results.append(result | {"bytes_a_device": held})
    if options.json:
        print(json.dumps(results))
        return
    print(f"{len(rules)} rules")
    print(" ".join(f"{name:>14}" for name in results[0]))
    for result in results:
        print(" ".join(f"{value:>14}" for value in result.values()))


if __name__ == "__main__":
    main()
