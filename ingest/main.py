"""The ingest process: settings in, exit code out. Everything it does is in ``worker``."""

import threading
import time

import structlog

from city.errors import CityError
from city.service_manager import SILENT, ServiceManager
from city.settings import Settings, SettingsError
from city.stopping import on_signals
from city.storage import migrate
from city.storage.database import DatabaseError
from ingest.worker import Worker

SCHEMA_WAIT_S = 120.0

log = structlog.get_logger()


def run(settings: Settings, manager: ServiceManager = SILENT) -> int:
    """Work until SIGTERM or SIGINT; 0 on a clean stop. Raises CityError with one line when it cannot start.

    ``manager`` is told that we are ready, alive and stopping.
    """
    if not settings.database_url or not (settings.mqtt_url or settings.stream_url):
        missing = "CITY_DATABASE_URL" if not settings.database_url else "CITY_MQTT_URL"
        raise SettingsError(f"{missing}: city ingest needs it; set it, or start everything with city up")
    stop = threading.Event()
    on_signals(stop.set)
    if not schema_is_there(settings.database_url, stop):
        return 0
    worker = _worker(settings, manager)
    log.info("ingest starts", topics=settings.mqtt_topics, client=worker.name)
    worker.measures.serve(settings.metrics_host, settings.metrics_port)
    manager.ready()
    try:
        worker.run(stop)
    finally:
        manager.stopping()
        worker.measures.close()
    log.info("ingest stopped")
    return 0


def _worker(settings: Settings, manager: ServiceManager) -> Worker:
    if settings.stream_url and settings.uplink_url:
        raise SettingsError(
            "CITY_UPLINK_URL: a district that reports has one ingest, at a broker; unset it, or CITY_STREAM_URL"
        )
    if not settings.stream_url:
        return Worker(settings, settings.mqtt_url, watched=manager.watched)
    try:
        from ingest.stream_worker import StreamWorker  # noqa: PLC0415  # of the optional packages
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"CITY_STREAM_URL: {error.name} is not installed; pip install 'city-command-centre[scale]'"
        ) from error
    return StreamWorker(settings, watched=manager.watched)


def schema_is_there(url: str, stop: threading.Event) -> bool:
    """Wait for somebody to migrate; False = asked to stop meanwhile. Raises CityError after two minutes."""
    deadline = time.monotonic() + SCHEMA_WAIT_S
    told = False
    while not stop.is_set():
        try:
            missing = migrate.missing(url)
            if not missing:
                return True
            why = f"database: migrations are missing ({', '.join(missing)}); run city migrate"
        except DatabaseError as error:
            if not error.retry:
                raise
            why = str(error)
        if time.monotonic() > deadline:
            raise CityError(why)
        if not told:
            log.info("waiting for the schema", why=why)
            told = True
        stop.wait(0.3)
    return False
