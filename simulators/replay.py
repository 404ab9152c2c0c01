"""``city replay``: a recorded series, published as the devices that measured it would.

Nothing is lost on our side: the run ends when every message has its PUBACK. What was left out of the file is
counted, and bad rows are named by line.
"""

import csv
import json
import secrets
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import structlog
from rich.console import Console
from rich.progress import Progress

from simulators.line import Line
from simulators.recorded import (
    EPOCH,
    Choice,
    Reading,
    SeriesError,
    Tally,
    aware,
    columns_of,
    moved,
    read_series,
)
from simulators.signals import stopped_by_signals

log = structlog.get_logger("simulators")

IN_FLIGHT = 2000  # published and not yet acknowledged; then we wait
CONNECT_WITHIN_S = 15
DEFAULT_CELL = "440399001001001"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`speed` 0 = as fast as possible; `stamp_now` = each row carries the time of sending."""

    speed: float
    stamp_now: bool


# Over sixty lines because every option of the command line stands in its signature.
def run(
    path: Path,
    *,
    mqtt_url: str,
    speed: float = 0.0,
    cell: str = DEFAULT_CELL,
    kind: str | None = None,
    device: str | None = None,
    device_column: str | None = None,
    time_column: str | None = None,
    metrics: Mapping[str, str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    origin: datetime | None = None,
    shift: Literal["original", "now"] = "original",
    as_json: bool = False,
    stop: threading.Event | None = None,
) -> int:
    """Publish the rows with start <= time < end, `speed` times as fast as recorded (0 = as fast as possible).

    Columns that are not named are recognised from the header (recorded.KNOWN). `device` names one device for
    all rows. `origin` is when a series in relative seconds began (default: so that its last row is now).
    Times stay as recorded; with `shift="now"` the whole series is moved so that, at speed 0, its last row is
    now, else each row carries the time at which it is sent.

    Returns 0 when all was acknowledged; 1 when no row could be replayed, no broker was there, or it was
    interrupted before; 2 when file, columns or numbers cannot be used.
    """
    if speed < 0 or shift not in ("original", "now"):
        log.error(
            "replay.refused", reason=f"speed = {speed}: must be 0 or more; shift = {shift!r}: original or now"
        )
        return 2
    stop = stop or threading.Event()
    tally = Tally()
    choice = Choice(
        kind=kind,
        device=device,
        device_column=device_column,
        time_column=time_column,
        metrics=metrics,
        start=aware(start),
        end=aware(end),
        origin=aware(origin),
    )
    try:
        columns = columns_of(path, choice)
        readings = read_series(path, columns, choice, tally)
    except (SeriesError, OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        why = str(error) if isinstance(error, SeriesError) else f"{path}: {error}"
        log.error("replay.refused", reason=why)
        return 2
    for named in tally.bad:
        log.warning("replay.bad_row", row=named)
    if not readings:
        log.error("replay.empty", reason=f"{path}: no row to replay", **_counts(tally))
        return 1
    if shift == "now" and speed == 0:
        readings = moved(readings, datetime.now(UTC) - max(r.observed_at for r in readings))
    pace = Pace(speed=speed, stamp_now=shift == "now" and speed > 0)
    return _play(readings, f"city/{cell}/{columns.kind}", pace, mqtt_url, stop, tally, as_json=as_json)


def _play(
    readings: Sequence[Reading],
    prefix: str,
    pace: Pace,
    mqtt_url: str,
    stop: threading.Event,
    tally: Tally,
    *,
    as_json: bool,
) -> int:
    """Publish everything, wait for its acknowledgement, tell; 0 = all of it was acknowledged."""
    line = Line(mqtt_url, f"replay-{secrets.token_hex(4)}")
    try:
        with stopped_by_signals(stop):
            complete = _connected(line, stop)
            if complete:
                _publish(readings, line, prefix, pace, stop)
                complete = _drained(line, 0, stop)
    finally:
        line.close(wait_s=0)
    _tell(tally, line, as_json)
    return 0 if complete and line.acknowledged == len(readings) else 1


def _connected(line: Line, stop: threading.Event) -> bool:
    """Wait for the broker, CONNECT_WITHIN_S at most; False when it is not there or refuses us."""
    deadline = time.monotonic() + CONNECT_WITHIN_S
    while not line.connected:
        if stop.is_set() or line.refusal:
            return False
        if time.monotonic() > deadline:
            log.error(
                "replay.no_broker", remedy=f"nothing answers after {CONNECT_WITHIN_S} s; check CITY_MQTT_URL"
            )
            return False
        time.sleep(0.02)
    return True


def _publish(readings: Sequence[Reading], line: Line, prefix: str, pace: Pace, stop: threading.Event) -> None:
    """Send in order, waiting for each row's moment and never with more than IN_FLIGHT outstanding."""
    first, begun = readings[0].observed_at, time.monotonic()
    seq: dict[str, int] = {}
    with _progress() as progress:
        task = progress.add_task("replay", total=len(readings))
        for number, reading in enumerate(readings):
            if pace.speed > 0:
                moment = begun + (reading.observed_at - first).total_seconds() / pace.speed
                stop.wait(max(0.0, moment - time.monotonic()))
            if not _drained(line, IN_FLIGHT - 1, stop):
                return
            seq[reading.device] = seq.get(reading.device, 0) + 1
            at = datetime.now(UTC) if pace.stamp_now else reading.observed_at
            said = {
                "ts": (at - EPOCH) // timedelta(milliseconds=1),
                "metrics": reading.metrics,
                "seq": seq[reading.device],
            }
            line.publish(f"{prefix}/{reading.device}", json.dumps(said, separators=(",", ":")).encode())
            if pace.speed > 0 or number % 500 == 0:
                progress.update(task, completed=number)
        progress.update(task, completed=len(readings))


def _drained(line: Line, at_most: int, stop: threading.Event) -> bool:
    """Wait until no more than `at_most` are outstanding; False when told to stop or refused by the broker."""
    while line.outstanding > at_most:
        if stop.is_set() or line.refusal:
            return False
        time.sleep(0.002)
    return not stop.is_set()


def _progress() -> Progress:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    return Progress(console=console, disable=not console.is_terminal)


def _tell(tally: Tally, line: Line, as_json: bool) -> None:
    counts = {"sent": line.published, "acknowledged": line.acknowledged} | _counts(tally)
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.out(json.dumps(counts))
    else:
        console.out(", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts.items()))


def _counts(tally: Tally) -> dict[str, int]:
    return {
        "rows": tally.rows,
        "outside": tally.outside,
        "empty_values": tally.empty_values,
        "empty_rows": tally.empty_rows,
        "bad_rows": tally.bad_rows,
    }
