"""What no log line may hold is taken out, by name and by look; what a log is for stays."""

import io
import json
import logging
import sys

import pytest
import structlog

from city import logs
from city.redaction import redacted, text


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (
            "cannot reach postgresql://city:hunter2@db:5432/city",
            "cannot reach postgresql://city:…@db:5432/city",
        ),
        ("smtps://u%40x:a/b@mail", "smtps://u%40x:a/b@mail"),  # no address: a path stands before the @
        ("mqtt://:pw@h", "mqtt://:…@h"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer …"),
        ("GET /x?token=abc&y=1", "GET /x?token=…&y=1"),
        ("password='hunter2' refused", "password='…' refused"),
        ("call 13812345678 now", "call … now"),
        ("call +86 138-1234-5678 now", "call … now"),
        ("mail to zhang.san@example.org failed", "mail to …@example.org failed"),
        ("cookie city_session=abcDEF; x", "cookie city_session=…; x"),
    ],
)
def test_what_looks_like_a_secret_goes(said: str, left: str) -> None:
    assert text(said) == left


@pytest.mark.parametrize(
    "said",
    [
        "device D13812345 at 114.05789, 22.54321",
        "ts 1763750400123 of seq 138123456789",
        "2026-11-22T13:38:10.123+08:00",
        "level 3.42 m at W1; 3 of 138 stations",
        "city/c1/smoke/s-00013",
        "http://127.0.0.1:8000/desk?incident=5",
        "sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_a_log_is_for_stays(said: str) -> None:
    assert text(said) == said


def test_names_that_hold_secrets_hide_their_values_however_deep() -> None:
    line = {
        "event": "x",
        "api_token": "abc",
        "user": {"phone": "12", "name": "kept", "also": [{"webhook_secret": "s"}]},
        "tokens": 3,
        "contact_days": 365,
        "keyboard": "kept",
        "error": ValueError("postgresql://a:b@c"),
    }
    assert redacted(line) == {
        "event": "x",
        "api_token": "…",
        "user": {"phone": "…", "name": "kept", "also": [{"webhook_secret": "…"}]},
        "tokens": 3,
        "contact_days": 365,
        "keyboard": "kept",
        "error": "postgresql://a:…@c",
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_every_line_goes_through_it_with_its_traceback(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level, out = root.handlers[:], root.level, io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    try:
        logs.configure("test", "info", form)  # type: ignore[arg-type]  # one of the two
        hunter2 = "a local variable marked-local"
        try:
            raise RuntimeError(f"postgresql://city:marked-url@h {len(hunter2)}")
        except RuntimeError:
            structlog.get_logger("x").exception("broke", password="marked-field", count=7)
            logging.getLogger("library").warning("Bearer %s refused", "marked-bearer")
    finally:
        root.handlers[:], root.level = before, level
        structlog.reset_defaults()
    said = out.getvalue()
    assert "marked" not in said
    assert "broke" in said
    assert "RuntimeError" in said
    if form == "json":
        assert json.loads(said.splitlines()[0])["count"] == 7
