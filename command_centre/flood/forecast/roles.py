"""What an unnamed column most likely is, from its name and its values."""

import numpy as np

from command_centre.flood.forecast.series import Role, Values

RAIN_WORDS = ("rain", "precip", "雨", "降水")
TIDE_WORDS = ("tide", "潮")
RELEASE_WORDS = ("outflow", "release", "discharge", "泄", "出库")
FEWEST_VALUES = 100


def guess_role(name: str, value: Values) -> Role:
    """Rain is summed over windows, everything else is a state: only this difference changes a model.

    Without a telling name a column is rain when it is never negative and dry most of the time, yet often wet.
    """
    lower = name.lower()
    known = value[np.isfinite(value)]
    if any(word in lower for word in RAIN_WORDS):
        return "rain"
    if any(word in lower for word in TIDE_WORDS):
        return "tide"
    if any(word in lower for word in RELEASE_WORDS):
        return "release"
    if len(known) >= FEWEST_VALUES and known.min() >= 0:
        wet = float(np.mean(known > 0))
        changes = float(np.mean(np.diff(known) != 0))
        if 0.001 < wet < 0.3 and changes > 0.3 * wet and np.quantile(known, 0.999) < 100:
            return "rain"
    return "other"
