"""Which decoder takes a topic: the built-in ones and those a city's own package adds, by their MQTT filters.

Decoders are found by the entry point group ``city.decoders``; each names an object that answers as
``decoders.said.Decoder``. The first whose filter matches takes the topic; native topics never come here.
"""

from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import entry_points

import structlog

from city.observations import Rejection
from city.settings import SettingsError
from ingest.decoders.said import Arrival, Decoder, Rejected, Said

GROUP = "city.decoders"
MOST_REMEMBERED = 200_000  # topics whose decoder is remembered; a sender that invents topics meets this bound

log = structlog.get_logger()


def installed(wanted: Collection[str] | None = None) -> dict[str, Decoder]:
    """Decoders of this machine (all, or these) in the order of their names; what cannot be loaded is said."""
    found: dict[str, Decoder] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        if wanted is not None and point.name not in wanted:
            continue
        try:
            found[point.name] = point.load()
        except (
            Exception
        ) as error:  # a city's own package may fail in any way, and must not take ingest with it
            log.error("decoder left out", decoder=point.name, why=f"{type(error).__name__}: {error}")
    return found


def chosen(wanted: str) -> list[Decoder]:
    """The decoders that ``CITY_SENDERS`` names: all, none, or entry points with commas between them.

    Two may be of one family (frigate and frigate_events): the first that takes a topic has it. Raises SettingsError
    for a name that is not installed.
    """
    names = [one.strip() for one in wanted.split(",") if one.strip()]
    if names == ["all"]:
        return list(installed().values())
    if names in ([], ["none"]):
        return []
    known = sorted({point.name for point in entry_points(group=GROUP)})
    for name in names:
        if name not in known:
            raise SettingsError(
                f"CITY_SENDERS = {wanted!r}: no decoder {name!r} is installed; known are {', '.join(known)}"
            )
    decoders = installed(names)
    return [decoders[name] for name in names if name in decoders]


def subscriptions(topics: str, router: "Router") -> list[str]:
    """The broker's filters: what ``CITY_MQTT_TOPICS`` says and what the decoders listen to, each once."""
    own = [topic.strip() for topic in topics.split(",") if topic.strip()]
    return list(dict.fromkeys([*own, *router.filters]))


def matches(wanted: str, topic: str) -> bool:
    """Whether an MQTT filter takes a topic (MQTT 3.1.1, 4.7: ``+`` one level, ``#`` the rest)."""
    levels = topic.split("/")
    parts = wanted.split("/")
    for place, part in enumerate(parts):
        if part == "#":
            return not (place == 0 and topic.startswith("$"))
        if place >= len(levels) or (part not in ("+", levels[place])):
            return False
    return len(parts) == len(levels)


class Router:
    """Topics to decoders, remembered."""

    def __init__(self, decoders: Iterable[Decoder]) -> None:
        self.decoders: Sequence[Decoder] = list(decoders)
        self._known: dict[bytes, Decoder | None] = {}

    @property
    def filters(self) -> list[str]:
        """What a broker has to be asked for."""
        return [one for decoder in self.decoders if decoder.subscribed for one in decoder.filters]

    def find(self, topic: bytes) -> Decoder | None:
        """The decoder of this topic, if anybody's."""
        if topic in self._known:
            return self._known[topic]
        try:
            text = topic.decode("utf-8")
        except UnicodeDecodeError:
            return None
        taken = next(
            (one for one in self.decoders if any(matches(wanted, text) for wanted in one.filters)), None
        )
        if len(self._known) >= MOST_REMEMBERED:
            self._known = {}
        self._known[topic] = taken
        return taken


def decode(decoder: Decoder, topic: bytes, payload: bytes, arrival: Arrival) -> Sequence[Said]:
    """What was said; a decoder that fails is our fault, counted, and the message is kept in quarantine."""
    try:
        said = decoder.decode(topic.decode("utf-8"), payload, arrival)
    except Exception as error:
        return [
            Rejected(
                Rejection.DECODER_FAILED,
                f"decoder {decoder.family} failed ({type(error).__name__}: {str(error)[:120]}); please report it",
            )
        ]
    return [said] if isinstance(said, Rejected) else said
