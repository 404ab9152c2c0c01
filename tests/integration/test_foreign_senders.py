"""Senders that speak their own language: taken in under their own names, read by profiles, in any batch."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from city.district import import_defaults
from city.observations import Rejection
from ingest.decoders.said import Announced, Arrival, Link, Rejected, Report, Said, Seen
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from ingest.routing import Router, matches
from rules.definitions import to_rows

PROFILE = """
[profile.depth]
family = "lab"
models = ["DL-*"]
kind = "water"
metrics.distance = { metric = "level", unit = "mm", factor = -1, offset = 4 }
metrics.noise = ""
"""


class Lab:
    """``lab/{device}/{what}`` with JSON; what is boom fails, what is bad is refused beside something good."""

    family = "lab"
    filters = ("lab/+/#",)
    subscribed = True

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        _, device, what = topic.split("/")
        if what == "link":
            return [Link(device=device, online=payload == b"up")]
        body = json.loads(payload)
        if what == "quiet":
            return []
        if what == "boom":
            raise ZeroDivisionError("nobody expected this")
        if what == "bad":
            return [
                Report(device=device, values={"temperature": 20.0}),
                Rejected(Rejection.NOT_FINITE, "one of two"),
            ]
        if what == "seen":
            return [Seen(device=device, key=body["id"], label="person", state="new", score=0.9, zone="gate")]
        if what == "discovery":
            return [Announced(device=device, family="other", model=body["model"], keys=("smoke",))]
        if what == "announced":
            return [
                Announced(device=device, name="Cellar", model=body["model"], vendor="Lab", keys=("smoke",))
            ]
        return [
            Report(
                device=device,
                values=body["values"],
                at_us=body.get("at"),
                units=body.get("units"),
                model=body.get("model", ""),
            )
        ]


class Ingest:
    """A pipeline with one foreign family, fed by hand."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.pipeline = Pipeline(self.connection, max_unclaimed=5, retention_days=400, router=Router([Lab()]))

    def hear(self, *messages: tuple[str, object], retained: bool = False) -> None:
        self.pipeline.process(
            [
                Delivery(
                    topics=[topic.encode() for topic, _ in messages],
                    payloads=[
                        body if isinstance(body, bytes) else json.dumps(body).encode() for _, body in messages
                    ],
                    packet_ids=[0] * len(messages),
                    received_us=time.time_ns() // 1000,
                    generation=1,
                    retained=frozenset(range(len(messages)) if retained else ()),
                )
            ]
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql.encode()).fetchall()

    def values(self, device: str) -> dict[str, float]:
        return dict(
            self.connection.execute(
                "SELECT m.code, o.value FROM observations o JOIN metrics m ON m.id = o.metric_id"
                " JOIN devices d ON d.id = o.device_id WHERE d.code = %s ORDER BY o.observed_at",
                (device,),
            ).fetchall()
        )

    def refused(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT reason FROM quarantine ORDER BY id")]


@pytest.fixture
def ingest(migrated_url: str) -> Iterator[Ingest]:
    import_defaults(migrated_url, parse_rules=to_rows)
    with psycopg.connect(migrated_url) as connection:
        connection.execute("INSERT INTO profile_files (name, content) VALUES ('lab.toml', %s)", (PROFILE,))
    made = Ingest(migrated_url)
    yield made
    made.connection.close()


def test_a_stranger_is_taken_in_and_its_alarm_raised_beside_native_ones(ingest: Ingest) -> None:
    ingest.hear(
        ("city/c1/smoke/s1", {"value": 12.0}),
        ("lab/attic/up", {"values": {"smoke": 88.0, "battery": 91.0}}),
        ("city/c1/smoke/s2", {"value": 13.0}),
    )
    assert ingest.values("lab:attic") == {"smoke": 88.0, "battery": 91.0}
    assert ingest.rows("SELECT code, kind, registration FROM devices WHERE code LIKE 'lab%'") == [
        ("lab:attic", "smoke", "unclaimed")
    ]
    assert ingest.rows(
        "SELECT d.code FROM alarms a JOIN devices d ON d.id = a.device_id WHERE a.cleared_at IS NULL"
    ) == [("lab:attic",)]
    assert len(ingest.rows("SELECT FROM observations")) == 4
    assert ingest.refused() == []


def test_a_profile_says_what_keys_mean_and_in_which_unit(ingest: Ingest) -> None:
    said = {"values": {"distance": 1500.0, "noise": 3.0}, "model": "DL-300"}
    stated = {"values": {"distance": 50.0}, "units": {"distance": "cm"}}
    ingest.hear(("lab/weir/up", said))
    assert ingest.values("lab:weir") == {"level": 2.5}
    ingest.hear(("lab/weir/up", stated))
    assert ingest.values("lab:weir") == {"level": 3.5}
    ingest.hear(("lab/weir/up", {"values": {"distance": 50.0}, "units": {"distance": "V"}}))
    assert ingest.refused() == ["unknown_unit"]


def test_what_it_is_may_be_learned_later(ingest: Ingest) -> None:
    ingest.hear(("lab/hall/up", {"values": {"battery": 80.0}}))
    assert ingest.rows("SELECT kind FROM devices WHERE code = 'lab:hall'") == [("sensor",)]
    ingest.hear(("lab/hall/announced", {"model": "S1"}))
    assert ingest.rows("SELECT kind, name, model, vendor FROM devices WHERE code = 'lab:hall'") == [
        ("smoke", "Cellar", "S1", "Lab")
    ]
    ingest.hear(("lab/hall/up", {"values": {"smoke": 90.0}}))
    assert len(ingest.rows("SELECT FROM alarms")) == 1


def test_what_a_stranger_calls_itself_is_text(ingest: Ingest) -> None:
    ingest.hear(
        ("lab/hall/announced", {"model": "S\x001\n\u2028x" + "m" * 300}),
        ("lab/a/up", {"values": {"smoke": 1.0}}),
    )
    assert ingest.rows("SELECT code, model FROM devices ORDER BY code") == [
        ("lab:a", ""),
        ("lab:hall", "S 1 x" + "m" * 194),
    ]
    assert ingest.refused() == []


def test_one_family_may_announce_a_device_of_another(ingest: Ingest) -> None:
    ingest.hear(("lab/0x17/discovery", {"model": "SD-8"}), ("lab/0x17/up", {"values": {"temperature": 1.0}}))
    assert ingest.rows("SELECT code, kind, model FROM devices ORDER BY code") == [
        ("lab:0x17", "sensor", ""),
        ("other:0x17", "smoke", "SD-8"),
    ]
    assert ingest.refused() == []


def test_a_listed_device_is_the_one_that_is_heard(ingest: Ingest) -> None:
    ingest.rows(
        "INSERT INTO devices (code, kind) VALUES ('lab:known', 'smoke'), ('s-17', 'smoke') RETURNING id"
    )
    ingest.rows(
        "INSERT INTO device_names SELECT 'lab', 'other name', id FROM devices WHERE code = 's-17' RETURNING name"
    )
    ingest.pipeline.refresh()
    ingest.hear(
        ("lab/known/up", {"values": {"smoke": 1.0}}), ("lab/other name/up", {"values": {"smoke": 2.0}})
    )
    assert ingest.values("lab:known") == {"smoke": 1.0}
    assert ingest.values("s-17") == {"smoke": 2.0}
    assert ingest.rows("SELECT count(*) FROM devices WHERE registration = 'unclaimed'") == [(0,)]


def test_what_fails_is_kept_and_the_rest_goes_on(ingest: Ingest) -> None:
    ingest.hear(
        ("lab/a/boom", {}),
        ("lab/b/bad", {}),
        ("lab/c/up", {"values": {"temperature": 1.0}}),
        ("lab/c/quiet", {}),
        ("lab/" + "n" * 97 + "/up", {"values": {"smoke": 1.0}}),
        ("nobody/knows", {}),
        ("lab/d/up", b"not json"),
    )
    assert ingest.refused() == ["decoder_failed", "not_finite", "wrong_shape", "no_decoder", "decoder_failed"]
    assert ingest.values("lab:b") == {"temperature": 20.0}
    assert ingest.values("lab:c") == {"temperature": 1.0}


def test_strangers_are_bounded(ingest: Ingest) -> None:
    for number in range(8):
        ingest.hear((f"lab/x{number}/up", {"values": {"temperature": 1.0}}))
    assert ingest.rows("SELECT count(*) FROM devices") == [(5,)]
    assert ingest.refused() == ["registration_limit"] * 3


def test_links_and_cameras(ingest: Ingest) -> None:
    ingest.hear(("lab/cam/seen", {"id": "e1"}), ("lab/cam/link", b"down"), ("lab/bell/link", b"up"))
    assert ingest.rows("SELECT label, zone, event_key FROM detections") == [("person", "gate", "e1")]
    links = ingest.rows(
        "SELECT d.code, p.link FROM presence p JOIN devices d ON d.id = p.device_id ORDER BY 1"
    )
    assert links == [("lab:bell", "online"), ("lab:cam", "offline")]


def test_what_was_retained_raises_nothing(ingest: Ingest) -> None:
    ingest.hear(("lab/attic/up", {"values": {"smoke": 88.0}}), retained=True)
    assert ingest.values("lab:attic") == {"smoke": 88.0}
    assert ingest.rows("SELECT FROM alarms") == []


def test_filters_match_as_mqtt_says() -> None:
    yes = [("a/+/c", "a/b/c"), ("a/#", "a/b/c"), ("a/#", "a"), ("#", "a/b"), ("+/tele/+", "x/tele/y")]
    no = [("a/+", "a/b/c"), ("a/b", "a/b/c"), ("#", "$SYS/x"), ("a/+/c", "a/c"), ("+", "a/b")]
    assert all(matches(wanted, topic) for wanted, topic in yes)
    assert not any(matches(wanted, topic) for wanted, topic in no)
