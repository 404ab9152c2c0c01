"""What a reporter may see of an incident: steps with dates and plain words, nothing of people, phones or others.

Dates before the report came in are shown as the report's own: whoever joins a matter that others reported first
must not learn that they did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from city.incidents import Incident

StepName = Literal[
    "registered", "filed", "dispatched", "handling", "handled", "verified", "feedback", "archived"
]
Words = tuple[str, str]  # Chinese, English

STEPS: tuple[StepName, ...] = (
    "registered",
    "filed",
    "dispatched",
    "handling",
    "handled",
    "verified",
    "feedback",
    "archived",
)
STEP_WORDS: Mapping[StepName, Words] = {
    "registered": ("已登记", "registered"),
    "filed": ("已受理", "accepted"),
    "dispatched": ("已派单", "given to the unit in charge"),
    "handling": ("处理中", "being handled"),
    "handled": ("已处置", "handled"),
    "verified": ("已核查", "checked"),
    "feedback": ("已反馈", "answered"),
    "archived": ("已归档", "closed"),
}
STATE_WORDS: Mapping[str, Words] = {
    "registered": ("已登记，等待受理", "registered, waiting to be accepted"),
    "filed": ("已受理，正在确定承办单位", "accepted, a unit is being found"),
    "returned": ("正在重新确定承办单位", "another unit is being found"),
    "dispatched": ("已派单，等待承办单位签收", "given to the unit in charge"),
    "acknowledged": ("承办单位已签收，正在处理", "the unit has it and is working on it"),
    "arrived": ("承办单位已到场", "the unit is on site"),
    "rework": ("核查未通过，正在重新处理", "checked and found wanting, being worked on again"),
    "suspended": ("暂时挂起，条件具备后继续处理", "on hold, it goes on as soon as it can"),
    "handled": ("已处置，等待核查或反馈", "handled, waiting for the check or the answer"),
    "verified": ("已核查，等待反馈", "checked, waiting for the answer"),
    "fed_back": ("已反馈", "answered"),
    "archived": ("已归档", "closed"),
    "voided": ("经核实不予受理", "looked into and not taken up"),
    "fixed_on_spot": ("已当场处置", "put right on the spot"),
}
# The step that a state stands at: those before it are done, it is the current one.
_AT: Mapping[str, StepName] = {
    "registered": "registered",
    "filed": "filed",
    "returned": "filed",
    "dispatched": "dispatched",
    "acknowledged": "handling",
    "arrived": "handling",
    "rework": "handling",
    "suspended": "handling",
    "handled": "handled",
    "verified": "verified",
    "fed_back": "feedback",
    "archived": "archived",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """``at`` None = not yet, or not dated. ``current`` is the one it stands at."""

    step: StepName
    at: datetime | None
    done: bool
    current: bool

    @property
    def words(self) -> Words:
        """Chinese and English."""
        return STEP_WORDS[self.step]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """``state`` is one of STATE_WORDS; an incident that was not taken up has no steps after the first."""

    state: str
    steps: tuple[Step, ...]

    @property
    def words(self) -> Words:
        """Chinese and English."""
        return STATE_WORDS[self.state]


def bar(received_at: datetime, incident: Incident | None, filed_at: datetime | None = None) -> Progress:
    """Where it stands. ``incident`` is the one at the end of all merges, None what was fixed on the spot.

    ``filed_at`` is when somebody accepted it, where that is known apart from its dispatch.
    """
    if incident is None:
        return Progress(
            state="fixed_on_spot",
            steps=_walk(
                received_at,
                "archived",
                dict.fromkeys(("registered", "handled", "archived"), received_at),
                ("registered", "handled", "archived"),
            ),
        )
    if incident.state == "voided":
        return Progress(
            state="voided",
            steps=_walk(received_at, "registered", {"registered": received_at}, ("registered",)),
        )
    state = _standing(incident)
    wanted = tuple(step for step in STEPS if step != "verified" or incident.steps == 6)
    return Progress(
        state=incident.state if incident.state in STATE_WORDS else state,
        steps=_walk(received_at, _AT[state], _dates(incident, received_at, filed_at), wanted),
    )


def step_of(incident: Incident) -> str:
    """The step that is worth telling a reporter of; a state without one of its own is its nearest."""
    return incident.state if incident.state == "voided" else _AT[_standing(incident)]


def _standing(incident: Incident) -> str:
    return incident.state if incident.state in _AT else "filed"


def _dates(
    incident: Incident, received_at: datetime, filed_at: datetime | None
) -> Mapping[StepName, datetime | None]:
    return {
        "registered": received_at,
        "filed": filed_at or incident.dispatched_at or incident.opened_at,
        "dispatched": incident.dispatched_at,
        "handling": incident.acknowledged_at or incident.arrived_at,
        "handled": incident.handled_at,
        "verified": incident.verified_at,
        "feedback": incident.fed_back_at,
        "archived": incident.closed_at,
    }


def _walk(
    received_at: datetime,
    standing: StepName,
    dates: Mapping[StepName, datetime | None],
    wanted: tuple[StepName, ...],
) -> tuple[Step, ...]:
    reached = STEPS.index(standing)
    steps = []
    for step in wanted:
        done = STEPS.index(step) <= reached
        at = dates.get(step) if done else None
        steps.append(
            Step(
                step=step,
                at=max(at, received_at) if at is not None else None,
                done=done,
                current=step == standing,
            )
        )
    return tuple(steps)
