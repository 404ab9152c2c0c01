"""What the runtime keeps on disk: bounded logs, the data folder and who holds it, ports."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from city.errors import CityError
from runtime import data_dir, ports
from runtime.log_files import LogFile, trouble


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_only_whole_new_lines_are_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "before\n")
    log = LogFile(path)
    assert log.new_lines() == []
    append(path, "one\ntwo\nhal")
    assert log.new_lines() == ["one", "two"]
    append(path, "f\n")
    assert log.new_lines() == ["half"]


def test_a_log_that_grows_past_its_bound_is_emptied_and_its_content_kept_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", bound_bytes=1000)
    descriptor = log.open()
    for number in range(300):
        os.write(descriptor, f"line {number:04}\n".encode())
        log.new_lines()
    os.write(descriptor, b"after\n")
    os.close(descriptor)
    assert log.new_lines() == ["after"]
    assert log.path.stat().st_size <= 1000
    assert (tmp_path / "a.log.1").stat().st_size <= 1100
    assert log.last_lines(1) == ["after"]


def test_a_log_is_for_its_owner_only(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log" / "a.log")
    os.close(log.open())
    assert log.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (json.dumps({"level": "error", "event": "no broker"}), "no broker"),
        (
            json.dumps({"level": "error", "event": "lost", "exception": "Trace\nValueError: x"}),
            "lost ValueError: x",
        ),
        (json.dumps({"level": "info", "event": "started"}), None),
        ('{"level": "error", "ev', None),
        ("[12] 2026/11/21 21:20:54.6 [ERR] disk full", "disk full"),
        ("[12] 2026/11/21 21:20:54.6 [INF] ready", None),
        ("2026-11-21 21:20:54.4 UTC [1] PANIC:  could not write", "could not write"),
        ("2026-11-21 21:20:54.4 UTC [1] FATAL:  the database system is starting up", None),
        ("2026-11-21 21:20:54.4 UTC [1] ERROR:  duplicate key", None),
        ("launch: /x/postgres: Permission denied", "/x/postgres: Permission denied"),
    ],
)
def test_trouble_is_told_from_routine(line: str, shown: str | None) -> None:
    assert trouble(line) == shown


def test_a_data_folder_has_one_holder_who_is_named(tmp_path: Path) -> None:
    with data_dir.hold(tmp_path) as unclean:
        assert unclean is False
        assert data_dir.holder(tmp_path) == os.getpid()
        with pytest.raises(CityError, match=rf"pid {os.getpid()}.*CITY_DATA_DIR"), data_dir.hold(tmp_path):
            pytest.fail("two holders")
    assert data_dir.holder(tmp_path) is None


def test_a_holder_that_was_killed_is_remembered_and_one_that_failed_is_not(tmp_path: Path) -> None:
    kill = f"""
import os, pathlib
from runtime import data_dir
with data_dir.hold(pathlib.Path({str(tmp_path)!r})):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", kill], check=False).returncode == -9
    assert hold_and_fail(tmp_path) is True
    with data_dir.hold(tmp_path) as unclean:
        assert unclean is False


def hold_and_fail(folder: Path) -> bool:
    try:
        with data_dir.hold(folder) as unclean:
            raise RuntimeError
    except RuntimeError:
        return unclean


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CityError, match="CITY_DATA_DIR"):
        data_dir.prepare(tmp_path / "file" / "var")


def test_a_new_data_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    made = data_dir.prepare(tmp_path / "var")
    assert made.is_absolute()
    assert made.stat().st_mode & 0o077 == 0


def test_a_taken_port_is_reported_with_variable_holder_and_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(CityError) as caught:
            ports.require_free("CITY_HTTP_PORT", port, "choose another")
        text = str(caught.value)
        assert text.startswith(f"CITY_HTTP_PORT = {port}: ")
        assert f"(pid {os.getpid()})" in text
        assert text.endswith("choose another")
        assert "\n" not in text
    ports.require_free("CITY_HTTP_PORT", port, "choose another")


def test_an_address_that_is_not_ours_is_not_called_taken() -> None:
    with pytest.raises(CityError, match=r"cannot listen on 192\.0\.2\.1"):
        ports.require_free("CITY_HTTP_PORT", 8000, "choose another", host="192.0.2.1", patience_s=3600)


def test_a_free_port_is_free() -> None:
    assert ports.is_free(ports.any_free())
