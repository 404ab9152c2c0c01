"""How much room is left on a disk, in three words; pure.

Room comes back slowly and in steps (a log segment recycled, a table cut), so each word has its own way back: a quarter
more than the limit that brought it, or the same disk would be called full and not full once a second.
"""

from typing import Literal

Room = Literal["ok", "little", "none"]

WAY_BACK = 1.25
GB = 1024**3


def judge(free_bytes: int, before: Room, *, little_bytes: int, none_bytes: int) -> Room:
    """``little``: somebody must make room. ``none``: nothing more is taken, before the database itself stops.

    ``before`` is what was said last. A ``little_bytes`` below ``none_bytes`` warns at the moment of stopping.
    """
    if free_bytes < none_bytes * (WAY_BACK if before == "none" else 1):
        return "none"
    if free_bytes < max(little_bytes, none_bytes) * (1 if before == "ok" else WAY_BACK):
        return "little"
    return "ok"


def worse(one: Room, other: Room) -> Room:
    """The one that needs a person sooner."""
    order: tuple[Room, ...] = ("ok", "little", "none")
    return max(one, other, key=order.index)
