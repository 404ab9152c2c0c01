"""One action on many rows over HTTP: each by itself, each with its outcome, none twice."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from command_centre.api.bulk import BulkAnswer
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.integration.test_alarm_api import get, in_hours, person, triaged
from tests.integration.test_api import problem
from tests.servers.postgres import PostgresServer

_devices = iter(range(1, 21))


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One for all tests here; each alarms detectors of its own."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


@pytest.fixture(scope="module")
def dispatcher(centre: Centre) -> Iterator[httpx.Client]:
    with closing(person(centre, "dispatcher")) as client:
        yield client


def alarmed(centre: Centre, category: str = "fire.smoke") -> int:
    alarm = raise_alarm(centre, f"D{next(_devices)}", category)
    triaged(centre, alarm)
    return alarm


def opened(centre: Centre) -> dict[str, Any]:
    made = centre.client.post("/api/incidents", json={"category": "fire", "cell": "C1", "text": "smoke"})
    assert made.status_code == 201, made.text
    incident: dict[str, Any] = made.json()
    return incident


def bulk(client: httpx.Client, noun: str, key: str = "", **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/{noun}/bulk", json=body, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    TypeAdapter(BulkAnswer).validate_python(told)
    return told


def outcomes(told: dict[str, Any]) -> list[tuple[int, str]]:
    return [(row["id"], row["outcome"]) for row in told["items"]]


def test_what_cannot_be_done_for_one_alarm_is_done_for_the_others(centre: Centre) -> None:
    one, other = alarmed(centre), alarmed(centre)
    told = bulk(centre.client, "alarms", action="acknowledge", ids=[one, 999_999, other, one])
    assert outcomes(told) == [(one, "done"), (999_999, "refused"), (other, "done")]
    assert (told["done"], told["refused"], told["changed"]) == (2, 1, 0)
    assert told["items"][1]["reason"] == "没有报警999999"
    assert told["items"][1]["reason_en"] == "there is no alarm 999999"
    assert {get(centre, f"/api/alarms/{alarm}")["state"] for alarm in (one, other)} == {"ACKED"}


def test_a_fire_is_not_shelved_by_a_dispatcher_and_the_rest_is(
    centre: Centre, dispatcher: httpx.Client
) -> None:
    fire, person_seen = alarmed(centre), alarmed(centre, "public.person")
    fields = {"until": in_hours(2), "reason": "lens is being cleaned"}
    told = bulk(dispatcher, "alarms", action="shelve", ids=[fire, person_seen], fields=fields)
    assert outcomes(told) == [(fire, "refused"), (person_seen, "done")]
    assert "甲类火警" in told["items"][0]["reason"]
    assert get(centre, f"/api/alarms/{person_seen}")["shelf"]["reason"] == "lens is being cleaned"
    told = bulk(dispatcher, "alarms", action="unshelve", ids=[fire, person_seen])
    assert outcomes(told) == [(fire, "refused"), (person_seen, "done")]
    wrong = bulk(dispatcher, "alarms", action="shelve", ids=[person_seen], fields={**fields, "reason": " "})
    assert (wrong["items"][0]["outcome"], wrong["items"][0]["field"]) == ("refused", "reason")


def test_the_same_key_does_nothing_twice_and_finishes_what_was_cut_off(centre: Centre) -> None:
    incidents = [opened(centre)["id"] for _ in range(3)]
    body = {"action": "comment", "ids": incidents, "fields": {"comment": "checked"}}
    told = bulk(centre.client, "incidents", "k1", **body)
    assert told["done"] == 3
    assert bulk(centre.client, "incidents", "k1", **body) == told
    other = {**body, "fields": {"comment": "something else"}}
    problem(centre.client.post("/api/incidents/bulk", json=other, headers={"Idempotency-Key": "k1"}), 422)
    # As after a kill: the last row and the account of it all were never committed.
    centre.execute("DELETE FROM idempotency_keys WHERE route = 'POST /api/incidents/bulk' AND key = 'k1'")
    centre.execute(
        "DELETE FROM idempotency_keys WHERE route = %s AND key = 'k1'",
        f"POST /api/incidents/bulk {incidents[2]}",
    )
    assert bulk(centre.client, "incidents", "k1", **body) == told
    comments = [
        sum(event["kind"] == "commented" for event in get(centre, f"/api/incidents/{one}/timeline")["items"])
        for one in incidents
    ]
    assert comments == [1, 1, 2]


def test_an_incident_that_changed_meanwhile_is_left_as_it_is(
    centre: Centre, dispatcher: httpx.Client
) -> None:
    seen, touched = opened(centre), opened(centre)
    centre.client.post(f"/api/incidents/{touched['id']}/acknowledge")
    versions = {str(one["id"]): one["version"] for one in (seen, touched)}
    told = bulk(
        dispatcher,
        "incidents",
        action="dispatch",
        ids=[seen["id"], touched["id"]],
        fields={"unit": "U2", "reason": "U1 is at the depot"},
        versions=versions,
    )
    assert outcomes(told) == [(seen["id"], "done"), (touched["id"], "changed")]
    changed = told["items"][1]
    assert changed["state"] == "acknowledged"
    assert "dispatch" in changed["allowed"]
    units = [get(centre, f"/api/incidents/{one['id']}")["unit"] for one in (seen, touched)]
    assert units == ["U2", "U1"]


def test_many_become_one_and_come_apart_again(centre: Centre, dispatcher: httpx.Client) -> None:
    kept, one, other = (opened(centre)["id"] for _ in range(3))
    fields = {"into": kept, "reason": "one smoke"}
    told = bulk(dispatcher, "incidents", action="merge", ids=[kept, one, other], fields=fields)
    assert outcomes(told) == [(kept, "refused"), (one, "done"), (other, "done")]
    assert get(centre, f"/api/incidents/{other}")["merged_into"] == kept
    told = bulk(dispatcher, "incidents", action="split", ids=[one, other], fields={"reason": "two smokes"})
    assert told["done"] == 2
    assert get(centre, f"/api/incidents/{other}")["state"] == "dispatched"


def test_rights_are_those_of_the_single_action(centre: Centre) -> None:
    incident, alarm = opened(centre)["id"], alarmed(centre)
    with closing(person(centre, "hotline")) as hotline:
        told = bulk(hotline, "incidents", action="dispatch", ids=[incident], fields={"unit": "U2"})
        assert outcomes(told) == [(incident, "refused")]
        body = {"action": "acknowledge", "ids": [alarm]}
        problem(hotline.post("/api/alarms/bulk", json=body), 403)
    assert get(centre, f"/api/alarms/{alarm}")["state"] == "UNACK"


@pytest.mark.parametrize(
    ("noun", "body"),
    [
        ("alarms", {"action": "acknowledge", "ids": []}),
        ("alarms", {"action": "acknowledge", "ids": list(range(1, 502))}),
        ("alarms", {"action": "acknowledge", "ids": [0]}),
        ("alarms", {"action": "acknowledge", "ids": [2**64]}),
        ("alarms", {"action": "delete", "ids": [1]}),
        ("alarms", {"action": "shelve", "ids": [1], "fields": {"reason": "no end"}}),
        (
            "alarms",
            {"action": "shelve", "ids": [1], "fields": {"until": "2026-11-22T08:00:00", "reason": "x"}},
        ),
        ("incidents", {"action": "handle", "ids": [1]}),  # what was done differs from place to place
        ("incidents", {"action": "acknowledge", "ids": ["one"]}),
        ("incidents", {"action": "acknowledge", "ids": [1], "fields": {"colour": "red"}}),
    ],
)
def test_nonsense_is_refused_as_a_whole(centre: Centre, noun: str, body: dict[str, Any]) -> None:
    said = problem(centre.client.post(f"/api/{noun}/bulk", json=body), 422)
    assert said["errors"]
