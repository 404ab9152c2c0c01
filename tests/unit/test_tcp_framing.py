"""The shared TCP listener on real sockets, with a conversation of lines: limits, clocks, answers, back-pressure."""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from city.errors import CityError
from ingest.delivery import Delivery
from ingest.inbox import Inbox
from ingest.sources.peers import Heard, Limits
from ingest.sources.tcp import SELECTABLE, TcpSource


class Lines:
    """A frame is a line; ! begins a broken one, ? one that is answered (?long at length), boom is a mistake."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def waiting(self) -> int:
        return len(self._held)

    def hear(self, data: bytes) -> list[Heard]:
        if b"boom" in data:
            raise ZeroDivisionError("nobody expected this")
        *lines, self._held = (self._held + data).split(b"\n")
        return [self._heard(line) for line in lines]

    def rest(self) -> list[Heard]:
        held, self._held = self._held, b""
        return [Heard("lines/-", held, garbage=True)] if held else []

    def _heard(self, line: bytes) -> Heard:
        if line.startswith(b"!"):
            return Heard("lines/-", line, garbage=True)
        if line == b"?long":
            return Heard("lines/x", line, lambda: bytes(16_000_000))
        return Heard("lines/x", line, (lambda: b"ok " + line + b"\n") if line.startswith(b"?") else None)


class Stand:
    """A listener, its inbox, and clients that are closed in the end."""

    def __init__(self, *, room: int = 1000, port: int = 0, **limits: float) -> None:
        self.inbox = Inbox(limit=room, batch=1000)
        self.source = TcpSource(
            "lines",
            host="127.0.0.1",
            port=port,
            setting="CITY_LINES_PORT",
            converse=Lines,
            inbox=self.inbox,
            source=7,
            limits=Limits(**limits),  # type: ignore[arg-type]  # counts stay whole numbers
        )
        self._stack = ExitStack()

    def client(self) -> socket.socket:
        made = self._stack.enter_context(socket.create_connection(self.source.address, timeout=10))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def take(self) -> list[Delivery]:
        """What is there, waiting for the first."""
        return self.inbox.take(gather_s=0.02, wait_s=10)

    def payloads(self, count: int) -> list[bytes]:
        """The next messages, committed and acknowledged."""
        found: list[bytes] = []
        while len(found) < count:
            deliveries = self.take()
            assert deliveries, found
            self.commit(deliveries)
            found += [payload for one in deliveries for payload in one.payloads]
        return found

    def commit(self, deliveries: list[Delivery]) -> None:
        for one in deliveries:
            self.source.acknowledge(one.generation, one.packet_ids)
        self.inbox.done(deliveries)

    def until(self, name: str, value: int) -> None:
        deadline = time.monotonic() + 10
        while (found := self.source.figures()[f"lines_{name}"]) != value:
            assert time.monotonic() < deadline, f"{name} is {found}, not {value}"
            time.sleep(0.005)

    def close(self) -> None:
        self._stack.close()
        self.source.stop()


@pytest.fixture
def listen() -> Iterator[Callable[..., Stand]]:
    stands: list[Stand] = []

    def start(**how: float) -> Stand:
        made = Stand(**how)  # type: ignore[arg-type]  # room and port are whole numbers where they are given
        made.source.start()
        stands.append(made)
        return made

    yield start
    for one in stands:
        one.close()


def closed(client: socket.socket) -> bool:
    """Wait until the other end closes; True then, False when it sends something instead."""
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def test_frames_are_messages_and_answers_come_after_the_commit_only(listen: Callable[..., Stand]) -> None:
    stand = listen()
    client = stand.client()
    client.sendall(b"a\n?b\nc")
    deliveries = stand.take()
    assert [(one.topics, one.payloads, one.source) for one in deliveries] == [
        ([b"lines/x"] * 2, [b"a", b"?b"], 7)
    ]
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(10)
    stand.commit(deliveries)
    assert client.recv(100) == b"ok ?b\n"
    client.sendall(b"d\n")
    assert stand.payloads(1) == [b"cd"]


def test_no_two_messages_share_an_instant(listen: Callable[..., Stand]) -> None:
    stand = listen()
    clients = [stand.client() for _ in range(4)]
    for _ in range(50):
        for client in clients:
            client.sendall(b"x\n")
    instants: list[int] = []
    while len(instants) < 200:
        deliveries = stand.take()
        stand.commit(deliveries)
        instants += [one.received_us + number for one in deliveries for number in range(len(one))]
    assert len(set(instants)) == 200


def test_an_answer_for_a_peer_that_went_is_dropped(listen: Callable[..., Stand]) -> None:
    stand = listen()
    client = stand.client()
    client.sendall(b"?a\n")
    deliveries = stand.take()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
    client.close()
    stand.until("connections", 0)
    stand.commit(deliveries)
    stand.until("answers_stale", 1)
    assert stand.source.figures()["lines_answers"] == 0


def test_a_peer_that_ends_its_side_still_gets_its_answer(listen: Callable[..., Stand]) -> None:
    stand = listen()
    client = stand.client()
    client.sendall(b"?last\n")
    client.shutdown(socket.SHUT_WR)
    assert stand.payloads(1) == [b"?last"]
    assert client.recv(100) == b"ok ?last\n"
    assert closed(client)


def test_one_that_begins_a_frame_and_does_not_end_it_is_closed_and_its_bytes_kept(
    listen: Callable[..., Stand],
) -> None:
    stand = listen(frame_s=0.2, idle_s=60)
    slow, idle = stand.client(), stand.client()
    slow.sendall(b"done\nhal")
    time.sleep(0.05)  # the second part comes later, and gives it no new time
    slow.sendall(b"f")
    assert closed(slow)
    assert stand.payloads(2) == [b"done", b"half"]
    assert stand.source.figures()["lines_closed_slow"] == 1
    idle.sendall(b"still here\n")
    assert stand.payloads(1) == [b"still here"]


def test_one_that_is_silent_is_closed(listen: Callable[..., Stand]) -> None:
    stand = listen(idle_s=0.2)
    assert closed(stand.client())
    stand.until("closed_idle", 1)


@pytest.mark.parametrize(
    ("limits", "sent"),
    [({"bytes_per_s": 100.0}, b"x" * 1200), ({"frames_per_s": 1.0}, b"x\n" * 12)],
    ids=["bytes", "frames"],
)
def test_one_that_never_stops_is_closed(
    listen: Callable[..., Stand], limits: dict[str, float], sent: bytes
) -> None:
    stand = listen(**limits)
    client = stand.client()
    client.sendall(sent)
    assert closed(client)
    stand.until("closed_flood", 1)


def test_nonsense_is_kept_up_to_a_bound_and_then_closed(listen: Callable[..., Stand]) -> None:
    stand = listen(garbage=3)
    client = stand.client()
    client.sendall(b"!1\nfine\n!2\n!3\n!4\n")
    assert closed(client)
    stand.until("closed_garbage", 1)
    assert stand.payloads(4) == [b"!1", b"fine", b"!2", b"!3"]


def test_what_a_peer_left_half_said_is_kept(listen: Callable[..., Stand]) -> None:
    stand = listen()
    client = stand.client()
    client.sendall(b"half a fra")
    client.close()
    assert stand.payloads(1) == [b"half a fra"]


def test_a_mistake_of_ours_ends_one_peer_and_keeps_its_bytes(listen: Callable[..., Stand]) -> None:
    stand = listen()
    client, other = stand.client(), stand.client()
    client.sendall(b"boom\n")
    assert stand.payloads(1) == [b"boom\n"]
    assert closed(client)
    other.sendall(b"fine\n")
    assert stand.payloads(1) == [b"fine"]
    assert stand.source.figures()["lines_failed"] == 1


def test_one_that_does_not_read_its_answers_is_closed(listen: Callable[..., Stand]) -> None:
    stand = listen()
    client = stand.client()
    client.sendall(b"?long\n")
    assert stand.payloads(1) == [b"?long"]
    stand.until("closed_unread", 1)
    stand.until("connections", 0)


def test_there_are_only_so_many_places(listen: Callable[..., Stand]) -> None:
    stand = listen(per_address=2)
    first = stand.client()
    stand.client()
    stand.until("connections", 2)
    assert closed(stand.client())
    stand.until("refused", 1)
    first.close()
    stand.until("connections", 1)
    again = stand.client()
    again.sendall(b"in\n")
    assert stand.payloads(1) == [b"in"]


def test_while_the_inbox_is_full_nobody_is_read_and_nobody_is_late(listen: Callable[..., Stand]) -> None:
    stand = listen(room=1, frame_s=0.1, idle_s=0.1)
    client, other = stand.client(), stand.client()
    client.sendall(b"1\n")
    held = stand.take()
    other.sendall(b"2\n")
    client.sendall(b"3\n")
    assert stand.inbox.take(gather_s=0, wait_s=0.3) == []  # longer than silence is allowed
    assert stand.source.behind
    stand.commit(held)
    assert sorted(stand.payloads(2)) == [b"2", b"3"]


def test_a_taken_port_is_one_readable_line(listen: Callable[..., Stand]) -> None:
    taken = listen().source.address[1]
    with pytest.raises(CityError, match=f"^CITY_LINES_PORT = {taken}: cannot listen at 127.0.0.1:{taken}"):
        Stand(port=taken).source.start()


def test_it_begins_again_where_it_stopped(listen: Callable[..., Stand]) -> None:
    stand = listen()
    client = stand.client()
    client.sendall(b"?a\n")
    before = stand.take()
    stand.source.stop()
    assert closed(client)
    stand.source.start()  # the same port, at once
    stand.commit(before)  # of the connection before: answered to nobody
    again = stand.client()
    again.sendall(b"?b\n")
    stand.payloads(1)
    assert again.recv(100) == b"ok ?b\n"


def test_peers_stay_above_the_descriptors_that_the_brokers_connection_needs(
    listen: Callable[..., Stand],
) -> None:
    stand = listen()
    stand.client().sendall(b"x\n")
    assert stand.payloads(1) == [b"x"]
    (peer,) = stand.source.peers
    assert peer.transport.get_extra_info("socket").fileno() >= SELECTABLE
    assert os.dup(0) < SELECTABLE
