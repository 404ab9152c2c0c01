"""What accounts cost mosquitto: to start, to hold, to read again while connections are open, and to refuse guesses.

`python bench/broker_accounts.py --accounts 100000 --connections 5000` prints the table of docs/device-credentials.md.
The pause is how long a message of a connection that is good waits while the broker reads its files again.
"""

import argparse
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # run as a file, with the repository's packages

from city.broker_accounts import Account, access_file, hashed, password_file
from tests.servers.mosquitto import MosquittoServer

PATTERNS = "pattern write city/+/+/%u\npattern write city/+/+/%u/status\n"
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


def log_in(port: int, user: str, secret: str, number: int) -> tuple[socket.socket, bool]:
    """A connection and whether the broker accepted it (MQTT 3.1.1, 3.1 and 3.2)."""
    parts = [f"c{number}".encode(), user.encode(), secret.encode()]
    body = b"\x00\x04MQTT\x04\xc2\x02\x58" + b"".join(len(one).to_bytes(2, "big") + one for one in parts)
    line = socket.create_connection(("127.0.0.1", port), timeout=300)
    line.sendall(bytes([0x10, len(body)]) + body)
    answer = line.recv(4)
    return line, answer == b"\x20\x02\x00\x00"


def pinged(line: socket.socket) -> float:
    """Seconds until the broker answers."""
    begun = time.perf_counter()
    line.sendall(PINGREQ)
    if line.recv(2) != PINGRESP:
        raise SystemExit("the broker closed a connection that is good")
    return time.perf_counter() - begun


def accounts_of(count: int, *, lines: bool, iterations: int, secrets: int) -> list[Account]:
    """The first ``secrets`` get secrets ``s0``, ``s1`` …; the others share a hash, which costs the broker the same."""
    shared = hashed("nobody's", iterations=iterations)
    return [
        Account(
            name=f"device-{number:06d}",
            secret_hash=hashed(f"s{number}", iterations=iterations) if number < secrets else shared,
            writes=[f"city/+/+/device-{number:06d}"] if lines else (),
        )
        for number in range(count)
    ]


def measure(count: int, connections: int, *, lines: bool, iterations: int, guesses: int) -> Sequence[str]:
    """One row of the table."""
    everybody = accounts_of(count, lines=lines, iterations=iterations, secrets=connections + 1)
    server = MosquittoServer(
        ("password_file {folder}/passwords", "acl_file {folder}/acl", "allow_anonymous false"),
        anonymous=False,
    )

    def write(accounts: list[Account]) -> None:
        for name, text in (
            ("passwords", password_file(accounts)),
            ("acl", ("" if lines else PATTERNS) + access_file(accounts)),
        ):
            (server.folder / name).write_text(text)
            (server.folder / name).chmod(0o600)

    write(everybody)
    begun = time.perf_counter()
    server.start()
    started = time.perf_counter() - begun
    try:
        held = [
            log_in(server.port, one.name, f"s{number}", number)
            for number, one in enumerate(everybody[:connections])
        ]
        assert all(good for _, good in held)
        write(everybody[:connections] + everybody[connections + 1 :])  # one is revoked
        os.kill(server.pid, signal.SIGHUP)
        pause = max(pinged(held[0][0]), pinged(held[0][0]))
        kept = sum(pinged(line) >= 0 for line, _ in held)
        status = Path(f"/proc/{server.pid}/status").read_text()
        memory = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
        begun = time.perf_counter()
        for number in range(guesses):
            line, good = log_in(server.port, everybody[0].name, "guess", -number)
            assert not good
            line.close()
        guessed = (time.perf_counter() - begun) / max(1, guesses) * 1000
        for line, _ in held:
            line.close()
    finally:
        server.close()
    figures = (
        f"{started:.2f} s",
        f"{memory:.0f} MB",
        f"{pause:.2f} s",
        f"{kept}/{connections}",
        f"{guessed:.2f} ms",
    )
    return f"{count:,}", "lines of their own" if lines else "pattern", str(iterations), *figures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument(
        "--lines", type=int, default=5_000, help="accounts with lines of their own; grows quadratically"
    )
    parser.add_argument("--guesses", type=int, default=1_000)
    chosen = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * chosen.connections + 200)), hard))
    table = Table(
        "accounts", "rights by", "iterations", "start", "memory", "pause at a reload", "kept", "a wrong guess"
    )
    for count, lines, iterations in (
        (chosen.accounts, False, 1),
        (chosen.accounts, False, 101),
        (chosen.lines, True, 1),
    ):
        held = min(chosen.connections, count - 1)
        table.add_row(*measure(count, held, lines=lines, iterations=iterations, guesses=chosen.guesses))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
