"""Which addresses of pictures are followed: what an administrator named, and nothing that only looks like it."""

import os
from pathlib import Path

import pytest

from city.media_hosts import read_hosts
from command_centre.media import clean
from command_centre.media_addresses import MediaError, addresses, judged, kind, listing

HOSTS = read_hosts("nvr.lan, 10.1.2.3:8971 ,[fd00::5]:443,127.0.0.1:81")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://nvr.lan/clip.mp4", "nvr.lan", 80),
        ("https://NVR.lan./clip.mp4?x=1", "nvr.lan", 443),
        ("HTTP://10.1.2.3:8971/a/b.jpg", "10.1.2.3", 8971),
        ("https://[fd00::5]/b.jpg", "fd00::5", 443),
        ("http://127.0.0.1:81/", "127.0.0.1", 81),
    ],
)
def test_what_was_named_is_asked(url: str, host: str, port: int) -> None:
    target = judged(url, HOSTS)
    assert (target.host, target.port, target.literal) == (host, port, host != "nvr.lan")


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.lan/x.jpg",
        "http://nvr.lan:22/x.jpg",
        "http://10.1.2.3/x.jpg",
        "http://nvr.lan@evil.lan/x.jpg",
        "http://user:pw@nvr.lan/x.jpg",
        "http://nvr.lan.evil.lan/x.jpg",
        "http://0x7f.1/x.jpg",
        "http://2130706433/x.jpg",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_what_was_not_named_is_not(url: str) -> None:
    with pytest.raises(MediaError) as refused:
        judged(url, HOSTS)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "url",
    [
        "ftp://nvr.lan/x.jpg",
        "file:///etc/passwd",
        "//nvr.lan/x.jpg",
        "http:///x.jpg",
        "http://nvr.lan\\@evil.lan/x.jpg",
        "http://nvr.lan/x y.jpg",
        "http://nvr.lan/\n.jpg",
        "http://nvr.lan:99999/x.jpg",
        "http://[::1/x.jpg",
        "http://" + "a" * 3000,
        "",
    ],
)
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(MediaError) as refused:
        judged(url, HOSTS)
    assert refused.value.status == 422


def test_without_a_setting_it_is_said_how_to_set_it() -> None:
    with pytest.raises(MediaError, match=r"nvr\.lan:8080 are not fetched: .* CITY_MEDIA_HOSTS") as refused:
        judged("http://nvr.lan:8080/x.jpg", read_hosts(""))
    assert "CITY_MEDIA_HOSTS" in refused.value.reason


@pytest.mark.parametrize(
    "setting", ["http://nvr.lan", "nvr.lan/clips", "a b", "user@nvr.lan", "nvr:99999", "*"]
)
def test_a_setting_that_is_no_host_is_refused_at_the_start(setting: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        read_hosts(setting)


def test_an_alarms_addresses_its_own_first_and_each_once() -> None:
    evidence = {
        "snapshot": "https://nvr.lan/s.jpg",
        "clips": ["http://nvr.lan/1.mp4", 7],
        "url": "http://nvr.lan/event.jpg",
        "label": "person",
        "score": 0.9,
    }
    found = addresses(evidence, ["http://nvr.lan/1.mp4", "rtsp://nvr.lan/live", "http://x.lan/2.jpg"])
    assert found == [
        "http://nvr.lan/event.jpg",
        "https://nvr.lan/s.jpg",
        "http://nvr.lan/1.mp4",
        "http://x.lan/2.jpg",
    ]
    assert addresses({"value": 71.0}, []) == []
    assert len(addresses({}, [f"http://nvr.lan/{n}" for n in range(100)])) == 20


def test_the_list_says_which_are_not_fetched_and_shows_no_more_than_host_and_file() -> None:
    ours, others = listing(["http://nvr.lan/a/secret%20path/x.jpg?token=1", "http://x.lan/2.jpg"], HOSTS)
    assert (ours["host"], ours["file"], ours["refused"]) == ("nvr.lan", "x.jpg", None)
    assert "x.lan" in str(others["refused_en"])


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
        (b"\x00\x00\x00\x20ftypisom", "mp4"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", None),
        (b"\x00\x00\x00\x20ftypavif", None),
        (b"<html><script>", None),
        (b"<svg xmlns=", None),
        (b"GIF89a", None),
        (b"", None),
    ],
)
def test_bytes_say_what_it_is(first: bytes, expected: str | None) -> None:
    assert kind(first) == expected


def test_the_folder_keeps_its_bound_and_what_was_just_fetched(tmp_path: Path) -> None:
    for name, age in (("old.jpg", 700), ("a.jpg", 300), ("b.jpg", 200), ("c.jpg", 0)):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (10_000 - age, 10_000 - age))
    clean(tmp_path, keep=tmp_path / "a.jpg", now=10_000, most=200)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "c.jpg"]
