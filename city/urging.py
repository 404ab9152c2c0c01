"""Who hears of a deadline, and when: the ladder of reminders, urging and escalation (逐级催办) as data.

Steps of one clock stand before (``-20%``, ``-30m``), at (``0``) or after (``+50%``, ``+4wh``) its deadline.
Percentages are of the clock's limit and run in the clock's own time: half of three working days is a day and a half
of work. What holds for one event level or class stands above what holds for all.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

from city.clocks import STAGES, Limit, LimitError, Stage, read_limit
from city.errors import CityError

Purpose = Literal["remind", "overdue", "urge", "escalate"]
Told = Literal[
    "handler",  # the unit whose time it is; the centre where it is nobody's
    "unit_lead",
    "parent_lead",  # of the unit above, such as the street's
    "district",  # the district centre's lead
    "supervisor",  # 督查, at the district centre
]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
TOLD: tuple[Told, ...] = get_args(Told)
MOST_STEPS = 9

_PERCENT = re.compile(r"([+-])(\d{1,4})%")
_OFFSET = re.compile(r"([+-])(\d{1,6}(?:m|h|d|wm|wh|wd))")


class UrgingError(CityError):
    """A ladder that cannot be climbed; ``field`` names the step, ``remedy`` and ``remedy_zh`` what to write."""

    def __init__(self, field: str, value: object, remedy: str, remedy_zh: str) -> None:
        super().__init__(f"{field} = {value}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy
        self.remedy_zh = remedy_zh


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Relative to a deadline: ``percent`` of the limit, or ``offset`` (None = no offset), times ``sign``."""

    sign: Literal[-1, 0, 1]
    percent: int = 0
    offset: Limit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UrgingStep:
    """``event_level`` 0 is every level, ``incident_class`` empty every class; ``step`` counts from 1."""

    event_level: int = 0
    incident_class: str = ""
    stage: Stage
    step: int
    at: str
    purpose: Purpose
    tell: tuple[Told, ...]


@lru_cache(maxsize=256)
def read_moment(written: str) -> Moment:
    """``0``, ``-20%``, ``+60m``, ``+1wd``; raises UrgingError."""
    if written == "0":
        return Moment(sign=0)
    found = _PERCENT.fullmatch(written)
    if found is not None and int(found[2]) > 0:
        return Moment(sign=1 if found[1] == "+" else -1, percent=int(found[2]))
    found = _OFFSET.fullmatch(written)
    if found is not None:
        try:
            return Moment(sign=1 if found[1] == "+" else -1, offset=read_limit(found[2]))
        except LimitError:
            pass
    raise UrgingError(
        "at",
        written,
        "write 0, a share of the limit such as -20% or +50%, or a time such as -30m, +4wh, +1wd",
        "请写 0、时限的百分比（如 -20%、+50%）或时间（如 -30m、+4wh、+1wd）",
    )


Key = tuple[int, str, Stage]


@dataclass(frozen=True, slots=True)
class Ladder:
    """All steps of a district."""

    steps: tuple[UrgingStep, ...]
    _sets: Mapping[Key, tuple[UrgingStep, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the sets: every clock that moves looks one up."""
        found: dict[Key, list[UrgingStep]] = defaultdict(list)
        for step in sorted(self.steps, key=lambda one: one.step):
            found[step.event_level, step.incident_class, step.stage].append(step)
        object.__setattr__(self, "_sets", {key: tuple(steps) for key, steps in found.items()})

    def of(self, event_level: int, incident_class: str, stage: Stage) -> tuple[UrgingStep, ...]:
        """The steps that hold for such an incident's clock, in order: the most particular set, as a whole."""
        keys: Sequence[Key] = (
            (event_level, incident_class, stage),
            (event_level, "", stage),
            (0, incident_class, stage),
            (0, "", stage),
        )
        return next((self._sets[key] for key in keys if key in self._sets), ())


def check(steps: Sequence[UrgingStep]) -> None:
    """Raises UrgingError for the first step that could not be climbed."""
    seen: dict[Key, UrgingStep] = {}
    for number, step in enumerate(steps):
        where = f"items.{number}"
        _check_words(where, step)
        key = step.event_level, step.incident_class, step.stage
        before = seen.get(key)
        wanted = before.step + 1 if before else 1
        if step.step != wanted or step.step > MOST_STEPS:
            raise UrgingError(
                f"{where}.step",
                step.step,
                f"steps of one stage count 1, 2, 3 … up to {MOST_STEPS}, in order; {wanted} comes here",
                f"同一阶段的步骤须按 1、2、3……顺序编号，最多{MOST_STEPS}步；此处应为{wanted}",
            )
        if before is not None and not _rises(read_moment(before.at), read_moment(step.at)):
            raise UrgingError(
                f"{where}.at",
                step.at,
                f"comes before step {before.step} at {before.at}: a ladder is climbed upwards",
                f"早于第{before.step}步（{before.at}），时间须逐级推后",
            )
        seen[key] = step


def _check_words(where: str, step: UrgingStep) -> None:
    if step.event_level not in range(5):
        raise UrgingError(f"{where}.event_level", step.event_level, "1 to 4, or 0 for all", "1至4，0为全部")
    if step.incident_class not in ("", "A", "B", "C"):
        raise UrgingError(
            f"{where}.class", step.incident_class, "A, B, C, or empty for all", "A、B、C，空为全部"
        )
    if step.stage not in STAGES:
        known = ", ".join(STAGES)
        raise UrgingError(
            f"{where}.stage", step.stage, f"is no stage; use {known}", f"没有该阶段，可用：{known}"
        )
    if step.purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise UrgingError(f"{where}.purpose", step.purpose, f"use {known}", f"可用：{known}")
    if not step.tell or len(set(step.tell)) < len(step.tell) or not set(step.tell) <= set(TOLD):
        known = ", ".join(TOLD)
        raise UrgingError(
            f"{where}.tell",
            ", ".join(step.tell),
            f"name at least one of {known}, each once",
            f"至少写一个且不重复：{known}",
        )
    try:
        moment = read_moment(step.at)
    except UrgingError as error:
        raise UrgingError(f"{where}.at", step.at, error.remedy, error.remedy_zh) from error
    if moment.sign < 0 and moment.percent >= 100:
        raise UrgingError(
            f"{where}.at",
            step.at,
            "lies before the clock starts; stay above -100%",
            "早于计时开始，须大于-100%",
        )


def _rises(before: Moment, after: Moment) -> bool:
    """As far as it can be told without a limit: percentages and offsets meet only in a real clock."""
    if before.sign != after.sign:
        return before.sign < after.sign
    if before.percent and after.percent:
        return before.sign * before.percent < after.sign * after.percent
    one, other = before.offset, after.offset
    if one is not None and other is not None and one.unit == other.unit:
        return before.sign * one.amount < after.sign * other.amount
    return before.sign != 0


def _steps(
    stage: Stage, *rungs: tuple[str, Purpose, tuple[Told, ...]], levels: Sequence[int] = (0,)
) -> list[UrgingStep]:
    return [
        UrgingStep(event_level=level, stage=stage, step=number, at=at, purpose=purpose, tell=tell)
        for level in levels
        for number, (at, purpose, tell) in enumerate(rungs, 1)
    ]


# What a new district begins with; the migration that makes the table writes the same.
_BUILT_IN: tuple[UrgingStep, ...] = (
    *_steps(
        "acknowledge",
        ("0", "urge", ("unit_lead",)),
        ("+100%", "escalate", ("parent_lead",)),
    ),
    *_steps(
        "acknowledge",
        ("0", "urge", ("unit_lead",)),
        ("+100%", "escalate", ("parent_lead",)),
        ("+200%", "escalate", ("district", "supervisor")),
        levels=(1, 2),
    ),
    *_steps(
        "arrive",
        ("0", "urge", ("unit_lead",)),
        ("+100%", "escalate", ("parent_lead",)),
    ),
    *_steps(
        "handle",
        ("-20%", "remind", ("handler",)),
        ("0", "overdue", ("unit_lead",)),
        ("+25%", "urge", ("parent_lead",)),
        ("+50%", "escalate", ("district",)),
    ),
    *_steps(
        "handle",
        ("-20%", "remind", ("handler",)),
        ("0", "overdue", ("unit_lead", "district")),
        ("+25%", "urge", ("parent_lead", "supervisor")),
        ("+50%", "escalate", ("district", "supervisor")),
        levels=(1, 2),
    ),
    *(
        step
        for stage in ("accept", "dispatch", "verify", "feedback", "archive", "answer", "suspension")
        for step in _steps(
            stage,
            ("-20%", "remind", ("handler",)),
            ("0", "overdue", ("unit_lead",)),
            ("+50%", "escalate", ("district",)),
        )
    ),
)
DEFAULT = Ladder(_BUILT_IN)
