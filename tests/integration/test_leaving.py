"""A centre as systemd and a balancer see it: ready, alive while it goes round, and leaving before it is gone."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from city.stopping import SAME_S
from tests.integration.running_centre import NO_TLS, lay_ground
from tests.servers.city_process import city_environment
from tests.servers.processes import free_port

PATIENCE_S = 60.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Where the process says how it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE_S)
        yield listening


def heard(manager: socket.socket, words: bytes) -> None:
    while manager.recv(100) != words:
        pass


def test_it_says_that_it_leaves_and_answers_until_it_does(
    migrated_url: str, tmp_path: Path, manager: socket.socket
) -> None:
    lay_ground(migrated_url)
    port, figures = free_port(), free_port()
    environment = city_environment(
        database_url=migrated_url,
        http_port=str(port),
        metrics_port=str(figures),
        data_dir=str(tmp_path / "var"),
        drain_s="60",
    ) | {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": ""}
    command = [sys.executable, "-m", "runtime.cli", "centre"]
    with (
        subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=NO_TLS) as client,
    ):
        try:
            heard(manager, b"READY=1")
            heard(manager, b"WATCHDOG=1")
            until_it_answers(client)
            assert client.get("/readyz").json()["checks"]["stopping"] == "ok"
            assert "city_leaving 0.0" in httpx.get(f"http://127.0.0.1:{figures}/metrics", verify=NO_TLS).text
            os.kill(process.pid, signal.SIGTERM)
            heard(manager, b"STOPPING=1")
            answer = client.get("/readyz")
            assert (answer.status_code, answer.json()["checks"]["stopping"]) == (503, "stopping")
            assert client.get("/healthz").status_code == 200
            time.sleep(SAME_S + 0.1)  # sooner, it would be the same Ctrl-C that came twice
            os.kill(process.pid, signal.SIGTERM)  # who asks again is not made to wait
            assert process.wait(timeout=PATIENCE_S) == 0
        finally:
            if process.poll() is None:
                process.kill()


def until_it_answers(client: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            client.get("/healthz")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("it does not answer")
