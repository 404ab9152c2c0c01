"""Compares what was acknowledged to a publisher with what is stored; shares no code with the product.

The log is the publisher's own (`bench/publisher.py`): message n is reading n // devices of device n %
devices, with what time it carried, whether it was acknowledged and whether it was above the limit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

_PIECE = 1 << 24  # bytes of text parsed at once
_SEQ_BASE = 10_000_000  # what the publisher adds to its numbers


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Counts of what must be nothing, and of what they are taken from."""

    acknowledged: int
    stored: int
    lost: int  # acknowledged to the publisher, not stored
    foreign: int  # stored, never sent so
    twice: int  # rows beyond the first of a (device, seq)
    crossings: int
    alarms: int
    alarms_missing: int  # crossings without an alarm raised at their time
    alarms_extra: int  # alarms at a time without a crossing, or more than one for it
    alarms_standing: int  # not cleared, though a calm reading followed

    @property
    def faultless(self) -> bool:
        """Nothing lost, nothing twice, each crossing one alarm."""
        faults = (self.lost, self.foreign, self.twice)
        return not any((*faults, self.alarms_missing, self.alarms_extra, self.alarms_standing))


def check(log: Path, database_url: str) -> Verdict:
    """Read log and database; the load must have ended and everything have been stored."""
    with np.load(log) as kept:
        acked, ts_ms, crossed = kept["acked"], kept["ts_ms"], kept["crossed"]
        devices = int(kept["devices"])
    with psycopg.connect(database_url) as connection:
        rows = _table(connection, 3, _STORED)
        raised, standing = _alarms(connection)
    numbers = (rows[:, 1] - _SEQ_BASE) * devices + rows[:, 0]
    known = (numbers >= 0) & (numbers < len(acked))
    known[known] &= ts_ms[numbers[known]] == rows[known, 2]
    times = np.bincount(numbers[known], minlength=len(acked))
    sent = np.arange(len(acked))
    crossing_keys = _keys(sent[crossed] % devices, ts_ms[crossed])
    alarm_keys = _keys(raised[:, 0], raised[:, 1])
    followed = sent[crossed] + devices < len(acked)  # by a calm reading of the same device
    return Verdict(
        acknowledged=int(acked.sum()),
        stored=len(rows),
        lost=int((acked & (times == 0)).sum()),
        foreign=int((~known).sum()),
        twice=int((times[times > 1] - 1).sum()),
        crossings=len(crossing_keys),
        alarms=len(alarm_keys),
        alarms_missing=len(np.setdiff1d(crossing_keys, alarm_keys)),
        alarms_extra=len(alarm_keys) - len(np.intersect1d(crossing_keys, alarm_keys)),
        alarms_standing=len(np.intersect1d(crossing_keys[followed], _keys(standing[:, 0], standing[:, 1]))),
    )


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Messages [first, last) of a load that goes on: the same, for what is in the middle of it."""

    acknowledged: int
    stored: int
    lost: NDArray[np.int64]  # numbers of messages acknowledged and not stored
    foreign: int
    twice: int
    crossings: int  # of those stored
    alarms_missing: int
    alarms_extra: int

    @property
    def complete(self) -> bool:
        """Nothing is missing; what is too much does not go away by waiting."""
        return not len(self.lost) and not self.alarms_missing


def check_stretch(
    acked: NDArray[np.bool_],
    ts_ms: NDArray[np.int64],
    crossed: NDArray[np.bool_],
    *,
    first: int,
    devices: int,
    connection: psycopg.Connection,
) -> Stretch:
    """Compare; the arrays hold the stretch only, whose first message has the number `first`."""
    if not len(ts_ms):
        return Stretch(
            acknowledged=0, stored=0, lost=np.zeros(0, np.int64), foreign=0, twice=0, crossings=0,
            alarms_missing=0, alarms_extra=0,
        )  # fmt: skip
    since, until = int(ts_ms.min()), int(ts_ms.max())
    rows = _table(connection, 3, f"{_STORED} AND o.observed_at {_between(since, until)}")
    places = (rows[:, 1] - _SEQ_BASE) * devices + rows[:, 0] - first
    within = (places >= 0) & (places < len(ts_ms))
    known = within.copy()
    known[known] &= ts_ms[places[known]] == rows[known, 2]
    times = np.bincount(places[known], minlength=len(ts_ms))
    raised = _table(connection, 2, f"{_RAISED} AND a.raised_at {_between(since, until)}")
    owners = (np.arange(len(ts_ms)) + first) % devices
    alarm_keys = _keys(raised[:, 0], raised[:, 1])
    wanted = _keys(owners, ts_ms)[crossed & (times > 0)]
    # at either end other messages have the same times: their alarms are looked at with them
    inner = alarm_keys[(raised[:, 1] > since) & (raised[:, 1] < until)]
    return Stretch(
        acknowledged=int(acked.sum()),
        stored=int((times > 0).sum()),
        lost=first + np.flatnonzero(acked & (times == 0)),
        foreign=int((within & ~known).sum()),
        twice=int((times[times > 1] - 1).sum()),
        crossings=len(wanted),
        alarms_missing=len(np.setdiff1d(wanted, alarm_keys)),
        alarms_extra=len(np.setdiff1d(inner, wanted)) + len(alarm_keys) - len(np.unique(alarm_keys)),
    )


def _between(since_ms: int, until_ms: int) -> str:
    return f"BETWEEN to_timestamp({since_ms - 1} / 1000.0) AND to_timestamp({until_ms + 1} / 1000.0)"


def _keys(device: NDArray[np.int64], ts_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for (device, time): six digits of device under thirteen of milliseconds still fit int64."""
    keys: NDArray[np.int64] = ts_ms % 10**12 * 10**6 + device
    return keys


# (device number, seq, observed_at in ms) of the load's devices: b and six digits
_STORED = (
    "SELECT substr(d.code, 2)::bigint, o.seq, round(extract(epoch FROM o.observed_at) * 1000)::bigint"
    " FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.code ~ '^b[0-9]{6}$'"
)
# (device number, raised_at in ms) of the load's alarms about readings
_RAISED = (
    "SELECT substr(d.code, 2)::bigint, round(extract(epoch FROM a.raised_at) * 1000)::bigint"
    " FROM alarms a JOIN devices d ON d.id = a.device_id"
    " WHERE d.code ~ '^b[0-9]{6}$' AND a.category !~ '^device'"
)


def _alarms(connection: psycopg.Connection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The load's alarms about readings, and the open ones of them."""
    return _table(connection, 2, _RAISED), _table(connection, 2, _RAISED + " AND a.cleared_at IS NULL")


def _table(connection: psycopg.Connection, width: int, query: str) -> NDArray[np.int64]:
    """Rows of whole numbers, -1 for null; read piece by piece, since a run of hours has tens of millions."""
    pieces: list[NDArray[np.int64]] = []
    waiting: list[bytes] = []
    size = 0

    def take() -> None:
        text = b"".join(waiting).replace(b"\\N", b"-1").decode()
        pieces.append(np.fromstring(text, np.int64, sep=" "))
        waiting.clear()

    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT".encode()) as copy:
        for block in copy:  # each a whole row
            waiting.append(bytes(block))
            size += len(waiting[-1])
            if size > _PIECE:
                take()
                size = 0
    take()
    return np.concatenate(pieces).reshape(-1, width)
