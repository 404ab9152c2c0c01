"""Lists of devices, facilities and buildings as spreadsheets and GeoJSON: into the lines of their CSV files, and out.

Pure. Line numbers stay those of the sheet, and a feature is the line after its number, so that a fault can be told by
the place a person sees; ``Sent`` remembers the way back.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from city import device_files, facility_files
from city.catalogue_sheet import Bounds, SheetError, read_sheet

LISTS: Mapping[str, Sequence[str]] = {
    device_files.FILE: device_files.COLUMNS,
    facility_files.COMPONENTS: facility_files.COMPONENT_COLUMNS,
    facility_files.BUILDINGS: facility_files.BUILDING_COLUMNS,
}
MOST_FEATURES = 250_000
SHEET = Bounds(file=50 * 1024 * 1024, inside=256 * 1024 * 1024, rows=100_000, cell=32_767)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A file under its own name, as the CSV file it stands for; its line minus ``shift`` is row or feature there."""

    name: str
    stands_for: str
    content: bytes
    shift: int = 0
    word: str = "line"


def stands_for(name: str) -> str | None:
    """The CSV file a sheet or a drawing takes the place of: devices.xlsx, buildings.geojson; None = none of ours."""
    stem, _, ending = name.lower().rpartition(".")
    return f"{stem}.csv" if ending in ("xlsx", "geojson") and f"{stem}.csv" in LISTS else None


def as_csv(name: str, content: bytes) -> Sent:
    """The same list as CSV. Raises SheetError."""
    target = stands_for(name) or name
    if name.lower().endswith(".xlsx"):
        table = read_sheet(content, name, SHEET)
        lines = _at_their_rows(table.header, table.rows)
        return Sent(name=name, stands_for=target, content=_csv(lines), word="row")
    header, rows = _features(name, content)
    return Sent(name=name, stands_for=target, content=_csv([header, *rows]), shift=1, word="feature")


def _at_their_rows(
    header: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]]
) -> Iterable[Sequence[str]]:
    yield header
    at = 1
    for number, cells in rows:
        while (at := at + 1) < number:
            yield ()
        filled = max((place for place, cell in enumerate(cells, 1) if cell), default=0)
        yield [" ".join(cell.splitlines()) for cell in cells[:filled]]  # a sheet is wider than its table


def _features(name: str, content: bytes) -> tuple[list[str], list[list[str]]]:
    try:
        collection = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SheetError("不是可读取的GeoJSON文件", f"{name}: is not JSON; export it again") from error
    features = collection.get("features") if isinstance(collection, dict) else None
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        raise SheetError(
            "不是FeatureCollection，请重新导出", f"{name}: is no FeatureCollection; export it as one"
        )
    if len(features) > MOST_FEATURES:
        raise SheetError(
            f"超过{MOST_FEATURES}个要素，请拆分", f"{name}: more than {MOST_FEATURES} features; split it"
        )
    read = [_feature(one) for one in features]
    header = list(dict.fromkeys(key for one in read for key in one))
    return header, [[one.get(key, "") for key in header] for one in read]


def _feature(feature: Mapping[str, Any]) -> dict[str, str]:
    properties = feature.get("properties")
    cells = {
        str(key): _cell(value) for key, value in (properties if isinstance(properties, dict) else {}).items()
    }
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        return cells
    if geometry.get("type") == "Point":
        point = geometry.get("coordinates")
        pair = point[:2] if isinstance(point, list) and len(point) >= 2 else ["?", "?"]
        return cells | {"lon": _cell(pair[0]), "lat": _cell(pair[1])}
    return cells | {"outline": _cell(geometry)}


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ";".join(value)
    text = json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else str(value)
    return " ".join(text.splitlines())


def _csv(lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for line in lines:
        if line:
            writer.writerow(line)
        else:
            text.write("\n")
    return text.getvalue().encode()


# ── out ──────────────────────────────────────────────────────────────────────────────────────────────


def as_xlsx(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """One sheet; texts stay texts, whatever a spreadsheet would make of ``=`` or of a code with zeros in front."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("list")
    sheet.append(list(columns))
    for row in rows:
        cells = []
        for one in row:
            # A sheet keeps sixteen digits of a number: a position with more would come back as another one.
            value = str(one) if isinstance(one, float) and float(f"{one:.16g}") != one else one
            cell = WriteOnlyCell(sheet, value=None if value in (None, "") else value)
            if isinstance(value, str) and value:
                cell.data_type, cell.number_format = "s", "@"
            cells.append(cell)
        sheet.append(cells)
    packed = io.BytesIO()
    book.save(packed)
    return packed.getvalue()


def as_geojson(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A FeatureCollection in WGS 84; positions and outlines are geometry, all else properties."""
    features = []
    for row in rows:
        fields = dict(zip(columns, row, strict=True))
        drawn, lon, lat = fields.pop("outline", None), fields["lon"], fields["lat"]
        geometry = None
        if drawn:
            geometry = json.loads(drawn)
        elif lon is not None:
            geometry = {"type": "Point", "coordinates": [lon, lat]}
        if geometry is None or geometry["type"] == "Point":
            del fields["lon"], fields["lat"]
        features.append({"type": "Feature", "properties": fields, "geometry": geometry})
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, ensure_ascii=False, separators=(",", ":"), default=str).encode()
