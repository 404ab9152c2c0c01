"""Debian packages unpacked into a private tree and run under the tree's own loader.

Needs no root and leaves the host's packages alone; the host's own apt fetches from the mirror it
already uses. Trees live in the user's cache folder, one per set of packages, and are built once.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.processes import UnavailableError

SUITE = "trixie"
_MULTIARCH = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
_LOADER = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_UNUSED = ("libllvm", "libz3", "perl", "libperl")  # 150 MB for the JIT and scripts nobody calls here


def cache_folder() -> Path:
    """Where fetched servers are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "city-command-centre"


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold a lock of this user, so that parallel test workers fetch a thing once."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def unpacked(name: str, packages: Sequence[str], programs: Sequence[str], *, suite: str = SUITE) -> Path:
    """The folder of the tree `name` with `packages` and all they need; built when absent.

    `programs` (paths inside the tree) are wrapped to start under the tree's loader and C library. A library that
    shall be loaded into the host's own programs must come from the host's own `suite`.
    Raises UnavailableError when this machine cannot build it.
    """
    machine = platform.machine()
    if machine not in _MULTIARCH:
        raise UnavailableError(f"{name}: no Debian tree for {machine}; install {packages[0]} by hand")
    tree = cache_folder() / f"{name}-{suite}-{machine}"
    with only_one(tree.name):
        if not tree.is_dir():
            for tool in ("apt-get", "dpkg-deb", "setpriv"):
                if shutil.which(tool) is None:
                    raise UnavailableError(
                        f"{name}: needs {tool} (a Debian host) or an installed {packages[0]}"
                    )
            _build(tree, name, packages, programs, suite)
    return tree


def _build(tree: Path, name: str, packages: Sequence[str], programs: Sequence[str], suite: str) -> None:
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix=f"{name}-new-") as work:
        new, apt = Path(work) / "tree", Path(work) / "apt"
        for folder in (new, apt / "lists/partial", apt / "archives/partial"):
            folder.mkdir(parents=True)
        try:
            _download(apt, packages, suite)
            for deb in sorted((apt / "archives").glob("*.deb")):
                if not deb.name.startswith(_UNUSED):
                    subprocess.run(["dpkg-deb", "-x", str(deb), str(new)], check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace").strip().splitlines()
            raise UnavailableError(
                f"{name}: {error.cmd[0]} failed: {reason[-1] if reason else error}"
            ) from error
        for program in programs:
            _wrap(new / program, tree / program, tree)
        new.rename(tree)


def _download(apt: Path, packages: Sequence[str], suite: str) -> None:
    (apt / "status").touch()
    key = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    (apt / "sources.list").write_text(f"deb {key}{_mirror()} {suite} main\n")
    settings = {
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "APT::Sandbox::User": "",
        "APT::Install-Recommends": "0",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "1",
    }
    conf = apt / "apt.conf"
    conf.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    env = {**os.environ, "APT_CONFIG": str(conf)}
    for arguments in (["update"], ["-y", "--download-only", "install", *packages]):
        subprocess.run(["apt-get", "-qq", *arguments], check=True, capture_output=True, env=env)


def _mirror() -> str:
    """The Debian mirror this host's apt already uses."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    for address in listed:
        if address.rstrip("/").endswith("/debian"):
            return address
    raise UnavailableError("this host's apt has no Debian mirror; install the servers by hand")


def _wrap(program: Path, final: Path, tree: Path) -> None:
    """Put a script in the program's place that starts it under the tree's own loader."""
    machine = platform.machine()
    libraries = tree / "usr/lib" / _MULTIARCH[machine]
    program.rename(program.with_name(program.name + ".elf"))
    program.write_text(
        "#!/bin/sh\n"
        f'exec "{libraries / _LOADER[machine]}" --library-path "{libraries}" '
        f'--argv0 "{final}" "{final}.elf" "$@"\n'
    )
    program.chmod(0o755)
