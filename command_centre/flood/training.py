"""Trains the models of stations in a process of its own: ``python -m command_centre.flood.training``.

The centre's screens must not wait for arithmetic, so it starts this and reads one line of JSON for each station.
The order stands in the first line of standard input; when that closes, its sender is gone, and so are we.
"""

import json
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from psycopg import Connection

from city.observations import instant
from city.stations import Station
from city.storage import forecasts, stations
from city.storage.database import connect, translated
from command_centre.flood.forecast import train
from command_centre.flood.forecast_plan import HISTORY_ROWS, step_of
from command_centre.flood.readings import Readings

HORIZONS_S = (1800, 3600, 7200, 10_800, 21_600)  # the first for culverts, which are full within the hour
_NICE = 10  # screens and ingest come first


class Order(msgspec.Struct):
    """Which stations to train, by code, on what was read until ``now``."""

    url: str
    stations: list[str]
    now: datetime


class Trained(msgspec.Struct):
    """What became of one station; ``fault`` when its model could not be trained."""

    station: str
    kind: str = ""
    rows: int = 0
    took_s: float = 0.0
    fault: str = ""


def main() -> int:
    """Train what the order names; one line of JSON for each. Returns 0."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_sender, daemon=True).start()
    os.nice(_NICE)
    with connect(order.url, application="city training", autocommit=True) as connection, translated():
        for code in order.stations:
            for station in stations.load(connection, code):
                line = msgspec.json.encode(train_station(connection, station, order.now))
                sys.stdout.buffer.write(line + b"\n")
                sys.stdout.buffer.flush()
    return 0


def _end_with_sender() -> None:
    while os.read(0, 4096):  # not through sys.stdin: its lock would be held when the interpreter ends
        pass
    os._exit(1)


def train_station(connection: Connection[Any], station: Station, now: datetime) -> Trained:
    """Read a station's history, learn from it, keep the model. A fault of one station is not the others'."""
    began = time.monotonic()
    step_s = step_of(station.kind, station.expected_interval_s)
    start = now - timedelta(seconds=step_s * HISTORY_ROWS)
    level, others = Readings(connection, start=start, end=now).of(station, step_s)
    if not len(level.time_us):
        return Trained(station=station.code, fault="no levels")
    try:
        model = train(
            level,
            others,
            horizons_s=HORIZONS_S,
            until_us=round(now.timestamp() * 1_000_000),
            step_s=step_s,
        )
        stored = json.loads(json.dumps(model.to_dict(), default=_plain))
    except Exception as error:  # arithmetic on strange data: said, and the next station goes on
        return Trained(station=station.code, fault=f"{type(error).__name__}: {error}"[:300])
    took_s = time.monotonic() - began
    with connection.transaction():
        forecasts.store_model(
            connection,
            station.id,
            kind=model.kind,
            trained_at=datetime.now(UTC),
            first_at=instant(int(level.time_us[0])),
            trained_until=instant(int(level.time_us[-1])),
            rows=model.rows,
            took_s=took_s,
            scores=[_score(score) for score in stored["scores"]],
            model=stored,
        )
    return Trained(station=station.code, kind=model.kind, rows=model.rows, took_s=round(took_s, 3))


def _plain(value: object) -> object:
    """numpy's own numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _score(score: dict[str, Any]) -> dict[str, Any]:
    """As the desk shows it: skill beside the errors it comes from, rounded to what they are worth."""
    error, persistence = score["rmse_m"], score["rmse_persistence_m"]
    skill = 1 - (error / persistence) ** 2 if persistence > 0 else None
    return {
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in score.items()},
        "skill": None if skill is None else round(skill, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
