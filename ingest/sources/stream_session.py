"""One life of a worker's connections to RabbitMQ's streams.

rstream speaks the protocol, on a line of ours (``stream_line``); what to do when something breaks is decided here. A
partition whose stream has no node now, or whose node is gone, is given back and subscribed to again, alone; the others
are read on. What no single partition can mend (a fence, a chunk that cannot be taken, no address that answers) ends
this life, and the next begins. Leans on ``rstream.client.Client`` alone; its consumers reconnect by themselves.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from rstream import OffsetType, schema
from rstream.connection import ConnectionClosed
from rstream.exceptions import InternalError, StreamDoesNotExist, StreamNotAvailable
from rstream.schema import OffsetSpecification

from city.partitions import SUPER_STREAM, partition_of
from ingest.sources.stream_line import ChunkFrame, LogClient

GROUP = "city-ingest"  # consumers of one name share the partitions
CREDITS = 40  # chunks of a partition that may be under way beside what is held
PAID_AT = 10  # so many are owed to the broker when it gets them in one go; less at the next tick
HEARTBEAT_S = 2  # RabbitMQ ends a connection that was silent for two or three of them
SILENT_S = 4.0  # a node that said nothing for so long is gone: it sends a sign of life every second
OPEN_S = 3.0  # to connect and be let in; a node that is cut off answers never
NEXT_S = 0.3  # a node that has not let us in by then is not waited for alone
CLOSE_S = 1.0
AGAIN_S = 0.25  # before a partition is asked for again
ASK_S = 3.0  # for an answer that subscribes to nothing
FRAME_MAX = 4 * 1024 * 1024
TICK_S = 0.05

# What one partition meets while its stream moves or its node goes.
_PASSING = (
    StreamNotAvailable,
    StreamDoesNotExist,
    InternalError,  # the log is without a coordinator for the moment
    ConnectionClosed,
    TimeoutError,
    OSError,
)

log = structlog.get_logger()


class TroubleError(Exception):
    """The session is over: one line saying why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Records as the broker wrote them together; ``at_ms`` is its clock then, milliseconds since 1970 UTC."""

    stream: str
    first_offset: int
    at_ms: int
    records: Sequence[bytes]


Place = tuple[str, int]  # a node's host and port
Activated = Callable[[str], Awaitable[int]]  # a stream is ours to read; from which offset
Deactivated = Callable[[str], Awaitable[None]]


class Session:
    """Consumers of every partition, each of which the broker makes active or not."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        extra: str,
        take: Callable[[Chunk], None],
        may_read: Callable[[], bool],
        activated: Activated,
        deactivated: Deactivated,
        tls: ssl.SSLContext | None,
        name: str,
        wanted: Callable[[str], bool] = lambda _stream: True,
    ) -> None:
        """``extra`` is a stream beside the super stream's, consumed alike; ``name`` is shown by the broker.

        ``wanted``: whether a stream is ours to share at all, where several districts have one log.
        """
        self._wanted = wanted
        self._urls = list(urls)
        self._extra = extra
        self._take = take
        self._may_read = may_read
        self._activated = activated
        self._deactivated = deactivated
        self._tls = tls
        self._name = name
        self._clients: dict[Place, LogClient] = {}
        self._opening: dict[Place | None, asyncio.Lock] = {}  # None: to whichever address answers
        self._streams: list[str] = []
        self._at: dict[str, LogClient] = {}  # where each is subscribed to, or about to be
        self._moved: dict[str, asyncio.Event] = {}  # that subscription is over
        self._settled: set[str] = set()
        self._from: dict[str, int] = {}  # the offset asked for, until the first chunk came
        self._doubted: dict[str, tuple[int, int]] = {}  # asked for from, and came from
        self._owed: dict[int, int] = {}  # credits kept back while there is no room, by subscription
        self._heard: dict[LogClient, float] = {}  # monotonic seconds
        self._work: set[asyncio.Task[None]] = set()
        self._trouble: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.why = ""  # the last partition that had to be asked for again

    @property
    def subscribed(self) -> bool:
        """Whether every partition is subscribed to."""
        return len(self._settled) == len(self._streams) > 0

    async def run(self) -> None:
        """Until something breaks that no single partition can mend: raises TroubleError."""
        try:
            # In the background: trouble must not wait for an answer that never comes.
            self._do(self._begin())
            while not self._trouble.done():
                await asyncio.wait([self._trouble], timeout=TICK_S)
                self._look()
            raise TroubleError(self._trouble.result())
        finally:
            self._settled.clear()
            await self._close()

    async def _begin(self) -> None:
        first = await self._first()
        streams = [*await first.partitions(SUPER_STREAM)]
        if not streams:
            raise TroubleError(f"there is no super stream {SUPER_STREAM}; run city scale init")
        self._streams = [stream for stream in (*streams, self._extra) if self._wanted(stream)]
        # While a node is cut off each subscription takes a while: several workers begin at different ones.
        random.shuffle(self._streams)
        places = await first.places_of(self._streams)
        for number, stream in enumerate(self._streams):
            self._do(self._keep(number, stream, places[stream]))

    async def _keep(self, number: int, stream: str, places: Sequence[Place]) -> None:
        """Subscribed to one stream, wherever it is, for as long as this life lasts.

        At first on any of its nodes, so that none of them has all of a worker's partitions when it goes; again, where
        there is a connection.
        """
        while True:
            moved = self._moved[stream] = asyncio.Event()
            try:
                if places:
                    client = await self._at_place(random.choice(places))  # noqa: S311  # spreading
                else:
                    client = await self._at_hand(await self._places(stream))
                await _unless(moved, self._subscribe(number, stream, client))
                self._settled.add(stream)
                await moved.wait()
            except _PASSING as error:
                self._move(stream, f"{stream}: {error or type(error).__name__}")
            await self._deactivated(stream)
            await asyncio.sleep(AGAIN_S)
            places = ()

    def _move(self, stream: str, why: str) -> None:
        """A subscription is over, or did not come about: what still comes of it is not taken."""
        self.why = why
        self._at.pop(stream, None)
        self._from.pop(stream, None)
        if stream in self._settled:  # told once, however often it is asked for
            log.info("a partition is asked for again", stream=stream, why=why)
            self._settled.discard(stream)
        self._owed.pop(self._streams.index(stream), None)
        self._moved[stream].set()

    def again(self, partition: int) -> None:
        """Unsubscribe from one partition and subscribe anew."""
        stream = next((one for one in self._at if partition_of(one) == partition), None)
        if stream is not None:
            self._do(self._leave(stream, self._at[stream], f"{stream} is another worker's"))

    async def _leave(self, stream: str, client: LogClient, why: str) -> None:
        moved = self._moved[stream]
        try:
            async with asyncio.timeout(ASK_S):
                await client.unsubscribe(self._streams.index(stream))
        except _PASSING:
            self._lost(client, "did not answer")
        if not moved.is_set():
            self._move(stream, why)

    def end(self, why: str) -> None:
        """Give everything up."""
        if not self._trouble.done():
            self._trouble.set_result(why)

    async def end_of(self, stream: str) -> int | None:
        """The offset behind the stream's last record; None while we have no connection for it."""
        client = self._at.get(stream)
        return None if client is None else await client.end_of(stream)

    # ── connections ───────────────────────────────────────────────────────────────────────────────────

    async def _first(self) -> LogClient:
        """A connection to any address that answers, in an order of our own so that workers spread.

        The next is tried beside one that is slow (RFC 8305, section 5): a node that is cut off refuses nobody.
        """
        why = "no address"
        left = random.sample(self._urls, len(self._urls))
        tried: set[asyncio.Task[LogClient]] = set()
        try:
            while left or tried:
                if left:
                    tried.add(asyncio.ensure_future(self._open_url(left.pop())))
                done, tried = await asyncio.wait(
                    tried, timeout=NEXT_S if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in done:
                    try:
                        return attempt.result()
                    except TroubleError as error:
                        why = str(error)
        finally:
            for attempt in tried:
                attempt.cancel()
            await asyncio.gather(*tried, return_exceptions=True)
        raise TroubleError(why)

    async def _open_url(self, url: str) -> LogClient:
        parts = urlsplit(url)
        try:
            return await self._open(parts.hostname or "127.0.0.1", parts.port or 5552, parts)
        except (TimeoutError, OSError, AssertionError) as error:
            raise TroubleError(f"{parts.hostname}:{parts.port}: {error or type(error).__name__}") from error

    async def _open(self, host: str, port: int, parts: Any) -> LogClient:
        client = LogClient(
            host,
            port,
            ssl_context=self._tls,
            frame_max=FRAME_MAX,
            heartbeat=HEARTBEAT_S,
            connection_name=self._name,
            connection_closed_handler=lambda _: self._lost(client, "closed the connection"),
        )
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        try:
            async with asyncio.timeout(OPEN_S):
                await client.start()
                client.add_handler(schema.Heartbeat, lambda _: self._hear(client), name="0")
                await client.authenticate(unquote(parts.path[1:]) or "/", user, password)
        except BaseException:
            await _ended(client)
            raise
        said = client.server_properties or {}  # where others find this node: places are told by that name
        place = (said.get("advertised_host") or host, int(said.get("advertised_port") or port))
        if place in self._clients:  # by two of our addresses
            await _ended(client)
            return self._clients[place]
        self._clients[place] = client
        self._hear(client)
        client.add_stream(SUPER_STREAM)  # rstream tells of a lost connection only where it knows of a stream
        client.add_handler(ChunkFrame, partial(self._deliver, client), name="0")
        client.add_handler(schema.ConsumerUpdateResponse, partial(self._updated, client), name="0")
        client.add_handler(schema.MetadataUpdate, partial(self._elsewhere, client), name="0")
        return client

    def _lost(self, client: LogClient, why: str) -> None:
        """A connection is over, and with it every subscription on it."""
        place = next((place for place, at in self._clients.items() if at is client), None)
        if place is None:
            return
        del self._clients[place]
        self._heard.pop(client, None)
        if not self._moved:  # it was being asked what there is, and answers never
            self.end(f"{place[0]}:{place[1]} {why}")
        for stream in [stream for stream, at in self._at.items() if at is client]:
            self._move(stream, f"{place[0]}:{place[1]} {why}")
        self._do(_ended(client))

    def _elsewhere(self, client: LogClient, frame: schema.MetadataUpdate) -> None:
        stream = frame.metadata_info.stream
        if self._at.get(stream) is client:
            self._move(stream, f"{stream} changed its place")

    async def _places(self, stream: str) -> list[Place]:
        """Of the nodes that have it now, the leader's last; asked of who spoke last, or of a new connection."""
        async with self._opening.setdefault(None, asyncio.Lock()):
            if self._clients:
                client = max(self._clients.values(), key=lambda one: self._heard.get(one, 0.0))
            else:
                client = await self._first()
        async with asyncio.timeout(ASK_S):
            places: list[Place] = (await client.places_of([stream]))[stream]
        if not places:
            raise TimeoutError("it has no node now")
        return places

    async def _at_hand(self, places: Sequence[Place]) -> LogClient:
        at_hand = [self._clients[place] for place in places if place in self._clients]
        return random.choice(at_hand) if at_hand else await self._at_place(random.choice(places))  # noqa: S311  # spreading

    async def _at_place(self, place: Place) -> LogClient:
        async with self._opening.setdefault(place, asyncio.Lock()):
            if place in self._clients:
                return self._clients[place]
            return await self._open(*place, urlsplit(self._urls[0]))

    async def _subscribe(self, number: int, stream: str, client: LogClient) -> None:
        if client not in self._clients.values():
            raise TimeoutError("its node went meanwhile")
        self._at[stream] = client
        properties = {"single-active-consumer": "true", "name": GROUP}
        if stream != self._extra:
            properties["super-stream"] = SUPER_STREAM
        await client.subscribe(stream, number, initial_credit=CREDITS, properties=properties)

    async def _close(self) -> None:
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, *map(_ended, self._clients.values()), return_exceptions=True)

    # ── what comes in ─────────────────────────────────────────────────────────────────────────────────

    def _hear(self, client: LogClient) -> None:
        self._heard[client] = time.monotonic()

    def _deliver(self, client: LogClient, frame: ChunkFrame) -> None:
        self._hear(client)
        number = frame.subscription_id
        stream = self._streams[number]
        if self._trouble.done() or self._at.get(stream) is not client:
            return  # a chunk taken behind one that was not would look as if the log had lost that one
        wanted = self._from.pop(stream, None)
        if wanted is not None and frame.first_offset > wanted:
            # osiris 1.13.1 (osiris_log, resolve_offset_location) begins at its end where it does not have an offset,
            # and a replica that catches up has got further when it looks for its end: what came between would be
            # skipped. What the log really has no more begins at the same place when it is asked for again.
            came = (wanted, frame.first_offset)
            if self._doubted.get(stream) != came:
                self._doubted[stream] = came
                del self._at[stream]
                self._do(self._leave(stream, client, f"{stream} began at {came[1]}, not at {wanted}"))
                return
        try:
            self._owed[number] = self._owed.get(number, 0) + 1
            self._take(
                Chunk(
                    stream=stream,
                    first_offset=frame.first_offset,
                    at_ms=frame.timestamp,
                    records=frame.records,
                )
            )
        except Exception as error:  # rstream would log it and go on behind the chunk
            self.end(f"a chunk that cannot be taken: {error}")
            return
        if self._owed[number] >= PAID_AT and self._may_read():
            self._do(self._pay())

    async def _pay(self) -> None:
        owed, self._owed = self._owed, {}
        for number, due in owed.items():
            client = self._at.get(self._streams[number])
            if client is not None:
                with suppress(ConnectionClosed, OSError):  # which its own handler, or its silence, tells of
                    await client.credit(number, due)

    def _updated(self, client: LogClient, frame: schema.ConsumerUpdateResponse) -> None:
        self._do(self._answer(client, frame))

    async def _answer(self, client: LogClient, frame: schema.ConsumerUpdateResponse) -> None:
        stream = self._streams[frame.subscription_id]
        if self._at.get(stream) is not client:
            return
        moved = self._moved[stream]
        if frame.active:
            self._from[stream] = wanted = await self._activated(stream)
            offset = OffsetSpecification(OffsetType.OFFSET.value, wanted)
        else:
            await self._deactivated(stream)
            offset = OffsetSpecification(OffsetType.NEXT.value, 0)
        if not moved.is_set():
            with suppress(ConnectionClosed, OSError):  # as above
                await client.consumer_update(frame.correlation_id, offset)

    def _do(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(str(error) if isinstance(error, TroubleError) else f"{type(error).__name__}: {error}")

    def _look(self) -> None:
        """What no frame tells: a node that froze, room that is there again."""
        now = time.monotonic()
        for client in [one for one in self._clients.values() if now - self._heard[one] > SILENT_S]:
            self._lost(client, f"was silent for {SILENT_S:.0f} s")
        if self._owed and self._may_read():
            self._do(self._pay())


async def _unless(moved: asyncio.Event, work: Awaitable[None]) -> None:
    """Do it; raises TimeoutError when the subscription is over before there was an answer."""
    doing, over = asyncio.ensure_future(work), asyncio.ensure_future(moved.wait())
    try:
        await asyncio.wait({doing, over}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise TimeoutError("it moved before it answered")
        doing.result()
    finally:
        doing.cancel()
        over.cancel()


async def _ended(client: LogClient) -> None:
    """Close it, whatever rstream meets on a broken line; a node that is gone is not waited for."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await client.close()
    except Exception as error:
        log.debug("closing a connection", why=str(error))
    finally:
        client.abort()
