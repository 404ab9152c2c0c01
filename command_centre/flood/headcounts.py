"""The streets' list of people where water comes, read from a CSV file: cell, to_move, note."""

import csv
import io
from dataclasses import dataclass

from city.errors import CityError
from command_centre.flood.evacuation import MOST_PEOPLE

COLUMNS = ("cell", "to_move", "note")
MOST_ROWS = 20_000
LONGEST_NOTE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Headcount:
    """How many people of a cell must be moved when water comes."""

    cell: str
    to_move: int
    note: str = ""


class HeadcountsError(CityError):
    """What is wrong with the file, one line a fault, at most twenty."""


def read(content: bytes) -> list[Headcount]:
    """Raises HeadcountsError with line, value and remedy of every fault."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeadcountsError("file: is not UTF-8; save it as “CSV UTF-8”") from error
    faults: list[str] = []
    rows: dict[str, Headcount] = {}
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        unknown = [name for name in reader.fieldnames or () if name not in COLUMNS]
        missing = [name for name in COLUMNS[:2] if name not in (reader.fieldnames or ())]
        if unknown or missing:
            raise HeadcountsError(
                f"line 1: columns {', '.join(unknown + missing)} unknown or missing; use cell,to_move,note"
            )
        for row in reader:
            if reader.line_num > MOST_ROWS:
                raise HeadcountsError(f"file: has more than {MOST_ROWS} lines; send it in parts")
            _row(row, reader.line_num, rows, faults)
    except csv.Error as error:
        raise HeadcountsError(f"file: is no CSV ({error}); use cell,to_move,note") from error
    if faults:
        raise HeadcountsError("\n".join(faults[:20]))
    return list(rows.values())


def _row(row: dict[str, str], line: int, rows: dict[str, Headcount], faults: list[str]) -> None:
    cell, number, note = ((row.get(name) or "").strip() for name in COLUMNS)
    if None in row:
        faults.append(f"line {line}: has more values than columns; quote a note with a comma in it")
    elif not cell:
        faults.append(f"line {line}: cell is empty; give a code of /api/cells")
    elif cell in rows:
        faults.append(f"line {line}: cell = {cell[:100]!r} stands twice; add the numbers up")
    elif not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) <= MOST_PEOPLE):
        faults.append(f"line {line}: to_move = {number[:20]!r}: must be a whole number of people, 0 or more")
    elif len(note) > LONGEST_NOTE or any(not part.isprintable() for part in note):
        faults.append(f"line {line}: note: at most {LONGEST_NOTE} characters, none of control")
    else:
        rows[cell] = Headcount(cell=cell, to_move=int(number), note=note)
