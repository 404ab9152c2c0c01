"""`make setup`: a virtual environment with everything in it, from nothing but Python >= 3.11.

Packages come from requirements.lock with their hashes, through whatever index pip is set up for on this
machine. Run again it looks at a stamp and is done. Standard library only: nothing is installed yet.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
STAMP = VENV / ".set-up"
LOCK = ROOT / "requirements.lock"
FEEDS = ("requirements.lock", "pyproject.toml")  # what the environment is made from
OLDEST = (3, 11)


def main() -> None:
    """Set up what is missing; leaves with one line saying what went wrong and what to do about it."""
    os.chdir(ROOT)
    began = time.monotonic()
    wanted = digest()
    if not is_set_up(wanted):
        create_environment()
        install_locked()
        install_ourselves()
        STAMP.write_text(wanted, encoding="ascii")
    build_front_end()
    took = time.monotonic() - began
    if took > 2:
        say(f"准备完成 · set up in {took:.0f} s")


def digest() -> str:
    """Changes when the environment has to be made anew: its sources, the interpreter, the place."""
    state = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for name in FEEDS:
        state.update((ROOT / name).read_bytes())
    return state.hexdigest()


def is_set_up(wanted: str) -> bool:
    return STAMP.exists() and STAMP.read_text(encoding="ascii") == wanted and PYTHON.exists()


def create_environment() -> None:
    if sys.version_info < OLDEST:
        stop(f"Python {sys.version.split()[0]} is too old: install 3.11 or newer, or set PYTHON=/path/to/it")
    say("[1/4] 虚拟环境 · virtual environment")
    STAMP.unlink(missing_ok=True)
    if works(VENV):
        return
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian keeps it in a package of its own
        import venv  # noqa: PLC0415 - and this one too
    except ImportError:
        stop(
            f"{sys.executable} has no venv: install it (Debian, Ubuntu: apt-get install python3-venv), "
            "then try again"
        )
    if VENV.exists():
        shutil.rmtree(VENV)  # of another interpreter, or moved from elsewhere
    venv.create(VENV, with_pip=True, symlinks=os.name != "nt")


def works(folder: Path) -> bool:
    """True for an environment of this interpreter's version that stands where it was made and has pip."""
    if not PYTHON.exists():
        return False
    ask = "import pip, sys; print(sys.version_info[:2], sys.prefix)"
    answer = subprocess.run([PYTHON, "-c", ask], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == f"{sys.version_info[:2]} {folder}" and starts_pip(folder)


def starts_pip(folder: Path) -> bool:
    """False after a move: the console scripts still name the old place."""
    script = PYTHON.with_name("pip")
    return not script.exists() or str(folder) in script.read_text(encoding="utf-8", errors="replace")[:400]


def install_locked() -> None:
    total = LOCK.read_text(encoding="utf-8").count("==")
    say(f"[2/4] 依赖包 · {total} packages, checked by hash")
    pip(["install", "--no-deps", "--require-hashes", "-r", str(LOCK)], total)  # the lock names every one


def install_ourselves() -> None:
    """Editable, built with the hatchling that the lock file pins rather than with one fetched apart."""
    say("[3/4] 本程序与前端 · this program and its front end")
    pip(["install", "--no-deps", "--no-build-isolation", "--editable", "."], 0)


def pip(arguments: list[str], total: int) -> None:
    """Run pip; on a terminal show how many packages it has taken up; on failure show all it said."""
    command = [
        str(PYTHON),
        "-m",
        "pip",
        *arguments,
        "--no-input",
        "--progress-bar=off",
        "--no-compile",
    ]
    said: list[str] = []
    seen = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            said.append(line)
            if line.startswith(("Collecting ", "Requirement already satisfied: ")):
                seen += 1
                progress(f"  {min(seen, total)}/{total} {line.split()[1].split('=')[0]}" if total else "")
            elif line.startswith("Installing collected"):
                progress("  安装 · installing")
    progress("")
    if process.returncode != 0:
        sys.stderr.write("".join(said[-40:]))
        stop(
            f"pip {arguments[0]} failed (above). Without a way to the package index, point pip at a mirror:"
            " PIP_INDEX_URL=https://… make setup"
        )


def build_front_end() -> None:
    """Build the screens in place; the build looks at its own stamp and is done when nothing changed."""
    script = ROOT / "hatch_build.py"
    if not script.exists():
        return
    if subprocess.run([PYTHON, script], check=False).returncode != 0:
        stop("the front end could not be built (above)")


def progress(text: str) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text}")
        sys.stdout.flush()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def stop(text: str) -> None:
    sys.stderr.write(f"setup: {text}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
