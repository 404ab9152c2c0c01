"""What passes from a district to its city, and how the line between them is; pure. docs/edge.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from city.observations import NO_SEQ

NODE_KIND = "district_node"  # as which the city knows a district that reports to it


@dataclass(frozen=True, kw_only=True, slots=True)
class Owed:
    """One reading, event or link on its way up. ``at_us`` is microseconds since 1970 UTC.

    ``metric`` empty = ``event`` says it: the fields of a native camera event, or ``{"link": "online"}``.
    """

    batch: int
    cell: str  # empty = its device has none
    kind: str
    device: str
    at_us: int
    metric: str = ""
    value: float = 0.0
    seq: int = NO_SEQ
    quality: int = 0
    event: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What the city does not have yet."""

    size: int
    oldest_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """How the line is; every field as the table ``uplink_state`` explains it, counters since the process began."""

    node: str
    up: bool
    since: datetime
    why: str = ""
    waiting: Waiting
    sent: int = 0
    refused: int = 0
    refused_topic: str = ""
    expired: int = 0


Line = Literal["none", "up", "behind", "cut", "stopped"]

SILENT_S = 15.0  # the process says every two seconds how it is
BEHIND_S = 30.0  # what waits for longer is a backlog


def line_of(row: Mapping[str, Any] | None) -> Line:
    """How the line to the city is, from the row that ``storage.uplink.line`` gives; none = this district reports to

    nobody, stopped = nobody carries, whatever the line does.
    """
    if row is None:
        return "none"
    if row["silent_s"] > SILENT_S:
        return "stopped"
    if not row["up"]:
        return "cut"
    oldest = row["oldest_at"]
    waits_s = 0.0 if oldest is None else (row["alive_at"] - oldest).total_seconds()
    return "behind" if row["waiting"] and waits_s > BEHIND_S else "up"
