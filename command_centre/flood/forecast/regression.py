"""Ridge regression on columns and on random combinations of them, with its penalties chosen by cross-validation.

The change of level over a horizon is a linear function of the columns plus a linear function of a hidden layer:
tanh of fixed random mixtures of the main columns, each compressed by asinh first. The hidden layer learns how
tide, rain and level act together (a tide dies out in a flood); tanh is bounded, so far outside of all experience
it falls silent and the linear part, made of differences, carries the forecast on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from command_centre.flood.forecast.features import Shown
from command_centre.flood.forecast.series import DAY_US, Flags, Times, Values

Matrix = NDArray[np.float32]

# (penalty of the linear columns, of the hidden ones), relative to standardised columns; the last is nearly "no change".
PENALTIES = ((0.01, 0.01), (0.01, 0.1), (0.1, 0.1), (0.1, 1.0), (0.3, 10.0), (3.0, 100.0), (100.0, 1000.0))
SEASON_GAP_US = 45 * DAY_US
FEWEST_SEASONS, MOST_BLOCKS = 3, 8
MOST_HIDDEN = 400
SEED = 20120705  # any number; fixed so that training twice gives the same model


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How raw columns become comparable, and how a missing series is made up for.

    `covariance` is that of the standardised columns: the expected value of the missing ones given the rest.
    """

    mean: Values
    spread: Values
    middle: Values
    width: Values
    shape_mean: Values
    shape_spread: Values
    series: NDArray[np.int64]
    hidden: Flags
    slow: Flags
    covariance: Matrix

    @classmethod
    def learn(cls, shown: Shown) -> "Scaling":
        """From the training rows."""
        raw = shown.matrix
        mean = np.nan_to_num(np.nanmean(raw, axis=0))
        spread = np.nan_to_num(np.nanstd(raw, axis=0))
        spread = np.where(spread > 1e-9, spread, np.inf)
        hidden = np.array([column.hidden for column in shown.columns])
        chosen = raw[:, hidden]
        middle = np.nan_to_num(np.nanmedian(chosen, axis=0))
        away = np.abs(chosen - middle)
        width = np.nan_to_num(np.nanquantile(away, 0.75, axis=0))
        width = np.maximum(width, 0.1 * np.nan_to_num(np.nanstd(chosen, axis=0))) + 1e-6
        shapes = np.arcsinh((chosen - middle) / width)
        standard = _filled((raw - mean) / spread)
        return cls(
            mean=mean,
            spread=spread,
            middle=middle,
            width=width,
            shape_mean=np.nan_to_num(np.nanmean(shapes, axis=0)),
            shape_spread=np.nan_to_num(np.nanstd(shapes, axis=0)) + 1e-9,
            series=np.array([column.series for column in shown.columns]),
            hidden=hidden,
            slow=np.array([column.slow for column in shown.columns]),
            covariance=((standard.T @ standard) / np.float32(max(1, len(standard))))
            .astype(np.float16)
            .astype(np.float32),
        )

    def standard(self, raw: Values, silent: Flags) -> Matrix:
        """Standardised columns; those of silent series (rows x series) as the rest leads to expect them."""
        standard = _filled((raw - self.mean) / self.spread)
        if not silent.any():
            return standard
        patterns, which = np.unique(silent, axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            if not pattern.any():
                continue
            rows = np.flatnonzero(which.ravel() == index)
            lost = np.isin(self.series, np.flatnonzero(pattern))
            standard[np.ix_(rows, lost)] = standard[np.ix_(rows, ~lost)] @ self._expectation(lost)
        return standard

    def _expectation(self, lost: Flags) -> Matrix:
        """Weights that give the lost columns from the others (Gaussian conditional mean)."""
        kept = self.covariance[np.ix_(~lost, ~lost)].astype(np.float64)
        kept += 0.01 * np.eye(len(kept))
        return np.linalg.solve(kept, self.covariance[np.ix_(~lost, lost)].astype(np.float64)).astype(
            np.float32
        )

    def shapes(self, standard: Matrix) -> Matrix:
        """Compressed columns for the hidden layer, from the standardised ones."""
        finite = np.where(np.isfinite(self.spread[self.hidden]), self.spread[self.hidden], 0.0)
        raw = standard[:, self.hidden] * finite + self.mean[self.hidden]
        shape = np.arcsinh((raw - self.middle) / self.width)
        return np.asarray((shape - self.shape_mean) / self.shape_spread, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The fixed random mixtures: tanh(shapes @ mix + shift)."""

    mix: Matrix
    shift: Matrix

    @classmethod
    def draw(cls, inputs: int, units: int) -> "Layer":
        """Mixtures of four breadths: some units bend gently, some switch."""
        random = np.random.default_rng(SEED)
        breadth = np.resize(np.array([0.5, 0.8, 1.1, 1.4]), units)
        mix = random.normal(size=(inputs, units)) * breadth / np.sqrt(max(1, inputs))
        shift = random.normal(size=units)
        # Rounded to what is stored, so that a model read back says exactly the same.
        return cls(
            mix=mix.astype(np.float16).astype(np.float32), shift=shift.astype(np.float16).astype(np.float32)
        )

    def answer(self, shapes: Matrix) -> Matrix:
        """One row of hidden columns for each row of shapes."""
        answer: Matrix = np.tanh(shapes @ self.mix + self.shift)
        return answer


def design(scaling: Scaling, layer: Layer, raw: Values, silent: Flags) -> Matrix:
    """Everything the weights are applied to: a one, the linear columns, the hidden columns."""
    standard = scaling.standard(raw, silent)
    hidden = layer.answer(scaling.shapes(standard))
    standard[:, scaling.slow] = np.arcsinh(standard[:, scaling.slow])
    return np.hstack([np.ones((len(raw), 1), dtype=np.float32), standard, hidden])


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Cross products of some rows: columns with columns, columns with targets, and how many rows."""

    gram: Values
    cross: Values
    count: float

    def without(self, part: "Sums") -> "Sums":
        """The sums of the other rows."""
        return Sums(gram=self.gram - part.gram, cross=self.cross - part.cross, count=self.count - part.count)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Weights (design columns x targets), and what they would have said of blocks they had not seen."""

    weights: Values
    unseen: Values
    chosen: tuple[int, ...]


def fit(rows: Matrix, linear: int, targets: Values, blocks: NDArray[np.int64], important: Flags) -> Fit:
    """Solve for each penalty, leaving out each block in turn; keep the best penalty for each target.

    Best is the least sum of two relative errors: over all rows, and over the `important` ones (high or fast
    water), so that a thousand calm hours do not outvote a flood. `linear` = number of linear columns.
    """
    grams = [_sums(rows[blocks == block], targets[blocks == block]) for block in np.unique(blocks)]
    whole = Sums(
        gram=np.sum([one.gram for one in grams], axis=0),
        cross=np.sum([one.cross for one in grams], axis=0),
        count=sum(one.count for one in grams),
    )
    outside = [whole.without(one) for one in grams]
    best = np.full(targets.shape[1], np.inf)
    chosen = np.zeros(targets.shape[1], dtype=int)
    unseen = np.zeros_like(targets)
    weights = np.zeros((rows.shape[1], targets.shape[1]))
    failures = 0
    for index, penalty in enumerate(PENALTIES):
        said = np.empty_like(targets)
        for block, sums in zip(np.unique(blocks), outside, strict=True):
            inside = blocks == block
            said[inside] = rows[inside] @ _solve(sums, linear, penalty).astype(np.float32)
        cost = _cost(targets, said, np.ones(len(rows), dtype=bool)) + _cost(targets, said, important)
        better = cost < best - 0.002
        if better.any():
            weights[:, better] = _solve(whole, linear, penalty)[:, better]
            unseen[:, better] = said[:, better]
            best[better], chosen[better] = cost[better], index
        failures = 0 if better.any() else failures + 1
        if failures == 2:
            break  # it only gets worse from here
    return Fit(weights=weights, unseen=unseen, chosen=tuple(int(one) for one in chosen))


def block_numbers(when: Times, level: Values) -> NDArray[np.int64]:
    """Whole stretches of time to be left out in turn.

    Seasons with months between them are left out whole, as the next season will be new as a whole. Otherwise the
    record is cut into even parts, at the lowest water near each even cut, so that no flood is divided.
    """
    seasons = np.cumsum(np.append(False, np.diff(when) > SEASON_GAP_US)).astype(np.int64)
    if FEWEST_SEASONS <= seasons[-1] + 1 <= MOST_BLOCKS:
        return seasons
    days = float(when[-1] - when[0]) / DAY_US
    count = 6 if days > 60 else max(3, int(days / 8))
    total = len(level)
    numbers = np.zeros(total, dtype=np.int64)
    width = total / count
    for cut in range(1, count):
        low, high = int((cut - 0.25) * width), max(int((cut + 0.25) * width), int((cut - 0.25) * width) + 1)
        numbers[low + int(np.argmin(level[low:high])) :] = cut
    return numbers


def _filled(standard: Values) -> Matrix:
    return np.nan_to_num(standard, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)


def _sums(rows: Matrix, targets: Values) -> Sums:
    return Sums(
        gram=(rows.T @ rows).astype(np.float64),
        cross=(rows.T @ targets.astype(np.float32)).astype(np.float64),
        count=float(len(rows)),
    )


def _solve(sums: Sums, linear: int, penalty: tuple[float, float]) -> Values:
    damping = np.full(len(sums.gram), penalty[1])
    damping[: linear + 1] = penalty[0]
    damping[0] = 1e-6
    count = max(sums.count, 1.0)
    weights = np.linalg.solve(sums.gram / count + np.diag(damping), sums.cross / count)
    return np.asarray(weights, dtype=np.float64)


def _cost(targets: Values, said: Values, which: Flags) -> Values:
    """Error relative to "no change", for each target."""
    if not which.any():
        return np.zeros(targets.shape[1])
    error = np.sqrt(np.mean((targets[which] - said[which]) ** 2, axis=0))
    still = np.sqrt(np.mean(targets[which] ** 2, axis=0))
    cost: Values = np.asarray(error / np.maximum(still, 1e-9), dtype=np.float64)
    return cost
