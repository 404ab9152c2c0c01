"""Children: tied to our life, restarted when they end, stopped in time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.keeper import Keeper
from runtime.log_files import LogFile
from runtime.process import Identity, Process, launcher, plain_environment


def child(tmp_path: Path, script: str) -> Process:
    return Process(
        [sys.executable, "-u", "-c", script],
        log=LogFile(tmp_path / "child.log"),
        environment=plain_environment(),
        stop_signal=signal.SIGTERM,
        parent_death=signal.SIGKILL,
    )


def wait_for(path: Path, text: str) -> None:
    while text not in (path.read_text() if path.exists() else ""):
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> None:
    while is_running(pid):
        time.sleep(0.02)


def test_a_child_writes_to_its_log_and_stops_when_asked(tmp_path: Path) -> None:
    process = child(tmp_path, "print('here'); import time; time.sleep(600)")
    wait_for(process.log.path, "here")
    assert process.exit_code() is None
    process.ask_to_stop()
    assert process.end_by(time.monotonic() + 60)
    assert process.exit_code() == -signal.SIGTERM
    process.ask_to_stop()  # ended already: nothing to do


def test_a_child_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    )
    process = child(tmp_path, script)
    wait_for(process.log.path, "deaf")
    process.ask_to_stop()
    assert not process.end_by(time.monotonic())
    assert process.exit_code() == -signal.SIGKILL


def test_a_child_does_not_get_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_API_TOKEN", "hush")
    process = child(tmp_path, "import os; print(sorted(os.environ)); print('end')")
    wait_for(process.log.path, "end")
    process.end_by(time.monotonic() + 60)
    assert "CITY_API_TOKEN" not in process.log.path.read_text()


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=Path(__file__).parents[2])
    wait_for(tmp_path / "child.log", "pid ")
    wait_for(tmp_path / "child.log", "\n")
    pid = int((tmp_path / "child.log").read_text().split()[1])
    assert is_running(pid)
    parent.kill()
    parent.wait()
    wait_until_gone(pid)


PARENT = """
import signal, sys, time
from pathlib import Path
from runtime.log_files import LogFile
from runtime.process import Process, plain_environment
Process([sys.executable, "-u", "-c", "import os, time; print('pid', os.getpid()); time.sleep(600)"],
        log=LogFile(Path(sys.argv[1]) / "child.log"), environment=plain_environment(),
        stop_signal=signal.SIGTERM, parent_death=signal.SIGKILL)
time.sleep(600)
"""


def test_a_parent_that_is_gone_already_is_noticed() -> None:
    wrong_parent = launcher(Identity(), signal.SIGKILL)
    wrong_parent[wrong_parent.index("--parent") + 1] = "1" if os.getppid() != 1 else "2"
    done = subprocess.run(
        [*wrong_parent, sys.executable, "-c", "print('ran')"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (126, b"")


def test_a_program_that_is_not_there_is_named() -> None:
    done = subprocess.run(
        [*launcher(Identity(), signal.SIGKILL), "/nowhere/postgres"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 126
    assert done.stderr == "launch: /nowhere/postgres: No such file or directory\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_root_can_be_given_up() -> None:
    ask = [*launcher(Identity(user=(65534, 65534)), signal.SIGKILL), "/usr/bin/id", "-u"]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "65534\n"


def test_a_process_that_ends_is_started_again_and_said_so(tmp_path: Path) -> None:
    said: list[str] = []
    started: list[Process] = []

    def start() -> Process:
        script = "raise SystemExit(3)" if not started else "print('second'); import time; time.sleep(600)"
        started.append(child(tmp_path, script))
        return started[-1]

    keeper = Keeper("ingest", start(), start, said.append)
    while len(started) < 2:
        keeper.tick()
        time.sleep(0.02)
    wait_for(tmp_path / "child.log", "second")
    keeper.tick()
    assert keeper.process is started[1]
    assert keeper.process.exit_code() is None
    assert said[0].startswith("ingest ended (exit code 3); starting it again in 0.5 s")
    assert said[1].startswith("ingest started again")
    keeper.process.ask_to_stop()
    assert keeper.process.end_by(time.monotonic() + 60)


def test_trouble_in_a_log_is_shown_and_bounded(tmp_path: Path) -> None:
    said: list[str] = []
    script = (
        "import json, time\n"
        "for n in range(40): print(json.dumps({'level': 'error', 'event': f'fault {n}'}))\n"
        "print('end'); time.sleep(600)"
    )
    process = child(tmp_path, script)
    keeper = Keeper("centre", process, lambda: process, said.append)
    wait_for(process.log.path, "end")
    keeper.tick()
    assert said == [f"centre: fault {number}" for number in range(5)]
    process.ask_to_stop()
    assert process.end_by(time.monotonic() + 60)
