"""Open311 on a running centre: filed, followed, refused in its own words, and driven by clients nobody here wrote."""

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from PIL import Image

from city.settings import Settings
from city.storage.changes import open_connection
from command_centre.actions import act
from tests.conftest import PostgresServer, _database
from tests.integration.running_centre import Centre, lay_ground, running

BASE = "/open311/v2"
INSIDE = {"lat": "0.2", "long": "1.7"}  # in cell C1
OTHERS = Path(__file__).parents[2] / "bench" / "open311_clients.py"


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with _database(postgres_server, postgres_template) as url:
        lay_ground(url)
        with running(url) as started:
            yield started


@pytest.fixture(scope="module")
def key(centre: Centre) -> str:
    return new_key(centre)


def new_key(centre: Centre) -> str:
    made = centre.client.post("/api/open311/keys", json={"name": secrets.token_hex(8)})
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def file(centre: Centre, key: str, form: str = "json", **fields: str) -> Any:
    given = {"api_key": key, "service_code": "fire.smoke", **INSIDE, "description": "smoke 烟", **fields}
    return centre.stranger.post(f"{BASE}/requests.{form}", data=given)


def test_a_request_is_a_report_like_any_other_and_an_incident_at_once(centre: Centre, key: str) -> None:
    filed = file(
        centre, key, first_name="三", last_name="张", phone="13800138000", description="起火 13800138000"
    )
    assert filed.status_code == 201, filed.text
    (answered,) = filed.json()
    number = answered["service_request_id"]
    (shown,) = centre.stranger.get(f"{BASE}/requests/{number}.json").json()
    assert (shown["status"], shown["service_code"], shown["lat"]) == ("open", "fire.smoke", 0.2)
    assert "13800138000" not in shown["description"]
    assert "张三" not in json.dumps(shown, ensure_ascii=False)
    ((channel, source),) = centre.execute(
        "SELECT r.channel, i.source FROM open311_requests o JOIN reports r ON r.id = o.report_id"
        " JOIN incidents i ON i.id = r.incident_id WHERE o.id = %s",
        number,
    )
    assert (channel, source) == ("open311", "report")
    tracking = answered["service_notice"].split("tracking number ")[1].split(",")[0]
    assert number not in tracking
    assert centre.stranger.get(f"{BASE}/tokens/{tracking}.json").json() == [
        {"service_request_id": number, "token": tracking}
    ]
    contact = centre.client.get(f"/api/reports/{tracking}/contact").json()["contact"]
    assert (contact["name"], contact["phone"]) == ("张三", "13800138000")


def test_json_and_xml_say_the_same(centre: Centre, key: str) -> None:
    filed = etree.fromstring(file(centre, key, "xml").content)
    number = filed.findtext("request/service_request_id")
    assert filed.tag == "service_requests"
    (as_json,) = centre.stranger.get(f"{BASE}/requests/{number}.json").json()
    as_xml = etree.fromstring(centre.stranger.get(f"{BASE}/requests/{number}.xml").content)[0]
    assert [element.tag for element in as_xml] == list(as_json)
    for element in as_xml:
        value = as_json[str(element.tag)]
        assert (element.text or "") == ("" if value is None else str(value))


def test_the_whole_catalogue_is_offered_by_its_leaves(centre: Centre) -> None:
    codes = [one["service_code"] for one in centre.stranger.get(f"{BASE}/services.json").json()]
    assert "fire.smoke" in codes
    assert "fire" not in codes
    assert not [code for code in codes if code.startswith(("device", "system"))]
    assert centre.stranger.get(f"{BASE}/services/fire.smoke.json").json()["attributes"] == []
    assert centre.stranger.get(f"{BASE}/services/fire.smoke.xml").text.count("service_code") == 2


def test_found_by_number_service_status_and_time(centre: Centre, key: str) -> None:
    first, second = (file(centre, key).json()[0]["service_request_id"] for _ in range(2))

    def numbers(**asked: str) -> list[str]:
        found = centre.stranger.get(f"{BASE}/requests.json", params=asked)
        assert found.status_code == 200, found.text
        return [one["service_request_id"] for one in found.json()]

    assert set(numbers(service_request_id=f"{first},{second},000000000000")) == {first, second}
    assert {first, second} <= set(numbers(service_code="fire.smoke,public.person", status="open"))
    assert numbers(service_code="public.person") == []
    assert first not in numbers(status="closed")
    assert first not in numbers(end_date="2020-01-01T00:00:00Z")
    assert first not in numbers(start_date="2020-01-01T00:00:00Z", end_date="2020-02-01T00:00:00Z")


def test_a_retry_with_its_key_is_the_same_request(centre: Centre, key: str) -> None:
    given = {"api_key": key, "service_code": "fire.smoke", **INSIDE, "description": "twice"}
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    answers = [
        centre.stranger.post(f"{BASE}/requests.json", data=given, headers=headers).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]


def picture() -> bytes:
    out = BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "PNG")
    return out.getvalue()


def test_photos_come_with_multipart_and_a_photo_that_is_none_is_refused(centre: Centre, key: str) -> None:
    given = {"api_key": key, "service_code": "fire.smoke", **INSIDE, "description": "with a photo"}
    filed = centre.stranger.post(
        f"{BASE}/requests.json", data=given, files={"media": ("a.png", picture(), "image/png")}
    )
    assert filed.status_code == 201, filed.text
    before = centre.execute("SELECT count(*) FROM reports")
    refused = centre.stranger.post(
        f"{BASE}/requests.json", data=given, files={"media": ("b.png", b"no photo", "image/png")}
    )
    assert refused.status_code == 400
    assert "b.png" in refused.json()[0]["description"]
    assert centre.execute("SELECT count(*) FROM reports") == before


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"api_key": ""}, 403, "api_key"),
        ({"api_key": "wrong"}, 403, "api_key"),
        ({"service_code": ""}, 400, "service_code"),
        ({"service_code": "fire"}, 400, "service_code"),
        ({"service_code": "nothing.such"}, 400, "service_code"),
        ({"lat": "", "long": ""}, 400, "location"),
        ({"lat": "91"}, 400, "lat"),
        ({"media_url": "file:///etc/passwd"}, 400, "media_url"),
        ({"email": "no address"}, 400, "email"),
        ({"jurisdiction_id": "elsewhere"}, 404, "jurisdiction_id"),
    ],
)
def test_refused_in_the_specifications_words_and_nothing_is_filed(
    centre: Centre, key: str, change: dict[str, str], status: int, says: str
) -> None:
    before = centre.execute("SELECT count(*) FROM reports")
    as_json = file(centre, key, **change)
    assert (as_json.status_code, as_json.json()[0]["code"]) == (status, str(status)), as_json.text
    assert says in as_json.json()[0]["description"]
    as_xml = etree.fromstring(file(centre, key, "xml", **change).content)
    assert (as_xml.tag, as_xml.findtext("error/code")) == ("errors", str(status))
    assert centre.execute("SELECT count(*) FROM reports") == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("requests/123.json", 404),
        ("requests/123.xml", 404),
        ("services/nothing.such.json", 404),
        ("tokens/nothing.json", 404),
        ("requests.json?status=done", 400),
        ("requests.json?start_date=2020-01-01T00:00:00Z&end_date=2020-12-01T00:00:00Z", 400),
        ("services.yaml", 400),
        ("services.json?jurisdiction_id=elsewhere", 404),
    ],
)
def test_what_is_not_there_is_said_in_the_format_asked_for(centre: Centre, path: str, status: int) -> None:
    answered = centre.stranger.get(f"{BASE}/{path}")
    assert answered.status_code == status, answered.text
    if ".json" in path:
        assert answered.json()[0]["code"] == str(status)
    else:
        assert etree.fromstring(answered.content).findtext("error/code") == str(status)


def test_a_revoked_key_files_nothing_and_its_secret_is_kept_nowhere(centre: Centre) -> None:
    secret = new_key(centre)
    listed = centre.client.get("/api/open311/keys").json()["items"]
    assert secret not in json.dumps(listed)
    assert centre.stranger.get("/api/open311/keys").status_code == 401
    number = listed[-1]["id"]
    assert file(centre, secret).status_code == 201
    assert centre.client.post(f"/api/open311/keys/{number}/revoke").json()["revoked_at"]
    assert file(centre, secret).status_code == 403
    assert centre.client.post(f"/api/open311/keys/{number}/revoke").status_code == 404


def test_a_key_that_runs_away_is_slowed_down(centre: Centre) -> None:
    secret = new_key(centre)
    report = file(centre, secret).json()[0]["service_request_id"]
    centre.execute(
        "INSERT INTO reports (tracking, tracking_digest, channel, received_at, nature, text, place, actor,"
        " fixed_on_spot) SELECT lpad(n::text, 13, '0'), sha256(n::text::bytea), 'runaway', now(), 'request', 'x',"
        " 'unknown', 'system', true"
        " FROM generate_series(1, 119) n"
    )
    centre.execute(
        "INSERT INTO open311_requests (id, report_id, api_key_id, service_code, requested_at)"
        " SELECT lpad(r.id::text, 12, '0'), r.id, o.api_key_id, 'x', now() FROM reports r, open311_requests o"
        " WHERE r.channel = 'runaway' AND o.id = %s",
        report,
    )
    slowed = file(centre, secret)
    assert slowed.status_code == 429
    assert int(slowed.headers["Retry-After"]) > 0
    centre.execute("DELETE FROM open311_requests WHERE service_code = 'x'")
    assert file(centre, secret).status_code == 201


# ── clients nobody here wrote ─────────────────────────────────────────────────────────────────────────


def drive(python: str, *arguments: str) -> Any:
    done = subprocess.run(
        [python, str(OTHERS), *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_case_from_report_to_archive_by_clients_from_pypi(centre: Centre, key: str) -> None:
    """three files it, the centre walks all six steps, georeport sees each in both formats until it is closed."""
    python = os.environ.get("CITY_OPEN311_PYTHON")
    if not python:
        pytest.skip(
            "CITY_OPEN311_PYTHON names no Python with three and georeport; see bench/open311_clients.py"
        )
    base = centre.base + BASE
    lat, long = INSIDE["lat"], INSIDE["long"]
    filed = drive(
        python, "file", "--base", base, "--key", key, "--service", "public.person", "--lat", lat, "--long", long,
        "--text", "a person on the roof", "--jurisdiction", "440399",
    )  # fmt: skip
    number = filed["filed"][0]["service_request_id"]
    assert filed["request"][0]["status"] == "open"
    assert filed["open"][0] == number
    assert filed["refused"][0]["code"] == "403"
    assert filed["discovery"]["endpoints"][0]["url"] == base
    assert seen(python, base, number) == {"json": ("open", "已登记"), "xml": ("open", "已登记")}
    ((incident,),) = centre.execute(
        "SELECT r.incident_id FROM open311_requests o JOIN reports r ON r.id = o.report_id WHERE o.id = %s",
        number,
    )
    walk(centre.url, int(str(incident)), STEPS[:4])
    handled = seen(python, base, number)["json"]
    assert (handled[0], handled[1][:3]) == ("open", "已处置")
    walk(centre.url, int(str(incident)), STEPS[4:])
    assert seen(python, base, number) == {"json": ("closed", "已办结"), "xml": ("closed", "已办结")}


STEPS = (  # action, who, as what
    ("dispatch", "user:901", "dispatcher"),
    ("acknowledge", "user:902", "handler"),
    ("arrive", "user:902", "handler"),
    ("handle", "user:902", "handler"),
    ("verify", "user:903", "grid_worker"),
    ("feedback", "user:904", "hotline"),
    ("archive", "user:901", "dispatcher"),
)


def walk(url: str, incident: int, steps: Sequence[tuple[str, str, str]]) -> None:
    async def run() -> None:
        async with await open_connection(url, "test", autocommit=True) as connection:
            found = await (await connection.execute("SELECT id FROM units WHERE code = 'U1'")).fetchone()
            assert found is not None
            for action, actor, role in steps:
                await act(
                    connection,
                    Settings(),
                    incident,
                    action,
                    actor=actor,
                    role=role,
                    unit_id=found[0] if role == "handler" else None,
                    fields={"unit": "U1", "comment": "done"} if action == "dispatch" else {"comment": "done"},
                    now=datetime.now(UTC),
                )

    asyncio.run(run())


def seen(python: str, base: str, number: str) -> dict[str, tuple[str, str]]:
    """Status and the Chinese half of its note, by format, as georeport reads them."""
    followed = drive(python, "follow", "--base", base, "--id", number)
    assert followed["json"]["request"]["service_request_id"] == number
    return {
        form: (found["request"]["status"], found["request"]["status_notes"].split(" / ")[0])
        for form, found in followed.items()
    }
