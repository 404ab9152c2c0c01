"""Cursors: where a list goes on, opaque to the caller, readable to us."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query

from command_centre.api.problem import field_problem

Row = TypeVar("Row")
Limit = Annotated[int, Query(ge=1, le=1000, description="rows in one page")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before")]


def write(keys: Sequence[Any]) -> str:
    """A cursor from the sort keys of a page's last row."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(keys))).decode().rstrip("=")


def read(cursor: str | None, shape: type[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """The sort keys in a cursor, typed as ``shape``; raises Problem 422 for one that we did not write."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        keys: tuple[Any, ...] = msgspec.json.decode(raw, type=shape)
        return keys
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise field_problem(
            "cursor", cursor, "use `next` of the page before, unchanged", "请原样使用上一页的 next"
        ) from error


def page(rows: Sequence[Row], limit: int, keys: Callable[[Row], Sequence[Any]]) -> dict[str, Any]:
    """``{"items", "next"}`` of at most ``limit`` rows; callers ask the database for one row more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return {"items": shown, "next": write(keys(shown[-1])) if more and shown else None}
