"""Who sends: the district's register in memory, by topic; strangers are taken in as unclaimed.

A cache of the database, never more: it is loaded at start, loaded again when the register's version moved, and what
it adds is committed before anything refers to it. Of several workers each knows its own part of the district, and
asks for others when they speak.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog
from psycopg import Connection

from city.devices import DeviceRow, Kind, Register, UnclaimedDevice
from city.observations import Rejection
from city.storage import devices as storage
from ingest.decoders.native import Topic, read_topic
from ingest.decoders.said import Rejected

MAX_METRICS = 2_000  # distinct quantities; a sender that puts values into metric names meets this bound
_SPARE_TOPICS = (
    20_000  # remembered topics beyond one a device: others reach known devices through wrong topics
)

log = structlog.get_logger()


class Sender(NamedTuple):
    """Where a topic's payload belongs. ``metric_id`` is the kind's main metric, 0 for kinds without one."""

    device_id: int
    metric_id: int
    status: bool


class DeviceRegister:
    """Topics, codes, kinds and metrics by their database ids."""

    def __init__(self, connection: Connection[Any], *, max_unclaimed: int, partial: bool = False) -> None:
        """``partial``: ``load_devices`` reads none, others say ``know`` for theirs."""
        self._max_unclaimed = max_unclaimed
        self._partial = partial
        self._codes: dict[str, tuple[int, str]] = {}
        self._senders: dict[bytes, Sender] = {}
        self.unclaimed = 0
        self.kinds: dict[str, Kind] = {}
        self.metrics: dict[str, int] = {}
        self.version = -1
        self.load_kinds(connection)

    def load_kinds(self, connection: Connection[Any]) -> None:
        """Read kinds and metrics again; before the devices that are of these kinds."""
        self.kinds = storage.load_kinds(connection)
        self.metrics = {code: metric.id for code, metric in storage.load_metrics(connection).items()}
        missing = {kind.main_metric for kind in self.kinds.values() if kind.main_metric} - self.metrics.keys()
        if missing:
            self.metrics |= storage.register_metrics(connection, missing)

    def load_devices(
        self, connection: Connection[Any], take: Callable[[Register], None] | None = None
    ) -> None:
        """Read every device again and forget what topics meant; ``take`` gets the columns, a slice at a time."""
        self._codes = {}
        self._senders = {}
        self.unclaimed = 0
        if self._partial:
            self.version = self.current_version(connection)
            self.unclaimed = storage.count_unclaimed(connection)
            return
        for part in storage.register_slices(connection):
            self.know(part)
            self.unclaimed += part.registration.count("unclaimed")
            self.version = part.version
            if take is not None:
                take(part)

    def know(self, part: Register) -> None:
        """Remember the codes of these devices."""
        self._codes.update(
            (code, (device_id, sys.intern(kind)))
            for code, device_id, kind in zip(part.code, part.id.tolist(), part.kind, strict=True)
        )

    def current_version(self, connection: Connection[Any]) -> int:
        """The register's version in the database; another than ``version`` means that it should be loaded again."""
        return storage.register_version(connection)

    def senders(self, topics: Sequence[bytes]) -> list[Sender | None]:
        """The sender of each topic as far as it is known already; None = ask ``introduce``."""
        get = self._senders.get
        return [get(topic) for topic in topics]

    def introduce(
        self, connection: Connection[Any], topics: Sequence[bytes]
    ) -> tuple[dict[bytes, Sender | Rejected], list[DeviceRow]]:
        """Sender or rejection of each topic, and the devices that were new; commits nothing itself."""
        answers: dict[bytes, Sender | Rejected] = {}
        read: dict[bytes, Topic] = {}
        wanted: dict[str, UnclaimedDevice] = {}
        parsed_topics = [read_topic(topic) for topic in topics]
        if self._partial:
            self._ask_for(connection, parsed_topics)
        for topic, parsed in zip(topics, parsed_topics, strict=True):
            refusal = parsed if isinstance(parsed, Rejected) else self._refusal(parsed, wanted)
            if refusal is not None or isinstance(parsed, Rejected):
                answers[topic] = refusal or Rejected(Rejection.BAD_TOPIC, "unreadable topic")
                continue
            read[topic] = parsed
            if parsed.device not in self._codes:
                wanted[parsed.device] = UnclaimedDevice(
                    code=parsed.device, kind=parsed.kind, cell_code=parsed.cell
                )
        rows = storage.register_unclaimed(connection, list(wanted.values())) if wanted else []
        for row in rows:
            self._codes[row.code] = (row.id, sys.intern(row.kind))
            self.unclaimed += row.registration == "unclaimed"
        for topic, parsed in read.items():
            answers[topic] = self._sender(topic, parsed)
        return answers, rows

    def _ask_for(self, connection: Connection[Any], parsed: Sequence[Topic | Rejected]) -> None:
        """Devices of the register that are not remembered here: of another worker until now, or never heard."""
        codes = {one.device for one in parsed if isinstance(one, Topic)} - self._codes.keys()
        for row in storage.load_devices(connection, sorted(codes)) if codes else ():
            self._codes[row.code] = (row.id, sys.intern(row.kind))

    def adopt(self, rows: Sequence[DeviceRow]) -> None:
        """Devices that somebody else took in, within the caller's transaction."""
        for row in rows:
            self.unclaimed += row.registration == "unclaimed" and row.code not in self._codes
            self._codes[row.code] = (row.id, sys.intern(row.kind))

    def forget(self, rows: Sequence[DeviceRow]) -> None:
        """Take back devices whose registration was not committed."""
        for row in rows:
            self._codes.pop(row.code, None)
            self.unclaimed -= row.registration == "unclaimed"
        self._senders = {}

    def metric_ids(self, connection: Connection[Any], codes: Sequence[str]) -> None:
        """Make sure that these metrics have ids, as far as the bound allows; commits nothing itself."""
        room = MAX_METRICS - len(self.metrics)
        missing = [code for code in dict.fromkeys(codes) if code not in self.metrics][: max(room, 0)]
        if missing:
            self.metrics |= storage.register_metrics(connection, missing)

    def _refusal(self, topic: Topic, wanted: dict[str, UnclaimedDevice]) -> Rejected | None:
        if topic.kind not in self.kinds:
            known = ", ".join(sorted(self.kinds)[:12])
            return Rejected(
                Rejection.UNKNOWN_KIND,
                f"kind {topic.kind!r} is not configured (known: {known}); add it to kinds.toml and replay",
            )
        device = self._codes.get(topic.device)
        kind = device[1] if device else wanted[topic.device].kind if topic.device in wanted else topic.kind
        if kind != topic.kind:
            return Rejected(
                Rejection.KIND_CONFLICT,
                f"device {topic.device!r} is of kind {kind!r}, the topic says {topic.kind!r};"
                " use one code a device",
            )
        if device is None and self.unclaimed + len(wanted) >= self._max_unclaimed:
            return Rejected(
                Rejection.REGISTRATION_LIMIT,
                f"{self._max_unclaimed} unclaimed devices are waiting; claim or retire some,"
                " or raise CITY_MAX_UNCLAIMED_DEVICES",
            )
        return None

    def _sender(self, topic: bytes, parsed: Topic) -> Sender:
        device_id, kind = self._codes[parsed.device]
        main = self.kinds[kind].main_metric
        sender = Sender(device_id, self.metrics[main] if main else 0, parsed.status)
        if len(self._senders) > 2 * len(self._codes) + _SPARE_TOPICS:
            self._senders = {}
        self._senders[topic] = sender
        return sender
