"""Faults under load, then the checkers: `python -m bench.chaos --help`; exit code 1 when anything is wrong."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.chaos import plan, report
from bench.chaos.matrix import TABLE
from bench.chaos.outcome import as_json
from bench.chaos.parts import Shape
from bench.chaos.run import Run
from bench.load import ROOT

RESULTS = ROOT / "bench" / "results" / "chaos.json"
PAGE = ROOT / "docs" / "reliability.md"
_LIMIT_S = 3600.0  # no plan but that of hours takes so long
_LAST_S = 1200.0  # standing up, the last round, the end


def main() -> int:
    """Choose a plan, play it, write what came out."""
    given = _parser().parse_args()
    if given.list:
        for fault in TABLE.values():
            print(f"{fault.group:12} {fault.name:32} {fault.does}")
        return 0
    counts = _counts(given)
    limit_s = 3600 * given.hours or 60 * given.minutes or _LIMIT_S
    rounds = plan.rounds(counts)
    if given.hours:
        rounds *= 1 + int(limit_s / len(rounds))  # more than can be played: none takes less than a second
    shape = Shape(
        rate=given.rate,
        broker=given.broker,
        plain=given.plain,
        capacity=int(given.rate * (limit_s + _LAST_S)),
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))  # so that what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="city-chaos-"))
    began = time.monotonic()
    run = Run(shape, folder, lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True))
    try:
        outcome = run.play(rounds, limit_s)
    finally:
        run.close()
        if given.keep:
            print(f"logs in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    table = report.markdown(outcome, taken_at=report.now())
    print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(as_json(outcome), encoding="utf-8")
    if given.write_docs:
        report.write_into(PAGE, table)
    return 0 if outcome.faultless else 1


def _counts(given: argparse.Namespace) -> Mapping[str, int]:
    if given.only:
        unknown = set(given.only) - set(TABLE)
        if unknown:
            raise SystemExit(f"no such fault: {', '.join(sorted(unknown))}; --list names them")
        return dict.fromkeys(given.only, given.times)
    return plan.FULL if given.full or given.hours else plan.EACH if given.each else plan.USUAL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument("--each", action="store_true", help="every fault once, about ten minutes")
    parser.add_argument(
        "--full", action="store_true", help="100 kills and more, and all others; under half an hour"
    )
    parser.add_argument(
        "--hours", type=float, default=0, help="the full plan again and again, for about so long"
    )
    parser.add_argument("--minutes", type=float, default=0, help="begin no round after so many minutes")
    parser.add_argument("--only", nargs="+", metavar="FAULT", help="these faults")
    parser.add_argument("--times", type=int, default=1, help="how often, with --only")
    parser.add_argument("--rate", type=float, default=2000, help="messages a second, QoS 1")
    parser.add_argument("--broker", choices=["mosquitto", "nats"], default="mosquitto")
    parser.add_argument("--plain", action="store_true", help="PostgreSQL of the wheel instead of TimescaleDB")
    parser.add_argument("--keep", action="store_true", help="keep logs and say where they are")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/reliability.md")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
