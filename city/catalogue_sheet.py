"""A CSV or XLSX file of a catalogue into the cells of a table, with bounds on everything a hostile one could blow up.

Bytes go in. Raises SheetError, in both languages, for a file that cannot be read at all; nothing here touches disk
or network. XLSX is read with openpyxl, its XML by defusedxml, after a look at what the archive says it holds.
"""

import csv
import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import defusedxml.ElementTree as SafeXml
from defusedxml.common import DefusedXmlException
from openpyxl.reader.excel import ExcelReader

from city.catalogue_reading import MOST_ROWS, Table
from city.errors import CityError
from city.sheet_cells import unguarded

LARGEST_FILE = 5 * 1024 * 1024  # bytes as sent
_MOST_PARTS = 500
_MOST_COLUMNS = 64
_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What a table may hold: bytes as sent, bytes of all parts of an archive together, rows, characters of a cell."""

    file: int = LARGEST_FILE
    inside: int = 32 * 1024 * 1024
    rows: int = MOST_ROWS
    cell: int = 2000


CATALOGUE = Bounds()


class SheetError(CityError):
    """A file that is no table. ``reason_zh`` says the same in Chinese."""

    def __init__(self, reason_zh: str, reason: str) -> None:
        super().__init__(reason)
        self.reason_zh = reason_zh


def read_sheet(content: bytes, name: str, bounds: Bounds = CATALOGUE) -> Table:
    """The first sheet with anything in it, or the CSV text; what it is shows in the first bytes, not in its name."""
    if len(content) > bounds.file:
        most = bounds.file // 1024 // 1024
        raise SheetError(
            f"文件超过{most} MB，请拆分后导入",
            f"{name}: is larger than {most} MB; split it and import the parts",
        )
    xlsx = content.startswith(_MAGIC)
    rows = _xlsx_rows(content, name, bounds) if xlsx else _csv_rows(content, name, bounds)
    filled = ((number, cells) for number, cells in rows if any(cells))
    _, header = next(filled, (0, []))
    if not header:
        raise SheetError("文件是空的，首行应为列名", f"{name}: is empty; the first row names the columns")
    listed: list[tuple[int, list[str]]] = []
    for number, cells in filled:
        if len(listed) == bounds.rows:
            zh, en = (
                f"超过{bounds.rows}行，请拆分后导入",
                f"more than {bounds.rows} rows; split it and import the parts",
            )
            raise SheetError(zh, f"{name}: {en}")
        listed.append((number, cells))
    return Table(name=name, header=_without_tail(header), rows=listed)


def _without_tail(header: list[str]) -> list[str]:
    while header and not header[-1]:
        header = header[:-1]
    return header


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────


def _csv_rows(content: bytes, name: str, bounds: Bounds) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(_decoded(content, name), newline=""))
    before = 0
    try:
        for line in reader:
            number, before = before + 1, reader.line_num
            cells = [unguarded(cell.strip()) for cell in line]
            if len(cells) > _MOST_COLUMNS or any(len(cell) > bounds.cell for cell in cells):
                zh = f"第{number}行列数过多或文字过长，含逗号的文字请加引号并成对"
                raise SheetError(
                    zh, f"{name} row {number}: too many cells, or one too long; close quotation marks"
                )
            yield number, cells
    except csv.Error as error:
        zh = f"第{reader.line_num}行不是有效的CSV"
        raise SheetError(zh, f"{name} row {reader.line_num}: is not CSV ({error}); save it as CSV") from error


def _decoded(content: bytes, name: str) -> str:
    """UTF-8, else GB 18030, in which Chinese spreadsheets save their CSV."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    zh, en = "不是UTF-8或GB 18030文本，请另存为CSV UTF-8或XLSX", "is neither UTF-8 nor GB 18030 text"
    raise SheetError(zh, f"{name}: {en}; save it as CSV UTF-8 or as XLSX")


# ── XLSX ─────────────────────────────────────────────────────────────────────────────────────────────


def _xlsx_rows(content: bytes, name: str, bounds: Bounds) -> Iterator[tuple[int, list[str]]]:
    _check_archive(content, name, bounds)
    try:
        reader = ExcelReader(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        reader.read()
        for sheet in reader.wb.worksheets:
            rows = list(_sheet_rows(sheet, name, bounds))
            if rows:
                yield from rows
                return
    except SheetError:
        raise
    except Exception as error:  # openpyxl answers damage with whatever it stumbles over
        raise _damaged(name) from error


def _sheet_rows(sheet: Any, name: str, bounds: Bounds) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what the file says of its size may be wrong
    before: Any = None
    for number, row in enumerate(sheet.iter_rows(max_col=_MOST_COLUMNS), 1):
        gap, before = (
            row is before,
            row,
        )  # openpyxl fills gaps with one and the same empty row, up to a million
        if not gap and any(cell.value is not None for cell in row):
            if number > bounds.rows + 1:  # before the memory of a list a hundred times as long is gone
                raise SheetError(
                    f"超过{bounds.rows}行，请拆分后导入",
                    f"{name}: more than {bounds.rows} rows; split it and import the parts",
                )
            yield number, [_shown(cell, number, name, bounds.cell) for cell in row]


def _shown(cell: Any, row: int, name: str, longest: int) -> str:
    """The cell as a person typed it: 30 and not 30.0."""
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "e":
        zh = f"第{row}行有计算错误 {value}，请改为填写的值"
        raise SheetError(zh, f"{name} row {row}: a formula gives {value}; write the value itself")
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    text = value.isoformat() if isinstance(value, date | datetime | time) else str(value)
    if len(text) > longest:
        raise SheetError(f"第{row}行文字过长", f"{name} row {row}: a cell has more than {longest} characters")
    return text.strip()


def _check_archive(content: bytes, name: str, bounds: Bounds) -> None:
    """Refuse archives that unpack to far more than a catalogue, and XML with a document type.

    zipfile never unpacks more of a part than the archive says, so what it says can be trusted as a bound.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            if len(parts) > _MOST_PARTS or sum(part.file_size for part in parts) > bounds.inside:
                zh = "展开后过大，请另存为CSV或减少内容"
                raise SheetError(zh, f"{name}: unpacks to too much; save it as CSV, or with less in it")
            for part in parts:
                if part.flag_bits & 1:
                    zh, en = "有密码保护，请取消后再导入", "is protected by a password; save it without"
                    raise SheetError(zh, f"{name}: {en}")
                if part.filename.endswith((".xml", ".rels")):
                    _check_xml(archive, part)
    except DefusedXmlException as error:
        zh, en = (
            "XML中含有文档类型或实体，已拒绝",
            "its XML declares a document type or entities; save it anew",
        )
        raise SheetError(zh, f"{name}: {en}") from error
    except (zipfile.BadZipFile, SafeXml.ParseError, RuntimeError, EOFError, OSError) as error:
        raise _damaged(name) from error


class _Unread:
    """What a parser builds when only its refusals are of interest."""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Begins an element."""

    def end(self, tag: str) -> None:
        """Ends one."""

    def data(self, text: str) -> None:
        """Text between."""

    def close(self) -> None:
        """All read."""


def _check_xml(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Read it once with a parser that stops at a document type, which openpyxl's own may not be."""
    parser = SafeXml.DefusedXMLParser(target=_Unread(), forbid_dtd=True)
    with archive.open(part) as stream:
        while chunk := stream.read(64 * 1024):
            parser.feed(chunk)
    parser.close()


def _damaged(name: str) -> SheetError:
    return SheetError(
        "不是可读取的XLSX文件，请重新另存", f"{name}: is not a readable XLSX file; save it again"
    )
