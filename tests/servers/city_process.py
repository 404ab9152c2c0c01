"""The product's own processes, started as an operator starts them: the command line and the environment."""

import os
import shutil
import sys
import tempfile
import weakref
from pathlib import Path

from tests.servers.accounts import services_url
from tests.servers.processes import ServerProcess

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def city_environment(**settings: str) -> dict[str, str]:
    """The environment without anybody's CITY_ settings, plus these (names without the prefix, any case)."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CITY_")}
    return (
        clean
        | {"PYTHONPATH": str(REPOSITORY)}
        | {f"CITY_{name.upper()}": value for name, value in settings.items()}
    )


def start_city(command: str, *arguments: str, **settings: str) -> ServerProcess:
    """``city <command>`` as a child process in a folder of its own, removed with it; ``.log`` is its standard error.

    Its data go there too, unless ``data_dir`` says where: a centre that comes back needs its keys.
    """
    if command in ("ingest", "centre") and settings.get("database_url"):
        settings["database_url"] = services_url(settings["database_url"])
    folder = Path(tempfile.mkdtemp(prefix=f"city-test-{command}-"))
    process = ServerProcess(
        [sys.executable, "-m", "runtime.cli", command, *arguments],
        folder / f"{command}.log",
        env=city_environment(**{"data_dir": str(folder / "var"), **settings}),
        cwd=folder,
    )
    weakref.finalize(process, shutil.rmtree, folder, ignore_errors=True)
    return process
