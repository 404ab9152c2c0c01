"""From the newest readings to levels ahead: many decision times at once (back-test) or one (operation)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from command_centre.flood.forecast import cleaning, regression
from command_centre.flood.forecast.band import recent
from command_centre.flood.forecast.cleaning import Mark
from command_centre.flood.forecast.features import level_max_age, show
from command_centre.flood.forecast.model import Model
from command_centre.flood.forecast.outcome import Forecast, Point, Refusal
from command_centre.flood.forecast.series import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Flags,
    Known,
    Series,
    Times,
    Values,
    in_order,
)
from command_centre.flood.forecast.unrest import unrest
from command_centre.flood.forecast.warning import added

WIDER_WHEN_DEGRADED = 1.3
RECENT_EVERY_US = 30 * MINUTE_US
AT_ONCE = 8192  # decision times whose columns are in memory together


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The series of a station cleaned once, for any number of decision times."""

    level: Known
    others: tuple[Known, ...]
    flat_since: Times
    raw: Series
    marks: NDArray[np.int8]
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Answers at many times: level now, and times x horizons of the band and of the level to warn of.

    `refused`: no answer there, the numbers are NaN. `silent`: times x series that were missing.
    """

    level: Values
    q10: Values
    q50: Values
    q90: Values
    alarm: Values
    refused: Flags
    silent: Flags


def prepare(model: Model, level: Series, others: Sequence[Series]) -> Prepared:
    """Clean by the limits learned; a series of the model that is not given counts as silent."""
    own = in_order(level)
    marks = cleaning.mark(own, model.limits[0])
    value = np.where(marks == Mark.GOOD, own.value, np.nan)
    known = Known.of(own.time_us, value)
    given = {one.name: one for one in others}
    cleaned = []
    for other, limits in zip(model.layout.others, model.limits[1:], strict=True):
        series = given.get(other.name)
        if series is None:
            cleaned.append(Known.of(np.zeros(0, dtype=np.int64), np.zeros(0)))
            continue
        ordered = in_order(series)
        cleaned.append(Known.of(ordered.time_us, cleaning.believed(ordered, limits)))
    return Prepared(
        level=known,
        others=tuple(cleaned),
        flat_since=cleaning.flat_since(known.time_us, known.value),
        raw=own,
        marks=marks,
        missing=tuple(name for name in model.series if name not in given),
    )


def levels(model: Model, prepared: Prepared, when: Times) -> Levels:
    """Answers at each of `when`, from what was known then."""
    bare = _bare(model, prepared, when)
    count = len(model.horizons_s)
    factors = _recent_factors(model, prepared, when)
    wider = np.where(bare.silent.any(axis=1), WIDER_WHEN_DEGRADED, 1.0)
    low, high, alarm = (np.empty((len(when), count)) for _ in range(3))
    middle = bare.level[:, None] + bare.change[:, :count]
    for index in range(count):
        width = bare.width[:, index] * factors[:, index] * wider
        below, above = model.bands[index].bounds(width)
        low[:, index], high[:, index] = middle[:, index] + below, middle[:, index] + above
        highest = bare.change[:, count + index]
        more = added(highest, bare.width[:, count + index], model.margins[index])
        alarm[:, index] = bare.level + highest + more
    refused = ~np.isfinite(bare.level) | stuck(model, prepared, when)
    for one in (low, middle, high, alarm):
        one[refused] = np.nan
    return Levels(
        level=bare.level, q10=low, q50=middle, q90=high, alarm=alarm, refused=refused, silent=bare.silent
    )


@dataclass(frozen=True, kw_only=True)
class _Bare:
    """Level now, changes foreseen and width of their errors (times x targets of the model), series missing."""

    level: Values
    change: Values
    width: Values
    silent: Flags


def _bare(model: Model, prepared: Prepared, when: Times) -> _Bare:
    """What the regression says, in portions that fit into memory."""
    starts = range(0, max(1, len(when)), AT_ONCE)
    parts = [_portion(model, prepared, when[start : start + AT_ONCE]) for start in starts]
    return _Bare(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def _portion(model: Model, prepared: Prepared, when: Times) -> _Bare:
    shown = show(model.layout, prepared.level, prepared.others, when)
    silent = np.zeros((len(when), len(model.layout.others)), dtype=bool)
    for index, (other, known) in enumerate(zip(model.layout.others, prepared.others, strict=True)):
        silent[:, index] = known.age(when) > other.max_age_us
    design = regression.design(model.scaling, model.layer, shown.matrix, silent)
    change = (design @ model.weights).astype(np.float64)
    width = np.empty_like(change)
    for index, band in enumerate(model.bands):
        signs = unrest(model.layout, prepared.level, prepared.others, when, change[:, index], model.heights)
        width[:, index] = band.width(signs)
    return _Bare(level=shown.level, change=change, width=width, silent=silent)


def _recent_factors(model: Model, prepared: Prepared, when: Times) -> Values:
    """Times x horizons: what the errors known by then, of forecasts of the last day, do to the width.

    The forecasts looked at are those of the first reading in each half hour, whoever asks and when.
    """
    count = len(model.horizons_s)
    factors = np.ones((len(when), count))
    if not len(when) or not len(prepared.level.time_us):
        return factors
    longest = max(model.layout.known_after_us(index) for index in range(count)) + DAY_US
    known = prepared.level.time_us
    first = np.append(True, np.diff(known // RECENT_EVERY_US) > 0)
    issued = known[first & (known > when.min() - longest) & (known <= when.max())]
    if not len(issued):
        return factors
    then = _bare(model, prepared, issued)
    for index in range(count):
        delay_us = model.layout.known_after_us(index)
        came = prepared.level.at(issued + delay_us, model.layout.step_us) - then.level
        ratio = np.abs(came - then.change[:, index]) / then.width[:, index]
        factors[:, index] = recent(issued, ratio, when, delay_us)
    return factors


def stuck(model: Model, prepared: Prepared, when: Times) -> Flags:
    """Whether the newest value has stood still for longer than this station ever does."""
    if not len(prepared.level.time_us):
        return np.ones(len(when), dtype=bool)
    newest = np.searchsorted(prepared.level.time_us, when, side="right") - 1
    since = prepared.flat_since[np.maximum(newest, 0)]
    last = prepared.level.time_us[np.maximum(newest, 0)]
    return np.asarray((newest >= 0) & (last - since > model.limits[0].flat_us))


def predict(model: Model, level: Series, others: Sequence[Series], now_us: int) -> Forecast | Refusal:
    """Levels ahead of `now_us` from what was known then, or why there are none."""
    prepared = prepare(model, level.before(now_us), [one.before(now_us) for one in others])
    answer = levels(model, prepared, np.array([now_us]))
    if answer.refused[0]:
        return _refusal(model, prepared, now_us)
    missing = tuple(name for name, gone in zip(model.series, answer.silent[0], strict=True) if gone)
    points = tuple(
        Point(horizon_s, float(answer.q10[0, i]), float(answer.q50[0, i]), float(answer.q90[0, i]))
        for i, horizon_s in enumerate(model.horizons_s)
    )
    basis, basis_en = _basis(model, missing)
    return Forecast(
        issued_us=now_us,
        level_m=float(answer.level[0]),
        points=points,
        alarm_m=tuple(float(one) for one in answer.alarm[0]),
        basis=basis,
        basis_en=basis_en,
        degraded=missing,
    )


def _refusal(model: Model, prepared: Prepared, now_us: int) -> Refusal:
    """Why: never heard of, flat, showing the impossible, or silent; in that order of certainty."""
    known = prepared.level.time_us
    if not len(prepared.raw.time_us):
        return Refusal(
            code="no_data", reason="测站尚无数据", reason_en="the station has sent nothing yet", since_us=None
        )
    if len(known) and now_us - known[-1] <= level_max_age(model.layout.step_us):
        since = int(prepared.flat_since[-1])
        hours = (int(known[-1]) - since) / HOUR_US
        return Refusal(
            code="flat",
            reason=f"水位已 {hours:.0f} 小时不变，疑似传感器卡滞",
            reason_en=f"the level has been flat for {hours:.0f} h: the sensor may be stuck",
            since_us=since,
        )
    last = int(known[-1]) if len(known) else None
    newest, mark = int(prepared.raw.time_us[-1]), Mark(prepared.marks[-1])
    if mark != Mark.GOOD and now_us - newest <= level_max_age(model.layout.step_us):
        value = float(prepared.raw.value[-1])
        return Refusal(
            code="out_of_range",
            reason=f"读数 {value:g} 不可信，暂不预报",
            reason_en=f"the reading {value:g} is not believed: no forecast from it",
            since_us=last,
        )
    minutes = (now_us - (last if last is not None else int(prepared.raw.time_us[0]))) / MINUTE_US
    return Refusal(
        code="silent",
        reason=f"测站已 {minutes:.0f} 分钟无有效数据",
        reason_en=f"the sensor has been silent for {minutes:.0f} min",
        since_us=last,
    )


def _basis(model: Model, missing: tuple[str, ...]) -> tuple[str, str]:
    """What the forecast rests on, in words."""
    if model.kind == "damped_trend":
        return "历史较短：按近期涨落趋势衰减外推", "short history: the recent trend, fading"
    used = [name for name in model.series if name not in missing]
    zh, en = ["本站历史"], ["its own history"]
    if model.layout.tidal:
        zh.append("潮汐周期")
        en.append("tidal periods")
    zh += used
    en += used
    note = f"；缺 {'、'.join(missing)}" if missing else ""
    note_en = f"; missing: {', '.join(missing)}" if missing else ""
    return f"回归：{'、'.join(zh)}{note}", f"regression on {', '.join(en)}{note_en}"
