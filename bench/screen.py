"""A screen that writes down when each event reached it."""

import contextlib
import json
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Screen:
    """One WebSocket client in a thread; `arrivals` holds (kind, id, epoch seconds)."""

    def __init__(self, port: int) -> None:
        """Connects at once; raises OSError or websockets' errors when that fails."""
        self._socket = connect(f"ws://127.0.0.1:{port}/ws/screen", max_size=None, compression=None)
        self.arrivals: list[tuple[str, str, float]] = []
        self.snapshots = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in self._socket:
                now = time.time()
                message = json.loads(text)
                self.snapshots += message["t"] == "snap"
                for event in message.get("ev", ()):
                    self.arrivals.append((str(event["kind"]), str(event["id"]), now))
                if "seq" in message:
                    self._socket.send(json.dumps({"t": "ack", "seq": message["seq"]}))

    def close(self) -> None:
        """Disconnect and wait for the thread."""
        self._socket.close()
        self._thread.join(5)
