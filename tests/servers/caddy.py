"""The proxy of the deployment: Caddy with deploy/proxy/Caddyfile as it is, on free ports of this machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.debian_tree import unpacked
from tests.servers.processes import ServerProcess, free_port, listening

CADDYFILE = Path(__file__).parents[2] / "deploy" / "proxy" / "Caddyfile"


def caddy_binary() -> Path:
    """The host's Caddy, else Debian's from a private tree; raises UnavailableError when there is none."""
    found = shutil.which("caddy")
    return Path(found) if found else unpacked("caddy", ["caddy"], ["usr/bin/caddy"]) / "usr/bin/caddy"


class Proxy:
    """Addresses of a running proxy, and the authority it made for itself."""

    def __init__(self, folder: Path, https: int, http: int) -> None:
        self.base = f"https://localhost:{https}"
        self.plain = f"http://localhost:{http}"
        self.https = https
        self.authority = folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        self.log = folder / "caddy.log"


@contextmanager
def proxy_before(centre_port: int) -> Iterator[Proxy]:
    """The deployment's proxy before a centre on this port, with an authority of its own."""
    binary = caddy_binary()
    folder = Path(tempfile.mkdtemp(prefix="city-test-caddy-"))
    https, http = free_port(), free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "CITY_PROXY_HTTP_PORT": str(http),
        "CITY_PROXY_HTTPS_PORT": str(https),
        "CITY_PROXY_SITE": "localhost",
        "CITY_PROXY_HEADER_TIME": "1s",  # a test need not wait for ten
        "CITY_PROXY_CENTRE": f"127.0.0.1:{centre_port}",
    }
    made = Proxy(folder, https, http)
    process = ServerProcess(
        [str(binary), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
        made.log,
        env=env,
        cwd=folder,
    )
    try:
        process.wait_ready(lambda: listening(https) and made.authority.exists(), 60)
        yield made
    finally:
        process.stop()
        shutil.rmtree(folder, ignore_errors=True)
