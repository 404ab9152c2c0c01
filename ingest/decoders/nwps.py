"""US National Water Prediction Service: gauges and their stage and flow (https://api.water.noaa.gov/nwps/v1/docs).

Topics are ``nwps/{gauge}/gauge`` (the gauge's own document with its latest observation) and ``nwps/{gauge}/stageflow``
(``ingest.sources.feeds``). Keys are the quantities as they are named there, in small letters: ``stage``, ``flow``,
``pool``. Forecasts are theirs and not measured: understood and left out, also where they are null. -999 and -9999
stand for nothing measured, year 1 for never.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from city.observations import Rejection
from ingest.decoders.feed_times import instant_us, measured
from ingest.decoders.said import MAX_PAYLOAD, Announced, Arrival, Rejected, Report, Said

FAMILY = "nwps"
MOST_POINTS = 20_000
_VENDOR = "NOAA NWPS"


class _Status(msgspec.Struct, gc=False):
    primary: Any = None
    primaryUnit: str | None = None  # noqa: N815 - names of theirs, here and below
    secondary: Any = None
    secondaryUnit: str | None = None  # noqa: N815
    validTime: Any = None  # noqa: N815


class _Statuses(msgspec.Struct):
    observed: _Status | None = None


class _Gauge(msgspec.Struct):
    name: Any = None
    status: _Statuses | None = None


class _Point(msgspec.Struct, gc=False):
    validTime: Any = None  # noqa: N815
    primary: Any = None
    secondary: Any = None


class _Series(msgspec.Struct):
    primaryName: str | None = None  # noqa: N815
    primaryUnits: str | None = None  # noqa: N815
    secondaryName: str | None = None  # noqa: N815
    secondaryUnits: str | None = None  # noqa: N815
    data: list[_Point] | None = None


class _StageFlow(msgspec.Struct):
    observed: _Series | None = None
    # `/stageflow/observed` answers with the series itself.
    primaryName: str | None = None  # noqa: N815
    primaryUnits: str | None = None  # noqa: N815
    secondaryName: str | None = None  # noqa: N815
    secondaryUnits: str | None = None  # noqa: N815
    data: list[_Point] | None = None


_GAUGE = msgspec.json.Decoder(_Gauge)
_STAGE_FLOW = msgspec.json.Decoder(_StageFlow)


class Nwps:
    """Gauges of the National Water Prediction Service."""

    family = FAMILY
    filters = (f"{FAMILY}/#",)
    subscribed = False

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """What was observed, oldest first; see ``decoders.said.Decoder``."""
        levels = topic.split("/")
        if len(levels) != 3 or levels[2] not in ("gauge", "stageflow"):
            return Rejected(
                Rejection.BAD_TOPIC, f"topic must be {FAMILY}/GAUGE/stageflow or /gauge, not {topic[:80]!r}"
            )
        if len(payload) > MAX_PAYLOAD:
            return Rejected(Rejection.OVERSIZE, f"{len(payload)} bytes; send at most {MAX_PAYLOAD}")
        try:
            if levels[2] == "gauge":
                return _gauge(levels[1], _GAUGE.decode(payload))
            return _stage_flow(levels[1], _STAGE_FLOW.decode(payload))
        except msgspec.ValidationError as error:
            return Rejected(Rejection.WRONG_SHAPE, f"not an answer of NWPS ({str(error)[:100]})")
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            return Rejected(Rejection.NOT_JSON, f"not a JSON object ({str(error)[:80]})")


DECODER = Nwps()


def _gauge(name: str, gauge: _Gauge) -> list[Said]:
    label = gauge.name[:200] if isinstance(gauge.name, str) else ""
    said: list[Said] = [Announced(device=name, name=label, vendor=_VENDOR)]
    status = gauge.status.observed if gauge.status is not None else None
    if status is None:
        return said
    point = _Point(validTime=status.validTime, primary=status.primary, secondary=status.secondary)
    series = _Series(
        primaryName=_named(status.primaryUnit),
        primaryUnits=status.primaryUnit,
        secondaryName=_named(status.secondaryUnit),
        secondaryUnits=status.secondaryUnit,
        data=[point],
    )
    return said + [one for one in _points(name, series) if not isinstance(one, Rejected)]


def _named(unit: str | None) -> str | None:
    """The gauge's document names units only: feet are a stage, cubic feet a second a flow."""
    if not unit:
        return None
    return "Stage" if unit == "ft" else "Flow" if unit.endswith("cfs") else None


def _stage_flow(name: str, answer: _StageFlow) -> Sequence[Said] | Rejected:
    series = answer.observed or _Series(
        primaryName=answer.primaryName,
        primaryUnits=answer.primaryUnits,
        secondaryName=answer.secondaryName,
        secondaryUnits=answer.secondaryUnits,
        data=answer.data,
    )
    if series.data is not None and len(series.data) > MOST_POINTS:
        return Rejected(Rejection.OVERSIZE, f"data has {len(series.data)} points; at most {MOST_POINTS}")
    return _points(name, series)


def _points(name: str, series: _Series) -> list[Said]:
    columns = [
        (quantity.strip().lower().replace(" ", "_"), unit or "", place)
        for quantity, unit, place in (
            (series.primaryName, series.primaryUnits, 0),
            (series.secondaryName, series.secondaryUnits, 1),
        )
        if quantity
    ]
    units = {key: unit for key, unit, _ in columns if unit}
    reports: dict[int, Report] = {}
    unplaced = 0
    for point in series.data or ():
        both = (measured(point.primary), measured(point.secondary))
        values = {key: value for key, _, place in columns if (value := both[place]) is not None}
        if not values:
            continue
        at_us = instant_us(point.validTime)
        if at_us is None:
            unplaced += 1
            continue
        reports[at_us] = Report(
            device=name, values=values, at_us=at_us, units={key: units[key] for key in values if key in units}
        )
    said: list[Said] = [reports[at_us] for at_us in sorted(reports)]
    if unplaced:
        said.append(Rejected(Rejection.BAD_TIME, f"validTime of {unplaced} points is no time with offset"))
    return said
