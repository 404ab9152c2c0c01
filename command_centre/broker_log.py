"""What mosquitto's log says of who logs in, a line at a time; pure.

The lines are those of mosquitto 2.0 (handle__connect in its source); another wording is not counted, never an error.
"""

import re
from dataclasses import dataclass

_IN = re.compile(
    r"New client connected from (.+):\d+ as (.*) \(p\d+, c\d+, k\d+(?:, u'(.*)')?\)\.?\Z", re.DOTALL
)
_REFUSED = re.compile(
    r"(?:Client .* disconnected[,:] not authori[sz]ed|.*: bad username or password)\.?\Z", re.DOTALL
)
_MOST = 200  # characters of what a client calls itself


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """``account`` is "" where somebody came without a user name."""

    account: str
    client_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A log-in with a wrong or unknown account or secret; the broker does not say whose."""


def read(line: str) -> LoggedIn | Refused | None:
    """What one line says of a log-in, or None."""
    found = _IN.search(line)
    if found is not None:
        address, client_id, account = found.groups()
        return LoggedIn(_kept(account or ""), _kept(client_id), _kept(address))
    return Refused() if _REFUSED.search(line) else None


def _kept(text: str) -> str:
    """What a stranger chose, short and without what a table or a terminal would stumble over."""
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "?", text)[:_MOST]
