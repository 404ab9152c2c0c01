"""Learning one station's model from its history."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from command_centre.flood.forecast import cleaning, episodes, regression, tides
from command_centre.flood.forecast.band import Band, calibrate, recent
from command_centre.flood.forecast.cleaning import Limits
from command_centre.flood.forecast.features import LEVEL_LAGS_MIN, Layout, Other, show
from command_centre.flood.forecast.model import Model
from command_centre.flood.forecast.outcome import Score
from command_centre.flood.forecast.regression import Layer, Scaling
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
    usual_step,
)
from command_centre.flood.forecast.unrest import unrest
from command_centre.flood.forecast.warning import USUAL, Practice, choose_margin

MOST_ROWS = 110_000  # more history is thinned evenly
FEWEST_ROWS = 100  # with less nothing is fitted: a damped trend with usual figures
SHORT_HISTORY_US = 10 * DAY_US
PLAIN_LAGS_MIN = (10, 30, 60, 120, 180)
MOST_SERIES = 16
LEAST_SHARE = 0.3  # of the rows that a further series must cover to be used
EVENT_WEIGHT = 3.0  # how much more often than its share high water counts when the band is fitted
TREND_FADES_S = 7200.0  # a trend of the last hour that nothing else is known about dies out within two


@dataclass(frozen=True, kw_only=True)
class Material:
    """Cleaned series, and the decision times with what came true after them (see `Model.weights`)."""

    level: Known
    others: tuple[Known, ...]
    when: Times
    targets: Values


def train(
    level: Series,
    others: Sequence[Series],
    *,
    horizons_s: Sequence[int],
    until_us: int,
    step_s: int | None = None,
) -> Model:
    """Learn from everything known at `until_us`; poor data give a damped trend, never an error."""
    own = in_order(level.before(until_us))
    horizons = tuple(sorted({int(one) for one in horizons_s}))
    step_us = step_s * 1_000_000 if step_s else usual_step(own.time_us)
    limits = cleaning.learn(own)
    known = Known.of(own.time_us, cleaning.believed(own, limits))
    when, targets = _outcomes(known, horizons, step_us)
    short = len(when) < FEWEST_ROWS or int(when[-1] - when[0]) < SHORT_HISTORY_US
    used = [] if short else _useful([in_order(one.before(until_us)) for one in others], when)
    learned = [cleaning.learn(one) for one in used]
    cleaned = tuple(
        Known.of(one.time_us, cleaning.believed(one, limit)) for one, limit in zip(used, learned, strict=True)
    )
    layout = _lay_out(horizons, step_us, known, when, list(zip(used, cleaned, strict=True)), short=short)
    material = Material(level=known, others=cleaned, when=when, targets=targets)
    return _fitted(level.name, until_us, layout, (limits, *learned), material, short=short)


def _outcomes(known: Known, horizons: tuple[int, ...], step_us: int) -> tuple[Times, Values]:
    """Decision times and, for each, changes over the horizons and highest rises within them."""
    when = known.time_us
    now = known.value
    columns: list[Values] = []
    for horizon_s in horizons:
        later = known.at(when + horizon_s * 1_000_000 + step_us // 2, step_us)
        columns.append(later - now)
    columns += [episodes.highest_within(when, now, horizon_s * 1_000_000) - now for horizon_s in horizons]
    targets = np.column_stack(columns) if columns else np.zeros((len(when), 0))
    whole = np.isfinite(targets).all(axis=1)
    rows = np.flatnonzero(whole)
    rows = rows[:: max(1, -(-len(rows) // MOST_ROWS))]
    return when[rows], targets[rows]


def _useful(others: Sequence[Series], when: Times) -> list[Series]:
    """Series that were there often enough and moved at all; the ones most often there first when there are many."""
    found: list[tuple[float, Series]] = []
    for one in others:
        good = np.isfinite(one.value)
        if good.sum() < FEWEST_ROWS or float(np.ptp(one.value[good])) <= 0:
            continue
        share = float(np.mean(np.isfinite(Known.of(one.time_us, one.value).at(when, 3 * HOUR_US))))
        if share >= LEAST_SHARE:
            found.append((share, one))
    found.sort(key=lambda pair: -pair[0])
    return [one for _, one in found[:MOST_SERIES]]


def _lay_out(
    horizons: tuple[int, ...],
    step_us: int,
    level: Known,
    when: Times,
    others: Sequence[tuple[Series, Known]],
    *,
    short: bool,
) -> Layout:
    lags = PLAIN_LAGS_MIN if short else LEVEL_LAGS_MIN
    wave = tides.within_a_day(level, when, level.at(when, step_us))
    return Layout(
        horizons_s=horizons,
        step_us=step_us,
        tidal=not short and tides.explained(when, wave) > tides.TIDAL_SHARE,
        level_lags_min=tuple(lag for lag in lags if lag * MINUTE_US >= 0.9 * step_us),
        cycles=not short,
        plain=short,
        others=tuple(_other(series, known, when) for series, known in others),
    )


def _other(series: Series, known: Known, when: Times) -> Other:
    age = max(3 * usual_step(series.time_us), 2 * HOUR_US)
    value = known.at(when, age)
    good = value[np.isfinite(value)]
    amplitudes: tuple[float, ...] = ()
    skewed = False
    if series.role != "rain" and len(good) > FEWEST_ROWS:
        low, middle, high = np.quantile(good, [0.01, 0.5, 0.995])
        skewed = bool(high - middle > 4 * (middle - low) and high > 5 * abs(middle))
        wave = tides.within_a_day(known, when, value)
        if tides.explained(when, wave) > 0.5:
            present = np.isfinite(wave)
            amplitudes = tuple(float(one) for one in tides.fit(when[present], wave[present]))
    return Other(name=series.name, role=series.role, skewed=skewed, max_age_us=age, amplitudes=amplitudes)


def _fitted(
    station: str,
    until_us: int,
    layout: Layout,
    limits: tuple[Limits, ...],
    material: Material,
    *,
    short: bool,
) -> Model:
    if len(material.when) < FEWEST_ROWS:
        return _unfitted(station, until_us, layout, limits, material)
    shown = show(layout, material.level, material.others, material.when)
    scaling = Scaling.learn(shown)
    days = float(material.when[-1] - material.when[0]) / DAY_US
    units = 0 if short else int(min(regression.MOST_HIDDEN, 6 * days))
    layer = Layer.draw(int(np.sum(scaling.hidden)), units)
    rows = regression.design(scaling, layer, shown.matrix, silent(material, layout))
    blocks = regression.block_numbers(material.when, shown.level)
    fit = regression.fit(
        rows, shown.matrix.shape[1], material.targets, blocks, _important(shown.level, material)
    )
    low, high = np.quantile(shown.level, [0.75, 0.97])
    heights = (float(low), float(high))
    count = len(layout.horizons_s)
    bands = tuple(
        _band(layout, material, heights, fit.unseen[:, index], material.targets[:, index], index % count)
        for index in range(2 * count)
    )
    return Model(
        kind="damped_trend" if short else "regression",
        station=station,
        horizons_s=layout.horizons_s,
        trained_until_us=until_us,
        rows=len(material.when),
        layout=layout,
        limits=limits,
        scaling=scaling,
        layer=layer,
        weights=fit.weights.astype(np.float32),
        bands=bands,
        heights=heights,
        margins=_margins(layout, material, heights, shown.level, fit.unseen, bands),
        scores=_scores(layout, material, heights, fit.unseen, bands),
    )


def silent(material: Material, layout: Layout) -> Flags:
    """Rows x series: which further series had nothing to say at a decision time."""
    flags = np.zeros((len(material.when), len(layout.others)), dtype=bool)
    for index, (other, known) in enumerate(zip(layout.others, material.others, strict=True)):
        flags[:, index] = known.age(material.when) > other.max_age_us
    return flags


def _near_high_water(layout: Layout, material: Material) -> Flags:
    """Times from half a day before the highest fiftieth of all levels to half a day after: where a band matters."""
    level = material.level.at(material.when, layout.step_us)
    high = material.when[level >= np.quantile(level, 0.98)]
    if not len(high):
        return np.zeros(len(level), dtype=bool)
    next_high = np.minimum(np.searchsorted(high, material.when), len(high) - 1)
    before = np.abs(high[next_high] - material.when)
    after = np.abs(material.when - high[np.maximum(next_high - 1, 0)])
    return np.asarray(np.minimum(before, after) <= 12 * HOUR_US)


def _important(level: Values, material: Material) -> Flags:
    """The highest twentieth of the levels and the largest twentieth of the changes: floods, and the way there."""
    changes = np.max(np.abs(material.targets), axis=1)
    return np.asarray((level > np.quantile(level, 0.95)) | (changes > np.quantile(changes, 0.95)))


def _band(
    layout: Layout,
    material: Material,
    heights: tuple[float, float],
    said: Values,
    came: Values,
    horizon: int,
) -> Band:
    signs = unrest(layout, material.level, material.others, material.when, said, heights)
    weight = np.where(_near_high_water(layout, material), EVENT_WEIGHT, 1.0)
    return calibrate(signs, came - said, weight, material.when, layout.known_after_us(horizon))


def _margins(
    layout: Layout,
    material: Material,
    heights: tuple[float, float],
    level: Values,
    unseen: Values,
    bands: Sequence[Band],
) -> tuple[float, ...]:
    count = len(layout.horizons_s)
    margins = []
    for index, horizon_s in enumerate(layout.horizons_s):
        highest = unseen[:, count + index]
        signs = unrest(layout, material.level, material.others, material.when, highest, heights)
        practice = Practice(
            time_us=material.when,
            level=level,
            highest=highest,
            width=bands[count + index].width(signs),
            horizon_us=horizon_s * 1_000_000,
        )
        margins.append(choose_margin(practice))
    return tuple(margins)


def _scores(
    layout: Layout, material: Material, heights: tuple[float, float], unseen: Values, bands: Sequence[Band]
) -> tuple[Score, ...]:
    scores = []
    for index, horizon_s in enumerate(layout.horizons_s):
        said, came = unseen[:, index], material.targets[:, index]
        signs = unrest(layout, material.level, material.others, material.when, said, heights)
        width = bands[index].width(signs)
        width *= recent(
            material.when, np.abs(came - said) / width, material.when, layout.known_after_us(index)
        )
        low, high = bands[index].bounds(width)
        inside = (came - said >= low) & (came - said <= high)
        scores.append(
            Score(
                horizon_s=horizon_s,
                n=len(came),
                rmse_m=float(np.sqrt(np.mean((came - said) ** 2))),
                rmse_persistence_m=float(np.sqrt(np.mean(came**2))),
                coverage=float(np.mean(inside)),
            )
        )
    return tuple(scores)


def _unfitted(
    station: str, until_us: int, layout: Layout, limits: tuple[Limits, ...], material: Material
) -> Model:
    """Nothing learned yet: the trend of the last hour (or step), fading; a band as wide as the trend itself."""
    shown = show(layout, material.level, (), np.zeros(1, dtype=np.int64))
    columns = shown.matrix.shape[1]
    ones, nothing = np.ones(columns), np.zeros(columns)
    scaling = Scaling(
        mean=nothing,
        spread=ones,
        middle=nothing[:0],
        width=ones[:0],
        shape_mean=nothing[:0],
        shape_spread=ones[:0],
        series=np.full(columns, -1),
        hidden=np.zeros(columns, dtype=bool),
        slow=np.zeros(columns, dtype=bool),
        covariance=np.eye(columns, dtype=np.float32),
    )
    lags = np.array(layout.level_lags_min, dtype=float)
    used = int(np.argmin(np.abs(lags - 60.0)))
    weights = np.zeros((columns + 1, 2 * len(layout.horizons_s)), dtype=np.float32)
    for index, horizon_s in enumerate(layout.horizons_s):
        gain = TREND_FADES_S * (1 - np.exp(-horizon_s / TREND_FADES_S)) / (60.0 * lags[used])
        weights[used + 1, index] = weights[used + 1, len(layout.horizons_s) + index] = gain
    band = Band(weights=(0.03, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), middles=(0.03,), low=(-1.5,), high=(1.5,))
    return Model(
        kind="damped_trend",
        station=station,
        horizons_s=layout.horizons_s,
        trained_until_us=until_us,
        rows=len(material.when),
        layout=layout,
        limits=limits,
        scaling=scaling,
        layer=Layer.draw(0, 0),
        weights=weights,
        bands=(band,) * (2 * len(layout.horizons_s)),
        heights=(np.inf, np.inf),
        margins=(USUAL,) * len(layout.horizons_s),
        scores=(),
    )
