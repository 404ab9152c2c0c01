"""What a district says upward, and in which order: exactly what it stored, so that twice is once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import NO_SEQ, Quality
from city.service_manager import SILENT
from city.settings import Settings, SettingsError
from city.uplink import Owed
from ingest.batch import Messages, build, decode
from ingest.main import _worker
from ingest.pacing import LARGE, Ahead, Pace, runs
from ingest.register import Sender
from ingest.uplink import check
from ingest.upward import MOST_BYTES, MOST_OBJECTS, Upward, messages

METRICS = {"smoke": 1, "battery": 2}
NOON_US = 1_763_750_400_000_000


def owed(at_us: int = NOON_US, **more: Any) -> Owed:
    return Owed(
        **{
            "batch": 1,
            "cell": "c1",
            "kind": "smoke",
            "device": "S1",
            "at_us": at_us,
            "metric": "smoke",
            **more,
        }
    )


def read_back(said: list[Upward], received_us: int) -> list[tuple[int, int, int, float, int, int]]:
    """(device, metric, instant, value, seq, quality) as the city's ingest understands them, devices by their number."""
    inbox = Messages(
        topics=[one.topic.encode() for one in said],
        payloads=[one.payload for one in said],
        received=[received_us + place for place in range(len(said))],
    )
    senders = [Sender(int(one.topic.split("/")[3][1:]), 1, False) for one in said]
    batch = build(inbox, senders, decode(inbox, senders), metrics=METRICS, retention_us=400 * 86_400_000_000)
    assert batch.refused == []
    found = batch.readings
    columns = found.device, found.metric, found.observed_us, found.value, found.seq, found.quality
    return list(zip(*(column.tolist() for column in columns), strict=True))


rows = st.builds(
    owed,
    at_us=st.integers(NOON_US - 10**12, NOON_US),
    device=st.sampled_from(["S1", "S2", "S3"]),
    metric=st.sampled_from(sorted(METRICS)),
    value=st.floats(allow_nan=False, allow_infinity=False),
    seq=st.one_of(st.just(NO_SEQ), st.integers(0, 2**53)),
    quality=st.sampled_from([0, 2, 4, 8, 12]),
)


@given(st.lists(rows, max_size=40, unique_by=lambda one: (one.device, one.metric, one.at_us)))
def test_what_is_said_upward_is_read_there_as_it_is_stored_here(given_rows: list[Owed]) -> None:
    said, unsayable = messages(given_rows, cell="c0")
    late = int(Quality.LATE)
    expected = sorted(
        (int(one.device[1:]), METRICS[one.metric], one.at_us, one.value, one.seq, one.quality & ~late)
        for one in given_rows
    )
    assert sorted((*row[:5], row[5] & ~late) for row in read_back(said, NOON_US)) == expected
    assert unsayable == []
    assert sum(one.size for one in said) == len(given_rows)


def test_an_estimated_instant_is_certain_from_then_on_and_needs_no_number() -> None:
    said, _ = messages([owed(NOON_US + 1, seq=17, quality=int(Quality.TIME_ESTIMATED))], cell="c0")
    assert read_back(said, NOON_US + 10) == [(1, 1, NOON_US + 1, 0.0, NO_SEQ, int(Quality.TIME_ESTIMATED))]


@pytest.mark.parametrize("marks", ["5", '"retained"', "{}", "null", '["late", "nothing", 3, null]'])
def test_marks_that_say_nothing_harm_nothing(marks: str) -> None:
    payload = f'{{"ts": {NOON_US // 1000}, "value": 3.5, "marks": {marks}}}'.encode()
    assert read_back([Upward("city/c1/smoke/S1", payload, 1)], NOON_US) == [(1, 1, NOON_US, 3.5, NO_SEQ, 0)]


def test_a_districts_ingest_reads_one_broker() -> None:
    both = Settings(
        _env_file=None,
        database_url="postgresql://city@db/city",
        stream_url="rabbitmq-stream://u:p@h",
        uplink_url="mqtt://D1@city.example",
    )
    with pytest.raises(SettingsError, match="CITY_UPLINK_URL"):
        _worker(both, SILENT)


def test_metrics_of_one_instant_are_one_object_and_others_are_not() -> None:
    said, _ = messages(
        [owed(value=1.0, seq=3), owed(metric="battery", value=2.0, seq=3), owed(metric="battery", seq=4)],
        cell="c0",
    )
    assert [json.loads(one.payload) for one in said] == [
        [
            {"ts": NOON_US // 1000, "seq": 3, "metrics": {"smoke": 1.0, "battery": 2.0}},
            {"ts": NOON_US // 1000, "seq": 4, "metrics": {"battery": 0.0}},
        ]
    ]


def test_events_and_links_keep_their_place_among_a_devices_words() -> None:
    said, _ = messages(
        [
            owed(metric="", event={"link": "offline"}),
            owed(
                NOON_US + 5, metric="", event={"event": "person", "id": "e1"}, quality=int(Quality.RETAINED)
            ),
            owed(NOON_US + 1_000_000, metric="", event={"link": "online"}),
        ],
        cell="c0",
    )
    assert [(one.topic, one.payload) for one in said[::2]] == [
        ("city/c1/smoke/S1/status", b"offline"),
        ("city/c1/smoke/S1/status", b"online"),
    ]
    (event,) = json.loads(said[1].payload)
    assert (event["event"], event["marks"]) == ("person", ["retained"])
    assert event["ts"].endswith(".000005+00:00")


def test_payloads_stay_far_below_what_ingest_takes() -> None:
    many, _ = messages([owed(NOON_US + place * 1000) for place in range(3 * MOST_OBJECTS)], cell="c0")
    assert [one.size for one in many] == [MOST_OBJECTS] * 3
    wide, _ = messages(
        [owed(NOON_US + place, metric="", event={"event": "x", "url": "u" * 2000}) for place in range(300)],
        cell="c0",
    )
    assert max(len(one.payload) for one in wide) < MOST_BYTES + 3000
    assert sum(one.size for one in wide) == 300


def test_a_device_without_a_cell_stands_in_the_nodes_and_an_unsayable_one_is_told_of() -> None:
    odd = owed(device="tele/attic")
    said, unsayable = messages([owed(cell=""), odd], cell="c0")
    assert [one.topic for one in said] == ["city/c0/smoke/S1"]
    assert unsayable == [odd]


def test_the_pace_holds_over_any_while_and_a_rest_saves_up_one_second() -> None:
    pace, sent = Pace(rate=100), 0
    for tick in range(1000):
        if pace.may_send(tick / 100):
            pace.sent(50)
            sent += 50
    assert 1000 <= sent <= 1150
    assert pace.may_send(1000.0)
    assert pace.room == 100


@given(st.lists(st.integers(1, 3 * LARGE), max_size=60))
def test_runs_are_in_order_apart_small_and_leave_the_newest(sizes: list[int]) -> None:
    batches = [(10 * place, size) for place, size in enumerate(sizes)]
    found = runs(batches)
    flat = [end for run in found for end in run]
    assert flat == sorted(set(flat))
    assert not batches or all(last < batches[-1][0] for _, last in found)
    for first, last in found:
        assert sum(size for batch, size in batches if first <= batch <= last) <= LARGE
    if len(sizes) > 2 and sum(sizes) <= LARGE:
        assert found == [(0, 10 * (len(sizes) - 2))]


def test_who_is_in_alarm_goes_ahead_from_the_beginning_and_then_goes_on() -> None:
    ahead = Ahead({})
    assert ahead.plan([7, 8], 40) == {0: [7, 8]}
    ahead.reached([7, 8], 40)
    assert ahead.plan([7, 8, 9], 50) == {40: [7, 8], 0: [9]}
    ahead.reached([7, 8, 9], 50)
    assert ahead.plan([7], 50) == {}
    assert ahead.plan([7, 8], 60) == {50: [7], 0: [8]}, "8 alarms anew"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uplink_url": ""}, "CITY_UPLINK_URL"),
        ({"uplink_cell": ""}, "CITY_UPLINK_CELL"),
        ({"mqtt_url": "mqtt://ingest@city.example:1883"}, "own broker"),
    ],
)
def test_what_an_uplink_cannot_begin_with(change: dict[str, str], words: str) -> None:
    good = {
        "database_url": "postgresql://city@db/city",
        "mqtt_url": "mqtt://127.0.0.1",
        "uplink_url": "mqtt://D1@city.example",
        "uplink_cell": "c1",
    }
    check(Settings(_env_file=None, **good))
    with pytest.raises(SettingsError, match=words):
        check(Settings(_env_file=None, **{**good, **change}))


def test_the_address_names_the_node_and_takes_its_password_from_a_setting() -> None:
    with pytest.raises(ValueError, match="NODE"):
        Settings(_env_file=None, uplink_url="mqtt://city.example")
    chosen = Settings(_env_file=None, uplink_url="mqtts://D1@city.example", uplink_password="a b")
    assert chosen.uplink_url == "mqtts://D1:a%20b@city.example"
    assert "a b" not in repr(chosen)
    assert "a%20b" not in repr(chosen)
