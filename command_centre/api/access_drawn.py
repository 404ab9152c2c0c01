"""docs/access.md drawn from the tables: who may call what, and how far each route reaches.

``python -m command_centre.api.access_drawn`` prints it; a test holds the page against this.
"""

import sys
from typing import get_args

from command_centre import accounts
from command_centre.api.access import ROLES, TABLE, Needs, Rule
from command_centre.api.reaching import MEANING, Kind, kind_of, named_by

_MARKS = {True: "●", False: ""}
_WITHOUT: dict[Needs, str] = {
    "public": "nobody has to log in",
    "anyone": "as public; who has logged in is known",
    "wall": "where the wall is open as public, else paired screens and `viewer`",
    "loopback": "from this machine as public, else `administrator`",
    "session": "any log-in",
}


def page() -> str:
    """The drawn part of the page."""
    return "\n".join([*_needs(), "", *_reaches(), "", *_routes(), ""])


def _needs() -> list[str]:
    roles = get_args(accounts.Role)
    lines = [f"| needs | {' | '.join(roles)} |", "|---" * (len(roles) + 1) + "|"]
    lines += [f"| `{need}` | {' | '.join(_MARKS[r in met] for r in roles)} |" for need, met in ROLES.items()]
    return [*lines, "", *(f"- `{need}`: {words}" for need, words in _WITHOUT.items())]


def _reaches() -> list[str]:
    lines = ["| reach | | |", "|---|---|---|"]
    return [*lines, *(f"| `{kind}` | {zh} | {en} |" for kind, (zh, en) in MEANING.items())]


def _routes() -> list[str]:
    lines = ["| route | needs | reach | looked up first |", "|---|---|---|---|"]
    for (method, path), needs in TABLE.items():
        rule = Rule(method=method, path=path, needs=needs)
        kind: Kind = kind_of(rule) or "whole"
        named = named_by(rule)
        lines.append(f"| {method} `{path}` | `{needs}` | `{kind}` | {named[0] if named else ''} |")
    return lines


if __name__ == "__main__":
    sys.stdout.write(page())
