"""The audit on a real database: only ever appended, sealed by whoever comes first, proved, searched and erased."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection

from city import tracing
from city.audit_chain import Fault
from city.storage import audit
from city.storage.changes import open_connection
from tests.servers.postgres import PostgresServer

T = TypeVar("T")


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def town(url: str) -> str:
    """The database with nothing in its audit."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM audit")
        connection.execute("UPDATE audit_head SET seq = 0, hash = decode(repeat('00', 32), 'hex')")
    return url


def meddled(url: str, statement: str) -> None:
    """What somebody with the keys of the database can do, the triggers out of the way."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement.encode())


def done(url: str, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
    async def _do() -> T:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(_do())


def sealed(url: str) -> int:
    async def work(connection: AsyncConnection[Any]) -> int:
        async with connection.transaction():
            return await audit.seal_some(connection)

    return done(url, work)


def proved(url: str, waits_s: float = 300) -> tuple[int, Fault | None]:
    return done(url, lambda connection: audit.prove(connection, waits_s=waits_s))


def filled(url: str, count: int = 6) -> None:
    with psycopg.connect(url) as connection:
        for number in range(count):
            audit.record(
                connection,
                actor=f"user:{number % 2}",
                action="device.claimed",
                subject=f"device:D{number}",
                reason="因检修",
                detail={"before": {"height": 1.5}, "after": {"height": number}},
            )
    assert sealed(url) == count


def test_rows_are_only_ever_appended(town: str) -> None:
    filled(town)
    for statement in (
        "UPDATE audit SET actor = 'user:9'",
        "UPDATE audit SET reason = ''",
        "UPDATE audit SET hash = said",
        "UPDATE audit SET seq = seq + 100",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "UPDATE audit_head SET seq = 1",
        "DELETE FROM audit_head",
        "UPDATE audit SET erased_at = now(), salt = NULL",  # erased, and still says something
    ):
        with psycopg.connect(town) as connection, pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute(statement.encode())
    assert proved(town) == (6, None)


@pytest.mark.parametrize(
    ("statement", "seq", "what"),
    [
        ("UPDATE audit SET actor = 'user:9' WHERE seq = 3", 3, "changed"),
        ("UPDATE audit SET reason = 'another' WHERE seq = 4", 4, "words"),
        ("""UPDATE audit SET detail = '{"after": {}}' WHERE seq = 2""", 2, "words"),
        ("DELETE FROM audit WHERE seq = 2", 2, "removed"),
        ("DELETE FROM audit WHERE seq > 4", 5, "removed"),
        ("DELETE FROM audit", 1, "removed"),
        (
            "INSERT INTO audit (actor, action, object, seq, salt, said, hash)"
            " SELECT actor, action, object, 7, salt, said, hash FROM audit WHERE seq = 6",
            7,
            "changed",
        ),
        ("UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)", 6, "added"),
        ("UPDATE audit_head SET hash = decode(repeat('11', 32), 'hex')", 7, "head"),
    ],
)
def test_what_was_meddled_with_is_named(town: str, statement: str, seq: int, what: str) -> None:
    filled(town)
    meddled(town, statement)
    _, fault = proved(town)
    assert fault is not None
    assert (fault.seq, fault.what) == (seq, what)


def test_what_nobody_seals_is_said(town: str) -> None:
    with psycopg.connect(town) as connection:
        audit.record(connection, actor="system", action="test.done", subject="nothing")
    assert proved(town) == (0, None)
    _, fault = proved(town, waits_s=-1)
    assert fault is not None
    assert fault.what == "unsealed"


def test_a_row_that_commits_late_is_sealed_late_and_nobody_waits_for_it(town: str) -> None:
    with psycopg.connect(town) as slow, psycopg.connect(town) as quick:
        audit.record(slow, actor="user:1", action="test.slow", subject="one")
        audit.record(quick, actor="user:2", action="test.quick", subject="two")
        quick.commit()
        assert sealed(town) == 1
    assert sealed(town) == 1
    with psycopg.connect(town) as connection:
        order = connection.execute("SELECT action FROM audit ORDER BY seq").fetchall()
    assert order == [("test.quick",), ("test.slow",)]
    assert proved(town) == (2, None)


def test_of_two_centres_one_seals_and_the_other_does_not_wait(town: str) -> None:
    with psycopg.connect(town) as other:
        audit.record(other, actor="user:1", action="test.done", subject="one")
        other.commit()
        other.execute("SELECT 1 FROM audit_head FOR UPDATE")
        assert sealed(town) == 0
    assert sealed(town) == 1


def test_words_are_erased_on_the_record_and_the_chain_proves(town: str) -> None:
    filled(town)

    async def work(connection: AsyncConnection[Any]) -> list[bool]:
        rows = await audit.find(connection, audit.Sought(object="device:D2"), before=None, limit=5)
        return [
            await audit.erase(connection, rows[0].id, actor="user:1", reason="asked to") for _ in range(2)
        ]

    assert done(town, work) == [True, False]
    assert sealed(town) == 1
    assert proved(town) == (7, None)
    with psycopg.connect(town) as connection:
        held = str(connection.execute("SELECT audit::text FROM audit WHERE seq = 3").fetchall())
    assert "D2" not in held
    assert "检修" not in held


def test_rows_are_found_by_who_what_and_whereof(town: str) -> None:
    token = tracing.request_id.set("call-0001")
    try:
        filled(town)
    finally:
        tracing.request_id.reset(token)

    def objects(**wanted: Any) -> list[str]:
        before = wanted.pop("before", None)
        rows = done(
            town,
            lambda connection: audit.find(connection, audit.Sought(**wanted), before=before, limit=3),
        )
        assert all(row.request == "call-0001" and row.by == row.actor for row in rows)
        return [row.object for row in rows]

    assert objects() == ["device:D5", "device:D4", "device:D3"]
    assert objects(actor="user:0") == ["device:D4", "device:D2", "device:D0"]
    assert objects(object="device:D1") == ["device:D1"]
    assert objects(action="session.") == []
    assert len(objects(action="device.")) == 3
