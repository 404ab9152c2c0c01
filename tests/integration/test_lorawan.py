"""LoRaWAN from the broker to rows, and the district's own profiles from its folder to the database and back."""

import base64
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from city import device_profiles, district, district_preview
from city.district_source import DistrictFilesError
from city.district_taking import ImportReport
from rules.definitions import to_rows
from rules.writing import to_toml
from tests.integration.running_ingest import Stand, stands
from tests.integration.test_foreign_senders import Ingest
from tests.integration.test_import import feature, import_, query, square, write_areas

WEIR = "a84041000181c0de"
EUI = "0000000000000003"
OWN = """\
# 水务科: our gauges send a battery, then the level and up to three earlier ones.
[profile.weir]
family = "chirpstack"
models = ["Water works gauge"]
kind = "water"
metrics.spare = ""

[profile.weir.codec]
ports = [2]
fields = [
    { key = "battery", type = "u8", unit = "%" },
    { key = "level", at = 1, type = "i16", unit = "mm" },
    { key = "spare", at = 3, type = "u8" },
]
[profile.weir.codec.records]
start = 4
length = 3
fields = [{ role = "age", type = "u8", scale = 60 }, { key = "level", at = 1, type = "i16", unit = "mm" }]
"""


def uplink(eui: str, at: datetime, *, model: str = "", **more: object) -> dict[str, object]:
    return {
        "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        "time": at.isoformat(),
        "deviceInfo": {"devEui": eui, "deviceName": "n", "deviceProfileName": model},
        "rxInfo": [{"gatewayId": "0016c001f153a14c", "rssi": -36, "snr": 10.5}],
    } | more


def measured(stand: Stand, device: str) -> list[tuple[Any, ...]]:
    return stand.rows(
        "SELECT m.code, o.value, o.observed_at FROM observations o JOIN metrics m ON m.id = o.metric_id"
        f" JOIN devices d ON d.id = o.device_id WHERE d.code = '{device}' ORDER BY o.observed_at, m.code"
    )


@pytest.fixture
def stand(migrated_url: str, mosquitto: Any) -> Iterator[Stand]:
    with psycopg.connect(migrated_url) as connection:
        connection.execute("INSERT INTO profile_files (name, content) VALUES ('weir.toml', %s)", (OWN,))
    with stands(migrated_url, mosquitto) as make:
        yield make(senders="chirpstack,things_stack")


def test_from_both_networks_to_rows_and_an_alarm(stand: Stand) -> None:
    now = datetime.now(UTC).replace(microsecond=123456)
    up = "application/a/device/{}/event/{}"
    decoded = uplink(
        "0000000000000001", now, object={"smoke": "alarm", "environment": {"temperature": "21.5"}}
    )
    for _ in range(2):  # the broker, or the network, sends it again
        stand.publish(up.format("0000000000000001", "up"), decoded)
    frame = b"\x5f" + struct.pack(">hB", 1850, 7) + b"\x0a" + struct.pack(">h", 1800)
    data = base64.b64encode(frame).decode()
    for _ in range(2):
        body = uplink(WEIR, now, model="Water works gauge", data=data, fPort=2, fCnt=9)
        stand.publish(up.format(WEIR, "up"), body)
    stand.publish(up.format(WEIR, "up"), uplink(WEIR, now, model="Water works gauge", data=data, fPort=9))
    timeless = uplink("0000000000000002", now, object={"temperature": 3}, fCnt=4) | {"time": None}
    for _ in range(2):
        stand.publish(up.format("0000000000000002", "up"), timeless)
    status = {"time": now.isoformat(), "deviceInfo": {"devEui": WEIR}, "batteryLevel": 88.5, "margin": 9}
    stand.publish(up.format(WEIR, "status"), status)
    stand.publish(up.format(WEIR, "join"), {"deviceInfo": {"devEui": WEIR, "deviceName": "North weir"}})
    things = {
        "end_device_ids": {"device_id": "d", "dev_eui": "00000000000000AA"},
        "uplink_message": {"f_port": 85, "frm_payload": "AXVkA3cCAA==", "received_at": now.isoformat()},
    }
    stand.publish("v3/app@ttn/devices/d/up", things)
    stand.until("SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id"
                " WHERE d.code = 'things_stack:00000000000000aa'", 2)  # fmt: skip

    assert measured(stand, "chirpstack:0000000000000001") == [
        ("environment.temperature", 21.5, now),
        ("rssi", -36.0, now),
        ("smoke", 100.0, now),
        ("snr", 10.5, now),
    ]
    assert stand.rows(
        "SELECT d.code, a.rule_id FROM alarms a JOIN devices d ON d.id = a.device_id WHERE d.kind = 'smoke'"
    ) == [("chirpstack:0000000000000001", "smoke-high")]
    earlier = now - timedelta(minutes=10)
    assert measured(stand, f"chirpstack:{WEIR}") == [
        ("level", 1.8, earlier),
        ("battery", 95.0, now),
        ("level", 1.85, now),
        ("link_margin", 9.0, now),
        ("mains_power", 0.0, now),
        ("rssi", -36.0, now),
        ("snr", 10.5, now),
    ]
    assert [row[:2] for row in measured(stand, "chirpstack:0000000000000002")] == [
        ("rssi", -36.0),
        ("snr", 10.5),
        ("temperature", 3.0),
    ]
    assert measured(stand, "things_stack:00000000000000aa") == [("battery", 100.0, now), ("level", 0.02, now)]
    assert stand.rows("SELECT kind, name FROM devices WHERE code LIKE '%c0de'") == [("water", "North weir")]
    ((reason, detail),) = stand.rows("SELECT reason, detail FROM quarantine")
    assert (reason, detail) == ("bad_frame", "codec weir, port 9: it describes port 2")
    assert stand.rows("SELECT count(*) FROM observation_revisions") == [(1,)], "88.5 % over 95 % at one time"


def test_units_are_converted_once_for_a_device_and_a_codec_is_found_when_its_model_is_named(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest.decoders.chirpstack import DECODER
    from ingest.routing import Router

    district.import_defaults(migrated_url, parse_rules=to_rows)
    with psycopg.connect(migrated_url) as connection:
        connection.execute("INSERT INTO profile_files (name, content) VALUES ('weir.toml', %s)", (OWN,))
    ingest = Ingest(migrated_url)
    try:
        ingest.pipeline._router = Router([DECODER])
        asked: list[tuple[str, str]] = []
        real = device_profiles.conversion
        monkeypatch.setattr(device_profiles, "conversion", lambda *units: asked.append(units) or real(*units))
        now = datetime.now(UTC)
        for minute in range(20):
            at = now - timedelta(minutes=minute)
            data = base64.b64encode(b"\x5f" + struct.pack(">hB", 100 + minute, 0)).decode()
            body = uplink(WEIR, at, model="Water works gauge", data=data, fPort=2)
            ingest.hear((f"application/a/device/{WEIR}/event/up", body))
            if minute == 0:
                assert asked, "the first message asks"
                asked.clear()
        assert asked == []
        assert len(ingest.rows("SELECT FROM observations")) == 4 * 20

        data = base64.b64encode(b"\x5f" + struct.pack(">hB", 700, 0)).decode()
        named_at_last = ("default profile", "Water works gauge")
        for minute, model in enumerate(named_at_last):
            body = uplink(EUI, now + timedelta(minutes=minute), model=model, data=data, fPort=2)
            ingest.hear((f"application/a/device/{EUI}/event/up", body))
        assert ingest.refused() == ["no_codec"]
        assert ingest.values(f"chirpstack:{EUI}")["level"] == pytest.approx(0.7)
    finally:
        ingest.connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A district of one cell and nothing in it."""
    place = tmp_path / "district"
    place.mkdir()
    write_areas(place, [feature("street", "S1", None, None), feature("cell", "C1", "S1", square(0, 0))])
    (place / "district.toml").write_text(
        'code = "1"\nname = "镇"\ntimezone = "Asia/Shanghai"\n', encoding="utf-8"
    )
    (place / "devices.csv").write_text("code,kind\n")
    return place


def write_profile(folder: Path, text: str = OWN, name: str = "weir.toml") -> None:
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / name).write_text(text, encoding="utf-8", newline="")


def stored(url: str) -> dict[object, object]:
    return dict(query(url, "SELECT name, content FROM profile_files"))  # type: ignore[arg-type]  # two columns


def test_a_folders_profiles_come_go_and_are_written_again_as_they_were(
    migrated_url: str,
    folder: Path,
    tmp_path: Path,
) -> None:
    write_profile(folder)
    write_profile(folder, '[profile.b]\nfamily = "tasmota"\nkind = "smoke"\n', "b.toml")
    report = import_(migrated_url, folder)
    assert (report.profiles_changed, report.profiles_removed) == (2, 0)
    assert stored(migrated_url)["weir.toml"] == OWN
    assert import_(migrated_url, folder) == ImportReport(unchanged=True)

    names = district.export_folder(migrated_url, tmp_path / "out", write_rules=to_toml)
    assert "profiles/weir.toml" in names
    assert (tmp_path / "out/profiles/weir.toml").read_bytes() == OWN.encode()

    (folder / "profiles" / "b.toml").unlink()
    write_profile(folder, OWN.replace("[2]", "[3]"))
    report = import_(migrated_url, folder)
    assert (report.profiles_changed, report.profiles_removed) == (1, 1)
    write_profile(folder, OWN.replace('kind = "water"', 'kind = "fish"').replace('"i16"', '"i15"'))
    with pytest.raises(DistrictFilesError) as told:
        import_(migrated_url, folder)
    lines = str(told.value).splitlines()
    assert lines[0].startswith(
        "profiles/weir.toml profile.weir codec fields[1]: type = 'i15'; write one of u8"
    )
    assert any(line.startswith("profiles/weir.toml profile.weir: kind = 'fish'") for line in lines)
    assert "[3]" in str(stored(migrated_url)["weir.toml"]), "nothing was written"

    (folder / "profiles" / "weir.toml").unlink()
    (folder / "profiles").rmdir()
    report = import_(migrated_url, folder)
    assert (report.profiles_changed, report.profiles_removed) == (0, 1)
    assert stored(migrated_url) == {}


def test_a_preview_shows_the_fate_of_each_profile_file(migrated_url: str, folder: Path) -> None:
    write_profile(folder)
    import_(migrated_url, folder)

    def take(dry_run: bool, **files: str) -> district_preview.Preview:
        sent = district_preview.unpacked([(f"town/profiles/{n}.toml", t.encode()) for n, t in files.items()])
        with psycopg.connect(migrated_url) as connection:
            return district_preview.take_in(
                connection,
                {name: one.content for name, one in sent.items()},
                parse_rules=to_rows,
                write_rules=to_toml,
                check_rules=None,
                by="li",
                reason="new gauges",
                dry_run=dry_run,
            )

    more = '[profile.b]\nfamily = "tasmota"\nkind = "smoke"\n'
    changed = OWN.replace("[2]", "[2, 3]")
    done = take(True, weir=OWN, b=more)
    assert {one.file: one.fate for one in done.rows} == {
        "profiles/weir.toml": "same",
        "profiles/b.toml": "new",
    }
    assert set(stored(migrated_url)) == {"weir.toml"}
    refused = take(False, weir=changed, b=more.replace("smoke", "dragon"))
    fates = {one.file: (one.fate, [fault.what for fault in one.faults]) for one in refused.rows if one.faults}
    assert fates == {"profiles/b.toml": ("refused", ["kind = 'dragon'"])}
    done = take(False, weir=changed)
    assert [(one.file, one.fate) for one in done.rows] == [("profiles/weir.toml", "changed")]
    assert done.report is not None
    assert (done.report.profiles_changed, done.report.profiles_removed) == (1, 0)
    take(False, b=more)
    assert set(stored(migrated_url)) == {"weir.toml", "b.toml"}, "what was not sent stays"
    assert json.loads(json.dumps(done.report.as_dict()))["profiles_changed"] == 1
