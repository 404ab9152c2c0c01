"""The command line: help everywhere, one readable line for what a person can put right, exit codes."""

import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
import structlog

from runtime import cli

COMMANDS = [
    "up", "ingest", "centre", "simulate", "replay", "bench", "doctor", "migrate", "import", "export", "password",
    "backup", "restore",
]  # fmt: skip


def environment(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """These CITY_ variables only, and a data folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CITY_")}
    repository = str(Path(__file__).resolve().parents[2])
    return (
        kept | {"PYTHONPATH": repository, "COLUMNS": "200", "CITY_DATA_DIR": str(folder / "var")} | variables
    )


def process(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it, away from any .env file."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "runtime.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(folder, variables),
    )


def city(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same in this process: starting an interpreter costs a second, and there are thirty of these."""
    out, err, code = StringIO(), StringIO(), 0
    root = logging.getLogger()
    handlers, level, configured = root.handlers[:], root.level, structlog.get_config()
    with (
        patch.dict(os.environ, environment(folder, variables), clear=True),
        patch.object(sys, "argv", ["city", *arguments]),
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            root.handlers[:], root.level = handlers, level
            structlog.configure(**configured)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = process("--help", folder=tmp_path)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    done = city(command, "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("command", ["up", "ingest", "centre", "migrate"])
def test_a_wrong_setting_is_one_line_with_its_name(command: str, tmp_path: Path) -> None:
    done = city(command, folder=tmp_path, CITY_HTTP_PORT="eighty")
    assert done.returncode == 2
    assert done.stderr.startswith("city: CITY_HTTP_PORT = 'eighty': ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["ingest", "centre"])
def test_a_worker_without_a_database_says_what_to_do(command: str, tmp_path: Path) -> None:
    done = city(command, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("city: CITY_DATABASE_URL is empty")
    assert done.stderr.count("\n") == 1


def test_a_secret_is_not_shown_in_a_complaint(tmp_path: Path) -> None:
    done = process("up", folder=tmp_path, CITY_DATABASE_URL="mysql://someone:hush@host/db")
    assert done.returncode == 2
    assert "hush" not in done.stderr
    assert "CITY_DATABASE_URL" in done.stderr


def test_an_unknown_command_is_exit_code_two(tmp_path: Path) -> None:
    assert city("fly", folder=tmp_path).returncode == 2


def test_simulating_nowhere_names_the_folder(tmp_path: Path) -> None:
    done = city("simulate", "calm", folder=tmp_path)
    assert done.returncode == 2
    assert "no district to simulate" in done.stderr


def test_two_on_one_data_folder_the_second_says_so(tmp_path: Path) -> None:
    from runtime import data_dir

    with data_dir.hold(data_dir.prepare(tmp_path / "var")):
        done = city("up", folder=tmp_path)
    assert done.returncode == 2
    assert f"another `city up` (pid {os.getpid()}) is using it" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_taken_web_port_stops_the_start_before_anything_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = city("up", folder=tmp_path, CITY_HTTP_PORT=str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"city: CITY_HTTP_PORT = {port}: ")
    assert not (tmp_path / "var" / "postgres").exists()


def findings(text: str) -> dict[str, dict[str, str]]:
    return {one["check"]: one for one in json.loads(text)["findings"]}


def test_doctor_answers_scripts(tmp_path: Path) -> None:
    done = city("doctor", "--json", folder=tmp_path, CITY_HTTP_PORT=str(free()), CITY_MQTT_PORT=str(free()))
    found = findings(done.stdout)
    assert {"python", "postgres_program", "broker_program", "disk", "clock", "mail"} <= set(found)
    assert found["postgres_program"]["state"] == "ok", found["postgres_program"]
    assert found["broker_program"]["state"] == "ok", found["broker_program"]
    assert found["mail"]["state"] == "warn"
    assert "CITY_SMTP_URL" in found["mail"]["remedy"]


def test_doctor_names_who_has_the_port_and_fails(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = city("doctor", "--json", folder=tmp_path, CITY_MQTT_PORT=str(port))
    found = findings(done.stdout)["mqtt_port"]
    assert done.returncode == 1
    assert (found["state"], f"(pid {os.getpid()})" in found["text"]) == ("fail", True)
    assert "CITY_MQTT_PORT" in found["remedy"]


@pytest.mark.parametrize(
    ("check", "variables"),
    [
        ("district", {"CITY_CONFIG": "nowhere"}),
        ("database", {"CITY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}),
        ("broker", {"CITY_MQTT_URL": "mqtt://127.0.0.1:1"}),
        ("api_token", {"CITY_API_TOKEN_FILE": "nowhere"}),
    ],
)
def test_doctor_finds_what_does_not_work(check: str, variables: dict[str, str], tmp_path: Path) -> None:
    done = city("doctor", "--json", folder=tmp_path, **variables)
    assert done.returncode == 1
    assert findings(done.stdout)[check]["state"] == "fail"


def test_doctor_survives_unusable_settings(tmp_path: Path) -> None:
    done = city("doctor", "--json", folder=tmp_path, CITY_MQTT_PORT="x")
    assert done.returncode == 2
    assert findings(done.stdout)["settings"]["state"] == "fail"


def free() -> int:
    from runtime import ports

    return ports.any_free()
