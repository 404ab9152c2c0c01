"""The duty log (值班日志): which shift an instant belongs to, and the log as a table a spreadsheet opens safely."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from command_centre.flood.defaults import Shift

COLUMNS = ("id", "at", "shift", "kind", "text", "text_en", "actor", "object", "exercise", "refers_to")
HEADINGS = ("编号 id", "时间 at", "班次 shift", "类型 kind", "内容 text", "英文 text_en", "记录人 actor",
            "对象 object", "演练 exercise", "更正 refers_to")  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shift_of(at: datetime, shifts: Sequence[Shift], zone: ZoneInfo) -> str:
    """``2026-11-22 白班 day``: the day on which the shift began, so that a night is one shift across midnight."""
    local = at.astimezone(zone)
    begun = [shift for shift in shifts if shift.begins <= local.time()]
    day, shift = (local.date(), begun[-1]) if begun else (local.date() - timedelta(days=1), shifts[-1])
    return f"{day:%Y-%m-%d} {shift.name} {shift.name_en}"


def as_csv(entries: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> bytes:
    """UTF-8 with a byte order mark, as spreadsheets want it; no cell can act as a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(HEADINGS)
    for entry in entries:
        local = {**entry, "at": entry["at"].astimezone(zone).isoformat(timespec="seconds")}
        writer.writerow([safe(local[column]) for column in COLUMNS])
    return text.getvalue().encode("utf-8-sig")


def safe(value: object) -> str:
    """A cell as text; what a spreadsheet would calculate gets an apostrophe before it (OWASP: CSV injection)."""
    text = "" if value is None else str(value)
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA) else text
