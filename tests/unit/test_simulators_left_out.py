"""Production's wheel and image carry no simulators, and whatever needs them says how to get them."""

import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from hatch_build import CustomBuildHook
from tests.unit.test_runtime_cli import city

ROOT = Path(__file__).resolve().parents[2]


def built(folder: Path, version: str, asked: str) -> dict[str, str]:
    data: dict[str, Any] = {"force_include": {}}
    with patch.dict("os.environ", {"CITY_SIMULATORS": asked}):
        CustomBuildHook.initialize(SimpleNamespace(root=str(folder)), version, data)  # type: ignore[arg-type]  # its root alone is used
    included: dict[str, str] = data["force_include"]
    return included


def test_a_wheel_has_them_only_when_asked_for(tmp_path: Path) -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "simulators" not in wheel["packages"]
    assert {"city", "runtime"} < set(wheel["packages"])
    assert built(tmp_path, "standard", "no") == {}
    assert built(tmp_path, "standard", "yes") == {str(tmp_path / "simulators"): "simulators"}
    assert built(tmp_path, "editable", "yes") == {}  # a checkout has them


def test_the_image_has_them_only_when_asked_for() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "ARG SIMULATORS=no\n" in text
    assert re.search(r"CITY_SIMULATORS=\$SIMULATORS pip wheel ", text)
    assert text.index("ARG SIMULATORS") < text.index("CITY_SIMULATORS=$SIMULATORS")
    (compose,) = re.findall(r"^  build: *(.+)$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert compose == "."  # no argument: none


@pytest.mark.parametrize(
    "arguments",
    [("simulate", "calm"), ("replay", "levels.csv"), ("backtest", "rule", "--levels", "levels.csv")],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_them_says_how_to_get_them(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "var" / "district").mkdir(parents=True)
    gone = dict.fromkeys(
        [name for name in sys.modules if name.partition(".")[0] == "simulators"] + ["simulators"]
    )
    with patch.dict(sys.modules, gone):
        sys.modules.pop("runtime.backtest_series", None)
        done = city(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "--build-arg SIMULATORS=yes" in " ".join(done.stderr.split())
