"""Recorded series in CSV files as a source for back-tests of rules, where no database is.

Files of the forms that ``city replay`` knows (time, station, level_m, …; plain or gzip). Each reading counts as
having arrived when it was observed.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import city
from city.observations import NO_SEQ, Readings
from command_centre.rule_backtest import BacktestError, Block, Ground, Span, Wanted
from rules.fleet import DeviceFacts
from rules.replay import SECOND_US
from simulators.recorded import EPOCH, Choice, Columns, SeriesError, columns_of

_BLOCK_ROWS = 65_536
_NS_IN_US = 1000


class Series:
    """Files read into columns at once: a recorded series fits into memory."""

    def __init__(
        self,
        files: Sequence[Path],
        *,
        kind: str | None = None,
        devices: Sequence[str] | None = None,
        levels: Mapping[str, float] | None = None,
        zone: str = "UTC",
    ) -> None:
        """``levels``: warning, guaranteed, highest in metres for every device; ``devices``: codes, None = all.

        Raises BacktestError naming file, column or row.
        """
        frames = [_read(path, kind) for path in files]
        self._kinds = {code: kind for frame, kind in frames for code in frame["device"].unique()}
        table = pd.concat([frame for frame, _ in frames], ignore_index=True)
        if devices is not None:
            for code in devices:
                if code not in self._kinds:
                    known = ", ".join(sorted(self._kinds)[:10])
                    raise BacktestError(f"device = {code!r}: is not in the files; they have {known}")
            table = table[table["device"].isin(list(devices))]
        # The first of two values at one time is the one a database would keep.
        table = table.drop_duplicates(["device", "metric", "observed_us"], keep="first")
        self._table = table.sort_values("observed_us", kind="stable", ignore_index=True)
        self._codes = sorted(self._table["device"].unique())
        self._metrics = {code: place for place, code in enumerate(sorted(table["metric"].unique()), start=1)}
        self._levels = dict(levels or {})
        self._zone = ZoneInfo(zone)

    def span(self) -> tuple[int, int]:
        """Event time of the first reading, and the second after the last; microseconds since 1970 UTC."""
        observed = self._table["observed_us"]
        if not len(observed):
            raise BacktestError("the files have no reading that was asked for")
        return int(observed.iloc[0]), (int(observed.iloc[-1]) // SECOND_US + 1) * SECOND_US

    def ground(self, span: Span) -> Ground:
        steps = self._steps()
        return Ground(
            facts=[
                DeviceFacts(
                    device_id=number,
                    code=code,
                    kind=self._kinds[code],
                    expected_interval_s=steps.get(code),
                    in_service=True,
                    warning_m=self._levels.get("warning"),
                    guaranteed_m=self._levels.get("guaranteed"),
                    highest_m=self._levels.get("highest"),
                    known_from_us=span.start_us,
                    last_heard_us=None,
                )
                for number, code in enumerate(self._codes, start=1)
            ],
            metrics=_known_metrics() | self._metrics,
            zone=self._zone,
            listened=None,
        )

    def _steps(self) -> dict[str, int]:
        """The median step of each device: what it is expected to keep, for silence."""
        times = self._table[["device", "observed_us"]].drop_duplicates()
        step = times.groupby("device")["observed_us"].diff()
        medians = step.groupby(times["device"]).median() / SECOND_US
        return {str(code): max(1, round(value)) for code, value in medians.dropna().items()}

    def estimate(self, wanted: Wanted, ground: Ground) -> int:
        return len(self._table)

    def blocks(self, wanted: Wanted, ground: Ground, *, sort: bool) -> Iterator[Block]:
        observed = self._table["observed_us"].to_numpy(np.int64)
        begin, end = np.searchsorted(observed, [wanted.span.start_us, wanted.span.to_us]).tolist()
        numbers = {code: number for number, code in enumerate(self._codes, start=1)}
        device = self._table["device"].map(numbers).to_numpy(np.int32)
        metric = self._table["metric"].map(self._metrics).to_numpy(np.int16)
        value = self._table["value"].to_numpy(np.float64)
        for first in range(begin, end, _BLOCK_ROWS):
            part = slice(first, min(first + _BLOCK_ROWS, end))
            yield _readings(device[part], metric[part], observed[part], value[part]), []


def _readings(
    device: NDArray[np.int32],
    metric: NDArray[np.int16],
    observed_us: NDArray[np.int64],
    value: NDArray[np.float64],
) -> Readings:
    return Readings(
        device=device,
        metric=metric,
        observed_us=observed_us,
        received_us=observed_us,
        value=value,
        seq=np.full(len(device), NO_SEQ, dtype=np.int64),
        quality=np.zeros(len(device), dtype=np.int16),
    )


def _read(path: Path, kind: str | None) -> tuple[pd.DataFrame, str]:
    """Columns device, metric, observed_us, value of one file, and the kind of its devices."""
    choice = Choice(
        kind=kind,
        device=None,
        device_column=None,
        time_column=None,
        metrics=None,
        start=None,
        end=None,
        origin=None,
    )
    try:
        columns = columns_of(path, choice)
        names = [columns.device, columns.time, *columns.metrics]
        raw = pd.read_csv(path, usecols=names, dtype=str, keep_default_na=False)
    except SeriesError as error:
        raise BacktestError(str(error)) from error
    except (OSError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise BacktestError(f"{path}: cannot be read ({error}); give a CSV file, plain or gzip") from error
    parts = []
    observed = _times(path, raw[columns.time], columns)
    for column, metric in columns.metrics.items():
        value = pd.to_numeric(raw[column].str.strip().replace("", "nan"), errors="coerce")
        written = raw[column].str.strip() != ""
        _refuse(path, column, raw[column], written & value.isna() & (raw[column].str.lower() != "nan"))
        good = np.isfinite(value.to_numpy(np.float64))
        parts.append(
            pd.DataFrame(
                {
                    "device": raw[columns.device].str.strip()[good],
                    "metric": metric,
                    "observed_us": observed[good],
                    "value": value[good],
                }
            )
        )
    return pd.concat(parts, ignore_index=True), columns.kind


def _times(path: Path, column: pd.Series, columns: Columns) -> NDArray[np.int64]:
    """Microseconds since 1970 UTC; a relative series begins in 1970."""
    if columns.relative:
        seconds = pd.to_numeric(column, errors="coerce")
        _refuse(path, columns.time, column, seconds.isna())
        return np.round(seconds.to_numpy(np.float64) * SECOND_US).astype(np.int64) + round(EPOCH.timestamp())
    times = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
    _refuse(path, columns.time, column, times.isna())
    return np.asarray(times.dt.as_unit("us").astype("int64"), dtype=np.int64)


def _refuse(path: Path, name: str, column: pd.Series, bad: pd.Series) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        raise BacktestError(
            f"{path} line {row + 2}: {name} = {column.iloc[row]!r}: cannot be read; correct it or leave it empty"
        )


def _known_metrics() -> dict[str, int]:
    """Built-in metrics by numbers beyond those of the files, so that a rule on one of them only finds no reading."""
    kinds = tomllib.loads((Path(city.__file__).parent / "defaults" / "kinds.toml").read_text("utf-8"))
    return {code: 10_000 + place for place, code in enumerate(sorted(kinds.get("metric", {})))}
