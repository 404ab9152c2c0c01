"""What a sender says: readings (a number measured) and detections (a camera's event); columns where there are many.

Terms follow OGC Observations & Measurements: ``observed_at`` is the phenomenon time, ``received_at`` arrival.
Instants inside a batch are integers, microseconds since 1970 UTC: arithmetic on 50,000 datetimes a second is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntFlag, StrEnum

import numpy as np
from numpy.typing import NDArray

NO_SEQ = -1  # a reading whose sender numbers nothing

LATE_AFTER_US = 5 * 60 * 1_000_000  # older than this on arrival is late (wire contract)
AHEAD_AFTER_US = 2 * 60 * 1_000_000  # further ahead than this is a wrong clock: stored, never decided on
IMPOSSIBLE_AHEAD_US = 24 * 3600 * 1_000_000  # further ahead than this is quarantined


def instant(microseconds: int) -> datetime:
    """An aware datetime of microseconds since 1970 UTC, exact (timestamp floats are not)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


class Quality(IntFlag):
    """What is known against a reading; 0 is good. Stored as a smallint of these bits."""

    GOOD = 0
    TIME_ESTIMATED = 1  # no time in the message: arrival stands in
    LATE = 2
    CLOCK_AHEAD = 4  # never enters rule state
    RETAINED = 8  # replayed by the broker on subscription: never raises
    OUT_OF_RANGE = 16  # outside what the metric can be, or a sentinel such as -999: never enters rule state
    SPIKE = 32  # a step nothing has confirmed yet: never enters rule state
    STUCK = 64  # the same value for longer than a living sensor would say it: decides, but is marked


class Rejection(StrEnum):
    """Why a message is in quarantine; each is counted under this name."""

    OVERSIZE = "oversize"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"  # JSON, but not one of the payloads of the wire contract
    NOT_FINITE = "not_finite"  # NaN or Infinity
    BAD_TIME = "bad_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"  # beyond retention, or more than a day ahead
    BAD_TOPIC = "bad_topic"
    OTHER_DEVICE = "other_device"  # the payload names another device than the topic
    NO_DECODER = "no_decoder"
    UNKNOWN_KIND = "unknown_kind"
    KIND_CONFLICT = "kind_conflict"  # a known device under another kind's topic
    REGISTRATION_LIMIT = "registration_limit"
    NOT_CBOR = "not_cbor"
    BAD_CHECKSUM = "bad_checksum"
    BAD_LENGTH = "bad_length"  # a frame that says another length than it has
    BAD_FRAME = "bad_frame"  # start, end or order of a binary frame
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a reason, not a secret
    UNSUPPORTED = "unsupported"  # well formed, of a version or function that we do not speak
    NO_CODEC = "no_codec"  # bytes of a device whose profile does not say what they mean
    UNKNOWN_UNIT = "unknown_unit"  # no way from the unit in the message to the metric's own
    DECODER_FAILED = "decoder_failed"  # our mistake or a package's; the message is kept
    UNSTORABLE = "unstorable"  # the database refused the row itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """Columns of n readings; every array has length n. ``device`` and ``metric`` are database ids."""

    device: NDArray[np.int32]
    metric: NDArray[np.int16]
    observed_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    value: NDArray[np.float64]
    seq: NDArray[np.int64]  # NO_SEQ where the sender gave none
    quality: NDArray[np.int16]  # bits of Quality

    def __len__(self) -> int:
        return len(self.device)

    def part(self, begin: int, end: int) -> "Readings":
        """Consecutive rows, sharing memory with these."""
        return Readings(
            device=self.device[begin:end],
            metric=self.metric[begin:end],
            observed_us=self.observed_us[begin:end],
            received_us=self.received_us[begin:end],
            value=self.value[begin:end],
            seq=self.seq[begin:end],
            quality=self.quality[begin:end],
        )

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Readings":
        """The rows of a mask or an index array, in its order."""
        return Readings(
            device=self.device[rows],
            metric=self.metric[rows],
            observed_us=self.observed_us[rows],
            received_us=self.received_us[rows],
            value=self.value[rows],
            seq=self.seq[rows],
            quality=self.quality[rows],
        )


NO_READINGS = Readings(
    device=np.empty(0, np.int32),
    metric=np.empty(0, np.int16),
    observed_us=np.empty(0, np.int64),
    received_us=np.empty(0, np.int64),
    value=np.empty(0, np.float64),
    seq=np.empty(0, np.int64),
    quality=np.empty(0, np.int16),
)


def joined(parts: Sequence[Readings]) -> Readings:
    """The rows of all parts in their order; one part comes back as it is."""
    if len(parts) == 1:
        return parts[0]
    return Readings(
        device=np.concatenate([part.device for part in parts]),
        metric=np.concatenate([part.metric for part in parts]),
        observed_us=np.concatenate([part.observed_us for part in parts]),
        received_us=np.concatenate([part.received_us for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        seq=np.concatenate([part.seq for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """A camera's event; ``state`` is new, update or end. ``event_key`` is the sender's id or empty."""

    device_id: int
    event_key: str
    state: str
    label: str
    observed_us: int
    received_us: int
    score: float | None
    zone: str
    url: str
    seq: int
    quality: Quality
