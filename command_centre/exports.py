"""Readings of one device as CSV or Parquet, block by block: neither file is ever whole in memory."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import Connection
from psycopg.rows import TupleRow

from city.errors import CityError
from city.observations import Quality
from city.storage import exports
from city.storage.exports import Reading, Series
from command_centre.flood.duty_log import safe

Format = Literal["csv", "parquet"]
MOST_READINGS = 5_000_000  # of one file
LONGEST = timedelta(days=400)
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
COLUMNS = (
    "device", "metric", "unit", "observed_at", "observed_local", "received_at", "value", "quality", "quality_words",
    "seq",
)  # fmt: skip
_FLAGS = {
    bits: " ".join(str(one.name).lower() for one in Quality if one and bits & one)
    for bits in range(1, 1 + sum(Quality))
} | {0: "good"}


class ExportError(CityError):
    """A file that is not made. ``field`` is the parameter; the remedy stands in both languages."""

    def __init__(self, field: str, value: object, remedy: str, remedy_zh: str) -> None:
        self.field, self.value, self.remedy, self.remedy_zh = field, str(value)[:200], remedy, remedy_zh
        super().__init__(f"{field} = {self.value}: {remedy}")


class NoDeviceError(CityError):
    """There is no device of this code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One file: ``start`` <= observed_at < ``end`` of these series; ``zone`` is the district's."""

    code: str
    series: Sequence[Series]
    start: datetime
    end: datetime
    zone: ZoneInfo

    @property
    def name(self) -> str:
        """Of the file, without its ending: letters, digits, dots and dashes."""
        safe = re.sub(r"[^A-Za-z0-9.-]+", "-", self.code).strip("-.") or "device"
        return f"{safe}_{self.start:%Y%m%dT%H%MZ}_{self.end:%Y%m%dT%H%MZ}"


def plan(
    connection: Connection[TupleRow],
    code: str,
    *,
    start: datetime,
    end: datetime,
    metrics: Sequence[str],
    zone: ZoneInfo,
) -> Wanted:
    """What a file would hold; raises ExportError or NoDeviceError before the first byte rather than after."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if end <= start:
        raise ExportError("to", end.isoformat(), "lies before from; exchange them", "早于 from，请对调")
    if end - start > LONGEST:
        raise ExportError(
            "from",
            start.isoformat(),
            f"the period is longer than {LONGEST.days} days; ask for parts",
            f"时段超过 {LONGEST.days} 天，请分段导出",
        )
    found = exports.metrics_of(connection, code, start, end)
    if found is None:
        raise NoDeviceError(f"device = {code!r}: there is none of this code")
    known = {one.metric for one in found}
    for name in metrics:
        if name not in known:
            had = ", ".join(sorted(known)) or "nothing"
            raise ExportError(
                "metrics",
                name,
                f"was not read in this period; read were {had}",
                f"该时段没有此指标；有：{had}",
            )
    series = [one for one in found if not metrics or one.metric in metrics]
    if exports.count(connection, series, start, end, MOST_READINGS) > MOST_READINGS:
        raise ExportError(
            "from",
            start.isoformat(),
            f"there are more than {MOST_READINGS:,} readings; ask for a shorter period or fewer metrics",
            f"超过 {MOST_READINGS:,} 条数据，请缩短时段或减少指标",
        )
    return Wanted(code=code, series=series, start=start, end=end, zone=zone)


NextBlock = Callable[[Series, datetime | None], Sequence[Reading]]


def _blocks(wanted: Wanted, following: NextBlock) -> Iterator[tuple[Series, Sequence[Reading]]]:
    for series in wanted.series:
        after: datetime | None = None
        while rows := following(series, after):
            yield series, rows
            after = rows[-1][0]


def write(wanted: Wanted, form: Format, following: NextBlock) -> Iterator[bytes]:
    """The file in pieces. ``following`` reads the next block of a series after an instant."""
    blocks = _blocks(wanted, following)
    return _csv(wanted, blocks) if form == "csv" else _parquet(wanted, blocks)


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────


def _csv(wanted: Wanted, blocks: Iterator[tuple[Series, Sequence[Reading]]]) -> Iterator[bytes]:
    """UTF-8 with a byte order mark, as spreadsheets want it; times in ISO 8601 with their offset."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    yield b"\xef\xbb\xbf" + text.getvalue().encode()
    code = safe(wanted.code)
    for series, rows in blocks:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        metric, unit = safe(series.metric), safe(series.unit)
        writer.writerows(
            (
                code,
                metric,
                unit,
                observed.isoformat(),
                observed.astimezone(wanted.zone).isoformat(),
                received.isoformat(),
                repr(value),
                quality,
                _FLAGS[quality],
                seq,
            )
            for observed, received, value, quality, seq in rows
        )
        yield text.getvalue().encode()


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────────────

_WORD = pa.dictionary(pa.int32(), pa.string())


def _schema(zone: ZoneInfo) -> pa.Schema:
    instant = pa.timestamp("us", tz="UTC")
    fields = {
        "device": _WORD,
        "metric": _WORD,
        "unit": _WORD,
        "observed_at": instant,
        "observed_local": pa.timestamp("us", tz=zone.key),
        "received_at": instant,
        "value": pa.float64(),
        "quality": pa.int16(),
        "quality_words": _WORD,
        "seq": pa.int64(),
    }
    return pa.schema(list(fields.items()), metadata={"time_zone": zone.key})


class _Pieces(io.RawIOBase):
    """What a writer has written since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _parquet(wanted: Wanted, blocks: Iterator[tuple[Series, Sequence[Reading]]]) -> Iterator[bytes]:
    """One row group for each block; the footer, which lists them, comes last."""
    schema = _schema(wanted.zone)
    pieces = _Pieces()
    with pq.ParquetWriter(pieces, schema, compression="zstd") as writer:
        for series, rows in blocks:
            observed, received, value, quality, seq = zip(*rows, strict=True)
            at = pa.array(observed, pa.timestamp("us", tz="UTC"))
            columns = [
                _word(wanted.code, len(rows)),
                _word(series.metric, len(rows)),
                _word(series.unit, len(rows)),
                at,
                at.cast(schema.field("observed_local").type),
                pa.array(received, pa.timestamp("us", tz="UTC")),
                pa.array(value, pa.float64()),
                pa.array(quality, pa.int16()),
                pa.array([_FLAGS[bits] for bits in quality], pa.string()).dictionary_encode(),
                pa.array(seq, pa.int64()),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            if piece := pieces.taken():
                yield piece
    yield pieces.taken()


def _word(text: str, times: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), times), [text])
