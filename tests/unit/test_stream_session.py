"""What a worker does when a node or a single stream goes: against clients that answer as RabbitMQ's nodes do."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest
from rstream import schema
from rstream.exceptions import StreamNotAvailable

from city.partitions import UNROUTED_STREAM
from ingest.sources import stream_session
from ingest.sources.stream_line import ChunkFrame
from ingest.sources.stream_session import Chunk, Session, TroubleError

A, B = ("a", 5552), ("b", 5552)
STREAMS = ["events-0", "events-1", UNROUTED_STREAM]


class Nodes:
    """Two nodes that each have every stream, and what a worker asked of them."""

    def __init__(self) -> None:
        self.deaf: set[str] = set()  # hosts that take a connection and say nothing
        self.refusing: set[str] = set()
        self.mute = False  # lets in, and answers no question
        self.away: set[str] = set()  # streams that no node has now
        self.clients: list[Client] = []
        self.subscribed: list[tuple[str, str]] = []  # host, stream

    def __call__(self, host: str, port: int, **options: Any) -> "Client":
        client = Client(self, host, port, options["connection_closed_handler"])
        self.clients.append(client)
        return client

    def of(self, stream: str) -> "Client":
        """The client on which it was subscribed to last."""
        host = next(host for host, one in reversed(self.subscribed) if one == stream)
        return next(client for client in reversed(self.clients) if client.host == host)

    def count(self, stream: str) -> int:
        return sum(stream == one for _, one in self.subscribed)


class Client:
    """As LogClient, as far as a session uses it."""

    def __init__(self, nodes: Nodes, host: str, port: int, closed: Callable[[Any], None]) -> None:
        self.host = host
        self.server_properties = {"advertised_host": host, "advertised_port": str(port)}
        self.paid: list[tuple[int, int]] = []
        self.ended = False
        self.answered: list[int] = []
        self.closed = closed
        self._nodes = nodes
        self._handlers: dict[type, Callable[[Any], None]] = {}
        self._numbers: dict[str, int] = {}

    async def start(self) -> None:
        if self.host in self._nodes.refusing:
            raise ConnectionRefusedError("nobody listens")

    async def authenticate(self, *_: str) -> None:
        if self.host in self._nodes.deaf:
            await asyncio.Event().wait()

    def add_handler(self, frame: type, handler: Callable[[Any], None], name: str) -> None:
        assert name
        self._handlers[frame] = handler

    def add_stream(self, _stream: str) -> None:
        pass

    async def partitions(self, _super_stream: str) -> list[str]:
        if self._nodes.mute:
            await asyncio.Event().wait()
        return STREAMS[:2]

    async def places_of(self, streams: list[str]) -> dict[str, list[tuple[str, int]]]:
        up = [place for place in (A, B) if place[0] not in self._nodes.refusing | self._nodes.deaf]
        return {stream: [] if stream in self._nodes.away else up for stream in streams}

    async def subscribe(self, stream: str, number: int, **_: Any) -> None:
        self._nodes.subscribed.append((self.host, stream))
        if stream in self._nodes.away:
            raise StreamNotAvailable
        self._numbers[stream] = number
        update = schema.ConsumerUpdateResponse(number, number, True)
        update.correlation_id, update.subscription_id, update.active = number, number, True
        self._handlers[schema.ConsumerUpdateResponse](update)

    async def unsubscribe(self, number: int) -> None:
        assert number in self._numbers.values()

    async def consumer_update(self, number: int, _offset: Any) -> None:
        self.answered.append(number)

    async def credit(self, number: int, due: int) -> None:
        self.paid.append((number, due))

    async def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True

    # what the node says
    def moves(self, stream: str) -> None:
        info = schema.MetadataInfo(1, stream)
        self._handlers[schema.MetadataUpdate](schema.MetadataUpdate(info))

    def chunk(self, stream: str, first: int) -> None:
        self._handlers[ChunkFrame](
            ChunkFrame(subscription_id=self._numbers[stream], timestamp=1, first_offset=first, records=[b"x"])
        )


class Worker:
    """A session, and what came of it."""

    def __init__(self) -> None:
        self.active: list[str] = []
        self.given_back: list[str] = []
        self.taken: list[Chunk] = []
        self.stored = 0  # up to where, of every stream
        self.session = Session(
            ["rabbitmq-stream://a:5552", "rabbitmq-stream://b:5552"],
            extra=UNROUTED_STREAM,
            take=self.taken.append,
            may_read=lambda: True,
            activated=self._activated,
            deactivated=self._deactivated,
            tls=None,
            name="worker",
        )

    async def _activated(self, stream: str) -> int:
        self.active.append(stream)
        return self.stored

    async def _deactivated(self, stream: str) -> None:
        if stream in self.active:
            self.active.remove(stream)
            self.given_back.append(stream)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """Waits are short; the order in which addresses are tried is the one given."""
    made = Nodes()
    monkeypatch.setattr(stream_session, "LogClient", made)
    for name in ("AGAIN_S", "NEXT_S", "TICK_S"):
        monkeypatch.setattr(stream_session, name, 0.005)
    monkeypatch.setattr(stream_session.random, "sample", lambda urls, _count: list(reversed(urls)))
    return made


def lived(scenario: Callable[[Worker], Coroutine[Any, Any, None]]) -> None:
    """The scenario beside a session that runs."""

    async def both() -> None:
        worker = Worker()
        running = asyncio.ensure_future(worker.session.run())
        try:
            async with asyncio.timeout(20):
                await scenario(worker)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, TroubleError):
                await running

    asyncio.run(both())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.002)


def test_a_stream_that_moves_is_given_back_and_asked_for_again_alone(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        nodes.of("events-1").moves("events-1")
        assert not worker.session.subscribed
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        assert worker.given_back == ["events-1"]
        assert [nodes.count(stream) for stream in STREAMS] == [1, 2, 1]

    lived(scenario)


def test_a_stream_that_no_node_has_keeps_none_of_the_others_waiting(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        nodes.away = {"events-1"}
        await until(lambda: {*worker.active} == {"events-0", UNROUTED_STREAM})
        assert not worker.session.subscribed
        assert "events-1" in worker.session.why
        nodes.away = set()
        await until(lambda: worker.session.subscribed)
        assert worker.given_back == []

    lived(scenario)


def test_an_address_that_never_answers_costs_a_moment(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        await until(lambda: worker.session.subscribed)
        assert {host for host, _ in nodes.subscribed} == {"b"}
        assert next(client for client in nodes.clients if client.host == "a").ended

    # a is tried first
    nodes.deaf = {"a"}
    lived(scenario)


def test_what_was_read_through_a_lost_connection_goes_on_at_another_node(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        lost = nodes.of("events-1")
        its = sorted(stream for host, stream in nodes.subscribed if host == lost.host)
        nodes.refusing = {lost.host}
        lost.closed(None)
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        assert sorted(worker.given_back) == its
        assert lost.host not in {host for host, _ in nodes.subscribed[3:]}
        assert lost.ended

    lived(scenario)


def test_a_worker_reads_through_several_nodes(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(worker: Worker) -> None:
        await until(lambda: worker.session.subscribed)
        assert {host for host, _ in nodes.subscribed} == {"a", "b"}

    turns = cycle([A, B])
    monkeypatch.setattr(stream_session.random, "choice", lambda _places: next(turns))
    lived(scenario)


def test_a_node_that_says_nothing_any_more_is_left(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(worker: Worker) -> None:
        await until(lambda: worker.session.subscribed)
        monkeypatch.setattr(stream_session, "SILENT_S", 0.0)
        await until(lambda: len(worker.given_back) >= 3)
        assert nodes.clients[0].ended

    lived(scenario)


def test_what_comes_of_a_subscription_that_is_over_is_not_taken(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        client = nodes.of("events-1")
        client.chunk("events-1", 0)
        client.moves("events-1")
        client.chunk("events-1", 1)
        nodes.of("events-0").chunk("events-0", 0)
        assert [(chunk.stream, chunk.first_offset) for chunk in worker.taken] == [
            ("events-1", 0),
            ("events-0", 0),
        ]

    lived(scenario)


def test_what_begins_behind_what_was_asked_for_is_asked_for_again_before_it_is_believed(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        worker.stored = 123
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        nodes.of("events-0").chunk(
            "events-0", 133
        )  # the replica had 122 when it was asked, and 132 when it looked
        nodes.of("events-0").chunk("events-0", 134)
        await until(lambda: nodes.count("events-0") == 2 and worker.session.subscribed)
        assert worker.taken == []
        nodes.of("events-0").chunk("events-0", 120)
        nodes.of("events-0").chunk("events-0", 124)
        assert [chunk.first_offset for chunk in worker.taken] == [120, 124]

    lived(scenario)


def test_what_the_log_has_no_more_begins_there_a_second_time_and_is_taken(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        worker.stored = 123
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        nodes.of("events-0").chunk("events-0", 900)
        await until(lambda: nodes.count("events-0") == 2 and worker.session.subscribed)
        nodes.of("events-0").chunk("events-0", 900)
        assert [chunk.first_offset for chunk in worker.taken] == [900]
        assert worker.given_back == ["events-0"]

    lived(scenario)


def test_a_fenced_partition_alone_is_left_and_stood_in_line_for(nodes: Nodes) -> None:
    async def scenario(worker: Worker) -> None:
        await until(lambda: worker.session.subscribed and len(worker.active) == 3)
        worker.session.again(1)
        await until(lambda: worker.given_back == ["events-1"])
        await until(lambda: worker.session.subscribed)
        assert [nodes.count(stream) for stream in STREAMS] == [1, 2, 1]

    lived(scenario)


def test_without_any_address_the_life_ends_and_says_which(nodes: Nodes) -> None:
    nodes.refusing = {"a", "b"}
    with pytest.raises(TroubleError, match=r"[ab]:5552: nobody listens"):
        asyncio.run(_alone())


def test_a_node_that_goes_while_it_is_asked_what_there_is_ends_the_life(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes.mute = True
    monkeypatch.setattr(stream_session, "SILENT_S", 0.0)
    with pytest.raises(TroubleError, match="was silent"):
        asyncio.run(asyncio.wait_for(_alone(), 20))


async def _alone() -> None:
    await Worker().session.run()
