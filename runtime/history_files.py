"""Readings of one UTC day as a Parquet file that explains itself: codes instead of ids, and nothing left out.

Sorted by device, metric and time, so that each column repeats itself: instants as differences, arrival as microseconds
after the observation, values by dictionary where a sensor has few of them. zstd (RFC 8878) squeezes the rest.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from city.errors import CityError
from city.observations import NO_SEQ, Readings

SCHEMA = pa.schema(
    [
        ("device", pa.dictionary(pa.int32(), pa.string())),
        ("metric", pa.dictionary(pa.int32(), pa.string())),
        ("observed_at", pa.timestamp("us", tz="UTC")),
        ("received_after_us", pa.int64()),
        ("value", pa.float64()),
        ("quality", pa.int16()),  # bits of city.observations.Quality
        ("seq", pa.int64()),
    ]
)
_DIFFERENCES = dict.fromkeys(("observed_at", "received_after_us", "seq"), "DELTA_BINARY_PACKED")
_LEVEL = 9  # of zstd; more takes minutes a day and gains a hundredth


class ArchiveError(CityError):
    """A file that is not what was written, or cannot be."""


def file_name(day: date) -> str:
    """Of a day's file."""
    return f"readings-{day.isoformat()}.parquet"


class DayFile:
    """A file being written; ``readings`` counts, ``content`` is a digest of the columns to compare with."""

    def __init__(self, path: Path, devices: Mapping[int, str], metrics: Mapping[int, str]) -> None:
        self._part = path.with_suffix(".part")
        self._path = path
        self._devices, self._metrics = devices, metrics
        self._digest = hashlib.sha256()
        self.readings = 0

    def write(self, blocks: Iterator[Readings]) -> tuple[int, str]:
        """All blocks, each a row group; bytes and SHA-256 of the file, which was read back and compared.

        Raises ArchiveError when what is read back is not what was given. Without readings there is no file: (0, "").
        """
        writer: pq.ParquetWriter | None = None
        try:
            for block in blocks:
                if writer is None:
                    writer = pq.ParquetWriter(
                        self._part, SCHEMA, compression="zstd", compression_level=_LEVEL,
                        use_dictionary=["device", "metric", "value", "quality"], column_encoding=_DIFFERENCES,
                    )  # fmt: skip
                writer.write_table(self._table(block))
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            return 0, ""
        self._compare()
        return self._publish()

    def _table(self, block: Readings) -> pa.Table:
        self.readings += len(block)
        _feed(self._digest, block)
        return pa.table(
            {
                "device": _named(block.device, self._devices),
                "metric": _named(block.metric, self._metrics),
                "observed_at": pa.array(block.observed_us).cast(pa.timestamp("us", tz="UTC")),
                "received_after_us": block.received_us - block.observed_us,
                "value": block.value,
                "quality": block.quality,
                "seq": pa.array(block.seq, mask=block.seq == NO_SEQ),
            },
            schema=SCHEMA,
        )

    def _compare(self) -> None:
        digest = hashlib.sha256()
        for block in read(self._part, _turned(self._devices), _turned(self._metrics)):
            _feed(digest, block)
        if digest.digest() != self._digest.digest():
            raise ArchiveError(
                f"{self._part}: what was read back is not what was written; nothing was removed"
            )

    def _publish(self) -> tuple[int, str]:
        with self._part.open("rb") as written:
            os.fsync(written.fileno())
        said = self._part.stat().st_size, sha256(self._part)
        self._part.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return said


def read(path: Path, device_ids: Mapping[str, int], metric_ids: Mapping[str, int]) -> Iterator[Readings]:
    """The file's readings with ids of this database; those of devices or metrics it does not know are left out."""
    with pq.ParquetFile(path) as opened:
        for group in range(opened.num_row_groups):
            table = opened.read_row_group(group)
            observed = table["observed_at"].cast(pa.int64()).to_numpy()
            readings = Readings(
                device=_numbered(table["device"], device_ids).astype(np.int32),
                metric=_numbered(table["metric"], metric_ids).astype(np.int16),
                observed_us=observed,
                received_us=observed + table["received_after_us"].to_numpy(),
                value=table["value"].to_numpy(),
                seq=table["seq"].fill_null(NO_SEQ).to_numpy(),
                quality=table["quality"].to_numpy(),
            )
            yield readings.take((readings.device >= 0) & (readings.metric >= 0))


def of_device(path: Path, code: str) -> pa.Table:
    """The file's rows of one device; row groups that cannot have it are passed over."""
    return pq.read_table(path, filters=[("device", "==", code)])


def sha256(path: Path) -> str:
    """Of the whole file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _named(ids: Any, codes: Mapping[int, str]) -> pa.DictionaryArray:
    """Codes of ids; one that the register lost keeps its number, so that its readings are not lost with it."""
    known, place = np.unique(ids, return_inverse=True)
    words = [codes.get(one, f"#{one}") for one in known.tolist()]
    return pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), pa.array(words, pa.string()))


def _turned(codes: Mapping[int, str]) -> "_Ids":
    return _Ids({code: number for number, code in codes.items()})


class _Ids(dict[str, int]):
    """By code, and by the number that stands for a lost one."""

    def __missing__(self, code: str) -> int:
        return int(code[1:]) if code.startswith("#") else -1


def _numbered(column: pa.ChunkedArray, ids: Mapping[str, int]) -> Any:
    words = column.unify_dictionaries().combine_chunks()
    numbers = [
        ids[word] if word in ids or isinstance(ids, _Ids) else -1 for word in words.dictionary.to_pylist()
    ]
    return np.array(numbers, dtype=np.int64)[words.indices.to_numpy()]


def _feed(digest: Any, block: Readings) -> None:
    for column in (
        block.device,
        block.metric,
        block.observed_us,
        block.received_us,
        block.value,
        block.seq,
        block.quality,
    ):
        digest.update(np.ascontiguousarray(column).tobytes())
