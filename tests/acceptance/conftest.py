"""The browser of the browser tests, and the product running for it to look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import WEB, up_to_date
from tests.acceptance.stand import Stand, running
from tests.browser.conftest import browser, kept_tab, open_page
from tests.conftest import OVER_LOG

__all__ = ["browser", "kept_tab", "open_page"]


@pytest.fixture(params=["mosquitto", OVER_LOG])
def stand(request: pytest.FixtureRequest, migrated_url: str, tmp_path: Path) -> Iterator[Stand]:
    """Ingest and centre on a broker (or log) and a database of their own, with a small district imported."""
    if not up_to_date(WEB):
        pytest.fail(f"the screens in {WEB}/dist are not built from the present sources: run `make setup`")
    with running(migrated_url, request.getfixturevalue(request.param), tmp_path / "district") as made:
        yield made
