"""What sirens and signs are told: one retained message for each cell and station, saying what stands there now; pure.

State, not events: a sign that comes back reads how things are, and what began and ended while the broker was away
never sounds a siren. A message is the same bytes for the same state, so that nothing is said twice.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import msgspec

Row = Mapping[str, Any]
VERSION = 1


def topic(base: str, what: str, code: str) -> str:
    """``out/alarms/C1``, ``out/levels/W1``; what a topic's level cannot hold is written as in addresses (``%2F``)."""
    return f"{base}/{what}/{_level(code)}"


def _level(code: str) -> str:
    return "".join(quote(char, safe="") if char in "/+#%" or ord(char) < 32 else char for char in code)


def alarm(base: str, row: Row) -> tuple[str, bytes]:
    """Topic and message of a cell in which something stands; ``row`` as ``city.storage.signs.standing`` gives it."""
    cell, category = row["cell_name"] or row["cell"], row["category_name"] or row["category"]
    cell_en, category_en = row["cell_name_en"] or cell, row["category_name_en"] or category
    return topic(base, "alarms", row["cell"]), msgspec.json.encode(
        {
            "v": VERSION,
            "cell": row["cell"],
            "alarms": row["alarms"],
            "class": row["class"],
            "level": row["level"],
            "category": row["category"],
            "since": row["since"],
            "exercise": row["exercise"],
            "text": f"{'【演练】' if row['exercise'] else ''}{cell}：{category}",
            "text_en": f"{'EXERCISE ' if row['exercise'] else ''}{cell_en}: {category_en}",
        }
    )


def level(base: str, row: Row) -> tuple[str, bytes]:
    """Topic and message of a station whose level alarm stands."""
    name = row["station_name"] or row["station"]
    words = {"blue": "蓝色", "yellow": "黄色", "orange": "橙色", "red": "红色"}[row["level"]]
    return topic(base, "levels", row["station"]), msgspec.json.encode(
        {
            "v": VERSION,
            "station": row["station"],
            "level": row["level"],
            "class": row["class"],
            "since": row["since"],
            "exercise": row["exercise"],
            "text": f"{'【演练】' if row['exercise'] else ''}{name}：水位{words}报警",
            "text_en": f"{'EXERCISE ' if row['exercise'] else ''}{name}: water level {row['level']}",
        }
    )


def clear(base: str, of: str) -> bytes:
    """What is said on a topic where nothing stands; from the topic alone, since its cell may be gone."""
    what, _, code = of.removeprefix(f"{base}/").partition("/")
    named = {"station": unquote(code)} if what == "levels" else {"cell": unquote(code), "alarms": 0}
    return msgspec.json.encode({"v": VERSION, **named, "class": None, "level": None, "exercise": False})


def ours(base: str, of: str) -> bool:
    """Whether a topic is one of those above."""
    return of.startswith((f"{base}/alarms/", f"{base}/levels/")) and of.count("/") == base.count("/") + 2


def to_say(
    base: str, wanted: Mapping[str, bytes], said: Mapping[str, bytes], under_way: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Messages that differ from what the broker has, or is just being told, by topic.

    ``said`` holds what the broker keeps under ``base``, also what somebody before us said.
    """
    fresh: dict[str, bytes] = {}
    for of in wanted.keys() | said.keys():
        message = wanted.get(of) or clear(base, of)
        if under_way.get(of, said.get(of)) != message:
            fresh[of] = message
    return fresh
