"""A real Chromium with Chinese fonts; installed by apt when this machine's user may."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.debian_tree import only_one
from tests.servers.processes import UnavailableError

# Chromium without a window of its own: the same engine for half the processor time, since the other one draws the
# browser's frame and tabs for every page nobody sees.
_LIGHT = "chromium-headless-shell"
_NAMES = (_LIGHT, "chromium", "chromium-browser", "google-chrome")
_CJK_FONTS = ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",)


def chromium_binary() -> Path:
    """The browser's path; raises UnavailableError when it is missing and cannot be installed."""
    with only_one("chromium"):
        wanted = [] if shutil.which(_LIGHT) else [_LIGHT]
        if not any(Path(font).exists() for font in _CJK_FONTS):
            wanted.append("fonts-noto-cjk")
        if wanted and os.getuid() == 0 and shutil.which("apt-get"):
            _install(wanted)
            if _installed() is None:
                _install(["chromium", *(one for one in wanted if one != _LIGHT)])
    found = _installed()
    if found is None:
        raise UnavailableError("Chromium: not on this machine; apt-get install chromium fonts-noto-cjk")
    return found


def _installed() -> Path | None:
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return None


def _install(packages: list[str]) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300"]
    for command in (["update"], ["install", "--no-install-recommends", *packages]):
        subprocess.run([*quiet, *command], check=False, capture_output=True, env=env)
