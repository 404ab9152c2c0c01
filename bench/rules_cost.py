"""What the rules cost at 1,000 to 1,000,000 devices: CPU time of this process, memory. Prints only.

Run as a module from the repository: `python -m bench.rules_cost`.
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

import city
from city.observations import NO_SEQ, Readings
from rules.definitions import Rule, parse
from rules.engine import Decision, DeviceFacts, Engine, Listening

NOW_US = 1_763_750_400_000_000
SMOKE, LEVEL = 1, 2
METRICS = {"smoke": SMOKE, "level": LEVEL}
LOADS = ((500, 0.0), (500, 0.01), (5_000, 0.0), (5_000, 0.01), (5_000, 0.5))  # readings a batch, share beyond


def built_in() -> list[Rule]:
    folder = Path(city.__file__).parent / "defaults" / "rules"
    return [
        rule for path in sorted(folder.glob("*.toml")) for rule in parse(path.read_text("utf-8"), path.name)
    ]


def facts(count: int) -> list[DeviceFacts]:
    """98 % smoke detectors, 2 % water stations, all heard a moment ago."""
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
        )
        for device in range(1, count + 1)
    ]


def batch(rng: np.random.Generator, devices: int, rows: int, second: int, crossing: float) -> Readings:
    """``crossing``: share of the readings beyond their limit."""
    device = rng.integers(1, devices + 1, rows).astype(np.int32)
    water = device % 50 == 0
    beyond = rng.random(rows) < crossing
    value = np.where(water, np.where(beyond, 3.5, 1.0), np.where(beyond, 80.0, 12.0))
    observed = NOW_US + second * 1_000_000 + np.arange(rows)
    return Readings(
        device=device,
        metric=np.where(water, LEVEL, SMOKE).astype(np.int16),
        observed_us=observed,
        received_us=observed,
        value=value,
        seq=np.full(rows, NO_SEQ),
        quality=np.zeros(rows, dtype=np.int16),
    )


def timed(work: Callable[[], Decision]) -> tuple[float, Decision]:
    begin = time.process_time()
    decision = work()
    return time.process_time() - begin, decision


def memory_of(devices: int) -> int:
    """Bytes a device that the engine holds."""
    engine = Engine(built_in(), METRICS)
    register = facts(devices)
    tracemalloc.start()
    engine.know(register)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return round(held / devices)


def measure(
    devices: int, rows: int, crossing: float, batches: int, bytes_per_device: int
) -> dict[str, float]:
    rng = np.random.default_rng(1)
    register = facts(devices)
    engine = Engine(built_in(), METRICS)
    begin = time.process_time()
    engine.know(register)
    know_s = time.process_time() - begin
    spent, transitions = 0.0, 0
    for second in range(batches):
        readings = batch(rng, devices, rows, second, crossing)
        took, decision = timed(lambda readings=readings: engine.decide(readings, [], now_us=NOW_US))  # type: ignore[misc]  # bound now, called now
        begin = time.process_time()
        engine.accept(decision)
        spent += took + time.process_time() - begin
        transitions += len(decision.transitions)
    listened = Listening([(NOW_US, None)])
    ticks = [
        timed(lambda second=second: engine.tick(now_us=NOW_US + second * 1_000_000, listened=listened))[0]  # type: ignore[misc]  # as above
        for second in range(batches, batches + 5)
    ]
    return {
        "devices": devices,
        "rows": rows,
        "crossing": crossing,
        "ns_per_reading": round(spent / (rows * batches) * 1e9),
        "ms_per_batch": round(spent / batches * 1e3, 2),
        "tick_ms": round(sorted(ticks)[2] * 1e3, 2),
        "know_s": round(know_s, 3),
        "bytes_per_device": bytes_per_device,
        "transitions": transitions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--devices", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    options = parser.parse_args()
    results = []
    for devices in options.devices:
        held = memory_of(devices)
        results += [measure(devices, rows, share, options.batches, held) for rows, share in LOADS]
    if options.json:
        print(json.dumps(results))
        return
    print(" ".join(f"{name:>16}" for name in results[0]))
    for result in results:
        print(" ".join(f"{value:>16}" for value in result.values()))


if __name__ == "__main__":
    main()
