"""The units beside compose: as systemd itself reads them, with commands and settings that are there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main

from city.settings import Settings
from runtime.cli import app
from tests.conftest import lacking
from tests.servers.processes import UnavailableError

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
MOST_EXPOSED = 2.0  # of systemd's ten; what has no hardening at all has 9.6


def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        lacking(UnavailableError("systemd-analyze; install systemd"))
    return found


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with a program that is on every machine."""
    folder = tmp_path_factory.mktemp("units")
    for path in (ROOT / "deploy/systemd").glob("city-*.*"):
        text = path.read_text(encoding="utf-8").replace("/opt/city/.venv/bin/city", "/bin/true")
        (folder / path.name).write_text(text)
    return folder


def test_systemd_finds_nothing_wrong_with_them(units: Path) -> None:
    command = [systemd_analyze(), "verify", "--man=no", *map(str, sorted(units.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [
        line for line in (done.stdout + done.stderr).splitlines() if str(units) in line or "city-" in line
    ]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: str(path.stem))
def test_a_unit_may_do_only_what_it_needs(unit: Path, units: Path) -> None:
    command = [systemd_analyze(), "security", "--offline=true", str(units / unit.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: str(path.stem))
def test_commands_and_settings_are_there(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    command = re.search(r"^ExecStart=\S+/city (\S+)", text, re.MULTILINE)
    assert command is not None
    assert command[1] in typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group has them
    named = {name.lower() for name in re.findall(r"\bCITY_([A-Z_]+)=", text)}
    assert named <= set(Settings.model_fields)
    waits = "Type=notify" in text
    assert waits == ("WatchdogSec=" in text)
    assert waits == (
        unit.stem in {"city-centre", "city-ingest", "city-uplink"}
    )  # those that say when they are ready


def test_no_secret_stands_in_an_environment() -> None:
    for path in (ROOT / "deploy/systemd").iterdir():
        for name, value in re.findall(r"CITY_([A-Z_]+)=(\S*)", path.read_text(encoding="utf-8")):
            secret = re.search("PASSWORD|TOKEN|SECRET|KEY", name)
            assert not secret or value.startswith("%d/"), f"{path.name}: {name}"
            assert not re.search(r"://[^/]*:[^/]*@", value), f"{path.name}: {name}"
