"""How every process of ours writes its log: to standard error, one event a line.

Readable lines on a terminal, JSON otherwise, so that a machine can collect them. Libraries that use the
standard library's logging (uvicorn, paho) go through the same door, which takes out secrets and personal data.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from city.redaction import redacted

# Chatty at "info" about every request or statement; what they warn of still arrives.
QUIET = ("httpx", "httpcore", "uvicorn.access", "websockets", "yoyo", "asyncio")


def configure(process: str, level: str = "info", form: Literal["console", "json"] | None = None) -> None:
    """Send structlog and the standard library's logging to standard error.

    ``process`` (ingest, centre, …) stands in every line; ``form`` None means console on a terminal, else
    JSON. Times are UTC. May be called again: the last call holds.
    """
    threshold = getattr(logging, level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _name_process(process),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a logger made at import must obey a later configure
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,  # as text, so that the next one sees it
                _redact,
                *_endings(form),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    return redacted(event)


def _name_process(process: str) -> Any:
    def add(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["process"] = process
        return event

    return add


def _endings(form: Literal["console", "json"] | None) -> list[Any]:
    """The last processors: coloured columns, or one JSON object with the traceback inside."""
    if form is None:
        form = "console" if sys.stderr.isatty() else "json"
    if form == "console":
        # Never with the local variables of a traceback, which hold whatever was being worked on.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [
        structlog.processors.EventRenamer("event"),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
