"""Reading a person's own files and saying everything that is wrong with them at once.

Text goes in; rows and tables come out, and every fault becomes one line naming file, place, value and remedy.
"""

import csv
import io
import math
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from city.errors import CityError
from city.sheet_cells import unguarded

MOST_KEPT = 20_000  # a list of 200,000 devices may have one bad row in ten
MOST_SHOWN = 50  # a person mends fifty lines, then looks again
_SHOWN_VALUE = 60  # characters of a wrong value that are repeated
LONGEST_CELL = 2_000  # characters; longer is a quotation mark that was never closed
_WHOLE = re.compile(r"-?[0-9]{1,10}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class DistrictFilesError(CityError):
    """One line for each fault, at most fifty of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that is wrong. ``where`` is a file with its line, ``column`` empty when it is about the whole line."""

    where: str
    what: str
    remedy: str
    column: str = ""


class Faults:
    """Collects what is wrong, so that a person mends a file once and not forty times.

    The lines are cut at fifty, as a terminal shows them; ``entries`` are up to ``MOST_KEPT``, for a table.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0
        self.entries: list[Fault] = []

    def add(self, where: str, what: str, remedy: str) -> None:
        """Keep one fault: where it is, what is wrong, what to do."""
        self._keep(Fault(where=where, what=what, remedy=remedy), f"{where}: {what}; {remedy}")

    def value(self, where: str, name: str, value: object, remedy: str) -> None:
        """Keep one fault of a named value."""
        what = f"{name} = {shown(value)}"
        self._keep(Fault(where=where, what=what, remedy=remedy, column=name), f"{where}: {what}; {remedy}")

    def line(self, text: str) -> None:
        """Keep one fault that another reader has put into words."""
        self._keep(Fault(where=text.partition(":")[0], what=text.partition(": ")[2] or text, remedy=""), text)

    def _keep(self, fault: Fault, text: str) -> None:
        self._count += 1
        if len(self._lines) < MOST_SHOWN:
            self._lines.append(text)
        if len(self.entries) < MOST_KEPT:
            self.entries.append(fault)

    def raise_if_any(self) -> None:
        """Raises DistrictFilesError with every line kept."""
        if self._count == 0:
            return
        left = self._count - len(self._lines)
        more = [f"… and {left} more faults"] if left else []
        raise DistrictFilesError("\n".join(self._lines + more))

    def __len__(self) -> int:
        return self._count


def shown(value: object) -> str:
    """A wrong value as people read it, cut when it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_VALUE else text[:_SHOWN_VALUE] + "…"


def decoded(name: str, content: bytes, faults: Faults) -> str | None:
    """The file's text; a byte order mark, as spreadsheets write it, is taken off."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        faults.add(
            f"{name} line {line}", "is not UTF-8", "save the file as UTF-8 (“CSV UTF-8” in a spreadsheet)"
        )
        return None
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        faults.add(f"{name} line {line}", "holds a NUL character", "save the file as plain UTF-8 text")
        return None
    return text


def parsed_toml(name: str, text: str, faults: Faults) -> dict[str, object] | None:
    """The file as a table, or None after a syntax error."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        faults.add(name, f"is not TOML ({error})", "correct the line it names")
        return None


class TomlTable:
    """One table of a TOML file, whose unknown keys are faults (a key misspelt is a key ignored)."""

    def __init__(self, where: str, values: object, known: Collection[str], faults: Faults) -> None:
        self._where = where
        self._faults = faults
        self._values: Mapping[str, object] = values if isinstance(values, dict) else {}
        if not isinstance(values, dict):
            faults.add(where, "is no table", f"write its keys below [{where.rsplit(' ', 1)[-1]}]")
        for key in self._values:
            if key not in known:
                faults.add(where, f"unknown key {key!r}", f"known are {', '.join(sorted(known))}")

    def text(self, key: str, *, required: bool = True) -> str:
        """A text; "" when it is absent and may be."""
        value = self._values.get(key, "")
        if not isinstance(value, str):
            self._faults.value(self._where, key, value, "write a text in quotation marks")
            return ""
        if required and not value.strip():
            self._faults.add(self._where, f"{key} is missing", "add it")
        return value.strip()

    def positive(self, key: str) -> int | None:
        """A whole number above 0, or None when absent."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            self._faults.value(self._where, key, value, "write a whole number above 0")
            return None
        return value


class Row:
    """One line of a CSV file. Readers return None for an empty cell and note a fault for a wrong one."""

    __slots__ = ("_cells", "_faults", "_places", "where")

    def __init__(self, where: str, places: Mapping[str, int], cells: Sequence[str], faults: Faults) -> None:
        """``places`` says at which of the ``cells`` a column stands; it is shared by all lines of a file."""
        self.where = where
        self._places = places
        self._cells = cells
        self._faults = faults

    def text(self, column: str) -> str:
        """The cell's text, "" for an empty one."""
        place = self._places.get(column)
        return "" if place is None or place >= len(self._cells) else self._cells[place]

    def texts(self, columns: Sequence[str]) -> list[str]:
        """Several cells at once, for lists of a hundred thousand lines."""
        cells, places, end = self._cells, self._places, len(self._cells)
        return [cells[place] if (place := places.get(column, end)) < end else "" for column in columns]

    def required(self, column: str) -> str:
        """The cell's text; an empty one is a fault."""
        text = self.text(column)
        if not text:
            self.fault(column, "fill it in")
        return text

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """A finite number between two bounds, both included."""
        text = self.text(column)
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            self.fault(column, "write a number such as 3.42")
            return None
        number = float(text)
        if not math.isfinite(number) or not low <= number <= high:
            self.fault(
                column, f"write a number from {low:g} to {high:g}" if math.isfinite(low) else "write a number"
            )
            return None
        return number

    def whole(self, column: str, low: int = 0) -> int | None:
        """A whole number from ``low`` on."""
        text = self.text(column)
        if not text:
            return None
        if not (_WHOLE.fullmatch(text) and low <= int(text) < 2**31):
            self.fault(column, f"write a whole number from {low} on")
            return None
        return int(text)

    def one_of(self, column: str, options: Sequence[str]) -> str | None:
        """One of a few words."""
        text = self.text(column)
        if text and text not in options:
            self.fault(column, f"write one of {', '.join(options)}")
            return None
        return text or None

    def fault(self, column: str, remedy: str) -> None:
        """Note that this cell is wrong."""
        self._faults.value(self.where, column, self.text(column), remedy)


def csv_rows(
    name: str,
    text: str,
    required: Sequence[str],
    optional: Sequence[str],
    faults: Faults,
    *,
    longest: int = LONGEST_CELL,
) -> Iterator[Row]:
    """The lines of a CSV file with a header; empty lines are passed over, cells are stripped.

    Unknown and missing columns and lines of the wrong length are faults; a wrong header yields no rows. A cell holds
    at most ``longest`` characters.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [column.strip() for column in next(reader, [])]
        if not _header_is_right(name, header, required, optional, faults):
            return
        places = {column: place for place, column in enumerate(header)}
        before = reader.line_num
        for line in reader:
            where = f"{name} line {before + 1}"
            before = reader.line_num
            cells = [unguarded(cell.strip()) for cell in line]
            if not any(cells):
                continue
            if len(cells) > len(header) or max(map(len, cells)) > longest:
                faults.add(
                    where,
                    f"{len(cells)} cells for {len(header)} columns, or one of {max(map(len, cells))} letters",
                    "put texts that hold a comma into quotation marks, and close them",
                )
                continue
            yield Row(where, places, cells, faults)
    except csv.Error as error:
        faults.add(f"{name} line {reader.line_num}", f"is not CSV ({error})", "save it as CSV UTF-8")


def _header_is_right(
    name: str, header: Sequence[str], required: Sequence[str], optional: Sequence[str], faults: Faults
) -> bool:
    before = len(faults)
    for column in required:
        if column not in header:
            faults.add(f"{name} line 1", f"column {column!r} is missing", "add it to the header")
    for position, column in enumerate(header):
        if column not in required and column not in optional:
            known = ", ".join([*required, *optional])
            faults.add(f"{name} line 1", f"unknown column {shown(column)}", f"known are {known}")
        elif column in header[:position]:
            faults.add(f"{name} line 1", f"column {column!r} stands there twice", "keep one")
    return len(faults) == before
