"""A TCP line between a client and a server that can stop carrying without breaking, as a frozen or lost host does."""

import selectors
import socket
import threading
from contextlib import suppress


class Line:
    """Listens on ``port`` and carries to ``to_port`` on loopback; while frozen it accepts, and carries nothing."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._chosen = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._moving = threading.Event()
        self._moving.set()
        self._ended = False
        self._chosen.register(self._listener, selectors.EVENT_READ, None)
        self._chosen.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._carry, name="line", daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        """From now on nothing arrives in either direction, and nobody is told."""
        self._moving.clear()

    def thaw(self) -> None:
        """What was said meanwhile arrives."""
        self._moving.set()

    def close(self) -> None:
        """End all connections and the listener."""
        self._ended = True
        self._moving.set()
        self._wake.send(b"x")
        self._thread.join()
        for key in list(self._chosen.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # sockets, all of them
        self._wake.close()
        self._chosen.close()

    def _carry(self) -> None:
        while not self._ended:
            ready = self._chosen.select()
            self._moving.wait()
            for key, _ in ready:
                if key.fileobj is self._listener:
                    self._join()
                elif key.data is not None:
                    self._move(key.fileobj, key.data)  # type: ignore[arg-type]  # a socket and the other end

    def _join(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to_port))
        except OSError:
            near.close()
            return
        self._chosen.register(near, selectors.EVENT_READ, far)
        self._chosen.register(far, selectors.EVENT_READ, near)

    def _move(self, here: socket.socket, there: socket.socket) -> None:
        try:
            said = here.recv(1 << 16)
            if said:
                there.sendall(said)
                return
        except OSError:
            pass
        for end in (here, there):
            with suppress(KeyError, ValueError):
                self._chosen.unregister(end)
            end.close()
