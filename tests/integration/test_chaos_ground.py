"""What the fault matrix takes from processes by means of the kernel; skipped with the reason where it may not."""

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.chaos.ground import Disk, Group, ImpossibleError, Namespace, sweep
from bench.chaos.skew import skewed


def test_a_pulled_cable_loses_what_is_said_and_tells_nobody() -> None:
    try:
        network = Namespace(0)
    except ImpossibleError as why:
        pytest.skip(f"network namespaces: {why}")
    try:
        with socket.create_server((network.host, 0)) as listener:
            port = str(listener.getsockname()[1])
            inside = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))"
            call = [*network.prefix, sys.executable, "-c", inside, network.host, port]
            accepting = threading.Thread(target=listener.accept, daemon=True)
            accepting.start()
            assert subprocess.run([*call, "30"], check=False).returncode == 0
            network.pull()
            gone = subprocess.run([*call, "0.5"], check=False, capture_output=True, text=True)
            assert gone.returncode != 0
            with socket.socket() as outside:
                outside.settimeout(0.5)
                assert outside.connect_ex((network.address, 9)) not in (
                    0,
                    errno.ECONNREFUSED,
                )  # nobody answers for it
            network.plug()
            again = threading.Thread(target=listener.accept, daemon=True)
            again.start()
            assert subprocess.run([*call, "30"], check=False).returncode == 0
    finally:
        network.close()
    assert (
        network.name not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    )


def test_a_full_disk_takes_nothing_until_it_is_emptied() -> None:
    try:
        disk = Disk("test", 16)
    except ImpossibleError as why:
        pytest.skip(f"a disk of its own: {why}")
    try:
        disk.fill()
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (disk.folder / "more").write_bytes(bytes(65536))
        disk.empty()
        (disk.folder / "more").write_bytes(bytes(65536))
    finally:
        disk.close()
    assert not disk.folder.exists()


def test_a_starved_process_is_given_its_share_and_let_go_again() -> None:
    try:
        group = Group("cpu")
    except ImpossibleError as why:
        pytest.skip(f"control groups: {why}")
    try:
        group.processor(0.05)
        group.take([os.getpid()])
        began, used = time.monotonic(), time.process_time()
        while time.monotonic() - began < 0.5:
            pass
        assert time.process_time() - used < 0.3
    finally:
        group.close()
    assert not group.folder.exists()


def test_a_process_with_a_wrong_clock_measures_durations_rightly() -> None:
    try:
        env = skewed(-3600)
    except ImpossibleError as why:
        pytest.skip(f"wrong clocks: {why}")
    call = [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
    told = subprocess.run(call, env={**os.environ, **env}, capture_output=True, text=True, check=True)
    wall, monotonic = (float(word) for word in told.stdout.split())
    assert -3700 < wall - time.time() < -3500
    assert 0 <= time.monotonic() - monotonic < 100


def test_what_a_killed_run_left_is_swept_away() -> None:
    script = "from bench.chaos.ground import Disk, Namespace; Disk('left', 16); Namespace(3); import os; os._exit(0)"
    try:
        Namespace(4).close()
        Disk("left", 16).close()
    except ImpossibleError as why:
        pytest.skip(f"nothing can be left here: {why}")
    left = subprocess.Popen([sys.executable, "-c", script])
    assert left.wait(60) == 0
    assert (
        f"cityc{left.pid}x3"
        in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    )
    sweep()
    assert (
        f"cityc{left.pid}x"
        not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    )
    assert f"cityc{left.pid}x" not in Path("/proc/mounts").read_text()
