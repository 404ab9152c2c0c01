"""The receiver that the docs show takes what we send, and nothing else: it is run here as it is printed there."""

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from command_centre.notify import webhook

PAGE = (Path(__file__).parents[2] / "docs/notifications.md").read_text(encoding="utf-8")
NOW = 1_763_697_600.0
SECRET = "a secret of the receiver"


@pytest.fixture
def receiver() -> dict[str, Any]:
    """The names that the printed code defines."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib}
    exec(code, names)  # noqa: S102  # our own page
    return names


def signed(body: bytes, at: float = NOW) -> dict[str, str]:
    stamp = str(int(at))
    return {"X-City-Timestamp": stamp, "X-City-Signature": webhook.signature(SECRET, stamp, body)}


def test_what_we_send_is_genuine_and_counts_once(receiver: dict[str, Any]) -> None:
    event = webhook.event(
        key="k-1",
        kind="incident.order",
        source="https://city",
        subject="n",
        at=datetime.now(UTC),
        data={"a": 1},
    )
    body = json.dumps(event).encode()
    assert receiver["genuine"](SECRET, signed(body), body, NOW)
    assert receiver["first_time"](event["id"], NOW)
    assert not receiver["first_time"](event["id"], NOW + 1)


def test_strangers_changed_bodies_and_old_copies_are_refused(receiver: dict[str, Any]) -> None:
    body = b'{"a":1}'
    genuine = receiver["genuine"]
    assert not genuine("another secret", signed(body), body, NOW)
    assert not genuine(SECRET, signed(body), body + b" ", NOW)
    assert not genuine(SECRET, signed(body), body, NOW + 300)
    assert not genuine(SECRET, signed(body, NOW) | {"X-City-Timestamp": str(int(NOW) + 300)}, body, NOW + 300)
    assert genuine(SECRET, signed(body), body, NOW + 299)


def test_every_type_of_event_is_on_the_page() -> None:
    from command_centre.notify.sending import _KINDS

    for kind in _KINDS.values():
        assert f"city.{kind}" in PAGE
