"""Who of RabbitMQ's nodes is named for running without the guard, from what /api/nodes of 4.3.6 answers."""

from typing import Any

from runtime.scale_topology import unguarded


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
