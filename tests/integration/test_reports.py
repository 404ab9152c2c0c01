"""Reports by HTTP: what citizens, staff and other systems send, what becomes of it, and who may see what.

Every test speaks from an address of its own (the tests' peer is a trusted proxy), so that allowances do not mix.
"""

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.integration.running_centre import Centre, lay_ground, raise_alarm, running
from tests.servers.postgres import PostgresServer

PHONE = "13812345678"
_addresses = (f"10.{a}.{b}.7" for a, b in itertools.product(range(1, 250), range(250)))


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """U1 is a street's crew, which takes fires by itself; drains it gets from a person."""
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    with running(url) as made:
        made.execute("UPDATE units SET tier = 'street'")
        made.execute(
            "INSERT INTO categories (code, name, name_en, class, limit_minutes, nature) VALUES"
            " ('facility', '设施', 'Facilities', 'C', 600, 'complaint'),"
            " ('facility.drain', '堵塞', 'Blocked drain', 'C', 600, 'complaint'),"
            " ('public', '公共', 'Public', 'C', 600, 'complaint')"
        )
        made.execute(
            "INSERT INTO components (code, kind, category, cell_id, longitude, latitude)"
            " SELECT '0440310001010001', '井盖', 'facility.drain', id, 4.7, 0.3 FROM areas WHERE code = 'C4'"
        )
        yield made
    postgres_server.drop_database(name)


class Person:
    """A stranger with an address, who speaks through everybody's line: making one of its own takes longer."""

    def __init__(self, centre: Centre) -> None:
        self._line = centre.stranger
        self._address = {"X-Forwarded-For": next(_addresses)}

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        return self._line.request(
            method, path, **{**given, "headers": {**given.get("headers", {}), **self._address}}
        )

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")

    def report(self, **fields: Any) -> dict[str, Any]:
        answer = self.post("/api/reports", json={"text": "井盖冒水", **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def sees(self, tracking: str) -> dict[str, Any]:
        answer = self.get(f"/api/reports/{tracking}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


@pytest.fixture
def citizen(centre: Centre) -> Person:
    return Person(centre)


def problem(answer: httpx.Response, status: int, names: str = "") -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["detail_zh"]
    assert names in body["detail"]
    return body


def of_staff(centre: Centre, tracking: str) -> dict[str, Any]:
    answer = centre.client.get(f"/api/reports/{tracking}")
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()["report"]
    return report


def act(centre: Centre, incident: int, action: str, **fields: Any) -> dict[str, Any]:
    answer = centre.client.post(f"/api/incidents/{incident}/{action}", json=fields)
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


def photo(color: str = "red") -> bytes:
    out = BytesIO()
    Image.new("RGB", (400, 300), color).save(out, "JPEG")
    return out.getvalue()


def kinds(centre: Centre, incident: int) -> list[str]:
    items = centre.client.get(f"/api/incidents/{incident}/timeline").json()["items"]
    return [event["kind"] for event in items]


def fed_back(centre: Centre, incident: int) -> None:
    act(centre, incident, "dispatch", unit="U1", reason="drains are theirs")
    act(centre, incident, "acknowledge")
    act(centre, incident, "handle", comment="疏通")
    act(centre, incident, "feedback", comment="已疏通，请放心")


# ── what citizens send ───────────────────────────────────────────────────────────────────────────────


def test_a_report_waits_in_the_lane_under_a_number_that_shows_its_progress(
    centre: Centre, citizen: Person
) -> None:
    made = citizen.report(longitude=2.6, latitude=0.3, category="facility.drain")
    assert made["state"]["code"] == "registered"
    assert made["place"]["code"] == "inside"
    assert not {"incident", "number", "joined"} & set(made)
    row = of_staff(centre, made["tracking"])
    assert (row["cell"], row["state"], row["nature"]) == ("C2", "registered", "complaint")
    incident = centre.client.get(f"/api/incidents/{row['incident']}").json()
    assert (incident["source"], incident["unit"]) == ("report", None)
    shown = citizen.sees(made["tracking"])
    assert [step["step"] for step in shown["steps"] if step["done"]] == ["registered"]
    told = json.dumps(shown, ensure_ascii=False)
    assert incident["number"] not in told
    assert "110-" not in told  # no unit's telephone


def test_sent_again_with_its_key_it_is_the_same_report(centre: Centre, citizen: Person) -> None:
    headers = {"Idempotency-Key": "b8f6c1f0-retry-of-a-telephone"}
    body = {"text": "路灯不亮", "cell": "C4", "category": "facility"}
    first = citizen.post("/api/reports", json=body, headers=headers)
    again = citizen.post("/api/reports", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert centre.execute("SELECT count(*) FROM reports WHERE text = '路灯不亮'") == [(1,)]
    problem(citizen.post("/api/reports", json={**body, "text": "x"}, headers=headers), 422)
    problem(citizen.post("/api/reports", json=body, headers={"Idempotency-Key": "1"}), 422, "random")


def test_a_caller_joins_the_fire_that_the_detectors_see(centre: Centre, citizen: Person) -> None:
    alarm = raise_alarm(centre, "D1")  # in C2
    deadline = time.monotonic() + 60
    while not (
        row := centre.execute("SELECT incident_id FROM alarms WHERE id = %s AND triage = 'done'", alarm)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    incident = row[0][0]
    made = citizen.report(text="楼里有烟", category="fire.smoke", cell="C2")
    assert of_staff(centre, made["tracking"])["incident"] == incident
    assert of_staff(centre, made["tracking"])["joined"]
    assert "reported" in kinds(centre, int(str(incident)))
    shown = citizen.sees(made["tracking"])
    assert shown["due_at"] is None  # would tell since when it is known
    assert min(step["at"] for step in shown["steps"] if step["at"]) == shown["received_at"]


def test_a_fire_reported_by_many_at_once_is_one_incident(centre: Centre) -> None:
    people = [Person(centre) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        made = list(
            pool.map(lambda one: one.report(text="厂房起火", category="fire.smoke", cell="C4"), people)
        )
    incidents = {of_staff(centre, one["tracking"])["incident"] for one in made}
    assert len(incidents) == 1
    joined = [of_staff(centre, one["tracking"])["joined"] for one in made]
    assert sorted(joined) == [False] + [True] * 5


def test_photos_come_with_the_report_and_only_staff_see_them(centre: Centre, citizen: Person) -> None:
    answer = citizen.post(
        "/api/reports",
        data={"text": "墙皮脱落", "cell": "C3", "contact_phone": PHONE},
        files=[
            ("photos", ("a.jpg", photo(), "image/jpeg")),
            ("photos", ("b.jpg", photo("blue"), "image/jpeg")),
        ],
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["photos"] == {"kept": 2, "refused": []}
    digests = of_staff(centre, answer.json()["tracking"])["photos"]
    assert len(digests) == 2
    seen = centre.client.get(f"/api/photos/{digests[0]}")
    assert seen.headers["content-type"] == "image/jpeg"
    assert hashlib.sha256(seen.content).hexdigest() == digests[0]
    assert centre.client.get(f"/api/photos/{digests[0]}/small").status_code == 200
    problem(citizen.get(f"/api/photos/{digests[0]}"), 401)
    problem(centre.client.get(f"/api/photos/{'0' * 64}"), 404)


def test_a_photo_that_is_none_refuses_the_report_unless_it_may_go_without(
    centre: Centre, citizen: Person
) -> None:
    files = [
        ("photos", ("cat.jpg", b"no picture", "image/jpeg")),
        ("photos", ("ok.jpg", photo(), "image/jpeg")),
    ]
    before = centre.execute("SELECT count(*) FROM reports")
    refused = problem(citizen.post("/api/reports", data={"text": "坑"}, files=files), 422, "cat.jpg")
    assert refused["errors"][0]["value"] == "cat.jpg"
    assert centre.execute("SELECT count(*) FROM reports") == before
    kept = citizen.post("/api/reports", data={"text": "坑", "keep_without_photos": "true"}, files=files)
    assert kept.status_code == 201
    assert kept.json()["photos"]["kept"] == 1
    assert [one["name"] for one in kept.json()["photos"]["refused"]] == ["cat.jpg"]
    files = [("photos", (f"{n}.jpg", photo(), "image/jpeg")) for n in range(6)]
    problem(citizen.post("/api/reports", data={"text": "坑"}, files=files), 422, "form")


def test_a_place_outside_is_kept_and_said(centre: Centre, citizen: Person) -> None:
    made = citizen.report(longitude=50.0, latitude=50.0)
    assert made["place"]["code"] == "outside"
    row = of_staff(centre, made["tracking"])
    assert (row["cell"], row["lon"], row["lat"]) == (None, 50.0, 50.0)
    assert citizen.report(address="人民路口")["place"]["code"] == "unknown"


def test_the_code_on_a_cover_says_where_and_what_it_is(centre: Centre, citizen: Person) -> None:
    row = of_staff(centre, citizen.report(text="盖子响", component="0440310001010001")["tracking"])
    assert (row["cell"], row["lon"], row["lat"], row["category"]) == ("C4", 4.7, 0.3, "facility.drain")
    assert centre.client.get(f"/api/incidents/{row['incident']}").json()["category"] == "facility.drain"
    unknown = of_staff(centre, citizen.report(text="盖子响", component="ABC-1")["tracking"])
    assert (unknown["component"], unknown["cell"]) == ("ABC-1", None)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"text": ""}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"text": "字" * 4001}, "text"),
        ({"cell": "nowhere"}, "cell"),
        ({"category": "system.ingest"}, "category"),
        ({"category": "no.such"}, "category"),
        ({"longitude": 2.5}, "latitude"),
        ({"longitude": 200, "latitude": 0}, "longitude"),
        ({"nature": "anger"}, "nature"),
        ({"contact": {"phone": "call me"}}, "contact.phone"),
        ({"contact": {"email": "a@b"}}, "contact.email"),
        ({"contact": {"phone": PHONE, "told_by": "email"}}, "contact.email"),
        ({"exercise": True}, "exercise"),
        ({"found_and_fixed": True}, "found_and_fixed"),
        ({"channel": "hotline"}, "channel"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_used_is_named(centre: Centre, citizen: Person, fields: Any, named: str) -> None:
    before = centre.execute("SELECT count(*) FROM reports")
    problem(citizen.post("/api/reports", json={"text": "井盖", **fields}), 422, named)
    assert centre.execute("SELECT count(*) FROM reports") == before


def test_another_kind_of_body_is_refused(citizen: Person) -> None:
    problem(citizen.post("/api/reports", content=b"<a/>", headers={"Content-Type": "text/xml"}), 415)
    headers = {"Content-Type": "application/json"}
    problem(citizen.post("/api/reports", content=b"{", headers=headers), 422, "JSON")
    problem(citizen.post("/api/reports", content=b"[]", headers=headers), 422, "object")
    problem(citizen.post("/api/reports", content=b" " * 1_100_000, headers=headers), 413, "without photos")


# ── who sends too much ───────────────────────────────────────────────────────────────────────────────


def test_one_address_cannot_fill_the_queue_nor_stop_others(centre: Centre, citizen: Person) -> None:
    def send(number: int) -> httpx.Response:
        body = {"text": f"垃圾 {number}", "cell": "C3", "category": "facility"}
        return citizen.post("/api/reports", json=body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(300)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {201, 429}
    assert statuses.count(201) in (20, 21)  # one a minute comes back meanwhile
    assert all(int(a.headers["retry-after"]) in range(1, 61) for a in answers if a.status_code == 429)
    assert centre.execute("SELECT count(*) FROM reports WHERE text LIKE '垃圾 %%'") == [
        (statuses.count(201),)
    ]
    Person(centre).report(text="别人的", cell="C3")
    counted = dict(centre.execute("SELECT reason, sum(counted) FROM report_refusals GROUP BY reason"))
    assert int(str(counted["rate_address"])) >= 1
    assert 'city_reports_refused_total{reason="rate_address"}' in centre.client.get("/metrics").text
    senders = centre.execute("SELECT sender FROM report_rates WHERE what = 'address'")
    assert not any(b"10." in bytes(row[0]) for row in senders)  # type: ignore[call-overload]  # a bytea


def test_one_telephone_number_has_an_allowance_too(centre: Centre) -> None:
    contact = {"phone": "+86 139-0000-0001"}
    answers = [
        Person(centre).post("/api/reports", json={"text": f"又来 {n}", "cell": "C1", "contact": contact})
        for n in range(8)
    ]
    assert [one.status_code for one in answers] == [201] * 5 + [429] * 3


def test_numbers_cannot_be_tried_out(citizen: Person, centre: Centre) -> None:
    made = Person(centre).report(cell="C1")
    for number in range(20):
        problem(citizen.get(f"/api/reports/{number:013d}"), 404)
    problem(citizen.get(f"/api/reports/{made['tracking']}"), 429)  # right or wrong, it learns nothing more
    Person(centre).sees(made["tracking"])


# ── what staff do ────────────────────────────────────────────────────────────────────────────────────


def test_staff_report_for_others_and_see_what_it_became(centre: Centre) -> None:
    body = {
        "text": "老人摔倒",
        "channel": "hotline",
        "category": "public",
        "cell": "C1",
        "external_id": "12345-9",
    }
    first = centre.client.post("/api/reports", json={**body, "contact": {"phone": PHONE, "call_back": True}})
    again = centre.client.post("/api/reports", json=body)
    assert first.json()["tracking"] == again.json()["tracking"]
    assert first.json()["incident"]
    found = centre.client.get("/api/reports", params={"q": PHONE}).json()["items"]
    assert first.json()["tracking"] in [row["tracking"] for row in found]
    assert PHONE not in json.dumps(found)
    one = centre.client.get("/api/reports", params={"q": first.json()["tracking"]}).json()["items"]
    assert len(one) == 1
    contact = centre.client.get(f"/api/reports/{first.json()['tracking']}/contact").json()["contact"]
    assert contact["phone"] == PHONE
    read = centre.execute("SELECT actor FROM audit WHERE action = 'report.contact_read'")
    assert read == [("api-token",)]


def test_found_and_fixed_is_counted_and_opens_nothing(centre: Centre) -> None:
    before = centre.execute("SELECT count(*) FROM incidents")
    made = centre.client.post(
        "/api/reports", json={"text": "扶正路锥", "channel": "patrol", "found_and_fixed": True}
    )
    assert made.json()["state"]["code"] == "fixed_on_spot"
    assert centre.execute("SELECT count(*) FROM incidents") == before
    listed = centre.client.get("/api/reports", params={"state": "fixed_on_spot"}).json()["items"]
    assert made.json()["tracking"] in [row["tracking"] for row in listed]


def test_a_report_of_a_drill_is_one_of_the_drill(centre: Centre) -> None:
    real = Person(centre).report(text="真火", category="fire.smoke", cell="C1")
    drill = centre.client.post(
        "/api/reports", json={"text": "演习", "category": "fire.smoke", "cell": "C1", "exercise": True}
    ).json()
    assert not drill["joined"]
    assert of_staff(centre, real["tracking"])["incident"] != drill["incident"]


def test_a_report_is_corrected_until_it_is_accepted(centre: Centre, citizen: Person) -> None:
    made = citizen.report(text="水漫出来了", cell="C1")
    path = f"/api/reports/{made['tracking']}"
    change = {"category": "facility.drain", "contact": {"phone": "0755 8888 0000"}}
    assert centre.client.patch(path, json=change, headers={"If-Match": '"1"'}).status_code == 200
    row = of_staff(centre, made["tracking"])
    incident = centre.client.get(f"/api/incidents/{row['incident']}").json()
    assert incident["category"] == row["category"] == "facility.drain"
    problem(centre.client.patch(path, json=change, headers={"If-Match": '"1"'}), 412)
    problem(centre.client.patch(path, json={"category": "no.such"}), 422, "category")
    problem(citizen.patch(path, json=change), 401)
    act(centre, row["incident"], "accept")
    problem(centre.client.patch(path, json=change), 409)


# ── what reporters do afterwards ─────────────────────────────────────────────────────────────────────


def test_the_whole_way_is_followed_rated_and_reopened(centre: Centre, citizen: Person) -> None:
    contact = {"phone": PHONE + "9", "told_by": "sms", "call_back": True}
    made = citizen.report(text="下水道堵了", cell="C1", category="facility.drain", contact=contact)
    path = f"/api/reports/{made['tracking']}"
    incident = of_staff(centre, made["tracking"])["incident"]
    marks = {"response": 5, "result": 4, "manner": 5}
    problem(citizen.post(f"{path}/rating", json=marks), 409)
    problem(citizen.post(f"{path}/reopen", json={"reason": "还没好"}), 409)
    more = citizen.post(
        f"{path}/more", data={"text": "更严重了"}, files=[("photos", ("c.jpg", photo("green"), "image/jpeg"))]
    )
    assert (more.status_code, more.json()["photos"]) == (200, 1)
    fed_back(centre, incident)
    shown = citizen.sees(made["tracking"])
    assert shown["answer"]["text"] == "已疏通，请放心"
    assert made["tracking"] in [
        row["tracking"] for row in centre.client.get("/api/callbacks").json()["items"]
    ]
    call = {"reached": True, "satisfied": True, "words": "谢谢", "rating": marks}
    assert centre.client.post(f"{path}/callback", json=call).status_code == 200
    assert made["tracking"] not in centre.client.get("/api/callbacks").text
    act(centre, incident, "archive")
    assert citizen.post(f"{path}/rating", json={**marks, "result": 1}).json()["rating"]["result"] == 1
    problem(citizen.post(f"{path}/rating", json={**marks, "manner": 6}), 422, "manner")
    problem(citizen.post(f"{path}/more", json={"text": "还有"}), 409)
    assert citizen.sees(made["tracking"])["may"]["reopen"]
    again = citizen.post(f"{path}/reopen", json={"reason": "又堵了"})
    assert again.status_code == 200, again.text
    assert again.json()["state"]["code"] == "rework"
    problem(citizen.post(f"{path}/reopen", json={"reason": "又堵了"}), 409)
    assert {"report_added", "called_back", "rated", "reopened"} <= set(kinds(centre, incident))
    told = centre.execute(
        "SELECT body ->> 'template' FROM notifications WHERE report_id ="
        " (SELECT id FROM reports WHERE text = '下水道堵了') ORDER BY id"
    )
    assert [row[0] for row in told] == [
        "received", "dispatched", "acknowledged", "handled", "fed_back", "archived", "rework",
    ]  # fmt: skip


def test_reopening_ends_after_a_week(centre: Centre, citizen: Person) -> None:
    made = citizen.report(text="异味", cell="C1", category="facility.drain")
    incident = of_staff(centre, made["tracking"])["incident"]
    fed_back(centre, incident)
    act(centre, incident, "archive")
    centre.execute(
        "UPDATE incidents SET closed_at = closed_at - interval '8 days',"
        " fed_back_at = fed_back_at - interval '8 days' WHERE id = %s",
        incident,
    )
    answer = citizen.post(f"/api/reports/{made['tracking']}/reopen", json={"reason": "还臭"})
    problem(answer, 409, "7 days")


def test_a_merged_report_is_followed_in_the_incident_that_goes_on(centre: Centre, citizen: Person) -> None:
    contact = {"phone": "13700000002", "told_by": "sms"}
    one = citizen.report(text="桥面积水很深", cell="C3", category="facility.drain", contact=contact)
    other = Person(centre).report(text="路灯全部不亮", cell="C1", category="facility")
    gone, kept = (of_staff(centre, made["tracking"])["incident"] for made in (one, other))
    assert gone != kept
    act(centre, gone, "merge", into=kept, reason="同一处")
    act(centre, kept, "dispatch", unit="U1", reason="their street")
    assert citizen.sees(one["tracking"])["state"]["code"] == "dispatched"
    of_both = centre.client.get(f"/api/incidents/{kept}/reports").json()["items"]
    assert [row["tracking"] for row in of_both] == [one["tracking"], other["tracking"]]
    problem(centre.client.get("/api/incidents/999999/reports"), 404)
    told = centre.execute(
        "SELECT incident_id, body ->> 'template' FROM notifications WHERE report_id ="
        " (SELECT id FROM reports WHERE text = '桥面积水很深') ORDER BY id"
    )
    assert told == [(gone, "received"), (kept, "dispatched")]


def test_who_reported_is_nowhere_but_in_their_own_table(centre: Centre, citizen: Person) -> None:
    contact = {"name": "张三丰", "phone": "13655556666", "email": "zsf@example.com"}
    made = citizen.report(text="噪声", cell="C1", category="public", contact=contact)
    row = of_staff(centre, made["tracking"])
    for table in (
        "incidents",
        "incident_events",
        "incident_texts",
        "audit",
        "changes",
        "idempotency_keys",
        "reports",
    ):
        held = str(centre.execute(f"SELECT t::text FROM {table} t"))
        assert not [word for word in contact.values() if word in held], table
    chain = str(centre.execute("SELECT t::text FROM incident_events t"))
    assert made["tracking"].replace("-", "") not in chain
    assert made["tracking"] not in chain
    assert citizen.delete(f"/api/reports/{made['tracking']}/contact").status_code == 204
    assert centre.execute("SELECT count(*) FROM report_contacts WHERE report_id = %s", row["id"]) == [(0,)]
    erased = centre.client.post(f"/api/reports/{made['tracking']}/erase", json={"reason": "asked to"})
    assert erased.status_code == 204
    assert citizen.sees(made["tracking"])["text"] == ""
    items = centre.client.get(f"/api/incidents/{row['incident']}/timeline").json()["items"]
    assert items[0]["erased"]
    assert "噪声" not in json.dumps(items, ensure_ascii=False)


# ── other systems ────────────────────────────────────────────────────────────────────────────────────


def _signed(secret: str, body: bytes, at: float) -> dict[str, str]:
    stamp = str(int(at))
    mark = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "X-City-Timestamp": stamp,
        "X-City-Signature": f"sha256={mark}",
        "Content-Type": "application/json",
    }


def test_another_system_reports_by_its_signature(centre: Centre, citizen: Person) -> None:
    made = centre.client.post("/api/intake-systems", json={"code": "dcm", "name": "数字城管"})
    secret = made.json()["secret"]
    problem(centre.client.post("/api/intake-systems", json={"code": "dcm", "name": "x"}), 422, "taken")
    assert secret not in centre.client.get("/api/intake-systems").text
    body = json.dumps({"text": "占道", "external_id": "DCM-1", "cell": "C1", "category": "facility"}).encode()
    now = time.time()

    def send(code: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
        return citizen.post(f"/api/intake/{code}", content=content, headers=headers)

    first = send("dcm", body, _signed(secret, body, now))
    assert first.status_code == 201, first.text
    ((stored,),) = centre.execute("SELECT secret FROM intake_systems WHERE code = 'dcm'")
    assert secret not in str(stored)
    assert str(stored).startswith("~1.")
    again = send("dcm", body, _signed(secret, body, now))
    assert (again.status_code, again.json()["tracking"]) == (200, first.json()["tracking"])
    for code, content, headers in (
        ("dcm", body, _signed("wrong", body, now)),
        ("dcm", body + b" ", _signed(secret, body, now)),
        ("dcm", body, _signed(secret, body, now - 301)),
        ("dcm", body, {**_signed(secret, body, now), "X-City-Timestamp": "soon"}),
        ("dcm", body, {"Content-Type": "application/json"}),
        ("nobody", body, _signed(secret, body, now)),
    ):
        problem(send(code, content, headers), 401)
    assert centre.execute("SELECT sum(counted)::int FROM report_refusals WHERE reason = 'signature'") == [
        (6,)
    ]
    bare = json.dumps({"text": "占道"}).encode()
    problem(send("dcm", bare, _signed(secret, bare, now)), 422, "external_id")
    renewed = centre.client.post("/api/intake-systems/dcm/secret").json()["secret"]
    problem(send("dcm", body, _signed(secret, body, now)), 401)
    assert send("dcm", body, _signed(renewed, body, now)).status_code == 200
    centre.client.patch("/api/intake-systems/dcm", json={"active": False})
    problem(send("dcm", body, _signed(renewed, body, now)), 401)
    problem(citizen.get("/api/intake-systems"), 401)
