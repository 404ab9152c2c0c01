"""Bodies that are JSON and wrong: a plausible one with some of its parts exchanged, as the fuzzer's bytes say.

Bytes at random do not get past the JSON parser, and coverage does not lead through it: it is no Python.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.0, -0.0, 1e-320, 1e308, -1e308, "", " ",
    "\x00", "0", "-1", "1e999", "NaN", "Infinity", "null", "true", "2026-02-30T25:61:61Z", "2026-11-22T00:00:00+99:99",
    "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "+", "#", "/", "$SYS", "../..", "\ud7ff\U0010ffff",
    "x" * 5000, "é" * 97, [], {}, [[]], [None], [{}] * 300, {"": ""}, {"x" * 5000: 1}, [0] * 5000,
)  # fmt: skip


def changed(body: Any, data: bytes) -> Any:
    """A deep copy of ``body`` with up to eight of its parts exchanged for odd values, other parts, or nothing."""
    body = json.loads(json.dumps(body))
    for at in range(0, min(len(data), 24) - 2, 3):
        places = list(_places(body))
        if not places:
            break
        holder, key = places[int.from_bytes(data[at : at + 2]) % len(places)]
        choice = data[at + 2]
        if choice == 255 and isinstance(holder, dict):
            del holder[key]
        elif choice == 254:
            holder[key] = _of(places[at * 7 % len(places)])
        elif choice == 253 and isinstance(holder, dict):
            holder[str(key).upper()] = holder.pop(key)
        else:
            holder[key] = deepcopy(ODD[choice % len(ODD)])
    return body


def _places(body: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(body) if isinstance(body, dict) else range(len(body)) if isinstance(body, list) else ()
    for key in list(keys)[:50]:
        yield body, key
        yield from _places(body[key])


def _of(place: tuple[Any, Any]) -> Any:
    holder, key = place
    return json.loads(json.dumps(holder[key]))
