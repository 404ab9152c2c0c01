"""Take a micro-batch: decode, store, decide on what is new, commit. The caller acknowledges afterwards.

One transaction holds a batch's observations, alarm transitions, changed rule state and quarantine. Rules see only
rows that the database says were new, and answer on copies of their state; memory follows after the commit. So a
batch may be tried again, whole, as often as it takes.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import Connection, errors

from city import tracing
from city.devices import DeviceRow
from city.observations import NO_SEQ, Detection, Quality, Readings, Rejection, instant
from city.storage import areas, ingest_sessions, observations, rejected, transitions, uplink
from city.storage.database import nudge
from city.storage.district import district_zone
from city.storage.rejected import Quarantined
from ingest import routing
from ingest.batch import Batch, Messages, Refused, build, decode, unknown_metrics
from ingest.decoders.said import MAX_PAYLOAD, Arrival, Decoder, Rejected, Said
from ingest.delivery import Delivery
from ingest.laps import Laps
from ingest.register import DeviceRegister, Sender
from ingest.routing import Router
from ingest.senders import Resolved, Senders, family_of
from rules.definitions import RuleError, from_row
from rules.engine import Decision, Engine
from rules.fleet import Fleet
from rules.listening import Listening
from rules.register import Places, facts_of, facts_of_row
from rules.rule import Rule
from rules.states import StateRow

RECALLED_DAYS = 2  # how far back the newest reading of each device is looked up at start
DEVICES_RECALLED_AT_ONCE = 5_000  # a day of five-minute readings of so many is 60 MB
KEPT_PER_MINUTE = 20_000  # quarantined messages stored with their bytes; beyond it they are counted only
KEPT_BYTES_PER_MINUTE = 64 * 1024 * 1024

log = structlog.get_logger()

_COUNTED_MARKS = (Quality.OUT_OF_RANGE, Quality.SPIKE, Quality.STUCK)

np.unique(
    np.zeros(1)
)  # numpy loads its set functions at their first use: 60 ms the first alarm should not wait for


@dataclass(frozen=True, slots=True)
class Stored:
    """What one committed batch was."""

    messages: int
    readings: int
    new: int
    transitions: int


SAID = 1_000  # alarms of one batch that its line in the log names


class Known:
    """What one process knows of senders and cells, and has counted; once, however many pipelines share the work."""

    def __init__(self, connection: Connection[Any], *, max_unclaimed: int, partial: bool = False) -> None:
        """``partial``: of the register, only what is asked for."""
        self.register = DeviceRegister(connection, max_unclaimed=max_unclaimed, partial=partial)
        self.foreign = Senders(max_unclaimed=max_unclaimed)
        self.places: Places = {}  # of all cells of the district, whichever pipeline read them last
        self.counters: Counter[str] = Counter()
        self.laps = Laps()


class Pipeline:
    """Owns the register, the rule engine and one connection; lives on one thread."""

    def __init__(
        self,
        connection: Connection[Any],
        *,
        max_unclaimed: int,
        retention_days: int,
        router: Router | None = None,
        zone: ZoneInfo | None = None,
        known: Known | None = None,
        reports: bool = False,
    ) -> None:
        """``zone`` is for local times until a district was imported, which has its own.

        ``known`` is shared with the pipelines beside this one, where there are any. ``reports``: what is stored is
        owed to the city (docs/edge.md).
        """
        self._connection = connection
        self._router = router or Router(())
        self._settings_zone = zone
        self._reports = reports
        self._known = known = known or Known(connection, max_unclaimed=max_unclaimed)
        self._foreign = known.foreign
        self._retention_us = retention_days * 86_400_000_000
        self._register = known.register
        self._register_seen = -1  # the version of the register that the rules were told
        self._max_unclaimed = max_unclaimed
        self._newest: dict[int, NDArray[np.int64]] = {}  # metric id -> newest stored observed_us by place
        self._kept_minute = (0, 0, 0)  # minute, messages, bytes
        self._engine = Engine([], {})
        self._rules: list[tuple[str, int]] = []
        self.counters = known.counters
        self.laps = known.laps
        self._name = tracing.fresh()  # of the batches of this connection, in the log
        self.load()

    # ── memory ────────────────────────────────────────────────────────────────────────────────────────

    def load(self) -> None:
        """Rebuild everything this process remembers from the database: register, rules and their state."""
        with self._connection.transaction():
            self._load_kinds()
            active, rules = self._read_rules()
            engine = self._engine_of(rules)
            self._load_devices(engine)
            self._take_over(engine, active)
            self._register_seen = self._register.version

    def _engine_of(self, rules: Sequence[Rule], fleet: Fleet | None = None) -> Engine:
        zone = district_zone(self._connection, self._settings_zone)
        return Engine(rules, self._register.metrics, zone, fleet)

    def _load_kinds(self) -> None:
        self._register.load_kinds(self._connection)
        self._zone = district_zone(self._connection, self._settings_zone)
        self._foreign.load(self._connection, kinds=self._register.kinds)

    def _load_devices(self, engine: Engine) -> None:
        """The register, and what the rules need of each device, a slice at a time: a million at once would take
        gigabytes for a moment, and longer than the server waits for us."""
        self._known.places = areas.load_places(self._connection)
        self._register.load_devices(
            self._connection, lambda part: engine.know(list(facts_of(part, self._known.places)))
        )

    def _change_rules(self) -> None:
        """Other rules for the same devices: a register of a hundred thousand takes seconds to read again."""
        with self._connection.transaction():
            active, rules = self._read_rules()
            fleet = self._engine.known_devices(rules)
            if fleet is not None:
                self._take_over(self._engine_of(rules, fleet), active)
        if fleet is None:
            self.load()

    def _read_rules(self) -> tuple[list[tuple[str, int]], list[Rule]]:
        """What is in force, by id and version, and as rules whose metrics are known.

        One that cannot be read (written by a later release) is left out and said: the others must go on.
        """
        rows = transitions.active_rules(self._connection)
        rules: list[Rule] = []
        for row in rows:
            try:
                rules.append(from_row(*row))
            except RuleError as error:
                self.counters["unreadable_rules"] += 1
                log.error("rule left out", rule=row[0], version=row[1], why=str(error))
        needed = {metric for rule in rules for metric in rule.metrics()}
        self._register.metric_ids(self._connection, sorted(needed))
        return [(row[0], row[1]) for row in rows], rules

    def _take_over(self, engine: Engine, active: list[tuple[str, int]]) -> None:
        """Go on with another engine that knows the devices, from the stored states and what this one remembers."""
        engine.load(
            StateRow(rule_id=rule, device_id=device, state=state)
            for rule, device, state in self._stored_states()
        )
        going_on = bool(self._rules)  # a change of rules; most look back at the same as before
        if not going_on or engine.asks_for_newest(self._engine):
            engine.recall(*self._stored_newest())
        if going_on:
            engine.inherit(self._engine)
        self._engine = engine
        self._rules = []  # until all is read back: what fails is done again
        self._recall_windows()
        self._rules = active

    def _stored_states(self) -> Iterable[tuple[str, int, dict[str, object]]]:
        return transitions.load_states(self._connection)

    def _stored_newest(self) -> tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int64]]:
        return observations.newest(self._connection, days=RECALLED_DAYS)

    def _recall_windows(self) -> None:
        """What rules look back at, so that a slope goes on over a restart as if nothing had happened."""
        for lookback in self._engine.lookbacks():
            for begin in range(0, len(lookback.device_ids), DEVICES_RECALLED_AT_ONCE):
                part = observations.window(
                    self._connection,
                    metric_id=lookback.metric_id,
                    device_ids=lookback.device_ids[begin : begin + DEVICES_RECALLED_AT_ONCE],
                    window_us=lookback.window_us,
                    days=RECALLED_DAYS,
                    now_us=time.time_ns() // 1000,
                )
                self._engine.remember(lookback, part)

    def refresh(self) -> None:
        """Follow what others changed in the register and the rules; state of rules in force is kept."""
        active = transitions.versions_in_force(self._connection)
        self.follow_changes(active, self._register.current_version(self._connection))

    def follow_changes(self, active: list[tuple[str, int]], register_version: int) -> None:
        """As ``refresh``, by what was asked of the database once for several pipelines."""
        if active != self._rules:
            self._change_rules()
            log.info("rules changed", rules=len(active))
        if self._register_seen != register_version:
            with self._connection.transaction():
                self._load_kinds()
                self._load_devices(self._engine)
            self._register_seen = self._register.version

    @property
    def heard_us(self) -> NDArray[np.int64]:
        """Last arrival of each device by its id, microseconds since 1970 UTC; 0 = never."""
        return self._engine.heard_us

    @property
    def unclaimed(self) -> int:
        """How many devices were heard and are in nobody's list."""
        return self._register.unclaimed

    # ── one batch ─────────────────────────────────────────────────────────────────────────────────────

    def process(self, deliveries: Sequence[Delivery]) -> Stored:
        """Everything from bytes to commit; raises psycopg.Error when the database does not take it (try again)."""
        self.laps.begin()
        messages = _merge(deliveries)
        decoders: dict[int, Decoder] = {}
        senders = self._resolve(messages.topics, decoders)
        foreign = self._hear(messages, decoders) if decoders else {}
        decoded = decode(messages, senders)
        missing = unknown_metrics(decoded, self._register.metrics)
        if missing:
            with self._connection.transaction():
                self._register.metric_ids(self._connection, missing)
        batch = build(
            messages,
            senders,
            decoded,
            metrics=self._register.metrics,
            retention_us=self._retention_us,
            foreign=foreign,
        )
        self._make_own(batch)
        self.laps.lap("decode")
        batch.readings = self._engine.judge(batch.readings)
        self.laps.lap("rules")
        quarantined = _quarantined(batch.refused, messages)
        try:
            stored = self._store(batch, quarantined, messages, fast=self._looks_new(batch.readings))
        except errors.UniqueViolation:
            stored = self._store(batch, quarantined, messages, fast=False)
        self.counters["received"] += len(messages.topics)
        return stored

    def _make_own(self, batch: Batch) -> None:
        """Before anything is decided on: nothing to do where all devices are ours."""

    def _hear(self, messages: Messages, decoders: Mapping[int, Decoder]) -> dict[int, Resolved]:
        """What foreign senders said, with our ids, by position; who is new is taken in and committed."""
        said: dict[int, Sequence[Said]] = {}
        everything: list[tuple[str, Said]] = []
        for position, decoder in decoders.items():
            if position in messages.cut:
                why = f"payload of {messages.cut[position]} bytes; send at most {MAX_PAYLOAD}"
                heard: Sequence[Said] = [Rejected(Rejection.OVERSIZE, why)]
            else:
                arrival = Arrival(messages.received[position], self._zone)
                heard = routing.decode(
                    decoder, messages.topics[position], messages.payloads[position], arrival
                )
                heard = self._foreign.unpacked(decoder.family, heard, arrival.received_us)
            said[position] = heard
            everything += [(family_of(decoder.family, one), one) for one in heard]
        if self._foreign.has_news(everything):
            self._take_in(everything)
        return {
            position: [
                resolved
                for one in heard
                for resolved in self._foreign.resolve(family_of(decoders[position].family, one), one)
            ]
            for position, heard in said.items()
        }

    def _take_in(self, everything: Sequence[tuple[str, Said]]) -> None:
        try:
            with self._connection.transaction():
                room = max(0, self._max_unclaimed - self._register.unclaimed)
                rows = self._foreign.introduce(self._connection, everything, room=room)
                missing = self._foreign.metrics_wanted(everything)
                if missing:
                    self._register.metric_ids(self._connection, missing)
        except BaseException:
            self._foreign.forget()
            with suppress(Exception):  # a lost connection: everything is loaded again with the next one
                self._load_kinds()
                self._register.load_devices(self._connection)
            raise
        self._foreign.know_metrics(self._register.metrics)
        if rows:
            self._register.adopt(rows)
            self._engine.know([facts_of_row(row, self._known.places) for row in rows])

    def _resolve(self, topics: Sequence[bytes], decoders: dict[int, Decoder]) -> list[Sender | Rejected]:
        """The sender of each native topic; foreign ones are noted in ``decoders`` and stand as a refusal."""
        senders: list[Any] = list(self._register.senders(topics))
        unknown = []
        for position, sender in enumerate(senders):
            if sender is None:
                topic = topics[position]
                decoder = None if topic.startswith(b"city/") else self._router.find(topic)
                if decoder is None:
                    unknown.append(position)
                else:
                    decoders[position], senders[position] = decoder, _FOREIGN
        if not unknown:
            return senders
        asked = list(dict.fromkeys(topics[position] for position in unknown))
        rows: list[DeviceRow] = []
        try:
            with self._connection.transaction():
                answers, rows = self._register.introduce(self._connection, asked)
        except BaseException:
            self._register.forget(rows)
            raise
        if rows:
            if any(row.cell_id not in self._known.places for row in rows if row.cell_id):
                self._known.places = areas.load_places(self._connection)
            self._engine.know([facts_of_row(row, self._known.places) for row in rows])
        for position in unknown:
            senders[position] = answers[topics[position]]
        return senders

    def _looks_new(self, readings: Readings) -> bool:
        """Whether no row can be stored already, as far as memory tells; the primary key has the last word."""
        place = self._column_places(readings.device)
        for metric in np.unique(readings.metric).tolist():
            rows = readings.metric == metric
            newest = self._newest_of(metric, int(place.max()) + 1)
            device, observed = place[rows], readings.observed_us[rows]
            if (observed <= newest[device]).any():
                return False
            order = np.lexsort((observed, device))
            same = (device[order][1:] == device[order][:-1]) & (observed[order][1:] == observed[order][:-1])
            if same.any():
                return False
        return True

    def _store(
        self, batch: Batch, quarantined: list[Quarantined], messages: Messages, *, fast: bool
    ) -> Stored:
        now_us = time.time_ns() // 1000
        plain = (
            fast
            and self._alone
            and not self._reports
            and not (batch.detections or batch.links or quarantined or _needs_more(batch.readings))
        )
        decision = self._engine.decide(batch.readings, [], now_us=now_us) if plain else None
        self.laps.lap("rules")
        if decision is not None and not decision.transitions and not decision.states:
            # Most batches are readings and nothing else: a COPY is a transaction by itself, two round trips less.
            new = self._insert(batch.readings, fast=True) if len(batch.readings) else batch.readings
        else:
            with self._transaction():
                new, decision = self._store_all(batch, quarantined, now_us, fast=fast)
        self.laps.lap("commit")
        self._engine.accept(decision)
        self._remember(batch, new, messages)
        self.laps.lap("rules")
        self.counters["readings"] += len(batch.readings)
        self.counters["stored"] += len(new)
        for mark in _COUNTED_MARKS:
            marked = int(np.count_nonzero(new.quality & mark))
            if marked:
                self.counters[f"marked_{mark.name}".lower()] += marked
        self.counters["duplicates"] += len(batch.readings) - len(new)
        self.counters["batches"] += 1
        self.counters["slow_batches"] += not fast
        return Stored(len(messages.topics), len(batch.readings), len(new), len(decision.transitions))

    _alone = True  # whether a batch's readings may be stored by themselves, with nothing to note beside them

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """What a batch or a tick changes, together or not at all."""
        with self._connection.transaction():
            yield

    def _store_all(
        self, batch: Batch, quarantined: list[Quarantined], now_us: int, *, fast: bool
    ) -> tuple[Readings, Decision]:
        """Everything a batch says, in the caller's transaction; rules see what was new."""
        new = self._insert(batch.readings, fast=fast) if len(batch.readings) else batch.readings
        detections: list[Detection] = []
        if batch.detections:
            detections = observations.insert_detections(self._connection, batch.detections)
        self.laps.lap("commit")
        decision = self._engine.decide(new, detections, now_us=now_us)
        self.laps.lap("rules")
        self._write(decision, now_us)
        if batch.links:
            ingest_sessions.write_links(self._connection, batch.links)
        if self._reports:
            uplink.put(self._connection, new, detections, batch.links)
        if quarantined:
            self._write_quarantine(quarantined)
        ahead = new.device[(new.quality & int(Quality.CLOCK_AHEAD)) != 0]
        if len(ahead):
            ingest_sessions.mark_clock_ahead(self._connection, np.unique(ahead), instant(now_us))
        return new, decision

    def _insert(self, readings: Readings, *, fast: bool) -> Readings:
        numbered = ((readings.quality & int(Quality.TIME_ESTIMATED)) != 0) & (readings.seq != NO_SEQ)
        if numbered.any():
            keep = ~numbered
            keep[numbered] = observations.unseen_sequences(self._connection, readings.take(numbered))
            readings = readings.take(keep)
        # Sorted rows meet fewer index pages: a fifth less database time (ceilings.md, 5).
        readings = readings.take(np.lexsort((readings.observed_us, readings.metric, readings.device)))
        if fast:
            observations.copy_new(self._connection, readings)
            return readings
        return readings.take(observations.insert_new(self._connection, readings))

    def _write(self, decision: Decision, now_us: int) -> None:
        if decision.states:
            transitions.write_states(self._connection, decision.states)
        if decision.transitions:
            raised = transitions.write_transitions(
                self._connection, decision.transitions, now=instant(now_us)
            )
            nudge(self._connection)
            self._say(raised)
            self.counters["transitions"] += len(decision.transitions)

    def _say(self, raised: Sequence[tuple[int, str, str]]) -> None:
        """One line a batch: whose reading became which alarm. Written before the commit, which may still fail."""
        if raised:
            named = [f"{tracing.of_alarm(alarm)} {device} {rule}" for alarm, device, rule in raised[:SAID]]
            batch = f"{self._name}-{self.counters['batches']}"
            log.info("alarms raised", batch=batch, alarms=named, more=max(0, len(raised) - SAID))

    def _write_quarantine(self, messages: list[Quarantined]) -> None:
        counted = Counter(message.reason.value for message in messages)
        rejected.count(self._connection, counted)
        self.counters.update({f"quarantine_{reason}": number for reason, number in counted.items()})
        minute = int(time.monotonic() // 60)
        _, kept, size = self._kept_minute if self._kept_minute[0] == minute else (minute, 0, 0)
        room: list[Quarantined] = []
        for message in messages:
            if kept >= KEPT_PER_MINUTE or size >= KEPT_BYTES_PER_MINUTE:
                break
            kept, size = kept + 1, size + min(message.size, rejected.KEPT_BYTES)
            room.append(message)
        self._kept_minute = (minute, kept, size)
        rejected.keep(self._connection, room)

    def _remember(self, batch: Batch, new: Readings, messages: Messages) -> None:
        """After the commit: what is stored, and who was heard."""
        trusted = new.take((new.quality & int(Quality.CLOCK_AHEAD)) == 0)
        place = self._column_places(trusted.device)
        for metric in np.unique(trusted.metric).tolist():
            rows = trusted.metric == metric
            newest = self._newest_of(metric, int(place.max()) + 1)
            np.maximum.at(newest, place[rows], trusted.observed_us[rows])
        heard = {d.device_id: d.received_us for d in batch.detections if not d.quality & Quality.RETAINED}
        retained_arrivals = {messages.received[position] for position in messages.retained}
        heard |= {
            device: arrival
            for device, (link, arrival) in batch.links.items()
            if link == "online" and arrival not in retained_arrivals
        }
        duplicates = len(batch.readings) - len(new)
        if duplicates:  # what was known already is a sign of life all the same
            alive = (batch.readings.quality & int(Quality.RETAINED)) == 0
            self._engine.heard(batch.readings.device[alive], batch.readings.received_us[alive])
        if heard:
            self._engine.heard(np.array(list(heard), np.int32), np.array(list(heard.values()), np.int64))

    def _column_places(self, device: NDArray[np.int32]) -> NDArray[np.int32]:
        """Where these stand in columns: at their id, which is dense over the district."""
        return device

    def _newest_of(self, metric: int, size: int) -> NDArray[np.int64]:
        newest = self._newest.get(metric)
        if newest is None or len(newest) < size:
            grown = np.zeros(max(size, 2 * (0 if newest is None else len(newest)), 1024), dtype=np.int64)
            if newest is not None:
                grown[: len(newest)] = newest
            self._newest[metric] = newest = grown
        return newest

    # ── what time alone changes ───────────────────────────────────────────────────────────────────────

    def tick(self, listened: Listening) -> int:
        """Delays that ran out and devices gone silent; returns how many transitions that made."""
        now_us = time.time_ns() // 1000
        decision = self._engine.tick(now_us=now_us, listened=listened)
        if not decision.transitions and not decision.states:
            self._engine.accept(decision)
            return 0
        with self._transaction():
            self._write(decision, now_us)
        self._engine.accept(decision)
        return len(decision.transitions)

    def refuse(self, delivery: Delivery, position: int, detail: str) -> None:
        """Put a message whose row the database refused into quarantine."""
        message = unstorable(delivery, position, detail)
        with self._transaction():
            rejected.count(self._connection, {message.reason.value: 1})
            rejected.keep(self._connection, [message])

    def replay(self, limit: int = 500) -> int:
        """Feed quarantined messages that a person asked for through the same way again; returns how many."""
        rows = rejected.to_replay(self._connection, limit)
        outcomes: dict[int, str] = {}
        for number, topic, payload, size, received_us in rows:
            if size > len(payload):
                outcomes[number] = f"only {len(payload)} of {size} bytes were kept; it cannot be replayed"
                continue
            before = self.counters.copy()
            self._take_again(
                Delivery(
                    topics=[topic],
                    payloads=[payload],
                    packet_ids=[0],
                    received_us=received_us,
                    generation=0,
                )
            )
            again = [
                name for name, n in (self.counters - before).items() if name.startswith("quarantine_") and n
            ]
            outcomes[number] = f"again {again[0].removeprefix('quarantine_')}" if again else "taken"
        if outcomes:
            with self._connection.transaction():
                rejected.replayed(self._connection, outcomes)
        return len(outcomes)

    def _take_again(self, delivery: Delivery) -> None:
        self.process([delivery])


_FOREIGN = Rejected(Rejection.NO_DECODER, "")  # stands where a decoder of its own takes the message


def _needs_more(readings: Readings) -> bool:
    """Whether storing these takes more than one COPY: numbered ones without a time, clocks that run ahead."""
    odd = int(Quality.TIME_ESTIMATED | Quality.CLOCK_AHEAD)
    return bool((readings.quality & odd).any())


def _merge(deliveries: Sequence[Delivery]) -> Messages:
    messages = Messages()
    for delivery in deliveries:
        offset = len(messages.topics)
        messages.topics += delivery.topics
        messages.payloads += delivery.payloads
        messages.received += range(delivery.received_us, delivery.received_us + len(delivery))
        messages.retained.update(offset + position for position in delivery.retained)
        messages.cut.update({offset + position: size for position, size in delivery.cut.items()})
    return messages


def _quarantined(refused: Sequence[Refused], messages: Messages) -> list[Quarantined]:
    """One row a message, with its first fault."""
    first: dict[int, Rejected] = {}
    for item in refused:
        first.setdefault(item.position, item.why)
    return [
        Quarantined(
            received_us=messages.received[position],
            topic=messages.topics[position],
            payload=messages.payloads[position],
            size=messages.cut.get(position, len(messages.payloads[position])),
            retained=position in messages.retained,
            reason=why.reason,
            detail=why.detail,
        )
        for position, why in sorted(first.items())
    ]


def unstorable(delivery: Delivery, position: int, detail: str) -> Quarantined:
    """A message whose row the database refused."""
    return Quarantined(
        received_us=delivery.received_us + position,
        topic=delivery.topics[position],
        payload=delivery.payloads[position],
        size=len(delivery.payloads[position]),
        retained=position in delivery.retained,
        reason=Rejection.UNSTORABLE,
        detail=detail,
    )
