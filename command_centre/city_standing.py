"""What is known of each district of a city, and how their lists become one. Pure: the clock is given.

A district that does not answer has no figures: what it said last is old, and nothing at all is not zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from city.flood import LEVELS

Row = Mapping[str, Any]
Why = Literal["", "unreachable", "slow", "moved", "refused", "another"]
WORDS: Mapping[Why, tuple[str, str]] = {
    "": ("", ""),
    "unreachable": ("数据库无法连接", "its database cannot be reached"),
    "slow": ("未在限时内回答", "it did not answer in time"),
    "moved": ("数据库只读：已迁移或正在迁移", "its database is read-only: it was moved, or is being moved"),
    "refused": ("数据库拒绝读取", "its database refuses us"),
    "another": ("数据库属于另一个区", "its database is another district's"),
}
FRESH = timedelta(seconds=10)  # an answer is asked for every three seconds
_FIRST_ID = 0  # ids begin above it
_BEYOND_IDS = 2**63 - 1

Cursor = tuple[datetime, str, int]  # opening, district and id of the last row that was shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """``figures`` are of ``answered_at``, both None before the first answer; ``why`` the last try failed, if it did."""

    figures: Row | None = None
    answered_at: datetime | None = None
    why: Why = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """``silent_since`` is the last answer's instant; None with "silent" = it has not answered since we started."""

    state: Literal["answers", "silent"]
    why: Why
    silent_since: datetime | None
    figures: Row | None


def standing(seen: Seen, now: datetime) -> Standing:
    """Whether what we know of a district may be shown as what is."""
    old = seen.answered_at is None or now - seen.answered_at > FRESH
    if not seen.why and not old:
        return Standing(state="answers", why="", silent_since=None, figures=seen.figures)
    return Standing(state="silent", why=seen.why or "slow", silent_since=seen.answered_at, figures=None)


def summed(each: Iterable[Standing]) -> dict[str, Any]:
    """The figures of those that answer, added; ``answering`` of ``districts`` says how much of the city that is."""
    every = list(each)
    figures = [one.figures for one in every if one.figures is not None]
    classes = {
        name: {
            count: sum(of["classes"].get(name, {}).get(count, 0) for of in figures)
            for count in ("open", "unacknowledged", "overdue")
        }
        for name in ("A", "B", "C")
    }
    return {
        "districts": len(every),
        "answering": len(figures),
        **{
            name: sum(of[name] for of in figures)
            for name in ("devices", "online", "alarms", "stations", "above_warning")
        },
        "classes": classes,
    }


def in_force(own: str | None, each: Mapping[str, Standing]) -> dict[str, Any]:
    """The highest response level of this centre (``own``) and of those that answer, and whose it is.

    ``unknown`` is how many are silent: theirs may be higher, whatever they said last.
    """
    levels = {code: one.figures["response_level"] for code, one in each.items() if one.figures is not None}
    known = [level for level in (own, *levels.values()) if level is not None]
    highest = max(known, key=LEVELS.index, default=None)
    return {
        "level": highest,
        "centre": highest is not None and own == highest,
        "districts": [code for code, level in levels.items() if highest is not None and level == highest],
        "unknown": len(each) - len(levels),
    }


def before(cursor: Cursor | None, district: str) -> tuple[datetime, int] | None:
    """From where one district's list goes on; together they are ordered by instant (newest first), district, id."""
    if cursor is None:
        return None
    at, last, row_id = cursor
    if district == last:
        return at, row_id
    return at, _FIRST_ID if district < last else _BEYOND_IDS


def merged(lists: Mapping[str, Sequence[Row]], limit: int) -> list[dict[str, Any]]:
    """One list in that order, at most ``limit`` rows, each with its ``district``."""
    rows = [{**row, "district": code} for code, of in lists.items() for row in of]
    rows.sort(key=lambda row: (-row["opened_at"].timestamp(), row["district"], -row["id"]))
    return rows[:limit]


def cursor_of(row: Row) -> Cursor:
    """The cursor behind a row of ``merged``."""
    return row["opened_at"], row["district"], row["id"]
