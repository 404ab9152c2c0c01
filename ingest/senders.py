"""Whose a foreign report is and what its keys mean here: names to devices, keys to metrics. A cache of the database.

Strangers are taken in as unclaimed, as on native topics. The profile of a device is chosen again when it reports
something new: a detector that first sent its battery is known as a detector once it sends smoke.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import Connection

from city.device_profiles import Mapped, Profile
from city.devices import DeviceRow
from city.measures import SAME, Conversion
from city.observations import Rejection
from city.storage import devices as stored_devices
from city.storage import senders as storage
from city.storage.senders import ForeignName, NamedDevice, Stranger
from ingest.decoders.said import MAX_NAME, MAX_VALUES, Announced, Link, Raw, Rejected, Report, Said, Seen
from ingest.profile_book import Found, ProfileBook

MOST_CODECS = 64  # remembered for one device; a sender that invents ports or models meets this bound
OTHER_KIND = "sensor"  # of what no profile knows; somebody claims it

_NAME = re.compile(rf"[^\x00-\x1f\x7f\u2028\u2029\ufeff]{{1,{MAX_NAME}}}")
_NO_WORDS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ufeff]+")
_NOT_IN_CODES = re.compile(r"[\s/+#]")
_KEY = re.compile(r"[^\x00-\x1f\x7f/+#]{1,128}")


@dataclass(slots=True)
class Sender:
    """One foreign device and what is remembered of how to read it."""

    family: str
    device: NamedDevice
    profile: Profile | None
    keys: set[str] = field(default_factory=set)  # everything it reported so far
    codecs: dict[tuple[int, str], Found | None] = field(
        default_factory=dict
    )  # by port and the message's model
    places: dict[tuple[str, str], "Place | Rejected"] = field(default_factory=dict)  # by key and stated unit


Place = tuple[int, Conversion]  # metric id (0 = left out on purpose), and the way into its unit


class Senders:
    """Every foreign device that was ever heard, by family and name."""

    def __init__(self, *, max_unclaimed: int) -> None:
        self._max_unclaimed = max_unclaimed
        self._senders: dict[ForeignName, Sender] = {}
        self._book = ProfileBook()
        self._metrics: dict[str, int] = {}
        self._kinds: frozenset[str] = frozenset()

    def load(self, connection: Connection[Any], *, kinds: Iterable[str]) -> None:
        """Read names and profiles again; what was chosen for a device is chosen anew."""
        metrics = stored_devices.load_metrics(connection)
        self._kinds = frozenset(kinds)
        self._metrics = {code: metric.id for code, metric in metrics.items()}
        units = {code: metric.unit for code, metric in metrics.items()}
        self._book = ProfileBook(storage.profile_files(connection), units)
        before = self._senders
        self._senders = {}
        for who, device in storage.load_names(connection).items():
            keys = before[who].keys if who in before else set()
            self._senders[who] = self._sender(who.family, device, keys)

    def unpacked(self, family: str, said: Sequence[Said], received_us: int) -> Sequence[Said]:
        """The same with bytes made into reports, by the codec of the device's profile or of its model.

        Bytes that nobody describes stay as they are, and are refused when they are resolved.
        """
        if not any(isinstance(one, Raw) for one in said):
            return said
        answer: list[Said] = []
        for one in said:
            answer += self._read(family, one, received_us) if isinstance(one, Raw) else [one]
        return answer

    def _read(self, family: str, raw: Raw, received_us: int) -> list[Said]:
        known = self._senders.get(ForeignName(family, raw.device))
        if known is None:
            return self._book.unpacked(raw, self._book.codec(family, raw.model, raw.port), received_us)
        wanted = known.device.profile
        asked = raw.port, raw.model
        if asked not in known.codecs:
            if len(known.codecs) >= MOST_CODECS:
                known.codecs = {}
            known.codecs[asked] = self._codec(family, known.device, raw)
        return self._book.unpacked(raw, known.codecs[asked], received_us, wanted)

    def _codec(self, family: str, device: NamedDevice, raw: Raw) -> Found | None:
        """By the register's model, else by the message's: an operator who names the model at last need not tell us."""
        found = self._book.codec(family, device.model or raw.model, raw.port, device.profile)
        if device.profile is None and (found is None or not found[0].models):
            named = self._book.codec(family, raw.model, raw.port)
            return named if named is not None and named[0].models else found
        return found

    def has_news(self, said: Iterable[tuple[str, Said]]) -> bool:
        """Whether anybody is new, or says something new about himself."""
        for family, one in said:
            if isinstance(one, Rejected):
                continue
            known = self._senders.get(ForeignName(family, one.device))
            if known is None or isinstance(one, Announced):
                return True
            if isinstance(one, Report) and (
                not known.keys.issuperset(one.values) or (one.model and not known.device.model)
            ):
                return True
        return False

    def metrics_wanted(self, said: Iterable[tuple[str, Said]]) -> list[str]:
        """Metrics that these reports need and that have no id yet, in the order they were met."""
        wanted: dict[str, None] = {}
        for family, one in said:
            sender = self._senders.get(ForeignName(family, one.device)) if isinstance(one, Report) else None
            for key in one.values if isinstance(one, Report) and sender is not None else ():
                metric = self._mapped(sender, key).metric if sender is not None else ""
                if metric and metric not in self._metrics and _KEY.fullmatch(metric):
                    wanted[metric] = None
        return list(wanted)

    def know_metrics(self, metrics: Mapping[str, int]) -> None:
        """Ids that were given meanwhile."""
        self._metrics |= metrics

    def introduce(
        self, connection: Connection[Any], said: Sequence[tuple[str, Said]], *, room: int
    ) -> list[DeviceRow]:
        """Take in who is new, ``room`` at most, and learn what the known ones tell of themselves; commits nothing.

        Returns the rows of devices that are new, or of another kind than before.
        """
        strangers: dict[ForeignName, list[Said]] = {}
        changed: list[str] = []
        announced = [(family, one) for family, one in said if isinstance(one, Announced) and one.permanent]
        for family, telling in announced:
            self._know_again(connection, family, telling)
        for family, one in said:
            if isinstance(one, Rejected) or not _NAME.fullmatch(one.device):
                continue
            who = ForeignName(family, one.device)
            known = self._senders.get(who)
            if known is None:
                if who in strangers or len(strangers) < room:
                    strangers.setdefault(who, []).append(one)
            elif self._learn(connection, who, known, one):
                changed.append(known.device.code)
        new = [self._stranger(who, ones) for who, ones in strangers.items()]
        for who, device in storage.take_in(connection, new).items():
            keys = {key for one in strangers[who] for key in _keys(one)}
            self._senders[who] = self._sender(who.family, device, keys)
            changed.append(device.code)
        for family, telling in announced:
            self._remember_by(connection, family, telling)
        return stored_devices.load_devices(connection, changed) if changed else []

    def forget(self) -> None:
        """Nothing that was taken in is certain: the commit failed. ``load`` has to follow."""
        self._senders = {}

    def resolve(self, family: str, one: Said) -> "Resolved":
        """One thing said, with the database's ids; a refusal says what is missing."""
        if isinstance(one, Rejected):
            return [one]
        sender = self._senders.get(ForeignName(family, one.device))
        if sender is None:
            return [self._unknown(one.device)]
        device_id = sender.device.device_id
        if isinstance(one, Link):
            return [Linked(device_id, one.online)]
        if isinstance(one, Seen):
            return [Watched(device_id, one)]
        if isinstance(one, Raw):
            return [
                Rejected(
                    Rejection.NO_CODEC,
                    f"no profile of {one.model or family!r} says what these {len(one.data)} bytes on port {one.port}"
                    " mean; add a codec to profiles/ (docs/profiles.md), or choose a profile for the device",
                )
            ]
        return self._measured(sender, one) if isinstance(one, Report) else []

    def _measured(self, sender: Sender, report: Report) -> "Resolved":
        if len(report.values) > MAX_VALUES:
            return [
                Rejected(
                    Rejection.WRONG_SHAPE,
                    f"{len(report.values)} quantities of one device; send at most {MAX_VALUES}",
                )
            ]
        units = report.units or {}
        answer: Resolved = []
        values: list[tuple[int, float]] = []
        for key, value in report.values.items():
            unit = units.get(key, "")
            place = sender.places.get((key, unit)) or self._place(sender, key, unit)
            if isinstance(place, Rejected):
                answer.append(place)
            elif place[0]:
                values.append((place[0], value * place[1].factor + place[1].offset))
        answer.append(Measured(sender.device.device_id, report.at_us, report.seq, values))
        return answer

    def _place(self, sender: Sender, key: str, unit: str) -> "Place | Rejected":
        mapped = self._mapped(sender, key)
        found: Place | Rejected
        if not mapped.metric:
            found = (0, SAME)
        elif not _KEY.fullmatch(mapped.metric):
            found = Rejected(Rejection.WRONG_SHAPE, f"{key[:40]!r} cannot be the name of a quantity")
        elif mapped.metric not in self._metrics:
            return Rejected(
                Rejection.WRONG_SHAPE, f"too many different metrics; {mapped.metric[:40]!r} has no place"
            )
        else:
            line = self._book.line(mapped, unit)
            found = (
                (self._metrics[mapped.metric], line)
                if line is not None
                else Rejected(
                    Rejection.UNKNOWN_UNIT,
                    f"{key} comes in {unit!r}, which does not convert into"
                    f" {self._book.units.get(mapped.metric, '')!r} of metric {mapped.metric}; correct its profile",
                )
            )
        if len(sender.places) < 2 * MAX_VALUES:
            sender.places[key, unit] = found
        return found

    def _mapped(self, sender: Sender, key: str) -> Mapped:
        return self._book.mapped(sender.family, sender.profile, key)

    def _sender(self, family: str, device: NamedDevice, keys: set[str]) -> Sender:
        profile = self._book.choose(family, device.model, keys, device.profile)
        return Sender(family=family, device=device, profile=profile, keys=keys)

    def _stranger(self, who: ForeignName, said: Sequence[Said]) -> Stranger:
        """Of everything that it said so far: what it is may stand in another message than what it measured."""
        told = {"name": "", "model": "", "vendor": ""}
        for one in said:
            told = {key: value or _told(one)[key] for key, value in told.items()}
        keys = {key for one in said for key in _keys(one)}
        profile = self._book.choose(who.family, told["model"], keys)
        return Stranger(
            who=who,
            code=f"{who.family}:{_NOT_IN_CODES.sub('.', who.name)}",
            kind=profile.kind if profile is not None and profile.kind in self._kinds else OTHER_KIND,
            expected_interval_s=_interval_s(profile),
            **told,
        )

    def _know_again(self, connection: Connection[Any], family: str, one: Announced) -> None:
        """Who is known by the name that never changes keeps his readings when he is given another."""
        who = ForeignName(family, one.device)
        known = self._senders.get(ForeignName(family, one.permanent))
        named = self._senders.get(who)
        if known is None or not _NAME.fullmatch(one.device):
            return
        if named is None or named.device.device_id != known.device.device_id:
            for name in storage.rename(connection, known.device.device_id, who, one.permanent):
                self._senders.pop(ForeignName(family, name), None)
            self._senders[who] = known

    def _remember_by(self, connection: Connection[Any], family: str, one: Announced) -> None:
        """Under the name that never changes. A new thing under an old name takes the old one's place."""
        who = ForeignName(family, one.permanent)
        named = self._senders.get(ForeignName(family, one.device))
        if who not in self._senders and named is not None and _NAME.fullmatch(one.permanent):
            storage.add_name(connection, named.device.device_id, who)
            self._senders[who] = named

    def _learn(self, connection: Connection[Any], who: ForeignName, known: Sender, one: Said) -> bool:
        """What a known device says of itself for the first time; True = its row changed."""
        new = [key for key in _keys(one) if key not in known.keys]
        told = _told(one)
        model = told["model"] if told["model"] and not known.device.model else ""
        if not new and not model and not isinstance(one, Announced):
            return False
        keys = known.keys | set(new[:MAX_VALUES]) if len(known.keys) < 2 * MAX_VALUES else known.keys
        known.keys = keys
        device = known.device
        profile = self._book.choose(who.family, model or device.model, keys, device.profile)
        kind = profile.kind if profile is not None and profile.kind in self._kinds else device.kind
        moved = device.registration == "unclaimed" and kind != device.kind
        before, interval_s = _interval_s(known.profile), _interval_s(profile)
        paced = device.registration == "unclaimed" and interval_s is not None and interval_s != before
        if profile != known.profile:
            known.profile, known.places = profile, {}
        if not (moved or paced or model or isinstance(one, Announced)):
            return False
        known.codecs = {}
        storage.describe(
            connection,
            device.device_id,
            told | {"kind": kind if moved else ""},
            interval_s if paced else None,
        )
        known.device = NamedDevice(
            device_id=device.device_id,
            code=device.code,
            kind=kind if moved else device.kind,
            registration=device.registration,
            model=device.model or model,
            profile=device.profile,
        )
        return moved or paced

    def _unknown(self, name: str) -> Rejected:
        if not _NAME.fullmatch(name):
            return Rejected(
                Rejection.WRONG_SHAPE,
                f"device name {name[:40]!r} is empty, longer than {MAX_NAME} or has control characters",
            )
        return Rejected(
            Rejection.REGISTRATION_LIMIT,
            f"{self._max_unclaimed} unclaimed devices are waiting; claim or retire some,"
            " or raise CITY_MAX_UNCLAIMED_DEVICES",
        )


class Measured(NamedTuple):
    """Values of one device at one time by metric id, in the metrics' own units."""

    device_id: int
    at_us: int | None
    seq: int | None
    values: list[tuple[int, float]]


class Watched(NamedTuple):
    """A camera's event."""

    device_id: int
    seen: Seen


class Linked(NamedTuple):
    """A device came or went."""

    device_id: int
    online: bool


Resolved = list[Measured | Watched | Linked | Rejected]


def _interval_s(profile: Profile | None) -> int | None:
    return None if profile is None else profile.expected_interval_s


def family_of(decoder: str, one: Said) -> str:
    """Whose name of the device it is: the decoder's, unless it announces a device of another family."""
    return (one.family if isinstance(one, Announced) else "") or decoder


def _told(one: Said) -> dict[str, str]:
    if isinstance(one, Announced):
        return {"name": _words(one.name), "model": _words(one.model), "vendor": _words(one.vendor)}
    return {"name": "", "model": _words(_model(one)), "vendor": ""}


def _words(told: str) -> str:
    """A stranger's text without what no text for people has; PostgreSQL takes no NUL."""
    return _NO_WORDS.sub(" ", told[:200]).strip()


def _keys(one: Said) -> Iterable[str]:
    if isinstance(one, Report):
        return one.values
    return one.keys if isinstance(one, Announced) else ()


def _model(one: Said) -> str:
    return one.model if isinstance(one, Report | Raw | Announced) else ""
