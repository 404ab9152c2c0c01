"""The table of the workflow as people read it: the page docs/workflow.md is this, between its two marks.

python -m command_centre.workflow_drawn
"""

from city.incidents import FINAL, State
from command_centre.workflow import (
    AT_WORK,
    DONE,
    LANE,
    MOST_EXTENSIONS,
    MOVES,
    REOPEN_WITHIN,
    TABLE,
    TRANSFER_WITHIN,
)

STATES: dict[State, tuple[str, str]] = {
    "registered": ("登记", "reported; nobody has said yet that it is a matter"),
    "filed": ("立案", "a matter without a unit: the unassigned lane"),
    "returned": ("回退", "its unit gave it back, which was granted: in the lane again"),
    "dispatched": ("派遣", "a unit is told"),
    "acknowledged": ("签收", "the unit has it"),
    "arrived": ("到场", "somebody is on site"),
    "rework": ("返工", "looked at and found wanting, or reopened: the same unit again"),
    "handled": ("处置完毕", "the unit says that it is done"),
    "verified": ("核查", "somebody else has looked (six steps)"),
    "fed_back": ("反馈", "whoever reported it was told"),
    "suspended": ("挂账", "stands still until a day, granted by an approver"),
    "archived": ("归档", "closed; reopened within its limit, else final"),
    "voided": ("作废", "closed: it never was a matter"),
    "merged": ("合并", "closed into another incident, until it is split off again"),
}
_MAIN: tuple[State, ...] = (
    "registered",
    "filed",
    "dispatched",
    "acknowledged",
    "arrived",
    "handled",
    "verified",
    "fed_back",
    "archived",
)


def page() -> str:
    """Diagram, states and actions in Markdown."""
    return "\n\n".join((_diagram(), _states(), _actions(), _limits())) + "\n"


def _diagram() -> str:
    """The usual way and the moves beside it; what leads everywhere is left to the table."""
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        "    direction LR",
        "    [*] --> registered: report",
        "    [*] --> filed: alarm",
    ]
    for state in _MAIN:
        lines += [
            f"    {state} --> {after}"
            for after in _MAIN
            if after in MOVES[state] and _MAIN.index(after) > _MAIN.index(state)
        ]
    lines += [f"    {state} --> rework" for state in (*DONE, "archived")]
    lines += ["    rework --> handled", "    dispatched --> returned", "    returned --> dispatched"]
    lines += [
        "    arrived --> suspended",
        "    suspended --> arrived",
        "    filed --> voided",
        "    filed --> merged",
    ]
    return "\n".join((*lines, "    archived --> [*]", "```"))


def _states() -> str:
    rows = ["| state | | what it is | leads to | actions from it |", "|---|---|---|---|---|"]
    for state, (zh, en) in STATES.items():
        after = ", ".join(one for one in STATES if one in MOVES[state]) or "nothing"
        actions = ", ".join(entry.action for entry in TABLE.values() if state in entry.states)
        rows.append(f"| `{state}` | {zh} | {en} | {after} | {actions} |")
    return "\n".join(rows)


_GROUPS = (
    (LANE, "the lane"),
    (AT_WORK, "the unit at work"),
    (DONE, "done"),
    (("suspended",), "suspended"),
    (("archived",), "archived"),
    (("merged",), "merged"),
    (("voided",), "voided"),
)


def _actions() -> str:
    rows = ["| action | | from | by | must say | leads to | clocks |", "|---|---|---|---|---|---|---|"]
    for entry in TABLE.values():
        left = set(entry.states)
        named = []
        for states, words in _GROUPS:
            if set(states) <= left:
                named.append(words)
                left -= set(states)
        named += [one for one in STATES if one in left]
        rows.append(
            f"| `{entry.action}` | {entry.zh} | {', '.join(named)} | {', '.join(entry.roles)} | "
            f"{entry.needs or '-'} | {entry.leads_to or '-'} | {entry.clocks or '-'} |"
        )
    return "\n".join(rows)


def _limits() -> str:
    within = ", ".join(
        f"{key} {int(value.total_seconds() // 60)} min" for key, value in TRANSFER_WITHIN.items()
    )
    final = ", ".join(one for one in STATES if one in FINAL)
    return (
        f"Closed are {final}. A transfer can be asked for once by a unit, within {within} of the dispatch; "
        f"an incident is extended {MOST_EXTENSIONS} times at most and reopened within {REOPEN_WITHIN.days} days."
    )


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
