"""QR labels: what a phone reads, and how a label and a sheet of them are drawn. Pure.

A label is 60 x 30 mm: the code at 24 mm (about 1 mm a module, read from half a metre on a dirty cover), error
correction Q, since a manhole cover is walked on.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import segno

WIDTH, HEIGHT = 60.0, 30.0  # mm
COLUMNS, LINES = 3, 9  # on a sheet of A4
_MARGIN = 13.5  # mm at the sheet's head


def address(base: str, sort: str, code: str) -> str:
    """What the label says."""
    return f"{base.rstrip('/')}/i/{sort}/{quote(code, safe='')}"


def label(base: str, sort: str, code: str, name: str, under: str = "") -> str:
    """One label as an SVG of its own size."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}mm" height="{HEIGHT}mm" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{_drawn(base, sort, code, name, under)}</svg>'
    )


def sheet(base: str, sort: str, things: Sequence[Mapping[str, Any]], page: int) -> str:
    """One A4 page of labels as an SVG; ``page`` counts from 0."""
    there = things[page * COLUMNS * LINES : (page + 1) * COLUMNS * LINES]
    left = (210 - COLUMNS * WIDTH) / 2
    drawn = "".join(
        f'<g transform="translate({left + n % COLUMNS * WIDTH:g} {_MARGIN + n // COLUMNS * HEIGHT:g})">'
        f"{_drawn(base, sort, str(one['code']), str(one['name']), str(one['address']))}</g>"
        for n, one in enumerate(there)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="210mm" height="297mm" viewBox="0 0 210 297">'
        f'<rect width="210" height="297" fill="#fff"/>{drawn}</svg>'
    )


def pages(things: int) -> int:
    """How many sheets that takes."""
    return -(-things // (COLUMNS * LINES))


def _drawn(base: str, sort: str, code: str, name: str, under: str) -> str:
    made = segno.make(address(base, sort, code), error="q", micro=False)
    size = made.symbol_size(border=4)[0]
    drawn = BytesIO()
    made.save(
        drawn, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=4, svgclass=None, lineclass=None
    )
    inner = drawn.getvalue().decode()
    inner = inner[inner.index(">") + 1 : inner.rindex("</svg>")]
    lines = [*_wrapped(code, 14, 3), *_wrapped(name, 9, 2), *_wrapped(under, 9, 1)]
    words = "".join(
        f'<text x="31" y="{6 + 4 * n:g}" font-size="{3.2 if n else 3.4}" '
        f'font-family="sans-serif" fill="#000">{escape(line)}</text>'
        for n, line in enumerate(lines[:6])
    )
    return (
        f'<rect x="0.25" y="0.25" width="{WIDTH - 0.5}" height="{HEIGHT - 0.5}" rx="1.5" fill="#fff" '
        f'stroke="#999" stroke-width="0.2"/><g transform="translate(1 1) scale({28 / size:.4f})">{inner}</g>{words}'
    )


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """Cut where a line is full; Chinese letters are two wide, and the last line says when there is more."""
    lines, line, wide = [], "", 0.0
    for letter in text:
        step = 1.0 if ord(letter) > 0x2E7F else 0.62
        if wide + step > width * (1.0 if width < 12 else 0.62):
            lines.append(line)
            line, wide = "", 0.0
        line, wide = line + letter, wide + step
    lines += [line] if line else []
    return lines[:most] if len(lines) <= most else [*lines[: most - 1], lines[most - 1][:-1] + "…"]
