"""What a telephone says of an action: when it was done, and where somebody stood.

A telephone without signal sends late. Both times are kept: the centre's own, which clocks count by because a
telephone's clock can be set back, and the telephone's, which stands on the timeline for whoever judges the delay.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from city.incidents import Change
from command_centre.orders_below import metres
from command_centre.workflow import Refused

AHEAD = timedelta(minutes=5)  # a telephone's clock
LATE = timedelta(days=7)  # without signal; older than that it is written down by hand
ON_THE_SPOT = timedelta(seconds=60)  # sent so soon after it was done, a second time says nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """``done_at`` by the telephone's clock, position in WGS 84 degrees."""

    done_at: datetime | None = None
    longitude: float | None = None
    latitude: float | None = None

    @property
    def position(self) -> tuple[float, float] | None:
        """Longitude and latitude; None when the telephone did not say."""
        if self.longitude is None or self.latitude is None:
            return None
        return self.longitude, self.latitude


def read(fields: Mapping[str, object], now: datetime) -> Evidence | Refused:
    """The parts ``done_at``, ``longitude`` and ``latitude`` of an action's body, or which is wrong."""
    done_at, longitude, latitude = (fields.get(name) for name in ("done_at", "longitude", "latitude"))
    if not (done_at is None or isinstance(done_at, datetime)):
        return _wrong("done_at", "应为带时区的时间", "must be a time with offset")
    if done_at is not None and done_at > now + AHEAD:
        return _wrong("done_at", "晚于现在，请校准手机时间", "lies in the future; set the phone's clock")
    if done_at is not None and done_at < now - LATE:
        return _wrong("done_at", f"超过{LATE.days}天，请人工补录", f"is older than {LATE.days} days")
    for given in (longitude, latitude):
        if not (given is None or (isinstance(given, int | float) and -180 <= given <= 180)):
            return _wrong("longitude", "经度、纬度不正确", "longitude and latitude must be degrees")
    if (longitude is None) != (latitude is None):
        return _wrong("longitude", "经度、纬度须同时给出", "give longitude and latitude, or none")
    return Evidence(
        done_at=done_at,
        longitude=float(longitude) if isinstance(longitude, int | float) else None,
        latitude=float(latitude) if isinstance(latitude, int | float) else None,
    )


def added(change: Change, told: Evidence, place: tuple[float, float] | None, now: datetime) -> Change:
    """The change with the evidence on its first event; ``place`` (longitude, latitude) is where the incident is.

    Positions are text, six digits after the point: a chain holds no fractions.
    """
    detail = times(told, now)
    here = told.position
    if here is not None:
        detail["stood_at"] = f"{here[0]:.6f},{here[1]:.6f}"
        if place is not None:
            detail["metres_away"] = round(metres(*place, *here))
    if not detail or not change.happenings:
        return change
    first, *others = change.happenings
    return replace(change, happenings=(replace(first, detail={**first.detail, **detail}), *others))


def times(told: Evidence, now: datetime) -> dict[str, object]:
    """For an event's detail: when it was done, unless that was just now."""
    if told.done_at is None or abs(now - told.done_at) <= ON_THE_SPOT:
        return {}
    return {"done_at": told.done_at.astimezone(UTC).isoformat()}


def _wrong(field: str, reason: str, reason_en: str) -> Refused:
    return Refused(
        code="invalid", field=field, reason=f"{field}：{reason}", reason_en=f"{field}: {reason_en}"
    )
