"""The flood desk's file of defaults: who sends warnings, shifts, how long things hold, triggers to begin with.

A district's own ``flood.toml`` in its folder (CITY_CONFIG) replaces the tables it names.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from city.errors import CityError
from city.flood import Trigger
from command_centre.flood.response import Holding
from command_centre.flood.triggers import TriggerError, check_set, trigger_of

NAME = "flood.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Who issues warnings; ``{district}`` in the texts is filled in by ``command_centre.flood.warnings``."""

    address: str
    name: str
    name_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """Begins at this time of the district's day and lasts until the next one does."""

    name: str
    name_en: str
    begins: time


@dataclass(frozen=True, kw_only=True, slots=True)
class FloodDefaults:
    """Everything in the file."""

    sender: Sender
    holding: Holding
    remind_before: timedelta
    longest: timedelta
    shifts: tuple[Shift, ...]
    triggers: tuple[Trigger, ...]


def load(config: Path | None) -> FloodDefaults:
    """Built in, or replaced by the district's own tables; raises CityError naming file, key, value and remedy."""
    tables = tomllib.loads((resources.files("city") / "defaults" / NAME).read_text(encoding="utf-8"))
    where = f"built-in {NAME}"
    own = config / NAME if config is not None else None
    if own is not None and own.exists():
        where = str(own)
        try:
            tables |= tomllib.loads(own.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise CityError(f"{where}: {error}; mend the file or take it away") from error
    try:
        return _read(tables)
    except TriggerError as error:
        raise CityError(f"{where}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CityError(
            f"{where}: {type(error).__name__} {error}; compare with the built-in file (docs/flood.md)"
        ) from error


def _read(tables: Mapping[str, Any]) -> FloodDefaults:
    triggers = tuple(trigger_of(one) for one in tables["trigger"])
    check_set(triggers)
    shifts = tuple(
        Shift(name=str(one["name"]), name_en=str(one["name_en"]), begins=time.fromisoformat(one["begins"]))
        for one in tables["shift"]
    )
    if not shifts:
        raise ValueError("shift: name at least one")
    return FloodDefaults(
        sender=Sender(**tables["sender"]),
        holding=Holding(
            lower_after=_span(tables["holding"], "lower_after_h", 3600.0),
            withdraw_after=_span(tables["holding"], "withdraw_after_min", 60.0),
        ),
        remind_before=_span(tables["warning"], "remind_before_min", 60.0),
        longest=_span(tables["warning"], "longest_h", 3600.0),
        shifts=tuple(sorted(shifts, key=lambda shift: shift.begins)),
        triggers=triggers,
    )


def _span(table: Mapping[str, Any], key: str, seconds: float) -> timedelta:
    value = float(table[key]) * seconds
    if not 0 < value <= 31 * 86_400:
        raise ValueError(f"{key} = {table[key]!r}: must be above 0 and at most a month")
    return timedelta(seconds=value)
