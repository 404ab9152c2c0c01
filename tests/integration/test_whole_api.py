"""Schemathesis over the API's whole description: every operation once, the callers taking turns.

The long form, every operation a hundred times as each role and as nobody: ``make fuzz-api``.
"""

from collections.abc import Iterator

import pytest

pytest.importorskip("schemathesis", reason="the API is fuzzed where the development packages are installed")

from tests.conftest import PostgresServer, _database
from tests.fuzz.whole_api import Found, callers, operations, sent
from tests.integration.running_centre import Centre, running
from tests.integration.two_streets import Street, build, lay


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer, postgres_template: str
) -> Iterator[tuple[Centre, tuple[Street, Street]]]:
    with _database(postgres_server, postgres_template) as url, running(lay(url)) as centre:
        yield centre, build(centre)


def test_no_operation_fails_nor_answers_otherwise_than_described(
    town: tuple[Centre, tuple[Street, Street]],
) -> None:
    centre, streets = town
    found = Found()
    everybody = list(callers(centre))
    for turn, one in enumerate(operations()):
        _, cookies = everybody[turn % len(everybody)]
        sent(centre, one, cookies, streets, 1, turn, found)
    assert sum(found.asked.values()) > 200
    assert found.faults == {}
