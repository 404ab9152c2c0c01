"""Lines of mosquitto's log, and what is kept of them between two writings."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre import broker_watch
from command_centre.broker_log import LoggedIn, Refused, read

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "New client connected from 127.0.0.1:50163 as auto-3D9C (p2, c1, k60, u'D1').",
            LoggedIn("D1", "auto-3D9C", "127.0.0.1"),
        ),
        ("New client connected from ::1:50163 as x y (p5, c0, k0).", LoggedIn("", "x y", "::1")),
        (
            "New client connected from 10.0.0.1:1 as a (p2, c1, k60, u'x') (p2, c1, k60, u'it's').",
            LoggedIn("it's", "a (p2, c1, k60, u'x')", "10.0.0.1"),
        ),
        ("Client 855F0A9D disconnected, not authorised.", Refused()),
        ("Client 855F0A9D disconnected: not authorised.", Refused()),
        ("Client 855F0A9D disconnected.", None),
        ("New connection from 127.0.0.1:50163 on port 1883.", None),
        ("", None),
    ],
)
def test_what_a_line_says(line: str, said: LoggedIn | Refused | None) -> None:
    assert read(line) == said


@given(st.text(max_size=3000))
def test_no_line_breaks_it_and_what_a_stranger_chose_stays_short(text: str) -> None:
    read(text)
    said = read(f"New client connected from 1.2.3.4:5 as {text} (p2, c1, k60, u'{text}').")
    assert isinstance(said, LoggedIn)
    assert len(said.client_id) <= 200
    assert len(said.account) <= 200
    assert "\x00" not in said.client_id + said.account


def test_a_storm_of_log_ins_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_watch, "MOST_HELD", 3)
    book = broker_watch.Book()
    for number in range(10):
        book.hear(f"New client connected from 1.2.3.4:5 as c{number} (p2, c1, k60, u'devices').", NOW)
    for _ in range(4):
        book.hear(
            "New client connected from 5.6.7.8:5 as c1 (p2, c1, k60, u'devices').", NOW + timedelta(seconds=1)
        )
        book.hear("Client x disconnected, not authorised.", NOW)
    book.hear("New client connected from 1.2.3.4:5 as i (p2, c1, k60, u'ingest').", NOW)
    logins, refused = book.take()
    assert refused == 4
    assert set(logins) == {("devices", f"c{number}") for number in range(3)}
    assert logins["devices", "c1"] == (NOW + timedelta(seconds=1), "5.6.7.8", 5)
    assert book.take() == ({}, 0)
