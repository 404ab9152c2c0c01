"""Whether two things said are one matter: place, kind, time and words weighed, with the reasons in both languages.

Machines join only what is certain: place, family and window agree. Everything else is a suggestion for a person.
Words raise or lower a suggestion; they make nothing certain by themselves, since a street has many blocked drains.
docs/merging.md has the weights and how they were measured.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from city.catalogue import family
from command_centre.triage import JOIN_WINDOW

Reason = tuple[str, str]  # Chinese, English

WEIGHTS: Mapping[str, float] = {"place": 0.40, "category": 0.25, "time": 0.15, "text": 0.20}
SUGGESTED = 0.45  # below it nothing is shown, and a merge by hand must say why
NEAR_M = 300.0  # farther apart is no place in common
# Within it, positions alone say "the same": a fire is seen from afar, a manhole cover is a point.
SAME_EVENT_M, SAME_THING_M = 200.0, 50.0
APART_M = 500.0  # one cell, but too far apart for one fire
HALF_LIFE = timedelta(hours=24)  # of what a gap in time is worth
SAME_WORDS = 0.40  # of ``similarity``: two people about one thing, measured on pairs (docs/merging.md)
_EVENTS = frozenset({"fire", "flood"})
_EARTH_M = 6_371_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What was just reported. ``beside`` are the cells next to its own; ``category`` None = nobody said yet."""

    category: str | None
    cell_id: int | None = None
    beside: frozenset[int] = frozenset()
    longitude: float | None = None
    latitude: float | None = None
    text: str = ""
    at: datetime
    parts: frozenset[str] = field(init=False, default=frozenset())  # of its text; compared with many

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", parts_of(self.text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What an open incident rests on: its cells, those where an alarm still stands, where exactly, what was said.

    ``last_at`` is the newest alarm or report of it.
    """

    category: str
    cells: frozenset[int] = frozenset()
    standing: frozenset[int] = frozenset()
    positions: tuple[tuple[float, float], ...] = ()  # longitude, latitude
    texts: tuple[str, ...] = ()
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """``value`` is 0 to 1; ``certain`` may be joined without a person."""

    value: float
    certain: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    value: float
    reason: Reason
    agrees: bool = False


def score(told: Told, known: Known, window: timedelta = JOIN_WINDOW) -> Score:
    """How likely ``told`` is about the open incident; 0 where place and category share nothing."""
    place, category, time = _place(told, known), _category(told, known), _time(told, known, window)
    if place.value == 0 or category.value == 0:
        failing = place if place.value == 0 else category
        return Score(value=0.0, certain=False, reasons=(failing.reason,))
    parts = {"place": place, "category": category, "time": time}
    words = _words(told, known)
    if words is not None:
        parts["text"] = words
    weight = value = 0.0
    for name, part in parts.items():
        weight += WEIGHTS[name]
        value += WEIGHTS[name] * part.value
    certain = place.agrees and category.agrees and time.agrees and not _contradicts(told, known, words)
    return Score(
        value=round(value / weight, 3), certain=certain, reasons=tuple(part.reason for part in parts.values())
    )


def _place(told: Told, known: Known) -> _Part:
    metres = _nearest(told, known)
    same = told.cell_id is not None and told.cell_id in known.cells
    beside = bool(told.beside & known.cells)
    wide = told.category is not None and is_wide(told.category)
    within = SAME_EVENT_M if wide else SAME_THING_M
    if metres is not None:
        said = (f"相距{metres:.0f}米", f"{metres:.0f} m apart")
        near = max(0.0, 1 - metres / NEAR_M)
        if same:
            agrees = metres <= (APART_M if wide else within)
            return _Part(max(0.4, near), (f"同一网格，{said[0]}", f"same cell, {said[1]}"), agrees)
        if beside:
            return _Part(
                max(0.2, near), (f"相邻网格，{said[0]}", f"neighbouring cell, {said[1]}"), metres <= within
            )
        return _Part(near, said, metres <= within)
    if same:
        return _Part(0.8, ("同一网格", "same cell"), agrees=True)
    if beside:
        # Smoke knows no borders, as in triage, but a person's word needs an alarm that stands there now.
        agrees = wide and bool(told.beside & known.standing)
        return _Part(0.4, ("相邻网格", "neighbouring cell"), agrees)
    return _Part(0.0, ("地点不同", "another place"))


def _nearest(told: Told, known: Known) -> float | None:
    if told.longitude is None or told.latitude is None or not known.positions:
        return None
    here = (told.longitude, told.latitude)
    return min(metres_between(here, there) for there in known.positions)


def _category(told: Told, known: Known) -> _Part:
    if told.category is None:
        return _Part(0.5, ("类别未定", "category not known yet"))
    if told.category == known.category:
        return _Part(1.0, ("类别相同", "same category"), agrees=True)
    if is_wide(told.category) and family(told.category) == family(known.category):
        return _Part(0.9, ("同类事件", "signs of one event"), agrees=True)
    if told.category.partition(".")[0] == known.category.partition(".")[0]:
        return _Part(0.4, ("大类相同", "same top-level category"))
    return _Part(0.0, ("类别不同", "another category"))


def _time(told: Told, known: Known, window: timedelta) -> _Part:
    if told.cell_id is not None and told.cell_id in known.standing:
        return _Part(1.0, ("该处报警仍未解除", "an alarm still stands there"), agrees=True)
    gap = max(known.first_at - told.at, told.at - known.last_at, timedelta())
    minutes = int(gap.total_seconds() // 60)
    if gap <= window:
        return _Part(1.0, (f"相隔{minutes}分钟", f"{minutes} minutes apart"), agrees=True)
    hours = minutes // 60
    said = (
        (f"相隔{hours}小时", f"{hours} hours apart")
        if hours
        else (f"相隔{minutes}分钟", f"{minutes} minutes apart")
    )
    return _Part(0.5 ** (gap / HALF_LIFE), said)


def _words(told: Told, known: Known) -> _Part | None:
    """None where one side said nothing that counts: then the words are no ground either way."""
    others = [parts for parts in map(parts_of, known.texts) if parts]
    if not told.parts or not others:
        return None
    found = max(_alike(told.parts, other) for other in others)
    percent = round(found * 100)
    value = min(1.0, found / (2 * SAME_WORDS))
    return _Part(value, (f"文字相似度{percent}%", f"words {percent}% alike"), found >= SAME_WORDS)


def _contradicts(told: Told, known: Known, words: _Part | None) -> bool:
    """Of things that are many in one cell (drains, lamps), other words without a nearer place are another thing."""
    if words is None or words.agrees or told.category is None or is_wide(told.category):
        return False
    metres = _nearest(told, known)
    return metres is None or metres > SAME_THING_M


def is_wide(category: str) -> bool:
    """Whether its whole family are signs of one event, however people name it: smoke, flames, a burnt smell.

    Narrower than triage, where machines speak: a fight and a parked van in one cell are two calls.
    """
    top = category.partition(".")[0]
    return top in _EVENTS and family(category) == top


def metres_between(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Great-circle distance of two (longitude, latitude)."""
    up, aside = math.radians(other[1] - one[1]), math.radians(other[0] - one[0])
    cosines = math.cos(math.radians(one[1])) * math.cos(math.radians(other[1]))
    half = math.sin(up / 2) ** 2 + cosines * math.sin(aside / 2) ** 2
    return 2 * _EARTH_M * math.asin(min(1.0, math.sqrt(half)))


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────

MOST_COMPARED = 500  # characters: what matters stands at the beginning
_RUN = re.compile(r"[a-z0-9]+|[\u3400-\u9fff\U00020000-\U0003ffff]+|[^\W_]+")
# What every second report says of whatever matter; it makes none of them alike.
_PHRASES = re.compile(
    "希望|尽快|处理|有关部门|相关部门|反映|市民|投诉|请问|怎么|办理|你好|您好|谢谢|麻烦|需要|一下|没有|没人|好几天|天天|附近|门口"
)
_PARTICLES = re.compile("[了的很在有把被就都也还是我们请里上下着过来去到和与及]")
_FILLERS = re.compile(
    "the|and|for|with|from|near|coming|out|has|have|there|this|that|is|are|on|in|at|of|to|it|an|please|street|road"
    "|building"
)


def similarity(one: str, other: str) -> float:
    """0 (no part in common) to 1. Chinese by characters and pairs of them, since it has no borders between words;
    Latin and digits by trigrams of each word, as pg_trgm does for those alone. Phrases of politeness do not count.

    Halfway between what both share of both, and of the shorter: a caller says little of what another described.
    """
    left, right = parts_of(one), parts_of(other)
    return _alike(left, right) if left and right else 0.0


def _alike(left: frozenset[str], right: frozenset[str]) -> float:
    shared = len(left & right)
    return (2 * shared / (len(left) + len(right)) + shared / min(len(left), len(right))) / 2


def parts_of(text: str) -> frozenset[str]:
    """What is compared of a text; empty where it holds nothing but politeness."""
    plain = unicodedata.normalize("NFKC", text[:MOST_COMPARED]).lower()
    grams: set[str] = set()
    for run in _RUN.findall(_PARTICLES.sub(" ", _PHRASES.sub(" ", plain))):
        if run[0] >= "\u3400":
            grams.update(run, _pieces(run, 2))
        elif _FILLERS.fullmatch(run) is None:
            grams.update(_pieces(f" {run} ", 3))
    return frozenset(grams)


def _pieces(run: str, length: int) -> Sequence[str]:
    return [run[at : at + length] for at in range(max(1, len(run) - length + 1))]
