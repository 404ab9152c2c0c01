"""Which call is being answered, for the log's lines, the audit and whatever a call starts.

A context variable: threads that a route is run in inherit it, two calls at the same time do not see each other's.
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
