"""Prometheus and its tools from Debian, for proving rules and for scraping the running product."""

from pathlib import Path

from tests.servers.debian_tree import unpacked


def prometheus_tools() -> Path:
    """The folder with ``prometheus``, ``promtool`` and ``amtool``; raises UnavailableError where it cannot be had."""
    programs = [f"usr/bin/{name}" for name in ("prometheus", "promtool", "amtool")]
    return unpacked("prometheus", ["prometheus", "prometheus-alertmanager"], programs) / "usr/bin"
