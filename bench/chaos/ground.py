"""What this machine lets a root user take away from a process: network, processor, memory, disk.

Everything made here carries our process id in its name, so that what a killed run left behind is found and removed
by the next one (`sweep`). `ImpossibleError` says in one line why a machine cannot.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.servers.debian_tree import unpacked
from tests.servers.processes import UnavailableError

_PREFIX = "cityc"
_NETS = "10.213."
_CGROUPS = Path("/sys/fs/cgroup")
_DISKS = Path("/var/tmp")  # noqa: S108 - a disk image is too large for memory; mkdir fails where another's stands
_MINE = re.compile(rf"{_PREFIX}(\d+)x")


class ImpossibleError(Exception):
    """This machine cannot do it: one line with the reason."""


def run(*command: str, check: bool = True) -> str:
    """Standard output of a tool; raises ImpossibleError when it is missing or refuses."""
    if shutil.which(command[0], path="/usr/sbin:/sbin:/usr/bin:/bin") is None and "/" not in command[0]:
        raise ImpossibleError(f"{command[0]} is not installed")
    env = {**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if check and done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines() or [f"ended with {done.returncode}"]
        raise ImpossibleError(f"{' '.join(command[:3])}: {last[-1]}")
    return done.stdout


def _root() -> None:
    if os.getuid() != 0:
        raise ImpossibleError("needs root")


# ── network ───────────────────────────────────────────────────────────────────────────────────────────


class Namespace:
    """A process's own network with one cable to ours: pull it, or lose packets on it."""

    def __init__(self, number: int) -> None:
        """`number` tells several of one run apart. Raises ImpossibleError."""
        _root()
        self.name = f"{_PREFIX}{os.getpid()}x{number}"
        self._cable = f"cc{os.getpid() % 100_000}x{number}"  # a device's name has 15 letters at most
        net = f"{_NETS}{(os.getpid() * 4 + number) % 256}"
        self.host, self.address, self._net = f"{net}.1", f"{net}.2", f"{net}.0/30"
        try:
            run("ip", "netns", "add", self.name)
            run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            run("ip", "addr", "add", f"{self.host}/30", "dev", self._cable)
            run("ip", "link", "set", self._cable, "up")
            self._inside("ip", "link", "set", "lo", "up")
            self._inside("ip", "addr", "add", f"{self.address}/30", "dev", "eth0")
            self._inside("ip", "link", "set", "eth0", "up")
        except ImpossibleError:
            self.close()
            raise

    @property
    def prefix(self) -> tuple[str, ...]:
        """What goes before a command that shall live in it."""
        return ("ip", "netns", "exec", self.name)

    def _inside(self, *command: str) -> None:
        run(*self.prefix, *command)

    def pull(self) -> None:
        """Pull the cable: packets vanish, no connection is told.

        With the device its route goes too; what we send must not take the default route out of this machine then.
        """
        run("ip", "route", "replace", "blackhole", self._net, "metric", "4096")
        run("ip", "link", "set", self._cable, "down")

    def plug(self) -> None:
        """Put it in again."""
        run("ip", "link", "set", self._cable, "up")
        run("ip", "route", "del", "blackhole", self._net, "metric", "4096", check=False)

    def lose(self, percent: int) -> None:
        """Drop so many of a hundred packets that arrive, by lot. Raises ImpossibleError where nft is not to be had."""
        try:
            nft = str(unpacked("nftables", ["nftables"], ["usr/sbin/nft"]) / "usr/sbin/nft")
        except UnavailableError as error:
            raise ImpossibleError(str(error)) from error
        chain = "add chain inet chaos arrives { type filter hook input priority 0; }"
        rule = f"add rule inet chaos arrives numgen random mod 100 < {percent} drop"
        self._inside(nft, f"add table inet chaos; {chain}; {rule}")

    def lose_nothing(self) -> None:
        """Take the loss away."""
        nft = unpacked("nftables", ["nftables"], ["usr/sbin/nft"]) / "usr/sbin/nft"
        self._inside(str(nft), "delete table inet chaos")

    def close(self) -> None:
        """Remove it and its cable."""
        run("ip", "route", "del", "blackhole", self._net, "metric", "4096", check=False)
        run("ip", "link", "del", self._cable, check=False)
        run("ip", "netns", "del", self.name, check=False)


# ── processor ─────────────────────────────────────────────────────────────────────────────────────────


class Group:
    """A control group that some processes are put into for a while; version 1 and 2 of the kernel's interface."""

    def __init__(self, controller: str) -> None:
        """`controller` is cpu or blkio (io in version 2). Raises ImpossibleError."""
        _root()
        first = _CGROUPS / controller
        self._old = first.is_dir()
        parent = first if self._old else _CGROUPS
        wanted = controller if self._old else controller.replace("blkio", "io")
        if not self._old and wanted not in _read(parent / "cgroup.subtree_control").split():
            raise ImpossibleError(f"no control group for {wanted}")
        self._parent, self._wanted = parent, wanted
        self.folder = parent / f"{_PREFIX}{os.getpid()}x"
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ImpossibleError(f"{self.folder}: {error.strerror}") from error

    def processor(self, share: float) -> None:
        """At most this share of one core."""
        period = 100_000
        if self._old:
            self._write("cpu.cfs_period_us", str(period))
            self._write("cpu.cfs_quota_us", str(int(share * period)))
        else:
            self._write("cpu.max", f"{int(share * period)} {period}")

    def writing(self, device: str, rate: int) -> None:
        """At most so many bytes a second to a device (major:minor), also by fsync."""
        if self._old:
            self._write("blkio.throttle.write_bps_device", f"{device} {rate}")
        else:
            self._write("io.max", f"{device} wbps={rate}")

    def take(self, pids: Sequence[int]) -> None:
        """Put processes into it."""
        for pid in pids:
            with suppress(ProcessLookupError):
                self._write("cgroup.procs", str(pid))

    def _write(self, name: str, value: str) -> None:
        try:
            (self.folder / name).write_text(value)
        except ProcessLookupError:
            raise
        except OSError as error:
            raise ImpossibleError(f"{self.folder / name}: {error.strerror}") from error

    def close(self) -> None:
        """Let all go and remove it."""
        for pid in _read(self.folder / "cgroup.procs").split():
            with suppress(OSError):
                (self._parent / "cgroup.procs").write_text(pid)
        with suppress(OSError):
            self.folder.rmdir()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


# ── disks ─────────────────────────────────────────────────────────────────────────────────────────────


class Disk:
    """A file system of a fixed size in a file: it can be filled to the last block, and its device slowed."""

    def __init__(self, name: str, megabytes: int) -> None:
        """Make and mount it. Raises ImpossibleError."""
        _root()
        self._image = _DISKS / f"{_PREFIX}{os.getpid()}x{name}.img"
        self.folder = _DISKS / f"{_PREFIX}{os.getpid()}x{name}"
        self.folder.mkdir()
        self._device = ""
        try:
            with self._image.open("wb") as image:
                image.truncate(megabytes << 20)
            run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
            self._device = run("losetup", "--find", "--show", str(self._image)).strip()
            run("mount", self._device, str(self.folder))
        except (ImpossibleError, OSError):
            self.close()
            raise
        self.folder.chmod(0o777)

    @property
    def number(self) -> str:
        """The device as control groups name it."""
        return Path(f"/sys/block/{Path(self._device).name}/dev").read_text().strip()

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no block free."""
        status = os.statvfs(self.folder)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, (status.f_bavail - 64) * status.f_frsize))
            with suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(4096))
        with suppress(OSError), (self.folder / "ballast2").open("wb") as file:
            while True:
                os.write(file.fileno(), bytes(4096))

    def empty(self) -> None:
        """Free again what `fill` took."""
        self._ballast.unlink(missing_ok=True)
        (self.folder / "ballast2").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount and remove it."""
        _unmount(self.folder)
        if self._device:
            run("losetup", "--detach", self._device, check=False)
        self._image.unlink(missing_ok=True)


def _unmount(folder: Path) -> None:
    run("umount", "--lazy", str(folder), check=False)
    with suppress(OSError):
        folder.rmdir()


# ── what a killed run left ────────────────────────────────────────────────────────────────────────────


def sweep() -> None:
    """Remove what runs left that are no longer alive."""
    if os.getuid() != 0:
        return
    with suppress(ImpossibleError):
        _sweep_networks()
    for folder in _DISKS.glob(f"{_PREFIX}*x*"):
        if _abandoned(folder.name) and folder.is_dir():
            _unmount(folder)
        elif _abandoned(folder.name):
            run("losetup", "--detach", *_loops(folder), check=False)
            folder.unlink(missing_ok=True)
    for group in (*_CGROUPS.glob(f"{_PREFIX}*x"), *_CGROUPS.glob(f"*/{_PREFIX}*x")):
        if _abandoned(group.name):
            with suppress(OSError):
                group.rmdir()


def _sweep_networks() -> None:
    names = [name for name in run("ip", "netns", "list").split() if _MINE.match(name)]
    for name in filter(_abandoned, names):
        run("ip", "netns", "del", name, check=False)
    if all(map(_abandoned, names)):  # or they may be another run's, which is pulling cables now
        for line in run("ip", "route", "show", "type", "blackhole").splitlines():
            if _NETS in line:
                run("ip", "route", "del", *line.split(), check=False)


def _loops(image: Path) -> list[str]:
    return [line.partition(":")[0] for line in run("losetup", "-j", str(image), check=False).splitlines()]


def _abandoned(name: str) -> bool:
    found = _MINE.match(name)
    return found is not None and not Path(f"/proc/{found[1]}").exists()
