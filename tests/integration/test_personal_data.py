"""Personal data at rest: sealed in every table, found by number, sealed anew in service, given out, erased."""

import asyncio
import io
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from PIL import Image
from typer.testing import CliRunner

from city.key_files import KeyFile, key_file
from city.reports import read_tracking
from city.sealed_text import needs_sealing, seal
from city.sealing import KeyRing
from city.settings import Settings
from city.storage import sealed, shared_secrets
from city.storage.changes import open_connection
from city.storage.database import DatabaseError, translated
from command_centre import data_keys, persons
from runtime.cli import app
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer

PHONE, NAME, MAIL = "13912345678", "张三丰", "zhang.sanfeng@example.org"
CONTACT = {"name": NAME, "phone": "139-1234 5678", "email": MAIL, "told_by": "sms"}


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template, contact_days=1, report_days=2) as made:
        yield made


def keys(centre: Centre) -> KeyFile:
    return key_file((Path(centre.folder.name) / "keys" / "data.keys").absolute())


def report(centre: Centre, **fields: Any) -> dict[str, Any]:
    body = {"text": "井盖冒水", "cell": "C1", "contact": CONTACT, "category": "public.person"} | fields
    answer = centre.client.post("/api/reports", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def everything(centre: Centre) -> str:
    """Every row of every table as text."""
    tables = centre.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [centre.execute(f'SELECT t::text FROM "{name}" t') for (name,) in tables]
    return "\n".join(str(row[0]) for table in rows for row in table)


def number(centre: Centre, tracking: str) -> int:
    (found,) = centre.execute("SELECT id FROM reports WHERE tracking = %s", read_tracking(tracking))
    return int(str(found[0]))


def test_nothing_of_the_person_can_be_read_in_the_database(centre: Centre) -> None:
    made = report(centre)
    kept = everything(centre)
    assert "~1." in kept  # it is there, sealed
    for secret in (PHONE, NAME, MAIL, "zhang"):
        assert secret not in kept
    answer = centre.client.get(f"/api/reports/{made['tracking']}/contact").json()["contact"]
    assert (answer["name"], answer["phone"], answer["email"]) == (NAME, PHONE, MAIL)


def test_a_number_finds_its_reports_however_it_is_written(centre: Centre) -> None:
    made = report(centre, contact={"phone": "+86 138 0000 2222"})
    for asked in ("+8613800002222", "+86 138-0000-2222"):
        items = centre.client.get("/api/reports", params={"q": asked}).json()["items"]
        assert [item["tracking"] for item in items] == [made["tracking"]]
    assert centre.client.get("/api/reports", params={"q": "13800002223"}).json()["items"] == []


def test_what_an_older_release_wrote_plainly_is_read_found_and_then_sealed(centre: Centre) -> None:
    made = report(centre, contact={"phone": "13700001111"})
    old, row = "13700003333", number(centre, made["tracking"])
    centre.execute(
        "UPDATE report_contacts SET phone = %s, name = '李四', phone_digest = NULL WHERE report_id = %s",
        old,
        row,
    )

    def found() -> list[str]:
        return [
            one["tracking"] for one in centre.client.get("/api/reports", params={"q": old}).json()["items"]
        ]

    assert found() == [made["tracking"]]

    async def seal() -> int:
        async with await open_connection(centre.url, "test", autocommit=True) as connection:
            return await data_keys.seal_all(connection, keys(centre))

    assert asyncio.run(seal()) == 1
    assert asyncio.run(seal()) == 0
    assert old not in everything(centre)
    assert "李四" not in everything(centre)
    assert found() == [made["tracking"]]


def test_a_fresh_key_seals_everything_anew_while_the_centre_answers(centre: Centre) -> None:
    made = report(centre)
    before = keys(centre).ring().newest
    done = asyncio.run(data_keys.rotate(centre.url, keys(centre)))
    assert done.values >= 1
    assert done.key != before.hex()
    contact = centre.client.get(f"/api/reports/{made['tracking']}/contact").json()["contact"]
    assert contact["phone"] == PHONE
    found = centre.client.get("/api/reports", params={"q": PHONE}).json()["items"]
    assert made["tracking"] in {one["tracking"] for one in found}
    (waiting,) = centre.execute(
        "SELECT address FROM notifications WHERE report_id = %s", number(centre, made["tracking"])
    )
    ring, row = keys(centre).ring(), number(centre, made["tracking"])
    assert waiting[0] == "" or sealed.address(ring, row, by_mail=False, stored=str(waiting[0])) == PHONE
    later = report(centre, contact={"phone": "13700005555"})
    (stored,) = centre.execute(
        "SELECT phone FROM report_contacts WHERE report_id = %s", number(centre, later["tracking"])
    )
    assert (
        sealed.opened(ring, number(centre, later["tracking"]), sealed.Contact(phone=str(stored[0]))).phone
        == "13700005555"
    )


def test_secrets_shared_with_others_are_sealed_when_plain_and_anew_with_a_fresh_key(centre: Centre) -> None:
    centre.execute("UPDATE units SET webhook_secret = 'plain-secret' WHERE code = 'U1'")
    centre.client.post("/api/intake-systems", json={"code": "old", "name": "旧系统"})
    centre.execute("UPDATE intake_systems SET secret = 'plain-too' WHERE code = 'old'")

    def opened() -> list[str]:
        ring = keys(centre).ring()
        ((unit, of_unit),) = centre.execute("SELECT id, webhook_secret FROM units WHERE code = 'U1'")
        ((of_system,),) = centre.execute("SELECT secret FROM intake_systems WHERE code = 'old'")
        assert not any(needs_sealing(ring, str(one)) for one in (of_unit, of_system))
        return [
            shared_secrets.OF_UNIT.opened(ring, int(str(unit)), str(of_unit)),
            shared_secrets.OF_SYSTEM.opened(ring, "old", str(of_system)),
        ]

    async def seal() -> list[int]:
        async with await open_connection(centre.url, "test", autocommit=True) as connection:
            plain = await shared_secrets.plain(connection)
            done = await data_keys.seal_all(connection, keys(centre))
            return [plain, done, await shared_secrets.plain(connection)]

    assert asyncio.run(seal()) == [2, 2, 0]
    assert "plain-secret" not in everything(centre)
    assert opened() == ["plain-secret", "plain-too"]
    asyncio.run(data_keys.rotate(centre.url, keys(centre)))
    assert opened() == ["plain-secret", "plain-too"]


def test_a_key_is_dropped_when_it_seals_nothing_and_not_before(centre: Centre) -> None:
    made = report(centre)
    old = keys(centre).ring().newest
    with pytest.raises(data_keys.DataKeyError, match="seals what is written now"):
        asyncio.run(data_keys.drop(centre.url, keys(centre), old.hex()))
    asyncio.run(data_keys.rotate(centre.url, keys(centre)))
    ring = keys(centre).ring()
    row = number(centre, made["tracking"])
    kept = centre.execute("SELECT phone FROM report_contacts WHERE report_id = %s", row)[0][0]
    under_old = seal(KeyRing(newest=old, keys=ring.keys), PHONE, f"report_contacts.phone:{row}")
    put = "UPDATE report_contacts SET phone = %s WHERE report_id = %s"
    centre.execute(put, under_old, row)
    with pytest.raises(data_keys.DataKeyError, match=f"{old.hex()} still seals 1 value"):
        asyncio.run(data_keys.drop(centre.url, keys(centre), old.hex()))
    assert old in keys(centre).ring().keys
    centre.execute(put, kept, row)
    asyncio.run(data_keys.drop(centre.url, keys(centre), old.hex()))
    assert old not in keys(centre).ring().keys
    data_keys.agree(centre.url, keys(centre))  # a start asks for it no more
    answer = centre.client.get(f"/api/reports/{made['tracking']}/contact").json()["contact"]
    assert answer["phone"] == PHONE
    with pytest.raises(data_keys.DataKeyError, match="no such key"):
        asyncio.run(data_keys.drop(centre.url, keys(centre), old.hex()))


def test_another_key_file_is_refused_at_the_start(centre: Centre, tmp_path: Path) -> None:
    data_keys.agree(centre.url, keys(centre))
    with pytest.raises(data_keys.DataKeyError, match="is not there"):
        data_keys.agree(centre.url, KeyFile(tmp_path / "lost"))
    assert not (tmp_path / "lost").exists()
    other = KeyFile(tmp_path / "other")
    other.ring()
    with pytest.raises(data_keys.DataKeyError, match="does not hold key"):
        data_keys.agree(centre.url, other)
    name = keys(centre).ring().newest.hex()
    (tmp_path / "forged").write_text(
        "".join(f"{one.hex()} {'00' * 32}\n" for one in keys(centre).ring().keys)
    )
    with pytest.raises(data_keys.DataKeyError, match=f"key {name}|is not the one"):
        data_keys.agree(centre.url, KeyFile(tmp_path / "forged"))


def test_a_number_put_into_another_row_does_not_open_there(centre: Centre) -> None:
    one, other = report(centre), report(centre, contact={"phone": "13700007777"})
    centre.execute(
        "UPDATE report_contacts SET phone = (SELECT phone FROM report_contacts WHERE report_id = %s)"
        " WHERE report_id = %s",
        number(centre, one["tracking"]),
        number(centre, other["tracking"]),
    )
    answer = centre.client.get(f"/api/reports/{other['tracking']}/contact")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert PHONE not in answer.text
    centre.execute("DELETE FROM report_contacts WHERE report_id = %s", number(centre, other["tracking"]))


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), "purple").save(out, "JPEG")
    return out.getvalue()


def test_everything_about_a_person_is_given_out_and_taken_away(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact = {"phone": "13500009999", "name": NAME}
    sent = centre.client.post(
        "/api/reports",
        data={"text": "门口有人晕倒", "cell": "C2", "contact.phone": "13500009999", "contact.name": NAME},
        files={"photos": ("a.jpg", picture(), "image/jpeg")},
    )
    assert sent.status_code == 201, sent.text
    first, second = sent.json(), report(centre, text="另一件事", contact=contact, cell="C3")
    centre.client.post(f"/api/reports/{first['tracking']}/more", json={"text": "他还在"})
    asked = {"phone": "135-0000-9999", "reason": "本人申请"}
    told = centre.client.post("/api/persons/export", json=asked).json()
    assert {one["tracking"] for one in told["reports"]} == {first["tracking"], second["tracking"]}
    one = next(one for one in told["reports"] if one["tracking"] == first["tracking"])
    assert one["contact"]["phone"] == "13500009999"
    assert [said["text"] for said in one["additions"]] == ["他还在"]
    assert any("晕倒" in event["text"] for event in one["timeline"])
    assert one["photos"]
    by_tracking = {"tracking": second["tracking"], "reason": "本人申请"}
    again = centre.client.post("/api/persons/export", json=by_tracking).json()
    assert len(again["reports"]) == 2
    assert "report.exported" in {seen["action"] for seen in again["reports"][0]["looked_at"]}

    monkeypatch.setenv("CITY_DATABASE_URL", centre.url)
    monkeypatch.setenv("CITY_DATA_DIR", centre.folder.name)
    out = tmp_path / "person.zip"
    done = CliRunner().invoke(
        app, ["person", "export", str(out), "--phone-file", "-", "--reason", "x" * 3], input="13500009999\n"
    )
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(out) as archive:
        assert f"photos/{one['photos'][0]}.jpg" in archive.namelist()
        assert len(json.loads(archive.read("person.json"))["reports"]) == 2
    assert out.stat().st_mode & 0o777 == 0o600

    assert centre.client.post("/api/persons/erase", json=asked).json() == {"reports": 2}
    kept = everything(centre)
    for secret in ("13500009999", "晕倒", "他还在", "另一件事"):
        assert secret not in kept
    assert centre.execute("SELECT 1 FROM photo_uses WHERE encode(digest, 'hex') = %s", one["photos"][0]) == []
    assert centre.client.post("/api/persons/export", json=asked).json()["reports"] == []


@pytest.mark.parametrize("body", [{}, {"phone": "1", "tracking": "2"}, {"phone": "  "}])
def test_a_person_is_asked_for_by_one_thing(centre: Centre, body: dict[str, str]) -> None:
    assert centre.client.post("/api/persons/export", json={**body, "reason": "why"}).status_code == 422


def test_old_reports_lose_their_words_and_stay_in_the_count(centre: Centre) -> None:
    made = report(centre, text="很久以前", contact={"phone": "13700004444"})
    now = datetime.now(UTC)
    centre.execute(
        "UPDATE reports SET received_at = %s WHERE id = %s",
        now - timedelta(days=9),
        number(centre, made["tracking"]),
    )

    async def erase() -> int:
        async with await open_connection(centre.url, "test", autocommit=True) as connection:
            return await persons.erase_old(connection, now - timedelta(days=2), 10, now)

    assert asyncio.run(erase()) == 0  # its matter is not over
    centre.execute(
        "UPDATE incidents SET state = 'voided', closed_at = %s"
        " WHERE id = (SELECT incident_id FROM reports WHERE id = %s)",
        now - timedelta(days=8),
        number(centre, made["tracking"]),
    )
    assert asyncio.run(erase()) == 1
    assert "很久以前" not in everything(centre)
    assert centre.execute(
        "SELECT erased_at IS NOT NULL FROM reports WHERE id = %s", number(centre, made["tracking"])
    ) == [(True,)]
    assert asyncio.run(erase()) == 0


def test_a_wrong_row_is_not_told_with_what_it_holds(centre: Centre) -> None:
    """PostgreSQL's own words for a refused row repeat the row; ours must not."""
    with pytest.raises(DatabaseError) as refused, psycopg.connect(centre.url) as connection, translated():
        connection.execute(
            "INSERT INTO report_contacts (report_id, name, told_by) VALUES (1, %s, 'pigeon')", (NAME,)
        )
    assert NAME not in str(refused.value)
    assert "report_contacts_told_by_known" in str(refused.value)


def test_the_settings_name_the_file(tmp_path: Path) -> None:
    made = Settings(data_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]  # pydantic's own
    assert made.keys.path == tmp_path / "keys" / "data.keys"


def test_a_viewer_sees_of_a_leads_number_what_tells_two_apart(centre: Centre) -> None:
    centre.execute("UPDATE units SET lead_phone = '13600001234' WHERE code = 'U1'")
    raise_alarm(centre, "D1")
    secret = centre.client.post("/api/users", json={"name": "looker", "role": "viewer"}).json()[
        "one_time_secret"
    ]
    centre.execute("UPDATE users SET must_change = false WHERE name = 'looker'")
    assert (
        centre.stranger.post("/api/session", json={"name": "looker", "password": secret}).status_code == 200
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = centre.client.get("/api/incidents", params={"unit": "U1"}).json()["items"]
        if found:
            break
        time.sleep(0.05)
    full, seen = (
        line.get(f"/api/incidents/{found[0]['id']}").json() for line in (centre.client, centre.stranger)
    )
    assert full["unit_lead_phone"] == "13600001234"
    assert seen["unit_lead_phone"] == "136****1234"
    centre.stranger.cookies.clear()
