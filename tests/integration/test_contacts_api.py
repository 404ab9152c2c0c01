"""How units and people are told, over HTTP: secrets masked, wishes kept, nobody changes another's; messages resent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from city.key_files import key_file
from city.storage.shared_secrets import OF_CONTACT
from command_centre import accounts
from tests.integration.running_centre import Centre, lay_ground, running
from tests.servers.postgres import PostgresServer

Json = dict[str, Any]
DINGTALK = "dingtalk://abcdefghij1234567890/"


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    with running(url) as made:
        for person, role, unit in (
            ("li", "handler", "U1"),
            ("wang", "dispatcher", None),
            ("zhao", "viewer", None),
        ):
            made.execute(
                "INSERT INTO users (name, password_hash, role, unit_id)"
                " VALUES (%s, %s, %s, (SELECT id FROM units WHERE code = %s))",
                person, PASSWORD_HASH, role, unit,
            )  # fmt: skip
        yield made
    postgres_server.drop_database(name)


PASSWORD = "correct horse battery staple"
PASSWORD_HASH = accounts.hash_password(PASSWORD)


@pytest.fixture(scope="module")
def people(centre: Centre) -> Iterator[dict[str, httpx.Client]]:
    clients = {}
    for person in ("li", "wang", "zhao"):
        client = httpx.Client(base_url=centre.base, timeout=60)
        assert client.post("/api/session", json={"name": person, "password": PASSWORD}).status_code == 200
        clients[person] = client
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(autouse=True)
def _nobody(centre: Centre) -> None:
    centre.execute("DELETE FROM notifications")
    centre.execute("DELETE FROM contacts")


def problem(answer: httpx.Response, status: int) -> Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: Json = answer.json()
    assert body["detail"]
    assert body["detail_zh"]
    return body


def put(client: httpx.Client, where: str, *items: Json, tag: str | None = None) -> httpx.Response:
    headers = {"If-Match": tag} if tag else {}
    return client.put(where, json={"items": list(items)}, headers=headers)


def test_a_units_contacts_are_kept_with_their_secrets_masked(centre: Centre) -> None:
    api, where = centre.client, "/api/units/U1/contacts"
    assert api.get(where).json() == {"items": [], "next": None}
    made = put(
        api, where, {"channel": "apprise", "address": DINGTALK, "quiet": "22:00-07:00", "purposes": ["order"]}
    )
    assert made.status_code == 200, made.text
    (shown,) = made.json()["items"]
    assert shown["address"] == "dingtalk://…"
    assert (shown["language"], shown["digest"], shown["active"]) == ("zh", True, True)
    assert "abcdefghij" not in api.get(where).text
    # Sent back as shown, the address stays; so it does when it is left out.
    again = put(api, where, {**shown, "label": "值班群"}, tag=made.headers["ETag"])
    assert again.status_code == 200, again.text
    del shown["address"]
    assert put(api, where, shown).status_code == 200
    assert centre.execute("SELECT address, label FROM contacts WHERE removed_at IS NULL") == [(DINGTALK, "")]
    ((said,),) = centre.execute("SELECT string_agg(detail::text || reason || object, '') FROM audit")
    assert "unit:U1" in str(said)
    assert "abcdef" not in str(said)
    assert put(api, where).json()["items"] == []
    assert api.get(where).json()["items"] == []


def test_who_was_slower_reads_again(centre: Centre) -> None:
    where = "/api/units/U1/contacts"
    before = centre.client.get(where).headers["ETag"]
    item = {"channel": "smtp", "address": "a@example.org"}
    assert put(centre.client, where, item, tag=before).status_code == 200
    stale = problem(put(centre.client, where, item, tag=before), 412)
    assert "read them again" in stale["detail"]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"channel": "apprise", "address": "file:///etc/passwd"}, "items.0.address"),
        ({"channel": "apprise", "address": "mqtt://"}, "items.0.address"),
        ({"channel": "webhook", "address": "ftp://x.example/"}, "items.0.address"),
        ({"channel": "webhook"}, "items.0.address"),
        ({"channel": "smtp", "address": "nobody"}, "items.0.address"),
        ({"channel": "smtp", "address": "a@b.example", "quiet": "22-7"}, "items.0.quiet"),
        ({"channel": "smtp", "address": "a@b.example", "purposes": ["gossip"]}, "items.0.purposes.0"),
        ({"channel": "pigeon", "address": "a@b.example"}, "items.0.channel"),
        ({"channel": "smtp", "address": "a@b.example", "id": 999}, "items.0.id"),
        ({"channel": "smtp", "address": "a@b.example", "language": "fr"}, "items.0.language"),
    ],
)
def test_what_cannot_be_used_names_the_field_and_changes_nothing(
    centre: Centre, item: Json, field: str
) -> None:
    refused = problem(put(centre.client, "/api/units/U1/contacts", item), 422)
    assert refused["errors"][0]["field"] == field
    assert centre.execute("SELECT count(*) FROM contacts") == [(0,)]


def test_nobody_changes_another_units_contacts(centre: Centre, people: dict[str, httpx.Client]) -> None:
    item = {"channel": "smtp", "address": "a@b.example"}
    assert put(people["li"], "/api/units/U1/contacts", item).status_code == 200
    problem(put(people["li"], "/api/units/U2/contacts", item), 403)
    problem(people["li"].get("/api/units/U2/contacts"), 403)
    assert people["wang"].get("/api/units/U1/contacts").status_code == 200
    problem(put(people["wang"], "/api/units/U1/contacts", item), 403)
    problem(people["zhao"].get("/api/units/U1/contacts"), 403)
    problem(centre.client.get("/api/units/nothing/contacts"), 404)


def test_ones_own_contacts_lead_nowhere_inside(centre: Centre, people: dict[str, httpx.Client]) -> None:
    where = "/api/me/contacts"
    assert put(people["li"], where, {"channel": "smtp", "address": "li@example.org"}).status_code == 200
    assert people["li"].get(where).json()["items"][0]["address"] == "li@example.org"
    assert people["wang"].get(where).json()["items"] == []
    refused = problem(put(people["zhao"], where, {"channel": "apprise", "address": "mqtt://10.0.0.5/x"}), 422)
    assert "administrator" in refused["detail"]
    problem(centre.client.get(where), 409)


def test_a_test_message_goes_out_once_a_minute(centre: Centre, people: dict[str, httpx.Client]) -> None:
    put(people["li"], "/api/units/U1/contacts", {"channel": "webhook", "address": "http://127.0.0.1:9/"})
    sent = people["li"].post("/api/units/U1/contacts/test")
    assert (sent.status_code, sent.json()) == (202, {"sent_to": 1})
    too_soon = people["li"].post("/api/units/U1/contacts/test")
    problem(too_soon, 429)
    assert int(too_soon.headers["Retry-After"]) <= 61
    assert people["li"].post("/api/me/contacts/test").json() == {"sent_to": 0}
    problem(people["wang"].post("/api/units/U1/contacts/test"), 403)


def test_a_webhooks_secret_is_shown_when_it_is_made_anew(
    centre: Centre, people: dict[str, httpx.Client]
) -> None:
    item = {"channel": "webhook", "address": "http://127.0.0.1:9/"}
    (shown,) = put(people["li"], "/api/units/U1/contacts", item).json()["items"]
    where = f"/api/units/U1/contacts/{shown['id']}/secret"
    made = people["li"].post(where)
    assert made.status_code == 200, made.text
    ((row, stored),) = centre.execute("SELECT id, secret FROM contacts WHERE removed_at IS NULL")
    ring = key_file((Path(centre.folder.name) / "keys" / "data.keys").absolute()).ring()
    assert OF_CONTACT.opened(ring, int(str(row)), str(stored)) == made.json()["secret"] != stored
    problem(people["wang"].post(where), 403)
    problem(people["zhao"].post(f"/api/me/contacts/{shown['id']}/secret"), 404)
    problem(centre.client.post("/api/units/U2/contacts/1/secret"), 404)


def test_a_message_that_was_given_up_is_listed_and_sent_again(
    centre: Centre, people: dict[str, httpx.Client]
) -> None:
    opened = centre.client.post("/api/incidents", json={"category": "fire.smoke", "cell": "C1"}).json()
    centre.execute(
        "INSERT INTO notifications (incident_id, unit_id, purpose, channel, body, state, attempts, last_error,"
        " next_attempt_at) SELECT %s, id, 'order', 'webhook', '{}', 'failed', 9, 'answered 404', now()"
        " FROM units WHERE code = 'U1'",
        opened["id"],
    )
    wang = people["wang"]
    (failed,) = wang.get("/api/notifications", params={"incident": opened["id"], "state": "failed"}).json()[
        "items"
    ]
    assert (failed["unit"], failed["last_error"], failed["number"]) == (
        "U1",
        "answered 404",
        opened["number"],
    )
    assert not any("address" in name for name in failed)
    problem(people["zhao"].get("/api/notifications"), 403)
    centre.execute("UPDATE notifications SET state = 'waiting', next_attempt_at = '2100-01-01'")
    waiting = problem(wang.post(f"/api/notifications/{failed['id']}/resend"), 409)
    assert waiting["state"] == "waiting"
    centre.execute("UPDATE notifications SET state = 'failed'")
    again = wang.post(f"/api/notifications/{failed['id']}/resend")
    assert again.status_code == 200, again.text
    timeline = wang.get(f"/api/incidents/{opened['id']}/timeline").json()["items"]
    assert any(event["kind"] == "resent" and event["actor"] == "wang" for event in timeline)
    problem(wang.post("/api/notifications/999999/resend"), 404)


def test_messages_are_counted_without_ids(centre: Centre) -> None:
    centre.execute(
        "INSERT INTO notifications (purpose, channel, body, state) VALUES ('test', 'smtp', '{}', 'failed'),"
        " ('test', 'smtp', '{}', 'failed')"
    )
    assert 'city_notifications{channel="smtp",state="failed"} 2.0' in centre.client.get("/metrics").text
