"""``feeds.toml`` of the district's folder: whose gauges are asked for, how often, at which address; pure."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from city.settings import SettingsError

MOST_STATIONS = 2_000
_DAY_S = 86_400.0
_QUARTER_DAY_S = 21_600.0
_STATION = re.compile(r"[A-Za-z0-9_.-]{1,40}")

# Family: its own address, and what is asked of each station: the topic's last level, path, seconds between (0 = as the
# feed says). Addresses stay the same from one time to the next, so that "unchanged" can be answered.
FAMILIES: Mapping[str, tuple[str, tuple[tuple[str, str, float], ...]]] = {
    "environment_agency": (
        "https://environment.data.gov.uk/flood-monitoring",
        (
            ("station", "/id/stations/{station}", _DAY_S),
            ("readings", "/id/stations/{station}/readings?_sorted&_limit={limit}", 0),
        ),
    ),
    "nwps": (
        "https://api.water.noaa.gov/nwps/v1",
        (
            ("gauge", "/gauges/{station}", 0),
            ("stageflow", "/gauges/{station}/stageflow/observed", _QUARTER_DAY_S),
        ),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One address that is asked for again and again; the answer goes on under ``topic``."""

    topic: str
    url: str
    every_s: float


def read_feeds(text: str, name: str = "feeds.toml") -> list[Ask]:
    """Everything that is to be asked for. Raises SettingsError naming the table, key, value and remedy.

    ``[[feed]]`` with ``family``, ``stations``, and if need be ``every_minutes`` (15; 1 to 1440), ``limit`` of readings
    in one answer (400; 10 to 2000) and ``url``.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: not TOML ({error})") from error
    feeds = tables.pop("feed", [])
    if tables or not isinstance(feeds, list) or not all(isinstance(one, dict) for one in feeds):
        raise SettingsError(f"{name}: holds [[feed]] tables and nothing else; see docs/feeds.md")
    asks = [ask for number, feed in enumerate(feeds, 1) for ask in _asks(f"{name} feed {number}", feed)]
    topics = {ask.topic for ask in asks}
    if len(topics) < len(asks):
        raise SettingsError(f"{name}: a station is named twice; name each once")
    if len(asks) > 2 * MOST_STATIONS:
        raise SettingsError(f"{name}: {len(asks) // 2} stations; at most {MOST_STATIONS}")
    return asks


def _asks(where: str, feed: dict[str, Any]) -> list[Ask]:
    unknown = set(feed) - {"family", "stations", "every_minutes", "limit", "url"}
    if unknown:
        raise SettingsError(f"{where}: unknown key {sorted(unknown)[0]}; see docs/feeds.md")
    family = feed.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        raise SettingsError(f"{where}: family = {family!r}; use one of {', '.join(FAMILIES)}")
    stations = feed.get("stations")
    if not isinstance(stations, list) or not stations:
        raise SettingsError(f"{where}: stations = {stations!r}; give a list of their references")
    for one in stations:
        if not isinstance(one, str) or not _STATION.fullmatch(one) or one in (".", ".."):
            raise SettingsError(f"{where}: stations has {one!r}; a reference is letters, digits, _ . -")
    every_s = 60 * _number(where, feed, "every_minutes", 15, 1, 1440)
    limit = int(_number(where, feed, "limit", 400, 10, 2000))
    own, parts = FAMILIES[family]
    url = feed.get("url", own)
    if (
        not isinstance(url, str)
        or urlsplit(url).scheme not in ("http", "https")
        or not urlsplit(url).hostname
    ):
        raise SettingsError(f"{where}: url = {url!r}; must look like https://host/path")
    return [
        Ask(
            topic=f"{family}/{station}/{what}",
            url=url.rstrip("/") + path.format(station=quote(station, safe=""), limit=limit),
            every_s=seconds or every_s,
        )
        for station in stations
        for what, path, seconds in parts
    ]


def _number(where: str, feed: dict[str, Any], key: str, usual: float, least: float, most: float) -> float:
    value = feed.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise SettingsError(f"{where}: {key} = {value!r}; use a number from {least:g} to {most:g}")
    return float(value)
