"""As many real MQTT connections as this machine takes, on a mosquitto of its own; prints only.

`python -m bench.connections` (`--most 50000`) opens plain TCP connections until the machine says no, which is the
ceiling of the same run, then as many to the broker with the configuration of deploy/mosquitto; each says one thing at
QoS 1, so that it is known to live. What stops it first, what a connection weighs in the broker and in the kernel, and
what it costs to come in: file handles are the usual end, `ulimit -Hn` of the broker's account.
"""

import argparse
import errno
import json
import multiprocessing
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from bench import frames, procfs
from bench.brokers import deployed_mosquitto

KEPT_FREE = 200  # file handles for everything else this process does
AT_ONCE = 500
PATIENCE_S = 120.0
PAGE = resource.getpagesize()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``bare`` is the ceiling: connections that nobody speaks on. Bytes and microseconds are per connection."""

    handles: int  # that a process may have
    bare: int
    bare_ended_by: str
    connected: int
    ended_by: str
    acknowledged: int  # of one message from each
    broker_bytes: int
    kernel_bytes: int  # both ends: here the devices are on the same machine
    broker_connect_us: float  # processor time


def run(most: int) -> Outcome:
    """Both runs, one after the other."""
    handles = _raise_limit()
    bound = min(most, handles - KEPT_FREE)
    with _listener() as port:
        bare, why = _opened(port, bound, b"")
        _close(bare)
    broker = deployed_mosquitto(max_connections="-1")
    broker.start()
    try:
        rss, cpu, kernel = procfs.rss_mb(broker.pid), procfs.cpu_seconds(broker.pid), _kernel_bytes()
        lines, ended_by = _opened(broker.port, bound, b"\x20\x02\x00\x00")
        connected = max(1, len(lines))
        cpu, kernel = procfs.cpu_seconds(broker.pid) - cpu, _kernel_bytes() - kernel
        rss = procfs.rss_mb(broker.pid) - rss
        acknowledged = _spoken(lines)
        _close(lines)
    finally:
        broker.close()
    return Outcome(
        handles=handles,
        bare=len(bare),
        bare_ended_by=why,
        connected=len(lines),
        ended_by=ended_by,
        acknowledged=acknowledged,
        broker_bytes=round(rss * 1e6 / connected),
        kernel_bytes=round(kernel / connected),
        broker_connect_us=round(cpu * 1e6 / connected, 1),
    )


def _raise_limit() -> int:
    """As many file handles as the hard limit allows; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _opened(port: int, most: int, answer: bytes) -> tuple[list[socket.socket], str]:
    """Connections until ``most`` or until one is refused, and what ended it; ``answer`` is a CONNACK, or nothing."""
    lines: list[socket.socket] = []
    while len(lines) < most:
        fresh: list[socket.socket] = []
        try:
            for number in range(len(lines), min(len(lines) + AT_ONCE, most)):
                # 28,000 ports towards one address and port: each so many devices come from an address of their own
                source = ("127.0.0." + str(2 + number // 20_000), 0)
                line = socket.create_connection(("127.0.0.1", port), PATIENCE_S, source)
                fresh.append(line)
                if answer:
                    line.sendall(frames.connect(f"d{number:07d}", clean=True, keepalive_s=3600))
            for line in fresh:
                if answer and _read(line, len(answer)) != answer:
                    raise ConnectionError("the broker refused")
        except OSError as error:
            said = [line for line in fresh if not answer]
            _close([line for line in fresh if line not in said])
            return lines + said, errno.errorcode.get(error.errno or 0, str(error))
        lines += fresh
    return lines, "asked for no more"


def _read(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := line.recv(size - len(found))):
        found += more
    return found


def _spoken(lines: list[socket.socket]) -> int:
    """One reading from each at QoS 1; how many were acknowledged."""
    payload = b'{"ts":%d,"value":12.0}' % (time.time_ns() // 1_000_000)
    for number, line in enumerate(lines):
        topic = b"city/c%05d/smoke/d%07d" % (number // 500, number)
        body = len(topic).to_bytes(2, "big") + topic + b"\x00\x01" + payload
        line.sendall(b"\x32" + bytes([len(body)]) + body)
    return sum(_read(line, 4) == b"\x40\x02\x00\x01" for line in lines)


def _kernel_bytes() -> int:
    """What the kernel holds for TCP: buffers by its own count, and each socket's own record (proc(5), sockstat)."""
    for text in Path("/proc/net/sockstat").read_text(encoding="ascii").splitlines():
        if text.startswith("TCP:"):
            fields = text.split()
            found = dict(zip(fields[1::2], map(int, fields[2::2]), strict=True))
            return found["mem"] * PAGE + found["inuse"] * _socket_record()
    return 0


def _socket_record() -> int:
    """Bytes of one TCP socket in the kernel, where it lets us see (root); else 0, and only buffers are counted."""
    try:
        slabs = Path("/proc/slabinfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(text.split()[3]) for text in slabs if text.split()[0] in ("TCP", "sock_inode_cache"))


def _close(lines: list[socket.socket]) -> None:
    for line in lines:
        line.close()


@contextmanager
def _listener() -> Iterator[int]:
    """The port of a process that takes every connection and does nothing."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_accept, args=(theirs,), daemon=True)
    child.start()
    try:
        yield int(ours.recv())
    finally:
        child.terminate()
        child.join()


def _accept(parent: Connection) -> None:
    _raise_limit()
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        parent.send(server.getsockname()[1])
        _until_full(lambda: taken.append(server.accept()[0]))
        parent.poll(None)  # hold them until we are ended


def _until_full(take: Callable[[], None]) -> None:
    try:
        while True:
            take()
    except OSError:
        return


def main() -> None:
    """Command line: see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    outcome = asdict(run(given.most))
    if given.json:
        json.dump(outcome, sys.stdout)
        return
    for name, value in outcome.items():
        print(f"{name:>20} {value}")


if __name__ == "__main__":
    main()
