"""The account that the chart has made for the schema: an owner, and no superuser."""

import psycopg
import pytest

from city.storage import migrate, services
from tests.integration.rendered_chart import one_of, rendered
from tests.servers.postgres import PostgresServer


@pytest.mark.parametrize(
    ("values", "server"),
    [("edge", "postgres_server"), pytest.param("city", "timescale_server", marks=pytest.mark.slow)],
)
def test_a_database_owner_of_the_chart_can_migrate(
    values: str, server: str, request: pytest.FixtureRequest
) -> None:
    """What the operator runs as a superuser is enough for an owner who is none."""
    postgres_server: PostgresServer = request.getfixturevalue(server)
    said = one_of(rendered(values), "Cluster", "city-database")["spec"]["bootstrap"]["initdb"]
    name = postgres_server.create_database(bare=True)
    try:
        with psycopg.connect(postgres_server.url(name), autocommit=True) as admin:
            there = {
                row[0] for row in admin.execute("SELECT rolname FROM pg_roles")
            }  # of other tests' databases
            admin.execute(f"CREATE ROLE {said['owner']} LOGIN PASSWORD 'of-a-test'")
            admin.execute(f"ALTER DATABASE {name} OWNER TO {said['owner']}")
            for statement in said["postInitApplicationSQL"]:
                if not (statement.startswith("CREATE ROLE") and statement.split()[2] in there):
                    admin.execute(statement)
        _, _, place = postgres_server.url(name).rpartition("@")
        url = f"postgresql://{said['owner']}:of-a-test@{place}"
        assert migrate.apply(url)
        assert migrate.missing(url) == []
        with psycopg.connect(postgres_server.url(name), autocommit=True) as admin:  # the operator's part
            admin.execute("ALTER ROLE city_serving PASSWORD 'of-a-test-too'")
        serving = f"postgresql://city_serving:of-a-test-too@{place}"
        assert not services.ensure(url, serving), "an owner who may not make accounts finds it made"
        assert not services.owns_schema(serving)
        with psycopg.connect(serving) as connection:
            assert connection.execute("SHOW statement_timeout").fetchone() == ("30s",)
            assert connection.execute("SELECT count(*) FROM incidents").fetchone() == (0,)
    finally:
        postgres_server.drop_database(name)
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
            admin.execute(f"DROP ROLE IF EXISTS {said['owner']}, city_serving")
