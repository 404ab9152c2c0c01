"""Which sources an ingest process has beside its broker: the TCP listeners and pull feeds that settings ask for."""

from city.settings import Settings, SettingsError
from ingest.delivery import Source
from ingest.inbox import Inbox
from ingest.sources.feed_plan import Ask, read_feeds
from ingest.sources.feeds import FeedSource
from ingest.sources.gb26875 import transmitter_listener
from ingest.sources.hj212 import environment_listener
from ingest.sources.peers import Limits
from ingest.sources.sl651 import station_listener


def listeners(settings: Settings, inbox: Inbox, *, first: int) -> list[Source]:
    """Every configured source, not started; the first one's deliveries carry ``first`` as their source."""
    wanted = [
        (settings.sl651_port, station_listener),
        (settings.gb26875_port, transmitter_listener),
        (settings.hj212_port, environment_listener),
    ]
    open_ones = [make for port, make in wanted if port]
    limits = limits_of(settings)
    sources: list[Source] = [
        make(settings, inbox, source=first + number, limits=limits) for number, make in enumerate(open_ones)
    ]
    asks = feeds_of(settings)
    if asks:
        sources.append(FeedSource(asks, inbox, source=first + len(sources)))
    return sources


def feeds_of(settings: Settings) -> list[Ask]:
    """What the district's own ``feeds.toml`` asks for; none without one. Raises SettingsError."""
    file = settings.config / "feeds.toml" if settings.config is not None else None
    if file is None or not file.is_file():
        return []
    try:
        return read_feeds(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read ({error}); make it readable or remove it") from error


def limits_of(settings: Settings) -> Limits:
    """What every listener lets its peers do."""
    return Limits(
        connections=settings.listen_connections,
        per_address=settings.listen_per_address,
        idle_s=settings.listen_idle_s,
        frame_s=settings.listen_frame_s,
        bytes_per_s=settings.listen_bytes_per_s,
        frames_per_s=settings.listen_frames_per_s,
    )
