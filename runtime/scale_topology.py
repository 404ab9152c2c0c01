"""Exchanges, streams and bindings of the scaled-out log at RabbitMQ, declared and looked at by its management API.

What is there stays: a cell keeps the partition it was bound to, since its devices' rule state is that partition's
owner's. So declaring again only adds what is missing.
"""

import ssl
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from city.errors import CityError
from city.partitions import (
    IN_EXCHANGE,
    SUPER_STREAM,
    UNROUTED,
    UNROUTED_EXCHANGE,
    UNROUTED_STREAM,
    partition_for,
    partition_of,
    stream_of,
)

_ROOT = "/%2F"
_SEGMENT_BYTES = 100_000_000  # of a stream's files; whole ones are removed when they are too old
_PATIENCE_S = 30.0
_GUARD = "city_guard"  # deploy/scale/guard.erl, an application of its node
_SETTLED_MS = 30_000


class TopologyError(CityError):
    """RabbitMQ could not be asked, or holds something else under our names."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What ``declare`` added; 0 where all was there."""

    partitions: int
    streams_added: int
    cells_bound: int


class Topology:
    """One cluster's, through the management API of any node."""

    def __init__(self, admin_url: str, tls: ssl.SSLContext | None = None) -> None:
        """``admin_url``: http(s)://user:password@host:15672, an administrator of the virtual host ``/``.

        ``tls`` says whose certificates are believed; None = those of the system's authorities.
        """
        if not admin_url:
            raise TopologyError("CITY_STREAM_ADMIN_URL: set it to http://user:password@host:15672")
        self._client = httpx.Client(
            base_url=f"{admin_url.rstrip('/')}/api", timeout=_PATIENCE_S, verify=tls or True
        )

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def declare(
        self,
        cells: Iterable[tuple[str, str]],
        *,
        partitions: int,
        replicas: int,
        days: int,
        own: Collection[int] | None = None,
    ) -> Declared:
        """Make everything that is missing. ``cells``: (code, community's or street's code).

        ``own``: partitions of the district whose cells these are, where several share the log; None = all. Raises
        TopologyError when the log has another number of partitions: that is settled at the beginning; and when a cell
        is bound to a partition of another district.
        """
        wanted_own = sorted(set(range(partitions)) if own is None else set(own) - {UNROUTED})
        if not wanted_own or wanted_own[-1] >= partitions:
            raise TopologyError(
                f"the district's own partitions must lie within 0-{partitions - 1}: CITY_DISTRICTS"
            )
        streams = self.streams()
        present = [stream for stream in streams if stream != UNROUTED_STREAM]
        if present and len(present) != partitions:
            raise TopologyError(
                f"the log has {len(present)} partitions, not {partitions}: their number is settled when it is made"
            )
        self._exchange(UNROUTED_EXCHANGE, "fanout", {})
        self._exchange(IN_EXCHANGE, "topic", {"alternate-exchange": UNROUTED_EXCHANGE})
        self._exchange(SUPER_STREAM, "direct", {"x-super-stream": True})
        wanted = [*range(partitions), UNROUTED]
        missing = [partition for partition in wanted if stream_of(partition) not in streams]
        for partition in missing:
            self._stream(stream_of(partition), replicas, days)
        for partition in range(partitions):
            self._bind(
                SUPER_STREAM,
                stream_of(partition),
                str(partition),
                {"x-stream-partition-order": partition},
            )
        self._bind(UNROUTED_EXCHANGE, UNROUTED_STREAM, "", {})
        bound = self.cells()
        cells = list(cells)
        if own is not None and (strayed := strays(bound, [cell for cell, _ in cells], own)):
            raise TopologyError(strayed)
        added = 0
        for cell, area in cells:
            if cell not in bound:
                self._bind(IN_EXCHANGE, stream_of(partition_for(area, wanted_own)), f"city.{cell}.#", {})
                added += 1
        return Declared(partitions=partitions, streams_added=len(missing), cells_bound=added)

    def streams(self) -> list[str]:
        """Our streams that there are."""
        return sorted(queue["name"] for queue in self._queues())

    def _queues(self) -> list[dict[str, Any]]:
        queues = self._get(f"/queues{_ROOT}?columns=name,arguments,effective_policy_definition")
        return [queue for queue in queues if queue["name"] == UNROUTED_STREAM or _numbered(queue["name"])]

    def cells(self) -> dict[str, list[int]]:
        """The partitions that each bound cell's messages go to; more than one is a mistake."""
        found: dict[str, list[int]] = {}
        for binding in self._get(f"/exchanges{_ROOT}/{IN_EXCHANGE}/bindings/source"):
            key = binding["routing_key"]
            if key.startswith("city.") and key.endswith(".#"):
                found.setdefault(key[5:-2], []).append(partition_of(binding["destination"]))
        return found

    def faults(self, cells: Iterable[str], *, own: Collection[int] | None = None) -> list[str]:
        """What is not as ``declare`` leaves it, a line each; messages are lost or wrong only where it says so."""
        cells = list(cells)
        found: list[str] = []
        exchanges = {one["name"]: one for one in self._get(f"/exchanges{_ROOT}")}
        taken = exchanges.get(IN_EXCHANGE, {}).get("arguments", {}).get("alternate-exchange")
        if IN_EXCHANGE not in exchanges:
            found.append(f"exchange {IN_EXCHANGE} is missing: nothing that devices send arrives")
        elif taken != UNROUTED_EXCHANGE:
            found.append(f"exchange {IN_EXCHANGE} has no alternate: what no binding takes is lost")
        queues = self._queues()
        streams = [queue["name"] for queue in queues]
        if UNROUTED_STREAM not in streams:
            found.append(f"stream {UNROUTED_STREAM} is missing: what no binding takes is lost")
        if not any(_numbered(stream) for stream in streams):
            found.append("there are no partitions")
        if limited := sorted(queue["name"] for queue in queues if _limited(queue)):
            found.append(
                f"{len(limited)} streams have a limit of bytes ({_some(limited)}): the oldest is lost, read or not"
            )
        if IN_EXCHANGE in exchanges:
            bound = self.cells()
            found += _cell_faults(bound, cells)
            if own is not None and (strayed := strays(bound, cells, own)):
                found.append(strayed)
        return found + unguarded(self._get("/nodes?columns=name,running,uptime,applications.name"))

    def _exchange(self, name: str, kind: str, arguments: dict[str, Any]) -> None:
        body = {"type": kind, "durable": True, "auto_delete": False, "arguments": arguments}
        self._send("PUT", f"/exchanges{_ROOT}/{name}", body)

    def _stream(self, name: str, replicas: int, days: int) -> None:
        arguments = {
            "x-queue-type": "stream",
            "x-max-age": f"{days}D",
            "x-stream-max-segment-size-bytes": _SEGMENT_BYTES,
            "x-initial-cluster-size": replicas,
            "x-queue-leader-locator": "balanced",  # else one node leads all of them, and its death stops all
        }
        self._send("PUT", f"/queues{_ROOT}/{name}", {"durable": True, "arguments": arguments})

    def _bind(self, exchange: str, stream: str, key: str, arguments: dict[str, Any]) -> None:
        body = {"routing_key": key, "arguments": arguments}
        self._send("POST", f"/bindings{_ROOT}/e/{exchange}/q/{quote(stream)}", body)

    def _get(self, path: str) -> Any:
        return self._send("GET", path, None).json()

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise TopologyError(f"RabbitMQ's management API does not answer: {error}") from error
        if answer.is_success:
            return answer
        if answer.status_code == 401:
            raise TopologyError("CITY_STREAM_ADMIN_URL: RabbitMQ does not know this user or password")
        why = " ".join(answer.text.split())[:200]
        raise TopologyError(f"RabbitMQ refuses {method} {path} ({answer.status_code}): {why}")


def _numbered(name: str) -> bool:
    head, _, number = name.rpartition("-")
    return head == SUPER_STREAM and number.isdigit()


def strays(bound: Mapping[str, Sequence[int]], cells: Iterable[str], own: Collection[int]) -> str:
    """Cells of a district that are bound to partitions of another: read, they would be in the other's database."""
    found = sorted(cell for cell in cells if set(bound.get(cell, ())) - set(own))
    if not found:
        return ""
    return (
        f"{len(found)} cells are bound to partitions of another district ({_some(found)}): a cell's code is one"
        " district's in the whole city, and its binding one of that district's partitions"
    )


def unguarded(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of ``nodes`` as GET /api/nodes gives them, those that run without the guard; a single node needs none.

    A node tells every five seconds what it runs, first before its guard is evaluated: who began less than half a minute
    ago is not judged.
    """
    if len(nodes) < 2:
        return []
    return [
        f"node {node['name']} runs without guard.erl: after a cut of the network, acknowledged messages can be lost;"
        " start it with deploy/scale/rabbitmq-env.conf"
        for node in nodes
        if node["running"]
        and node.get("uptime", 0) >= _SETTLED_MS
        and _GUARD not in {one["name"] for one in node["applications"]}
    ]


def _limited(queue: dict[str, Any]) -> bool:
    policy = queue.get("effective_policy_definition") or {}
    return "x-max-length-bytes" in queue.get("arguments", {}) or "max-length-bytes" in policy


def _cell_faults(bound: dict[str, list[int]], cells: list[str]) -> list[str]:
    found = []
    loose = [cell for cell in cells if cell not in bound]
    if loose:
        found.append(f"{len(loose)} cells have no binding ({_some(loose)}): they share {UNROUTED_STREAM}")
    double = [cell for cell, partitions in bound.items() if len(partitions) > 1]
    if double:
        found.append(
            f"{len(double)} cells are bound to several partitions ({_some(double)}): remove all but one"
        )
    dotted = [cell for cell in cells if "." in cell]
    if dotted:
        found.append(
            f"{len(dotted)} cells have a dot in their code ({_some(dotted)}), which RabbitMQ makes a level"
        )
    return found


def _some(codes: list[str]) -> str:
    return ", ".join(codes[:3]) + ("…" if len(codes) > 3 else "")
