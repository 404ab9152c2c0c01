"""The flood desk on a real database through its routes: levels, warnings as CAP, tasks, duty log."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from lxml import etree
from websockets.sync.client import connect

from city.settings import Settings
from city.storage.changes import open_connection
from command_centre.flood import cap_xml, desk_loop
from tests.integration.running_centre import Centre, lay_ground, raise_alarm, running
from tests.servers.postgres import PostgresServer

FLOOD_GROUND = """
INSERT INTO categories (code, name, name_en, class, limit_minutes) VALUES
    ('flood', '汛情', 'Flood', 'B', 60), ('flood.evacuation', '人员转移', 'Evacuation', 'A', 120),
    ('flood.inspection', '防汛巡查', 'Flood inspection', 'B', 90),
    ('flood.waterlogging', '内涝', 'Waterlogging', 'B', 60)
    ON CONFLICT DO NOTHING;
INSERT INTO responsibilities (category, unit_id) SELECT 'flood', id FROM units WHERE code = 'U2';
UPDATE units SET tier = 'street' WHERE code = 'U2';  -- five steps: its work is not verified by others
UPDATE areas SET geometry = '{"type": "Polygon", "coordinates":
    [[[114.0, 22.5], [114.1, 22.5], [114.1, 22.6], [114.0, 22.6], [114.0, 22.5]]]}' WHERE code = 'C1';
UPDATE areas SET geometry = '{"type": "Polygon", "coordinates":
    [[[114.1, 22.5], [114.2, 22.5], [114.2, 22.6], [114.1, 22.6], [114.1, 22.5]]]}' WHERE code = 'C2';
"""
READ = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
    SELECT d.id, m.id, now() - %s::interval, now(), %s FROM devices d, metrics m WHERE d.code = %s AND m.code = %s
"""
HEARD = """
    INSERT INTO presence (device_id, last_heard_at) SELECT id, now() FROM devices WHERE code = %s
    ON CONFLICT (device_id) DO UPDATE SET last_heard_at = now()
"""

DRILL = """
    WITH d AS (
        INSERT INTO drills (name, reason, opened_at, opened_by, until)
        VALUES ('演练', 'x', now(), 'user:1', now() + interval '1 hour') RETURNING id)
    INSERT INTO drill_devices (drill_id, device_id) SELECT d.id, v.id FROM d, devices v WHERE v.code = 'W1'
"""


@contextmanager
def flooded(url: str) -> Iterator[Centre]:
    lay_ground(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FLOOD_GROUND.encode())
    with running(url) as made:
        yield made


@pytest.fixture
def centre(migrated_url: str) -> Iterator[Centre]:
    with flooded(migrated_url) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One centre for the tests that only draft or are refused: nothing is issued, ordered or written in the log."""
    name = postgres_server.create_database(template=postgres_template)
    with flooded(postgres_server.url(name)) as made:
        yield made
    postgres_server.drop_database(name)


@pytest.fixture
def api(centre: Centre) -> httpx.Client:
    return centre.client


@pytest.fixture(scope="session")
def schema(shared_data: Path) -> etree.XMLSchema:
    path = shared_data / "vectors" / "cap" / "CAP-v1.2.xsd"
    if not path.is_file():
        pytest.skip(f"no CAP schema at {path}")
    return etree.XMLSchema(etree.parse(path))


def ok(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["detail"]
    assert body["detail_zh"]
    return body


def level(centre: Centre, metres: float, ago: str = "0 s") -> None:
    centre.execute(READ, ago, metres, "W1", "level")
    centre.execute(HEARD, "W1")


def look(centre: Centre, now: datetime | None = None) -> None:
    """One round of the desk's loop, now or at another moment."""

    async def once() -> None:
        async with await open_connection(centre.url, "test", autocommit=True) as connection:
            while not await desk_loop.look(connection, Settings(_env_file=None), now or datetime.now(UTC)):
                await asyncio.sleep(0.05)  # the centre's own loop has the lock for this moment

    asyncio.run(once())


def soon(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


# ── response level ───────────────────────────────────────────────────────────────────────────────────


def test_rising_water_is_proposed_confirmed_and_on_the_record(centre: Centre, api: httpx.Client) -> None:
    quiet = ok(api.get("/api/flood/response"))
    assert (quiet["level"], quiet["proposal"], quiet["version"]) == (None, None, 0)
    level(centre, 2.0)
    look(centre)
    level(centre, 4.2)
    look(centre)
    look(centre)
    shown = ok(api.get("/api/flood/response"))
    proposal = shown["proposal"]
    assert (proposal["level"], proposal["open"]) == ("II", True)
    fired = {one["id"]: one for one in proposal["fired"]}
    assert set(fired) == {"stations-guaranteed", "stations-warning"}
    assert fired["stations-guaranteed"]["seen"][0]["value"] == 4.2
    assert fired["stations-guaranteed"]["seen"][0]["limit"] == 4.0
    assert centre.execute("SELECT count(*) FROM flood_proposals") == [(1,)]
    done = api.post(
        "/api/flood/response/confirm", json={"proposal": proposal["id"]}, headers={"If-Match": '"0"'}
    )
    body = ok(done)
    assert (body["level"], body["proposal"]["open"]) == ("II", False)
    assert done.headers["etag"] == f'"{body["version"]}"'
    assert centre.execute("SELECT response_level FROM district") == [("II",)]
    assert centre.execute("SELECT object FROM changes WHERE kind = 'flood.response'") == [("II",)]
    log = ok(api.get("/api/flood/duty-log"))["items"]
    assert [entry["kind"] for entry in log][:2] == ["response", "response"]
    assert "应急响应：未启动 → Ⅱ级" in log[0]["text"]
    # The centre's own first look may have written before it that the station was silent and came back.
    crossed = [entry["text_en"] for entry in log if entry["kind"] == "station"]
    assert crossed[0] == "W1 4.20 m: rose above the guaranteed level 4.00 m"


def test_more_water_for_the_same_level_is_a_proposal_but_no_entry(centre: Centre, api: httpx.Client) -> None:
    level(centre, 4.2)
    look(centre)
    centre.execute(
        "INSERT INTO incidents (number, state, class, category, reason, opened_at, due_at, head)"
        " VALUES ('x', 'filed', 'A', 'flood.reservoir', 'r', now(), now(), '\\x00')"
    )
    look(centre)
    proposals = centre.execute("SELECT level, jsonb_array_length(fired) FROM flood_proposals ORDER BY id")
    assert proposals == [("II", 2), ("II", 3)]
    log = ok(api.get("/api/flood/duty-log"))["items"]
    assert [entry["kind"] for entry in log].count("response") == 1


def test_a_person_may_decide_otherwise_with_a_reason(centre: Centre, api: httpx.Client) -> None:
    problem(api.post("/api/flood/response/set", json={"level": "V", "reason": "x"}), 422)
    assert (
        "reason"
        in problem(api.post("/api/flood/response/set", json={"level": "III", "reason": " "}), 422)["detail"]
    )
    first = ok(api.post("/api/flood/response/set", json={"level": "III", "reason": "台风"}))
    problem(api.post("/api/flood/response/set", json={"level": "III", "reason": "again"}), 409)
    stale = {"If-Match": f'"{first["version"] - 1}"'}
    problem(api.post("/api/flood/response/end", json={"reason": "over"}, headers=stale), 412)
    over = ok(
        api.post(
            "/api/flood/response/end", json={"reason": "雨停"}, headers={"If-Match": f'"{first["version"]}"'}
        )
    )
    assert over["level"] is None
    assert [(row["level"], row["action"], row["reason"]) for row in over["history"]] == [
        (None, "end", "雨停"), ("III", "set", "台风"),
    ]  # fmt: skip
    problem(api.post("/api/flood/response/end", json={"reason": "twice"}), 409)


def test_screens_show_a_new_level_at_once(centre: Centre, api: httpx.Client) -> None:
    with connect(centre.screens) as screen:
        seen: list[str | None] = []
        while not seen:
            frame = json.loads(screen.recv(timeout=60))
            if "district" in frame.get("set", {}):
                seen.append(frame["set"]["district"]["info"]["response_level"])
        ok(api.post("/api/flood/response/set", json={"level": "III", "reason": "r"}))
        while seen[-1] != "III":
            frame = json.loads(screen.recv(timeout=60))
            screen.send(json.dumps({"t": "ack", "seq": frame["seq"]}))
            if "district" in frame.get("set", {}):
                seen.append(frame["set"]["district"]["info"]["response_level"])
    assert seen == [None, "III"]


def test_only_the_newest_proposal_can_be_confirmed(centre: Centre, api: httpx.Client) -> None:
    problem(api.post("/api/flood/response/confirm", json={"proposal": 1}), 409)
    level(centre, 3.1)
    look(centre)
    old = ok(api.get("/api/flood/response"))["proposal"]["id"]
    level(centre, 5.5)
    look(centre)
    assert "newest" in problem(api.post("/api/flood/response/confirm", json={"proposal": old}), 409)["detail"]
    assert ok(api.get("/api/flood/response"))["level"] is None


def test_two_centres_look_and_one_writes(centre: Centre, api: httpx.Client) -> None:
    level(centre, 4.2)

    async def both() -> None:
        async def one() -> None:
            async with await open_connection(centre.url, "test", autocommit=True) as connection:
                await desk_loop.look(connection, Settings(_env_file=None), datetime.now(UTC))

        await asyncio.gather(*(one() for _ in range(4)))

    asyncio.run(both())
    look(centre)
    assert centre.execute("SELECT count(*) FROM flood_proposals") == [(1,)]


def test_the_same_key_changes_the_level_once(centre: Centre, api: httpx.Client) -> None:
    key = {"Idempotency-Key": "k1"}
    first = ok(api.post("/api/flood/response/set", json={"level": "IV", "reason": "r"}, headers=key))
    again = api.post("/api/flood/response/set", json={"level": "IV", "reason": "r"}, headers=key)
    assert ok(again) == first
    assert again.headers["idempotent-replayed"] == "true"
    problem(api.post("/api/flood/response/set", json={"level": "I", "reason": "r"}, headers=key), 422)


def test_history_cannot_be_rewritten(centre: Centre, api: httpx.Client) -> None:
    ok(api.post("/api/flood/response/set", json={"level": "IV", "reason": "r"}))
    ok(api.post("/api/flood/duty-log", json={"text": "接班"}), 201)
    for statement in (
        "UPDATE flood_responses SET level = 'I'",
        "DELETE FROM flood_responses",
        "UPDATE flood_duty_log SET text = 'x'",
        "DELETE FROM flood_duty_log",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation, match="only ever appended"):
            centre.execute(statement)


def test_rain_drills_and_silence(centre: Centre, api: httpx.Client) -> None:
    centre.execute("INSERT INTO metrics (code) VALUES ('rain')")
    centre.execute("INSERT INTO device_kinds (code, name, main_metric) VALUES ('rain', '雨量', 'rain')")
    centre.execute("INSERT INTO devices (code, kind) VALUES ('R1', 'rain')")
    for ago, mm in (
        ("10 min", 15.0),
        ("50 min", 20.0),
        ("2 hours", 20.0),
        ("5 hours", 60.0),
        ("25 hours", 500.0),
    ):
        centre.execute(READ, ago, mm, "R1", "rain")
    level(centre, 5.5)
    centre.execute(DRILL)
    look(centre)
    proposal = ok(api.get("/api/flood/response"))["proposal"]
    assert {one["id"] for one in proposal["fired"]} == {"rain-3h-50", "rain-24h-50", "rain-24h-100"}
    (three,) = [one for one in proposal["fired"] if one["id"] == "rain-3h-50"]
    assert three["seen"][0]["value"] == 55.0


def test_readings_nobody_believes_propose_nothing(centre: Centre, api: httpx.Client) -> None:
    level(centre, 2.0, "5 min")
    centre.execute(
        "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value, quality)"
        " SELECT d.id, m.id, now(), now(), 99, 32 FROM devices d, metrics m WHERE d.code = 'W1' AND m.code = 'level'"
    )
    look(centre)
    assert ok(api.get("/api/flood/response"))["proposal"] is None


def test_triggers_are_data_with_author_and_reason(centre: Centre, api: httpx.Client) -> None:
    answer = api.get("/api/flood/triggers")
    items = ok(answer)["items"]
    assert len(items) > 15
    assert all(item["source"] for item in items)
    tag = answer.headers["etag"]
    for item in items:
        if item["id"] == "stations-warning":
            item["enabled"] = False
        if item["id"] == "rain-3h-50":
            item["mm"] = 60.0
    sent = {"items": items, "reason": "本区管网标准"}
    problem(api.put("/api/flood/triggers", json=sent, headers={"If-Match": '"old"'}), 412)
    after = ok(api.put("/api/flood/triggers", json=sent, headers={"If-Match": tag}))["items"]
    versions = {item["id"]: item["version"] for item in after}
    assert (versions["rain-3h-50"], versions["stations-warning"], versions["rain-3h-100"]) == (2, 2, 1)
    assert centre.execute("SELECT reason FROM audit WHERE action = 'flood.triggers'") == [("本区管网标准",)]
    level(centre, 3.2)
    look(centre)
    assert ok(api.get("/api/flood/response"))["proposal"] is None
    wrong = {"items": [{**items[0], "count": 0}], "reason": "x"}
    fault = problem(api.put("/api/flood/triggers", json=wrong), 422)["errors"][0]
    assert fault["field"] == "count"
    assert len(ok(api.get("/api/flood/triggers"))["items"]) == len(items)


# ── warnings ─────────────────────────────────────────────────────────────────────────────────────────


def new(**changes: Any) -> dict[str, Any]:
    return {"colour": "orange", "areas": ["C1", "C2"], "expires": soon(hours=6), **changes}


def test_a_warning_from_draft_to_cancellation(
    centre: Centre, api: httpx.Client, schema: etree.XMLSchema
) -> None:
    level(centre, 4.25)
    draft = ok(
        api.post("/api/flood/warnings", json=new(stations=["W1"], description="水 <&> 位\n第二行")), 201
    )
    assert (draft["state"], draft["preview"]["problems"]) == ("draft", [])
    schema.assertValid(etree.fromstring(draft["preview"]["xml"].encode()))
    assert ok(centre.client.get("/api/flood/warnings"))["items"][0]["messages"] == []
    path = f"/api/flood/warnings/{draft['id']}"
    problem(api.post(f"{path}/update", json={"reason": "x"}), 409)
    assert "reason" in problem(api.post(f"{path}/issue", json={}), 422)["detail"]
    issued = ok(api.post(f"{path}/issue", json={"reason": "会商决定"}, headers={"If-Match": '"1"'}))
    assert (issued["state"], len(issued["messages"])) == ("issued", 1)
    problem(api.post(f"{path}/update", json={"reason": "x"}, headers={"If-Match": '"1"'}), 412)
    updated = ok(api.post(f"{path}/update", json={"reason": "水位上涨", "colour": "red"}))
    over = ok(api.post(f"{path}/cancel", json={"reason": "水位回落"}))
    assert (updated["colour"], over["state"], len(over["messages"])) == ("red", "cancelled", 3)
    problem(api.post(f"{path}/cancel", json={"reason": "x"}), 409)

    messages = []
    for sent in over["messages"]:
        answer = centre.stranger.get(sent["href"])
        assert answer.headers["content-type"] == "application/cap+xml"
        schema.assertValid(etree.fromstring(answer.content))
        messages.append(cap_xml.parse(answer.content))
        assert centre.execute(
            "SELECT sha256(%s) = sha256 FROM flood_warning_messages WHERE identifier = %s",
            answer.content, sent["identifier"],
        ) == [(True,)]  # fmt: skip
    alert, update, cancel = messages
    assert [one.message_type for one in messages] == ["Alert", "Update", "Cancel"]
    assert [one.status for one in messages] == ["Actual"] * 3
    assert alert.sent.utcoffset() == timedelta(hours=8)
    assert [one.identifier for one in cancel.references] == [alert.identifier, update.identifier]
    zh, en = update.infos
    assert (zh.language, en.language) == ("zh-CN", "en")
    assert (zh.severity, zh.urgency, zh.certainty, zh.categories) == (
        "Extreme",
        "Immediate",
        "Observed",
        ("Met",),
    )
    parameters = {one.name: one.value for one in zh.parameters}
    assert parameters["colour"] == "red"
    assert parameters["station.W1.level_m"] == "4.25"
    assert zh.description == "水 <&> 位\n第二行"
    assert "Red flood warning updated" in en.headline
    assert cancel.infos[0].responses == ("AllClear",)
    (area,) = zh.areas
    assert [one.value for one in area.geocodes] == ["C1", "C2"]
    ((*corners, last),) = area.polygons
    assert last == corners[0]
    assert {lat for lat, _ in corners} == {22.5, 22.6}
    with pytest.raises(psycopg.errors.RestrictViolation, match="only ever appended"):
        centre.execute("UPDATE flood_warning_messages SET reason = 'other'")
    log = ok(api.get("/api/flood/duty-log"))["items"]
    assert [entry["text"].split("：")[0] for entry in log] == ["解除预警", "更新预警", "发布预警"]


def test_the_newest_message_by_number_and_conditional_answers(centre: Centre, api: httpx.Client) -> None:
    draft = ok(api.post("/api/flood/warnings", json=new()), 201)
    path = f"/cap/{draft['id']}.xml"
    problem(centre.stranger.get(path), 404)
    ok(api.post(f"/api/flood/warnings/{draft['id']}/issue", json={"reason": "r"}))
    first = centre.stranger.get(path)
    tag = first.headers["etag"]
    assert centre.stranger.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert centre.stranger.get(path, headers={"If-None-Match": '"x", ' + tag}).status_code == 304
    assert centre.stranger.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    since = {"If-Modified-Since": first.headers["last-modified"]}
    assert centre.stranger.get(path, headers=since).status_code == 304
    ok(api.post(f"/api/flood/warnings/{draft['id']}/cancel", json={"reason": "r"}))
    second = centre.stranger.get(path)
    assert cap_xml.parse(second.content).message_type == "Cancel"
    assert centre.stranger.get(f"/cap/{cap_xml.parse(first.content).identifier}.xml").content == first.content
    problem(centre.stranger.get("/cap/99999999999999999999999.xml"), 404)
    problem(centre.stranger.get("/cap/a b.xml"), 422)


ATOM = {"a": "http://www.w3.org/2005/Atom"}


def test_the_feed_is_open_and_marks_exercises(centre: Centre, api: httpx.Client) -> None:
    empty = centre.stranger.get("/cap/feed.atom")
    assert empty.headers["content-type"] == "application/atom+xml"
    tree = etree.fromstring(empty.content)
    assert tree.findtext("a:updated", namespaces=ATOM)
    assert tree.findall("a:entry", namespaces=ATOM) == []
    real = ok(api.post("/api/flood/warnings", json=new()), 201)
    drill = ok(api.post("/api/flood/warnings", json=new(exercise=True)), 201)
    for one in (real, drill):
        ok(api.post(f"/api/flood/warnings/{one['id']}/issue", json={"reason": "r"}))
    answer = centre.stranger.get("/cap/feed.atom")
    tree = etree.fromstring(answer.content)
    entries = tree.findall("a:entry", namespaces=ATOM)
    titles = [entry.findtext("a:title", namespaces=ATOM) for entry in entries]
    assert ["演练" in title for title in titles] == [True, False]
    assert "演练 EXERCISE" in tree.findtext("a:title", namespaces=ATOM)
    updated = [entry.findtext("a:updated", namespaces=ATOM) for entry in entries]
    assert tree.findtext("a:updated", namespaces=ATOM) == max(updated)
    links = [entry.find("a:link", namespaces=ATOM).get("href") for entry in entries]
    assert links[0].startswith(centre.base)
    made = cap_xml.parse(centre.stranger.get(links[0]).content)
    assert (made.status, made.note[:2]) == ("Exercise", "演练")
    assert made.infos[1].headline.startswith("[EXERCISE] ")
    tag = {"If-None-Match": answer.headers["etag"]}
    assert centre.stranger.get("/cap/feed.atom", headers=tag).status_code == 304
    ids = [entry.findtext("a:id", namespaces=ATOM) for entry in entries]
    assert len(set(ids)) == len(ids)


def test_an_exercise_speaks_for_no_level(centre: Centre, api: httpx.Client) -> None:
    drill = ok(api.post("/api/flood/warnings", json=new(colour="red", exercise=True)), 201)
    ok(api.post(f"/api/flood/warnings/{drill['id']}/issue", json={"reason": "r"}))
    look(centre)
    assert ok(api.get("/api/flood/response"))["proposal"] is None
    listed = ok(api.get("/api/flood/warnings", params={"exercise": "false"}))["items"]
    assert listed == []
    log = ok(api.get("/api/flood/duty-log"))["items"]
    assert [entry["exercise"] for entry in log] == [True]
    real = ok(api.post("/api/flood/warnings", json=new(colour="yellow")), 201)
    ok(api.post(f"/api/flood/warnings/{real['id']}/issue", json={"reason": "r"}))
    look(centre)
    assert ok(api.get("/api/flood/response"))["proposal"]["level"] == "III"


HINDERED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"areas": ["NOWHERE"]}, "areas"),
    ({"stations": ["NOSTATION"]}, "areas"),
    ({"expires": "2020-01-01T00:00:00+08:00"}, "info[zh-CN].expires"),
    ({"expires": "2099-01-01T00:00:00+08:00"}, "expires"),
)


def test_a_draft_says_what_hinders_it_and_cannot_be_issued(undisturbed: Centre) -> None:
    for changed, field in HINDERED:
        draft = ok(undisturbed.client.post("/api/flood/warnings", json=new(**changed)), 201)
        assert draft["preview"]["problems"][0]["field"] == field
        refused = problem(
            undisturbed.client.post(f"/api/flood/warnings/{draft['id']}/issue", json={"reason": "r"}), 422
        )
        assert refused["errors"][0]["field"] == field
        assert refused["errors"][0]["remedy_zh"]
        assert ok(undisturbed.client.get(f"/api/flood/warnings/{draft['id']}"))["state"] == "draft"
        thrown = ok(
            undisturbed.client.post(f"/api/flood/warnings/{draft['id']}/cancel", json={"reason": "算了"})
        )
        assert (thrown["state"], thrown["messages"]) == ("cancelled", [])
    assert undisturbed.execute("SELECT count(*) FROM flood_warning_messages") == [(0,)]


NO_DRAFTS: tuple[dict[str, Any], ...] = (
    {"colour": "purple", "expires": "2026-11-22T08:00:00+08:00"},
    {"colour": "red"},
    {"colour": "red", "expires": "2026-11-22T08:00:00"},
    {"colour": "red", "expires": "2026-11-22T08:00:00+08:00", "headline": "水" * 161},
    {"colour": "red", "expires": "2026-11-22T08:00:00+08:00", "color": "red"},
)


def test_what_is_no_draft(undisturbed: Centre) -> None:
    for body in NO_DRAFTS:
        assert problem(undisturbed.client.post("/api/flood/warnings", json=body), 422)["errors"]


def test_no_real_warning_rests_on_what_a_drill_plays(centre: Centre, api: httpx.Client) -> None:
    level(centre, 4.5)
    centre.execute(DRILL)
    real = ok(api.post("/api/flood/warnings", json=new(stations=["W1"])), 201)
    assert [fault["field"] for fault in real["preview"]["problems"]] == ["stations"]
    problem(api.post(f"/api/flood/warnings/{real['id']}/issue", json={"reason": "r"}), 422)
    drill = ok(api.post("/api/flood/warnings", json=new(stations=["W1"], exercise=True)), 201)
    ok(api.post(f"/api/flood/warnings/{drill['id']}/issue", json={"reason": "r"}))


def test_a_warning_ends_by_itself_after_a_reminder(centre: Centre, api: httpx.Client) -> None:
    draft = ok(api.post("/api/flood/warnings", json=new(expires=soon(hours=2))), 201)
    ok(api.post(f"/api/flood/warnings/{draft['id']}/issue", json={"reason": "r"}))
    kinds = "SELECT kind FROM changes WHERE kind LIKE 'flood.warning.exp%%' ORDER BY id"
    look(centre)
    assert centre.execute(kinds) == []
    for _ in range(2):
        look(centre, datetime.now(UTC) + timedelta(minutes=100))
    assert centre.execute(kinds) == [("flood.warning.expiring",)]
    for _ in range(2):
        look(centre, datetime.now(UTC) + timedelta(minutes=121))
    assert centre.execute(kinds) == [("flood.warning.expiring",), ("flood.warning.expired",)]
    assert ok(api.get(f"/api/flood/warnings/{draft['id']}"))["state"] == "expired"
    problem(api.post(f"/api/flood/warnings/{draft['id']}/update", json={"reason": "r"}), 409)


def test_a_warning_for_the_whole_district_has_its_outline(undisturbed: Centre) -> None:
    draft = ok(undisturbed.client.post("/api/flood/warnings", json=new(areas=[])), 201)
    made = cap_xml.parse(draft["preview"]["xml"].encode())
    (area,) = made.infos[0].areas
    assert (area.description, [one.name for one in area.geocodes]) == ("示范区", ["GB/T 2260"])
    assert area.polygons


# ── evacuation ───────────────────────────────────────────────────────────────────────────────────────


def ordered(api: httpx.Client, **changes: Any) -> dict[str, Any]:
    body = {
        "kind": "evacuate", "cells": [{"cell": "C1", "to_move": 12}, {"cell": "C2", "to_move": 3}],
        "reason": "河水漫堤", "deadline": soon(hours=2), **changes,
    }  # fmt: skip
    return ok(api.post("/api/flood/tasks", json=body), 201)


def test_each_cell_gets_an_incident_with_unit_and_deadline(centre: Centre, api: httpx.Client) -> None:
    items = ordered(api)["items"]
    assert [(one["cell"], one["to_move"], one["remaining"], one["unit"]) for one in items] == [
        ("C1", 12, 12, "U2"), ("C2", 3, 3, "U2"),
    ]  # fmt: skip
    incident = ok(api.get(f"/api/incidents/{items[0]['incident']}"))
    assert (incident["category"], incident["state"], incident["class"]) == (
        "flood.evacuation",
        "dispatched",
        "A",
    )
    assert incident["due_at"] == items[0]["deadline"]
    assert "转移12人" in incident["reason"]
    assert "Move 12 people" in incident["reason_en"]
    again = api.post("/api/flood/tasks", json={
        "kind": "evacuate", "cells": [{"cell": "C1", "to_move": 12}], "reason": "again",
    })  # fmt: skip
    problem(again, 409)
    both = ordered(api, cells=[{"cell": "C1", "to_move": 5}, {"cell": "C3", "to_move": 5}])
    assert [one["cell"] for one in both["items"]] == ["C3"]
    assert [one["cell"] for one in both["skipped"]] == ["C1"]
    totals = ok(api.get("/api/flood/tasks"))["totals"]
    assert (totals["district"]["tasks"], totals["district"]["remaining"]) == (3, 20)
    assert [(one["code"], one["to_move"]) for one in totals["streets"]] == [("S1", 20)]


def test_two_dispatchers_order_one_cell_once(centre: Centre, api: httpx.Client) -> None:
    sent = {"kind": "evacuate", "cells": [{"cell": "C1", "to_move": 5}], "reason": "r"}

    async def both() -> list[int]:
        async with httpx.AsyncClient(base_url=centre.base, headers=api.headers, timeout=60) as client:
            answers = await asyncio.gather(*(client.post("/api/flood/tasks", json=sent) for _ in range(4)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(both()) == [201, 409, 409, 409]
    assert centre.execute("SELECT count(*) FROM flood_tasks") == [(1,)]
    assert centre.execute("SELECT count(*) FROM incidents WHERE category = 'flood.evacuation'") == [(1,)]


def test_progress_counts_people_until_nobody_remains(centre: Centre, api: httpx.Client) -> None:
    task = ordered(api)["items"][0]
    path = f"/api/flood/tasks/{task['id']}/progress"
    half = ok(api.post(path, json={"moved": 7, "note": "老人优先"}, headers={"If-Match": '"1"'}))
    assert (half["remaining"], half["suggestion"]) == (5, None)
    problem(api.post(path, json={"moved": 8}, headers={"If-Match": '"1"'}), 412)
    for body, field in (
        ({"moved": -1}, "moved"),
        ({"moved": 6}, "moved"),
        ({"moved": 13}, "moved"),
        ({"to_move": 20}, "to_move"),
        ({"refused": 6}, "refused"),
        ({"done": True}, "done"),
    ):
        assert problem(api.post(path, json=body), 422)["errors"][0]["field"] == field
    ok(api.post(f"/api/incidents/{task['incident']}/handle", json={"comment": "正在转移"}))
    refused = problem(api.post(f"/api/incidents/{task['incident']}/archive", json={}), 409)
    assert "5 people are still to be moved" in refused["detail"]
    more = ok(api.post(path, json={"to_move": 13, "refused": 2, "reason": "新发现一人"}))
    assert (more["remaining"], more["refused"]) == (6, 2)
    done = ok(api.post(path, json={"moved": 12, "absent": 1}))
    assert (done["remaining"], done["refused"], len(done["reports"])) == (0, 0, 3)
    assert done["done_at"]
    kinds = [event["kind"] for event in ok(api.get(f"/api/incidents/{task['incident']}/timeline"))["items"]]
    assert kinds.count("task_reported") == 3
    assert "task_done" in kinds
    assert ok(api.post(f"/api/incidents/{task['incident']}/archive", json={}))["state"] == "archived"
    problem(api.post(path, json={"moved": 13}), 409)
    assert any("转移完成" in entry["text"] for entry in ok(api.get("/api/flood/duty-log"))["items"])


def test_when_done_the_desk_is_told_to_handle_it(centre: Centre, api: httpx.Client) -> None:
    task = ordered(api)["items"][1]
    done = ok(api.post(f"/api/flood/tasks/{task['id']}/progress", json={"moved": 3}))
    assert done["suggestion"]["href"] == f"/api/incidents/{task['incident']}/handle"
    assert ok(api.get("/api/flood/tasks", params={"state": "done"}))["totals"]["district"]["moved"] == 3


def test_who_remains_is_archived_only_with_a_reason(centre: Centre, api: httpx.Client) -> None:
    task = ordered(api)["items"][0]
    ok(api.post(f"/api/incidents/{task['incident']}/handle", json={"comment": "水退"}))
    problem(api.post(f"/api/incidents/{task['incident']}/archive", json={}), 409)
    ok(api.post(f"/api/incidents/{task['incident']}/archive", json={"reason": "水已退，无需转移"}))


def test_headcounts_come_from_the_streets_list(centre: Centre, api: httpx.Client) -> None:
    text = '\ufeffcell,to_move,note\r\nC1,40,"一楼, 老人"\r\nC2,0,\r\n'
    listed = ok(api.put("/api/flood/headcounts", content=text.encode()))["items"]
    assert [(one["cell"], one["to_move"]) for one in listed] == [("C1", 40), ("C2", 0)]
    made = ordered(api, cells=[], areas=["S1"])
    assert [(one["cell"], one["to_move"]) for one in made["items"]] == [("C1", 40)]
    assert {one["cell"] for one in made["skipped"]} == {"C2", "C3", "C4"}
    missing = problem(
        api.post("/api/flood/tasks", json={"kind": "evacuate", "cells": ["C3"], "reason": "r"}), 422
    )
    assert "to_move is missing" in missing["detail"]
    for wrong, said in (
        ("cell,people\nC1,2\n", "unknown or missing"),
        ("cell,to_move\nC1,-2\n", "whole number"),
        ("cell,to_move\nC1,1\nC1,2\n", "stands twice"),
        ("cell,to_move\nC9,1\n", "no cell of this district"),
    ):
        assert said in problem(api.put("/api/flood/headcounts", content=wrong.encode()), 422)["detail"]
    problem(api.put("/api/flood/headcounts", content="cell,to_move\nC1,1".encode("utf-16")), 422)


def test_an_inspection_is_done_when_the_round_was_made(centre: Centre, api: httpx.Client) -> None:
    task = ordered(api, kind="inspect", cells=["C1", "C2"], deadline=None)["items"][0]
    assert (task["to_move"], task["remaining"]) == (0, 0)
    assert task["done_at"] is None
    incident = ok(api.get(f"/api/incidents/{task['incident']}"))
    opened, due = (datetime.fromisoformat(incident[name]) for name in ("opened_at", "due_at"))
    assert due - opened == timedelta(minutes=90)
    path = f"/api/flood/tasks/{task['id']}/progress"
    problem(api.post(path, json={"moved": 1}), 422)
    assert ok(api.post(path, json={"note": "堤脚渗水"}))["done_at"] is None
    assert ok(api.post(path, json={"done": True}))["done_at"]


def test_a_drills_tasks_stand_apart(centre: Centre, api: httpx.Client) -> None:
    drill = ordered(api, exercise=True)["items"]
    assert ok(api.get("/api/flood/tasks"))["items"] == []
    assert len(ok(api.get("/api/flood/tasks", params={"exercise": "true"}))["items"]) == 2
    assert ok(api.get(f"/api/incidents/{drill[0]['incident']}"))["exercise"] is True
    assert len(ordered(api)["items"]) == 2


NO_ORDERS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"cells": ["NOWHERE"]}, "cells"),
    ({"cells": []}, "cells"),
    ({"cells": ["S1"]}, "cells"),
    ({"cells": ["C1"], "deadline": "2020-01-01T00:00:00Z"}, "deadline"),
    ({"cells": ["C1"], "reason": ""}, "reason"),
    ({"cells": ["C1", "C1"]}, "cells"),
    ({"kind": "fly", "cells": ["C1"]}, "kind"),
    ({"cells": [{"cell": "C1", "to_move": 1}]}, "to_move"),
)


def test_an_order_that_cannot_be_opens_nothing(undisturbed: Centre) -> None:
    for body, field in NO_ORDERS:
        sent = {"kind": "inspect", "reason": "r", **body}
        assert (
            problem(undisturbed.client.post("/api/flood/tasks", json=sent), 422)["errors"][0]["field"]
            == field
        )
    assert undisturbed.execute("SELECT count(*) FROM incidents WHERE category LIKE 'flood%%'") == [(0,)]


def test_rising_water_opens_its_own_incident_beside_an_evacuation(centre: Centre, api: httpx.Client) -> None:
    (task,) = ordered(api, cells=[{"cell": "C3", "to_move": 4}])["items"]
    alarm = raise_alarm(centre, "W1", "flood.level")
    found: list[tuple[object, ...]] = []
    while not found:
        found = centre.execute("SELECT incident_id FROM alarms WHERE id = %s AND triage = 'done'", alarm)
    assert found[0][0] != task["incident"]


# ── duty log ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_log_is_corrected_by_appending_and_pages(centre: Centre, api: httpx.Client) -> None:
    key = {"Idempotency-Key": "shift-1"}
    first = ok(api.post("/api/flood/duty-log", json={"text": "接班，水位 3.1"}, headers=key), 201)
    assert ok(api.post("/api/flood/duty-log", json={"text": "接班，水位 3.1"}, headers=key), 201) == first
    fixed = ok(api.post("/api/flood/duty-log", json={"text": "应为 2.1", "refers_to": first["id"]}), 201)
    assert (fixed["kind"], fixed["refers_to"]) == ("correction", first["id"])
    assert fixed["shift"].split()[1] in ("白班", "夜班")
    problem(api.post("/api/flood/duty-log", json={"text": "x", "refers_to": 10_000}), 422)
    problem(api.post("/api/flood/duty-log", json={"text": "  "}), 422)
    problem(api.post("/api/flood/duty-log", json={"text": "a\u0000b"}), 422)
    page = ok(api.get("/api/flood/duty-log", params={"limit": 1}))
    rest = ok(api.get("/api/flood/duty-log", params={"limit": 1, "cursor": page["next"]}))
    assert [page["items"][0]["id"], rest["items"][0]["id"], rest["next"]] == [fixed["id"], first["id"], None]
    none = ok(api.get("/api/flood/duty-log", params={"to": "2020-01-01T00:00:00Z"}))
    assert none["items"] == []
    problem(api.get("/api/flood/duty-log", params={"from": soon(hours=1), "to": soon(hours=0)}), 422)


def test_the_log_as_a_table_is_in_order_and_no_formula(centre: Centre, api: httpx.Client) -> None:
    for text in ("第一", '=HYPERLINK("http://x")', "-2+3", '含逗号, 引号" 和\n换行'):
        ok(api.post("/api/flood/duty-log", json={"text": text}), 201)
    answer = api.get("/api/flood/duty-log", params={"format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    texts = [row[4] for row in rows[1:]]
    assert texts == ["第一", '\'=HYPERLINK("http://x")', "'-2+3", '含逗号, 引号" 和\n换行']
    assert rows[1][1].endswith("+08:00")


def test_strangers_read_warnings_and_nothing_else(undisturbed: Centre) -> None:
    assert undisturbed.stranger.get("/cap/feed.atom").status_code == 200
    for path in ("response", "warnings", "tasks", "duty-log", "triggers", "headcounts"):
        problem(undisturbed.stranger.get(f"/api/flood/{path}"), 401)
