"""Accounts at the broker: names nobody can take for another's, hashes as mosquitto has them, lines that stay lines."""

import subprocess
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.broker_accounts import (
    RESERVED,
    Account,
    access_file,
    account_name,
    fits,
    fresh_secret,
    hashed,
    password_file,
)
from city.device_topics import ROOTS, fault, foreign, native, speaks_on
from ingest.decoders.said import Arrival
from ingest.routing import installed, matches
from tests.conftest import lacking
from tests.servers.mosquitto import mosquitto_passwd_binary
from tests.servers.processes import UnavailableError


def test_a_secret_is_long_typed_without_doubt_and_never_the_same() -> None:
    made = {fresh_secret() for _ in range(50)}
    assert len(made) == 50
    for one in made:
        groups = one.split("-")
        assert [len(group) for group in groups] == [8, 8, 8, 8]  # 32 characters of 5 bits: 160 bits
        assert set("".join(groups)) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_a_hash_fits_its_secret_only() -> None:
    stored = hashed("right")
    assert stored.startswith("$7$1$")
    assert fits("right", stored)
    assert not fits("wrong", stored)
    assert hashed("right") != stored  # salted
    assert not fits("right", stored.replace("$7$", "$6$"))


def test_it_reads_what_mosquitto_itself_wrote(tmp_path: Path) -> None:
    try:
        program = mosquitto_passwd_binary()
    except UnavailableError as missing:
        lacking(missing)
    file = tmp_path / "passwords"
    file.write_text("one:by hand\n")
    subprocess.run([str(program), "-U", str(file)], check=True, capture_output=True)
    name, _, stored = file.read_text().strip().partition(":")
    assert name == "one"
    assert fits("by hand", stored)
    assert not fits("by hands", stored)


@given(st.lists(st.tuples(st.text(max_size=120), st.integers(1, 9)), unique=True, max_size=20))
def test_no_two_accounts_share_a_name(devices: list[tuple[str, int]]) -> None:
    """Codes are unique and so are numbers; a code that looks like another's account must not become it."""
    by_number = {number: code for code, number in devices}
    by_code = {code: number for number, code in by_number.items()}
    names = [account_name(code, number, slot) for code, number in by_code.items() for slot in (1, 2)]
    assert len(set(names)) == len(names)
    assert not set(names) & RESERVED
    for name in names:
        assert not set(name) & set(":+#/%$ \n\r\t")


@pytest.mark.parametrize(
    ("code", "first", "second"),
    [
        ("kitchen-1", "kitchen-1", "kitchen-1~2"),
        ("网关7", "网关7", "网关7~2"),
        ("zigbee2mqtt:hall", "~7", "~7~2"),  # a colon ends a user name
        ("a~2", "~7", "~7~2"),
        ("~8", "~7", "~7~2"),
        ("ingest", "~7", "~7~2"),
        ("#", "~7", "~7~2"),
        ("two words", "~7", "~7~2"),
        ("", "~7", "~7~2"),
    ],
)
def test_the_name_is_the_code_where_that_can_stand_in_a_file(code: str, first: str, second: str) -> None:
    assert (account_name(code, 7, 1), account_name(code, 7, 2)) == (first, second)


def test_the_files() -> None:
    good = hashed("s")
    accounts = [
        Account(name="plain", secret_hash=good),
        Account(name="gateway", secret_hash=good, writes=["city/+/+/a b", "tele/x/+"]),
        Account(name="certificate", writes=["v3/#"]),
        Account(name="revoked", denied=True),
        Account(name="broken", secret_hash="plain text"),
        Account(name="two\nlines", secret_hash=good, writes=["x"]),
        Account(name="smuggler", secret_hash=good, writes=["x\nuser ingest\ntopic write #"]),
    ]
    passwords = password_file(accounts).splitlines()
    assert passwords[1:-1] == [f"{name}:{good}" for name in ("plain", "gateway", "smuggler")]
    assert access_file(accounts).splitlines()[1:-1] == [
        *("user gateway", "topic write city/+/+/a b", "topic write tele/x/+"),
        *("user certificate", "topic write v3/#"),
        *("user revoked", "topic deny #"),
        "user smuggler",
    ]
    assert passwords[-1] == access_file([]).splitlines()[-1] == "# end"


NAMES = {
    "chirpstack": "24e124136b502217",
    "frigate": "gate",
    "senml": "urn:dev:1",
    "tasmota": "plug/1",
    "thingsboard": "Boiler 7",
    "things_stack": "fire.detector-1",
    "zigbee2mqtt": "hall/smoke 1",
}


def test_each_family_that_uses_a_broker_has_its_topics() -> None:
    heard = {one.family for one in installed().values() if one.subscribed}
    assert set(ROOTS) == heard
    assert set(NAMES) == heard - {"homeassistant"}  # it announces what others call by their own names


@pytest.mark.parametrize("family", sorted(NAMES))
def test_where_a_name_may_speak_its_decoder_listens(family: str) -> None:
    decoders = [one for one in installed().values() if one.family == family]
    topics = foreign(family, NAMES[family])
    assert topics
    for wanted in topics:
        said = [wanted.replace("#", ending).replace("+", "SENSOR") for ending in ("a", "status/detect")]
        said.append(wanted.replace("event/+", "event/up").replace("+", "telemetry").replace("#", "up"))
        heard = [
            one for topic in said for decoder in decoders for one in decoder.filters if matches(one, topic)
        ]
        assert heard, wanted
        assert not any(level in ("+", "#") for level in wanted.split("/")[:1])


def test_a_tasmota_may_not_speak_for_another() -> None:
    arrival = Arrival(1, ZoneInfo("UTC"))
    decoder = next(one for one in installed().values() if one.family == "tasmota")
    for wanted in foreign("tasmota", "plug/1"):
        if "discovery" in wanted:
            continue
        said = decoder.decode(wanted.replace("+", "LWT"), b"Online", arrival)
        assert [one.device for one in said] == ["plug/1"]  # type: ignore[union-attr]  # links only


@pytest.mark.parametrize("name", ["a+", "#", "a/#", "x\ny", "", " a", "$SYS", "a\x85b" + "\u2028"])
def test_a_name_that_would_widen_its_rights_gets_none(name: str) -> None:
    for family in NAMES:
        assert foreign(family, name) == ()
    assert native(name) == ()


def test_what_an_account_speaks_on_comes_once_and_in_order() -> None:
    devices = [("g", [("zigbee2mqtt", "bridge")]), ("zigbee2mqtt:a/b", [("zigbee2mqtt", "a/b")]), ("g", [])]
    assert speaks_on(devices, ["senml"], ["own/#", "#", "own/#"]) == [
        *("city/+/+/g", "city/+/+/g/status", "zigbee2mqtt/#", "zigbee2mqtt/a/b", "zigbee2mqtt/a/b/#"),
        *("senml/#", "channels/#", "own/#"),
    ]


@pytest.mark.parametrize(
    "wanted", ["#", "+/a", "", "city/x", "out/x", "$SYS/#", "/a", "a/b#", "a/#/b", "a\nb", " a"]
)
def test_filters_that_nobody_may_grant(wanted: str) -> None:
    assert fault(wanted) is not None


@pytest.mark.parametrize("wanted", ["a", "adapter/7/#", "plant/+/tele/+"])
def test_filters_that_may_be_granted(wanted: str) -> None:
    assert fault(wanted) is None
