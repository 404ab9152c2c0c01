"""What can be done to a connection in user space, on real sockets."""

import socket
import threading
from collections.abc import Iterator

import pytest

from bench.chaos.wires import MODES, Wires

PATIENCE_S = 60


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """A server that gives back what it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(4096):
                    peer.sendall(data)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.close()


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    relay = Wires()
    yield relay
    relay.close()


@pytest.fixture
def link(wires: Wires, echo: int, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A connection through a wire with the test's name."""
    port = wires.lay(request.node.name, [("127.0.0.1", echo)])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        assert _said(connection, b"hello") == b"hello"
        yield connection


def _said(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return connection.recv(4096)


def _said_twice(connection: socket.socket) -> None:
    """The first word may still leave us before the reset arrives, and then nothing comes back."""
    if _said(connection, b"anybody?") == b"":
        raise ConnectionResetError
    _said(connection, b"anybody?")


def _refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address, PATIENCE_S) as other:
        if not other.recv(1):
            raise ConnectionResetError


def test_a_cut_wire_resets_who_is_connected_and_who_comes(
    wires: Wires, link: socket.socket, request: pytest.FixtureRequest
) -> None:
    name, address = request.node.name, link.getpeername()
    wires.set(name, "cut")
    with pytest.raises(ConnectionError):
        _said_twice(link)
    with pytest.raises(ConnectionError):
        _refused(address)
    wires.set(name, "open")
    with socket.create_connection(address, PATIENCE_S) as other:
        assert _said(other, b"again") == b"again"


@pytest.mark.parametrize("mode", ["freeze", "half-open"])
def test_a_frozen_wire_says_nothing_and_loses_nothing(
    wires: Wires, link: socket.socket, request: pytest.FixtureRequest, mode: str
) -> None:
    wires.set(request.node.name, mode)
    link.sendall(b"held")
    link.settimeout(0.3)
    with pytest.raises(TimeoutError):
        link.recv(1)
    wires.set(request.node.name, "open")
    link.settimeout(PATIENCE_S)
    assert link.recv(4096) == b"held"


@pytest.mark.parametrize(("mode", "how"), [("delay", {"seconds": 0.05}), ("trickle", {"rate": 40_000})])
def test_a_slow_wire_keeps_the_order(
    wires: Wires, link: socket.socket, request: pytest.FixtureRequest, mode: str, how: dict[str, float]
) -> None:
    wires.set(request.node.name, mode, seconds=how.get("seconds", 0.0), rate=int(how.get("rate", 0)))
    words = bytes(range(256)) * 40
    link.sendall(words)
    got = b""
    while len(got) < len(words):
        got += link.recv(4096)
    assert got == words


def test_connections_go_to_the_targets_in_turn_and_past_one_that_is_down(wires: Wires, echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        down = int(gone.getsockname()[1])
    port = wires.lay("two", [("127.0.0.1", down), ("127.0.0.1", echo)])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            assert _said(connection, b"who?") == b"who?"


def test_a_mode_that_does_not_exist_is_refused(wires: Wires) -> None:
    assert "open" in MODES
    with pytest.raises(KeyError):
        wires.set("two", "burn")
