"""`make fuzz`: every target of tests/fuzz under atheris for so many seconds, one after the other.

Atheris stands in an environment of its own with a lock of its own (wheels for Linux on x86_64 only); everything else
comes from .venv. Inputs that were found interesting are kept in var/fuzz and begun with the next time. The exit code
is that of the first target that found something; the input that did it lies in var/fuzz/NAME-crash-*.
"""

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-fuzz.lock"
VENV = ROOT / ".venv-fuzz"
PYTHON = VENV / "bin" / "python"
KEPT = ROOT / "var" / "fuzz"


def main(seconds: int, names: list[str]) -> int:
    """Run these targets, or all; 0 nothing found, 2 this machine cannot."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        sys.stderr.write(
            "make fuzz: atheris has wheels for Linux on x86_64 only; run it there"
            " (the same inputs are tried by hypothesis in make test)\n"
        )
        return 2
    if not install():
        return 2
    for target in names or every():
        found = run(target, seconds)
        if found:
            return found
    return 0


def every() -> list[str]:
    """The targets with a file of their own, then the parsers of tests/fuzz/parsers.py."""
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.parsers import PARSERS  # noqa: PLC0415  # only what fuzzes pays for importing the product

    return [*(path.stem for path in sorted((ROOT / "tests" / "fuzz").glob("fuzz_*.py"))), *PARSERS]


def install() -> bool:
    """Atheris as locked; pip says what went wrong."""
    stamp = VENV / ".set-up"
    wanted = f"{sys.version_info[:2]} {LOCK.read_text('utf-8')}"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return True
    pip = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ]
    for command in (
        [sys.executable, "-m", "venv", str(VENV)],
        [*pip, "--require-hashes", "-r", str(LOCK)],
    ):
        if subprocess.run(command, check=False).returncode:
            sys.stderr.write(f"make fuzz: {LOCK.name} could not be installed into {VENV.name}\n")
            return False
    stamp.write_text(wanted, "utf-8")
    return True


def run(target: str, seconds: int) -> int:
    """One target; libFuzzer says what it does."""
    corpus = KEPT / target
    corpus.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"{target}: {seconds} s\n")
    options = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=1024", "-max_len=4200"]
    options += ["-len_control=20", "-print_final_stats=1", f"-artifact_prefix={KEPT / target}-"]
    path = os.pathsep.join((str(ROOT), sysconfig.get_paths()["purelib"]))
    module = [f"tests.fuzz.{target}"] if target.startswith("fuzz_") else ["tests.fuzz.parsers", target]
    return subprocess.run(
        [str(PYTHON), "-m", *module, *options, str(corpus)],
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
    ).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 600, sys.argv[2:]))
