"""A camera's picture through the centre: from a real host over HTTP, and every way in which such a host misbehaves."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from psycopg.types.json import Jsonb

from command_centre import media
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer

CLIP = b"\x00\x00\x00\x20ftypisom" + bytes(range(256)) * 400


def picture() -> bytes:
    out = BytesIO()
    Image.new("RGB", (320, 180), "grey").save(out, "JPEG")
    return out.getvalue()


class Recorder(ThreadingHTTPServer):
    """Answers like a video recorder, well and badly; counts who asked for what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: Counter[str] = Counter()
        self.going = threading.Event()
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self.plain: dict[str, bytes] = {
            "/event.jpg": picture(),
            "/clip.mp4": CLIP,
            "/page.jpg": b"<html>" * 50,
        }
        self.elsewhere = {
            "/moved.jpg": "/event.jpg",
            "/away.jpg": "http://localhost:1/x.jpg",
            "/round.jpg": "/round.jpg",
        }


class Answers(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        if self.path in self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere[self.path])
            self.end_headers()
        elif self.path in self.server.plain:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")  # a liar: the bytes decide
            self.end_headers()
            self.wfile.write(self.server.plain[self.path])
        elif self.path == "/endless.mp4":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CLIP)
            self.wfile.flush()
            self.server.going.wait(60)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        pass


@pytest.fixture(scope="module")
def camera_host() -> Iterator[Recorder]:
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.going.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def centre(
    camera_host: Recorder, postgres_server: PostgresServer, postgres_template: str
) -> Iterator[Centre]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITY_MEDIA_HOSTS", camera_host.base.removeprefix("http://") + ",nobody.invalid")
        with on_fresh_ground(postgres_server, postgres_template) as made:
            yield made


def alarm_showing(centre: Centre, *urls: str) -> str:
    """The path of an alarm's media whose evidence names these."""
    taken = {
        row[0] for row in centre.execute("SELECT code FROM devices d JOIN alarms a ON a.device_id = d.id")
    }
    device = next(f"D{n}" for n in range(1, 21) if f"D{n}" not in taken)
    alarm = raise_alarm(centre, device, "public.person")
    evidence = {"label": "person", "url": urls[0], "more": list(urls[1:])}
    centre.execute("UPDATE alarms SET evidence = %s WHERE id = %s", Jsonb(evidence), alarm)
    return f"/api/alarms/{alarm}/media"


def refusal(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["detail_zh"]
    assert body["detail_zh"] != body["detail"]
    return str(body["detail"])


def test_a_picture_is_fetched_once_and_served_as_what_it_is(centre: Centre, camera_host: Recorder) -> None:
    path = alarm_showing(centre, f"{camera_host.base}/event.jpg")
    (item,) = centre.client.get(path).json()["items"]
    assert (item["n"], item["host"], item["file"], item["refused"]) == (0, "127.0.0.1", "event.jpg", None)
    for _ in range(3):
        answer = centre.client.get(f"{path}/0")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content == camera_host.plain["/event.jpg"]
    assert camera_host.asked["/event.jpg"] == 1
    assert centre.client.get(f"{path}/1").status_code == 404
    assert centre.stranger.get(f"{path}/0").status_code == 401


def test_a_clip_comes_in_ranges(centre: Centre, camera_host: Recorder) -> None:
    path = alarm_showing(centre, f"{camera_host.base}/clip.mp4")
    answer = centre.client.get(f"{path}/0", headers={"Range": "bytes=100-299"})
    assert answer.status_code == 206
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-range"] == f"bytes 100-299/{len(CLIP)}"
    assert answer.content == CLIP[100:300]


def test_a_redirect_leads_to_a_configured_host_or_nowhere(centre: Centre, camera_host: Recorder) -> None:
    names = ("moved.jpg", "away.jpg", "round.jpg")
    path = alarm_showing(centre, *(f"{camera_host.base}/{name}" for name in names))
    assert centre.client.get(f"{path}/0").content == camera_host.plain["/event.jpg"]
    assert "CITY_MEDIA_HOSTS" in refusal(centre.client.get(f"{path}/1"), 403)
    assert "without end" in refusal(centre.client.get(f"{path}/2"), 502)


def test_what_is_no_picture_is_not_passed_on(
    centre: Centre, camera_host: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = alarm_showing(centre, f"{camera_host.base}/page.jpg", f"{camera_host.base}/gone.jpg")
    assert "no JPEG" in refusal(centre.client.get(f"{path}/0"), 502)
    assert "404" in refusal(centre.client.get(f"{path}/1"), 502)
    monkeypatch.setattr(media, "LARGEST", 1000)
    large = alarm_showing(centre, f"{camera_host.base}/clip.mp4?large")
    camera_host.plain["/clip.mp4?large"] = CLIP
    assert "larger" in refusal(centre.client.get(f"{large}/0"), 502)


def test_a_host_that_is_down_or_never_ends_is_said_to_be(
    centre: Centre, camera_host: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "LONGEST_S", 0.5)
    path = alarm_showing(centre, f"{camera_host.base}/endless.mp4", "http://nobody.invalid/x.jpg")
    assert "within" in refusal(centre.client.get(f"{path}/0"), 504)
    assert "looked up" in refusal(centre.client.get(f"{path}/1"), 502)
    kept = list((Path(centre.folder.name) / "media").glob(".*"))
    assert kept == []


def test_a_host_nobody_named_is_said_in_the_list(centre: Centre) -> None:
    path = alarm_showing(centre, "http://cam.example/x.jpg")
    (item,) = centre.client.get(path).json()["items"]
    assert "CITY_MEDIA_HOSTS" in item["refused_en"]
    assert "CITY_MEDIA_HOSTS" in refusal(centre.client.get(f"{path}/0"), 403)
