"""Which sources an ingest process has beside its broker: the TCP listeners and pull feeds that settings ask for."""

from city.settings import Settings
from ingest.delivery import Source
from ingest.inbox import Inbox


def listeners(settings: Settings, inbox: Inbox, *, first: int) -> list[Source]:
    """Every configured source, not started; the first one's deliveries carry ``first`` as their source."""
    return []
