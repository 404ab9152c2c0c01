"""``city …`` in the tests' own process: what it printed and how it ended, without an interpreter's start each time."""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime import cli


@dataclass(frozen=True)
class Done:
    """What a command printed, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def commands(
    patch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], url: str, folder: Path, *before: str
) -> Run:
    """A function that runs ``city BEFORE …`` on this database, in this folder."""
    for name in [name for name in os.environ if name.startswith("CITY_")]:
        patch.delenv(name)
    patch.setenv("CITY_DATABASE_URL", url)
    patch.setenv("CITY_DATA_DIR", str(folder / "var"))
    patch.setenv("COLUMNS", "200")
    patch.chdir(folder)

    def run(*arguments: str, typed: str = "") -> Done:
        patch.setattr(sys, "argv", ["city", *before, *arguments])
        patch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run
