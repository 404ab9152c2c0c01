"""Whose allowance a request uses up, and how large a body may be."""

from typing import Any

import pytest
from starlette.requests import Request

from command_centre.api import headers, turnstile


def request(host: str | None) -> Request:
    scope: dict[str, Any] = {"type": "http", "client": (host, 1) if host is not None else None, "headers": []}
    return Request(scope)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),  # one household has a whole /64
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("testclient", "testclient", True),
    ],
)
def test_one_sender_is_one_address_or_one_network(one: str, other: str, same: bool) -> None:
    assert (turnstile.sender(request(one)) == turnstile.sender(request(other))) is same


def test_a_sender_is_kept_as_a_digest() -> None:
    assert len(turnstile.sender(request("203.0.113.7"))) == 32
    assert b"203.0" not in turnstile.sender(request("203.0.113.7"))
    assert len(turnstile.sender(request(None))) == 32


@pytest.mark.parametrize(
    ("method", "path", "most"),
    [
        ("POST", "/api/reports", headers.PHOTOS),
        ("POST", "/api/reports/7K3QM9XA42TBC/more", headers.PHOTOS),
        ("POST", "/api/photos", headers.PHOTOS),
        ("POST", "/api/reports/7K3QM9XA42TBC/rating", headers.LARGEST_BODY),
        ("PATCH", "/api/reports", headers.LARGEST_BODY),
        ("POST", "/api/intake/dcm", headers.LARGEST_BODY),
        ("POST", "/api/incidents", headers.LARGEST_BODY),
    ],
)
def test_only_what_takes_photos_takes_more(method: str, path: str, most: int) -> None:
    def refused(length: int) -> bool:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"content-length", str(length).encode())],
        }
        return headers._too_large(scope) is not None

    assert [refused(most), refused(most + 1)] == [False, True]
