"""Rules as managed data over HTTP: drafts, checks, activation, rollback, the whole set as one file, who may."""

import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from command_centre import accounts
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

Json = dict[str, Any]


def smoke(**changes: object) -> Json:
    definition: Json = {
        "type": "threshold", "name": "烟雾", "name_en": "Smoke", "kind": "smoke", "metric": "smoke", "raise_at": 70,
        "clear_at": 60, "category": "fire.smoke", "class": "A", "level": "red",
    }  # fmt: skip
    return {key: value for key, value in (definition | changes).items() if value is not None}


@pytest.fixture(scope="module")
def served(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One centre for all tests of this file."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        made.execute("UPDATE metrics SET unit = CASE code WHEN 'smoke' THEN '%%' ELSE 'm' END")
        yield made


@pytest.fixture
def centre(served: Centre) -> Centre:
    """It, as if there had never been a rule."""
    with psycopg.connect(served.url) as connection:
        connection.execute("SET session_replication_role = replica")  # what is only ever appended goes too
        for table in ("rule_history", "rule_states", "rules", "audit", "changes"):
            connection.execute(f"DELETE FROM {table}".encode())
    return served


@pytest.fixture
def api(centre: Centre) -> httpx.Client:
    return centre.client


def problem(answer: httpx.Response, status: int) -> Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: Json = answer.json()
    assert body["detail"]
    assert body["detail_zh"]
    return body


def put(
    api: httpx.Client, definition: Json, *, rule: str = "smoke-high", tag: str | None = None
) -> httpx.Response:
    headers = {"If-Match": tag} if tag else {}
    return api.put(f"/api/rules/{rule}", json={"definition": definition, "reason": "test"}, headers=headers)


def activate(api: httpx.Client, version: int, *, rule: str = "smoke-high", **more: object) -> httpx.Response:
    body = {"version": version, "reason": "in force", **more}
    return api.post(f"/api/rules/{rule}/activate", json=body)


def in_force(api: httpx.Client) -> dict[str, int]:
    return {item["id"]: item["version"] for item in api.get("/api/rules").json()["items"]}


def test_from_a_draft_to_force_and_back(centre: Centre, api: httpx.Client) -> None:
    made = put(api, smoke())
    assert (made.status_code, made.json()["change"], made.json()["state"]) == (201, "new", "draft")
    assert made.json()["problems"] == []
    assert in_force(api) == {}, "a draft changes nothing"
    assert [item["id"] for item in api.get("/api/rules?state=draft").json()["items"]] == ["smoke-high"]
    assert activate(api, 1).json()["state"] == "active"
    rule = api.get("/api/rules/smoke-high")
    assert rule.headers["etag"] == '"1"'
    edited = put(api, smoke(raise_at=80), tag=rule.headers["etag"])
    assert (edited.status_code, edited.json()["version"], edited.headers["etag"]) == (200, 2, '"1"')
    assert in_force(api) == {"smoke-high": 1}
    assert activate(api, 2).json() == {
        "id": "smoke-high", "change": "changed", "version": 2, "before": 1, "state": "active", "problems": [],
    }  # fmt: skip
    back = api.post("/api/rules/smoke-high/rollback", json={"version": 1, "reason": "too many missed"})
    assert (back.status_code, back.headers["etag"]) == (200, '"1"')
    assert in_force(api) == {"smoke-high": 1}
    assert api.post("/api/rules/smoke-high/retire", json={"reason": "gone"}).json()["version"] is None
    assert in_force(api) == {}
    history = api.get("/api/rules/smoke-high").json()["history"]
    assert [(move["action"], move["from_version"], move["to_version"], move["reason"]) for move in history] == [
        ("retire", 1, None, "gone"), ("rollback", 2, 1, "too many missed"), ("activate", 1, 2, "in force"),
        ("activate", None, 1, "in force"),
    ]  # fmt: skip
    versions = api.get("/api/rules/smoke-high/versions").json()["items"]
    assert [(one["version"], one["state"], one["based_on"], one["author"]) for one in versions] == [
        (2, "retired", 1, "api-token"), (1, "retired", None, "api-token"),
    ]  # fmt: skip
    assert [row[0] for row in centre.execute("SELECT action FROM audit WHERE object = 'smoke-high' ORDER BY id")] == [
        "rule.draft", "rule.activate", "rule.draft", "rule.activate", "rule.rollback", "rule.retire",
    ]  # fmt: skip
    assert centre.execute("SELECT count(*) FROM changes WHERE kind = 'rule.changed'") == [(4,)]


def test_a_second_hand_is_told(api: httpx.Client) -> None:
    put(api, smoke())
    activate(api, 1)
    assert "If-Match" in problem(put(api, smoke(raise_at=80)), 428)["detail"]
    assert "version 1" in problem(put(api, smoke(raise_at=80), tag='"7"'), 412)["detail"]
    problem(put(api, smoke(raise_at=80), tag='"abc"'), 422)
    problem(put(api, smoke(), rule="no-such", tag='"1"'), 404)
    assert put(api, smoke(raise_at=80), tag='"1"').json()["version"] == 2
    assert put(api, smoke(raise_at=90), tag="*").json()["version"] == 3, "two drafts stand beside each other"
    (waiting,) = api.get("/api/rules?state=draft").json()["items"]
    assert (waiting["id"], waiting["version"], waiting["state"], waiting["drafts"]) == (
        "smoke-high",
        3,
        "draft",
        2,
    )
    activate(api, 2)
    stale = problem(activate(api, 3), 422)
    assert [(one["key"], one["severity"]) for one in stale["problems"]] == [("based_on", "warning")]
    moved = api.post("/api/rules/smoke-high/retire", json={"reason": "x"}, headers={"If-Match": '"1"'})
    problem(moved, 412)
    assert activate(api, 3, accept_warnings=True).status_code == 200
    assert api.get("/api/rules?state=draft").json()["items"] == []


def test_what_changes_nothing_makes_no_version(api: httpx.Client) -> None:
    put(api, smoke())
    activate(api, 1)
    again = put(api, smoke(), tag='"1"')
    assert (again.status_code, again.json()["change"], again.json()["version"]) == (200, "unchanged", 1)
    assert activate(api, 1).json()["change"] == "unchanged"
    for _ in range(2):
        assert put(api, smoke(raise_at=80), tag='"1"').json()["version"] == 2, "the same draft twice is one"
    assert len(api.get("/api/rules/smoke-high").json()["history"]) == 1


def test_a_diff_key_by_key_and_as_a_file(api: httpx.Client) -> None:
    put(api, smoke())
    activate(api, 1)
    put(api, smoke(raise_at=80, deadband=5, clear_at=None), tag='"1"')
    diff = api.get("/api/rules/smoke-high/diff").json()
    assert (diff["from"], diff["to"]) == (1, 2)
    assert diff["keys"] == [
        {"key": "clear_at", "before": 60, "after": None},
        {"key": "deadband", "before": None, "after": 5},
        {"key": "raise_at", "before": 70, "after": 80},
    ]
    assert "-raise_at = 70\n+raise_at = 80\n" in diff["toml"].replace("-clear_at = 60\n", "")
    assert api.get("/api/rules/smoke-high/diff?from=2&to=2").json()["keys"] == []
    problem(api.get("/api/rules/smoke-high/diff?from=9"), 404)
    problem(api.get("/api/rules/no-such/diff"), 404)


NEVER: list[tuple[Json, str]] = [
    ({"metric": "smok"}, "metric"), ({"kind": "smokes"}, "kind"), ({"category": "fire.x"}, "category"),
    ({"raise_at": 170}, "raise_at"), ({"raise_at": 0, "clear_at": None}, "raise_at"),
    ({"clear_at": None, "deadband": 70}, "deadband"), ({"scope": {"cells": ["C9"]}}, "scope.cells"),
    ({"scope": {"devices": ["D99"]}}, "scope.devices"), ({"scope": {"streets": ["S9"]}}, "scope.streets"),
]  # fmt: skip


def test_what_would_never_work_is_kept_out_of_force(api: httpx.Client) -> None:
    for number, (changes, key) in enumerate(NEVER):
        rule = f"never-{number}"
        assert put(api, smoke(**changes), rule=rule).status_code == 201
        refused = problem(activate(api, 1, rule=rule, accept_warnings=True), 422)
        assert key in {one["key"] for one in refused["problems"] if one["severity"] == "error"}
        assert all(one["remedy"] and one["remedy_zh"] and one["text_zh"] for one in refused["problems"])
        checked = api.post(f"/api/rules/{rule}/validate").json()
        assert checked["ok"] is False
        assert [one["key"] for one in checked["problems"]] == [one["key"] for one in refused["problems"]]
    assert in_force(api) == {}


def test_a_definition_that_cannot_be_read_is_no_draft(api: httpx.Client) -> None:
    assert "raise_att" in problem(put(api, smoke(raise_att=3)), 422)["detail"]
    assert "missing" in problem(put(api, smoke(level=None)), 422)["detail"]
    problem(put(api, smoke(), rule="Smoke_High"), 422)
    problem(put(api, {}), 422)
    problem(api.put("/api/rules/smoke-high", json={"definition": smoke(), "reason": "  "}), 422)
    assert api.get("/api/rules?state=all").json()["items"] == []


def test_a_warning_has_to_be_accepted(api: httpx.Client) -> None:
    put(api, smoke(scope={"models": ["X-9"]}))
    assert {one["severity"] for one in problem(activate(api, 1), 422)["problems"]} == {"warning"}
    assert activate(api, 1, accept_warnings=True).json()["state"] == "active"


def test_a_rule_in_force_that_cannot_be_read_is_named_and_hinders_no_mending(
    centre: Centre, api: httpx.Client
) -> None:
    centre.execute(
        "INSERT INTO rules (id, version, definition, active) VALUES ('old', 1, '{\"type\": \"x\"}', true)"
    )
    put(api, smoke())
    (said,) = problem(activate(api, 1), 422)["problems"]
    assert (said["rule"], said["severity"]) == ("old", "warning")
    assert activate(api, 1, accept_warnings=True).status_code == 200
    assert put(api, smoke(scope={"cells": ["C1"]}), rule="old", tag='"1"').json()["version"] == 2
    assert activate(api, 2, rule="old").status_code == 200


def test_two_rules_for_one_condition_are_refused(api: httpx.Client) -> None:
    put(api, smoke())
    activate(api, 1)
    put(api, smoke(level="orange"), rule="smoke-again")
    refused = problem(activate(api, 1, rule="smoke-again"), 422)
    assert "smoke-high" in refused["problems"][0]["text"]
    put(api, smoke(level="orange", family="smoke-high", scope={"cells": ["C1"]}), rule="smoke-again", tag="*")
    assert activate(api, 2, rule="smoke-again").status_code == 200


def test_an_export_is_an_import(api: httpx.Client) -> None:
    put(api, smoke())
    activate(api, 1)
    put(
        api,
        smoke(raise_at=3, clear_at=2, kind="water", metric="level", category="flood.level"),
        rule="water-3",
    )
    activate(api, 1, rule="water-3")
    exported = api.get("/api/rules.toml")
    assert exported.headers["content-type"] == "application/toml; charset=utf-8"
    assert [table["id"] for table in tomllib.loads(exported.text)["rule"]] == ["smoke-high", "water-3"]
    assert api.get("/api/rules.toml", headers={"If-None-Match": exported.headers["etag"]}).status_code == 304
    same = api.put("/api/rules.toml?reason=again&activate=1&replace=1", content=exported.content)
    assert {item["change"] for item in same.json()["items"]} == {"unchanged"}
    changed = exported.text.replace("raise_at = 70", "raise_at = 75").split('\n[[rule]]\nid = "water')[0]
    drafts = api.put("/api/rules.toml?reason=less", content=changed).json()
    assert [(item["id"], item["change"], item["state"]) for item in drafts["items"]] == [
        ("smoke-high", "changed", "draft")
    ]
    assert in_force(api) == {"smoke-high": 1, "water-3": 1}
    forced = api.put("/api/rules.toml?reason=less&activate=1&replace=1", content=changed).json()
    assert [(item["id"], item["change"], item["version"]) for item in forced["items"]] == [
        ("smoke-high", "changed", 2), ("water-3", "retired", None),
    ]  # fmt: skip
    assert api.get("/api/rules.toml").text == changed
    back = {"url": "/api/rules.toml?reason=back&activate=1", "content": exported.content}
    problem(api.put(**back, headers={"If-Match": exported.headers["etag"]}), 412)
    now = api.get("/api/rules.toml").headers["etag"]
    assert api.put(**back, headers={"If-Match": now}).status_code == 200
    assert api.get("/api/rules.toml").content == exported.content


def test_what_is_listed_can_be_changed_and_put_back(api: httpx.Client) -> None:
    put(api, smoke())
    activate(api, 1)
    listed = api.get("/api/rules").json()["items"]
    same = api.put("/api/rules", json={"items": listed, "reason": "same", "activate": True})
    assert [item["change"] for item in same.json()["items"]] == ["unchanged"]
    listed[0]["definition"]["raise_at"] = 80
    body = {"items": [*listed, {"id": "smoke-late", "definition": smoke(raise_at=90, level="orange")}]}
    changed = api.put("/api/rules", json={**body, "reason": "more", "activate": True})
    assert in_force(api) == {"smoke-high": 2, "smoke-late": 1}, changed.text
    gone = api.put("/api/rules", json={"items": [], "reason": "less", "activate": True, "replace": True})
    assert {item["change"] for item in gone.json()["items"]} == {"retired"}
    assert in_force(api) == {}
    twice = {"items": [*listed, *listed], "reason": "x"}
    problem(api.put("/api/rules", json=twice), 422)
    problem(
        api.put("/api/rules", json={"items": [{"id": "a", "definition": {"type": [None]}}], "reason": "x"}),
        422,
    )
    problem(api.put("/api/rules", json={"items": []}), 422)


def test_a_file_comes_in_whole_or_not_at_all(centre: Centre, api: httpx.Client) -> None:
    def rule(name: str, **changes: object) -> str:
        keys = {"id": name, **smoke(**changes)}
        return "[[rule]]\n" + "".join(f"{key} = {value!r}\n" for key, value in keys.items())

    good, never = rule("smoke-high"), rule("smoke-never", raise_at=300, clear_at=60)
    refused = problem(api.put("/api/rules.toml?reason=x&activate=1", content=(good + never).encode()), 422)
    assert {one["rule"] for one in refused["problems"]} == {"smoke-never"}
    for body in (good + "[[rule]]\n", good + "[[rule]", good + good, "\xff"):
        raw = body.encode("latin-1") if body == "\xff" else body.encode()
        problem(api.put("/api/rules.toml?reason=x", content=raw), 422)
    problem(api.put("/api/rules.toml", content=good.encode()), 422)
    assert centre.execute("SELECT count(*) FROM rules") == [(0,)]
    assert centre.execute("SELECT count(*) FROM audit WHERE starts_with(action, 'rule.')") == [(0,)]


def test_the_list_says_what_people_ask_of_a_rule(centre: Centre, api: httpx.Client) -> None:
    put(api, smoke(scope={"cells": ["C1"]}))
    activate(api, 1)
    centre.execute(
        "INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, evidence)"
        " SELECT 'smoke-high', 1, id, 'fire.smoke', 'red', now(), '{}' FROM devices WHERE code IN ('D1', 'D2')"
    )
    (item,) = api.get("/api/rules").json()["items"]
    wanted = {
        "id": "smoke-high", "version": 1, "name": "烟雾", "name_en": "Smoke", "type": "threshold", "kinds": ["smoke"],
        "scope": {"cells": ["C1"]}, "category": "fire.smoke", "class": "A", "level": "red", "open_alarms": 2,
        "drafts": 0, "last_action": "activate", "last_action_by": "api-token", "state": "active",
    }  # fmt: skip
    assert {key: item[key] for key in wanted} == wanted
    assert item["last_action_at"]
    put(api, smoke(), rule="smoke-two")
    page = api.get("/api/rules?state=all&limit=1").json()
    assert [one["id"] for one in page["items"]] == ["smoke-high"]
    rest = api.get("/api/rules", params={"state": "all", "cursor": page["next"]}).json()
    assert ([one["id"] for one in rest["items"]], rest["next"]) == (["smoke-two"], None)


def test_viewers_read_and_only_administrators_change(centre: Centre, api: httpx.Client) -> None:
    put(api, smoke())
    for role, may in (("viewer", 403), ("dispatcher", 403), ("administrator", 428)):
        accounts.reset(centre.url, role, actor="test", create=True, role=role)
        with psycopg.connect(centre.url, autocommit=True) as connection:
            connection.execute(
                "UPDATE users SET must_change = false, password_hash = %s WHERE name = %s",
                (accounts.hash_password("a long enough one"), role),
            )
        with httpx.Client(base_url=centre.base, timeout=60) as client:
            entered = client.post("/api/session", json={"name": role, "password": "a long enough one"})
            assert entered.status_code == 200, entered.text
            assert client.get("/api/rules/smoke-high").status_code == 200
            assert client.get("/api/rules.toml").status_code == 200
            assert client.post("/api/rules/smoke-high/validate").status_code == 200
            problem(put(client, smoke(raise_at=80)), may)
            if may == 403:
                problem(activate(client, 1), 403)
                problem(client.post("/api/rules/smoke-high/retire", json={"reason": "x"}), 403)
                problem(client.put("/api/rules.toml?reason=x", content=b""), 403)


def test_a_version_is_never_rewritten_and_history_never_erased(centre: Centre, api: httpx.Client) -> None:
    put(api, smoke())
    activate(api, 1)
    for statement in (
        "UPDATE rules SET definition = '{}'", "UPDATE rules SET created_by = 'x'", "UPDATE rules SET version = 4",
        "UPDATE rule_history SET reason = ''", "DELETE FROM rule_history",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.RestrictViolation):
            centre.execute(statement)
    with pytest.raises(psycopg.errors.UniqueViolation):
        centre.execute(
            "INSERT INTO rules (id, version, definition, active) VALUES ('smoke-high', 2, '{}', true)"
        )


def test_a_draft_makes_no_process_read_its_register_again(centre: Centre, api: httpx.Client) -> None:
    def version() -> object:
        return centre.execute("SELECT coalesce(sum(version), 0) FROM register_versions")[0][0]

    before = version()
    put(api, smoke())
    assert version() == before
    activate(api, 1)
    assert version() != before


def test_many_hands_at_once_leave_one_version_in_force(centre: Centre, api: httpx.Client) -> None:
    put(api, smoke())

    def work(hand: int) -> set[int]:
        with httpx.Client(base_url=centre.base, headers=api.headers, timeout=60) as client:
            made = put(client, smoke(raise_at=71 + hand), tag="*").json()["version"]
            return {made, activate(client, made, accept_warnings=True).status_code}

    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(work, range(6)))
    assert all(200 in one for one in ended)
    versions = api.get("/api/rules/smoke-high/versions").json()["items"]
    assert sorted(one["version"] for one in versions) == list(range(1, 8))
    assert [one["state"] for one in versions].count("active") == 1
    moves = api.get("/api/rules/smoke-high").json()["history"][::-1]
    assert [move["from_version"] for move in moves] == [None, *(move["to_version"] for move in moves[:-1])]
