"""Connections that do not wait for ever: a server that is frozen keeps its line open and says nothing.

The server's own limits (statement_timeout) are of no help against that, nor are TCP's: the other kernel still answers.
Leans on two things of psycopg that its documentation does not promise (``Connection.wait`` with a ``timeout`` and
``errors._WaitTimeout``); tests/integration/test_frozen_database.py fails when an upgrade takes them away.
"""

import os
import socket
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.errors import _WaitTimeout

PATIENCE_S = 35.0  # the server itself gives a statement 30 s
CHECK_PATIENCE_S = 3.0  # for the first word of a connection that a pool is about to hand out
_INTERVAL_S = 0.1  # psycopg's own: how often a wait looks for signals
_UNSAID: Any = object()

_lines: WeakSet[Any] = WeakSet()


class PatientConnection(Connection[Any]):
    """A connection whose answers may take ``patience_s``; later it is closed, and OperationalError raised."""

    patience_s = PATIENCE_S

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        _lines.add(self)

    def wait(self, gen: Any, interval: float = _INTERVAL_S, timeout: float | None = _UNSAID) -> Any:
        """As psycopg's, with an end. Who says a timeout, or None, means it: notifications may take their time."""
        if timeout is not _UNSAID:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience_s)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(_silent(self.patience_s)) from None


class PatientAsyncConnection(AsyncConnection[Any]):
    """The same, for loops."""

    patience_s = PATIENCE_S

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        _lines.add(self)

    async def wait(self, gen: Any, interval: float = _INTERVAL_S, timeout: float | None = _UNSAID) -> Any:
        """As psycopg's, with an end."""
        if timeout is not _UNSAID:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, self.patience_s)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(_silent(self.patience_s)) from None


def check(connection: Connection[Any]) -> None:
    """For a pool: raise OperationalError unless the server answers at once."""
    _hurried(connection)
    try:
        was, connection.autocommit = connection.autocommit, True
        connection.execute("")
        connection.autocommit = was
    finally:
        _at_ease(connection)


async def check_async(connection: AsyncConnection[Any]) -> None:
    """The same for a pool of loops."""
    _hurried(connection)
    try:
        was = connection.autocommit
        if not was:
            await connection.set_autocommit(True)
        await connection.execute("")
        if not was:
            await connection.set_autocommit(False)
    finally:
        _at_ease(connection)


def hang_up() -> None:
    """Cut every line of this process, from any thread: whoever waits for an answer gets an error at once.

    For a process that was told to end and would otherwise wait for a database that says nothing.
    """
    for connection in list(_lines):
        with (
            suppress(psycopg.Error, OSError, ValueError),
            socket.socket(fileno=os.dup(connection.pgconn.socket)) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)


def _hurried(connection: Any) -> None:
    connection.patience_s = CHECK_PATIENCE_S


def _at_ease(connection: Any) -> None:
    connection.patience_s = PATIENCE_S


def _silent(seconds: float) -> str:
    return f"the server has said nothing for {seconds:g} s; it is frozen or out of reach"
