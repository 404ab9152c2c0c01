"""What runs through the logs from a message to a work order, and which call is being answered.

A message becomes traceable when it raises an alarm: from there on ``alarm-17`` stands in the lines of ingest and of the
centre, and 17 in the events of the incident's timeline. docs/logs.md follows one from end to end.

The call's id is a context variable: threads that a route is run in inherit it, and two calls at the same time do not
see each other's.
"""

import re
import secrets
from contextvars import ContextVar

REQUEST = re.compile(
    r"[A-Za-z0-9._-]{8,64}"
)  # what is taken over from a proxy; anything else gets an id of ours

request_id: ContextVar[str] = ContextVar("request_id", default="")


def fresh() -> str:
    """An id nobody has had: 16 hexadecimal digits, 64 bits by lot."""
    return secrets.token_hex(8)


def taken_over(given: str) -> str:
    """The id a trusted proxy gave when it looks like one, else a fresh one."""
    return given if REQUEST.fullmatch(given) else fresh()


def of_alarm(alarm_id: int) -> str:
    """What to search the logs for."""
    return f"alarm-{alarm_id}"
