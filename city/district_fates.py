"""What would become of every row of a district's files: new, changed, the same, gone, or refused and why.

Pure: the files as they were read are held against the district as it writes its own files.
"""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from city.device_files import FILE as DEVICES
from city.device_files import KEPT_WHEN_EMPTY
from city.district_files import DistrictFiles
from city.district_source import Fault
from city.outlines import square_metres
from city.sheet_cells import unguarded

Fate = Literal["new", "changed", "same", "gone", "refused"]
Texts = Mapping[str, str]

_ROW = re.compile(r"^(?P<file>\S+) (?:line|feature) (?P<row>\d+)")
_UNSHOWN = {"where", "id"}
_MOST_WORDS = 200  # characters of a value that are repeated

# What each file holds, as the reader names it. Files that are not here have no code of their own: there whole rows are
# held against whole rows.
_NOUNS: Mapping[str, str] = {
    "areas.geojson": "areas",
    "devices.csv": "devices",
    "stations.csv": "stations",
    "units.csv": "units",
    "categories.csv": "categories",
    "components.csv": "components",
    "buildings.csv": "buildings",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFate:
    """One row of one file. ``row`` is its line or feature, None for what the file leaves out.

    ``changes`` are field, before and after, as people read them.
    """

    file: str
    row: int | None
    key: str
    name: str
    fate: Fate
    changes: tuple[tuple[str, str, str], ...] = ()
    faults: tuple[Fault, ...] = ()


def fates(
    sent: Texts, files: DistrictFiles, standing_texts: Texts, standing: DistrictFiles, faults: Sequence[Fault]
) -> list[RowFate]:
    """The rows of the files that were ``sent``, in their order, what is gone at the end of each file.

    ``files`` is how they were read, ``standing`` the district as it is, both with everything that was not sent.
    """
    found: list[RowFate] = []
    for name, text in sent.items():
        if name in _NOUNS:
            wanted = _by_key(getattr(files, _NOUNS[name]))
            known = _by_key(getattr(standing, _NOUNS[name]))
            rows = _keyed(name, wanted, known, _places(wanted) or rows_of(name, text))
        elif name.endswith(".csv"):
            rows = _whole_rows(name, text, standing_texts.get(name, ""))
        else:
            same = standing_texts.get(name, "").strip() == text.strip()
            fate: Fate = "same" if same else "changed" if name in standing_texts else "new"
            rows = [RowFate(file=name, row=None, key=name, name="", fate=fate)]
        found += _with_faults(name, rows, [one for one in faults if _file_of(one, sent) == name])
    unplaced = [one for one in faults if _file_of(one, sent) is None]
    return found + [_refused(one.where.partition(" ")[0], None, "", [one]) for one in unplaced]


def _places(entries: Mapping[str, Any]) -> dict[str, int]:
    """Line or feature by key, of what knows where it stands."""
    found = {}
    for key, entry in entries.items():
        words = getattr(entry, "where", "").split(" ", 3)
        if len(words) < 3:
            return {}
        found[key] = int(words[2])
    return found


def rows_of(name: str, text: str) -> dict[str, int]:
    """The line of each code of a CSV file, the number of each area of a GeoJSON file; what is broken has none."""
    if name.endswith(".geojson"):
        try:
            features = json.loads(text)["features"]
            keys = [
                f"{one['properties'].get('layer')} {one['properties'].get('code')}"
                if isinstance(one, dict)
                else ""
                for one in features
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}
        return {key: number for number, key in enumerate(keys, 1)}
    return {row[0][1]: line for line, row in _lines(text, ["code"]) if row}


def _lines(text: str, first: Sequence[str] = ()) -> Iterable[tuple[int, list[tuple[str, str]]]]:
    """Line number and (column, cell) of each line that is not empty, the columns ``first`` in front."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        header = [column.strip() for column in next(reader, [])]
        before = reader.line_num
        for cells in reader:
            line, before = before + 1, reader.line_num
            row = [(column, unguarded(cell.strip())) for column, cell in zip(header, cells, strict=False)]
            if any(cell for _, cell in row):
                yield line, sorted(row, key=lambda pair: pair[0] not in first) if first else row
    except csv.Error:
        return


def _by_key(entries: Sequence[Any]) -> dict[str, Any]:
    if entries and hasattr(entries[0], "layer"):
        return {f"{entry.layer} {entry.code}": entry for entry in entries}
    return {str(entry.code): entry for entry in entries}


def _fields_of(entries: Iterable[Any]) -> tuple[str, ...]:
    """What is compared, in order."""
    first = next(iter(entries), None)
    return () if first is None else tuple(f.name for f in dataclasses.fields(first) if f.name not in _UNSHOWN)


def _keyed(
    name: str, wanted: Mapping[str, Any], known: Mapping[str, Any], rows: Mapping[str, int]
) -> list[RowFate]:
    """Rows by their keys. Most rows of a long list are as they were: only what differs is looked at by field."""
    found = []
    names = _fields_of(wanted.values())
    kept = KEPT_WHEN_EMPTY if name == DEVICES else frozenset()
    for key, entry in wanted.items():
        before = known.get(key)
        changes = () if before is None else _changes(before, entry, names, kept)
        fate: Fate = "new" if before is None else "changed" if changes else "same"
        found.append(
            RowFate(
                file=name,
                row=rows.get(key),
                key=key,
                name=getattr(entry, "name", ""),
                fate=fate,
                changes=changes,
            )
        )
    gone = [
        RowFate(file=name, row=None, key=key, name=getattr(entry, "name", ""), fate="gone")
        for key, entry in known.items()
        if key not in wanted
    ]
    return found + gone


def _changes(
    before: Any, after: Any, names: Sequence[str], kept: Collection[str]
) -> tuple[tuple[str, str, str], ...]:
    found: list[tuple[str, str, str]] = []
    for name in names:
        was, now = getattr(before, name), getattr(after, name)
        if was == now or (not now and name in kept):
            continue
        if dataclasses.is_dataclass(now) and not isinstance(now, type):  # the levels of a station
            found += _changes(was, now, _fields_of([now]), kept)
        else:
            found.append((name, _words(name, was), _words(name, now)))
    return tuple(found)


def _words(field: str, value: object) -> str:
    """As people read it; of an outline its size and its corners, since nobody reads a hundred positions."""
    if field in ("geometry", "outline"):
        if not isinstance(value, Mapping):
            return ""
        corners = len(re.findall(r"\[-?[0-9.]", json.dumps(value["coordinates"])))
        return f"{square_metres(value):,.0f} m², {corners}"
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _MOST_WORDS else text[:_MOST_WORDS] + "…"


def _whole_rows(name: str, text: str, standing: str) -> list[RowFate]:
    """A row that stands there word for word is the same; a changed one is a new one, and one that is gone."""
    known = {_said(row) for _, row in _lines(standing)}
    found, seen = [], set()
    for line, row in _lines(text):
        said = _said(row)
        seen.add(said)
        fate: Fate = "same" if said in known else "new"
        found.append(RowFate(file=name, row=line, key=_title(row), name="", fate=fate))
    gone = [(row, _said(row)) for _, row in _lines(standing)]
    return found + [
        RowFate(file=name, row=None, key=_title(row), name="", fate="gone")
        for row, said in gone
        if said not in seen
    ]


def _said(row: Sequence[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset((column, cell) for column, cell in row if cell)


def _title(row: Sequence[tuple[str, str]]) -> str:
    return _words("", " · ".join(cell for _, cell in row if cell))


# ── faults to their rows ─────────────────────────────────────────────────────────────────────────────


def _file_of(fault: Fault, sent: Collection[str]) -> str | None:
    name = fault.where.partition(" ")[0].rstrip(":")
    return name if name in sent else None


def _with_faults(name: str, rows: list[RowFate], faults: Sequence[Fault]) -> list[RowFate]:
    by_row: dict[int, list[Fault]] = {}
    by_key: dict[str, list[Fault]] = {}
    left: list[Fault] = []
    keys = {one.key for one in rows}
    for fault in faults:
        rest = fault.where.partition(" ")[2]
        if match := _ROW.match(fault.where):
            by_row.setdefault(int(match["row"]), []).append(fault)
        elif rest in keys:
            by_key.setdefault(rest, []).append(fault)
        else:
            left.append(fault)
    done = []
    for one in rows:
        own = [*(by_row.pop(one.row, []) if one.row is not None else []), *by_key.pop(one.key, [])]
        done.append(dataclasses.replace(one, fate="refused", faults=tuple(own)) if own else one)
    # Rows so broken that no noun came of them.
    done += [_refused(name, row, "", own) for row, own in by_row.items()]
    return sorted(done, key=_place) + [_refused(name, None, "", [one]) for one in left]


def _place(one: RowFate) -> tuple[bool, int]:
    return one.row is None, one.row or 0


def _refused(name: str, row: int | None, key: str, faults: Sequence[Fault]) -> RowFate:
    return RowFate(file=name, row=row, key=key, name="", fate="refused", faults=tuple(faults))
