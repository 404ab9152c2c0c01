"""What came out of a run: round by round, and at the end."""

import json
from dataclasses import asdict, dataclass, field

from tests.acceptance.checker import Verdict
from tests.acceptance.checker_incidents import Aftermath


@dataclass(kw_only=True)
class Played:
    """One fault and what the checkers say after it."""

    fault: str
    group: str
    does: str
    kills: int
    impossible: str = ""  # why this machine cannot do it
    recovery: dict[str, float] | None = None  # seconds until stored, screens whole, centres ready
    acknowledged: int = 0
    crossings: int = 0
    lost_by_broker: int = 0
    faults: dict[str, int] = field(default_factory=dict)  # what must be nothing and is not
    started: dict[str, int] = field(default_factory=dict)  # how often a part was started again
    refused: list[str] = field(default_factory=list)  # what a person was answered that no repetition changes
    ended: list[str] = field(default_factory=list)  # processes of ours that ended though nobody ended them

    @property
    def whole_s(self) -> float:
        """Until everything was whole again."""
        return max(self.recovery.values()) if self.recovery else float("nan")


@dataclass(kw_only=True)
class Outcome:
    """All rounds and the last look."""

    rounds: list[Played]
    verdict: Verdict
    aftermath: Aftermath
    audit: dict[str, object]  # what `city audit verify --json` printed
    lost_by_broker: int
    screen_faults: dict[str, int]
    wall_differs: int
    calls: dict[str, int]  # of a person, by HTTP: answered, attempts, and what went wrong
    call_failures: dict[str, int]  # why attempts had to be repeated: status, or what broke the connection
    seconds: float
    rate: float
    broker: str

    @property
    def broken(self) -> int:
        """Timelines that do not verify; one when the verdict is not to be had."""
        found = self.audit.get("broken")
        return len(found) if isinstance(found, list) else 1

    @property
    def faults(self) -> dict[str, int]:
        """Everything that must be nothing and is not, over all rounds and at the end."""
        found: dict[str, int] = {}
        sums = [played.faults for played in self.rounds]
        sums += [{f"ended by itself: {name}": 1} for played in self.rounds for name in played.ended]
        verdict = self.verdict
        last = {
            "lost": verdict.lost - self.lost_by_broker,
            "foreign": verdict.foreign,
            "twice": verdict.twice,
            "alarms_missing": verdict.alarms_missing,
            "alarms_extra": verdict.alarms_extra,
            "alarms_standing": verdict.alarms_standing,
            "wall_differs": self.wall_differs,
            "audit": self.broken,
            **{name: count for name, count in self.calls.items() if name.startswith("calls ")},
            **{f"screen {name}": count for name, count in self.screen_faults.items()},
            **self.aftermath.faults(),
        }
        for some in (*sums, {f"at the end: {name}": count for name, count in last.items() if count}):
            for name, count in some.items():
                found[name] = found.get(name, 0) + count
        return found

    @property
    def faultless(self) -> bool:
        """Nothing lost, nothing twice, each crossing one alarm and one incident, the wall right."""
        return not self.faults


def as_json(outcome: Outcome) -> str:
    """For bench/results."""
    return json.dumps({**asdict(outcome), "faults": outcome.faults}, indent=1, default=str)
