"""Levels ahead for one station: arithmetic only, no clock and no storage.

    model = train(level, others, horizons_s=(3600, 10800, 21600), until_us=...)
    answer = predict(model, level, others, now_us)      # Forecast, or Refusal with the reason in words
    when = time_to(answer, 4.5)                         # TimeTo(seconds, earliest_s), None = not within the horizons

`train` and `predict` take whole series in any order and look only at what lies at or before `until_us` and
`now_us`. `Model.to_dict` is JSON-able; `Model.from_dict` raises ValueError for a format of another version.
"""

from command_centre.flood.forecast.model import Model
from command_centre.flood.forecast.outcome import Forecast, Point, Refusal, Score, TimeTo, time_to
from command_centre.flood.forecast.prediction import predict
from command_centre.flood.forecast.series import Role, Series
from command_centre.flood.forecast.training import train

__all__ = [
    "Forecast",
    "Model",
    "Point",
    "Refusal",
    "Role",
    "Score",
    "Series",
    "TimeTo",
    "predict",
    "time_to",
    "train",
]
