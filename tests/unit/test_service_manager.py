"""What systemd is told, on a real datagram socket, and how a process that was asked to stop goes on for a while."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from city import service_manager
from city.service_manager import ServiceManager, from_words
from command_centre.leaving import Leaving


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def said(heard: socket.socket) -> list[bytes]:
    words = []
    while True:
        try:
            words.append(heard.recv(100))
        except BlockingIOError:
            return words


def test_ready_alive_and_stopping_are_said_in_datagrams(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(service_manager.time, "monotonic", lambda: now[0])
    manager = from_words(heard.getsockname(), "10000000", "", 7)
    manager.ready()
    manager.watched()
    now[0] += 4.9
    manager.watched()  # half the watchdog's ten seconds are not over
    now[0] += 0.1
    manager.watched()
    manager.stopping()
    assert said(heard) == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_name_of_linux_own_is_spoken_to_as_well(heard: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0city-test-notify")
        ServiceManager("@city-test-notify").ready()
        assert listening.recv(100) == b"READY=1"


def test_nobody_who_listens_is_no_reason_to_stop(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "gone"), 1.0).watched()
    ServiceManager().ready()


@pytest.mark.parametrize(
    ("microseconds", "pid", "every_s"),
    [("30000000", "7", 15.0), ("30000000", "8", 0.0), ("", "", 0.0), ("x", "", 0)],
)
def test_a_watchdog_meant_for_another_is_not_ours(microseconds: str, pid: str, every_s: float) -> None:
    assert from_words("", microseconds, pid, 7).every_s == every_s


def left(drain_s: float, *, twice: bool = False) -> list[tuple[bool, bool]]:
    """(asked, stopped) before, after the signal, and once it stopped."""

    async def run() -> list[tuple[bool, bool]]:
        stop = asyncio.Event()
        leaving = Leaving(stop, drain_s=drain_s)
        seen = [(leaving.asked(), stop.is_set())]
        leaving.ask()
        seen.append((leaving.asked(), stop.is_set()))
        if twice:
            leaving.ask()
        await asyncio.wait_for(stop.wait(), 60)
        return [*seen, (leaving.asked(), stop.is_set())]

    return asyncio.run(run())


def test_a_process_says_that_it_leaves_before_it_does() -> None:
    assert left(0.01) == [(False, False), (True, False), (True, True)]


def test_without_a_wait_it_stops_at_once_and_a_second_signal_does_not_wait() -> None:
    assert left(0) == [(False, False), (True, True), (True, True)]
    assert left(3600, twice=True)[-1] == (True, True)
