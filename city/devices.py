"""What transmits: devices with their kinds; the stations among them are in ``city.stations``.

The register travels in columns where there are many (``Register``) and in rows where there are few
(``DeviceRow``). Instants of the register are microseconds since 1970 UTC, as in ``city.observations``;
0 stands for never.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Registration = Literal["registered", "unclaimed", "retired"]
ServiceState = Literal["in_service", "under_test", "shelved", "out_of_service"]
Link = Literal["online", "offline"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A quantity; ``id`` is 0 while it is only in a file."""

    id: int = 0
    code: str
    unit: str
    name: str
    name_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of device; ``main_metric`` None means that it only sends events."""

    code: str
    name: str
    name_en: str
    main_metric: str | None
    expected_interval_s: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnclaimedDevice:
    """A device that was heard and is in no list; placed by the cell in its topic."""

    code: str
    kind: str
    cell_code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceRow:
    """One device as ingest and the rules need it. ``expected_interval_s`` is its own, else its kind's."""

    id: int
    code: str
    kind: str
    cell_id: int | None
    expected_interval_s: int | None
    service_state: ServiceState
    service_until_us: int
    registration: Registration
    link: Link | None
    last_heard_us: int
    registered_us: int
    warning_m: float | None
    guaranteed_m: float | None
    highest_m: float | None
    model: str
    tags: list[str]
    gateway_id: int | None  # the device it reports through, when that one is registered


@dataclass(frozen=True, kw_only=True, slots=True)
class Register:
    """Columns of n devices, ordered by id, each of length n. 0 = unknown or never, NaN = not set.

    ``version`` was read before the rows: when ``register_version`` differs from it, load again.
    """

    version: int
    id: NDArray[np.int32]
    code: list[str]
    kind: list[str]
    cell_id: NDArray[np.int32]
    expected_interval_s: NDArray[np.int32]
    service_state: list[ServiceState]
    service_until_us: NDArray[np.int64]
    registration: list[Registration]
    link: list[Link | None]
    last_heard_us: NDArray[np.int64]
    registered_us: NDArray[np.int64]
    warning_m: NDArray[np.float64]
    guaranteed_m: NDArray[np.float64]
    highest_m: NDArray[np.float64]
    model: list[str]
    tags: list[frozenset[str]]
    gateway_id: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.code)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceState:
    """A device as people see it: its entry in the register and its live state."""

    code: str
    kind: str
    name: str
    cell: str | None
    cell_name: str | None
    longitude: float | None
    latitude: float | None
    model: str
    owner_unit: str
    maintainer_unit: str
    gateway: str | None
    address: str
    expected_interval_s: int | None
    registration: Registration
    service_state: ServiceState
    service_until: datetime | None
    service_reason: str
    service_by: str
    clock_ahead_at: datetime | None
    registered_at: datetime
    link: Link | None
    last_heard_at: datetime | None
    version: int
    open_alarms: int
    silent_before: datetime  # a last word at or before it is too old; when it was read

    @property
    def online(self) -> bool:
        """Heard within three expected intervals of the time that we listened, and not signed off by its last will."""
        heard = self.last_heard_at is not None and self.last_heard_at > self.silent_before
        return heard and self.link != "offline"


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesPoint:
    """A step of a series: its beginning and what was read in it."""

    at: datetime
    minimum: float
    mean: float
    maximum: float
    readings: int
