"""What passes from a rule to the database: states, evidence, and transitions in their shortest form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from city.alarms import Cleared, Raised, Repeated, Transition

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class StateRow:
    """One changed state: JSON-able, instants in it are integer microseconds; empty = as never evaluated.

    An empty state may be stored or its row deleted: loading either gives the same.
    """

    rule_id: str
    device_id: int
    state: Mapping[str, object]


def whole(state: Mapping[str, object], key: str) -> int:
    """The integer kept under ``key``, 0 when there is none."""
    value = state.get(key)
    return value if isinstance(value, int) else 0


def rfc3339(instant_us: int) -> str:
    """For evidence, which people read: UTC with as many digits as the instant has."""
    return (_EPOCH + timedelta(microseconds=instant_us)).isoformat().replace("+00:00", "Z")


def gathered(transitions: Sequence[Transition]) -> list[Transition]:
    """Repeats of one episode as one; a late episode that is already over as one record, which pages nobody.

    ``transitions`` are of one rule, each device's together and in order of time.
    """
    result: list[Transition] = []
    for transition in transitions:
        last = result[-1] if result and result[-1].device_id == transition.device_id else None
        if isinstance(transition, Repeated) and isinstance(last, Repeated):
            result[-1] = replace(transition, count=last.count + transition.count)
        elif isinstance(transition, Cleared):
            _end_of_episode(result, transition)
        else:
            result.append(transition)
    return result


def _end_of_episode(result: list[Transition], cleared: Cleared) -> None:
    episode = [past for past in result[-2:] if past.device_id == cleared.device_id]
    match episode:
        case [*_, Raised(late=True, cleared_us=None) as raised]:
            result[-1] = replace(raised, cleared_us=cleared.cleared_us)
        case [Raised(late=True, cleared_us=None) as raised, Repeated(count=count)]:
            evidence = {**raised.evidence, "repeats": count}
            result[-2:] = [replace(raised, cleared_us=cleared.cleared_us, evidence=evidence)]
        case _:
            result.append(cleared)
