"""Who asks, by whichever way they came in, and how far they reach."""

from dataclasses import dataclass

from city import incidents


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks. ``token`` is the cookie's value, None for automation with a bearer token.

    ``actor`` is how timelines and the audit table name them: by number, so that no name enters the chain.
    ``scope`` is the code of the area within which they see and act, None the whole district; ``unit_id`` is whom they
    act for.
    """

    actor: str
    name: str
    display_name: str
    role: str
    must_change: bool
    token: str | None
    unit_id: int | None = None
    scope: str | None = None


AUTOMATION = Caller(
    actor=incidents.AUTOMATION,
    name="api-token",
    display_name="API",
    role="administrator",
    must_change=False,
    token=None,
)
