"""Where a command finds database and broker when the settings leave them to us."""

from collections.abc import Iterator
from contextlib import contextmanager

from city.errors import CityError
from city.settings import Settings
from runtime import data_dir
from runtime.embedded_postgres import EmbeddedPostgres, answers, read_access


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The database's address for one command: its owner's, the given one, that of a running ``city up``, else our own.

    With neither given nor running, the embedded server runs for as long as the block does.
    """
    if given := settings.database_owner_url or settings.database_url:
        yield given
        return
    folder = data_dir.prepare(settings.data_dir)
    already = running(settings)
    if already is not None:
        yield already
        return
    with data_dir.hold(folder):
        postgres = EmbeddedPostgres(folder)
        postgres.start()
        try:
            postgres.wait()
            yield postgres.url
        finally:
            postgres.stop()


def complete(settings: Settings) -> Settings:
    """The settings of a worker with both addresses filled in; CityError when there is no database."""
    url = settings.database_url or running(settings)
    if url is None:
        raise CityError(
            "CITY_DATABASE_URL is empty and no `city up` is running on "
            f"CITY_DATA_DIR = {settings.data_dir}; set the address, or use `city up`"
        )
    return settings.model_copy(update={"database_url": url, "mqtt_url": broker(settings)})


def broker(settings: Settings) -> str:
    """The broker's address: the given one, or where ``city up`` puts the embedded one."""
    return settings.mqtt_url or f"mqtt://127.0.0.1:{settings.mqtt_port}"


def running(settings: Settings) -> str | None:
    """The embedded database's address when it is up, else None."""
    access = read_access(settings.data_dir / "postgres.json")
    return access.url() if access is not None and answers(access.url()) else None
