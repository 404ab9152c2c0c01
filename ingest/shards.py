"""The pipeline over a log in partitions: one part of the memory for each partition that this worker owns.

A shard is a pipeline that knows the devices of its partition alone. Every transaction of it begins with the partition's
row: it moves the offset on, and finds out whether somebody else owns the partition by now. So a worker that was cut off
and comes back can write nothing, and one that takes over begins exactly where the last commit ended.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import Connection

from city.partitions import UNROUTED
from city.storage import areas, observations, partitions, transitions
from city.storage import devices as register_storage
from city.storage.district import district_zone
from city.storage.partitions import Claim, FencedError
from ingest.batch import Batch
from ingest.delivery import Delivery
from ingest.pipeline import RECALLED_DAYS, Known, Pipeline, Stored
from ingest.routing import Router
from rules.engine import Engine
from rules.fleet import Fleet, grown
from rules.listening import Listening
from rules.numbered import NumberedEngine
from rules.numbers import Numbers
from rules.register import facts_of, facts_of_row
from rules.rule import Rule

# osiris (osiris_log, evaluate_tracking_snapshot) begins each segment with a record of its own, which nobody is given.
LOGS_OWN = 1

log = structlog.get_logger()


class Shard(Pipeline):
    """A pipeline that owns one partition, as far as its claim is still good; else FencedError."""

    _alone = False

    def __init__(self, connection: Connection[Any], claim: Claim, *, known: Known, **settings: Any) -> None:
        """``settings`` as of Pipeline."""
        self.claim = claim
        self._next = (claim.next_offset, claim.received_us)
        self._numbers = Numbers()  # of every device that ever spoke by it, so that columns have no gaps
        self._own: NDArray[np.bool_] = np.zeros(1, dtype=np.bool_)  # by number: whether it speaks by it now
        self._missing = 0  # records between the claim and the next, which the log no longer has
        super().__init__(connection, known=known, **settings)

    def process(self, deliveries: Sequence[Delivery]) -> Stored:
        """As Pipeline's, without what is stored already; arrival is the log's own, the same at every reading."""
        fresh: list[Delivery] = []
        after = self.claim
        missing = 0
        for delivery in deliveries:
            begin = max(0, after.next_offset - delivery.offset)
            if begin >= len(delivery):
                continue
            part = delivery.part(begin, len(delivery)) if begin else delivery
            gone = part.offset - after.next_offset
            if after.next_offset > 0 and gone > LOGS_OWN:
                missing += gone
            part = replace(part, received_us=max(part.received_us, after.received_us + 1))
            after = replace(
                after,
                next_offset=part.offset + len(part),
                received_us=part.received_us + len(part) - 1,
            )
            fresh.append(part)
        if not fresh:
            return Stored(0, 0, 0, 0)
        self._next = (after.next_offset, after.received_us)
        self._missing = missing
        try:
            return super().process(fresh)
        finally:
            self._next = (self.claim.next_offset, self.claim.received_us)
            self._missing = 0

    def refuse(self, delivery: Delivery, position: int, detail: str) -> None:
        """As Pipeline's; the record counts as read."""
        if delivery.offset + position < self.claim.next_offset:
            return
        self._next = (delivery.offset + position + 1, self.claim.received_us + 1)
        try:
            super().refuse(delivery, position, detail)
        finally:
            self._next = (self.claim.next_offset, self.claim.received_us)

    def _take_again(self, delivery: Delivery) -> None:
        """What a person let out of quarantine stands nowhere in the log: the offset stays, and no offset skips it."""
        super().process([delivery])

    def follow(self, claim: Claim) -> None:
        """Go on under a new epoch, with everything read again: somebody moved devices of ours."""
        self.claim = claim
        self._next = (claim.next_offset, claim.received_us)
        self.load()

    @property
    def highest_id(self) -> int:
        """Of the devices that it has numbers for."""
        return int(self._numbers.ids.max())

    @property
    def heard_by_id(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids, and each one's last arrival in microseconds since 1970 UTC; 0 = never."""
        heard = self._engine.heard_us
        length = min(len(heard), len(self._numbers))
        return self._numbers.ids[:length], heard[:length]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        next_offset, received_us = self._next
        with self._connection.transaction():
            partitions.advance(
                self._connection,
                self.claim,
                next_offset=next_offset,
                received_us=received_us,
                lost=self._missing,
            )
            yield
        self.claim = replace(self.claim, next_offset=next_offset, received_us=received_us)
        if self._missing:
            self._miss(self._missing)

    def _make_own(self, batch: Batch) -> None:
        """Devices that speak by this partition for the first time are its own from now on."""
        seldom = [*batch.links, *(detection.device_id for detection in batch.detections)]
        said = np.unique(np.concatenate([batch.readings.device, np.array(seldom, dtype=np.int32)]))
        self._own = grown(self._own, len(self._numbers))
        new = said[~self._own[self._numbers.of(said)]].tolist()
        if not new:
            return
        with self._connection.transaction():
            partitions.advance(
                self._connection,
                self.claim,
                next_offset=self.claim.next_offset,
                received_us=self.claim.received_us,
            )
            moved = partitions.move_here(self._connection, new, self.claim.partition)
            rows = register_storage.load_devices_by_id(self._connection, new)
        self.counters["devices_moved"] += moved
        if moved or any(row.last_heard_us for row in rows):
            self.load()  # rules remember something of them
        else:
            self._engine.know([facts_of_row(row, self._known.places) for row in rows])
            self._owns(np.array(new, dtype=np.int32))

    def _owns(self, ids: NDArray[np.int32]) -> None:
        self._numbers.give(ids)
        self._own = grown(self._own, len(self._numbers))
        self._own[self._numbers.of(ids)] = True

    def _engine_of(self, rules: Sequence[Rule], fleet: Fleet | None = None) -> Engine:
        zone = district_zone(self._connection, self._settings_zone)
        return NumberedEngine(rules, self._register.metrics, zone, fleet, numbers=self._numbers)

    def _column_places(self, device: NDArray[np.int32]) -> NDArray[np.int32]:
        return self._numbers.of(device)

    def _load_kinds(self) -> None:
        """What all shards share is read again by the first that finds it old."""
        if self._register.version != self._register.current_version(self._connection):
            super()._load_kinds()
            self._register.load_devices(self._connection)
        self._zone = district_zone(self._connection, self._settings_zone)

    def _load_devices(self, engine: Engine) -> None:
        self._known.places = areas.load_places(self._connection)
        self._own[:] = False
        for part in register_storage.register_slices(self._connection, self.claim.partition):
            self._register.know(part)
            engine.know(list(facts_of(part, self._known.places)))
            self._owns(part.id)

    def _stored_states(self) -> list[tuple[str, int, dict[str, object]]]:
        return partitions.load_states(self._connection, self.claim.partition)

    def _stored_newest(self) -> tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int64]]:
        return observations.newest(self._connection, days=RECALLED_DAYS, partition=self.claim.partition)

    def _miss(self, records: int) -> None:
        """Older than what the log keeps, and never read: nobody can bring that back, so it is said aloud."""
        self.counters["log_lost"] += records
        log.error(
            "the log no longer has what was not read yet",
            partition=self.claim.partition,
            records=records,
            remedy="read faster than retention, or keep longer: CITY_STREAM_DAYS, docs/scale.md",
        )


class Shards:
    """What a worker owns, behind the calls of a pipeline; lives on one thread."""

    def __init__(
        self,
        connection: Connection[Any],
        *,
        owner: str,
        lost: Callable[[int], None],
        max_unclaimed: int,
        retention_days: int,
        router: Router | None = None,
        zone: ZoneInfo | None = None,
    ) -> None:
        """``owner``: a name unlike any other worker's. ``lost`` is told which of ours another one owns."""
        self._connection = connection
        self._owner = owner
        self._lost = lost
        self._known = Known(connection, max_unclaimed=max_unclaimed, partial=True)
        self._known.foreign.load(connection, kinds=self._known.register.kinds)
        self._settings = {
            "max_unclaimed": max_unclaimed,
            "retention_days": retention_days,
            "router": router,
            "zone": zone,
        }
        self._held: dict[int, tuple[int, Shard]] = {}  # partition -> generation of its activation, shard
        self.counters = self._known.counters
        self.laps = self._known.laps

    def acquire(self, partition: int, generation: int) -> int:
        """Own it under a new epoch, with what its devices' rules remember; the offset of the first record wanted."""
        claim = partitions.acquire(self._connection, partition, self._owner)
        shard = Shard(self._connection, claim, known=self._known, **self._settings)
        self._held[partition] = (generation, shard)
        log.info("partition acquired", partition=partition, epoch=claim.epoch, from_offset=claim.next_offset)
        return claim.next_offset

    def release(self, partition: int) -> None:
        """Forget it; what is not committed is read by its next owner."""
        if self._held.pop(partition, None) is not None:
            log.info("partition released", partition=partition)

    def process(self, deliveries: Sequence[Delivery]) -> None:
        """Each partition's part in a transaction of its own; what is of no partition of ours is another's to read."""
        parts: dict[tuple[int, int], list[Delivery]] = {}
        for delivery in deliveries:
            parts.setdefault((delivery.partition, delivery.generation), []).append(delivery)
        for (partition, generation), part in parts.items():
            if self._held.get(partition, (None,))[0] == generation:
                self._guarded(partition, lambda shard, part=part: shard.process(part))  # type: ignore[misc]  # mypy cannot type the bound default

    def refuse(self, delivery: Delivery, position: int, detail: str) -> None:
        """As Pipeline's."""
        if self._held.get(delivery.partition, (None,))[0] == delivery.generation:
            self._guarded(delivery.partition, lambda shard: shard.refuse(delivery, position, detail))

    def tick(self, listened: Listening) -> int:
        """As Pipeline's, for the devices of our partitions."""
        made = 0
        for partition in list(self._held):
            made += self._guarded(partition, lambda shard: shard.tick(listened)) or 0
        return made

    def refresh(self) -> None:
        """As Pipeline's; asked once for all."""
        active = transitions.versions_in_force(self._connection)
        version = self._known.register.current_version(self._connection)
        for _, shard in self._held.values():
            shard.follow_changes(active, version)

    def replay(self, limit: int = 500) -> int:
        """As Pipeline's; done by one worker, the owner of what no binding took."""
        if UNROUTED not in self._held:
            return 0
        return self._guarded(UNROUTED, lambda shard: shard.replay(limit)) or 0

    @property
    def heard_us(self) -> NDArray[np.int64]:
        """As Pipeline's, of the devices of our partitions; 0 for others."""
        shards = [shard for _, shard in self._held.values()]
        heard = np.zeros(max((shard.highest_id for shard in shards), default=-1) + 1, dtype=np.int64)
        for shard in shards:
            ids, column = shard.heard_by_id
            heard[ids] = np.maximum(heard[ids], column)
        return heard

    @property
    def unclaimed(self) -> int:
        """As Pipeline's."""
        return self._known.register.unclaimed

    @property
    def held(self) -> list[int]:
        """The partitions that are ours."""
        return sorted(self._held)

    @property
    def claims(self) -> dict[int, Claim]:
        """What the last commits left, by partition."""
        return {partition: shard.claim for partition, (_, shard) in list(self._held.items())}

    def _guarded(self, partition: int, work: Callable[[Shard], Any]) -> Any:
        """Do it as the owner. Under an epoch that is over: again, where it is still ours, else never."""
        for _ in range(3):  # devices of ours may move again meanwhile; what is not done then comes again
            _, shard = self._held[partition]
            try:
                return work(shard)
            except FencedError as error:
                with self._connection.transaction():
                    ours = partitions.owner_of(self._connection, partition) == self._owner
                    if ours:
                        claim = partitions.acquire(self._connection, partition, self._owner)
                if not ours:
                    log.warning("partition lost", why=str(error))
                    self.release(partition)
                    self._lost(partition)
                    return None
                shard.follow(claim)
        self.release(partition)
        self._lost(partition)
        return None
