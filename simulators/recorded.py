"""A recorded series read from a CSV file: rows of any known form, or of columns that the caller names.

Bytes of a file (plain or gzip) go in; readings in the order of their times come out, with a tally of what was
left out and why.
"""

import csv
import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMED_ROWS = 5  # bad rows that are named one by one; the rest are counted


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns say what. `metrics` maps a column to the metric it is published as.

    `time` is RFC 3339 (without offset: UTC), or seconds since the series' start when `relative`.
    """

    device: str
    time: str
    metrics: Mapping[str, str]
    kind: str
    relative: bool = False


# Recorded forms we know, recognised by their header.
KNOWN = (
    Columns(device="station", time="time", metrics={"level_m": "level", "rain_mm": "rain"}, kind="water"),
    Columns(
        device="session",
        time="t_s",
        metrics={"temperature_c": "temperature", "humidity_pct": "humidity", "eco2_ppm": "eco2"},
        kind="smoke",
        relative=True,
    ),
)


class SeriesError(Exception):
    """A file or column that cannot be replayed: what, which value, remedy."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the caller named; None = as the file's form has it. See `run`."""

    kind: str | None
    device: str | None
    device_column: str | None
    time_column: str | None
    metrics: Mapping[str, str] | None
    start: datetime | None
    end: datetime | None
    origin: datetime | None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One row: time as recorded; metrics that have a value."""

    observed_at: datetime
    device: str
    metrics: dict[str, float]


@dataclass(kw_only=True)
class Tally:
    """What became of the rows. `outside` rows lie before `start` or after `end`."""

    rows: int = 0
    outside: int = 0
    empty_values: int = 0
    empty_rows: int = 0
    bad_rows: int = 0
    bad: list[str] = field(default_factory=list)


def columns_of(path: Path, choice: Choice) -> Columns:
    """The caller's columns, filled up from a known form; raises SeriesError when the header lacks one."""
    header = _header(path)
    known = next(
        (form for form in KNOWN if form.time in header and any(c in header for c in form.metrics)), None
    )
    if known is None and not (choice.time_column and choice.metrics and choice.kind):
        raise SeriesError(
            f"{path}: header {','.join(header)!r} is not one we know; name the time column, the "
            "value columns with their metrics, and the kind"
        )
    form = known or Columns(device="", time="", metrics={}, kind="")
    columns = Columns(
        device=choice.device_column or form.device,
        time=choice.time_column or form.time,
        metrics=choice.metrics or {c: m for c, m in form.metrics.items() if c in header},
        kind=choice.kind or form.kind,
        relative=form.relative and choice.time_column in (None, form.time),
    )
    needed = [columns.time, *columns.metrics] + ([] if choice.device is not None else [columns.device])
    for name in needed:
        if name not in header:
            raise SeriesError(
                f"{path}: column {name!r} is not in the header {','.join(header)!r}; "
                "name another, or one device for all rows"
            )
    return columns


def _header(path: Path) -> list[str]:
    with _opened(path) as file:
        return next(csv.reader(file), [])


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        with path.open("r", encoding="utf-8-sig", newline="") as file:
            yield file


def read_series(path: Path, columns: Columns, choice: Choice, tally: Tally) -> list[Reading]:
    """All rows that can be replayed, in the order of their times; equal times keep the file's order.

    Bad rows are counted and the first few named in the tally. Raises OSError, EOFError, UnicodeDecodeError,
    csv.Error or zlib.error when the file itself cannot be read.
    """
    readings = list(_rows(path, columns, choice.device, tally))
    if columns.relative and readings:
        last = max(reading.observed_at for reading in readings)
        begun = choice.origin or datetime.now(UTC) - (last - EPOCH)
        readings = moved(readings, begun - EPOCH)
    start, end = choice.start, choice.end
    inside = [
        r
        for r in readings
        if (start is None or r.observed_at >= start) and (end is None or r.observed_at < end)
    ]
    tally.outside = len(readings) - len(inside)
    return sorted(inside, key=lambda reading: reading.observed_at)


def _rows(path: Path, columns: Columns, device: str | None, tally: Tally) -> Iterator[Reading]:
    with _opened(path) as file:
        reader = csv.DictReader(file, restval="")
        for row in reader:
            tally.rows += 1
            try:
                reading = _reading(row, columns, device, tally)
            except (ValueError, OverflowError) as error:
                tally.bad_rows += 1
                if len(tally.bad) < NAMED_ROWS:
                    tally.bad.append(f"{path.name} line {reader.line_num}: {error}")
                continue
            if reading is None:
                tally.empty_rows += 1
            else:
                yield reading


def _reading(row: Mapping[str, str], columns: Columns, device: str | None, tally: Tally) -> Reading | None:
    """None when no value is there; raises ValueError naming column and value."""
    code = device if device is not None else row[columns.device].strip()
    if not code or any(c in code for c in "/+#\0"):
        raise ValueError(f"{columns.device} = {code!r}: is not a device code; name one for all rows instead")
    observed_at = _time(row[columns.time].strip(), columns)
    values: dict[str, float] = {}
    for column, metric in columns.metrics.items():
        text = row[column].strip()
        if not text:
            tally.empty_values += 1
            continue
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{column} = {text!r}: is not a number") from None
        if not math.isfinite(value):
            raise ValueError(f"{column} = {text!r}: is not a finite number")
        values[metric] = value
    return Reading(observed_at=observed_at, device=code, metrics=values) if values else None


def _time(text: str, columns: Columns) -> datetime:
    try:
        if columns.relative:
            return EPOCH + timedelta(seconds=float(text))
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        wanted = "seconds" if columns.relative else "a time such as 2013-07-15T12:50:00Z"
        raise ValueError(f"{columns.time} = {text!r}: is not {wanted}") from None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def aware(at: datetime | None) -> datetime | None:
    """A time without offset is UTC, as in the files."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def moved(readings: Sequence[Reading], by: timedelta) -> list[Reading]:
    """The same series, all of it later by `by`."""
    return [replace(reading, observed_at=reading.observed_at + by) for reading in readings]
