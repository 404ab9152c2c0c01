"""What the description says of routes that answer with files."""

import pytest

from command_centre.api.app import routes

ENDINGS = {
    ".csv": "text/csv",
    ".svg": "image/svg+xml",
    ".xml": "application/cap+xml",
    ".toml": "application/toml",
    ".atom": "application/atom+xml",
    ".geojson": "application/geo+json",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_path_with_an_ending_is_described_as_that_file_and_not_as_json(ending: str) -> None:
    found = [
        list(operations["get"]["responses"]["200"]["content"])
        for path, operations in routes().openapi()["paths"].items()
        if path.endswith(ending) and "get" in operations
    ]
    assert found
    assert all(types == [ENDINGS[ending]] for types in found), found
