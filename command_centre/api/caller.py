"""Who asks, by whichever way they came in, and how far they reach."""

from dataclasses import dataclass
from datetime import datetime

from city import incidents


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks. ``token`` is the cookie's value, None for a program with a bearer token.

    ``actor`` is how timelines and the audit table name them: by number, so that no name enters the chain.
    ``scope`` is the code of the area within which they see and act, None the whole district; ``unit_id`` is whom they
    act for. ``only_reads``: a token that changes nothing, whatever its role could. Of a session ``session_id`` is its
    number, ``proven_at`` when password or second factor were last shown, and ``must_enrol`` says that the role acts
    only with a second factor which this session has not shown.
    """

    actor: str
    name: str
    display_name: str
    role: str
    must_change: bool
    token: str | None
    unit_id: int | None = None
    scope: str | None = None
    only_reads: bool = False
    user_id: int | None = None
    session_id: int | None = None
    proven_at: datetime | None = None
    second_factor: bool = False
    has_factor: bool = False
    must_enrol: bool = False
    provider: str | None = None


AUTOMATION = Caller(
    actor=incidents.AUTOMATION,
    name="api-token",
    display_name="API",
    role="administrator",
    must_change=False,
    token=None,
)
