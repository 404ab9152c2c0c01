"""Which calls are recorded by the witness, how long calls took, and what a call's line in the log says."""

import asyncio
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from command_centre.api.access import TABLE
from command_centre.api.tracing import Traced, template
from command_centre.api.witness import OWN, SEEN, noted
from command_centre.calls import BOUNDS_S, Calls, Timed


def test_what_is_seen_names_routes_that_are_there() -> None:
    assert {route for route in SEEN if ("GET", route) not in TABLE} == set()


def test_what_is_said_to_record_itself_begins_routes_that_are_there() -> None:
    changing = [path for method, path in TABLE if method != "GET"]
    assert [own for own in OWN if not any(path.startswith(own) for path in changing)] == []


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/api/register/export", "register.exported"),
        ("GET", "/api/units/U1/contacts", "contacts.read"),
        ("GET", "/api/audit", "audit.searched"),
        ("HEAD", "/api/audit.csv", "audit.exported"),
        ("GET", "/api/incidents", None),
        ("POST", "/api/incidents/7/acknowledge", None),
        ("POST", "/api/notifications/7/resend", "call.post"),
        ("POST", "/api/nothing", None),
    ],
)
def test_a_call_is_recorded_under_its_action(method: str, path: str, action: str | None) -> None:
    assert noted(method, path) == action


def test_a_route_is_its_template_and_a_stranger_is_unknown() -> None:
    assert template("GET", "/api/devices/D7") == "/api/devices/{code}"
    assert template("HEAD", "/api/devices/D7") == "/api/devices/{code}"
    assert template("DELETE", "/api/devices/D7") == "unknown"
    assert template("GET", "/wp-login.php") == "unknown"


def test_a_histogram_counts_up_to_each_bound() -> None:
    timed = Timed()
    for seconds in (0.004, 0.005, 0.2, 60.0):
        timed.add(seconds)
    buckets = dict(timed.buckets())
    assert buckets["0.005"] == 2
    assert buckets["0.3"] == 3
    assert buckets[str(BOUNDS_S[-1])] == 3
    assert buckets["+Inf"] == 4
    assert timed.sum_s == pytest.approx(60.209)


def test_methods_that_nobody_knows_are_one_series() -> None:
    calls = Calls()
    for method in ("BREW", "PROPFIND"):
        calls.add(method, "unknown", 405, 0.001)
    assert calls.answered == {("other", "unknown", 405): 2}


def answered(
    path: str, *, client: str, given: str = "", status: int = 200, method: str = "GET"
) -> tuple[str, Any]:
    """The id in the answer's header, and the log's entries."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        structlog.get_logger().info("inside")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        seen.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"phone=13800000000",
        "headers": [(b"x-request-id", given.encode())] if given else [],
        "client": (client, 1),
        "state": {},
    }
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        asyncio.run(Traced(app, calls=Calls(), trusted="127.0.0.1")(scope, receive, send))
    headers = dict(seen[0]["headers"])
    return headers[b"x-request-id"].decode(), logs


def test_a_proxys_id_is_taken_over_and_a_strangers_is_not() -> None:
    one, _ = answered("/api/devices/D7", client="127.0.0.1", given="edge-000001")
    assert one == "edge-000001"
    other, _ = answered("/api/devices/D7", client="203.0.113.9", given="edge-000001")
    assert other != "edge-000001"
    assert len(other) == 16
    odd, _ = answered("/api/devices/D7", client="127.0.0.1", given="x\ty")
    assert len(odd) == 16


def test_a_line_names_route_status_and_id_and_nothing_of_the_query() -> None:
    one, logs = answered("/api/devices/D7", client="203.0.113.9", status=403, method="PATCH")
    inside, line = logs
    assert inside["request"] == one
    assert line["event"] == "answered"
    assert (line["method"], line["route"], line["status"], line["log_level"]) == (
        "PATCH",
        "/api/devices/{code}",
        403,
        "info",
    )
    assert "13800000000" not in str(logs)
    assert "203.0.113.9" not in str(logs)


def test_a_read_that_went_well_is_said_to_who_wants_to_know_everything() -> None:
    _, logs = answered("/api/devices/D7", client="203.0.113.9")
    assert logs[-1]["log_level"] == "debug"
