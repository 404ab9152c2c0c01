"""The embedded broker's own door, which it tells a moment after it takes clients."""

import threading
from pathlib import Path

from runtime import broker_room


def test_ports_that_are_written_down_a_moment_later_are_waited_for(tmp_path: Path) -> None:
    def write() -> None:
        (tmp_path / "nats-server_7.ports").write_text('{"nats": ["nats://127.0.0.1:4222"]}')

    later = threading.Timer(0.1, write)
    later.start()
    assert broker_room._address(tmp_path, 7) == ("127.0.0.1", 4222)
    later.join()
