"""A TCP listener as a source: thousands of peers in one thread, each cut into frames by its family's conversation.

A frame becomes a message in the inbox; what the peer is answered is made and sent after the commit. Bytes that are
no frame go the same way, so that they are seen in quarantine. What a peer may do stands in ``peers``.
"""

import asyncio
import fcntl
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

import structlog

from city.errors import CityError
from ingest.delivery import Delivery
from ingest.inbox import Inbox
from ingest.sources.peers import COUNTED, Conversation, Heard, Limits, Peer

BACKLOG = 1024  # connections that may wait to be accepted
ACCEPT_MOST = 64  # at once, then those who are there have their turn
SELECTABLE = 1024  # descriptors that select() takes; paho waits with it, so peers are kept above
GATHER_S = 0.005  # frames of all peers within it are one delivery
GATHER_MOST = 1024  # frames
RESUME_EVERY_S = 0.02
LEAVE_S = 0.5  # for the last answers when the process stops
SPARE_FILES = 256  # descriptors for everything that is no peer

log = structlog.get_logger()


class TcpSource:
    """Listens at one port; ``converse`` makes the conversation of each new peer."""

    def __init__(
        self,
        family: str,
        *,
        host: str,
        port: int,
        setting: str,
        converse: Callable[[], Conversation],
        inbox: Inbox,
        source: int,
        limits: Limits,
    ) -> None:
        self.family = family
        self.limits = limits
        self.converse = converse
        self.counters: Counter[str] = Counter()
        self.peers: set[Peer] = set()
        self.address: tuple[str, int] = (host, port)
        self._setting = setting
        self._inbox = inbox
        self._source = source
        self._addresses: Counter[str] = Counter()
        self._gathered: list[tuple[int, Heard]] = []  # with their packet ids
        self._owed: dict[int, tuple[Peer, Callable[[], bytes]]] = {}  # by packet id
        self._last_id = 0
        self._last_arrival_us = 0
        self._full = False  # the inbox has no room: nobody is read
        self._generation = 0
        self._welcomes: set[asyncio.Task[object]] = set()  # a task that nobody holds may vanish
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # ── what the worker's thread calls ────────────────────────────────────────────────────────────────

    @property
    def connected(self) -> bool:
        """Whether it listens."""
        return self._loop is not None

    @property
    def behind(self) -> bool:
        """Whether peers are kept waiting."""
        return self._full

    def start(self) -> None:
        """Listen, in a thread of its own. Raises CityError when the port cannot be had."""
        host, port = self.address
        listening = _listening_socket(host, port, self._setting)
        self.address = listening.getsockname()[:2]
        _allow_files(SELECTABLE + self.limits.connections + SPARE_FILES)
        self._generation += 1
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(loop, listening), name=self.family, daemon=True
        )
        self._thread.start()
        log.info("listening", family=self.family, host=self.address[0], port=self.address[1])

    def stop(self) -> None:
        """Send the answers that are due, close every connection, end the thread."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()

    def acknowledge(self, generation: int, packet_ids: list[int]) -> None:
        """These are committed: their peers are answered, as far as they are still there."""
        loop = self._loop
        wanted = [packet_id for packet_id in packet_ids if packet_id]
        if loop is not None and wanted and generation == self._generation:
            loop.call_soon_threadsafe(self._answer, wanted)

    def figures(self) -> dict[str, object]:
        """``{family}_connections`` and one counter for each thing that befell peers and frames."""
        named = {name: self.counters[name] for name in COUNTED}
        return {
            f"{self.family}_{name}": value
            for name, value in ({"connections": len(self.peers)} | named).items()
        }

    # ── what happens in the listener's own thread ─────────────────────────────────────────────────────

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        listening.setblocking(False)
        loop.add_reader(listening, self._accept, loop, listening)
        loop.call_soon(self._sweep, loop)
        try:
            loop.run_forever()
        finally:
            loop.remove_reader(listening)
            listening.close()
            loop.run_until_complete(self._leave())
            loop.close()

    def _accept(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        for _ in range(ACCEPT_MOST):
            try:
                connection = _moved_up(listening.accept()[0])
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor left: those who wait are taken when somebody goes
                log.warning("cannot accept", family=self.family, error=str(error))
                loop.remove_reader(listening)
                loop.call_later(0.5, loop.add_reader, listening, self._accept, loop, listening)
                return
            welcome = loop.create_task(loop.connect_accepted_socket(lambda: Peer(self, loop), connection))
            self._welcomes.add(welcome)
            welcome.add_done_callback(self._welcomes.discard)

    async def _leave(self) -> None:
        await asyncio.gather(*self._welcomes, return_exceptions=True)
        for peer in list(self.peers):
            peer.leave()
        deadline = time.monotonic() + LEAVE_S
        while self.peers and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        for peer in list(self.peers):
            peer.transport.abort()
        await asyncio.sleep(0)

    def admit(self, peer: Peer) -> bool:
        """Whether there is a place for one more."""
        self.counters["accepted"] += 1
        if (
            len(self.peers) >= self.limits.connections
            or self._addresses[peer.address] >= self.limits.per_address
        ):
            self.counters["refused"] += 1
            return False
        self.peers.add(peer)
        self._addresses[peer.address] += 1
        if self._full:
            peer.pause()
        return True

    def dismiss(self, peer: Peer) -> None:
        """It is gone; what it is owed is dropped, for it sends again what was not acknowledged."""
        if peer in self.peers:
            self.peers.discard(peer)
            self._addresses[peer.address] -= 1
            if not self._addresses[peer.address]:
                del self._addresses[peer.address]
        for packet_id in peer.owed:
            del self._owed[packet_id]
        peer.owed.clear()

    def take(self, peer: Peer, heard: list[Heard]) -> None:
        """Messages for the next delivery."""
        if heard and not self._gathered:
            asyncio.get_running_loop().call_later(GATHER_S, self._deliver)
        self._gathered += [(self._owe(peer, one), one) for one in heard]
        if len(self._gathered) >= GATHER_MOST:
            self._deliver()

    def _deliver(self) -> None:
        gathered, self._gathered = self._gathered, []
        if not gathered:
            return
        arrival = max(time.time_ns() // 1000, self._last_arrival_us + 1)
        self._last_arrival_us = arrival + len(gathered)
        self._inbox.put(
            Delivery(
                topics=[heard.topic.encode() for _, heard in gathered],
                payloads=[heard.payload for _, heard in gathered],
                packet_ids=[packet_id for packet_id, _ in gathered],
                received_us=arrival,
                generation=self._generation,
                source=self._source,
            )
        )
        if not self._full and not self._inbox.has_room():
            self._full = True
            for peer in self.peers:
                peer.pause()
            loop = asyncio.get_running_loop()
            loop.call_later(RESUME_EVERY_S, self._resume, loop)

    def _owe(self, peer: Peer, heard: Heard) -> int:
        if heard.answer is None:
            return 0
        self._last_id += 1
        self._owed[self._last_id] = peer, heard.answer
        peer.owed.add(self._last_id)
        return self._last_id

    def _answer(self, packet_ids: list[int]) -> None:
        for packet_id in packet_ids:
            owed = self._owed.pop(packet_id, None)
            if owed is None:
                self.counters["answers_stale"] += 1
                continue
            peer, answer = owed
            peer.owed.discard(packet_id)
            try:
                peer.answer(answer())
            except Exception:  # one family's mistake must not keep the others' answers back
                self.counters["failed"] += 1
                log.exception("an answer could not be made", family=self.family)

    def _resume(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._inbox.has_room():
            self._full = False
            for peer in self.peers:
                peer.resume()
        else:
            loop.call_later(RESUME_EVERY_S, self._resume, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close who is silent or slow; while we keep them waiting nobody is."""
        now = loop.time()
        for peer in [] if self._full else list(self.peers):
            peer.look_at_the_clock(now)
        loop.call_later(min(1.0, self.limits.idle_s / 4, self.limits.frame_s / 4), self._sweep, loop)


def _listening_socket(host: str, port: int, setting: str) -> socket.socket:
    """Bound and listening. Raises CityError naming the setting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise CityError(
            f"{setting} = {port}: cannot listen at {host}:{port} ({error.strerror or error});"
            " choose a free port, or 0 for none, and an address of this machine in CITY_LISTEN_HOST"
        ) from error
    return found


def _moved_up(connection: socket.socket) -> socket.socket:
    """The same connection under a descriptor that paho's select() never needs, where the machine allows it."""
    try:
        moved = fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, SELECTABLE)
    except OSError:
        return connection
    connection.close()
    return socket.socket(fileno=moved)


def _allow_files(wanted: int) -> None:
    """As many descriptors as the machine lets us have without asking anybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
