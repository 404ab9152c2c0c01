"""RabbitMQ's nodes with and without deploy/scale/guard.erl, and whom doctor names."""

import time

import httpx
import pytest

from runtime.scale_topology import Topology
from tests.conftest import running
from tests.servers.rabbitmq import RabbitCluster

pytestmark = pytest.mark.slow  # two nodes cost ten seconds of processor

PATIENCE_S = 60


def test_doctor_names_the_node_of_a_cluster_that_runs_without_the_guard() -> None:
    cluster = RabbitCluster(2)
    guarded, bare = cluster.nodes
    bare.guarded = False
    with running(cluster):
        topology = Topology(guarded.admin_url)
        topology.declare([("c1", "m1")], partitions=1, replicas=1, days=1)
        deadline = time.monotonic() + PATIENCE_S
        while not (found := topology.faults(["c1"])):  # a node is judged once it runs for half a minute
            assert time.monotonic() < deadline
            time.sleep(1)
        (fault,) = found
        assert bare.name in fault
        assert guarded.name not in fault
        assert "rabbitmq-env.conf" in fault
        settled = httpx.get(f"{guarded.admin_url}/api/nodes/{guarded.name}").json()
        assert "city_guard" in {one["name"] for one in settled["applications"]}
        topology.close()
