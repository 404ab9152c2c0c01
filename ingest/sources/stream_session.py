"""One life of a worker's connections to RabbitMQ's streams: from the first address that answers to the first trouble.

rstream speaks the protocol, on a line of ours (``stream_line``); what to do when something breaks is decided here, in
one way: everything is closed, the broker gives our partitions to whoever is there, and the next life begins. Leans on
``rstream.client.Client`` alone; its consumers reconnect by themselves, stream by stream, which leaves a worker half
alive.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from rstream import OffsetType, schema
from rstream.schema import OffsetSpecification

from city.partitions import SUPER_STREAM
from ingest.sources.stream_line import ChunkFrame, LogClient

GROUP = "city-ingest"  # consumers of one name share the partitions
CREDITS = 40  # chunks of a partition that may be under way beside what is held
PAID_AT = 10  # so many are owed to the broker when it gets them in one go; less at the next tick
HEARTBEAT_S = 2  # RabbitMQ ends a connection that was silent for two or three of them
SILENT_S = 5.0  # a node that said nothing for so long is gone: it sends a sign of life every second
OPEN_S = 3.0  # to connect and be let in; a node that is cut off answers never
NEXT_S = 0.3  # a node that has not let us in by then is not waited for alone
CLOSE_S = 1.0
FRAME_MAX = 4 * 1024 * 1024
TICK_S = 0.05

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
        self._clients: dict[tuple[str, int], LogClient] = {}
        self._streams: list[str] = []
        self._at: dict[str, LogClient] = {}
        self._owed: dict[int, int] = {}  # credits kept back while there is no room, by subscription
        self._heard: dict[tuple[str, int], float] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._trouble: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.subscribed = False

    async def run(self) -> None:
        """Until something breaks: raises TroubleError."""
        try:
            # In the background: trouble must not wait for an answer that never comes.
            self._do(self._subscribe_all())
            while not self._trouble.done():
                await asyncio.wait([self._trouble], timeout=TICK_S)
                self._look()
            raise TroubleError(self._trouble.result())
        finally:
            self.subscribed = False
            await self._close()

    async def _subscribe_all(self) -> None:
        first = await self._first()
        self._streams = [*await first.partitions(SUPER_STREAM)]
        if not self._streams:
            raise TroubleError(f"there is no super stream {SUPER_STREAM}; run city scale init")
        self._streams = [stream for stream in (*self._streams, self._extra) if self._wanted(stream)]
        # While a node is cut off each subscription takes a while: several workers begin at different ones.
        random.shuffle(self._streams)
        places = await first.places_of(self._streams)
        for number, stream in enumerate(self._streams):
            self._at[stream] = await self._beside(first, stream, places[stream])
            await self._subscribe(number, stream)
        self.subscribed = True

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
            connection_closed_handler=lambda _: self.end(f"{host}:{port} closed the connection"),
        )
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        try:
            async with asyncio.timeout(OPEN_S):
                await client.start()
                client.add_handler(schema.Heartbeat, lambda _: self._hear((host, port)), name="0")
                await client.authenticate(unquote(parts.path[1:]) or "/", user, password)
        except BaseException:
            await _ended(client)
            raise
        self._clients[host, port] = client
        self._hear((host, port))
        client.add_stream(SUPER_STREAM)  # rstream tells of a lost connection only where it knows of a stream
        client.add_handler(ChunkFrame, partial(self._deliver, (host, port)), name="0")
        client.add_handler(schema.ConsumerUpdateResponse, self._updated, name="0")
        client.add_handler(
            schema.MetadataUpdate,
            lambda frame: self.end(f"stream {frame.metadata_info.stream} changed its place"),
            name="0",
        )
        return client

    async def _beside(self, first: LogClient, stream: str, places: Sequence[tuple[str, int]]) -> LogClient:
        """A connection to a node of ``places`` (the leader's last): the one at hand where it is among them."""
        if not places:
            raise TroubleError(f"stream {stream} has no node now")
        said = first.server_properties or {}
        own = (said.get("advertised_host", ""), int(said.get("advertised_port", 0)))
        if own in places:
            return first
        for place in places:
            if place in self._clients:
                return self._clients[place]
        parts = urlsplit(self._urls[0])
        return await self._open(*random.choice(places[:-1] or places), parts)  # noqa: S311  # spreading

    async def _subscribe(self, number: int, stream: str) -> None:
        properties = {"single-active-consumer": "true", "name": GROUP}
        if stream != self._extra:
            properties["super-stream"] = SUPER_STREAM
        await self._at[stream].subscribe(stream, number, initial_credit=CREDITS, properties=properties)

    async def _close(self) -> None:
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, *map(_ended, self._clients.values()), return_exceptions=True)

    # ── what comes in ─────────────────────────────────────────────────────────────────────────────────

    def _hear(self, place: tuple[str, int]) -> None:
        self._heard[place] = time.monotonic()

    def _deliver(self, place: tuple[str, int], frame: ChunkFrame) -> None:
        self._hear(place)
        if self._trouble.done():
            return  # a chunk taken behind one that was not would look as if the log had lost that one
        try:
            number = frame.subscription_id
            self._owed[number] = self._owed.get(number, 0) + 1
            self._take(
                Chunk(
                    stream=self._streams[number],
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
            await self._at[self._streams[number]].credit(number, due)

    def _updated(self, frame: schema.ConsumerUpdateResponse) -> None:
        self._do(self._answer(frame))

    async def _answer(self, frame: schema.ConsumerUpdateResponse) -> None:
        stream = self._streams[frame.subscription_id]
        if frame.active:
            offset = OffsetSpecification(OffsetType.OFFSET.value, await self._activated(stream))
        else:
            await self._deactivated(stream)
            offset = OffsetSpecification(OffsetType.NEXT.value, 0)
        await self._at[stream].consumer_update(frame.correlation_id, offset)

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
        for (host, port), heard in self._heard.items():
            if now - heard > SILENT_S:
                self.end(f"{host}:{port} has been silent for {now - heard:.0f} s")
        if self._owed and self._may_read():
            self._do(self._pay())


async def _ended(client: LogClient) -> None:
    """Close it, whatever rstream meets on a broken line; a node that is gone is not waited for."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await client.close()
    except Exception as error:
        log.debug("closing a connection", why=str(error))
