"""What proves what was done: photos that stand in the event and are kept with the incident."""

from collections.abc import Iterator
from io import BytesIO

import httpx
import pytest
from PIL import Image

from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


def picture(colour: str) -> bytes:
    out = BytesIO()
    Image.new("RGB", (64, 48), colour).save(out, "JPEG")
    return out.getvalue()


def sent(api: httpx.Client, colour: str) -> str:
    answer = api.post("/api/photos", files={"photos": ("scene.jpg", picture(colour), "image/jpeg")})
    assert answer.status_code == 201, answer.text
    (digest,) = answer.json()["photos"]
    return str(digest)


def test_a_photo_goes_with_what_it_proves(centre: Centre) -> None:
    api = centre.client
    incident = api.post("/api/incidents", json={"category": "fire.smoke", "cell": "C1"}).json()
    path, digest = f"/api/incidents/{incident['id']}", sent(api, "red")
    answer = api.post(f"{path}/arrive", json={"photos": [digest], "comment": "smoke at the door"})
    assert answer.status_code == 200, answer.text
    arrived = api.get(f"{path}/timeline").json()["items"][-1]
    assert arrived["kind"] == "arrived"
    assert arrived["detail"]["photos"] == [digest]
    assert api.get(f"/api/photos/{digest}").headers["content-type"] == "image/jpeg"
    kept = centre.execute("SELECT object FROM photo_uses WHERE used_for = 'incident'")
    assert kept == [(incident["id"],)]


@pytest.mark.parametrize(
    ("action", "photos"), [("arrive", ["0" * 64]), ("arrive", ["no digest"]), ("escalate", None)]
)
def test_a_photo_that_cannot_be_is_refused(centre: Centre, action: str, photos: list[str] | None) -> None:
    api = centre.client
    incident = api.post("/api/incidents", json={"category": "flood.level", "cell": "C3"}).json()
    body = {"photos": photos or [sent(api, "blue")], "reason": "r"}
    answer = api.post(f"/api/incidents/{incident['id']}/{action}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith("photos")
    assert centre.execute("SELECT state FROM incidents WHERE id = %s", incident["id"]) == [
        (incident["state"],)
    ]
