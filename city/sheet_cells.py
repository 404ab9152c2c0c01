"""Cells of CSV that a spreadsheet must not run, written with an apostrophe before them and read without it. Pure.

A name may come from a device or a stranger; ``=HYPERLINK(…)`` in it would run at the desk of whoever opens the export
(OWASP: CSV injection). What is written here and read again is as it was.
"""

RUNS = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "＝",
    "＋",
    "－",
    "＠",
)  # full-width ones run in some East Asian versions


def guarded(value: object) -> object:
    """A text that begins like a formula gets an apostrophe; numbers, also negative ones, stay as they are."""
    if not isinstance(value, str) or not _runs(value) or _number(value):
        return value
    return f"'{value}"


def unguarded(cell: str) -> str:
    """Without the apostrophe that ``guarded`` put there."""
    return cell[1:] if cell.startswith("'") and _runs(cell) else cell


def _runs(text: str) -> bool:
    return text.lstrip("' ").startswith(RUNS)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii()
