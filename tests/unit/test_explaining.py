"""``city decode`` says what would become of a message, and why not."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from city.errors import CityError
from city.observations import Rejection
from ingest.decoders.said import Announced, Arrival, Link, Raw, Rejected, Report, Said, Seen
from ingest.explaining import Explained, arrival_at, explain
from ingest.profile_book import ProfileBook
from ingest.routing import Router
from runtime.cli import app

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ARRIVAL = arrival_at(NOW, ZoneInfo("Asia/Shanghai"))
NOW_US = ARRIVAL.received_us
PROFILE = """
[profile.weir]
family = "lab"
kind = "water"
metrics.distance = { metric = "level", unit = "mm", factor = -1, offset = 4 }
metrics.noise = ""
metrics.power = { metric = "level", unit = "m" }

[profile.packed]
family = "lab"
kind = "water"
models = ["P1"]
codec.fields = [{ key = "distance", offset = 0, type = "u16" }]
metrics.distance = { metric = "level", unit = "mm" }
"""


class Lab:
    """Answers with what the test wants."""

    family = "lab"
    filters = ("lab/#",)
    subscribed = True

    def __init__(self, *said: Said) -> None:
        self._said = said

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        if payload == b"boom":
            raise RuntimeError("boom")
        return self._said


def explained(topic: str, payload: bytes, *said: Said) -> Explained:
    return explain(
        topic,
        payload,
        ARRIVAL,
        router=Router([Lab(*said)]),
        book=ProfileBook([("lab.toml", PROFILE)], {"level": "m", "smoke": "%"}),
        mains={"smoke": "smoke", "camera": None},
        retention_us=400 * 86_400_000_000,
    )


def test_a_native_reading() -> None:
    done = explained("city/c1/smoke/d1", json.dumps({"ts": NOW_US // 1000, "value": 41, "seq": 3}).encode())
    assert (done.decoder, done.refused) == ("native", [])
    assert done.became == [
        {
            "device": "d1",
            "kind": "smoke",
            "values": {"smoke": 41.0},
            "seq": 3,
            "observed_at": "2026-11-22T18:00:00+08:00",
            "quality": "good",
        }
    ]


def test_native_forms_and_their_faults() -> None:
    assert explained("city/c1/smoke/d1/status", b"offline").became == [{"device": "d1", "link": "offline"}]
    assert explained("city/c1/camera/k1", b'{"event":"person","id":"e1"}').became[0]["event"] == "person"
    for topic, payload, reason in (
        ("city/c1/smoke", b"{}", Rejection.BAD_TOPIC),
        ("city/c1/smoke/d1", b"{", Rejection.NOT_JSON),
        ("city/c1/smoke/d1", b"{}", Rejection.WRONG_SHAPE),
        ("city/c1/smoke/d1", b'{"value":1,"ts":"yesterday"}', Rejection.BAD_TIME),
        ("city/c1/smoke/d1", b'{"value":1,"ts":1000}', Rejection.TIME_OUT_OF_RANGE),
        ("city/c1/smoke/d1/status", b"asleep", Rejection.WRONG_SHAPE),
        ("nobody/knows", b"{}", Rejection.NO_DECODER),
    ):
        assert [one.reason for one in explained(topic, payload).refused] == [reason], (topic, payload)


def test_a_foreign_report_through_its_profile() -> None:
    report = Report(
        device="w", values={"distance": 1500.0, "noise": 1.0}, at_us=NOW_US - 600_000_000, model="DL"
    )
    done = explained("lab/w", b"", report)
    assert done.decoder == "lab"
    (said,) = done.became
    assert (said["profile"], said["kind"], said["quality"], said["model"]) == ("weir", "water", "late", "DL")
    assert said["values"] == {
        "distance": {"sent": 1500.0, "sent_unit": "mm", "metric": "level", "value": 2.5, "unit": "m"},
        "noise": {"sent": 1.0, "left_out": True},
    }


def test_everything_else_that_can_be_said() -> None:
    done = explained(
        "lab/x",
        b"",
        Seen(device="k", key="e1", label="person", state="new", zone="gate"),
        Link(device="k", online=False),
        Announced(device="k", model="M1", keys=("smoke",)),
        Raw(device="r", data=b"\x01\xff", port=85),
        Rejected(Rejection.NOT_FINITE, "one of them"),
        Report(device="w", values={"power": 3.0}, units={"power": "V"}),
    )
    assert done.became[0]["event"] == "person"
    assert done.became[1] == {"device": "k", "link": "offline"}
    assert done.became[2] == {"device": "k", "announced": {"model": "M1", "keys": "smoke"}}
    assert done.became[3]["bytes"] == "01ff"
    reasons = [one.reason for one in done.refused]
    assert reasons == [Rejection.NO_CODEC, Rejection.NOT_FINITE, Rejection.UNKNOWN_UNIT]
    assert explained("lab/x", b"boom").refused[0].reason == Rejection.DECODER_FAILED
    assert explained("lab/x", b"x" * 300_000).refused[0].reason == Rejection.OVERSIZE


def test_bytes_are_read_by_the_codec_of_their_model() -> None:
    done = explained("lab/p", b"", Raw(device="p", data=b"\x07\xd0", port=2, model="P1"))
    assert done.refused == []
    (said,) = done.became
    assert (said["profile"], said["values"]) == (
        "packed",
        {"distance": {"sent": 2000.0, "sent_unit": "mm", "metric": "level", "value": 2.0, "unit": "m"}},
    )


def run(*arguments: str, text: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["decode", *arguments], input=text)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_the_command_reads_arguments_standard_input_and_captures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_SENDERS", "none")
    code, said = run("city/c1/smoke/d1", '{"value":41}', "--json", "--at", "2026-11-22T10:00:00+0000")
    assert (code, json.loads(said)["became"][0]["values"]) == (0, {"smoke": 41.0})
    code, said = run("city/c1/smoke/d1", "-", text='{"value":"hot"}')
    assert code == 1
    assert "wrong_shape" in said
    capture = tmp_path / "capture.txt"
    capture.write_text(
        'city/c1/smoke/d1 {"value": 41}\n\n{"topic": "city/c1/smoke/d2", "payload": {"value": 4}}\n'
        '{"topic": "city/c1/smoke/d3", "payload_hex": "7b7d"}\n'
    )
    code, said = run(str(capture), "--capture")
    assert code == 1
    assert "2 of 3 understood" in said
    assert "capture.txt line 4" in said
    assert run("city/c1/smoke/d1", "7b2276616c7565223a317d", "--hex")[0] == 0
    with pytest.raises(CityError, match="hexadecimal"):
        run("city/c1/smoke/d1", "zz", "--hex")
    capture.write_text('{"topic": 1')
    with pytest.raises(CityError, match=r"capture\.txt line 1"):
        run(str(capture), "--capture")


def test_the_command_knows_the_districts_own_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "own.toml").write_text(
        '[profile.cellar]\nfamily = "zigbee2mqtt"\nmodels = ["X9"]\nkind = "smoke"\nmetrics.murk = "smoke"\n'
    )
    monkeypatch.setenv("CITY_SENDERS", "zigbee2mqtt")
    monkeypatch.setenv("CITY_CONFIG", str(tmp_path))
    code, said = run("zigbee2mqtt/cellar", '{"murk": 12, "device": {"model": "X9"}}', "--json")
    assert code == 0
    (report,) = json.loads(said)["became"]
    assert report["profile"] == "cellar"
    assert report["values"]["murk"]["metric"] == "smoke"
