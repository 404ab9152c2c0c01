"""An action that was refused, as the problem that its caller reads."""

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

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
        raise refusal(error) from error


def refusal(error: actions.ActionError) -> Problem:
    """A conflict says how the incident stands, and what the same person may do now instead."""
    more: dict[str, Any] = {
        "errors": [{"field": error.field, "remedy": error.reason_en}] if error.field else []
    }
    if error.state:
        more |= {"state": error.state, "version": error.version, "allowed": list(error.allowed)}
    return Problem(STATUS[error.code], error.reason_en, error.reason, **more)
