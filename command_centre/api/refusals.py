"""An action that was refused, as the problem that its caller reads."""

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from command_centre import actions
from command_centre.api.problem import Problem

Done = TypeVar("Done")
STATUS: Mapping[actions.Code, int] = {
    "not_found": 404,
    "conflict": 409,
    "forbidden": 403,
    "invalid": 422,
    "stale": 412,
}


async def refusable(work: Awaitable[Done]) -> Done:
    """What ``work`` answers; an ActionError becomes a Problem that names the field, when one was wrong."""
    try:
        return await work
    except actions.ActionError as error:
        faults = [{"field": error.field, "remedy": error.reason_en}] if error.field else []
        raise Problem(STATUS[error.code], error.reason_en, error.reason, errors=faults) from error
