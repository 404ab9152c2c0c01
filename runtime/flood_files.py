"""Records of levels and of what goes with them, read from CSV for a flood back-test.

A levels file has `time`, `station`, `level_m`, and may have `rain_mm` and other numeric columns; a context file has
`time` and any numeric columns, and may have `station`. Times are ISO 8601; without an offset they are UTC.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from city.errors import CityError
from command_centre.flood.forecast.roles import guess_role
from command_centre.flood.forecast.series import Role, Series

MISSING_WORDS = {"", "na", "n/a", "nan", "null", "none", "-", "--", "---", "m", "x", "missing", "缺测", "无"}
FEWEST_NUMBERS = 0.5  # of a column's filled cells; below that it is a text


@dataclass(frozen=True, kw_only=True)
class Record:
    """The station's level, every other series found, and what a person should know about the file."""

    level: Series
    others: tuple[Series, ...]
    notes: tuple[str, ...]


def read(levels: Path, station: str, context: Path | None) -> Record:
    """CityError naming file, column or row, value and remedy when a file cannot be used."""
    notes: list[str] = []
    table = _table(levels)
    for column in ("station", "level_m"):
        if column not in table.columns:
            raise CityError(
                f"{levels}: column {column} is missing (found: {', '.join(table.columns)}); add it or rename one"
            )
    table["station"] = table["station"].fillna("").str.strip()
    names = sorted(set(table["station"]) - {""})
    if station not in names:
        raise CityError(f"{levels}: no station {station}; the file has {', '.join(names) or 'none'}")
    numbers = {
        name: _numbers(table[name], levels, name, notes, must=name == "level_m")
        for name in table.columns
        if name not in {"time", "station"}
    }
    times = _times(table["time"], levels)
    mine = (table["station"] == station).to_numpy()
    level = _series(station, times[mine], _needed(numbers["level_m"])[mine], "level")
    if not np.isfinite(level.value).any():
        raise CityError(
            f"{levels}: column level_m has no number for station {station}; choose another station"
        )
    others = []
    for name in names:
        rows = (table["station"] == name).to_numpy()
        for column, value in numbers.items():
            if value is None or (name == station and column == "level_m"):
                continue
            label = column if name == station else f"{name} {column}"
            role: Role = "level_upstream" if column == "level_m" else guess_role(column, value[rows])
            others.append(_series(label, times[rows], value[rows], role))
    if context is not None:
        others += _context(context, notes)
    return Record(level=level, others=tuple(_different(others)), notes=tuple(notes))


def _context(path: Path, notes: list[str]) -> list[Series]:
    table = _table(path)
    times = _times(table["time"], path)
    found = []
    stations = table.pop("station").fillna("").str.strip() if "station" in table.columns else None
    for column in table.columns:
        if column == "time":
            continue
        value = _numbers(table[column], path, column, notes, must=False)
        if value is None:
            continue
        if stations is None:
            found.append(_series(column, times, value, guess_role(column, value)))
            continue
        for name in sorted(set(stations)):
            rows = (stations == name).to_numpy()
            found.append(
                _series(f"{name} {column}", times[rows], value[rows], guess_role(column, value[rows]))
            )
    if not found:
        notes.append(f"{path}: no column with numbers, the context is not used")
    return found


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except FileNotFoundError:
        raise CityError(f"{path}: no such file; give the path of a .csv or .csv.gz") from None
    except (OSError, UnicodeDecodeError, EOFError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise CityError(
            f"{path}: cannot be read as CSV ({str(error).strip()}); write UTF-8 text, commas"
        ) from None
    table.columns = [str(name).strip() for name in table.columns]
    if "time" not in table.columns:
        raise CityError(
            f"{path}: column time is missing (found: {', '.join(table.columns)}); add or rename it"
        )
    doubled = table.columns[table.columns.duplicated()]
    if len(doubled):
        raise CityError(f"{path}: column {doubled[0]} stands twice; rename one")
    if not len(table):
        raise CityError(f"{path}: has a header and no rows; give a record")
    return table


def _times(column: "pd.Series[str]", path: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Microseconds UTC."""
    text = column.str.strip()
    parsed = pd.to_datetime(text, utc=True, errors="coerce", format="ISO8601")
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise CityError(
            f"{path}: row {row + 2}, column time = {column.iloc[row]!r}: write ISO 8601, as 2013-07-15T12:50:00Z"
        )
    naive = parsed.dt.tz_localize(None).to_numpy()
    return naive.astype("datetime64[us]").astype(np.int64)


def _numbers(
    column: "pd.Series[str]", path: Path, name: str, notes: list[str], *, must: bool
) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """The column as numbers, NaN for empty cells; None for a column of text."""
    text = column.fillna("").str.strip()
    value = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    value[~np.isfinite(value)] = np.nan
    filled = ~text.str.lower().isin(MISSING_WORDS).to_numpy()
    wrong = filled & np.isnan(value)
    if wrong.sum() > FEWEST_NUMBERS * max(1, filled.sum()):
        row = int(np.argmax(wrong))
        if must:
            raise CityError(
                f"{path}: row {row + 2}, column {name} = {text.iloc[row]!r}: is not a number; write metres"
            )
        notes.append(f"{path.name}: column {name} is text and not used")
        return None
    if wrong.any():
        row = int(np.argmax(wrong))
        notes.append(
            f"{path.name}: column {name}: {int(wrong.sum())} cells are no numbers and count as missing, "
            f"the first in row {row + 2} ({text.iloc[row]!r})"
        )
    return value


def _needed(
    value: np.ndarray[tuple[int], np.dtype[np.float64]] | None,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    assert value is not None  # noqa: S101 - `must` has raised otherwise
    return value


def _series(name: str, time_us: object, value: object, role: Role) -> Series:
    return Series(name=name, time_us=np.asarray(time_us), value=np.asarray(value), role=role)


def _different(series: list[Series]) -> list[Series]:
    """Each record once: the rain of a district often stands beside every station."""
    kept: list[Series] = []
    for one in series:
        same = any(
            len(one.value) == len(other.value)
            and np.array_equal(one.time_us, other.time_us)
            and np.array_equal(one.value, other.value, equal_nan=True)
            for other in kept
        )
        if not same:
            kept.append(one)
    return kept
