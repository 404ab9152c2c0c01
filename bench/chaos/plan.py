"""Which faults are played, and in which order: pure, so that a plan can be looked at before it is played.

Every plan plays each of its rows as often as it says, spread evenly, the same row never twice in a row where others are
left; what needs the longest to come back from is not left to the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.chaos.matrix import TABLE

# each row once; what a fault matrix is for
EACH: Mapping[str, int] = dict.fromkeys(TABLE, 1)
# 100 kills and more over our processes, the database and the screens; everything else once, some twice
FULL: Mapping[str, int] = {
    **EACH,
    "kill ingest": 28,
    "kill database": 16,
    "kill centre-a": 10,
    "kill centre-b": 10,
    "kill screen-0": 8,
    "kill screen-1": 8,
    "kill both centres": 4,
    "kill ingest and database": 3,
    "kill everything but the broker": 3,
    "kill ingest's backend": 4,
    "kill broker": 4,
    "kill broker with a backlog": 2,
    "term broker": 2,
    "pause database": 2,
    "pause ingest": 2,
}
# what `make chaos` plays: of each kind one or two
USUAL: Mapping[str, int] = dict.fromkeys(
    (
        "kill ingest",
        "kill database",
        "kill centre-a",
        "kill screen-0",
        "kill everything but the broker",
        "kill broker",
        "term ingest",
        "term broker",
        "pause database",
        "pause centre-a",
        "starve ingest",
        "partition ingest",
        "partition centre-b",
        "packet loss ingest",
        "cut screens-centres",
        "freeze ingest-database",
        "delay ingest-broker",
        "slow disk database",
        "full disk database",
        "clock ingest +60 s",
    ),
    1,
)
# what `make test` can afford: one of each kind that needs no privileges
SHORT: Mapping[str, int] = dict.fromkeys(
    (
        "kill ingest and database",
        "kill centre-a",
        "pause database",
        "kill screen-0",
        "cut ingest-broker",
        "term broker",
    ),
    1,
)
_SHORTER: Mapping[str, float] = {
    "pause database": 1.0,
    "freeze ingest-database": 1.0,
    "cut ingest-broker": 0.5,
}


@dataclass(frozen=True, kw_only=True)
class Round:
    """One fault, for so long."""

    fault: str
    lasts: float


def rounds(counts: Mapping[str, int], *, short: bool = False) -> list[Round]:
    """The order: each row evenly over the whole, rows that stand at one place in the table's order."""
    places: list[tuple[float, int, str]] = []
    for position, (name, count) in enumerate(counts.items()):
        offset = (position + 0.5) / len(counts)  # or every row that is played once would stand in the middle
        places += [((number + offset) / count, position, name) for number in range(count)]
    return [
        Round(fault=name, lasts=_SHORTER.get(name, TABLE[name].lasts) if short else TABLE[name].lasts)
        for _, _, name in sorted(places)
    ]


def kills(counts: Mapping[str, int]) -> int:
    """How many processes of ours, of the database and of the screens it kills; the broker's are apart."""
    return sum(TABLE[name].kills * count for name, count in counts.items())


def others(counts: Mapping[str, int]) -> int:
    """How many faults it plays that kill nothing."""
    return sum(count for name, count in counts.items() if "kill" not in TABLE[name].group)
