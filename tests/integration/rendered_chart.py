"""The chart as helm renders it, document by document."""

import subprocess
from typing import Any

import yaml

from tests.conftest import lacking
from tests.servers.deployed import ROOT
from tests.servers.helm import helm_binary
from tests.servers.processes import UnavailableError

CHART = ROOT / "deploy/helm/city-command-centre"
Document = dict[str, Any]


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        binary = helm_binary()
    except UnavailableError as missing:
        lacking(missing)
    return subprocess.run([str(binary), *arguments], check=False, capture_output=True, text=True)


def rendered(values: str, *more: str) -> list[Document]:
    done = helm("template", "city", str(CHART), "-n", "town", "-f", str(CHART / f"ci/{values}.yaml"), *more)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def one_of(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = [one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found
