"""The scaled-out source: RabbitMQ's partitioned log, of which the broker gives each worker its share.

A thread of its own runs the connections (``stream_session``). What they ask of the database (whose partition, from
which offset) is left in a queue that the pipeline's thread works off between two batches: ``attend``.
"""

import asyncio
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from city.partitions import UNROUTED_STREAM, partition_of
from ingest.delivery import Delivery, Owner
from ingest.sources.stream_message import NotUnderstoodError, read
from ingest.sources.stream_session import Chunk, Session, TroubleError

RETRY_S = (0.1, 2.0)  # first and longest wait before the next session
BEHIND_S = 3.0  # records older than this when they come are a backlog
SETTLE_S = 1.0  # so long after an activation more may be on its way
LOOK_S = 2.0  # between two looks at where our partitions end
ATTEND_S = 0.1  # of taking over partitions before what has come is worked off
STUCK_S = 30.0  # records wait and nothing is committed for so long: another worker shall try

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """Something the pipeline's thread is to do for the connections' thread."""

    partition: int
    generation: int  # 0 = release
    answer: "Future[int]" = field(default_factory=Future)


class StreamLog:
    """A source like a broker's queue, for one worker among several. ``reconnects`` counts sessions after the first."""

    def __init__(
        self,
        urls: str,
        *,
        name: str,
        take: Callable[[Delivery], None],
        may_read: Callable[[], bool],
        wake: Callable[[], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``wake`` has the pipeline's thread look at ``waiting``; ``tls`` None = spoken in the clear."""
        self._urls = [one.strip() for one in urls.split(",") if one.strip()]
        self._name = name
        self._take_delivery = take
        self._may_read = may_read
        self._wake = wake
        self._tls = tls
        self._thread = threading.Thread(target=self._run, name="stream log", daemon=True)
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None
        self._asked: deque[_Asked] = deque()
        self._generation = 0
        self._activations: dict[str, int] = {}  # stream -> generation, as the connections' thread sees it
        self.active: dict[int, int] = {}  # partition -> generation, as the pipeline's thread does
        self.ends: dict[
            int, int
        ] = {}  # partition of ours -> offset behind the log's last record, when looked at
        self._served: frozenset[int] | None = None
        self._behind_until = 0.0
        self._unread = 0  # messages given and not acknowledged
        self._progress_at = time.monotonic()
        self.reconnects = 0
        self.trouble = ""

    def start(self) -> None:
        """Connect in the background and keep at it."""
        self._thread.start()

    def stop(self) -> None:
        """Leave: the broker gives our partitions to others at once."""
        self._stop.set()
        self.give_up("stopping")
        self._thread.join(5)

    def ask_again(self, partition: int) -> None:
        """Leave one partition to whoever owns it and stand in line for it again; from any thread."""
        session, loop = self._session, self._loop
        if session is not None and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(session.again, partition)

    def give_up(self, why: str) -> None:
        """End the session and begin another; from any thread."""
        session, loop = self._session, self._loop
        if session is not None and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(session.end, why)

    def serve(self, partitions: frozenset[int] | None) -> None:
        """Share these alone, None = all; another choice than before begins another session."""
        if partitions != self._served:
            self._served = partitions
            self.give_up("this database is served other partitions now")

    @property
    def connected(self) -> bool:
        """Whether every partition is subscribed to, active or waiting for its turn."""
        return self._session is not None and self._session.subscribed

    @property
    def behind(self) -> bool:
        """Whether what came lately was old when it came, or a partition was just taken over."""
        return not self.connected or time.monotonic() < self._behind_until

    @property
    def waiting(self) -> bool:
        """Whether ``attend`` has something to do."""
        return bool(self._asked)

    def figures(self) -> dict[str, object]:
        """The log's part of this process's health, under the names of a broker."""
        session = self._session
        passing = session.why if session is not None and not session.subscribed else ""
        return {
            "broker_connected": self.connected,
            "broker_refusal": self.trouble or passing,
            "broker_dropped": 0,
            "broker_reconnects": self.reconnects,
            "partitions": len(self.active),
        }

    def acknowledge(self, generation: int, packet_ids: list[int]) -> None:
        """Committed. The offset is in the database; here it only shows that work goes on."""
        self._unread = max(0, self._unread - len(packet_ids))
        self._progress_at = time.monotonic()

    def attend(self, owner: Owner) -> None:
        """On the pipeline's thread: acquire and release what was asked for, in that order of asking.

        For ``ATTEND_S``, the rest at the next call: who is given all partitions at once begins with the first.
        """
        until = time.monotonic() + ATTEND_S
        while self._asked and time.monotonic() < until:
            asked = self._asked[0]  # stays until done: the database may be away
            if asked.generation:
                offset = owner.acquire(asked.partition, asked.generation)
                self.active[asked.partition] = asked.generation
            else:
                owner.release(asked.partition)
                offset = 0
                self.active.pop(asked.partition, None)
            self._asked.popleft()
            with suppress(InvalidStateError):  # the session that asked is over
                asked.answer.set_result(offset)

    # ── the connections' thread ───────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._keep_at_it())

    async def _keep_at_it(self) -> None:
        wait_s, shortest = RETRY_S[0], RETRY_S[0]
        while not self._stop.is_set():
            began = time.monotonic()
            self._session = Session(
                self._urls,
                extra=UNROUTED_STREAM,
                take=self._take,
                may_read=self._may_read,
                activated=self._activated,
                deactivated=self._deactivated,
                tls=self._tls,
                name=self._name,
                wanted=lambda stream: self._served is None or partition_of(stream) in self._served,
            )
            watch = asyncio.ensure_future(self._watch(self._session))
            look = asyncio.ensure_future(self._look(self._session))
            try:
                await self._session.run()
            except (TimeoutError, TroubleError, OSError) as error:
                self._say(str(error) or type(error).__name__)
            except Exception as error:  # rstream's own errors have no common root but this
                self._say(f"{type(error).__name__}: {error}")
            watch.cancel()
            look.cancel()
            self._forget_all()
            self.reconnects += 1
            wait_s = shortest if time.monotonic() - began > 10 else min(wait_s * 2, RETRY_S[1])
            if not self._stop.is_set():
                await asyncio.sleep(wait_s)

    def _say(self, why: str) -> None:
        if why != self.trouble and not self._stop.is_set():
            log.warning("lost the log", why=why)
        self.trouble = why

    async def _watch(self, session: Session) -> None:
        """Records wait and nothing is committed: let another worker try."""
        said = False
        while True:
            await asyncio.sleep(0.2)
            if session.subscribed and not said:
                log.info("connected to the log", name=self._name)
                said, self.trouble = True, ""
            if self._unread and time.monotonic() - self._progress_at > STUCK_S:
                self._unread, self._progress_at = 0, time.monotonic()
                session.end(f"nothing was committed for {STUCK_S:.0f} s")

    async def _look(self, session: Session) -> None:
        """Where each partition of ours ends. What cannot be asked is not known, and its age shows in the figures."""
        while True:
            await asyncio.sleep(LOOK_S)
            found: dict[int, int] = {}
            for stream in list(self._activations):
                try:
                    end = await session.end_of(stream)
                except Exception as error:  # rstream's own errors have no common root but this
                    log.debug("where the log ends", stream=stream, why=str(error) or type(error).__name__)
                    continue
                if end is not None:
                    found[partition_of(stream)] = end
            self.ends = found

    def _forget_all(self) -> None:
        for stream in list(self._activations):
            self._ask(_Asked(partition=partition_of(stream), generation=0))
        self._activations.clear()
        self.ends = {}

    def _ask(self, asked: _Asked) -> "Future[int]":
        self._asked.append(asked)
        self._wake()
        return asked.answer

    async def _activated(self, stream: str) -> int:
        self._behind_until = time.monotonic() + SETTLE_S
        self._generation += 1
        self._activations[stream] = generation = self._generation
        asked = _Asked(partition=partition_of(stream), generation=generation)
        return await asyncio.wrap_future(self._ask(asked))

    async def _deactivated(self, stream: str) -> None:
        if self._activations.pop(stream, None) is not None:
            await asyncio.wrap_future(self._ask(_Asked(partition=partition_of(stream), generation=0)))

    def _take(self, chunk: Chunk) -> None:
        generation = self._activations.get(chunk.stream)
        if generation is None or not chunk.records:
            return  # on its way while we lost the partition
        topics: list[bytes] = []
        payloads: list[bytes] = []
        for record in chunk.records:
            try:
                topic, payload = read(record)
            except NotUnderstoodError:
                topic, payload = b"", record  # quarantined with its bytes: it names no device
            topics.append(topic)
            payloads.append(payload)
        if time.time() - chunk.at_ms / 1000 > BEHIND_S:
            self._behind_until = time.monotonic() + SETTLE_S
        if not self._unread:
            self._progress_at = time.monotonic()
        self._unread += len(topics)
        self._take_delivery(
            Delivery(
                topics=topics,
                payloads=payloads,
                packet_ids=[0] * len(topics),
                received_us=chunk.at_ms * 1000,
                generation=generation,
                partition=partition_of(chunk.stream),
                offset=chunk.first_offset,
            )
        )
