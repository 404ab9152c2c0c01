"""What doctor says of the log: nodes without the guard, from what /api/nodes of 4.3.6 answers, and how it is read."""

from typing import Any

from city.storage.partitions import Behind
from runtime.scale_cli import reading_faults
from runtime.scale_topology import unguarded
from tests.servers.deployed import ROOT


def node(name: str, *applications: str, uptime: int = 60_000) -> dict[str, Any]:
    found = [{"name": one} for one in ("rabbit", *applications)]
    return {"name": name, "running": True, "uptime": uptime, "applications": found}


def test_each_node_of_a_cluster_without_the_guard_is_named_with_the_remedy() -> None:
    nodes = [node("rabbit@a", "city_guard"), node("rabbit@b", "rabbitmq_stream"), node("rabbit@c")]
    found = unguarded(nodes)
    assert [fault.split()[1] for fault in found] == ["rabbit@b", "rabbit@c"]
    assert all("deploy/scale/rabbitmq-env.conf" in fault for fault in found)


def test_a_single_node_is_never_cut_off_from_another() -> None:
    assert unguarded([node("rabbit@a")]) == []


def test_who_is_away_or_has_just_begun_is_not_judged() -> None:
    away = {"name": "rabbit@b", "running": False}
    begun = {"name": "rabbit@c", "running": True}  # has told nothing yet
    early = node("rabbit@d", uptime=12_000)  # what ran before its guard was evaluated
    assert unguarded([node("rabbit@a", "city_guard"), away, begun, early]) == []


def test_a_log_that_is_read_in_time_is_no_finding() -> None:
    assert reading_faults(Behind(partitions=32, unread=0, lag_records=900, lag_s=2.0, lost=0)) == []


def test_what_is_lost_unread_or_late_is_said_with_its_page() -> None:
    found = reading_faults(Behind(partitions=32, unread=3, lag_records=90_000, lag_s=45.0, lost=7))
    for fault, told in zip(found, ("7 messages were lost", "3 of 32 partitions", "for 45 s"), strict=True):
        assert told in fault
    assert [fault.rstrip("?)").rpartition("(")[2] for fault in found] == [
        "LogLost",
        "LogUnread",
        "LogLagging",
    ]
    assert all(
        (ROOT / f"docs/runbooks/{page}.md").is_file() for page in ("LogLost", "LogUnread", "LogLagging")
    )
