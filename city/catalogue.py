"""The catalogue of categories: a tree by dotted codes, class from importance and urgency, words in both languages.

Pure. ``fire``, ``fire.exit_blocked``, ``fire.exit_blocked.vehicle``: the code is the way through the tree, so a
circle or a lost parent cannot be written down. docs/catalogue.md says why it is as it is.
"""

from collections.abc import Iterable, Mapping
from typing import get_args

from city.clocks import Limit, LimitError, Limits, read_limit
from city.units import Automatic, Category, IncidentClass, Nature

MOST_LEVELS = 3
CLASSES: tuple[IncidentClass, ...] = get_args(IncidentClass)
WORKING_MINUTES_A_DAY = 420  # 9-12 and 14-18; only for limits of days shown in the old minutes

# Rows: importance 3, 2, 1. Columns: urgency 1, 2, 3 (3 is high). Symmetric: a step of one weighs a step of the other,
# and only what is high in one and at least middling in the other sends people out at night.
_MATRIX: Mapping[int, tuple[IncidentClass, IncidentClass, IncidentClass]] = {
    3: ("B", "A", "A"),
    2: ("C", "B", "A"),
    1: ("C", "C", "B"),
}

NATURES: Mapping[Nature, str] = {
    "complaint": "投诉",
    "consultation": "咨询",
    "suggestion": "建议",
    "request": "求决",
    "alarm": "报警",
}
AUTOMATIC: Mapping[Automatic, str] = {"all": "全部", "alarms": "报警", "none": "否"}

# Leaves below these are signs of one event: a detector and a camera see one fire, a gauge and a caller one flood.
_SIGNS_OF_ONE = frozenset({"fire", "flood", "public", "device"})
# And these are not, since another trade comes for them, or people ordered them: a broken hydrant is not the fire
# beside it, and rising water opens its own incident beside an evacuation.
_MATTERS_OF_THEIR_OWN = frozenset(
    {
        "fire.electrical",
        "fire.exit_blocked",
        "fire.hydrant",
        "fire.equipment",
        "fire.charging",
        "fire.storage",
        "fire.open_flame",
        "flood.slope",
        "flood.evacuation",
        "flood.inspection",
        "flood.works",
        "flood.dike",
        "public.animal",
        "public.lost",
        "public.fraud",
        "public.shared_bicycle",
        "public.advertisement",
        "public.drone",
        "public.other",
    }
)


def class_of_matrix(importance: int, urgency: int) -> IncidentClass:
    """A, B or C from importance and urgency, each 1 to 3 with 3 high. Raises KeyError or IndexError beyond."""
    if not 1 <= urgency <= 3:
        raise IndexError(urgency)
    return _MATRIX[importance][urgency - 1]


def parent_of(code: str) -> str | None:
    """The category above by the code alone; None for one of the top level."""
    return code.rpartition(".")[0] or None


def level_of(code: str) -> int:
    """1 for the top level."""
    return code.count(".") + 1


def ways_up(codes: Iterable[str]) -> set[str]:
    """Every code that is above one of these."""
    above = set()
    for code in codes:
        while up := parent_of(code):
            above.add(up)
            code = up  # noqa: PLW2901  # climbs the tree
    return above


def children(codes: Iterable[str]) -> dict[str, int]:
    """For each code that has some, how many stand directly below it."""
    counts: dict[str, int] = {}
    for code in codes:
        if up := parent_of(code):
            counts[up] = counts.get(up, 0) + 1
    return counts


def leaves(codes: Iterable[str]) -> list[str]:
    """Codes with nothing below them, in order."""
    known = set(codes)
    return sorted(known - ways_up(known))


def family(code: str) -> str:
    """What further alarms of a category join: a whole top level of signs, else the category's second level.

    ``fire.smoke`` and ``fire.detection`` are one fire; ``facility.manhole`` and ``facility.manhole.missing`` are
    one manhole, and neither is the street light beside it.
    """
    levels = code.split(".")
    second = ".".join(levels[:2])
    return levels[0] if levels[0] in _SIGNS_OF_ONE and second not in _MATTERS_OF_THEIR_OWN else second


def read_class_limits(written: str) -> Mapping[IncidentClass, str]:
    """``A=30m;B=4wh`` as class to limit, each in the spelling of ``city.clocks``; raises LimitError."""
    limits: dict[IncidentClass, str] = {}
    for part in filter(None, (one.strip() for one in written.split(";"))):
        found, _, limit = part.partition("=")
        known = next((one for one in CLASSES if one == found.strip()), None)
        if known is None:
            raise LimitError(f"class_limits = {part!r}: write A=, B= or C= and a limit, such as A=30m;C=3wd")
        limits[known] = str(read_limit(limit))
    return limits


def write_class_limits(limits: Mapping[IncidentClass, str]) -> str:
    """As ``read_class_limits`` reads it, A first."""
    return ";".join(f"{one}={limits[one]}" for one in CLASSES if one in limits)


def usual_limit(nature: Nature, incident_class: IncidentClass) -> Limit:
    """The time to handle that practice gives where a catalogue names none.

    Consultations, suggestions and complaints three working days; what somebody asks to be done, and alarms, by
    class: half an hour, four working hours, one working day.
    """
    if nature in ("consultation", "suggestion", "complaint") and incident_class == "C":
        return Limit(amount=3, unit="working_day")
    return {
        "A": Limit(amount=30, unit="natural"),
        "B": Limit(amount=240, unit="working"),
        "C": Limit(amount=1, unit="working_day"),
    }[incident_class]


def handling_limit(
    nature: Nature, incident_class: IncidentClass, limits: Limits, class_limits: Mapping[IncidentClass, str]
) -> Limit:
    """The stage's own limit, else the class's, else the usual one."""
    if "handle" in limits:
        return limits["handle"]
    if incident_class in class_limits:
        return read_limit(class_limits[incident_class])
    return usual_limit(nature, incident_class)


def handling_limit_of(category: Category) -> Limit:
    """The time to handle of a category's own class: as its stage limit says, else its old form."""
    if "handle" in category.limits:
        return category.limits["handle"]
    if category.incident_class in category.class_limits:
        return read_limit(category.class_limits[category.incident_class])
    return Limit(amount=category.limit_minutes, unit="natural" if category.clock == "natural" else "working")


def minutes_of(limit: Limit) -> int:
    """A limit in the old form's minutes; working days count as days of seven working hours."""
    return limit.amount * WORKING_MINUTES_A_DAY if limit.unit == "working_day" else limit.amount


def why_not_chosen(category: Category | None, code: str) -> tuple[str, str] | None:
    """Why a new matter cannot have this category, Chinese and English, each with the remedy; None when it can."""
    if category is None:
        return (
            f"类别“{code}”不在目录中，请从 /api/categories 选择",
            f"category {code!r} is not in the catalogue; choose one of /api/categories",
        )
    if not category.active:
        return (
            f"类别“{code}”（{category.name}）已停用，仅保留给原有事件；请选择在用的类别",
            f"category {code!r} is retired and stays only for incidents that have it; choose one that is active",
        )
    return None
