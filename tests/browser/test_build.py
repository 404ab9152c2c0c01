"""The build hook: builds when there is something to build, and says what failed and what to do."""

import shutil
from pathlib import Path

import pytest

import hatch_build
from hatch_build import WEB, FrontEndError


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """The present sources, built, without the packages."""
    leave = shutil.ignore_patterns("node_modules", "tests")
    return Path(shutil.copytree(WEB, tmp_path / "web", ignore=leave))


def test_nothing_is_done_twice(web: Path) -> None:
    assert hatch_build.up_to_date(web)
    assert hatch_build.build(web, tools=True) is False
    assert not (web / "node_modules").exists()


@pytest.mark.parametrize("name", ["src/main.ts", "package-lock.json", "index.html", ".npmrc"])
def test_a_changed_source_is_noticed(web: Path, name: str) -> None:
    path = web / name
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert not hatch_build.up_to_date(web)


def test_a_new_source_and_a_lost_page_are_noticed(web: Path) -> None:
    added = web / "src" / "added.ts"
    added.touch()
    assert not hatch_build.up_to_date(web)
    added.unlink()
    assert hatch_build.up_to_date(web)
    (web / "dist" / "index.html").unlink()
    assert not hatch_build.up_to_date(web)


def test_without_a_registry_the_command_and_the_remedy_are_named(
    web: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (web / "dist" / "index.html").unlink()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9/")
    monkeypatch.setenv("NPM_CONFIG_FETCH_RETRIES", "0")
    monkeypatch.setenv("NPM_CONFIG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FrontEndError) as caught:
        hatch_build.build(web, tools=False)
    assert "`npm ci --ignore-scripts --no-audit --no-fund --omit=dev`" in str(caught.value)
    assert "NPM_CONFIG_REGISTRY" in str(caught.value)
    assert not hatch_build.up_to_date(web)


def test_the_lock_file_names_no_registry() -> None:
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert '"integrity"' in lock


def test_the_page_asks_for_nothing_inline_and_nothing_elsewhere() -> None:
    page = (WEB / "dist" / "index.html").read_text(encoding="utf-8")
    assert "style=" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert all('src="/assets/' in tag for tag in page.split("<script")[1:])
