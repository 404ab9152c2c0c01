"""One case by HTTP alone, in six steps: a citizen reports, a unit returns it, another disputes it, it is suspended,
reworked, verified by somebody else, fed back and archived. ``pytest -s`` prints its timeline.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from city.district import import_folder
from command_centre.rule_changes import check_imported
from rules.definitions import to_rows
from simulators.district import generate
from tests.integration.running_centre import Centre, running
from tests.servers.postgres import PostgresServer


class People:
    """Accounts made over HTTP, each with a session of its own."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._known: dict[str, httpx.Client] = {}

    def add(self, name: str, role: str, unit: str | None = None) -> None:
        body = {"name": name, "display_name": name, "role": role, "unit": unit}
        made = self._centre.client.post("/api/users", json=body)
        assert made.status_code == 201, made.text
        first = {"name": name, "password": made.json()["one_time_secret"]}
        person = httpx.Client(base_url=self._centre.base, timeout=60)
        assert person.post("/api/session", json=first).status_code == 200
        new = f"a new password of {name}"
        changed = person.post("/api/session/password", json={"current": first["password"], "new": new})
        assert changed.status_code == 204, changed.text
        self._known[name] = person

    def __getitem__(self, name: str) -> httpx.Client:
        return self._known[name]

    def close(self) -> None:
        for person in self._known.values():
            person.close()


@pytest.fixture
def district(
    postgres_server: PostgresServer, postgres_template: str, tmp_path: Path
) -> Iterator[tuple[Centre, People]]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    folder = tmp_path / "district"
    generate(folder, cells=40, communities=4, streets=2, smoke=160, cameras=8, stations=8)
    import_folder(url, folder, parse_rules=to_rows, check_rules=check_imported)
    try:
        with running(url) as centre:
            people = People(centre)
            people.add("dispatcher", "dispatcher")
            people.add("supervisor", "supervisor")
            people.add("hotline", "hotline")
            people.add("grid", "grid_worker")
            people.add("municipal", "handler", "U-MUNICIPAL")
            people.add("drain", "handler", "U-DRAIN")
            yield centre, people
            people.close()
    finally:
        postgres_server.drop_database(name)


class Case:
    """The incident, and how people act on it."""

    def __init__(self, people: People, incident_id: int) -> None:
        self._people = people
        self.id = incident_id

    def act(self, name: str, action: str, expected: str, **body: Any) -> dict[str, Any]:
        answer = self._people[name].post(f"/api/incidents/{self.id}/{action}", json=body)
        assert answer.status_code == 200, f"{name} {action}: {answer.text}"
        shown: dict[str, Any] = answer.json()
        assert shown["state"] == expected, f"{name} {action}: {shown['state']}"
        return shown

    def refused(self, name: str, action: str, status: int, **body: Any) -> dict[str, Any]:
        answer = self._people[name].post(f"/api/incidents/{self.id}/{action}", json=body)
        assert answer.status_code == status, f"{name} {action}: {answer.status_code} {answer.text}"
        problem: dict[str, Any] = answer.json()
        return problem


def test_a_whole_case_in_six_steps(district: tuple[Centre, People]) -> None:
    centre, people = district
    tracking, case = _reported(centre, people)
    _dispatched_returned_and_disputed(case)
    _suspended_and_resumed(centre, case)
    _handled_reworked_and_verified(case)
    _fed_back_and_archived(case)

    progress = centre.stranger.get(f"/api/reports/{tracking}").json()
    assert all(step["at"] for step in progress["steps"] if step["step"] in ("registered", "archived")), (
        progress
    )
    _print(centre, case.id)
    kinds = {event["kind"] for event in _timeline(centre, case.id)}
    assert {"opened", "filed", "returned", "transfer_refused", "dispute_asked", "ruled", "suspended"} <= kinds
    assert {"resumed", "rework", "verified", "fed_back", "archived"} <= kinds
    assert "13800000000" not in str(_timeline(centre, case.id))
    amended = centre.client.get("/api/responsibilities", params={"category": "facility.road"}).json()["items"]
    assert any(one["unit"] == "U-DRAIN" for one in amended), amended


def _reported(centre: Centre, people: People) -> tuple[str, Case]:
    """登记: it waits in the lane, with the reason and whom the list would send."""
    cell = centre.client.get("/api/cells?limit=1").json()["items"][0]["code"]
    report = {
        "category": "facility.road",
        "nature": "complaint",
        "text": "路面塌了一个坑，有井盖松动",
        "cell": cell,
        "contact": {"name": "王女士", "phone": "13800000000", "call_back": True},
    }
    answered = centre.stranger.post("/api/reports", json=report)
    assert answered.status_code == 201, answered.text
    tracking = answered.json()["tracking"]
    found = people["hotline"].get("/api/reports", params={"q": tracking})
    assert found.status_code == 200, found.text
    case = Case(people, found.json()["items"][0]["incident"])
    shown = centre.client.get(f"/api/incidents/{case.id}").json()
    assert (shown["state"], shown["unit"]) == ("registered", None)
    assert shown["reason"]
    suggestion = people["dispatcher"].get(f"/api/incidents/{case.id}/suggestion").json()
    assert suggestion["unit"]["code"] == "U-MUNICIPAL", suggestion
    return tracking, case


def _dispatched_returned_and_disputed(case: Case) -> None:
    """立案 派遣 回退 移交 争议 裁定."""
    case.act("dispatcher", "accept", "filed")
    assert case.act("dispatcher", "dispatch", "dispatched")["steps"] == 6
    # Asked for, not granted by who asked, granted by the centre.
    case.act("municipal", "return", "dispatched", reason="属排水井，非市政道路")
    case.refused("municipal", "approve", 403)
    assert case.act("dispatcher", "approve", "returned", reason="同意")["unit"] is None
    case.act("dispatcher", "dispatch", "dispatched", unit="U-DRAIN", reason="排水井盖")
    # The second unit wants to pass it on; nobody takes it; it keeps it, and disputes.
    case.act("drain", "transfer", "dispatched", unit="U-MUNICIPAL", reason="路面在前")
    case.act("municipal", "refuse", "dispatched", reason="坑由井引起")
    again = case.refused("drain", "transfer", 409, unit="U-MUNICIPAL", reason="再移")
    assert "once already" in again["detail"]
    case.act("drain", "dispute", "dispatched", reason="责任不清")
    case.refused("dispatcher", "rule", 403, unit="U-DRAIN", reason="不归我裁")
    words = {"unit": "U-DRAIN", "reason": "井盖由排水中心负责", "amend": True}
    assert case.act("supervisor", "rule", "dispatched", **words)["unit"] == "U-DRAIN"


def _suspended_and_resumed(centre: Centre, case: Case) -> None:
    """签收 到场 挂账 恢复: the clock stands still and goes on."""
    case.act("drain", "acknowledge", "acknowledged")
    case.act("drain", "arrive", "arrived")
    due = centre.client.get(f"/api/incidents/{case.id}").json()["due_at"]
    case.act("drain", "suspend", "arrived", limit="2wd", reason="等汛期水位下降")
    held = case.act("supervisor", "approve", "suspended", reason="同意挂账")
    handle = [clock for clock in held["clocks"] if clock["stage"] == "handle" and not clock["ended_at"]]
    assert [bool(clock["paused_at"]) for clock in handle] == [True]
    assert case.act("drain", "resume", "arrived", reason="水位已降")["due_at"] >= due


def _handled_reworked_and_verified(case: Case) -> None:
    """处置 核查 返工 处置 核查: never by one person, and none is skipped."""
    case.act("drain", "handle", "handled", comment="已更换井盖")
    case.refused("drain", "verify", 403)
    case.refused("dispatcher", "archive", 409)
    case.act("grid", "rework", "rework", reason="井盖仍松动")
    case.act("drain", "handle", "handled", comment="重新固定")
    case.act("grid", "verify", "verified", comment="现场核实完好")


def _fed_back_and_archived(case: Case) -> None:
    """反馈 归档."""
    case.refused("dispatcher", "archive", 409)
    case.act("hotline", "feedback", "fed_back", comment="已电话告知")
    closed = case.act("dispatcher", "archive", "archived")
    assert [clock for clock in closed["clocks"] if clock["ended_at"] is None] == []


def _timeline(centre: Centre, incident_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = centre.client.get(f"/api/incidents/{incident_id}/timeline").json()["items"]
    return found


def _print(centre: Centre, incident_id: int) -> None:
    for event in _timeline(centre, incident_id):
        words = (event["reason"] or "").replace("\n", " / ")
        print(f"{event['seq']:>3} {event['at'][11:19]} {event['kind']:<18} {event['actor']:<12} {words[:90]}")  # noqa: T201  # asked for
